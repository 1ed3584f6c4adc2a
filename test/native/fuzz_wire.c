/* Fuzzes the one parser of what arrives: random bytes, mutations of good messages, trains. Usage: fuzz_wire [SECONDS [SEED]]
   (default 10 s); build it with the asan preset. With clang -fsanitize=fuzzer -DINSANE_LIBFUZZER it is a libFuzzer target. */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/wire.h"

/* Items fill their body, as the engine walks it; turning one's header touches no other. */
static void check_items(const uint8_t *data, const struct ins_wire *wire) {
    uint8_t *copy = malloc(INS_META_BYTES + wire->length), *body = copy + INS_META_BYTES, meta[INS_META_BYTES];
    memset(copy, 0, INS_META_BYTES);
    memcpy(body, data, wire->length);
    uint32_t at = 0;
    for (uint32_t i = 0; i < wire->items; i++) {
        uint32_t length = ins_item_length(body + at);
        assert(at % INS_ITEM_ALIGN == 0 && ins_item_bytes(length) <= wire->length - at);
        ins_item_to_meta(body, at);
        ins_item_meta(body, at, i, length, meta);
        at += ins_item_bytes(length);
    }
    assert(wire->items && at == wire->length);
    free(copy);
}

/* What must hold of any input. Walks it as the engine does. */
static void check(const uint8_t *data, uint32_t length) {
    uint32_t at = 0;
    do {
        struct ins_wire wire;
        enum ins_wire_fault fault = ins_wire_parse(data + at, length - at, &wire);
        assert(fault < INS_WIRE_FAULTS);
        /* The short way says the same as the long one, and takes all that is plain. */
        struct ins_wire plain;
        int taken = ins_wire_parse_plain(data + at, length - at, &plain);
        assert(taken == (fault == INS_WIRE_OK && wire.type == INS_WIRE_TYPE_DATA && wire.flags == 0));
        if (fault)
            return;
        assert(!taken || (plain.length == wire.length && plain.tag == wire.tag && plain.channel == wire.channel &&
                          plain.source == wire.source && plain.flow == wire.flow && plain.flags == wire.flags &&
                          plain.type == wire.type && plain.sequence == wire.sequence &&
                          plain.emit_time == wire.emit_time));
        const int marker = wire.type == INS_WIRE_TYPE_MARKER || wire.type == INS_WIRE_TYPE_MARKER_ECHO;
        const int part = wire.type == INS_WIRE_TYPE_FRAGMENT, ask = wire.type == INS_WIRE_TYPE_ASK, status = wire.type == INS_WIRE_TYPE_STATUS;
        assert(wire.type == INS_WIRE_TYPE_DATA || wire.type == INS_WIRE_TYPE_COALESCED || wire.type == INS_WIRE_TYPE_HEARTBEAT || marker || part || ask || status);
        assert(!marker || wire.length == 0);
        assert(wire.body <= INS_WIRE_MAX_PAYLOAD && wire.body <= length - at - INS_WIRE_HEADER);
        assert(ask    ? wire.size && wire.body == 0 && (uint64_t)wire.index * wire.size < wire.length
               : part ? wire.size && wire.body && wire.length <= INS_POOL_MAX_MESSAGE &&
                          (uint64_t)wire.index * wire.size + wire.body <= wire.length
                    : wire.body == wire.length && !wire.size && !wire.index);
        struct ins_receipt receipt;
        assert(!status || ins_receipt_read(data + at + INS_WIRE_HEADER, wire.length, &receipt));
        assert(!status || INS_RECEIPT_BITMAP + receipt.bytes == wire.length);
        assert(!(wire.flags & INS_WIRE_FLAG_MUST));
        /* Accepted means: writing it again gives the same bytes. */
        uint8_t again[INS_WIRE_HEADER];
        ins_wire_write(again, &wire);
        assert(memcmp(again, data + at, sizeof again) == 0);
        uint8_t meta[INS_WIRE_HEADER];
        memcpy(meta, data + at, sizeof meta);
        ins_wire_to_meta(meta, &wire, 1);
        at += INS_WIRE_HEADER;
        for (uint32_t r = 0; wire.type == INS_WIRE_TYPE_HEARTBEAT && r < wire.length; r += INS_HEARTBEAT_RECORD_BYTES) {
            struct ins_heartbeat beat;
            uint8_t record[INS_HEARTBEAT_RECORD_BYTES];
            ins_heartbeat_read(data + at + r, &beat);
            ins_heartbeat_write(record, &beat);
            assert(memcmp(record, data + at + r, sizeof record) == 0);
        }
        if (wire.type == INS_WIRE_TYPE_COALESCED)
            check_items(data + at, &wire);
        at += wire.body;
    } while (at < length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size <= 65535)
        check(data, (uint32_t)size);
    return 0;
}

#ifndef INSANE_LIBFUZZER

static uint64_t state;
static uint32_t any(uint32_t below) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return below ? (uint32_t)(state >> 32) % below : 0;
}

