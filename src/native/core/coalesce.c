/* Sharing datagrams at the sender, see coalesce.h. A body is written once, behind the header when there is one peer, so
   that a row of full datagrams is one piece of memory. */
#include "coalesce.h"

#include <endian.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "egress.h"
#include "engine_links.h"
#include "flow.h"
#include "wire.h"

enum { IP_UDP_HEADERS = 28 };

struct ins_stage *ins_stage_new(void) {
    struct ins_stage *stage = NULL;
    /* One piece of memory, so that whoever owns the stage frees all of it. */
    size_t own = (sizeof *stage + 63) / 64 * 64;
    if (posix_memalign((void **)&stage, 64, own + sizeof(struct ins_batches)))
        return NULL;
    memset(stage, 0, own);
    stage->batches = (struct ins_batches *)(void *)((uint8_t *)stage + own);
    ins_stage_empty(stage);
    return stage;
}

static void set_length(uint8_t *header, uint32_t length) {
    length = htobe32(length);
    memcpy(header + INS_WIRE_LENGTH, &length, sizeof length);
}

static void note(struct ins_batches *batches, struct ins_batch *batch, uint32_t entry, uint32_t length) {
    uint32_t item = batches->item_count++;
    batches->items[item].entry = (uint16_t)entry;
    if (batch->count++)
        batches->items[batch->last].next = (uint16_t)item;
    else
        batch->first = item;
    batch->last = item;
    batch->payload += length;
}

/* The largest body that all its receivers take. */
static uint32_t body_room(const struct ins_port *port, const struct ins_stage *stage, uint32_t at) {
    uint32_t mtu = port->datapath->mtu;
    for (;; at++) {
        if (stage->tx[at].to.mtu < mtu)
            mtu = stage->tx[at].to.mtu;
        if (stage->of[at].last)
            break;
    }
    if (mtu < INS_WIRE_HEADER + IP_UDP_HEADERS)
        return 0;
    mtu -= INS_WIRE_HEADER + IP_UDP_HEADERS;
    return (mtu < INS_COALESCE_BODY ? mtu : INS_COALESCE_BODY) & ~(INS_ITEM_ALIGN - 1);
}

/* The message that is staged from `at` on, alone so far, becomes the first item of a batch with room for `more` bytes. */
static struct ins_batch *begin(struct ins_engine *e, struct ins_stage *stage, const struct ins_egress_source *source,
                               uint32_t more) {
    struct ins_batches *batches = stage->batches;
    uint32_t at = source->open_at;
    const struct ins_tx *tx = &stage->tx[at];
    const struct ins_port *port = &e->ports[e->flows[stage->of[at].flow].port];
    if (port->schedule || !port->datapath->mtu) {
        /* A longer datagram may fit no window, or no frame; not asked again. */
        stage->of[at].link->out.alone = INS_NOT_OPEN;
        return NULL;
    }
    uint32_t room = body_room(port, stage, at), first = ins_item_bytes(tx->payload_length);
    /* The one before keeps the room it was given, unless its source is done with it. */
    const struct ins_batch *before = batches->batch_count ? &batches->of[batches->batch_count - 1] : NULL;
    if (before && before->source == source)
        batches->bytes = (uint32_t)(before->body - batches->memory) + before->used;
    uint32_t begins = batches->bytes, left = INS_COALESCE_BYTES - begins;
    if (left < INS_WIRE_HEADER)
        return NULL;
    left -= INS_WIRE_HEADER;
    if (room > left)
        room = left;
    if (tx->payload_length > INS_COALESCE_MOST || first + more > room || batches->batch_count == INS_STAGE ||
        batches->item_count + 2 > INS_COALESCE_ITEMS)
        return NULL;
    struct ins_batch *batch = &batches->of[batches->batch_count++];
    *batch = (struct ins_batch){
        .body = batches->memory + begins + INS_WIRE_HEADER, .room = room, .source = source};
    batches->bytes = begins + INS_WIRE_HEADER + room;
    memcpy(&batch->emit_time, tx->header + INS_WIRE_EMIT_TIME, sizeof batch->emit_time);
    batch->emit_time = be64toh(batch->emit_time);
    batch->used = ins_item_write(batch->body, tx->payload, tx->payload_length, 0);
    if (stage->of[at].last) {
        uint8_t *header = batch->body - INS_WIRE_HEADER;
        memcpy(header, tx->header, INS_WIRE_HEADER);
        stage->tx[at].header = header;
    }
    for (uint32_t i = at;; i++) {
        /* Headers are the stage's or the batch's: ours to write. */
        ((uint8_t *)(uintptr_t)stage->tx[i].header)[INS_WIRE_TYPE] = INS_WIRE_TYPE_COALESCED;
        stage->tx[i].payload = batch->body;
        stage->of[i].batch = batches->batch_count;
        if (!stage->of[i].last)
            continue;
        note(batches, batch, stage->of[i].entry, tx->payload_length);
        break;
    }
    return batch;
}

/* Every datagram's flow goes on where its last message left it. */
static int flows_go_on(const struct ins_engine *e, const struct ins_stage *stage, uint32_t at) {
    for (;; at++) {
        const struct ins_staged *of = &stage->of[at];
        if (!e->flows[of->flow].used || e->flows[of->flow].id != of->flow_id)
            return 0;
        if (of->last)
            return 1;
    }
}

