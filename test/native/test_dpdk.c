/* What the dpdk datapath does with frames: it answers ARP and asks, speaks with the kernel's stack in both directions, takes
   trains whole, finds its way, and counts by kind what is malformed. What all datapaths do is in the conformance suite. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <netinet/udp.h>

#include "dpdk_cases.h"
#include "raw_line.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

#define ON_A "interface=" HOST_A_INTERFACE
#define ON_B "interface=" HOST_B_INTERFACE

static void kernel_sends(int fd, struct ins_endpoint to, uint32_t length, uint32_t seed) {
    uint8_t data[16384];
    struct sockaddr_in name = name_of(to);
    fill(data, length, seed);
    assert_int_equal(sendto(fd, data, length, 0, (struct sockaddr *)&name, sizeof name), length);
}

/* While the datapath has its turns, because the kernel may ask for its address first. */
static void kernel_gets(int fd, struct side *from, uint32_t length, uint32_t seed) {
    uint8_t data[16384];
    struct sockaddr_in name;
    socklen_t name_length = sizeof name;
    struct ins_rx rx;
    ssize_t got;
    uint64_t until = harness_ms() + PATIENCE_MS;
    while ((got = recvfrom(fd, data, sizeof data, MSG_DONTWAIT, (struct sockaddr *)&name, &name_length)) < 0) {
        assert_int_equal(turn(from, &rx), 0);
        harness_deadline(until, "a datagram in the kernel", __FILE__, __LINE__);
    }
    assert_int_equal(got, length);
    for (uint32_t i = 0; i < length; i++)
        assert_int_equal(data[i], (seed + i) % 251);
    assert_int_equal(name.sin_addr.s_addr, from->at.address);
    assert_int_equal(ntohs(name.sin_port), from->at.port);
}

static void exchange_with_the_kernel(const char *options, uint32_t largest) {
    struct side a;
    open_a(&a, options);
    stand_in(hosts.b);
    int fd = kernel_udp(HOST_B_ADDRESS, 0);
    struct ins_endpoint kernel = {.address = address_of(HOST_B_ADDRESS), .port = port_of(fd)};
    const uint32_t sizes[] = {0, 1, 48, 63, 64, 999, largest - 1, largest};
    for (uint32_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        kernel_sends(fd, a.at, sizes[i], i);
        expect(&a, NULL, sizes[i], i, kernel);
        assert_int_equal(send_from(&a, kernel, sizes[i], i + 100), 0);
        kernel_gets(fd, &a, sizes[i], i + 100);
    }
    assert_int_equal(stat_of(&a, "arp_answered") > 0, 1);
    assert_int_equal(stat_of(&a, "rx_bad_udp_checksum"), 0);
    close(fd);
    side_close(&a);
}

static void the_kernel_and_it_understand_each_other(void **state) {
    (void)state;
    need_hosts();
    exchange_with_the_kernel(ON_A, 1472);
}

static void full_checksums_are_right_in_the_kernels_eyes(void **state) {
    (void)state;
    need_hosts();
    exchange_with_the_kernel(ON_A ",checksum=full", 1472);
}

/* What the other host's interface sees: the tag of the next frame of ours, or -1 for none. The kernel takes tags off frames
   before it hands them over, and tells them apart. */
static int tag_seen(int line, const struct side *a) {
    uint8_t frame[2048];
    char control[256];
    struct iovec iov = {frame, sizeof frame};
    for (;;) {
        struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        ssize_t got = recvmsg(line, &message, 0);
        assert_true(got > 0);
        if (got < INS_PACKET_HEADERS || frame[12] != 8 || frame[13] != 0 || memcmp(frame + 26, &a->at.address, 4) != 0)
            continue;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
            struct tpacket_auxdata data;
            if (c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA)
                continue;
            memcpy(&data, CMSG_DATA(c), sizeof data);
            return data.tp_status & TP_STATUS_VLAN_VALID ? data.tp_vlan_tci : -1;
        }
    }
}

static int send_class(struct side *from, struct ins_endpoint to, uint32_t length, uint32_t priority) {
    uint8_t data[2048];
    fill(data, length, priority);
    struct ins_tx tx = {.header = data, .payload = data, .payload_length = length, .to = to, .priority = priority};
    stand_in(hosts.a);
    assert_int_equal(from->dp->ops->tx_burst(from->dp, &tx, 1), 1);
    return tx.error;
}

