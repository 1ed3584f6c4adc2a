/* The ARP cache and protocol by themselves, on a clock of the test's own. Against the kernel: test_packet.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "packet/arp.h"
#include "packet_cases.h"

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_is_asked_for_learned_and_renewed),
        cmocka_unit_test(a_silent_address_becomes_unreachable_and_is_tried_again),
        cmocka_unit_test(nobody_fills_the_cache_from_outside),
        cmocka_unit_test(malformed_arp_is_counted),
    };
    return cmocka_run_group_tests_name("arp", tests, NULL, NULL);
}
