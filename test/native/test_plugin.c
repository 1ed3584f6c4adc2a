/* The seam of datapaths in shared objects of their own: what is missing is said with evidence and cure. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/plugin.h"
#include "datapaths/absent.h"

static void an_object_that_is_not_there_is_named_with_where_it_was_looked_for(void **state) {
    (void)state;
    char why[256] = "";
    int error = 0;
    assert_null(ins_plugin_load("none", &error, why, sizeof why));
    assert_int_equal(error, -ENOENT);
    assert_non_null(strstr(why, "libinsane-none.so not found in /"));
}

static void the_probe_of_an_absent_datapath_says_what_to_install(void **state) {
    (void)state;
    struct ins_probe probe = {0};
    assert_int_equal(ins_absent_probe("dpdk", -ENOENT, "libinsane-dpdk.so not found in /x", &probe), 0);
    assert_int_equal(probe.available, 0);
    assert_int_equal(probe.error, -ENOSYS);
    assert_string_equal(probe.reason, "libinsane-dpdk.so not found in /x: built without libdpdk-dev");
    assert_non_null(strstr(probe.cure, "apt-get install libdpdk-dev"));
    assert_non_null(strstr(probe.evidence, "librte_eal"));
}

static void what_is_built_is_loaded_and_answers_under_its_name(void **state) {
    (void)state;
    const char *const names[] = {"dpdk", "rdma"};
    for (size_t i = 0; i < 2; i++) {
        char why[256] = "";
        int error = 0;
        const struct ins_datapath_ops *ops = ins_plugin_load(names[i], &error, why, sizeof why);
        if (!ops) {
            /* Built without the library: never anything else than "not there". */
            if (error != -ENOENT)
                fail_msg("%s: %d %s", names[i], error, why);
            assert_int_equal(ins_datapath_flags(names[i]), -ENOSYS);
            continue;
        }
        assert_string_equal(ops->name, names[i]);
        assert_ptr_equal(ops, ins_plugin_load(names[i], &error, why, sizeof why));
        assert_int_equal(ins_datapath_flags(names[i]), (int)ops->flags);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_object_that_is_not_there_is_named_with_where_it_was_looked_for),
        cmocka_unit_test(the_probe_of_an_absent_datapath_says_what_to_install),
        cmocka_unit_test(what_is_built_is_loaded_and_answers_under_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
