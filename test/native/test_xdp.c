/* The xdp datapath over a veth pair: against itself and against the kernel's UDP, what passes it by, what it refuses,
   and that nothing of it remains. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "datapaths/xdp.h"
#include "datapaths/xdp_interface.h"
#include "two_hosts.h"
#include "xdp_side.h"

enum { SLOTS = 256, STRIDE = 4096 };

/* ---- set-up ---- */

static struct two_hosts hosts;
static int ready;

static int set_up(uint32_t mtu, uint32_t queues) {
    int error = two_hosts_open(&hosts, mtu, queues);
    ready = error == 0;
    return error && error != -EPERM ? -1 : 0;
}
static int plain(void **state) {
    (void)state;
    return set_up(1500, 1);
}
static int jumbo(void **state) {
    (void)state;
    return set_up(9000, 1);
}
static int two_queues(void **state) {
    (void)state;
    return set_up(1500, 2);
}
static int tear_down(void **state) {
    (void)state;
    two_hosts_close(&hosts);
    return 0;
}
static void need_hosts(void) {
    if (ready)
        return;
    print_message("needs root for network namespaces\n");
    skip();
}

static void open_a(struct xdp_side *a, const char *options) {
    stand_in(hosts.a);
    memset(a, 0, sizeof *a);
    assert_int_equal(xdp_side_open(a, options, HOST_A_ADDRESS, SLOTS, STRIDE), 0);
}
static void open_b(struct xdp_side *b, const char *options) {
    stand_in(hosts.b);
    memset(b, 0, sizeof *b);
    assert_int_equal(xdp_side_open(b, options, HOST_B_ADDRESS, SLOTS, STRIDE), 0);
    stand_in(hosts.a);
}
/* Closes it and sees to it that every slot came home. */
static void close_side(struct xdp_side *side) {
    side->dp->ops->unbind(side->dp);
    assert_int_equal(side->pool.free_count, side->pool.slots);
    xdp_side_close(side);
}
static void expect(struct xdp_side *side, uint32_t length, uint32_t seed, struct ins_endpoint from) {
    struct ins_rx rx;
    assert_int_equal(xdp_side_receive(side, &rx), 1);
    assert_true(xdp_side_intact(side, &rx, length, seed));
    assert_int_equal(rx.from.address, from.address);
    assert_int_equal(rx.from.port, from.port);
    assert_int_equal(ins_pool_unref(&side->pool, rx.slot), 0);
}
static void expect_nothing(struct xdp_side *side) {
    struct ins_rx rx;
    for (int i = 0; i < 3000; i++)
        assert_int_equal(side->dp->ops->rx_burst(side->dp, &rx, 1), 0);
}
static struct sockaddr_in name_of(struct ins_endpoint at) {
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(at.port), .sin_addr.s_addr = at.address};
}
static void kernel_sends(int fd, struct ins_endpoint to, uint32_t length, uint32_t seed) {
    uint8_t data[16384];
    struct sockaddr_in name = name_of(to);
    for (uint32_t k = 0; k < length; k++)
        data[k] = (uint8_t)((seed + k) % 251);
    assert_int_equal(sendto(fd, data, length, 0, (struct sockaddr *)&name, sizeof name), length);
}
static void kernel_gets(int fd, uint32_t length, uint32_t seed, struct ins_endpoint from) {
    uint8_t data[16384];
    struct sockaddr_in name;
    socklen_t name_length = sizeof name;
    assert_int_equal(recvfrom(fd, data, sizeof data, 0, (struct sockaddr *)&name, &name_length), length);
    for (uint32_t k = 0; k < length; k++)
        assert_int_equal(data[k], (seed + k) % 251);
    assert_int_equal(name.sin_addr.s_addr, from.address);
    assert_int_equal(ntohs(name.sin_port), from.port);
}

/* ---- traffic ---- */