/* Some messages one after the other, mostly good. */
static uint32_t compose(uint8_t *data, uint32_t most) {
    uint32_t at = 0;
    for (uint32_t messages = any(5); messages && at + INS_WIRE_HEADER < most; messages--) {
        struct ins_wire wire = {
            .type = any(4)   ? (any(2) ? INS_WIRE_TYPE_DATA : INS_WIRE_TYPE_COALESCED)
                    : any(2) ? (any(2) ? INS_WIRE_TYPE_FRAGMENT : any(2) ? INS_WIRE_TYPE_ASK : INS_WIRE_TYPE_STATUS)
                    : any(2) ? INS_WIRE_TYPE_HEARTBEAT
                    : any(2) ? INS_WIRE_TYPE_MARKER
                             : INS_WIRE_TYPE_MARKER_ECHO,
            .flags = any(2) ? 0 : any(256),
            .tag = any(UINT32_MAX),
            .flow = any(UINT32_MAX),
            .sequence = state,
        };
        uint32_t room = most - at - INS_WIRE_HEADER;
        wire.length = wire.type == INS_WIRE_TYPE_DATA        ? any(room < 2000 ? room : 2000)
                      : wire.type == INS_WIRE_TYPE_HEARTBEAT ? any(5) * INS_HEARTBEAT_RECORD_BYTES
                                                             : 0;
        for (uint32_t items = wire.type == INS_WIRE_TYPE_COALESCED ? any(20) : 0; items; items--) {
            static const uint8_t payload[256];
            uint32_t length = any(256);
            if (ins_item_bytes(length) > room - wire.length)
                break;
            wire.length += ins_item_write(data + at + INS_WIRE_HEADER + wire.length, payload, length, any(UINT32_MAX));
        }
        uint32_t body = wire.length;
        struct ins_receipt receipt = {.first = any(100) * 8, .bytes = any(5)};
        if (wire.type == INS_WIRE_TYPE_FRAGMENT || wire.type == INS_WIRE_TYPE_ASK) {
            wire.size = 1 + any(1500);
            wire.length = 1 + any(100000);
            wire.index = any(wire.length / wire.size + 1);
            uint64_t from = (uint64_t)wire.index * wire.size;
            body = from >= wire.length ? 0 : wire.length - from < wire.size ? (uint32_t)(wire.length - from) : wire.size;
            if (wire.type == INS_WIRE_TYPE_ASK)
                body = 0;
        }
        if (wire.type == INS_WIRE_TYPE_STATUS)
            body = wire.length = INS_RECEIPT_BITMAP + receipt.bytes;
        if (body > room)
            break;
        ins_wire_write(data + at, &wire);
        if (wire.type == INS_WIRE_TYPE_STATUS)
            ins_receipt_write(data + at + INS_WIRE_HEADER, &receipt);
        at += INS_WIRE_HEADER + body;
    }
    return at;
}

static void mutate(uint8_t *data, uint32_t *length) {
    for (uint32_t changes = any(4); changes; changes--)
        switch (any(4)) {
        case 0: /* a bit of a header */
            if (*length)
                data[any(*length < INS_WIRE_HEADER ? *length : INS_WIRE_HEADER)] ^= (uint8_t)(1u << any(8));
            break;
        case 1: /* a byte anywhere */
            if (*length)
                data[any(*length)] = (uint8_t)any(256);
            break;
        case 2: /* cut */
            *length = any(*length + 1);
            break;
        default: /* an interesting length */
            if (*length >= INS_WIRE_HEADER) {
                static const uint32_t values[] = {0, 1, 23, 24, 47, 48, 65459, 65460, 65535, 0x7fffffff, 0xffffffff};
                uint32_t value = values[any(sizeof values / sizeof *values)];
                for (uint32_t i = 0; i < 4; i++)
                    data[INS_WIRE_LENGTH + i] = (uint8_t)(value >> (24 - 8 * i));
            }
        }
}

int main(int count, char **arguments) {
    double seconds = count > 1 ? atof(arguments[1]) : 10;
    uint64_t seed = count > 2 ? strtoull(arguments[2], NULL, 0) : (uint64_t)time(NULL) * 2654435761u;
    state = seed ? seed : 1;
    time_t end = time(NULL) + (time_t)seconds;
    uint64_t inputs = 0;
    printf("fuzz_wire: seed %llu, %.0f s\n", (unsigned long long)seed, seconds);
    fflush(stdout);
    do
        for (uint32_t i = 0; i < 10000; i++, inputs++) {
            static uint8_t composed[8192];
            uint32_t length = any(4) ? compose(composed, sizeof composed) : any(200);
            if (length && !any(4))
                for (uint32_t k = 0; k < length; k++)
                    composed[k] = (uint8_t)any(256);
            mutate(composed, &length);
            /* A block of exactly that size, so that a sanitizer sees the first byte beyond. */
            uint8_t *data = malloc(length ? length : 1);
            memcpy(data, composed, length);
            check(data, length);
            free(data);
        }
    while (time(NULL) < end);
    printf("fuzz_wire: %llu inputs\n", (unsigned long long)inputs);
    return 0;
}

#endif
