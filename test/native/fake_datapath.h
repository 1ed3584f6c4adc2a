/* A datapath that does what a test tells it: takes so many datagrams, refuses, breaks, hangs, keeps what was sent. */
#ifndef INSANE_FAKE_DATAPATH_H
#define INSANE_FAKE_DATAPATH_H

#include <stdint.h>

#include "core/datapath.h"
#include "core/wire.h"

enum { FAKE_SENT = 65536 };

struct fake {
    struct ins_datapath base;
    struct ins_pool *pool;
    /* Set by the test, read by the engine. */
    uint32_t takes;   /* datagrams it takes from now on; UINT32_MAX: all */
    int32_t refuses;  /* -errno that every datagram gets */
    uint32_t refuses_port; /* but for those to other ports, if it is not 0 */
    int32_t tx_error; /* what tx_burst returns instead */
    int32_t rx_error; /* what rx_burst returns */
    uint32_t holds;   /* what was sent has not left yet */
    uint32_t hangs;   /* rx_burst does not return while it is set */
    /* Written by the engine. */
    uint32_t hanging;
    uint32_t bound;
    uint32_t sent_count;
    struct ins_wire sent[FAKE_SENT];
    struct ins_endpoint to[FAKE_SENT];
};

struct fake *fake_new(void);
/* To be said before the engine gets it: it tells whether it holds something back. */
void fake_may_hold(struct fake *fake);
void fake_free(struct fake *fake);
void fake_set(uint32_t *field, uint32_t value);
uint32_t fake_get(const uint32_t *field);

#endif
