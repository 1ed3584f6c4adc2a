/* Gate control lists: what is refused, how long frames take, and the tables against the plain reading of a list. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "gates_cases.h"

static struct ins_gate_list simple(void) {
    return (struct ins_gate_list){
        .base_ns = 0,
        .cycle_ns = 1000000,
        .line_mbps = 1000,
        .mtu = 1500,
        .count = 2,
        .entries = {{.mask = 0x80, .interval_ns = 200000}, {.mask = 0x01, .interval_ns = 800000}},
    };
}

static void what_does_not_add_up_is_refused(void **state) {
    (void)state;
    struct ins_gates out;
    struct ins_gate_list good = simple(), bad;
    assert_int_equal(ins_gates_compile(&good, &out), 0);
#define REFUSED(error, change)                                                                                         \
    bad = good;                                                                                                        \
    bad.change;                                                                                                        \
    assert_int_equal(ins_gates_compile(&bad, &out), error)
    REFUSED(-EINVAL, cycle_ns = 0);
    REFUSED(-EINVAL, cycle_ns = 999999);
    REFUSED(-EINVAL, cycle_ns = 1000001);
    REFUSED(-EINVAL, cycle_ns = (uint64_t)INS_CYCLE_MOST + 1);
    REFUSED(-EINVAL, count = 0);
    REFUSED(-EINVAL, count = INS_GATE_ENTRIES + 1);
    REFUSED(-EINVAL, entries[0].interval_ns = 0);
    REFUSED(-EINVAL, entries[0].mask = 0x100);
    REFUSED(-EINVAL, line_mbps = 0);
    REFUSED(-EINVAL, mtu = 575);
    REFUSED(-EINVAL, mtu = 65536);
    REFUSED(-EINVAL, base_ns = UINT64_MAX);
    /* 88 bytes take 704 ns: a window of 200,000 has no room for that and a margin of 199,297. */
    REFUSED(-ERANGE, margin_ns = 199297);
#undef REFUSED
    bad = good;
    bad.margin_ns = 199296;
    assert_int_equal(ins_gates_compile(&bad, &out), 0);
}

static void a_frame_takes_what_the_wire_takes(void **state) {
    (void)state;
    struct ins_gates g;
    struct ins_gate_list list = simple();
    assert_int_equal(ins_gates_compile(&list, &g), 0);
    /* One frame of 1500 bytes and 42 of overhead at 1 Gbit/s. */
    assert_int_equal(ins_gates_duration(&g, 1472), (1500 + 42) * 8);
    /* Padded to the least frame: 88 bytes. */
    assert_int_equal(ins_gates_duration(&g, 0), 88 * 8);
    assert_int_equal(ins_gates_duration(&g, 18), 88 * 8);
    assert_int_equal(ins_gates_duration(&g, 19), 89 * 8);
    /* One byte more than fits: two fragments, 1480 and 1 bytes of payload. */
    assert_int_equal(ins_gates_duration(&g, 1473), (1481 + 2 * 62) * 8);
    /* The largest datagram: 65,515 bytes in 45 fragments. */
    assert_int_equal(ins_gates_duration(&g, 65507), (65515 + 45 * 62) * 8);
    list.line_mbps = 10000;
    assert_int_equal(ins_gates_compile(&list, &g), 0);
    assert_int_equal(ins_gates_duration(&g, 0), 71); /* 70.4, rounded up */
}

static void tables_are_what_the_list_says(void **state) {
    (void)state;
    struct cases cases = cases_seeded(1);
    for (uint32_t round = 0; round < 2000; round++) {
        struct ins_gate_list list = cases_list(&cases);
        struct ins_gates g;
        assert_int_equal(ins_gates_compile(&list, &g), 0);
        for (uint32_t i = 0; i < list.count; i++)
            for (uint32_t class = 0; class < INS_CLASSES; class ++) {
                uint64_t at = list.base_ns + g.start[i], window = cases_window(&list, class, at);
                assert_int_equal(g.open[i][class], window);
                assert_true(window <= g.longest[class]);
                if (g.opens[i][class] == INS_GATES_NEVER) {
                    for (uint32_t k = 0; k < list.count; k++)
                        assert_int_equal(list.entries[k].mask >> class & 1, list.entries[0].mask >> class & 1);
                    continue;
                }
                uint64_t opens = at + g.opens[i][class];
                assert_true(opens > at && opens <= at + 2 * list.cycle_ns);
                assert_true(cases_open(&list, class, opens));
                assert_false(cases_open(&list, class, opens - 1));
            }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_does_not_add_up_is_refused),
        cmocka_unit_test(a_frame_takes_what_the_wire_takes),
        cmocka_unit_test(tables_are_what_the_list_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
