/* The xdp datapath over a veth pair: against itself and against the kernel's UDP, what passes it by, and that every slot
   comes home. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "xdp_cases.h"

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

/* One call of the kernel's segmentation offload makes many datagrams. A native program makes veth cut them before they
   leave; to a generic one the whole train would come as one frame, so that its endpoint asks for datagrams one by one. */
static void a_train_of_the_kernel_arrives_as_its_datagrams(void **state) {
    (void)state;
    need_hosts();
    struct xdp_side a;
    uint8_t train[20 * 1000 + 500];
    int segment = 1000;
    open_a(&a, "");
    stand_in(hosts.b);
    int fd = kernel_udp(HOST_B_ADDRESS, 0);
    stand_in(hosts.a);
    struct ins_endpoint kernel = {.address = address_of(HOST_B_ADDRESS), .port = port_of(fd)};
    struct sockaddr_in name = name_of(a.at);
    for (uint32_t i = 0; i < sizeof train; i++)
        train[i] = (uint8_t)((i / 1000 + i % 1000) % 251);
    assert_int_equal(setsockopt(fd, SOL_UDP, UDP_SEGMENT, &segment, sizeof segment), 0);
    assert_int_equal(sendto(fd, train, sizeof train, 0, (struct sockaddr *)&name, sizeof name), sizeof train);
    for (uint32_t i = 0; i < 20; i++)
        expect(&a, 1000, i, kernel);
    expect(&a, 500, 20, kernel);
    close(fd);
    close_side(&a);
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
    assert_int_equal(a.dp->ops->fds(a.dp, fds, 4), 4);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        OVER(plain, two_xdp_sides_exchange_every_size),
        OVER(plain, a_payload_behind_its_wire_header_is_aligned),
        OVER(plain, a_stream_of_datagrams_arrives_in_order),
        OVER(plain, xdp_and_kernel_udp_exchange_every_size),
        OVER(plain, checksums_are_full_when_asked_for),
        OVER(plain, generic_mode_works_with_the_kernel_too),
        OVER(plain, a_train_of_the_kernel_arrives_as_its_datagrams),
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
    };
    return cmocka_run_group_tests_name("xdp", tests, NULL, NULL);
}