static void two_xdp_sides_exchange_every_size(void **state) {
    (void)state;
    need_hosts();
    struct xdp_side a, b;
    open_a(&a, "");
    open_b(&b, "");
    assert_int_equal(a.at.mtu, 1500);
    for (uint32_t length = 0; length <= 1472; length += length < 80 || length > 1460 ? 1 : 46) {
        assert_int_equal(xdp_side_send(&a, b.at, length, length, 1), 1);
        expect(&b, length, length, a.at);
        assert_int_equal(xdp_side_send(&b, a.at, length, length + 1, 1), 1);
        expect(&a, length, length + 1, b.at);
    }
    assert_int_equal(xdp_side_stat(&a, "rx_datagrams"), xdp_side_stat(&b, "tx_datagrams"));
    assert_true(xdp_side_stat(&b, "tx_copied_bytes") > 0);
    close_side(&a);
    close_side(&b);
}

static void a_payload_behind_its_wire_header_is_aligned(void **state) {
    (void)state;
    need_hosts();
    struct xdp_side a, b;
    struct ins_rx rx;
    open_a(&a, "");
    open_b(&b, "");
    assert_int_equal(xdp_side_send(&a, b.at, 100, 0, 1), 1);
    assert_int_equal(xdp_side_receive(&b, &rx), 1);
    assert_int_equal((rx.offset + INS_WIRE_HEADER) % 32, 0);
    ins_pool_unref(&b.pool, rx.slot);
    close_side(&a);
    close_side(&b);
}

static void a_stream_of_datagrams_arrives_in_order(void **state) {
    (void)state;
    need_hosts();
    struct xdp_side a, b;
    enum { BURSTS = 200, BURST = 64 };
    static uint8_t data[BURST][200];
    open_a(&a, "");
    open_b(&b, "");
    assert_int_equal(xdp_side_send(&a, b.at, 64, 0, 1), 1); /* so that no address is to be resolved */
    expect(&b, 64, 0, a.at);
    for (uint32_t burst = 0, expected = 0; burst < BURSTS; burst++) {
        struct ins_tx tx[BURST];
        struct ins_rx rx[BURST];
        for (uint32_t i = 0; i < BURST; i++) {
            uint32_t number = burst * BURST + i;
            memcpy(data[i], &number, sizeof number);
            tx[i] = (struct ins_tx){.header = data[i], .header_length = 48, .payload = data[i] + 48,
                                    .payload_length = 152, .to = b.at};
        }
        assert_int_equal(a.dp->ops->tx_burst(a.dp, tx, BURST), BURST);
        for (uint32_t tries = 0; expected < (burst + 1) * BURST && tries < 100000; tries++) {
            int got = b.dp->ops->rx_burst(b.dp, rx, BURST);
            assert_true(got >= 0);
            for (int i = 0; i < got; i++, expected++) {
                assert_memory_equal(b.pool.base + rx[i].offset, &expected, sizeof expected);
                ins_pool_unref(&b.pool, rx[i].slot);
            }
        }
        assert_int_equal(expected, (burst + 1) * BURST);
    }
    close_side(&a);
    close_side(&b);
}

static void xdp_and_the_kernel_exchange(void **state, const char *options) {
    (void)state;
    need_hosts();
    struct xdp_side a;
    open_a(&a, options);
    stand_in(hosts.b);
    int fd = kernel_udp(HOST_B_ADDRESS, 0);
    stand_in(hosts.a);
    struct ins_endpoint kernel = {.address = address_of(HOST_B_ADDRESS), .port = port_of(fd)};
    for (uint32_t length = 0; length <= a.at.mtu - 28u; length += length < 80 ? 1 : 91) {
        kernel_sends(fd, a.at, length, length);
        expect(&a, length, length, kernel);
        assert_int_equal(xdp_side_send(&a, kernel, length, length + 1, 1), 1);
        kernel_gets(fd, length, length + 1, a.at);
    }
    close(fd);
    close_side(&a);
}
static void xdp_and_kernel_udp_exchange_every_size(void **state) {
    xdp_and_the_kernel_exchange(state, "");
}
static void checksums_are_full_when_asked_for(void **state) {
    xdp_and_the_kernel_exchange(state, "checksum=full");
}
static void generic_mode_works_with_the_kernel_too(void **state) {
    xdp_and_the_kernel_exchange(state, "mode=skb");
}

