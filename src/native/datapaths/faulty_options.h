/* What the fault-injecting datapath is told to do, as a text: "of=udp,loss=0.01,seed=7". */
#ifndef INSANE_FAULTY_OPTIONS_H
#define INSANE_FAULTY_OPTIONS_H

#include <stdint.h>

#define INS_FAULTY_NEVER UINT64_MAX

struct ins_faulty_options {
    char of[16];        /* the datapath underneath */
    char inner[256];    /* its options: all that are not ours */
    char armed[108];    /* strikes (below) happen only while this file is there; empty: always */
    double loss, duplicate, reorder; /* share of the datagrams sent, 0 to 1 */
    uint64_t delay_us;   /* every datagram waits so long */
    uint64_t reorder_us; /* a reordered one waits at most so long longer (2000) */
    uint64_t seed;
    uint64_t fail_after, hang_after, crash_after; /* datagrams until the strike; INS_FAULTY_NEVER */
    uint64_t open_hang, open_crash; /* 1: opening hangs while it is armed, aborts the process */
    uint64_t hang_ms;    /* how long it hangs; 0: for good, or as long as it is armed */
};

/* 0 or -EINVAL: no `of`, a value out of bounds, or too long. What it does not know goes to `inner`. */
int ins_faulty_parse(const char *text, struct ins_faulty_options *out);

#endif
