/* The traffic class of a link, and the histogram of its latencies, see scheduler_port.h. */
#include <errno.h>
#include <string.h>

#include "coalesce.h"
#include "engine_peers.h"
#include "scheduler_port.h"

/* 0, or -EAGAIN and nothing is moved. What was staged before there was a schedule may share datagrams, whose bodies the stage
   keeps: it leaves from there. */
static int restage(struct ins_engine *e, struct ins_port_schedule *s, const struct ins_link *link, uint32_t from, uint32_t to) {
    struct ins_stage *old = s->stages[from], *new = s->stages[to];
    uint32_t moves = 0, kept = 0, shared = 0;
    for (uint32_t i = old->head; i < old->tail; i++) {
        moves += old->of[i].link == link;
        shared |= old->of[i].batch != 0 && old->of[i].link == link;
    }
    if (moves == 0)
        return 0;
    if (shared || new->tail + moves > INS_STAGE || (old->sent && old->of[old->head].link == link))
        return -EAGAIN;
    for (uint32_t i = old->head; i < old->tail; i++) {
        struct ins_stage *stage = old->of[i].link == link ? new : old;
        uint32_t at = stage == new ? new->tail++ : kept++;
        memmove(stage->header[at], old->tx[i].header, old->tx[i].header_length);
        stage->tx[at] = old->tx[i];
        stage->tx[at].header = stage->header[at];
        stage->of[at] = old->of[i];
    }
    old->head = 0;
    old->tail = kept;
    /* Nothing is where a source remembers its last message. */
    ins_stage_seal(e, old);
    ins_stage_seal(e, new);
    s->counted[from] = s->counted[from] < kept ? s->counted[from] : kept;
    return 0;
}

static void take_histogram(struct ins_engine *e, struct ins_link *link) {
    for (uint32_t i = 0; i < INS_HISTOGRAMS && !link->out.histogram; i++)
        if (!(e->histograms_used >> i & 1)) {
            e->histograms_used |= 1u << i;
            link->out.histogram = i + 1;
            for (uint32_t bucket = 0; bucket < INS_HISTOGRAM_BUCKETS; bucket++)
                __atomic_store_n(&e->histograms[i * INS_HISTOGRAM_BUCKETS + bucket], 0, __ATOMIC_RELAXED);
        }
}

int ins_schedule_set_class(struct ins_engine *e, struct ins_link *link, uint32_t traffic_class, uint64_t *histogram) {
    struct ins_port *port = ins_port_find(e, link->out.datapath);
    uint32_t before = link->out.traffic_class;
    int moves = port && port->schedule && before != traffic_class;
    int error = moves ? restage(e, port->schedule, link, before, traffic_class) : 0;
    if (error)
        return error;
    if (before)
        e->class_links[before]--;
    if (traffic_class) {
        e->class_links[traffic_class]++;
        take_histogram(e, link);
    } else if (link->out.histogram) {
        e->histograms_used &= ~(1u << (link->out.histogram - 1));
        link->out.histogram = 0;
    }
    link->out.traffic_class = traffic_class;
    *histogram = link->out.histogram;
    return 0;
}

/* From emission to now, by powers of two of a microsecond. */
void ins_schedule_note_latency(struct ins_engine *e, const struct ins_link *link, const struct ins_tx *tx, uint64_t now) {
    const uint8_t *at = tx->header + INS_WIRE_EMIT_TIME;
    uint64_t emitted = 0;
    for (uint32_t i = 0; i < 8; i++)
        emitted = emitted << 8 | at[i];
    uint64_t us = now > emitted ? (now - emitted) / 1000 : 0;
    uint32_t bucket = us < 2 ? 0 : 63 - (uint32_t)__builtin_clzll(us);
    if (bucket >= INS_HISTOGRAM_BUCKETS)
        bucket = INS_HISTOGRAM_BUCKETS - 1;
    uint64_t *count = &e->histograms[(link->out.histogram - 1) * INS_HISTOGRAM_BUCKETS + bucket];
    __atomic_store_n(count, *count + 1, __ATOMIC_RELAXED);
}
