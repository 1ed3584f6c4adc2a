/* The xdp datapath's surroundings: neighbours and routes, sleep, what breaks it, what it refuses, and that nothing of it
   remains. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <time.h>

#include "datapaths/xdp_interface.h"
#include "datapaths/xdp_state.h"
#include "xdp_cases.h"

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
    assert_int_equal(a.dp->ops->holds(a.dp), 1);
    assert_int_equal(xdp_side_send(&a, b.at, 64, 1, 1), 1);
    expect(&b, 64, 1, a.at);
    assert_true(xdp_side_send(&a, nobody, 64, 0, 1000000) < 1000000); /* until it is refused */
    struct ins_rx rx;
    while (xdp_side_stat(&a, "tx_unresolved") < 2)
        assert_int_equal(a.dp->ops->rx_burst(a.dp, &rx, 1), 0);
    assert_int_equal(a.dp->ops->holds(a.dp), 0);
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
    assert_int_equal(count, 3);
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

/* ---- the kernel's queues ---- */

struct two_sides {
    struct xdp_side *has, *wants;
};

static void *let_go_when_it_is_wanted(void *both) {
    struct two_sides *of = both;
    while (xdp_side_stat(of->wants, "bind_retries") == 0)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    of->has->dp->ops->unbind(of->has->dp);
    return NULL;
}

/* Where a socket was closed the kernel may have its queue for a while yet. */
static void a_queue_that_is_busy_is_waited_for(void **state) {
    (void)state;
    need_hosts();
    struct xdp_side has, wants;
    pthread_t thread;
    open_a(&wants, "");
    wants.dp->ops->unbind(wants.dp);
    struct xdp *xdp = (struct xdp *)wants.dp;
    close(xdp->filter.link); /* so that only the queue is in the way */
    xdp->filter.link = -1;
    open_a(&has, "");
    xdp_gauge(xdp, XDP_BIND_RETRIES, 0);
    assert_int_equal(pthread_create(&thread, NULL, let_go_when_it_is_wanted, &(struct two_sides){&has, &wants}), 0);
    int error = wants.dp->ops->bind(wants.dp, &wants.pool);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(error, 0);
    stand_in(hosts.a);
    assert_int_equal(has.dp->ops->bind(has.dp, &has.pool), -EBUSY); /* not waited for for good */
    close_side(&has);
    close_side(&wants);
}

