/* The parts of an engine's turn. For the thread that is inside. */
#ifndef INSANE_ENGINE_TURN_H
#define INSANE_ENGINE_TURN_H

#include "engine_state.h"

/* One turn. Returns how much was moved. */
uint32_t ins_engine_turn(struct ins_engine *e, uint32_t receive_budget);
/* Up to so many looks at the network alone, or sixteen times as many where they cost no system call, until something came
   in or there is more to do. Returns how much was moved. */
uint32_t ins_engine_glances(struct ins_engine *e, uint32_t receive_budget, uint32_t looks);
/* Executes waiting commands, as far as their acknowledgements have room. Returns how many (engine_execute.c). */
uint32_t ins_engine_execute(struct ins_engine *e);
/* Takes everything apart: entries returned or abandoned, datapaths unbound (engine_execute.c). */
void ins_engine_tear_down(struct ins_engine *e);
/* CLOCK_MONOTONIC_COARSE in milliseconds: cheap, good to a tick of the kernel (1 to 10 ms). */
void ins_engine_clock(struct ins_engine *e);

#endif
