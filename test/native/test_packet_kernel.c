/* The packet engine against the kernel's own stack, in both directions: our stack on host A behind a packet socket, with
   an address that A's kernel does not have; host B is all kernel. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "packet/arp.h"
#include "packet_cases.h"

struct wire {
    struct two_hosts hosts;
    struct ins_packet_local local;
    struct ins_arp arp;
    int raw;    /* on A's interface */
    int kernel; /* UDP socket on B */
    uint8_t kernel_mac[6];
};

static int wire_open(void **state) {
    static struct wire wire;
    memset(&wire, 0, sizeof wire);
    *state = NULL;
    int error = two_hosts_open(&wire.hosts, 1500, 1);
    if (error)
        return error == -EPERM ? 0 : -1;
    *state = &wire;
    wire.local = local_at("10.91.0.9", 4009, mac_a);
    ins_arp_init(&wire.arp, &wire.local);
    wire.raw = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(3 /* ETH_P_ALL */));
    struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(3),
                             .sll_ifindex = (int)if_nametoindex(HOST_A_INTERFACE)};
    if (wire.raw < 0 || bind(wire.raw, (struct sockaddr *)&at, sizeof at))
        return -1;
    stand_in(wire.hosts.b);
    wire.kernel = kernel_udp(HOST_B_ADDRESS, 5005);
    mac_of(HOST_B_INTERFACE, wire.kernel_mac);
    stand_in(wire.hosts.a);
    return 0;
}

static int wire_close(void **state) {
    struct wire *wire = *state;
    if (!wire)
        return 0;
    close(wire->raw);
    close(wire->kernel);
    two_hosts_close(&wire->hosts);
    return 0;
}

static struct wire *wire_or_skip(void **state) {
    if (!*state) {
        print_message("needs root for network namespaces\n");
        skip();
    }
    return *state;
}

static void put(struct wire *wire, const uint8_t *frame, uint32_t length) {
    assert_int_equal(send(wire->raw, frame, length, 0), length);
}

/* The next frame that is not our own, at most 2 s from now. */
static uint32_t get(struct wire *wire, uint8_t *frame) {
    for (;;) {
        struct pollfd readable = {.fd = wire->raw, .events = POLLIN};
        assert_int_equal(poll(&readable, 1, 2000), 1);
        struct sockaddr_ll from;
        socklen_t from_length = sizeof from;
        ssize_t length = recvfrom(wire->raw, frame, FRAME, 0, (struct sockaddr *)&from, &from_length);
        assert_true(length > 0);
        if (from.sll_pkttype != PACKET_OUTGOING)
            return (uint32_t)length;
    }
}

/* Answers ARP until a frame of another kind that is or looks ours comes. */
static enum ins_packet_kind next(struct wire *wire, uint8_t *frame, struct ins_packet *packet) {
    for (;;) {
        uint8_t answer[INS_ARP_FRAME];
        uint32_t length = get(wire, frame);
        enum ins_packet_kind kind = ins_packet_parse(&wire->local, frame, length, packet);
        if (kind == INS_PACKET_ARP) {
            length = ins_arp_input(&wire->arp, frame, length, 0, answer);
            if (length)
                put(wire, answer, length);
        } else if (kind != INS_PACKET_OTHER && kind != INS_PACKET_IPV6)
            return kind;
    }
}

static void kernel_sends(struct wire *wire, uint32_t length) {
    uint8_t data[8192];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(wire->local.port),
                             .sin_addr.s_addr = wire->local.address};
    for (uint32_t i = 0; i < length; i++)
        data[i] = (uint8_t)(i * 3);
    assert_int_equal(sendto(wire->kernel, data, length, 0, (struct sockaddr *)&to, sizeof to), length);
}

static void the_kernel_finds_us_and_we_find_the_kernel(void **state) {
    struct wire *wire = wire_or_skip(state);
    uint8_t frame[FRAME], mac[6];
    struct ins_packet packet;
    wire->local.virtual_device = 1;
    kernel_sends(wire, 11);
    assert_int_equal(next(wire, frame, &packet), INS_PACKET_DATAGRAM);
    assert_int_equal(packet.payload_length, 11);
    assert_int_equal(packet.from_port, 5005);
    assert_int_equal(packet.from_address, address_of(HOST_B_ADDRESS));
    assert_true(wire->arp.counters[INS_ARP_ANSWERED] >= 1);

    assert_int_equal(ins_arp_find(&wire->arp, address_of(HOST_B_ADDRESS), 0, mac), 0);
    uint32_t length = ins_arp_due(&wire->arp, 0, frame);
    put(wire, frame, length);
    while (ins_arp_find(&wire->arp, address_of(HOST_B_ADDRESS), 0, mac) == 0) {
        length = get(wire, frame);
        if (ins_packet_parse(&wire->local, frame, length, &packet) == INS_PACKET_ARP)
            ins_arp_input(&wire->arp, frame, length, 0, frame + FRAME / 2);
    }
    assert_memory_equal(mac, wire->kernel_mac, 6);
}

