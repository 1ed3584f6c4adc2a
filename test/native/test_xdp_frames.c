/* What the xdp datapath does with frames that are not as they should be: those for its port are counted by kind and dropped, those
   of other VLANs stay with the kernel, priority tags are taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <time.h>

#include "raw_line.h"
#include "xdp_cases.h"

static uint64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void counted(struct xdp_side *a, const char *counter, uint64_t least) {
    struct ins_rx rx;
    for (uint64_t until = now_ms() + 20000; xdp_side_stat(a, counter) < least;) {
        assert_int_equal(a->dp->ops->rx_burst(a->dp, &rx, 1), 0);
        if (now_ms() > until)
            fail_msg("%s stays %lu", counter, (unsigned long)xdp_side_stat(a, counter));
    }
}

static void malformed_ip_and_udp_are_counted_by_kind(void **state) {
    (void)state;
    need_hosts();
    static const struct {
        const char *counter;
        uint32_t at;
        uint8_t value, mend;
    } faults[] = {
        {"rx_bad_ip", 16, 5, 1},  {"rx_bad_ip_checksum", 22, 63, 0},   {"rx_expired", 22, 0, 1},
        {"rx_bad_udp", 38, 5, 0}, {"rx_bad_udp_checksum", 40, 1, 0},
    };
    static const char *const modes[] = {"", "mode=skb"};
    for (uint32_t m = 0; m < sizeof modes / sizeof *modes; m++) {
        struct xdp_side a;
        struct line line;
        uint8_t frame[256];
        open_a(&a, modes[m]);
        line_open(&line, &hosts);
        for (uint32_t i = 0; i < sizeof faults / sizeof *faults; i++) {
            uint32_t length = good_datagram(&line, a.at, frame);
            frame[faults[i].at] = faults[i].value;
            if (faults[i].mend)
                mend_ip_sum(frame);
            line_send(&line, frame, length);
            counted(&a, faults[i].counter, 1);
            assert_int_equal(xdp_side_stat(&a, faults[i].counter), 1);
        }
        assert_int_equal(xdp_side_stat(&a, "rx_datagrams"), 0);
        /* And one that is good comes. */
        struct ins_rx rx;
        line_send(&line, frame, good_datagram(&line, a.at, frame));
        assert_int_equal(xdp_side_receive(&a, &rx), 1);
        assert_int_equal(rx.length, 100);
        assert_int_equal(ins_pool_unref(&a.pool, rx.slot), 0);
        close(line.fd);
        close_side(&a);
    }
}

static void a_priority_tag_is_taken_and_another_vlan_is_not_ours(void **state) {
    (void)state;
    need_hosts();
    enum { TAG_BYTES = 4, ADDRESSES = 12 };
    struct xdp_side a;
    struct line line;
    open_a(&a, "");
    line_open(&line, &hosts);
    for (uint32_t vlan = 0; vlan < 2; vlan++) {
        uint8_t plain_frame[256], frame[256];
        struct ins_rx rx;
        uint32_t length = good_datagram(&line, a.at, plain_frame);
        const uint8_t tag[TAG_BYTES] = {0x81, 0, 5 << 5, (uint8_t)(vlan ? 6 : 0)};
        memcpy(frame, plain_frame, ADDRESSES);
        memcpy(frame + ADDRESSES, tag, TAG_BYTES);
        memcpy(frame + ADDRESSES + TAG_BYTES, plain_frame + ADDRESSES, length - ADDRESSES);
        line_send(&line, frame, length + TAG_BYTES);
        if (vlan) {
            /* What is sent behind it comes alone. */
            line_send(&line, plain_frame, length);
        }
        assert_int_equal(xdp_side_receive(&a, &rx), 1);
        assert_int_equal(rx.length, 100);
        assert_int_equal(ins_pool_unref(&a.pool, rx.slot), 0);
    }
    expect_nothing(&a);
    assert_int_equal(xdp_side_stat(&a, "rx_datagrams"), 2);
    assert_int_equal(xdp_side_stat(&a, "rx_bad_vlan"), 0);
    close(line.fd);
    close_side(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        OVER(plain, malformed_ip_and_udp_are_counted_by_kind),
        OVER(plain, a_priority_tag_is_taken_and_another_vlan_is_not_ours),
    };
    return cmocka_run_group_tests_name("xdp frames", tests, NULL, NULL);
}