static void jumbo_datagrams_are_sent_and_joined(void **state) {
    (void)state;
    need_hosts();
    struct xdp_side a = {0}, b = {0};
    stand_in(hosts.b);
    assert_int_equal(xdp_side_open(&b, "mtu=9000,checksum=full", HOST_B_ADDRESS, 64, 16384), 0);
    stand_in(hosts.a);
    assert_int_equal(xdp_side_open(&a, "mtu=9000", HOST_A_ADDRESS, 64, 4096), -EMSGSIZE);
    assert_int_equal(xdp_side_open(&a, "mtu=9000", HOST_A_ADDRESS, 64, 16384), 0);
    assert_int_equal(a.at.mtu, 9000);
    for (uint32_t length = 3700; length <= 8972; length += length < 3900 || (length > 7400 && length < 7700) ? 1 : 103) {
        assert_int_equal(xdp_side_send(&a, b.at, length, length, 1), 1);
        expect(&b, length, length, a.at);
        assert_int_equal(xdp_side_send(&b, a.at, length, length + 1, 1), 1);
        expect(&a, length, length + 1, b.at);
    }
    assert_true(xdp_side_stat(&b, "rx_jumbo_copied_bytes") > 0);
    close_side(&b);
    stand_in(hosts.b);
    int fd = kernel_udp(HOST_B_ADDRESS, 0);
    stand_in(hosts.a);
    struct ins_endpoint kernel = {.address = address_of(HOST_B_ADDRESS), .port = port_of(fd)};
    for (uint32_t length = 3000; length <= 8972; length += 199) {
        kernel_sends(fd, a.at, length, length);
        expect(&a, length, length, kernel);
        assert_int_equal(xdp_side_send(&a, kernel, length, length + 1, 1), 1);
        kernel_gets(fd, length, length + 1, a.at);
    }
    close(fd);
    close_side(&a);
}

static void without_being_asked_a_large_mtu_is_cut_to_one_buffer(void **state) {
    (void)state;
    need_hosts();
    struct xdp_side a, b;
    open_a(&a, "");
    open_b(&b, "");
    assert_int_equal(a.at.mtu, 3820);
    assert_int_equal(xdp_side_send(&a, b.at, 3820 - 28, 5, 1), 1);
    expect(&b, 3820 - 28, 5, a.at);
    assert_int_equal(xdp_side_send(&a, b.at, 3820 - 27, 5, 1), 0);
    assert_int_equal(xdp_side_stat(&a, "tx_refused"), 1);
    close_side(&a);
    close_side(&b);
}

static void all_queues_are_received_from(void **state) {
    (void)state;
    need_hosts();
    struct xdp_side a;
    open_a(&a, "");
    assert_int_equal(xdp_side_stat(&a, "queues_bound"), 2);
    for (uint32_t i = 0; i < 32; i++) {
        stand_in(hosts.b);
        int fd = kernel_udp(HOST_B_ADDRESS, 0);
        stand_in(hosts.a);
        struct ins_endpoint kernel = {.address = address_of(HOST_B_ADDRESS), .port = port_of(fd)};
        kernel_sends(fd, a.at, 100, i);
        expect(&a, 100, i, kernel);
        close(fd);
    }
    int fds[4];
    assert_int_equal(a.dp->ops->fds(a.dp, fds, 4), 3);
    assert_int_equal(a.dp->ops->fds(a.dp, fds, 2), 1); /* one that stands for all */
    close_side(&a);
}

/* ---- what passes ---- */

static void other_ports_and_fragments_pass_to_the_kernel(void **state) {
    (void)state;
    need_hosts();
    struct xdp_side a;
    open_a(&a, "");
    int here = kernel_udp(HOST_A_ADDRESS, 0);
    stand_in(hosts.b);
    int there = kernel_udp(HOST_B_ADDRESS, 0);
    stand_in(hosts.a);
    struct ins_endpoint kernel = {.address = address_of(HOST_B_ADDRESS), .port = port_of(there)};
    struct ins_endpoint other = {.address = address_of(HOST_A_ADDRESS), .port = port_of(here)};
    kernel_sends(there, other, 200, 1);
    kernel_gets(here, 200, 1, kernel);
    kernel_sends(there, other, 4000, 2); /* fragments, put together by the kernel */
    kernel_gets(here, 4000, 2, kernel);
    kernel_sends(there, a.at, 4000, 3); /* fragments to our port are nobody's */
    expect_nothing(&a);
    kernel_sends(there, a.at, 100, 4);
    expect(&a, 100, 4, kernel);
    close(here);
    close(there);
    close_side(&a);
}

