/* What every datapath must do, whatever it is built on. A new one is a line in `media` (with a set-up of its own where
   loopback does not do). Media that this host cannot offer are skipped and say why. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/wire.h"
#include "engine_harness.h"
#include "two_hosts.h"

/* Two ends that reach each other. */
struct medium {
    const char *technology;
    const char *options[2];
    const char *address[2];
    uint32_t largest; /* payload that must get through; more must be refused, not cut */
    uint32_t bytes;   /* of a receive slot's payload */
    int (*set_up)(struct medium *medium); /* NULL: nothing to do. Not 0: not here, skip */
    void (*tear_down)(struct medium *medium);
    struct medium *fellow; /* opens a third end, beside the second: one that has room for two does it itself (NULL) */
    const int *host[2];    /* network namespaces in which the ends are; NULL: where we are */
};

static struct two_hosts hosts;
static int two_hosts_plain(struct medium *medium) {
    (void)medium;
    return two_hosts_open(&hosts, 1500, 1);
}
static int two_hosts_jumbo(struct medium *medium) {
    (void)medium;
    return two_hosts_open(&hosts, 9000, 1);
}
static void two_hosts_end(struct medium *medium) {
    (void)medium;
    two_hosts_close(&hosts);
}
/* Ends of one technology on two hosts; an interface has room for one endpoint of xdp, so the third one is udp. */
#define HOSTS .address = {HOST_A_ADDRESS, HOST_B_ADDRESS}, .host = {&hosts.a, &hosts.b}
static struct medium udp_beside = {"udp", {"", ""}, .largest = 1424, .bytes = 65536, HOSTS};

static struct medium media[] = {
    {"udp", {"", ""}, {"127.0.0.1", "127.0.0.1"}, INS_WIRE_MAX_PAYLOAD, 65536, NULL, NULL, NULL, {NULL, NULL}},
    {"xdp", {"", ""}, .largest = 1424, .bytes = 4032, .set_up = two_hosts_plain, .tear_down = two_hosts_end,
     .fellow = &udp_beside, HOSTS},
    {"xdp", {"mtu=9000", "mtu=9000"}, .largest = 8924, .bytes = 16320, .set_up = two_hosts_jumbo,
     .tear_down = two_hosts_end, .fellow = &udp_beside, HOSTS},
    {"xdp", {"mode=skb", "mode=skb"}, .largest = 1424, .bytes = 4032, .set_up = two_hosts_plain,
     .tear_down = two_hosts_end, .fellow = &udp_beside, HOSTS},
};

enum { SLOTS = 128 };

/* One open end with its pool, used on this thread as an engine would. */
struct end {
    struct ins_datapath *dp;
    struct ins_endpoint at;
    struct ins_pool pool;
    uint8_t *memory;
    size_t memory_bytes;
};

static void stand_beside(const struct medium *medium, int side) {
    if (medium->host[side])
        stand_in(*medium->host[side]);
}

