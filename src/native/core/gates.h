/* A gate control list (IEEE 802.1Qbv; IEEE 802.1Q, 8.6.8.4) and what follows from it: when a traffic class may send, for
   how long, and how long a frame occupies the line. Pure: no clock, no I/O, no allocation. Times are CLOCK_TAI ns. */
#ifndef INSANE_GATES_H
#define INSANE_GATES_H

#include <stdint.h>

enum {
    INS_CLASSES = 8,
    INS_GATE_ENTRIES = 64,
    /* Bytes of a frame beside its IP datagram: preamble and start 8, header 14, VLAN tag 4, check sequence 4, gap 12. */
    INS_FRAME_OVERHEAD = 42,
    INS_FRAME_LEAST = 46, /* shorter datagrams are padded */
};

#define INS_CYCLE_MOST 4000000000u /* ns: an interval is a u32 */
#define INS_GATES_ALWAYS UINT64_MAX
#define INS_GATES_NEVER UINT64_MAX

struct ins_gate_entry {
    uint32_t mask; /* bit c: the gate of class c is open */
    uint32_t interval_ns;
};

/* As control gives it. No padding: a typed array fills it. */
struct ins_gate_list {
    uint64_t base_ns;
    uint64_t cycle_ns;
    uint32_t line_mbps;
    uint32_t mtu;       /* of the port: larger datagrams leave as IP fragments */
    uint32_t margin_ns; /* a frame is over so long before its window is: what handing it to the kernel may take */
    uint32_t count;
    struct ins_gate_entry entries[INS_GATE_ENTRIES];
};

/* The same, with what is looked up per frame. */
struct ins_gates {
    uint64_t base, cycle;
    uint32_t line_mbps, mtu, margin, count;
    uint64_t start[INS_GATE_ENTRIES + 1];           /* of each entry, since the cycle's; the last is the cycle's length */
    uint64_t open[INS_GATE_ENTRIES][INS_CLASSES];   /* from the entry's start on the gate stays open; 0: it is closed */
    uint64_t opens[INS_GATE_ENTRIES][INS_CLASSES];  /* from the entry's start until it next opens after being closed */
    uint64_t longest[INS_CLASSES];                  /* window of the class; 0: none */
};

/* 0, or -EINVAL: a cycle of zero or beyond INS_CYCLE_MOST, intervals of zero or whose sum is not the cycle, a mask
   beyond eight bits, no line rate, an MTU below 576 or beyond 65535. -ERANGE: a window in which not even the smallest frame fits. */
int ins_gates_compile(const struct ins_gate_list *list, struct ins_gates *out);

/* ns that a UDP datagram with `payload` bytes occupies the line, with all overhead, in as many fragments as it takes. */
uint64_t ins_gates_duration(const struct ins_gates *gates, uint32_t payload);

/* 1 when a frame that takes `duration` fits in some window of the class. */
static inline int ins_gates_fit(const struct ins_gates *gates, uint32_t class, uint64_t duration) {
    return gates->longest[class] == INS_GATES_ALWAYS || duration + gates->margin <= gates->longest[class];
}

#endif
