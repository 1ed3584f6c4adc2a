/* The packet engine by itself: what it writes it reads, and so does tshark; what is malformed it refuses by kind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "packet/arp.h"
#include "packet_cases.h"

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

/* ---- as a stranger reads it ---- */

static void capture(FILE *file, const uint8_t *frame, uint32_t length) {
    const uint32_t header[4] = {0, 0, length, length};
    fwrite(header, sizeof header, 1, file);
    fwrite(frame, length, 1, file);
}

/* Frames of every kind that we write, in a capture file (pcap 2.4, Ethernet). */
static void write_captures(const char *path) {
    uint8_t frame[FRAME], answer[INS_ARP_FRAME], mac[6];
    struct ins_packet_local a = local_at("10.0.0.1", 4001, mac_a), b = local_at("10.0.0.2", 4002, mac_b);
    const uint32_t header[6] = {0xa1b2c3d4, 2 | 4 << 16, 0, 0, 65535, 1};
    struct ins_arp arp, other;
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fwrite(header, sizeof header, 1, file);
    capture(file, frame, write_datagram(frame, &a, &b, 101, 0, 1));
    capture(file, frame, write_datagram(frame, &a, &b, 64, 0, 0));
    capture(file, frame, write_datagram(frame, &a, &b, 1472, 5, 1));
    ins_arp_init(&arp, &a);
    ins_arp_init(&other, &b);
    ins_arp_find(&arp, b.address, 0, mac);
    uint32_t length = ins_arp_due(&arp, 0, frame);
    capture(file, frame, length);
    capture(file, answer, ins_arp_input(&other, frame, length, 0, answer));
    capture(file, frame, ins_arp_announce(&arp, frame));
    fclose(file);
}

static void tshark_finds_nothing_wrong_with_our_frames(void **state) {
    (void)state;
    /* Status 1: a good checksum; 3: none. */
    static const char *const expected[] = {
        "eth:ethertype:ip:udp:data|10.0.0.1|10.0.0.2|4001|4002|1|1||||",
        "eth:ethertype:ip:udp:data|10.0.0.1|10.0.0.2|4001|4002|1|3||||",
        "eth:ethertype:vlan:ethertype:ip:udp:data|10.0.0.1|10.0.0.2|4001|4002|1|1|5|||",
        "eth:ethertype:arp|||||||" "|1|10.0.0.1|10.0.0.2",
        "eth:ethertype:arp|||||||" "|2|10.0.0.2|10.0.0.1",
        "eth:ethertype:arp|||||||" "|1|10.0.0.1|10.0.0.1",
    };
    char path[] = "/tmp/insane-packet-XXXXXX", command[512], line[512];
    if (shell("command -v tshark")) {
        print_message("needs tshark\n");
        skip();
    }
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    write_captures(path);
    snprintf(command, sizeof command,
             "tshark -n -r %s -o ip.check_checksum:TRUE -o udp.check_checksum:TRUE -T fields -E separator='|' "
             "-e frame.protocols -e ip.src -e ip.dst -e udp.srcport -e udp.dstport -e ip.checksum.status "
             "-e udp.checksum.status -e vlan.priority -e arp.opcode -e arp.src.proto_ipv4 -e arp.dst.proto_ipv4 2>&1", path);
    FILE *output = popen(command, "re");
    uint32_t at = 0, wrong = 0;
    while (output && fgets(line, sizeof line, output)) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "eth:", 4) != 0)
            continue; /* that it should not be run as root */
        if (at >= sizeof expected / sizeof *expected || strcmp(line, expected[at]) != 0) {
            print_error("%s\n", line);
            wrong++;
        }
        at++;
    }
    if (output)
        pclose(output);
    unlink(path);
    assert_int_equal(wrong, 0);
    assert_int_equal(at, sizeof expected / sizeof *expected);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(every_cut_frame_is_refused),
        cmocka_unit_test(no_flipped_bit_passes_a_full_checksum),
        cmocka_unit_test(each_fault_has_its_kind),
        cmocka_unit_test(a_header_with_options_is_read),
        cmocka_unit_test(tshark_finds_nothing_wrong_with_our_frames),
    };
    return cmocka_run_group_tests_name("packet", tests, NULL, NULL);
}
