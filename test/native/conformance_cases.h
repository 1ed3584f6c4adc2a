/* What the files of the conformance suite share: an open end with its pool, messages with a pattern, and the run over all
   media. Only for files that include cmocka. */
#ifndef INSANE_TEST_CONFORMANCE_CASES_H
#define INSANE_TEST_CONFORMANCE_CASES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "conformance_media.h"
#include "core/wire.h"
#include "engine_harness.h"

enum { SLOTS = 128, PATIENCE_MS = 60000 };

/* One open end with its pool, used on this thread as an engine would. */
struct end {
    struct ins_datapath *dp;
    struct ins_endpoint at;
    struct ins_pool pool;
    uint8_t *memory;
    size_t memory_bytes;
};

static inline void end_open(struct end *end, const struct medium *medium, int side) {
    uint32_t stride = INS_POOL_HEADER_ROOM + medium->bytes;
    memset(end, 0, sizeof *end);
    end->at.address = inet_addr(medium->address[side]);
    end->memory_bytes = (size_t)SLOTS * stride;
    end->memory = mmap(NULL, end->memory_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(end->memory != MAP_FAILED);
    conformance_stand(medium, side);
    assert_int_equal(ins_pool_init(&end->pool, end->memory, (uint64_t)SLOTS * stride, SLOTS, stride), 0);
    assert_int_equal(ins_datapath_open(medium->technology, medium->options[side], &end->at, &end->dp), 0);
    int error = end->dp->ops->bind(end->dp, &end->pool);
    /* What the end before it held may be let go of only after a grace period of the kernel's. */
    for (uint64_t until = harness_ms() + PATIENCE_MS; error == -EBUSY && harness_ms() < until;)
        error = end->dp->ops->bind(end->dp, &end->pool);
    assert_int_equal(error, 0);
}

static inline void end_close(struct end *end) {
    end->dp->ops->unbind(end->dp);
    assert_int_equal(end->pool.free_count, SLOTS); /* every slot came home */
    assert_int_equal(ins_datapath_close(end->dp), 0);
    ins_pool_free(&end->pool);
    munmap(end->memory, end->memory_bytes);
}

/* A message of wire v1, filled with a pattern. */
struct parcel {
    uint8_t header[INS_WIRE_HEADER];
    uint8_t *payload;
    uint32_t length;
};

static inline void pack(struct parcel *parcel, uint32_t length, uint64_t sequence) {
    struct ins_wire wire = {.type = INS_WIRE_TYPE_DATA, .sequence = sequence, .length = length};
    ins_wire_write(parcel->header, &wire);
    parcel->length = length;
    parcel->payload = malloc(length + 1);
    for (uint32_t i = 0; i < length; i++)
        parcel->payload[i] = (uint8_t)(sequence + i * 3 + (i >> 9));
}

static inline struct ins_tx tx_of(const struct parcel *parcel, const struct end *to) {
    return (struct ins_tx){
        .header = parcel->header,
        .payload = parcel->payload,
        .header_length = INS_WIRE_HEADER,
        .payload_length = parcel->length,
        .to = to->at,
        .error = 12345,
    };
}

/* Sends all, trying again as often as it takes; each has its answer in tx->error. */
static inline void send_any(struct end *from, struct ins_tx *tx, uint32_t count) {
    uint64_t until = harness_ms() + PATIENCE_MS;
    for (uint32_t done = 0; done < count;) {
        int taken = from->dp->ops->tx_burst(from->dp, tx + done, count - done);
        assert_true(taken >= 0 && (uint32_t)taken <= count - done);
        done += (uint32_t)taken;
        harness_deadline(until, "a datapath that takes datagrams", __FILE__, __LINE__);
    }
}

static inline void send_all(struct end *from, struct ins_tx *tx, uint32_t count) {
    send_any(from, tx, count);
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(tx[i].error, 0);
}

static inline void send_one(struct end *from, const struct end *to, uint32_t length, uint64_t sequence) {
    struct parcel parcel;
    pack(&parcel, length, sequence);
    struct ins_tx tx = tx_of(&parcel, to);
    send_all(from, &tx, 1);
    free(parcel.payload);
}

/* An engine's turn with nothing to send and no slot to receive into: what was taken may still wait inside, for an address
   to be resolved or its time to come. */
static inline void turn(const struct end *end) {
    end->dp->ops->tx_burst(end->dp, NULL, 0);
}

/* Receives until `count` messages were seen; checks order from `next`, pattern, sender; gives slots back. */
static inline void receive(struct end *at, struct end *from, uint64_t next, uint32_t count, uint32_t budget) {
    uint64_t until = harness_ms() + PATIENCE_MS, end = next + count;
    struct ins_rx rx[64];
    while (next < end) {
        turn(from);
        int got = at->dp->ops->rx_burst(at->dp, rx, budget);
        assert_true(got >= 0 && (uint32_t)got <= budget);
        for (int i = 0; i < got; i++) {
            assert_int_equal(rx[i].from.address, from->at.address);
            assert_int_equal(rx[i].from.port, from->at.port);
            assert_true(rx[i].slot < SLOTS && at->pool.refs[rx[i].slot] == 1);
            uint32_t begin = rx[i].slot * at->pool.stride, place = rx[i].offset, left = rx[i].length;
            assert_true(place >= begin && place + left <= begin + at->pool.stride);
            while (left) {
                struct ins_wire wire;
                assert_int_equal(ins_wire_parse(at->memory + place, left, &wire), INS_WIRE_OK);
                assert_int_equal(wire.sequence, next);
                for (uint32_t k = 0; k < wire.length; k++)
                    assert_int_equal(at->memory[place + INS_WIRE_HEADER + k], (uint8_t)(next + k * 3 + (k >> 9)));
                next++;
                place += INS_WIRE_HEADER + wire.length;
                left -= INS_WIRE_HEADER + wire.length;
            }
            assert_int_equal(ins_pool_unref(&at->pool, rx[i].slot), 0);
        }
        harness_deadline(until, "datagrams", __FILE__, __LINE__);
    }
}

/* ---- engines with threads of their own over the medium ---- */

enum { TAG = 1, CHANNEL = 2, PEER = 3, EXIT = 1, ENTRANCE = 2, SOURCE = 9 };

/* A sends to B on one channel. */
struct lane {
    struct node a, b;
    struct exit_link exit;
    struct entrance entrance;
};

/* `payload`: of the slots that are sent from. Engines receive into slots of what the medium takes. */
static inline void lane_open_with(struct lane *lane, const struct medium *medium, struct ins_engine_config config,
                                  uint32_t payload) {
    config.receive_bytes = medium->bytes;
    conformance_stand(medium, 0);
    node_open_at(&lane->a, &config, medium->technology, medium->options[0], inet_addr(medium->address[0]));
    conformance_stand(medium, 1);
    node_open_at(&lane->b, &config, medium->technology, medium->options[1], inet_addr(medium->address[1]));
    node_introduce(&lane->a, &lane->b, PEER);
    exit_open(&lane->exit, &lane->a, EXIT, TAG, 32, 48, payload);
    entrance_open(&lane->entrance, &lane->b, ENTRANCE, 256);
    node_do(&lane->a, ins_engine_add_source(lane->a.engine, EXIT, 0, SOURCE, 0, CHANNEL));
    node_do(&lane->b, ins_engine_subscribe(lane->b.engine, ENTRANCE, TAG, CHANNEL, 0));
    node_do(&lane->a, ins_engine_add_route(lane->a.engine, TAG, CHANNEL, PEER));
}

static inline void lane_open(struct lane *lane, const struct medium *medium) {
    lane_open_with(lane, medium, node_config(), 2048);
}

/* Takes what is there, which must be in order from `*received`. */
static inline void lane_take(struct lane *lane, uint64_t *received) {
    struct ins_descriptor d[32];
    int count = entrance_take(&lane->entrance, &lane->b, d, 32);
    for (int i = 0; i < count; i++) {
        assert_int_equal(entrance_mark(&lane->b, &d[i]), (*received)++);
        entrance_give(&lane->entrance, &lane->b, &d[i]);
    }
}

/* Sends messages `from` to `to` - 1, a window at a time, and takes them in order. It may take as long as it likes on a busy
   host, as long as some arrive. */
static inline void lane_exchange(struct lane *lane, uint64_t from, uint64_t to) {
    enum { WINDOW = 96, SOME = 200 };
    uint64_t sent = from, received = from;
    while (received < to) {
        uint64_t next = received + SOME < to ? received + SOME : to;
        HARNESS_UNTIL(received >= next, &lane->a, &lane->b) {
            while (sent < to && sent - received < WINDOW && exit_send(&lane->exit, &lane->a, 0, 0, 8 + sent % 1400, sent))
                sent++;
            lane_take(lane, &received);
        }
    }
}

static inline void lane_close(struct lane *lane) {
    exit_close(&lane->exit, &lane->a);
    entrance_close(&lane->entrance, &lane->b);
    node_close(&lane->a);
    node_close(&lane->b);
}

/* ---- the run ---- */

/* All tests over all media; those that this host cannot offer are skipped and say why. */
static inline int conformance_run(const char *theme, const struct CMUnitTest *tests, size_t count) {
    const struct medium *medium;
    int failed = 0;
    for (uint32_t i = 0; (medium = conformance_medium(i)); i++) {
        struct CMUnitTest on_medium[16];
        struct ins_probe probe;
        if (count > sizeof on_medium / sizeof *on_medium)
            return 1;
        printf("%s over %s %s\n", theme, medium->technology, medium->options[0]);
        if (medium->set_up && medium->set_up(medium))
            continue;
        conformance_stand(medium, 0);
        if (ins_datapath_probe(medium->technology, medium->probe ? medium->probe : "", &probe))
            return 1;
        if (!probe.available) {
            printf("skipped: %s\n", probe.reason);
            if (medium->tear_down)
                medium->tear_down(medium);
            continue;
        }
        for (size_t k = 0; k < count; k++) {
            on_medium[k] = tests[k];
            on_medium[k].initial_state = (void *)(uintptr_t)medium;
        }
        char name[96];
        snprintf(name, sizeof name, "%s %s %s", theme, medium->technology, medium->options[0]);
        failed += _cmocka_run_group_tests(name, on_medium, count, NULL, NULL);
        if (medium->tear_down)
            medium->tear_down(medium);
    }
    return failed;
}

#endif