/* In copying modes the kernel always wants to be told; a driver that looks by itself says so in the ring. */
static void the_kernel_is_told_of_frames_only_when_it_wants_to_be(void **state) {
    (void)state;
    need_hosts();
    struct xdp_side a, b;
    open_a(&a, "");
    open_b(&b, "");
    assert_int_equal(xdp_side_send(&a, b.at, 64, 0, 1), 1);
    expect(&b, 64, 0, a.at);
    uint32_t *flags = ((struct xdp *)a.dp)->tx.flags;
    assert_true(*flags & XDP_RING_NEED_WAKEUP);
    uint64_t before = xdp_side_stat(&a, "tx_kicks");
    assert_true(before > 0);
    uint8_t data[64] = {0};
    struct ins_tx tx = {.header = data, .header_length = 48, .payload = data, .payload_length = 16, .to = b.at};
    *flags = 0;
    assert_int_equal(a.dp->ops->tx_burst(a.dp, &tx, 1), 1);
    assert_int_equal(xdp_side_stat(&a, "tx_kicks"), before);
    *flags = XDP_RING_NEED_WAKEUP;
    assert_int_equal(a.dp->ops->tx_burst(a.dp, &tx, 1), 1); /* takes the other along */
    assert_true(xdp_side_stat(&a, "tx_kicks") > before);
    for (int i = 0; i < 2; i++) {
        struct ins_rx rx;
        assert_int_equal(xdp_side_receive(&b, &rx), 1);
        ins_pool_unref(&b.pool, rx.slot);
    }
    close_side(&a);
    close_side(&b);
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

static void generic_mode_works_where_the_driver_has_no_native_one(void **state) {
    (void)state;
    need_hosts();
    struct ins_probe probe = {0};
    stand_in(hosts.a);
    assert_int_equal(shell("ip link add ixbr type bridge && ip link set dev " HOST_A_INTERFACE " master ixbr && "
                           "ip addr flush dev " HOST_A_INTERFACE " && ip link set dev ixbr up && "
                           "ip addr add " HOST_A_ADDRESS "/24 dev ixbr"),
                     0);
    assert_int_equal(ins_xdp_probe("ixbr", &probe), 0);
    if (probe.available) {
        print_message("skipped: this kernel does not tell what drivers can\n");
        skip();
    }
    assert_int_equal(probe.error, -EOPNOTSUPP);
    assert_non_null(strstr(probe.cure, "network.xdp.mode"));
    memset(&probe, 0, sizeof probe);
    assert_int_equal(ins_xdp_probe("ixbr,mode=skb", &probe), 0);
    assert_int_equal(probe.available, 1);
    struct xdp_side a = {0}, b;
    assert_int_equal(xdp_side_open(&a, "interface=ixbr", NULL, SLOTS, STRIDE), -EOPNOTSUPP);
    assert_int_equal(xdp_side_open(&a, "interface=ixbr,mode=skb", NULL, SLOTS, STRIDE), 0);
    assert_int_equal(a.at.flags, INS_ENDPOINT_SINGLY);
    open_b(&b, "");
    assert_int_equal(b.at.flags, 0);
    assert_int_equal(xdp_side_send(&b, a.at, 1000, 1, 1), 1);
    expect(&a, 1000, 1, b.at);
    assert_int_equal(xdp_side_send(&a, b.at, 1000, 2, 1), 1);
    expect(&b, 1000, 2, a.at);
    close_side(&a);
    close_side(&b);
}

static int kernel_udp6(const char *address, uint16_t port) {
    struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    const struct timeval patience = {.tv_sec = 20};
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(inet_pton(AF_INET6, address, &name.sin6_addr), 1);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof name), 0);
    return fd;
}

/* Also to the number of our port. */
static void ipv6_stays_with_the_kernel(void **state) {
    (void)state;
    need_hosts();
    struct xdp_side a = {0};
    char data[64];
    stand_in(hosts.a);
    assert_int_equal(xdp_side_open(&a, "interface=" HOST_A_INTERFACE, NULL, SLOTS, STRIDE), 0);
    if (shell("ip addr add 2001:db8::1/64 dev " HOST_A_INTERFACE " nodad")) {
        close_side(&a);
        print_message("this kernel has no IPv6\n");
        skip();
    }
    int to = kernel_udp6("2001:db8::1", a.at.port);
    stand_in(hosts.b);
    assert_int_equal(shell("ip addr add 2001:db8::2/64 dev " HOST_B_INTERFACE " nodad"), 0);
    int from = kernel_udp6("2001:db8::2", 0);
    struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_port = htons(a.at.port)};
    assert_int_equal(inet_pton(AF_INET6, "2001:db8::1", &name.sin6_addr), 1);
    assert_int_equal(sendto(from, "six", 3, 0, (struct sockaddr *)&name, sizeof name), 3);
    assert_int_equal(recv(to, data, sizeof data, 0), 3);
    struct ins_rx rx;
    assert_int_equal(a.dp->ops->rx_burst(a.dp, &rx, 1), 0);
    close(from);
    close(to);
    close_side(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        OVER(plain, nobody_there_is_an_error_and_no_obstacle),
        OVER(plain, a_destination_behind_a_gateway_is_reached),
        OVER(plain, a_neighbour_that_changes_its_address_is_found_again),
        OVER(plain, a_sleeper_is_woken),
        OVER(plain, an_interface_that_goes_is_noticed),
        OVER(plain, closing_leaves_nothing_attached),
        OVER(plain, a_queue_that_is_busy_is_waited_for),
        OVER(plain, the_kernel_is_told_of_frames_only_when_it_wants_to_be),
        OVER(plain, options_that_are_not_understood_are_refused),
        OVER(plain, generic_mode_works_where_the_driver_has_no_native_one),
        OVER(plain, ipv6_stays_with_the_kernel),
    };
    return cmocka_run_group_tests_name("xdp life", tests, NULL, NULL);
}
