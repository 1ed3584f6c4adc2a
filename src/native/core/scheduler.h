/* The schedule of one egress port: which list governs (802.1Q: oper), which one will (admin), and whether a frame may
   leave now. Knows no queue and no clock: its owner, one thread, says what time it is (CLOCK_TAI ns) and asks for the head
   of each class, the highest first. At every moment exactly one list governs; before the first all gates are open. */
#ifndef INSANE_SCHEDULER_H
#define INSANE_SCHEDULER_H

#include "gates.h"

/* Frames are handed to the line at most so far ahead of it, so that what is handed over later does not wait long. */
enum { INS_SCHEDULER_AHEAD = 50000 };

struct ins_scheduler {
    struct ins_gates oper, admin;
    uint32_t running; /* oper governs */
    uint32_t pending; /* admin will, from change_at on */
    uint64_t change_at;
    uint64_t now;
    uint64_t cycle_start; /* of the cycle that `now` lies in */
    uint32_t entry;       /* in which it lies */
    uint64_t line_free;   /* when the line has sent all it was given */
    uint64_t changes;     /* lists that have come to govern */
};

/* Begins with no list. */
void ins_scheduler_init(struct ins_scheduler *scheduler, uint64_t now);

/* `gates` will govern from its base time on; one that is past is advanced by whole cycles to the first that is not
   (8.6.9.1.1). Until then the present list does, its last cycle cut short if need be, and no frame reaches beyond that
   moment. A change that is still pending is replaced. Returns by how many cycles the base time was advanced. */
uint64_t ins_scheduler_change(struct ins_scheduler *scheduler, const struct ins_gates *gates, uint64_t now);

/* It is `now`. May go back (somebody has set the clock). */
void ins_scheduler_at(struct ins_scheduler *scheduler, uint64_t now);

/* When the window that the class is in ends; 0: its gate is closed; INS_GATES_ALWAYS: it does not end. */
uint64_t ins_scheduler_window_end(const struct ins_scheduler *scheduler, uint32_t class);

/* 1: the frame may be handed over now, and the line is taken for it. 0: not now, nothing has changed. */
int ins_scheduler_admit(struct ins_scheduler *scheduler, uint32_t class, uint64_t duration);

/* The same without the limit on what is handed over ahead: for the few frames that come by themselves. */
int ins_scheduler_reserve(struct ins_scheduler *scheduler, uint32_t class, uint64_t duration);

/* The last `duration` ns that were admitted are not used after all. */
void ins_scheduler_refund(struct ins_scheduler *scheduler, uint64_t duration);

/* Not before then may a frame of that length leave; ask again at that time. INS_GATES_NEVER: it fits nowhere. */
uint64_t ins_scheduler_next(const struct ins_scheduler *scheduler, uint32_t class, uint64_t duration);

/* The next time after now that the gate of the class opens, if the present list goes on. */
uint64_t ins_scheduler_next_opening(const struct ins_scheduler *scheduler, uint32_t class);

/* Whether a frame of that length can ever leave by the present list, or by the one to come. */
int ins_scheduler_fits(const struct ins_scheduler *scheduler, uint32_t class, uint64_t duration);

/* Start of the next cycle or of the next list, whichever comes first; INS_GATES_NEVER without a list. */
uint64_t ins_scheduler_next_cycle(const struct ins_scheduler *scheduler);

#endif