/* Regression: a kernel sender on veth leaves the sum to a device that is not there. */
static void a_pseudo_header_sum_is_good_on_a_virtual_device_only(void **state) {
    struct wire *wire = wire_or_skip(state);
    uint8_t frame[FRAME];
    struct ins_packet packet;
    wire->local.virtual_device = 1;
    kernel_sends(wire, 300);
    assert_int_equal(next(wire, frame, &packet), INS_PACKET_DATAGRAM);
    uint16_t given;
    memcpy(&given, frame + 40, 2);
    assert_int_equal(given, ins_sum_fold(ins_sum(frame + 26, 8, htons(17)) + htons(308)));
    wire->local.virtual_device = 0;
    assert_int_equal(ins_packet_parse(&wire->local, frame, 342, &packet), INS_PACKET_BAD_UDP_SUM);
}

static void set_transmit_checksums(uint32_t on) {
    struct ethtool_value value = {.cmd = ETHTOOL_STXCSUM, .data = on};
    struct ifreq request = {.ifr_data = (char *)&value};
    snprintf(request.ifr_name, sizeof request.ifr_name, HOST_B_INTERFACE);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(ioctl(fd, SIOCETHTOOL, &request), 0);
    close(fd);
}

static void full_and_absent_checksums_of_the_kernel_are_good(void **state) {
    struct wire *wire = wire_or_skip(state);
    uint8_t frame[FRAME];
    struct ins_packet packet;
    int one = 1, zero = 0;
    wire->local.virtual_device = 0;
    stand_in(wire->hosts.b);
    set_transmit_checksums(0);
    kernel_sends(wire, 333);
    assert_int_equal(next(wire, frame, &packet), INS_PACKET_DATAGRAM);
    frame[50] ^= 1;
    assert_int_equal(ins_packet_parse(&wire->local, frame, 375, &packet), INS_PACKET_BAD_UDP_SUM);
    assert_int_equal(setsockopt(wire->kernel, SOL_SOCKET, SO_NO_CHECK, &one, sizeof one), 0);
    kernel_sends(wire, 334);
    assert_int_equal(next(wire, frame, &packet), INS_PACKET_DATAGRAM);
    assert_int_equal(frame[40] | frame[41], 0);
    assert_int_equal(setsockopt(wire->kernel, SOL_SOCKET, SO_NO_CHECK, &zero, sizeof zero), 0);
    set_transmit_checksums(1);
    stand_in(wire->hosts.a);
}

static void the_kernel_takes_what_we_write(void **state) {
    struct wire *wire = wire_or_skip(state);
    struct ins_packet_local kernel = local_at(HOST_B_ADDRESS, 5005, wire->kernel_mac);
    uint8_t frame[FRAME], data[FRAME];
    for (uint32_t variant = 0; variant < 4; variant++)
        for (uint32_t length = 0; length <= 1472; length += 46) {
            /* The priority tag (VLAN 0) must be as good as none. */
            uint32_t total = write_datagram(frame, &wire->local, &kernel, length, variant / 2 * 5, variant % 2);
            put(wire, frame, total);
            struct sockaddr_in from;
            socklen_t from_length = sizeof from;
            ssize_t got = recvfrom(wire->kernel, data, sizeof data, 0, (struct sockaddr *)&from, &from_length);
            assert_int_equal(got, length);
            assert_memory_equal(data, frame + total - length, length);
            assert_int_equal(from.sin_addr.s_addr, wire->local.address);
            assert_int_equal(ntohs(from.sin_port), wire->local.port);
        }
}

static void the_kernel_refuses_what_we_spoil(void **state) {
    struct wire *wire = wire_or_skip(state);
    struct ins_packet_local kernel = local_at(HOST_B_ADDRESS, 5005, wire->kernel_mac);
    uint8_t frame[FRAME], data[FRAME];
    uint32_t total = write_datagram(frame, &wire->local, &kernel, 100, 0, 1);
    frame[80] ^= 1; /* proves that the sum above was really looked at */
    put(wire, frame, total);
    total = write_datagram(frame, &wire->local, &kernel, 99, 0, 1);
    put(wire, frame, total);
    assert_int_equal(recv(wire->kernel, data, sizeof data, 0), 99);
}

static void a_fragmented_datagram_of_the_kernel_is_refused(void **state) {
    struct wire *wire = wire_or_skip(state);
    uint8_t frame[FRAME];
    struct ins_packet packet;
    wire->local.virtual_device = 1;
    kernel_sends(wire, 4000);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(next(wire, frame, &packet), INS_PACKET_FRAGMENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_kernel_finds_us_and_we_find_the_kernel),
        cmocka_unit_test(a_pseudo_header_sum_is_good_on_a_virtual_device_only),
        cmocka_unit_test(full_and_absent_checksums_of_the_kernel_are_good),
        cmocka_unit_test(the_kernel_takes_what_we_write),
        cmocka_unit_test(the_kernel_refuses_what_we_spoil),
        cmocka_unit_test(a_fragmented_datagram_of_the_kernel_is_refused),
    };
    return cmocka_run_group_tests_name("packet and kernel", tests, wire_open, wire_close);
}