static void the_port_is_ours_alone(void **state) {
    (void)state;
    need_hosts();
    struct xdp_side a, second = {0};
    open_a(&a, "");
    struct sockaddr_in name = name_of(a.at);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof name), -1);
    assert_int_equal(errno, EADDRINUSE);
    close(fd);
    fd = kernel_udp(HOST_A_ADDRESS, 0);
    second.at.port = port_of(fd);
    close_side(&a);
    assert_int_equal(xdp_side_open(&second, "", HOST_A_ADDRESS, SLOTS, STRIDE), -EADDRINUSE);
    close(fd);
}

static void a_second_one_on_the_interface_is_told_who_has_it(void **state) {
    (void)state;
    need_hosts();
    struct xdp_side a, second = {0};
    struct ins_probe probe = {0};
    open_a(&a, "");
    assert_int_equal(xdp_side_open(&second, "", HOST_A_ADDRESS, SLOTS, STRIDE), -EBUSY);
    assert_int_equal(ins_xdp_probe(HOST_A_INTERFACE, &probe), 0);
    assert_int_equal(probe.available, 1); /* the holder is this process */
    char us[64];
    snprintf(us, sizeof us, "\"insane_%u\", process %d", a.at.port, getpid());
    assert_non_null(strstr(probe.evidence, us));
    close_side(&a);
    for (int i = 0; i < 5; i++) { /* at once: the kernel lets go of a queue only after a while */
        open_a(&a, "");
        close_side(&a);
    }
}

/* ---- slots ---- */

static void slots_that_are_held_are_missed_and_come_back(void **state) {
    (void)state;
    need_hosts();
    struct xdp_side a, b;
    struct ins_rx rx[SLOTS], more;
    open_a(&a, "");
    open_b(&b, "");
    for (uint32_t i = 0; i < SLOTS; i++) {
        assert_int_equal(xdp_side_send(&a, b.at, 64, i, 1), 1);
        assert_int_equal(xdp_side_receive(&b, &rx[i]), 1);
    }
    assert_int_equal(b.dp->ops->rx_burst(b.dp, &more, 1), -ENOBUFS);
    assert_int_equal(xdp_side_send(&a, b.at, 64, 0, 3), 3); /* lost, and counted by the kernel */
    assert_int_equal(b.dp->ops->rx_burst(b.dp, &more, 1), -ENOBUFS);
    for (uint32_t i = 0; i < SLOTS; i++) {
        assert_true(xdp_side_intact(&b, &rx[i], 64, i));
        ins_pool_unref(&b.pool, rx[i].slot);
    }
    assert_int_equal(b.dp->ops->rx_burst(b.dp, &more, 1), 0);
    assert_int_equal(xdp_side_send(&a, b.at, 64, 9, 1), 1);
    expect(&b, 64, 9, a.at);
    for (int i = 0; i < 70000; i++) /* the kernel's counters are read now and then */
        assert_int_equal(b.dp->ops->rx_burst(b.dp, &more, 1), 0);
    assert_int_equal(xdp_side_stat(&b, "rx_kernel_dropped"), 3);
    close_side(&a);
    close_side(&b);
}

static void slots_in_the_ring_come_home_with_unbind(void **state) {
    (void)state;
    need_hosts();
    struct xdp_side a, b;
    open_a(&a, "");
    open_b(&b, "");
    assert_int_equal(xdp_side_send(&a, b.at, 64, 0, 100), 100);
    close_side(&b); /* with a hundred datagrams that nobody took */
    close_side(&a);
}

static void a_datapath_can_be_bound_again(void **state) {
    (void)state;
    need_hosts();
    struct xdp_side a, b;
    open_a(&a, "");
    open_b(&b, "");
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(xdp_side_send(&a, b.at, 64, i, 1), 1);
        expect(&b, 64, i, a.at);
        b.dp->ops->unbind(b.dp);
        assert_int_equal(b.pool.free_count, SLOTS);
        stand_in(hosts.b);
        assert_int_equal(b.dp->ops->bind(b.dp, &b.pool), 0);
        stand_in(hosts.a);
    }
    close_side(&a);
    close_side(&b);
}

