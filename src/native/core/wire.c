/* Wire v1, see wire.h. Bytes are put together one load at a time, whatever the alignment. */
#include "wire.h"

#include <endian.h>
#include <string.h>

static uint32_t load16(const uint8_t *at) {
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return be16toh(value);
}

static uint32_t load32(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return be32toh(value);
}

static uint64_t load64(const uint8_t *at) {
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return be64toh(value);
}

static void store16(uint8_t *at, uint32_t value) {
    uint16_t wire = htobe16((uint16_t)value);
    memcpy(at, &wire, sizeof wire);
}

static void store32(uint8_t *at, uint32_t value) {
    uint32_t wire = htobe32(value);
    memcpy(at, &wire, sizeof wire);
}

static void store64(uint8_t *at, uint64_t value) {
    uint64_t wire = htobe64(value);
    memcpy(at, &wire, sizeof wire);
}

/* How many items a body of coalesced data has; 0: it is none, or does not end with an item. */
static uint32_t count_items(const uint8_t *body, uint32_t length) {
    uint32_t count = 0;
    for (uint32_t at = 0; at < length; count++) {
        if (length - at < INS_ITEM_HEADER)
            return 0;
        uint32_t bytes = ins_item_bytes(load16(body + at + INS_ITEM_LENGTH));
        if (bytes > length - at)
            return 0;
        at += bytes;
    }
    return count;
}

static void read_rest(const uint8_t *data, struct ins_wire *out) {
    out->tag = load32(data + INS_WIRE_TAG);
    out->channel = load32(data + INS_WIRE_CHANNEL);
    out->source = load32(data + INS_WIRE_SOURCE);
    out->flow = load32(data + INS_WIRE_FLOW);
    out->sequence = load64(data + INS_WIRE_SEQUENCE);
    out->emit_time = load64(data + INS_WIRE_EMIT_TIME);
}

int ins_wire_parse_plain(const uint8_t *data, uint32_t available, struct ins_wire *out) {
    /* Magic, version, type, no flags, no fragment size. */
    const uint64_t plain = (uint64_t)INS_WIRE_MAGIC_VALUE << 48 | (uint64_t)INS_WIRE_VERSION_VALUE << 40 |
                           (uint64_t)INS_WIRE_TYPE_DATA << 32;
    if (available < INS_WIRE_HEADER || load64(data) != plain)
        return 0;
    uint64_t length = load64(data + INS_WIRE_LENGTH);
    out->length = (uint32_t)(length >> 32);
    if ((uint32_t)length != 0 || out->length > INS_WIRE_MAX_PAYLOAD || out->length > available - INS_WIRE_HEADER)
        return 0;
    out->type = INS_WIRE_TYPE_DATA;
    out->flags = 0;
    read_rest(data, out);
    return 1;
}

static int known(uint32_t type) {
    return type == INS_WIRE_TYPE_COALESCED || type == INS_WIRE_TYPE_HEARTBEAT || type == INS_WIRE_TYPE_FRAGMENT || type == INS_WIRE_TYPE_STATUS ||
           type == INS_WIRE_TYPE_MARKER || type == INS_WIRE_TYPE_MARKER_ECHO || type == INS_WIRE_TYPE_ASK;
}

/* A fragment lies in its message; fills in how much of it that is. */
static int within(struct ins_wire *wire) {
    const uint64_t at = (uint64_t)wire->index * wire->size;
    if (wire->size == 0 || wire->size > INS_WIRE_MAX_PAYLOAD || wire->length > INS_POOL_MAX_MESSAGE || at >= wire->length)
        return 0;
    wire->body = wire->length - at < wire->size ? (uint32_t)(wire->length - at) : wire->size;
    return 1;
}

