/* What the tests of dpdk share: two hosts about each test, a side on each, and what is expected of them. Only for files
   that include cmocka. */
#ifndef INSANE_TEST_DPDK_CASES_H
#define INSANE_TEST_DPDK_CASES_H

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/datapath.h"
#include "core/platform.h"
#include "engine_harness.h"
#include "two_hosts.h"

#define OWN_A "10.91.0.11"
#define OWN_B "10.91.0.12"

enum { SLOTS = 128, STRIDE = 65600, PATIENCE_MS = 60000 };

static struct two_hosts hosts; /* set up and torn down about each test */
static int ready;

static inline int set_up(uint32_t mtu) {
    ready = 0;
    if (ins_datapath_flags("dpdk") < 0)
        return 0;
    int error = two_hosts_open(&hosts, mtu, 1);
    ready = error == 0;
    return error && error != -EPERM ? -1 : 0;
}
static inline int plain(void **state) {
    (void)state;
    return set_up(1500);
}
static inline int tear_down(void **state) {
    (void)state;
    if (ready)
        two_hosts_close(&hosts);
    return 0;
}
static inline void need_hosts(void) {
    if (ready)
        return;
    print_message("needs root for network namespaces, and a build with DPDK\n");
    skip();
}
#define OVER(set_up_hosts, test) cmocka_unit_test_setup_teardown(test, set_up_hosts, tear_down)

/* An open datapath with its pool, used on this thread as an engine would. */
struct side {
    struct ins_datapath *dp;
    struct ins_endpoint at;
    struct ins_pool pool;
    void *memory;
    uint64_t bytes;
    int fd;
};

static inline int side_try(struct side *side, int host, const char *options, const char *address, uint32_t stride) {
    stand_in(host);
    memset(side, 0, sizeof *side);
    side->at.address = address_of(address);
    side->bytes = (uint64_t)SLOTS * stride;
    side->fd = ins_segment_create("dpdk-test", side->bytes);
    assert_true(side->fd >= 0);
    assert_int_equal(ins_segment_map(side->fd, side->bytes, 1, &side->memory), 0);
    assert_int_equal(ins_segment_seal_future_write(side->fd), 0); /* as the runtime does, before the datapath sees it */
    assert_int_equal(ins_pool_init(&side->pool, side->memory, side->bytes, SLOTS, stride), 0);
    int error = ins_datapath_open("dpdk", options, &side->at, &side->dp);
    if (!error) {
        error = side->dp->ops->bind(side->dp, &side->pool);
        if (error)
            side->dp->ops->close(side->dp);
    }
    if (!error)
        return 0;
    side->dp = NULL;
    ins_pool_free(&side->pool);
    ins_segment_unmap(side->memory, side->bytes);
    ins_fd_close(side->fd);
    return error;
}
static inline void open_a(struct side *side, const char *options) {
    assert_int_equal(side_try(side, hosts.a, options, OWN_A, STRIDE), 0);
}
static inline void open_b(struct side *side, const char *options) {
    assert_int_equal(side_try(side, hosts.b, options, OWN_B, STRIDE), 0);
}
static inline void side_close(struct side *side) {
    side->dp->ops->unbind(side->dp);
    assert_int_equal(side->pool.free_count, SLOTS); /* every slot came home */
    side->dp->ops->close(side->dp);
    ins_pool_free(&side->pool);
    ins_segment_unmap(side->memory, side->bytes);
    ins_fd_close(side->fd);
}

static inline uint64_t stat_of(const struct side *side, const char *name) {
    char found[64];
    uint64_t value = 0;
    uint32_t i = 0;
    while (ins_datapath_stat(side->dp, i++, found, sizeof found, &value) == 0)
        if (strcmp(found, name) == 0)
            return value;
    fail_msg("no counter %s", name);
    return 0;
}

/* A turn: what an engine would do on this side, but for handing on what came. */
static inline int turn(const struct side *side, struct ins_rx *rx) {
    side->dp->ops->tx_burst(side->dp, NULL, 0);
    return side->dp->ops->rx_burst(side->dp, rx, 1);
}
static inline void wait_for(const struct side *side, const char *name, uint64_t least) {
    struct ins_rx rx;
    for (uint64_t until = harness_ms() + PATIENCE_MS; stat_of(side, name) < least;
         harness_deadline(until, name, __FILE__, __LINE__))
        assert_int_equal(turn(side, &rx), 0);
}

static inline void fill(uint8_t *data, uint32_t length, uint32_t seed) {
    for (uint32_t i = 0; i < length; i++)
        data[i] = (uint8_t)((seed + i) % 251);
}
/* Offers one datagram; what came of it is returned. */
static inline int send_from(struct side *side, struct ins_endpoint to, uint32_t length, uint32_t seed) {
    uint8_t data[16384];
    struct ins_rx rx;
    fill(data, length, seed);
    uint32_t header = length < INS_WIRE_HEADER ? length : INS_WIRE_HEADER;
    struct ins_tx tx = {.header = data, .payload = data + header, .header_length = header,
                        .payload_length = length - header, .to = to};
    uint64_t until = harness_ms() + PATIENCE_MS;
    while (side->dp->ops->tx_burst(side->dp, &tx, 1) == 0) {
        turn(side, &rx);
        harness_deadline(until, "a datapath that takes a datagram", __FILE__, __LINE__);
    }
    return tx.error;
}
/* Expects it at `side`, while `other` (or nobody) has its turns, too. */
static inline void expect(struct side *side, struct side *other, uint32_t length, uint32_t seed,
                          struct ins_endpoint from) {
    struct ins_rx rx, elsewhere;
    for (uint64_t until = harness_ms() + PATIENCE_MS; turn(side, &rx) != 1;
         harness_deadline(until, "a datagram", __FILE__, __LINE__))
        if (other)
            assert_int_equal(turn(other, &elsewhere), 0);
    assert_int_equal(rx.length, length);
    assert_int_equal(rx.from.address, from.address);
    assert_int_equal(rx.from.port, from.port);
    assert_int_equal(rx.offset / side->pool.stride, rx.slot);
    assert_int_equal((rx.offset + INS_WIRE_HEADER) % 64, 0); /* a message's payload begins a cache line */
    for (uint32_t i = 0; i < length; i++)
        assert_int_equal(side->pool.base[rx.offset + i], (seed + i) % 251);
    assert_int_equal(ins_pool_unref(&side->pool, rx.slot), 0);
}
static inline struct sockaddr_in name_of(struct ins_endpoint at) {
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(at.port), .sin_addr.s_addr = at.address};
}

#endif
