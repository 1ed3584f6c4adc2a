/* Random gate lists, and the plain reading of a list as the oracle for what is computed from it. A seed makes a case. */
#ifndef INSANE_GATES_CASES_H
#define INSANE_GATES_CASES_H

#include <stdint.h>

#include "core/gates.h"

struct cases {
    uint64_t state;
};

struct cases cases_seeded(uint64_t seed);
uint64_t cases_random(struct cases *cases);
/* From 0 to below `bound`. */
uint64_t cases_below(struct cases *cases, uint64_t bound);
/* A list that can be compiled: 1 to 12 entries, cycles from tens of microseconds to milliseconds. */
struct ins_gate_list cases_list(struct cases *cases);

/* Whether the gate of a class is open at a time, which may lie before the base time. */
int cases_open(const struct ins_gate_list *list, uint32_t class, uint64_t at);
/* How long it stays open from then on, up to one cycle; ALWAYS beyond; 0: closed. */
uint64_t cases_window(const struct ins_gate_list *list, uint32_t class, uint64_t at);

#endif
