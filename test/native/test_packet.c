/* The packet engine: what it writes it reads, what is malformed it refuses by kind, and it gets on with the kernel's own
   stack in both directions. */
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
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "packet/arp.h"
#include "packet/checksum.h"
#include "packet/packet.h"
#include "two_hosts.h"

enum { FRAME = 2048 };
static const uint8_t mac_a[6] = {2, 0, 0, 0, 0x0a, 1}, mac_b[6] = {2, 0, 0, 0, 0x0b, 2};

static struct ins_packet_local local_at(const char *address, uint16_t port, const uint8_t *mac) {
    struct ins_packet_local local = {.address = address_of(address), .port = port, .vlan = INS_NO_VLAN};
    memcpy(local.mac, mac, 6);
    return local;
}

static uint32_t write_datagram(uint8_t *frame, const struct ins_packet_local *from, const struct ins_packet_local *to,
                               uint32_t length, uint32_t priority, int full) {
    struct ins_packet_template t;
    ins_packet_template(&t, from, to->mac, to->address, to->port, priority);
    for (uint32_t i = 0; i < length; i++)
        frame[t.length + i] = (uint8_t)(i * 7 + length);
    ins_packet_write(&t, frame, length);
    if (full)
        ins_packet_checksum(&t, frame, ins_sum(frame + t.length, length, 0));
    return t.length + length;
}

/* In memory of exactly its size, so that a read beyond it is found by the sanitizer. */
static enum ins_packet_kind parse_exact(const struct ins_packet_local *local, const uint8_t *frame, uint32_t length,
                                        struct ins_packet *out) {
    uint8_t *copy = malloc(length ? length : 1);
    memcpy(copy, frame, length);
    enum ins_packet_kind kind = ins_packet_parse(local, copy, length, out);
    free(copy);
    return kind;
}

static void what_is_written_is_read(void **state) {
    (void)state;
    uint8_t frame[FRAME];
    struct ins_packet_local a = local_at("10.0.0.1", 4001, mac_a), b = local_at("10.0.0.2", 4002, mac_b);
    for (uint32_t length = 0; length <= 1472; length += length < 70 ? 1 : 67)
        for (uint32_t variant = 0; variant < 12; variant++) {
            uint32_t priority = variant % 3 * 3;
            a.vlan = b.vlan = variant / 3 % 2 ? 7 : INS_NO_VLAN;
            uint32_t total = write_datagram(frame, &a, &b, length, priority, variant / 6);
            struct ins_packet packet;
            assert_int_equal(parse_exact(&b, frame, total, &packet), INS_PACKET_DATAGRAM);
            assert_int_equal(packet.from_address, a.address);
            assert_int_equal(packet.from_port, 4001);
            assert_int_equal(packet.priority, priority);
            assert_int_equal(packet.payload_length, length);
            assert_int_equal(packet.payload_offset, total - length);
            memset(frame + total, 0x5a, 20); /* Ethernet's padding is not part of it */
            assert_int_equal(parse_exact(&b, frame, total + 20, &packet), INS_PACKET_DATAGRAM);
            assert_int_equal(packet.payload_length, length);
        }
}

static void every_cut_frame_is_refused(void **state) {
    (void)state;
    uint8_t frame[FRAME];
    struct ins_packet_local a = local_at("10.0.0.1", 4001, mac_a), b = local_at("10.0.0.2", 4002, mac_b);
    uint32_t total = write_datagram(frame, &a, &b, 100, 0, 1);
    struct ins_packet packet;
    for (uint32_t length = 0; length < total; length++)
        assert_true(parse_exact(&b, frame, length, &packet) >= INS_PACKET_SHORT);
}