static void memory_that_is_not_shared_is_refused(void **state) {
    (void)state;
    need_hosts();
    static uint8_t memory[64 * 4096] __attribute__((aligned(4096)));
    struct ins_endpoint at = {.address = address_of(HOST_A_ADDRESS)};
    struct ins_datapath *dp;
    struct ins_pool pool;
    stand_in(hosts.a);
    assert_int_equal(ins_pool_init(&pool, memory, sizeof memory, 64, 4096), 0);
    assert_int_equal(ins_xdp_ops.open("", &at, &dp), 0);
    assert_int_equal(dp->ops->bind(dp, &pool), -EINVAL);
    ins_pool_free(&pool);
    assert_int_equal(ins_pool_init(&pool, memory, sizeof memory, 64, 2112), 0);
    assert_int_equal(dp->ops->bind(dp, &pool), -EINVAL);
    ins_pool_free(&pool);
    dp->ops->close(dp);
}

/* ---- neighbours ---- */

static void nobody_there_is_an_error_and_no_obstacle(void **state) {
    (void)state;
    need_hosts();
    struct xdp_side a, b;
    open_a(&a, "");
    open_b(&b, "");
    /* The kernel then gives up after 0.15 s. */
    stand_in(hosts.a);
    assert_int_equal(shell("sysctl -w net.ipv4.neigh." HOST_A_INTERFACE ".retrans_time_ms=50"), 0);
    struct ins_endpoint nobody = {.address = address_of("10.91.0.77"), .port = 1};
    uint8_t data[1] = {0};
    struct ins_tx tx = {.header = data, .header_length = 1, .payload = data, .to = nobody};
    assert_int_equal(a.dp->ops->tx_burst(a.dp, &tx, 1), 1); /* waits for the answer */
    assert_int_equal(tx.error, 0);
    assert_int_equal(xdp_side_stat(&a, "tx_datagrams"), 0);
    assert_int_equal(xdp_side_send(&a, b.at, 64, 1, 1), 1);
    expect(&b, 64, 1, a.at);
    assert_true(xdp_side_send(&a, nobody, 64, 0, 1000000) < 1000000); /* until it is refused */
    struct ins_rx rx;
    while (xdp_side_stat(&a, "tx_unresolved") < 2)
        assert_int_equal(a.dp->ops->rx_burst(a.dp, &rx, 1), 0);
    assert_int_equal(a.dp->ops->tx_burst(a.dp, &tx, 1), 1);
    assert_int_equal(tx.error, -EHOSTUNREACH);
    tx.to = a.at; /* ourselves */
    assert_int_equal(a.dp->ops->tx_burst(a.dp, &tx, 1), 1);
    assert_int_equal(tx.error, -EADDRNOTAVAIL);
    tx.to.address = address_of("198.51.100.1"); /* no route */
    assert_int_equal(a.dp->ops->tx_burst(a.dp, &tx, 1), 1);
    assert_int_equal(tx.error, -ENETUNREACH);
    assert_int_equal(xdp_side_send(&a, b.at, 64, 2, 1), 1);
    expect(&b, 64, 2, a.at);
    close_side(&a);
    close_side(&b);
}

static void a_destination_behind_a_gateway_is_reached(void **state) {
    (void)state;
    need_hosts();
    struct xdp_side a;
    stand_in(hosts.b);
    assert_int_equal(shell("ip addr add 198.51.100.1/32 dev lo"), 0);
    int fd = kernel_udp("198.51.100.1", 0);
    struct ins_endpoint far = {.address = address_of("198.51.100.1"), .port = port_of(fd)};
    open_a(&a, "");
    assert_int_equal(xdp_side_send(&a, far, 64, 0, 1), 0); /* no route yet */
    assert_int_equal(shell("ip route add 198.51.100.0/24 via " HOST_B_ADDRESS), 0);
    uint32_t tries = 0;
    while (xdp_side_send(&a, far, 64, 0, 1) == 0) /* asked again after a while */
        assert_true(tries++ < 10000000);
    kernel_gets(fd, 64, 0, a.at);
    close(fd);
    close_side(&a);
}

