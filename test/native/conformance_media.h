/* Where the conformance suite runs: each medium is a datapath with options and a set-up. A new datapath is one line in
   conformance_media.c. No test in here, so that every program can link it. */
#ifndef INSANE_TEST_CONFORMANCE_MEDIA_H
#define INSANE_TEST_CONFORMANCE_MEDIA_H

#include <stdint.h>

/* Two ends that reach each other. */
struct medium {
    const char *technology;
    const char *options[2];
    const char *address[2];
    uint32_t largest; /* payload that must get through; more must be refused, not cut */
    uint32_t bytes;   /* of a receive slot's payload */
    /* NULL: nothing to do. Not 0: not here, skip; it has said why. */
    int (*set_up)(const struct medium *medium);
    void (*tear_down)(const struct medium *medium);
    const struct medium *fellow; /* opens a third end, beside the second; NULL: one that has room for two does it itself */
    const char *probe;           /* what its probe is asked about, on the first host; NULL: nothing in particular */
    const char *stops_in_flood;  /* why a receiver that was flooded may never go on: not our fault; NULL: it goes on */
    const int *host[2];          /* network namespaces in which the ends are; NULL: where we are */
};

/* NULL beyond the last. */
const struct medium *conformance_medium(uint32_t index);
/* Moves the calling thread to the host of that end. */
void conformance_stand(const struct medium *medium, int side);

#endif
