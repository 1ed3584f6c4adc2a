/* A datapath for tests, see fake_datapath.h. */
#include "fake_datapath.h"

#include <sched.h>
#include <stdlib.h>

void fake_set(uint32_t *field, uint32_t value) { __atomic_store_n(field, value, __ATOMIC_SEQ_CST); }
uint32_t fake_get(const uint32_t *field) { return __atomic_load_n(field, __ATOMIC_SEQ_CST); }

static int fake_bind(struct ins_datapath *dp, struct ins_pool *pool) {
    struct fake *fake = (struct fake *)dp;
    fake->pool = pool;
    fake_set(&fake->bound, 1);
    return 0;
}

static void fake_unbind(struct ins_datapath *dp) { fake_set(&((struct fake *)dp)->bound, 0); }

static int fake_tx(struct ins_datapath *dp, struct ins_tx *tx, uint32_t count) {
    struct fake *fake = (struct fake *)dp;
    int32_t error = (int32_t)fake_get((uint32_t *)&fake->tx_error);
    if (error)
        return error;
    uint32_t takes = fake_get(&fake->takes), taken = count < takes ? count : takes;
    for (uint32_t i = 0; i < taken; i++) {
        uint32_t only = fake_get(&fake->refuses_port);
        tx[i].error = only && only != tx[i].to.port ? 0 : (int32_t)fake_get((uint32_t *)&fake->refuses);
        uint32_t at = fake->sent_count;
        if (at < FAKE_SENT) {
            ins_wire_parse(tx[i].header, INS_WIRE_HEADER + tx[i].payload_length, &fake->sent[at]);
            fake->to[at] = tx[i].to;
        }
        fake_set(&fake->sent_count, at + 1);
    }
    if (takes != UINT32_MAX)
        __atomic_fetch_sub(&fake->takes, taken, __ATOMIC_SEQ_CST);
    return (int)taken;
}

static int fake_rx(struct ins_datapath *dp, struct ins_rx *rx, uint32_t max) {
    struct fake *fake = (struct fake *)dp;
    (void)rx;
    (void)max;
    while (fake_get(&fake->hangs)) {
        fake_set(&fake->hanging, 1);
        sched_yield();
    }
    fake_set(&fake->hanging, 0);
    return (int32_t)fake_get((uint32_t *)&fake->rx_error);
}

static int fake_fds(struct ins_datapath *dp, int *out, uint32_t max) {
    (void)dp;
    (void)out;
    (void)max;
    return 0;
}

static int fake_holds(struct ins_datapath *dp) { return (int)fake_get(&((struct fake *)dp)->holds); }

static int fake_stats(struct ins_datapath *dp, const char **names, uint64_t *values, uint32_t max) {
    (void)dp;
    (void)names;
    (void)values;
    (void)max;
    return 0;
}

static void fake_close(struct ins_datapath *dp) { free(dp); }

#define OPERATIONS                                                                                                     \
    .name = "fake", .flags = INS_DATAPATH_CAN_PARK, .bind = fake_bind, .tx_burst = fake_tx, .rx_burst = fake_rx,       \
    .fds = fake_fds, .stats = fake_stats, .unbind = fake_unbind, .close = fake_close
static const struct ins_datapath_ops ops = {OPERATIONS};
static const struct ins_datapath_ops ops_that_hold = {OPERATIONS, .holds = fake_holds};

void fake_may_hold(struct fake *fake) { fake->base.ops = &ops_that_hold; }

struct fake *fake_new(void) {
    struct fake *fake = calloc(1, sizeof *fake);
    fake->base.ops = &ops;
    fake->takes = UINT32_MAX;
    return fake;
}

void fake_free(struct fake *fake) { free(fake); }
