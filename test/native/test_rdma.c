/* What is particular to the rdma datapath, over software providers: probing, destinations that take nothing, peers that go
   and come back, messages that the other end has no room for. What it has in common with the others is in the conformance
   suite. */
#include "conformance_cases.h"

#include <signal.h>

static const struct medium net = {"rdma", {"provider=net,patience=500", "provider=net"}, .address = {"127.0.0.1", "127.0.0.1"},
                                  .largest = INS_WIRE_MAX_PAYLOAD, .bytes = 65536, .probe = "net"};
static const struct medium rxm = {"rdma", {"provider=tcp;ofi_rxm,patience=2000", "provider=tcp;ofi_rxm"},
                                  .address = {"127.0.0.1", "127.0.0.1"}, .largest = INS_WIRE_MAX_PAYLOAD,
                                  .bytes = 65536, .probe = "tcp;ofi_rxm"};
static const struct medium narrow = {"rdma", {"provider=net,mtu=1500", "provider=net,mtu=1500"},
                                     .address = {"127.0.0.1", "127.0.0.1"}, .largest = 1424, .bytes = 4032};
static const struct medium *const both[] = {&net, &rxm};

static uint64_t stat(const struct end *end, const char *wanted) {
    char name[64];
    uint64_t value;
    for (uint32_t i = 0; ins_datapath_stat(end->dp, i, name, sizeof name, &value) == 0; i++)
        if (strcmp(name, wanted) == 0)
            return value;
    fail_msg("no counter %s", wanted);
    return 0;
}

static int available(const struct medium *medium) {
    struct ins_probe probe;
    return ins_datapath_probe("rdma", medium->probe, &probe) == 0 && probe.available;
}

/* The next provider that this host has, or NULL: for (uint32_t which = 0; (medium = next(&which));) */
static const struct medium *next(uint32_t *which) {
    while (*which < sizeof both / sizeof *both) {
        const struct medium *medium = both[(*which)++];
        if (available(medium))
            return medium;
    }
    return NULL;
}

/* Two ends between which a first message has gone, with the sequence 0. */
struct pair {
    struct end a, b;
};

static void pair_open(struct pair *pair, const struct medium *medium) {
    end_open(&pair->a, medium, 0);
    end_open(&pair->b, medium, 1);
    send_one(&pair->a, &pair->b, 64, 0);
    receive(&pair->b, &pair->a, 0, 1, 8);
}

static void pair_close(struct pair *pair) {
    end_close(&pair->a);
    end_close(&pair->b);
}

static void a_probe_says_what_there_is_and_changes_no_handler(void **state) {
    (void)state;
    struct ins_probe probe;
    struct sigaction before[32], after;
    for (int i = 1; i < 32; i++)
        sigaction(i, NULL, &before[i]);
    assert_int_equal(ins_datapath_probe("rdma", "net", &probe), 0);
    if (probe.available) {
        assert_true(probe.flags & INS_PROBE_EMULATED);
        assert_non_null(strstr(probe.reason, "emulated"));
        assert_non_null(strstr(probe.evidence, "provider: net"));
        assert_non_null(strstr(probe.evidence, "libfabric: 1."));
    }
    assert_int_equal(ins_datapath_probe("rdma", "verbs", &probe), 0);
    assert_false(probe.flags & INS_PROBE_EMULATED);
    if (!probe.available) {
        assert_true(probe.error < 0);
        assert_true(probe.cure[0]);
    }
    const char *unusable[] = {"efa", "shm", "udp;ofi_rxd", "nonsense", "provider=net"};
    for (uint32_t i = 0; i < sizeof unusable / sizeof *unusable; i++) {
        assert_int_equal(ins_datapath_probe("rdma", unusable[i], &probe), 0);
        assert_false(probe.available);
        assert_true(probe.error < 0 && probe.reason[0] && probe.cure[0]);
    }
    for (int i = 1; i < 32; i++) {
        sigaction(i, NULL, &after);
        assert_ptr_equal(before[i].sa_handler, after.sa_handler);
    }
}

static void what_it_cannot_be_opened_with_is_refused(void **state) {
    (void)state;
    const struct {
        const char *options, *address;
        int error;
    } wrong[] = {
        {"provider=nonsense", "127.0.0.1", -EINVAL}, {"provider", "127.0.0.1", -EINVAL},
        {"mtu=575", "127.0.0.1", -EINVAL},           {"mtu=65536", "127.0.0.1", -EINVAL},
        {"patience=0", "127.0.0.1", -EINVAL},        {"patience=x", "127.0.0.1", -EINVAL},
        {"provider=shm", "127.0.0.1", -EOPNOTSUPP},  {"provider=net", "0.0.0.0", -EADDRNOTAVAIL},
    };
    for (uint32_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct ins_endpoint at = {.address = inet_addr(wrong[i].address)};
        struct ins_datapath *dp = NULL;
        assert_int_equal(ins_datapath_open("rdma", wrong[i].options, &at, &dp), wrong[i].error);
    }
    /* An address that this host does not have. */
    struct ins_endpoint elsewhere = {.address = inet_addr("192.0.2.1")};
    struct ins_datapath *dp = NULL;
    assert_true(ins_datapath_open("rdma", "provider=net", &elsewhere, &dp) < 0);
}