static void a_traffic_class_is_in_a_tag_where_that_is_asked_for(void **state) {
    (void)state;
    need_hosts();
    static const struct {
        const char *options;
        int tags;
    } cases[] = {{ON_A, 0}, {"tags=none," ON_A, 0}, {"tags=priority," ON_A, 1}, {"tags=priority,checksum=full," ON_A, 1}};
    for (uint32_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct side a;
        const struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
        const int yes = 1;
        open_a(&a, cases[i].options);
        stand_in(hosts.b);
        int fd = kernel_udp(HOST_B_ADDRESS, 0), line = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
        assert_true(line >= 0);
        assert_int_equal(setsockopt(line, SOL_PACKET, PACKET_AUXDATA, &yes, sizeof yes), 0);
        assert_int_equal(setsockopt(line, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
        struct ins_endpoint kernel = {.address = address_of(HOST_B_ADDRESS), .port = port_of(fd)};
        /* The first one waits for the address; the last one is as large as they come. */
        const uint32_t of[][2] = {{7, 100}, {0, 100}, {5, 1472}};
        for (uint32_t j = 0; j < sizeof of / sizeof *of; j++) {
            assert_int_equal(send_class(&a, kernel, of[j][1], of[j][0]), 0);
            kernel_gets(fd, &a, of[j][1], of[j][0]);
            assert_int_equal(tag_seen(line, &a), cases[i].tags && of[j][0] ? (int)(of[j][0] << 13) : -1);
        }
        close(line);
        close(fd);
        side_close(&a);
    }
}

static void frames_of_an_ordinary_device_fit_small_slots(void **state) {
    (void)state;
    need_hosts();
    struct side a;
    assert_int_equal(side_try(&a, hosts.a, "device=net_af_packet_small,iface=" HOST_A_INTERFACE, OWN_A, 4096), 0);
    assert_int_equal(a.at.mtu, 1500);
    side_close(&a);
    assert_int_equal(side_try(&a, hosts.a, "device=net_af_packet_tiny,iface=" HOST_A_INTERFACE, OWN_A, 2048), -EMSGSIZE);
}

/* A train: over a virtual link the kernel hands it over in one piece, and not as many datagrams. */
static void send_train(int fd, struct ins_endpoint to, uint32_t length, uint16_t segment) {
    static uint8_t data[65536];
    char control[CMSG_SPACE(sizeof segment)] = {0};
    struct sockaddr_in name = name_of(to);
    struct iovec iov = {data, length};
    struct msghdr message = {.msg_name = &name, .msg_namelen = sizeof name, .msg_iov = &iov, .msg_iovlen = 1,
                             .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    *c = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof segment), .cmsg_level = SOL_UDP, .cmsg_type = UDP_SEGMENT};
    memcpy(CMSG_DATA(c), &segment, sizeof segment);
    fill(data, length, 5);
    assert_int_equal(sendmsg(fd, &message, 0), length);
}

static void trains_arrive_whole_and_where_they_do_not_fit_that_is_told_and_they_are_counted(void **state) {
    (void)state;
    need_hosts();
    enum { SEGMENT = 1400, LENGTH = 46 * SEGMENT }; /* about what our udp datapath sends at most */
    struct side a;
    for (int whole = 1; whole >= 0; whole--) {
        open_a(&a, whole ? ON_A : "device=net_af_packet_cut,iface=" HOST_A_INTERFACE);
        assert_int_equal(a.at.flags, whole ? 0 : INS_ENDPOINT_SINGLY); /* our own senders are told, this one is not */
        stand_in(hosts.b);
        int fd = kernel_udp(HOST_B_ADDRESS, 0);
        struct ins_endpoint kernel = {.address = address_of(HOST_B_ADDRESS), .port = port_of(fd)};
        kernel_sends(fd, a.at, 10, 0); /* so that it knows the address, and says so at once */
        expect(&a, NULL, 10, 0, kernel);
        send_train(fd, a.at, LENGTH, SEGMENT);
        if (whole)
            expect(&a, NULL, LENGTH, 5, kernel);
        else
            wait_for(&a, "rx_cut", 1);
        close(fd);
        side_close(&a);
    }
}

static void other_networks_need_a_gateway(void **state) {
    (void)state;
    need_hosts();
    struct side a;
    struct ins_endpoint far = {.address = address_of("198.51.100.7"), .port = 9};
    open_a(&a, ON_A);
    assert_int_equal(send_from(&a, far, 100, 0), -ENETUNREACH);
    assert_int_equal(send_from(&a, a.at, 100, 0), -EADDRNOTAVAIL); /* ourselves */
    side_close(&a);

    /* The gateway is the other host, to which we give the address as one more of its own. */
    stand_in(hosts.b);
    assert_int_equal(shell("ip addr add 198.51.100.7/32 dev lo"), 0);
    assert_int_equal(shell("ip route add " OWN_A "/32 dev " HOST_B_INTERFACE), 0);
    int fd = kernel_udp("198.51.100.7", 0);
    far.port = port_of(fd);
    open_a(&a, "gateway=" HOST_B_ADDRESS "," ON_A);
    assert_int_equal(send_from(&a, far, 100, 7), 0);
    kernel_gets(fd, &a, 100, 7);
    close(fd);
    side_close(&a);
}

static void whom_nobody_answers_for_is_given_up_and_counted(void **state) {
    (void)state;
    need_hosts();
    struct side a;
    struct ins_endpoint nobody = {.address = address_of("10.91.0.99"), .port = 9};
    open_a(&a, ON_A);
    for (uint32_t i = 0; i < 10; i++)
        assert_int_equal(send_from(&a, nobody, 100, i), 0); /* they wait */
    wait_for(&a, "tx_unresolved", 10);
    assert_int_equal(stat_of(&a, "arp_timeouts"), 1);
    assert_int_equal(send_from(&a, nobody, 100, 0), -EHOSTUNREACH);
    side_close(&a);
}

/* ---- malformed frames, sent as they are from the other host ---- */

static void malformed_ip_and_udp_are_counted_by_kind(void **state) {
    (void)state;
    need_hosts();
    static const struct {
        const char *counter;
        uint32_t at, cut;
        uint8_t value, mend;
    } faults[] = {
        {"rx_bad_ip", 14, 0, 0x46, 0},   {"rx_bad_ip_checksum", 22, 0, 63, 0}, {"rx_expired", 22, 0, 0, 1},
        {"rx_bad_udp", 38, 0, 0xff, 0},   {"rx_bad_udp_checksum", 40, 0, 1, 0},
        {"rx_other", 23, 0, 6, 1},       {"rx_short", 0, 20, 0, 0},            {"rx_cut", 16, 0, 5, 1},
        {"rx_ipv6", 12, 0, 0x86, 0},
    };
    struct side a;
    struct line line;
    open_a(&a, ON_A);
    line_open(&line, &hosts);
    for (uint32_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        uint8_t frame[256];
        uint32_t length = good_datagram(&line, a.at, frame);
        if (faults[i].at)
            frame[faults[i].at] = faults[i].value;
        if (faults[i].value == 0x46) /* a header length that leaves no room for itself */
            frame[14] = 0x44;
        if (faults[i].value == 0x86) /* the second half of IPv6's type */
            frame[13] = 0xdd;
        if (faults[i].mend)
            mend_ip_sum(frame);
        uint64_t before = stat_of(&a, faults[i].counter);
        line_send(&line, frame, faults[i].cut ? faults[i].cut : length);
        wait_for(&a, faults[i].counter, before + 1);
    }
    assert_int_equal(stat_of(&a, "rx_datagrams"), 0);
    close(line.fd);
    side_close(&a);
}

static void malformed_and_strange_arp_is_counted_by_kind(void **state) {
    (void)state;
    need_hosts();
    struct side a;
    struct line line;
    open_a(&a, ON_A);
    line_open(&line, &hosts);
    /* A good request, then with a faulty field each. */
    uint8_t frame[60] = {0}, *body = frame + 14;
    const uint8_t good[] = {0, 1, 8, 0, 6, 4, 0, 1};
    uint32_t sender = address_of(HOST_B_ADDRESS), target = a.at.address;
    memset(frame, 0xff, 6);
    memcpy(frame + 6, line.from, 6);
    frame[12] = 8;
    frame[13] = 6;
    memcpy(body, good, sizeof good);
    memcpy(body + 8, line.from, 6);
    memcpy(body + 14, &sender, 4);
    memcpy(body + 24, &target, 4);
    line_send(&line, frame, sizeof frame);
    wait_for(&a, "arp_answered", 1);
    static const struct {
        uint32_t at;
        uint8_t value;
    } faults[] = {{1, 9}, {2, 0x86}, {4, 8}, {5, 16}, {7, 3}, {8, 0x01}, {14, 224}};
    for (uint32_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        uint8_t before = body[faults[i].at];
        body[faults[i].at] = faults[i].value;
        line_send(&line, frame, sizeof frame);
        wait_for(&a, "arp_malformed", i + 1);
        body[faults[i].at] = before;
    }
    memcpy(body + 14, &target, 4); /* somebody claims to be us */
    line_send(&line, frame, sizeof frame);
    wait_for(&a, "arp_conflicts", 1);
    memcpy(body + 14, &sender, 4);
    body[15] ^= 1;
    body[7] = 2; /* an answer that nobody asked for */
    line_send(&line, frame, sizeof frame);
    wait_for(&a, "arp_unasked", 1);
    assert_int_equal(stat_of(&a, "arp_answered"), 1);
    close(line.fd);
    side_close(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        OVER(plain, the_kernel_and_it_understand_each_other),
        OVER(plain, full_checksums_are_right_in_the_kernels_eyes),
        OVER(plain, a_traffic_class_is_in_a_tag_where_that_is_asked_for),
        OVER(plain, frames_of_an_ordinary_device_fit_small_slots),
        OVER(plain, trains_arrive_whole_and_where_they_do_not_fit_that_is_told_and_they_are_counted),
        OVER(plain, other_networks_need_a_gateway),
        OVER(plain, whom_nobody_answers_for_is_given_up_and_counted),
        OVER(plain, malformed_ip_and_udp_are_counted_by_kind),
        OVER(plain, malformed_and_strange_arp_is_counted_by_kind),
    };
    return cmocka_run_group_tests_name("dpdk", tests, NULL, NULL);
}
