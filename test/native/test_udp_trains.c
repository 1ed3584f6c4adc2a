/* Trains between two engines over UDP on loopback: bursts leave and arrive as such, but not where they must not. */
#include "udp_pair.h"

#include <errno.h>
#include <string.h>

static void bursts_travel_as_trains_and_arrive_whole(void **state) {
    (void)state;
    enum { MESSAGES = 50000, WINDOW = 400 };
    struct pair p;
    struct ins_engine_config config = node_config();
    uint64_t sent = 0, received = 0, value;
    char name[64];
    uint32_t trains_in = 0, trains_out = 0;
    pair_open(&p, &config);
    HARNESS_UNTIL(received == MESSAGES, &p.a, &p.b) {
        while (sent < MESSAGES && sent - received < WINDOW && exit_send(&p.exit, &p.a, 0, 3, sent % 97 ? 1200 : 1090, sent))
            sent++;
        received = consume(&p, received);
    }
    for (uint32_t i = 0; ins_datapath_stat(p.a.datapath, i, name, sizeof name, &value) == 0; i++)
        trains_out += strcmp(name, "tx_trains") == 0 && value > 0;
    for (uint32_t i = 0; ins_datapath_stat(p.b.datapath, i, name, sizeof name, &value) == 0; i++)
        trains_in += strcmp(name, "rx_trains") == 0 && value > 0;
    assert_int_equal(trains_out, 1);
    assert_int_equal(trains_in, 1);
    pair_close(&p);
}

static uint64_t statistic(struct ins_datapath *datapath, const char *which) {
    char name[64];
    uint64_t value = 0, found = 0;
    for (uint32_t i = 0; ins_datapath_stat(datapath, i, name, sizeof name, &value) == 0; i++)
        found = strcmp(name, which) == 0 ? value : found;
    return found;
}

/* All in order, in bursts. */
static void carry(struct pair *p, uint64_t from, uint64_t to) {
    enum { WINDOW = 100 };
    uint64_t sent = from, received = from;
    HARNESS_UNTIL(received == to, &p->a, &p->b) {
        while (sent < to && sent - received < WINDOW && exit_send(&p->exit, &p->a, 0, 3, 1200, sent))
            sent++;
        received = consume(p, received);
    }
}

static void without_trains_each_datagram_leaves_by_itself(void **state) {
    (void)state;
    enum { MESSAGES = 2000 };
    struct ins_engine_config config = node_config();
    struct pair p;
    struct ins_datapath *none;
    struct ins_endpoint at = {.address = htonl(INADDR_LOOPBACK)};
    static const char *const wrong[] = {"trains", "trains=", "trains=2", "trains=01", "trains=0;", "train=0"};
    for (uint32_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(ins_datapath_open("udp", wrong[i], &at, &none), -EINVAL);
    pair_open_with(&p, &config, "rcvbuf=1000000,trains=0,sndbuf=1000000");
    carry(&p, 0, MESSAGES);
    assert_int_equal(statistic(p.a.datapath, "tx_trains"), 0);
    assert_true(statistic(p.a.datapath, "tx_calls") > 0);
    pair_close(&p);
}

static void to_an_endpoint_that_takes_no_trains_each_leaves_by_itself(void **state) {
    (void)state;
    enum { MESSAGES = 2000 };
    struct ins_engine_config config = node_config();
    struct pair p;
    pair_open(&p, &config);
    const struct ins_endpoint at = p.b.at;
    node_do(&p.a, ins_engine_set_peer(p.a.engine, PEER, NODE_DATAPATH, at.address, at.port, at.mtu | INS_ENDPOINT_SINGLY));
    carry(&p, 0, MESSAGES);
    assert_int_equal(statistic(p.a.datapath, "tx_trains"), 0);
    node_do(&p.a, ins_engine_set_peer(p.a.engine, PEER, NODE_DATAPATH, at.address, at.port, at.mtu));
    uint64_t sent = MESSAGES;
    for (uint32_t tries = 0; tries < 50 && statistic(p.a.datapath, "tx_trains") == 0; tries++, sent += MESSAGES)
        carry(&p, sent, sent + MESSAGES);
    assert_true(statistic(p.a.datapath, "tx_trains") > 0);
    assert_true(ins_engine_set_peer(p.a.engine, PEER, NODE_DATAPATH, at.address, at.port, at.mtu | 1 << 17) == -EINVAL);
    pair_close(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bursts_travel_as_trains_and_arrive_whole),
        cmocka_unit_test(without_trains_each_datagram_leaves_by_itself),
        cmocka_unit_test(to_an_endpoint_that_takes_no_trains_each_leaves_by_itself),
    };
    return cmocka_run_group_tests_name("udp trains", tests, NULL, NULL);
}