/* `more` messages are in the datagrams staged from `at` on. */
static void grown(struct ins_engine *e, struct ins_stage *stage, uint32_t at, uint32_t used, uint32_t more) {
    for (;; at++) {
        struct ins_tx *tx = &stage->tx[at];
        set_length((uint8_t *)(uintptr_t)tx->header, used);
        tx->payload_length = used;
        struct ins_flow *flow = &e->flows[stage->of[at].flow];
        ins_flow_next(e, flow);
        flow->next += more - 1;
        if (stage->of[at].last)
            return;
    }
}

int ins_coalesce_join(struct ins_engine *e, struct ins_stage *stage, struct ins_link *link,
                      struct ins_egress_source *source, const struct ins_descriptor *d, uint64_t emit_time) {
    uint32_t at = source->open_at, bytes = ins_item_bytes(d->length);
    struct ins_batches *batches = stage->batches;
    if (d->length > INS_COALESCE_MOST || !flows_go_on(e, stage, at))
        return 0;
    struct ins_batch *batch = stage->of[at].batch ? ins_batch_of(stage, &stage->of[at]) : begin(e, stage, source, bytes);
    if (!batch || bytes > batch->room - batch->used || batches->item_count == INS_COALESCE_ITEMS)
        return 0;
    uint64_t delta = emit_time - batch->emit_time;
    if (emit_time < batch->emit_time || delta > UINT32_MAX)
        return 0;
    ins_item_write(batch->body + batch->used, link->out.pools[d->pool].base + d->offset, d->length, (uint32_t)delta);
    batch->used += bytes;
    note(batches, batch, d->entry, d->length);
    grown(e, stage, at, batch->used, 1);
    return 1;
}

/* Of the same source, pool and channel, and with the same flags: two comparisons instead of four. */
static inline int alike(const struct ins_descriptor *a, const struct ins_descriptor *b) {
    enum { POOL = offsetof(struct ins_descriptor, pool), CHANNEL = offsetof(struct ins_descriptor, channel), PAIR = 8 };
    _Static_assert(offsetof(struct ins_descriptor, flags) == POOL + PAIR / 2 &&
                       offsetof(struct ins_descriptor, source) == CHANNEL + PAIR / 2,
                   "read as pairs");
    const uint8_t *x = (const uint8_t *)a, *y = (const uint8_t *)b;
    return memcmp(x + POOL, y + POOL, PAIR) == 0 && memcmp(x + CHANNEL, y + CHANNEL, PAIR) == 0;
}

uint32_t ins_coalesce_run(struct ins_engine *e, struct ins_stage *stage, struct ins_link *link,
                          const struct ins_descriptor *d, uint32_t count) {
    const struct ins_descriptor before = d[-1];
    const struct ins_egress_source *source = &link->out.sources[before.source];
    /* Copies: what is written below could be theirs, for all the compiler knows. */
    const struct ins_egress_pool pool = link->out.pools[before.pool];
    struct ins_batches *batches = stage->batches;
    struct ins_batch *batch = ins_batch_of(stage, &stage->of[source->open_at]);
    const uint64_t begin_time = batch->emit_time;
    const uint32_t most = pool.payload < INS_COALESCE_MOST ? pool.payload : INS_COALESCE_MOST;
    const uint32_t first = batches->item_count, left = INS_COALESCE_ITEMS - first;
    uint8_t *item = batch->body + batch->used, *const end = batch->body + batch->room;
    uint32_t payloads = 0, joined = 0;
    if (count > left)
        count = left;
    for (; joined < count; joined++, d++) {
        const uint32_t length = d->length, offset = d->offset, bytes = ins_item_bytes(length);
        /* As ins_egress_sound, but for what was found of the one before. */
        if (!alike(d, &before) || length > most || offset < INS_POOL_HEADER_ROOM || (uint64_t)offset + length > pool.bytes ||
            bytes > (size_t)(end - item))
            break;
        const uint8_t *payload = pool.base + offset;
        const uint64_t delta = ins_emit_time(e, payload) - begin_time;
        if (delta > UINT32_MAX) /* or before it */
            break;
        item += ins_item_write(item, payload, length, (uint32_t)delta);
        batches->items[first + joined].entry = (uint16_t)d->entry;
        batches->items[first + joined].next = (uint16_t)(first + joined + 1);
        payloads += length;
    }
    if (joined == 0)
        return 0;
    batches->items[batch->last].next = (uint16_t)first;
    batch->last = first + joined - 1;
    batches->item_count += joined;
    batch->count += joined;
    batch->payload += payloads;
    batch->used = (uint32_t)(item - batch->body);
    grown(e, stage, source->open_at, batch->used, joined);
    return joined;
}

void ins_coalesce_give_back(struct ins_engine *e, const struct ins_stage *stage, const struct ins_staged *of,
                            uint32_t status) {
    const struct ins_batch *batch = ins_batch_of(stage, of);
    const struct ins_batches *batches = stage->batches;
    struct ins_consumer *consumer = &of->link->out.consumer;
    uint32_t item = batch->first;
    for (uint32_t i = 0; i < batch->count; i++) {
        ins_link_write_return(consumer->segment, consumer->entries, consumer->return_tail + i, batches->items[item].entry, status);
        item = batches->items[item].next;
    }
    consumer->return_tail += batch->count;
    ins_link_touch(e, of->link);
}

void ins_coalesce_count(struct ins_engine *e, const struct ins_batch *batch) {
    ins_count(e, INS_COUNT_tx_coalesced, batch->count);
    ins_count(e, (enum ins_engine_counter)(INS_COUNT_tx_batches_2 + ins_coalesce_bucket(batch->count)), 1);
}