/* Sends until something arrives: a connection may have gone, and what was sent into that. */
static void until_reached(struct end *from, struct end *to, const char *what) {
    uint64_t until = harness_ms() + PATIENCE_MS;
    int got = 0;
    for (uint64_t i = 1; got <= 0; i++) {
        struct ins_rx rx[8];
        struct parcel parcel;
        pack(&parcel, 64, i);
        struct ins_tx tx = tx_of(&parcel, to);
        from->dp->ops->tx_burst(from->dp, &tx, 1);
        free(parcel.payload);
        got = to->dp->ops->rx_burst(to->dp, rx, 8);
        assert_true(got >= 0);
        for (int k = 0; k < got; k++)
            ins_pool_unref(&to->pool, rx[k].slot);
        harness_deadline(until, what, __FILE__, __LINE__);
    }
}

/* Sends to one that is not there until that is refused. */
static void swamp(struct end *from, const struct ins_endpoint *to, uint32_t length) {
    struct parcel parcel;
    pack(&parcel, length, 0);
    struct ins_tx tx = {.header = parcel.header, .payload = parcel.payload, .header_length = INS_WIRE_HEADER,
                        .payload_length = length, .to = *to};
    for (uint64_t until = harness_ms() + PATIENCE_MS; !tx.error; harness_deadline(until, "a refusal", __FILE__, __LINE__))
        from->dp->ops->tx_burst(from->dp, &tx, 1);
    assert_int_equal(tx.error, -EHOSTUNREACH);
    free(parcel.payload);
}

static void a_destination_that_takes_nothing_does_not_take_it_from_others(void **state) {
    (void)state;
    const struct medium *medium;
    for (uint32_t which = 0; (medium = next(&which));) {
        struct pair pair;
        struct end deaf;
        pair_open(&pair, medium);
        end_open(&deaf, medium, 1); /* there, but nobody looks after it */
        /* Without a connection, then with one whose buffers are full. */
        swamp(&pair.a, &deaf.at, 64);
        for (uint64_t i = 1; i < 500; i++) {
            send_one(&pair.a, &pair.b, 64, i);
            receive(&pair.b, &pair.a, i, 1, 8);
        }
        assert_true(stat(&pair.a, "tx_unreached") + stat(&pair.a, "tx_refused") > 0);
        uint64_t until = harness_ms() + PATIENCE_MS;
        for (uint64_t i = 0; stat(&deaf, "rx_datagrams") < 3; i++) {
            struct parcel parcel;
            struct ins_rx rx[8];
            pack(&parcel, 64, i);
            struct ins_tx tx = tx_of(&parcel, &deaf);
            pair.a.dp->ops->tx_burst(pair.a.dp, &tx, 1); /* refused for a while, and then not any more */
            int got = deaf.dp->ops->rx_burst(deaf.dp, rx, 8);
            for (int k = 0; k < got; k++)
                ins_pool_unref(&deaf.pool, rx[k].slot);
            free(parcel.payload);
            harness_deadline(until, "the deaf one to hear", __FILE__, __LINE__);
        }
        swamp(&pair.a, &deaf.at, 65000);
        for (uint64_t i = 500; i < 1000; i++) {
            send_one(&pair.a, &pair.b, 64, i);
            receive(&pair.b, &pair.a, i, 1, 8);
        }
        pair_close(&pair);
        end_close(&deaf);
    }
}

static void a_peer_that_comes_back_at_its_port_is_reached_again(void **state) {
    (void)state;
    const struct medium *medium;
    for (uint32_t which = 0; (medium = next(&which));) {
        struct pair pair;
        pair_open(&pair, medium);
        struct ins_endpoint at = pair.b.at;
        end_close(&pair.b);
        swamp(&pair.a, &at, 64);
        struct medium again = *medium;
        memset(&pair.b, 0, sizeof pair.b);
        end_open(&pair.b, &again, 1); /* somewhere else, for its memory */
        pair.b.dp->ops->unbind(pair.b.dp);
        ins_datapath_close(pair.b.dp);
        pair.b.at = at;
        assert_int_equal(ins_datapath_open("rdma", medium->options[1], &pair.b.at, &pair.b.dp), 0);
        assert_int_equal(pair.b.dp->ops->bind(pair.b.dp, &pair.b.pool), 0);
        until_reached(&pair.a, &pair.b, "the peer to be reached again");
        pair_close(&pair);
    }
}