static void no_flipped_bit_passes_a_full_checksum(void **state) {
    (void)state;
    uint8_t frame[FRAME];
    struct ins_packet_local a = local_at("10.0.0.1", 4001, mac_a), b = local_at("10.0.0.2", 4002, mac_b);
    uint32_t total = write_datagram(frame, &a, &b, 61, 0, 1);
    struct ins_packet packet;
    for (uint32_t bit = 0; bit < total * 8; bit++) {
        if (bit / 8 >= 6 && bit / 8 < 12)
            continue; /* who sent it on this wire is nobody's promise */
        frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_not_equal(parse_exact(&b, frame, total, &packet), INS_PACKET_DATAGRAM);
        frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(parse_exact(&b, frame, total, &packet), INS_PACKET_DATAGRAM);
}

static void fix_ip_sum(uint8_t *ip) {
    memset(ip + 10, 0, 2);
    uint16_t sum = (uint16_t)~ins_sum_fold(ins_sum(ip, (ip[0] & 15u) * 4u, 0));
    memcpy(ip + 10, &sum, 2);
}

static void each_fault_has_its_kind(void **state) {
    (void)state;
    struct ins_packet_local a = local_at("10.0.0.1", 4001, mac_a), b = local_at("10.0.0.2", 4002, mac_b);
    static const struct {
        uint32_t at;
        uint8_t value;
        int fix; /* the IP header's checksum */
        enum ins_packet_kind kind;
    } faults[] = {
        {0, 0x04, 0, INS_PACKET_OTHER},       {12, 0x86, 0, INS_PACKET_OTHER},   {14, 0x65, 1, INS_PACKET_BAD_IP},
        {14, 0x44, 0, INS_PACKET_BAD_IP},     {14, 0x4f, 0, INS_PACKET_BAD_IP},   {16, 0xff, 1, INS_PACKET_BAD_IP},
        {17, 19, 1, INS_PACKET_BAD_IP},       {17, 27, 1, INS_PACKET_BAD_UDP},   {24, 0x11, 0, INS_PACKET_BAD_IP_SUM},
        {22, 0, 1, INS_PACKET_EXPIRED},       {20, 0x20, 1, INS_PACKET_FRAGMENT}, {21, 1, 1, INS_PACKET_FRAGMENT},
        {23, 6, 1, INS_PACKET_OTHER},         {33, 9, 1, INS_PACKET_OTHER},      {37, 1, 0, INS_PACKET_OTHER},
        {39, 7, 0, INS_PACKET_BAD_UDP},       {39, 200, 0, INS_PACKET_BAD_UDP},  {41, 1, 0, INS_PACKET_BAD_UDP_SUM},
    };
    for (uint32_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        uint8_t frame[FRAME];
        struct ins_packet packet;
        uint32_t total = write_datagram(frame, &a, &b, 10, 0, 1);
        frame[faults[i].at] = faults[i].value;
        if (faults[i].fix)
            fix_ip_sum(frame + 14);
        enum ins_packet_kind kind = parse_exact(&b, frame, total, &packet);
        if (kind != faults[i].kind)
            print_error("byte %u = %u: kind %d, not %d\n", faults[i].at, faults[i].value, kind, faults[i].kind);
        assert_int_equal(kind, faults[i].kind);
        assert_non_null(ins_packet_kind_name(kind));
    }
    uint8_t frame[FRAME] = {0};
    struct ins_packet packet;
    uint32_t total = write_datagram(frame, &a, &b, 10, 0, 1);
    frame[12] = 0x86, frame[13] = 0xdd;
    assert_int_equal(parse_exact(&b, frame, total, &packet), INS_PACKET_IPV6);
    total = write_datagram(frame, &a, &b, 10, 0, 1);
    b.vlan = 5;
    assert_int_equal(parse_exact(&b, frame, total, &packet), INS_PACKET_BAD_VLAN);
    a.vlan = 6;
    total = write_datagram(frame, &a, &b, 10, 0, 1);
    assert_int_equal(parse_exact(&b, frame, total, &packet), INS_PACKET_BAD_VLAN);
}

static void a_header_with_options_is_read(void **state) {
    (void)state;
    uint8_t frame[FRAME];
    struct ins_packet_local a = local_at("10.0.0.1", 4001, mac_a), b = local_at("10.0.0.2", 4002, mac_b);
    uint32_t total = write_datagram(frame, &a, &b, 10, 0, 1);
    memmove(frame + 38, frame + 34, total - 34);
    memset(frame + 34, 1, 4); /* four times "no operation" */
    frame[14] = 0x46;
    frame[17] = (uint8_t)(frame[17] + 4);
    fix_ip_sum(frame + 14);
    struct ins_packet packet;
    assert_int_equal(parse_exact(&b, frame, total + 4, &packet), INS_PACKET_DATAGRAM);
    assert_int_equal(packet.payload_offset, 46);
    assert_int_equal(packet.payload_length, 10);
}

/* ---- ARP on its own ---- */

static uint32_t arp_frame(uint8_t *frame, const struct ins_packet_local *from, uint32_t operation, const char *target) {
    struct ins_arp sender;
    ins_arp_init(&sender, from);
    uint32_t length = ins_arp_announce(&sender, frame), address = address_of(target);
    frame[21] = (uint8_t)operation;
    memcpy(frame + 38, &address, 4);
    return length;
}

static void an_address_is_asked_for_learned_and_renewed(void **state) {
    (void)state;
    struct ins_packet_local a = local_at("10.0.0.1", 1, mac_a), b = local_at("10.0.0.2", 1, mac_b);
    struct ins_arp arp, other;
    uint8_t mac[6], frame[INS_ARP_FRAME], answer[INS_ARP_FRAME];
    ins_arp_init(&arp, &a);
    ins_arp_init(&other, &b);
    assert_int_equal(ins_arp_due(&arp, 0, frame), 0);
    assert_int_equal(ins_arp_find(&arp, b.address, 0, mac), 0);
    assert_true(arp.next_ms == 0);
    uint32_t length = ins_arp_due(&arp, 0, frame);
    assert_int_equal(length, 60);
    assert_int_equal(ins_arp_due(&arp, 0, answer), 0); /* once */
    length = ins_arp_input(&other, frame, length, 0, answer);
    assert_int_equal(length, 60);
    assert_int_equal(ins_arp_input(&arp, answer, length, 5, frame), 0);
    assert_int_equal(ins_arp_find(&arp, b.address, 5, mac), 1);
    assert_memory_equal(mac, mac_b, 6);
    assert_int_equal(ins_arp_due(&arp, 6, frame), 0);
    assert_true(arp.next_ms == UINT64_MAX);

    /* Trust ends: still used, while it is asked for directly. */
    uint64_t later = 5 + INS_ARP_FRESH_MS;
    assert_int_equal(ins_arp_find(&arp, b.address, later, mac), 1);
    assert_int_equal(ins_arp_due(&arp, later, frame), 60);
    assert_memory_equal(frame, mac_b, 6);
    length = ins_arp_input(&other, frame, 60, later, answer);
    ins_arp_input(&arp, answer, length, later, frame);
    assert_int_equal(ins_arp_due(&arp, later + 10000, frame), 0);
    assert_int_equal(arp.counters[INS_ARP_LEARNED], 2);

    /* Others announce a new address: corrected at once. */
    b.mac[5] = 9;
    length = ins_arp_announce(&other, frame);
    assert_int_equal(ins_arp_input(&arp, frame, length, later + 1, answer), 0);
    assert_int_equal(ins_arp_find(&arp, b.address, later + 1, mac), 1);
    assert_int_equal(mac[5], 9);
}

static void a_silent_address_becomes_unreachable_and_is_tried_again(void **state) {
    (void)state;
    struct ins_packet_local a = local_at("10.0.0.1", 1, mac_a);
    struct ins_arp arp;
    uint8_t mac[6], frame[INS_ARP_FRAME];
    ins_arp_init(&arp, &a);
    uint32_t silent = address_of("10.0.0.3");
    uint64_t now = 100;
    uint32_t requests = 0;
    assert_int_equal(ins_arp_find(&arp, silent, now, mac), 0);
    for (; arp.waiting; now = arp.next_ms)
        while (ins_arp_due(&arp, now, frame))
            requests++;
    assert_int_equal(requests, INS_ARP_TRIES);
    assert_int_equal(arp.counters[INS_ARP_TIMEOUTS], 1);
    now = 100 + INS_ARP_TRIES * INS_ARP_RETRY_MS;
    assert_int_equal(ins_arp_find(&arp, silent, now, mac), -EHOSTUNREACH);
    assert_int_equal(ins_arp_find(&arp, silent, now + INS_ARP_FAILED_MS, mac), 0);
    assert_int_equal(ins_arp_due(&arp, now + INS_ARP_FAILED_MS, frame), 60);
    static const char *const none[] = {"0.1.2.3", "127.0.0.1", "224.0.0.1", "255.255.255.255", "10.0.0.1"};
    for (uint32_t i = 0; i < 5; i++)
        assert_int_equal(ins_arp_find(&arp, address_of(none[i]), now, mac), -EINVAL);
}

static void nobody_fills_the_cache_from_outside(void **state) {
    (void)state;
    struct ins_packet_local a = local_at("10.0.0.1", 1, mac_a), b = local_at("10.0.0.2", 1, mac_b);
    struct ins_arp arp;
    uint8_t frame[INS_ARP_FRAME], answer[INS_ARP_FRAME], mac[6];
    ins_arp_init(&arp, &a);
    uint32_t length = arp_frame(frame, &b, 2, "10.0.0.1");
    assert_int_equal(ins_arp_input(&arp, frame, length, 0, answer), 0);
    assert_int_equal(arp.counters[INS_ARP_UNASKED], 1);
    assert_int_equal(ins_arp_find(&arp, b.address, 0, mac), 0);
    b.address = a.address;
    length = arp_frame(frame, &b, 1, "10.0.0.1");
    assert_int_equal(ins_arp_input(&arp, frame, length, 0, answer), 0);
    assert_int_equal(arp.counters[INS_ARP_CONFLICTS], 1);
    /* More than the cache holds: the longest unused make room, nothing grows. */
    for (uint32_t i = 0; i < 5000; i++)
        ins_arp_find(&arp, htonl(0x0a010000u + i), i, mac);
    assert_true(arp.counters[INS_ARP_EVICTED] >= 5000 - INS_ARP_SETS * INS_ARP_WAYS);
    assert_true(arp.waiting <= INS_ARP_SETS * INS_ARP_WAYS);
}

static void malformed_arp_is_counted(void **state) {
    (void)state;
    struct ins_packet_local a = local_at("10.0.0.1", 1, mac_a), b = local_at("10.0.0.2", 1, mac_b);
    static const uint8_t faults[][2] = {{14, 1}, {15, 6}, {16, 0x86}, {18, 8}, {19, 16}, {20, 1}, {21, 3}, {22, 3}, {28, 224}};
    struct ins_arp arp;
    ins_arp_init(&arp, &a);
    uint8_t frame[INS_ARP_FRAME], answer[INS_ARP_FRAME];
    for (uint32_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        uint32_t length = arp_frame(frame, &b, 1, "10.0.0.1");
        frame[faults[i][0]] = faults[i][1];
        assert_int_equal(ins_arp_input(&arp, frame, length, 0, answer), 0);
        assert_int_equal(arp.counters[INS_ARP_MALFORMED], i + 1);
    }
    uint32_t length = arp_frame(frame, &b, 1, "10.0.0.1");
    for (uint32_t cut = 0; cut < 42; cut++) {
        uint8_t *copy = malloc(cut ? cut : 1);
        memcpy(copy, frame, cut);
        assert_int_equal(ins_arp_input(&arp, copy, cut, 0, answer), 0);
        free(copy);
    }
    assert_true(ins_arp_input(&arp, frame, length, 0, answer) > 0);
}

/* ---- against the kernel: our stack on host A behind a packet socket, with an address that A's kernel does not have;
   host B is all kernel ---- */

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
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(every_cut_frame_is_refused),
        cmocka_unit_test(no_flipped_bit_passes_a_full_checksum),
        cmocka_unit_test(each_fault_has_its_kind),
        cmocka_unit_test(a_header_with_options_is_read),
        cmocka_unit_test(an_address_is_asked_for_learned_and_renewed),
        cmocka_unit_test(a_silent_address_becomes_unreachable_and_is_tried_again),
        cmocka_unit_test(nobody_fills_the_cache_from_outside),
        cmocka_unit_test(malformed_arp_is_counted),
        cmocka_unit_test(the_kernel_finds_us_and_we_find_the_kernel),
        cmocka_unit_test(a_pseudo_header_sum_is_good_on_a_virtual_device_only),
        cmocka_unit_test(full_and_absent_checksums_of_the_kernel_are_good),
        cmocka_unit_test(the_kernel_takes_what_we_write),
        cmocka_unit_test(the_kernel_refuses_what_we_spoil),
        cmocka_unit_test(a_fragmented_datagram_of_the_kernel_is_refused),
    };
    return cmocka_run_group_tests_name("packet", tests, wire_open, wire_close);
}
