/* What the tests of xdp share: two hosts about each test, a side on each, and what is expected of them. Only for files
   that include cmocka. */
#ifndef INSANE_TEST_XDP_CASES_H
#define INSANE_TEST_XDP_CASES_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "datapaths/xdp.h"
#include "two_hosts.h"
#include "xdp_side.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

enum { SLOTS = 256, STRIDE = 4096 };

static struct two_hosts hosts; /* set up and torn down about each test */
static int ready;

static inline int set_up(uint32_t mtu, uint32_t queues) {
    int error = two_hosts_open(&hosts, mtu, queues);
    ready = error == 0;
    return error && error != -EPERM ? -1 : 0;
}
static inline int plain(void **state) {
    (void)state;
    return set_up(1500, 1);
}
static inline int jumbo(void **state) {
    (void)state;
    return set_up(9000, 1);
}
static inline int two_queues(void **state) {
    (void)state;
    return set_up(1500, 2);
}
static inline int tear_down(void **state) {
    (void)state;
    two_hosts_close(&hosts);
    return 0;
}
static inline void need_hosts(void) {
    if (ready)
        return;
    print_message("needs root for network namespaces\n");
    skip();
}

static inline void open_a(struct xdp_side *a, const char *options) {
    stand_in(hosts.a);
    memset(a, 0, sizeof *a);
    assert_int_equal(xdp_side_open(a, options, HOST_A_ADDRESS, SLOTS, STRIDE), 0);
}
static inline void open_b(struct xdp_side *b, const char *options) {
    stand_in(hosts.b);
    memset(b, 0, sizeof *b);
    assert_int_equal(xdp_side_open(b, options, HOST_B_ADDRESS, SLOTS, STRIDE), 0);
    stand_in(hosts.a);
}
/* Closes it and sees to it that every slot came home. */
static inline void close_side(struct xdp_side *side) {
    side->dp->ops->unbind(side->dp);
    assert_int_equal(side->pool.free_count, side->pool.slots);
    xdp_side_close(side);
}
static inline void expect(struct xdp_side *side, uint32_t length, uint32_t seed, struct ins_endpoint from) {
    struct ins_rx rx;
    assert_int_equal(xdp_side_receive(side, &rx), 1);
    assert_true(xdp_side_intact(side, &rx, length, seed));
    assert_int_equal(rx.from.address, from.address);
    assert_int_equal(rx.from.port, from.port);
    assert_int_equal(ins_pool_unref(&side->pool, rx.slot), 0);
}
static inline void expect_nothing(struct xdp_side *side) {
    struct ins_rx rx;
    for (int i = 0; i < 3000; i++)
        assert_int_equal(side->dp->ops->rx_burst(side->dp, &rx, 1), 0);
}
static inline struct sockaddr_in name_of(struct ins_endpoint at) {
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(at.port), .sin_addr.s_addr = at.address};
}
static inline void kernel_sends(int fd, struct ins_endpoint to, uint32_t length, uint32_t seed) {
    uint8_t data[16384];
    struct sockaddr_in name = name_of(to);
    for (uint32_t k = 0; k < length; k++)
        data[k] = (uint8_t)((seed + k) % 251);
    assert_int_equal(sendto(fd, data, length, 0, (struct sockaddr *)&name, sizeof name), length);
}
static inline void kernel_gets(int fd, uint32_t length, uint32_t seed, struct ins_endpoint from) {
    uint8_t data[16384];
    struct sockaddr_in name;
    socklen_t name_length = sizeof name;
    assert_int_equal(recvfrom(fd, data, sizeof data, 0, (struct sockaddr *)&name, &name_length), length);
    for (uint32_t k = 0; k < length; k++)
        assert_int_equal(data[k], (seed + k) % 251);
    assert_int_equal(name.sin_addr.s_addr, from.address);
    assert_int_equal(ntohs(name.sin_port), from.port);
}

#define OVER(set_up_hosts, test) cmocka_unit_test_setup_teardown(test, set_up_hosts, tear_down)

#endif