static void it_can_be_bound_again(void **state) {
    (void)state;
    const struct medium *medium;
    for (uint32_t which = 0; (medium = next(&which));) {
        struct pair pair;
        end_open(&pair.a, medium, 0);
        end_open(&pair.b, medium, 1);
        for (uint64_t i = 0; i < 3; i++) {
            pair.b.dp->ops->unbind(pair.b.dp);
            assert_int_equal(pair.b.pool.free_count, SLOTS);
            assert_int_equal(pair.b.dp->ops->bind(pair.b.dp, &pair.b.pool), 0);
            pair.a.dp->ops->unbind(pair.a.dp);
            assert_int_equal(pair.a.dp->ops->bind(pair.a.dp, &pair.a.pool), 0);
            send_one(&pair.a, &pair.b, 64, i);
            receive(&pair.b, &pair.a, i, 1, 8);
        }
        pair_close(&pair);
    }
}

static void a_message_that_the_other_end_has_no_room_for_is_dropped_there(void **state) {
    (void)state;
    if (!available(&net))
        skip();
    struct end a, b;
    end_open(&a, &net, 0);
    end_open(&b, &narrow, 1);
    assert_int_equal(b.at.mtu, 1500);
    send_one(&a, &b, 1424, 0);
    receive(&b, &a, 0, 1, 8);
    send_one(&a, &b, 1425, 1);
    uint64_t until = harness_ms() + PATIENCE_MS;
    while (stat(&b, "rx_truncated") + stat(&b, "rx_errors") == 0) {
        struct ins_rx rx[8];
        turn(&a);
        assert_int_equal(b.dp->ops->rx_burst(b.dp, rx, 8), 0);
        harness_deadline(until, "the long message", __FILE__, __LINE__);
    }
    until_reached(&a, &b, "what comes after it");
    end_close(&a);
    end_close(&b);
}

/* Messages in bursts with pauses, in which both engines fall asleep: each burst has to wake the other end, and what is left
   of it this one. */
static void parked_engines_wake_each_other(void **state) {
    (void)state;
    enum { BURST = 16, ROUNDS = 20, LARGE = 65000 };
    const struct medium *medium;
    for (uint32_t which = 0; (medium = next(&which));) {
        static struct lane lane;
        struct ins_engine_config config = node_config();
        config.heartbeat_ms = 0;
        lane_open_with(&lane, medium, config, LARGE);
        uint64_t received = 0, sent = 0;
        for (uint32_t round = 0; round < ROUNDS; round++) {
            uint64_t until = sent + BURST;
            HARNESS_UNTIL(received == until, &lane.a, &lane.b) {
                struct ins_descriptor d[32];
                while (sent < until && exit_send(&lane.exit, &lane.a, 0, 0, round % 2 ? 64 : LARGE, sent))
                    sent++;
                int count = entrance_take(&lane.entrance, &lane.b, d, 32);
                for (int i = 0; i < count; i++) {
                    assert_int_equal(entrance_mark(&lane.b, &d[i]), received++);
                    entrance_give(&lane.entrance, &lane.b, &d[i]);
                }
            }
            /* Time to fall asleep. Where it is too short, this round shows less. */
            for (uint64_t rest = harness_ms() + 10; harness_ms() < rest;)
                node_pump(&lane.a), node_pump(&lane.b);
        }
        lane_close(&lane);
    }
}

/* Whether a message goes at once or is fetched by the receiver is the provider's business, its place in line is ours. */
static void small_messages_do_not_overtake_large_ones(void **state) {
    (void)state;
    const struct medium *medium;
    for (uint32_t which = 0; (medium = next(&which));) {
        struct pair pair;
        pair_open(&pair, medium);
        for (uint64_t i = 1; i < 400; i += 40) {
            for (uint64_t k = 0; k < 40; k++)
                send_one(&pair.a, &pair.b, (i + k) % 3 ? 65000 : 24, i + k);
            receive(&pair.b, &pair.a, i, 40, 32);
        }
        pair_close(&pair);
    }
}

int main(void) {
    struct ins_probe probe;
    if (ins_datapath_probe("rdma", "net", &probe))
        return 1;
    if (!probe.available) {
        printf("skipped: %s\n", probe.reason);
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_probe_says_what_there_is_and_changes_no_handler),
        cmocka_unit_test(what_it_cannot_be_opened_with_is_refused),
        cmocka_unit_test(a_destination_that_takes_nothing_does_not_take_it_from_others),
        cmocka_unit_test(a_peer_that_comes_back_at_its_port_is_reached_again),
        cmocka_unit_test(it_can_be_bound_again),
        cmocka_unit_test(small_messages_do_not_overtake_large_ones),
        cmocka_unit_test(parked_engines_wake_each_other),
        cmocka_unit_test(a_message_that_the_other_end_has_no_room_for_is_dropped_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