static void a_neighbour_that_changes_its_address_is_found_again(void **state) {
    (void)state;
    need_hosts();
    struct xdp_side a;
    struct ins_rx rx;
    stand_in(hosts.b);
    int fd = kernel_udp(HOST_B_ADDRESS, 0);
    struct ins_endpoint kernel = {.address = address_of(HOST_B_ADDRESS), .port = port_of(fd)};
    open_a(&a, "");
    assert_int_equal(xdp_side_send(&a, kernel, 64, 0, 1), 1);
    kernel_gets(fd, 64, 0, a.at);
    stand_in(hosts.b);
    assert_int_equal(shell("ip link set " HOST_B_INTERFACE " address 02:00:00:00:77:07"), 0);
    stand_in(hosts.a);
    assert_int_equal(shell("ip neigh flush dev " HOST_A_INTERFACE), 0);
    for (int i = 0; i < 2048; i++) /* hears of it */
        a.dp->ops->rx_burst(a.dp, &rx, 1);
    assert_int_equal(xdp_side_send(&a, kernel, 64, 1, 1), 1);
    kernel_gets(fd, 64, 1, a.at);
    assert_true(xdp_side_stat(&a, "resolutions") >= 2);
    close(fd);
    close_side(&a);
}

/* ---- ends ---- */

static void a_sleeper_is_woken(void **state) {
    (void)state;
    need_hosts();
    struct xdp_side a, b;
    int fds[4];
    open_a(&a, "");
    open_b(&b, "");
    assert_int_equal(xdp_side_send(&a, b.at, 64, 0, 1), 1);
    expect(&b, 64, 0, a.at);
    int count = b.dp->ops->fds(b.dp, fds, 4);
    assert_int_equal(count, 2);
    struct pollfd waits = {.fd = fds[0], .events = POLLIN};
    assert_int_equal(poll(&waits, 1, 0), 0);
    assert_int_equal(xdp_side_send(&a, b.at, 64, 1, 1), 1);
    assert_int_equal(poll(&waits, 1, 2000), 1);
    expect(&b, 64, 1, a.at);
    assert_int_equal(poll(&waits, 1, 0), 0);
    close_side(&a);
    close_side(&b);
}

static int breaks_with(struct xdp_side *side) {
    struct ins_rx rx;
    int got = 0;
    for (int i = 0; i < 100000 && got == 0; i++)
        got = side->dp->ops->rx_burst(side->dp, &rx, 1);
    return got;
}

static void an_interface_that_goes_is_noticed(void **state) {
    (void)state;
    need_hosts();
    struct xdp_side a;
    open_a(&a, "");
    assert_int_equal(shell("ip link set " HOST_A_INTERFACE " down"), 0);
    assert_int_equal(breaks_with(&a), -ENETDOWN);
    close_side(&a);
    assert_int_equal(xdp_side_open(&a, "", HOST_A_ADDRESS, SLOTS, STRIDE), -ENETDOWN);
    assert_int_equal(shell("ip link set " HOST_A_INTERFACE " up"), 0);
    open_a(&a, "");
    assert_int_equal(shell("ip link del " HOST_A_INTERFACE), 0);
    int error = breaks_with(&a);
    assert_true(error == -ENODEV || error == -ENETDOWN);
    close_side(&a);
}

static void closing_leaves_nothing_attached(void **state) {
    (void)state;
    need_hosts();
    struct xdp_side a;
    struct ins_xdp_interface interface;
    open_a(&a, "");
    assert_int_equal(ins_xdp_interface_read(HOST_A_INTERFACE, &interface), 0);
    assert_int_not_equal(interface.program, 0);
    close_side(&a);
    assert_int_equal(ins_xdp_interface_read(HOST_A_INTERFACE, &interface), 0);
    assert_int_equal(interface.program, 0);
}

/* ---- refusals ---- */