static void end_open(struct end *end, const struct medium *medium, int side) {
    uint32_t stride = INS_POOL_HEADER_ROOM + medium->bytes;
    memset(end, 0, sizeof *end);
    end->at.address = inet_addr(medium->address[side]);
    end->memory_bytes = (size_t)SLOTS * stride;
    end->memory = mmap(NULL, end->memory_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(end->memory != MAP_FAILED);
    stand_beside(medium, side);
    assert_int_equal(ins_pool_init(&end->pool, end->memory, (uint64_t)SLOTS * stride, SLOTS, stride), 0);
    assert_int_equal(ins_datapath_open(medium->technology, medium->options[side], &end->at, &end->dp), 0);
    assert_int_equal(end->dp->ops->bind(end->dp, &end->pool), 0);
}

static void end_close(struct end *end) {
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

static void pack(struct parcel *parcel, uint32_t length, uint64_t sequence) {
    struct ins_wire wire = {.type = INS_WIRE_TYPE_DATA, .sequence = sequence, .length = length};
    ins_wire_write(parcel->header, &wire);
    parcel->length = length;
    parcel->payload = malloc(length + 1);
    for (uint32_t i = 0; i < length; i++)
        parcel->payload[i] = (uint8_t)(sequence + i * 3 + (i >> 9));
}

static struct ins_tx tx_of(const struct parcel *parcel, const struct end *to) {
    return (struct ins_tx){
        .header = parcel->header,
        .payload = parcel->payload,
        .header_length = INS_WIRE_HEADER,
        .payload_length = parcel->length,
        .to = to->at,
        .error = 12345,
    };
}

/* Sends all, trying again as often as it takes. */
static void send_all(struct end *from, struct ins_tx *tx, uint32_t count) {
    uint64_t until = harness_ms() + 10000;
    for (uint32_t done = 0; done < count;) {
        int taken = from->dp->ops->tx_burst(from->dp, tx + done, count - done);
        assert_true(taken >= 0 && (uint32_t)taken <= count - done);
        for (int i = 0; i < taken; i++)
            assert_int_equal(tx[done + (uint32_t)i].error, 0);
        done += (uint32_t)taken;
        harness_deadline(until, "a datapath that takes datagrams", __FILE__, __LINE__);
    }
}

/* An engine's turn with nothing to send: what was taken may still wait inside, for an address to be resolved. */
static void turn(const struct end *end) { end->dp->ops->tx_burst(end->dp, NULL, 0); }

/* Receives until `count` messages were seen; checks order from `next`, pattern, sender; gives slots back. */
static void receive(struct end *at, const struct end *from, uint64_t next, uint32_t count, uint32_t budget) {
    uint64_t until = harness_ms() + 10000, end = next + count;
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

static void it_opens_an_endpoint_of_its_own_and_says_which(void **state) {
    struct medium *medium = *state;
    struct end a, b;
    end_open(&a, medium, 0);
    end_open(&b, medium, 1);
    assert_int_not_equal(a.at.port, 0);
    assert_true(a.at.mtu >= 576);
    assert_true(a.at.address != b.at.address || a.at.port != b.at.port);
    struct ins_datapath *second = NULL;
    struct ins_endpoint taken = a.at;
    assert_true(ins_datapath_open(medium->technology, medium->options[0], &taken, &second) < 0);
    struct ins_endpoint free_port = {.address = a.at.address};
    assert_true(ins_datapath_open(medium->technology, "nonsense=1", &free_port, &second) == -EINVAL);
    int fds[4], flags = ins_datapath_flags(medium->technology);
    assert_true(flags >= 0);
    if (flags & INS_DATAPATH_CAN_PARK)
        assert_true(a.dp->ops->fds(a.dp, fds, 4) > 0);
    char name[64];
    uint64_t value;
    uint32_t stats = 0;
    while (ins_datapath_stat(a.dp, stats, name, sizeof name, &value) == 0) {
        assert_true(name[0] != 0);
        stats++;
    }
    assert_true(stats > 0);
    end_close(&a);
    end_close(&b);
}

static void what_sizes_there_are_get_through_whole(void **state) {
    struct medium *medium = *state;
    const uint32_t sizes[] = {0,    1,    7,    8,    63,    64,    65,    511,   512,   513,  1171, 1172, 1173,  1423,
                              1424, 1425, 1451, 1452, 1453,  1471,  1472,  1473,  2047,  2048, 2049, 8952, 8953,  16384,
                              32767, 65000, 65458, 65459};
    struct end a, b;
    end_open(&a, medium, 0);
    end_open(&b, medium, 1);
    uint64_t sequence = 0;
    for (uint32_t budget = 1; budget <= 32; budget += 31)
        for (uint32_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            struct parcel parcel;
            if (sizes[i] > medium->largest)
                continue;
            pack(&parcel, sizes[i], sequence);
            struct ins_tx tx = tx_of(&parcel, &b);
            send_all(&a, &tx, 1);
            receive(&b, &a, sequence++, 1, budget);
            free(parcel.payload);
        }
    end_close(&a);
    end_close(&b);
}

static void what_is_too_large_is_refused_and_not_cut(void **state) {
    struct medium *medium = *state;
    struct end a, b;
    struct parcel large, small;
    end_open(&a, medium, 0);
    end_open(&b, medium, 1);
    pack(&large, medium->largest + 1, 7);
    pack(&small, 8, 0);
    struct ins_tx tx[2] = {tx_of(&large, &b), tx_of(&small, &b)};
    uint32_t done = 0;
    for (uint64_t until = harness_ms() + 10000; done < 2; harness_deadline(until, "an answer", __FILE__, __LINE__))
        done += (uint32_t)a.dp->ops->tx_burst(a.dp, tx + done, 2 - done);
    assert_true(tx[0].error < 0);
    assert_int_equal(tx[1].error, 0);
    receive(&b, &a, 0, 1, 8); /* the small one and nothing before it */
    free(large.payload);
    free(small.payload);
    end_close(&a);
    end_close(&b);
}

static void bursts_of_mixed_sizes_stay_in_order(void **state) {
    struct medium *medium = *state;
    enum { BURST = 64, ROUNDS = 100 };
    struct end a, b;
    struct parcel parcels[BURST];
    struct ins_tx tx[BURST];
    end_open(&a, medium, 0);
    end_open(&b, medium, 1);
    uint64_t sequence = 0;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint32_t count = 1 + round * 7 % BURST;
        for (uint32_t i = 0; i < count; i++) {
            /* Runs of equal sizes, a shorter one now and then, and some that fit no frame. */
            uint32_t size = round % 5 == 4 ? i % 3 * 900 : i % 11 == 10 ? 40 : round % 2 ? 100 : 700;
            pack(&parcels[i], size < medium->largest ? size : medium->largest, sequence + i);
            tx[i] = tx_of(&parcels[i], &b);
        }
        send_all(&a, tx, count);
        receive(&b, &a, sequence, count, round % 3 ? 32 : 1);
        sequence += count;
        for (uint32_t i = 0; i < count; i++)
            free(parcels[i].payload);
    }
    end_close(&a);
    end_close(&b);
}

static void without_a_slot_it_says_so_and_goes_on_when_there_is_one(void **state) {
    struct medium *medium = *state;
    struct end a, b;
    struct ins_rx rx[SLOTS];
    uint32_t held = 0;
    end_open(&a, medium, 0);
    end_open(&b, medium, 1);
    uint64_t until = harness_ms() + 10000;
    for (uint64_t sequence = 0;; sequence++) {
        struct parcel parcel;
        pack(&parcel, 8, sequence);
        struct ins_tx tx = tx_of(&parcel, &b);
        send_all(&a, &tx, 1);
        free(parcel.payload);
        int got = b.dp->ops->rx_burst(b.dp, &rx[held], 1);
        if (got == -ENOBUFS)
            break;
        assert_true(got >= 0);
        held += (uint32_t)got;
        assert_true(held <= SLOTS);
        harness_deadline(until, "the pool to be used up", __FILE__, __LINE__);
    }
    assert_true(held >= SLOTS / 2);
    assert_int_equal(b.pool.free_count, 0);
    for (uint32_t i = 0; i < held; i++)
        ins_pool_unref(&b.pool, rx[i].slot);
    /* What was sent meanwhile may have waited or been lost; this one comes in any case. */
    int got = b.dp->ops->rx_burst(b.dp, rx, 1);
    struct parcel parcel;
    pack(&parcel, 8, 0);
    struct ins_tx tx = tx_of(&parcel, &b);
    send_all(&a, &tx, 1);
    free(parcel.payload);
    for (; got == 0; turn(&a), harness_deadline(until, "the datapath to go on", __FILE__, __LINE__))
        got = b.dp->ops->rx_burst(b.dp, rx, 1);
    assert_int_equal(got, 1);
    ins_pool_unref(&b.pool, rx[0].slot);
    end_close(&a);
    end_close(&b);
}

static void a_peer_that_is_gone_breaks_nothing(void **state) {
    struct medium *medium = *state;
    struct end a, b, c;
    struct ins_rx rx[8];
    end_open(&a, medium, 0);
    end_open(&b, medium, 1);
    end_open(&c, medium->fellow ? medium->fellow : medium, 1);
    end_close(&b);
    for (uint64_t i = 0; i < 200; i++) {
        struct parcel parcel;
        pack(&parcel, 100, i);
        struct ins_tx tx[2] = {tx_of(&parcel, &b), tx_of(&parcel, &c)};
        uint32_t done = 0;
        for (uint64_t until = harness_ms() + 10000; done < 2; harness_deadline(until, "an answer", __FILE__, __LINE__)) {
            int taken = a.dp->ops->tx_burst(a.dp, tx + done, 2 - done);
            assert_true(taken >= 0);
            done += (uint32_t)taken;
        }
        free(parcel.payload);
        if (tx[1].error == 0)
            receive(&c, &a, i, 1, 4);
        assert_int_equal(tx[1].error, 0);
        assert_true(a.dp->ops->rx_burst(a.dp, rx, 8) >= 0); /* no echo of the refusal is a breakage */
    }
    end_close(&a);
    end_close(&c);
}

static void its_descriptors_become_readable_when_something_came(void **state) {
    struct medium *medium = *state;
    if (!(ins_datapath_flags(medium->technology) & INS_DATAPATH_CAN_PARK))
        skip();
    struct end a, b;
    int fds[4];
    end_open(&a, medium, 0);
    end_open(&b, medium, 1);
    int count = b.dp->ops->fds(b.dp, fds, 4);
    struct pollfd waits[4];
    for (int i = 0; i < count; i++)
        waits[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
    assert_int_equal(poll(waits, (nfds_t)count, 20), 0);
    struct parcel parcel;
    pack(&parcel, 64, 0);
    struct ins_tx tx = tx_of(&parcel, &b);
    send_all(&a, &tx, 1);
    for (uint64_t until = harness_ms() + 10000; poll(waits, (nfds_t)count, 1) == 0; turn(&a))
        harness_deadline(until, "a readable descriptor", __FILE__, __LINE__);
    receive(&b, &a, 0, 1, 1);
    free(parcel.payload);
    end_close(&a);
    end_close(&b);
}

static void closing_with_datagrams_waiting_leaks_nothing(void **state) {
    struct medium *medium = *state;
    for (uint32_t round = 0; round < 20; round++) {
        struct end a, b;
        end_open(&a, medium, 0);
        end_open(&b, medium, 1);
        for (uint64_t i = 0; i < round * 5; i++) {
            struct parcel parcel;
            pack(&parcel, 300, i);
            struct ins_tx tx = tx_of(&parcel, &b);
            send_all(&a, &tx, 1);
            free(parcel.payload);
        }
        end_close(round % 2 ? &a : &b);
        end_close(round % 2 ? &b : &a);
    }
}

/* Under engines with threads of their own: order, back-pressure by credits, and the books balance. */
static void engines_over_it_lose_nothing_within_their_window(void **state) {
    struct medium *medium = *state;
    enum { MESSAGES = 20000, WINDOW = 96, TAG = 1, CHANNEL = 2, PEER = 3 };
    struct node a, b;
    struct exit_link exit;
    struct entrance entrance;
    struct ins_engine_config config = node_config();
    config.receive_bytes = medium->bytes;
    uint64_t sent = 0, received = 0;
    stand_beside(medium, 0);
    node_open_at(&a, &config, medium->technology, medium->options[0], inet_addr(medium->address[0]));
    stand_beside(medium, 1);
    node_open_at(&b, &config, medium->technology, medium->options[1], inet_addr(medium->address[1]));
    node_introduce(&a, &b, PEER);
    exit_open(&exit, &a, 1, TAG, 32, 48, 2048);
    entrance_open(&entrance, &b, 2, 256);
    node_do(&a, ins_engine_add_source(a.engine, 1, 0, 9, 0, CHANNEL));
    node_do(&b, ins_engine_subscribe(b.engine, 2, TAG, CHANNEL, 0));
    node_do(&a, ins_engine_add_route(a.engine, TAG, CHANNEL, PEER));
    HARNESS_UNTIL(received == MESSAGES, &a, &b) {
        struct ins_descriptor d[32];
        while (sent < MESSAGES && sent - received < WINDOW && exit_send(&exit, &a, 0, 0, 8 + sent % 1400, sent))
            sent++;
        int count = entrance_take(&entrance, &b, d, 32);
        for (int i = 0; i < count; i++) {
            assert_int_equal(entrance_mark(&b, &d[i]), received++);
            entrance_give(&entrance, &b, &d[i]);
        }
    }
    exit_close(&exit, &a);
    assert_int_equal(exit.returned[INS_STATUS_DONE], MESSAGES);
    entrance_close(&entrance, &b);
    assert_int_equal(node_count(&b, INS_COUNT_rx_lost) + node_count(&b, INS_COUNT_rx_late), 0);
    node_close(&a);
    node_close(&b);
}

int main(void) {
    int failed = 0;
    for (uint32_t i = 0; i < sizeof media / sizeof *media; i++) {
        struct medium *medium = &media[i];
        struct ins_probe probe;
        if (medium->set_up && medium->set_up(medium)) {
            printf("skipped: %s: cannot be set up here\n", medium->technology);
            continue;
        }
        if (ins_datapath_probe(medium->technology, "", &probe))
            return 1;
        if (!probe.available) {
            printf("skipped: %s: %s\n", medium->technology, probe.reason);
            if (medium->tear_down)
                medium->tear_down(medium);
            continue;
        }
#define ON_MEDIUM(test) cmocka_unit_test_prestate(test, medium)
        const struct CMUnitTest conformance[] = {
            ON_MEDIUM(it_opens_an_endpoint_of_its_own_and_says_which),
            ON_MEDIUM(what_sizes_there_are_get_through_whole),
            ON_MEDIUM(what_is_too_large_is_refused_and_not_cut),
            ON_MEDIUM(bursts_of_mixed_sizes_stay_in_order),
            ON_MEDIUM(without_a_slot_it_says_so_and_goes_on_when_there_is_one),
            ON_MEDIUM(a_peer_that_is_gone_breaks_nothing),
            ON_MEDIUM(its_descriptors_become_readable_when_something_came),
            ON_MEDIUM(closing_with_datagrams_waiting_leaks_nothing),
            ON_MEDIUM(engines_over_it_lose_nothing_within_their_window),
        };
        char name[64];
        snprintf(name, sizeof name, "%s %s", medium->technology, medium->options[0]);
        failed += cmocka_run_group_tests_name(name, conformance, NULL, NULL);
        if (medium->tear_down)
            medium->tear_down(medium);
    }
    return failed;
}
