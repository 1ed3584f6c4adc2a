/* A datapath on virtual time, see gates_line.h. */
#include "gates_line.h"

#include <stdlib.h>

#include "core/wire.h"

static uint64_t look(struct line *line) {
    if (line->stops == 0 || line->now + 20 < line->stops)
        line->now += 20;
    return line->now;
}
static uint64_t line_monotonic(void *context) { return look(context); }
static uint64_t line_tai(void *context) {
    struct line *line = context;
    return look(line) + line->offset;
}
static int line_bind(struct ins_datapath *dp, struct ins_pool *pool) {
    (void)dp;
    (void)pool;
    return 0;
}
static void line_unbind(struct ins_datapath *dp) { (void)dp; }
static int line_rx(struct ins_datapath *dp, struct ins_rx *rx, uint32_t max) {
    (void)dp;
    (void)rx;
    (void)max;
    return 0;
}
static int line_fds(struct ins_datapath *dp, int *out, uint32_t max) {
    (void)dp;
    (void)out;
    (void)max;
    return 0;
}
static int line_tx(struct ins_datapath *dp, struct ins_tx *tx, uint32_t count) {
    struct line *line = (struct line *)dp;
    uint32_t taken = count < line->takes ? count : line->takes;
    for (uint32_t i = 0; i < taken && line->count < LINE_SENT; i++) {
        struct ins_wire wire;
        ins_wire_parse(tx[i].header, INS_WIRE_HEADER + tx[i].payload_length, &wire);
        tx[i].error = 0;
        line->sent[line->count].at = line->now + line->offset;
        line->sent[line->count].tag = wire.tag;
        line->sent[line->count].type = wire.type;
        line->sent[line->count].sequence = wire.sequence;
        line->sent[line->count++].length = tx[i].payload_length;
        line->now += line->each;
    }
    return (int)taken;
}
static const struct ins_datapath_ops line_ops = {
    .name = "line",
    .flags = INS_DATAPATH_CAN_PARK,
    .bind = line_bind,
    .tx_burst = line_tx,
    .rx_burst = line_rx,
    .fds = line_fds,
    .unbind = line_unbind,
};

struct line *line_new(void) {
    struct line *line = calloc(1, sizeof *line);
    line->base.ops = &line_ops;
    line->now = 5000000000;
    line->offset = 1700000000000000000;
    line->each = 200;
    line->takes = UINT32_MAX;
    return line;
}

struct ins_schedule_clock line_clock(struct line *line) {
    return (struct ins_schedule_clock){.monotonic = line_monotonic, .tai = line_tai, .context = line};
}