/* Of what is no data of one message: the body is one of its type. */
static int sound_body(struct ins_wire *wire, const uint8_t *body) {
    struct ins_receipt status;
    switch (wire->type) {
    case INS_WIRE_TYPE_STATUS:
        return ins_receipt_read(body, wire->length, &status);
    case INS_WIRE_TYPE_COALESCED:
        return (wire->items = count_items(body, wire->length)) != 0;
    case INS_WIRE_TYPE_HEARTBEAT:
        return wire->length % INS_HEARTBEAT_RECORD_BYTES == 0 &&
               wire->length <= INS_HEARTBEAT_MAX_RECORDS * INS_HEARTBEAT_RECORD_BYTES;
    default: /* markers */
        return wire->length == 0;
    }
}

enum ins_wire_fault ins_wire_parse(const uint8_t *data, uint32_t available, struct ins_wire *out) {
    if (available < INS_WIRE_HEADER)
        return INS_WIRE_BAD_SHORT;
    if (load16(data + INS_WIRE_MAGIC) != INS_WIRE_MAGIC_VALUE)
        return INS_WIRE_BAD_MAGIC;
    if (data[INS_WIRE_VERSION] != INS_WIRE_VERSION_VALUE)
        return INS_WIRE_BAD_VERSION;
    out->type = data[INS_WIRE_TYPE];
    if (out->type != INS_WIRE_TYPE_DATA && !known(out->type))
        return INS_WIRE_BAD_TYPE;
    out->flags = load16(data + INS_WIRE_FLAGS);
    if (out->flags & INS_WIRE_FLAG_MUST)
        return INS_WIRE_BAD_FLAGS;
    out->length = load32(data + INS_WIRE_LENGTH);
    out->size = load16(data + INS_WIRE_FRAGMENT_SIZE);
    out->index = load32(data + INS_WIRE_FRAGMENT_INDEX);
    if (out->type == INS_WIRE_TYPE_FRAGMENT || out->type == INS_WIRE_TYPE_ASK) {
        if (!within(out))
            return INS_WIRE_BAD_LENGTH;
        if (out->type == INS_WIRE_TYPE_ASK)
            out->body = 0;
        if (out->body > available - INS_WIRE_HEADER)
            return INS_WIRE_BAD_LENGTH;
        read_rest(data, out);
        return INS_WIRE_OK;
    }
    out->body = out->length;
    if (out->length > INS_WIRE_MAX_PAYLOAD || (out->size | out->index) != 0 || out->length > available - INS_WIRE_HEADER)
        return INS_WIRE_BAD_LENGTH;
    if (out->type != INS_WIRE_TYPE_DATA && !sound_body(out, data + INS_WIRE_HEADER))
        return INS_WIRE_BAD_LENGTH;
    read_rest(data, out);
    return INS_WIRE_OK;
}

void ins_wire_write(uint8_t *header, const struct ins_wire *wire) {
    store16(header + INS_WIRE_MAGIC, INS_WIRE_MAGIC_VALUE);
    header[INS_WIRE_VERSION] = INS_WIRE_VERSION_VALUE;
    header[INS_WIRE_TYPE] = (uint8_t)wire->type;
    store16(header + INS_WIRE_FLAGS, wire->flags);
    store16(header + INS_WIRE_FRAGMENT_SIZE, 0);
    store32(header + INS_WIRE_TAG, wire->tag);
    store32(header + INS_WIRE_CHANNEL, wire->channel);
    store32(header + INS_WIRE_SOURCE, wire->source);
    store32(header + INS_WIRE_FLOW, wire->flow);
    store64(header + INS_WIRE_SEQUENCE, wire->sequence);
    store64(header + INS_WIRE_EMIT_TIME, wire->emit_time);
    store32(header + INS_WIRE_LENGTH, wire->length);
    store32(header + INS_WIRE_FRAGMENT_INDEX, 0);
    if (wire->type == INS_WIRE_TYPE_FRAGMENT || wire->type == INS_WIRE_TYPE_ASK) {
        store16(header + INS_WIRE_FRAGMENT_SIZE, wire->size);
        store32(header + INS_WIRE_FRAGMENT_INDEX, wire->index);
    }
}