static void options_that_are_not_understood_are_refused(void **state) {
    (void)state;
    need_hosts();
    static const struct {
        const char *options, *address;
        int error;
    } cases[] = {
        {"speed=9", HOST_A_ADDRESS, -EINVAL},       {"mode=fast", HOST_A_ADDRESS, -EINVAL},
        {"mtu=", HOST_A_ADDRESS, -EINVAL},          {"mtu=-5", HOST_A_ADDRESS, -EINVAL},
        {"queue", HOST_A_ADDRESS, -EINVAL},         {"interface=", HOST_A_ADDRESS, -EINVAL},
        {"fill=0", HOST_A_ADDRESS, -EINVAL},        {"checksum=maybe", HOST_A_ADDRESS, -EINVAL},
        {"mtu=9000", HOST_A_ADDRESS, -EMSGSIZE},    {"interface=ixd9", HOST_A_ADDRESS, -ENODEV},
        {"queue=1", HOST_A_ADDRESS, -ECHRNG},       {"", HOST_B_ADDRESS, -EADDRNOTAVAIL},
        {"interface=" HOST_A_INTERFACE, HOST_B_ADDRESS, -EADDRNOTAVAIL},
        {"interface=lo", "127.0.0.1", -EOPNOTSUPP},
    };
    stand_in(hosts.a);
    for (uint32_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct xdp_side a = {0};
        int error = xdp_side_open(&a, cases[i].options, cases[i].address, SLOTS, STRIDE);
        if (error != cases[i].error)
            print_error("%s: %d\n", cases[i].options, error);
        assert_int_equal(error, cases[i].error);
    }
    struct xdp_side a = {0};
    assert_int_equal(xdp_side_open(&a, "interface=" HOST_A_INTERFACE ",queue=0,mode=native,mtu=1400,fill=64,tx=64",
                                   NULL, SLOTS, STRIDE), 0);
    assert_int_equal(a.at.address, address_of(HOST_A_ADDRESS));
    assert_int_equal(a.at.mtu, 1400);
    close_side(&a);
}

static void a_probe_says_what_is_there_and_what_to_do(void **state) {
    (void)state;
    need_hosts();
    struct ins_probe probe = {0};
    stand_in(hosts.a);
    assert_int_equal(ins_xdp_probe(HOST_A_INTERFACE, &probe), 0);
    print_message("%s\n%s", probe.reason, probe.evidence);
    assert_int_equal(probe.available, 1);
    assert_int_equal(probe.mtu, 1500);
    assert_non_null(strstr(probe.evidence, "driver veth"));
    memset(&probe, 0, sizeof probe);
    assert_int_equal(ins_xdp_probe("", &probe), 0);
    assert_int_equal(probe.available, 1);
    static const struct {
        const char *name;
        int error;
    } cases[] = {{"ixd9", -ENODEV}, {"lo", -EOPNOTSUPP}};
    for (uint32_t i = 0; i < 2; i++) {
        memset(&probe, 0, sizeof probe);
        assert_int_equal(ins_xdp_probe(cases[i].name, &probe), 0);
        assert_int_equal(probe.available, 0);
        assert_int_equal(probe.error, cases[i].error);
        assert_true(probe.reason[0] && probe.cure[0]);
    }
}

#define OVER(set_up_hosts, test) cmocka_unit_test_setup_teardown(test, set_up_hosts, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        OVER(plain, two_xdp_sides_exchange_every_size),
        OVER(plain, a_payload_behind_its_wire_header_is_aligned),
        OVER(plain, a_stream_of_datagrams_arrives_in_order),
        OVER(plain, xdp_and_kernel_udp_exchange_every_size),
        OVER(plain, checksums_are_full_when_asked_for),
        OVER(plain, generic_mode_works_with_the_kernel_too),
        OVER(jumbo, jumbo_datagrams_are_sent_and_joined),
        OVER(jumbo, without_being_asked_a_large_mtu_is_cut_to_one_buffer),
        OVER(two_queues, all_queues_are_received_from),
        OVER(plain, other_ports_and_fragments_pass_to_the_kernel),
        OVER(plain, the_port_is_ours_alone),
        OVER(plain, a_second_one_on_the_interface_is_told_who_has_it),
        OVER(plain, slots_that_are_held_are_missed_and_come_back),
        OVER(plain, slots_in_the_ring_come_home_with_unbind),
        OVER(plain, a_datapath_can_be_bound_again),
        OVER(plain, memory_that_is_not_shared_is_refused),
        OVER(plain, nobody_there_is_an_error_and_no_obstacle),
        OVER(plain, a_destination_behind_a_gateway_is_reached),
        OVER(plain, a_neighbour_that_changes_its_address_is_found_again),
        OVER(plain, a_sleeper_is_woken),
        OVER(plain, an_interface_that_goes_is_noticed),
        OVER(plain, closing_leaves_nothing_attached),
        OVER(plain, options_that_are_not_understood_are_refused),
        OVER(plain, a_probe_says_what_is_there_and_what_to_do),
    };
    return cmocka_run_group_tests_name("xdp", tests, NULL, NULL);
}