void ins_wire_to_meta(uint8_t *header, const struct ins_wire *wire, uint64_t receive_time) {
    memcpy(header + INS_META_RECEIVE_TIME, &receive_time, 8);
    memcpy(header + INS_META_SOURCE, &wire->source, 4);
    memcpy(header + INS_META_FLOW, &wire->flow, 4);
    memcpy(header + INS_META_SEQUENCE, &wire->sequence, 8);
    memcpy(header + INS_META_EMIT_TIME, &wire->emit_time, 8);
    memcpy(header + INS_META_LENGTH, &wire->length, 4);
}

void ins_wire_move_up(uint8_t *header, uint32_t count) {
    store64(header + INS_WIRE_SEQUENCE, load64(header + INS_WIRE_SEQUENCE) - count);
}

void ins_item_to_meta(uint8_t *body, uint32_t at) {
    uint8_t *payload = body + at + INS_ITEM_HEADER;
    uint32_t delta = load32(body + at + INS_ITEM_DELTA);
    memcpy(payload - INS_ITEM_META_DELTA, &delta, 4);
    memcpy(payload - INS_ITEM_META_BACK, &at, 4);
}

void ins_item_meta(const uint8_t *body, uint32_t at, uint32_t index, uint32_t length, uint8_t *meta) {
    uint64_t sequence, emit_time;
    uint32_t delta;
    memcpy(meta, body - INS_META_BYTES, INS_META_BYTES);
    memcpy(&delta, body + at + INS_ITEM_HEADER - INS_ITEM_META_DELTA, 4);
    memcpy(&sequence, meta + INS_META_SEQUENCE, 8);
    memcpy(&emit_time, meta + INS_META_EMIT_TIME, 8);
    sequence += index;
    emit_time += delta;
    memcpy(meta + INS_META_SEQUENCE, &sequence, 8);
    memcpy(meta + INS_META_EMIT_TIME, &emit_time, 8);
    memcpy(meta + INS_META_LENGTH, &length, 4);
}

void ins_heartbeat_write(uint8_t *record, const struct ins_heartbeat *heartbeat) {
    store32(record + INS_HEARTBEAT_FLOW, heartbeat->flow);
    store32(record + INS_HEARTBEAT_TAG, heartbeat->tag);
    store32(record + INS_HEARTBEAT_CHANNEL, heartbeat->channel);
    store32(record + INS_HEARTBEAT_SOURCE, heartbeat->source);
    store64(record + INS_HEARTBEAT_NEXT, heartbeat->next);
}

void ins_heartbeat_read(const uint8_t *record, struct ins_heartbeat *out) {
    out->flow = load32(record + INS_HEARTBEAT_FLOW);
    out->tag = load32(record + INS_HEARTBEAT_TAG);
    out->channel = load32(record + INS_HEARTBEAT_CHANNEL);
    out->source = load32(record + INS_HEARTBEAT_SOURCE);
    out->next = load64(record + INS_HEARTBEAT_NEXT);
}

void ins_receipt_write(uint8_t *body, const struct ins_receipt *status) {
    store64(body + INS_RECEIPT_CONSUMED, status->consumed);
    store64(body + INS_RECEIPT_WINDOW, status->window);
    store32(body + INS_RECEIPT_FIRST, status->first);
    store16(body + INS_RECEIPT_BYTES, status->bytes);
}

int ins_receipt_read(const uint8_t *body, uint32_t length, struct ins_receipt *out) {
    if (length < INS_RECEIPT_BITMAP || length > INS_RECEIPT_BITMAP + INS_RECEIPT_MAX_BITMAP)
        return 0;
    out->consumed = load64(body + INS_RECEIPT_CONSUMED);
    out->window = load64(body + INS_RECEIPT_WINDOW);
    out->first = load32(body + INS_RECEIPT_FIRST);
    out->bytes = load16(body + INS_RECEIPT_BYTES);
    return out->bytes == length - INS_RECEIPT_BITMAP && out->first % 8 == 0;
}
