/* Life of the dpdk datapath: what DPDK's environment does to the process and does not, options, refusals, what its probe
   says, devices other than af_packet, interfaces that vanish. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sched.h>
#include <signal.h>

#include "dpdk_cases.h"

#define ON_A "interface=" HOST_A_INTERFACE
#define ON_B "interface=" HOST_B_INTERFACE

static void the_callers_thread_stays_what_it_was(void **state) {
    (void)state;
    need_hosts();
    cpu_set_t before, after;
    sigset_t signals_before, signals_after;
    struct sigaction segv_before, segv_after, int_before, int_after;
    struct side a;
    sched_getaffinity(0, sizeof before, &before);
    pthread_sigmask(SIG_SETMASK, NULL, &signals_before);
    sigaction(SIGSEGV, NULL, &segv_before);
    sigaction(SIGINT, NULL, &int_before);
    open_a(&a, ON_A);
    sched_getaffinity(0, sizeof after, &after);
    pthread_sigmask(SIG_SETMASK, NULL, &signals_after);
    sigaction(SIGSEGV, NULL, &segv_after);
    sigaction(SIGINT, NULL, &int_after);
    assert_true(CPU_EQUAL(&before, &after));
    assert_memory_equal(&signals_before, &signals_after, sizeof(unsigned long));
    assert_true(segv_before.sa_handler == segv_after.sa_handler && int_before.sa_handler == int_after.sa_handler);
    side_close(&a);
}

static void what_is_wrong_with_its_options_is_refused(void **state) {
    (void)state;
    need_hosts();
    static const char *const wrong[] = {
        "",
        "prefix=24",
        "interface=",
        "interface=a,interface=b",
        "interface=a,prefix=31",
        "interface=a,prefix=24x",
        "interface=a,gateway=here",
        "interface=a,mtu=100",
        "interface=a,checksum=half",
        "interface=a,tags=all",
        "interface=a,hugepages=maybe",
        "interface=a,address=10.0.0.1",
        "interface=a,",
        "interface=a,,prefix=24",
        "interface=a,prefix",
        "device=eth0",
        "device=net_af_packet0",
        "device=net_af_packet0,iface=a,qpairs=2",
        "device=net_af_packet0,iface=a,blocksz=1048576,framesz=65424", /* frames that do not fill a block */
    };
    stand_in(hosts.a);
    for (uint32_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct ins_endpoint at = {.address = address_of(OWN_A)};
        struct ins_datapath *dp = NULL;
        /* A comma at the end is forgiven everywhere. */
        int expected = strcmp(wrong[i], "interface=a,") == 0 ? -ENODEV : -EINVAL;
        int error = ins_datapath_open("dpdk", wrong[i], &at, &dp);
        if (error != expected)
            fail_msg("\"%s\": %d", wrong[i], error);
    }
}

static void what_is_in_the_way_has_an_errno_of_its_own(void **state) {
    (void)state;
    need_hosts();
    struct side a, b;
    assert_int_equal(side_try(&b, hosts.a, "interface=nowhere", OWN_A, STRIDE), -ENODEV);
    assert_int_equal(side_try(&b, hosts.a, "interface=lo", OWN_A, STRIDE), -EOPNOTSUPP);
    assert_int_equal(side_try(&b, hosts.a, ON_A, HOST_A_ADDRESS, STRIDE), -EADDRINUSE); /* the kernel's */
    assert_int_equal(side_try(&b, hosts.a, ON_A, "127.0.0.1", STRIDE), -EINVAL);
    assert_int_equal(side_try(&b, hosts.a, "mtu=9000," ON_A, OWN_A, STRIDE), -EMSGSIZE);
    assert_int_equal(side_try(&b, hosts.a, ON_A, OWN_A, 4096), -EMSGSIZE); /* slots too small */
    assert_int_equal(side_try(&b, hosts.a, "device=net_nothing0", OWN_A, STRIDE), -ENODEV);
    assert_int_equal(side_try(&b, hosts.a, "device=0000:ff:1f.7", OWN_A, STRIDE), -EALREADY); /* runs without PCI */
    open_a(&a, ON_A);
    assert_int_equal(side_try(&b, hosts.a, ON_A, OWN_B, STRIDE), -EBUSY);
    side_close(&a);
    stand_in(hosts.b);
    shell("ip link set " HOST_B_INTERFACE " down"); /* the other end: ours has no carrier */
    assert_int_equal(side_try(&b, hosts.a, ON_A, OWN_A, STRIDE), -ENETDOWN);
    stand_in(hosts.b);
    shell("ip link set " HOST_B_INTERFACE " up");
    open_a(&a, ON_A); /* the kernel has a moment to notice */
    shell("ip link set " HOST_A_INTERFACE " down");
    side_close(&a);
    assert_int_equal(side_try(&b, hosts.a, ON_A, OWN_A, STRIDE), -ENETDOWN);
}

static void its_probe_tells_who_has_the_endpoint_and_what_is_missing(void **state) {
    (void)state;
    need_hosts();
    struct side a;
    struct ins_probe probe;
    char asked[128], us[64];
    open_a(&a, ON_A);
    assert_int_equal(ins_datapath_probe("dpdk", "", &probe), 0);
    assert_false(probe.available);
    assert_non_null(strstr(probe.reason, "no device is configured"));
    assert_non_null(strstr(probe.evidence, "library: DPDK "));
    assert_non_null(strstr(probe.cure, "network.dpdk"));

    snprintf(asked, sizeof asked, "address=" OWN_A ",port=%u," ON_A, a.at.port);
    assert_int_equal(ins_datapath_probe("dpdk", asked, &probe), 0);
    assert_true(probe.available);
    snprintf(us, sizeof us, "served by: process %d, which is us", (int)getpid());
    assert_non_null(strstr(probe.evidence, us));
    assert_non_null(strstr(probe.evidence, "environment: runs in this process"));
    assert_int_equal(probe.mtu, 1500);

    static const char *const without[][2] = {
        {"address=" OWN_A ",interface=nowhere", "there is no interface nowhere"},
        {"address=" HOST_A_ADDRESS "," ON_A, "the kernel owns the address"},
        {ON_A, "no address is configured"},
        {"nonsense=1", "not understood"},
        {"address=" OWN_A ",device=net_nothing0", "net_nothing is not installed"},
        {"address=" OWN_A ",device=0000:ff:1f.7", "there is no PCI device 0000:ff:1f.7"},
    };
    for (uint32_t i = 0; i < sizeof without / sizeof *without; i++) {
        assert_int_equal(ins_datapath_probe("dpdk", without[i][0], &probe), 0);
        assert_false(probe.available);
        assert_true(probe.error < 0 && probe.cure[0]);
        if (!strstr(probe.reason, without[i][1]))
            fail_msg("%s: %s", without[i][0], probe.reason);
    }
    side_close(&a);
}

static void an_interface_that_vanishes_is_an_error_of_receiving(void **state) {
    (void)state;
    need_hosts();
    struct side a;
    struct ins_rx rx;
    int got;
    open_a(&a, ON_A);
    shell("ip link del " HOST_A_INTERFACE);
    for (uint64_t until = harness_ms() + PATIENCE_MS; (got = turn(&a, &rx)) == 0;
         harness_deadline(until, "the loss to be noticed", __FILE__, __LINE__))
        ;
    assert_int_equal(got, -ENODEV);
    side_close(&a);
}

static void memif_joins_two_ends_without_any_interface(void **state) {
    (void)state;
    need_hosts();
    struct side a, b;
    char path[64], server[160], client[160];
    snprintf(path, sizeof path, "/tmp/insane-memif-%d.sock", (int)getpid());
    snprintf(server, sizeof server, "device=net_memif0,role=server,socket-abstract=no,socket=%s", path);
    snprintf(client, sizeof client, "device=net_memif1,role=client,socket-abstract=no,socket=%s", path);
    int error = side_try(&a, hosts.a, server, OWN_A, STRIDE);
    assert_int_equal(error, 0);
    open_b(&b, client);
    wait_for(&a, "link_up", 1);
    wait_for(&b, "link_up", 1);
    for (uint32_t i = 0; i < 200; i++) {
        uint32_t length = i * 37 % (a.at.mtu - 28u);
        assert_int_equal(send_from(&a, b.at, length, i), 0);
        expect(&b, &a, length, i, a.at);
        assert_int_equal(send_from(&b, a.at, length, i + 1), 0);
        expect(&a, &b, length, i + 1, b.at);
    }
    side_close(&b);
    side_close(&a);
    unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        OVER(plain, the_callers_thread_stays_what_it_was),
        OVER(plain, what_is_wrong_with_its_options_is_refused),
        OVER(plain, what_is_in_the_way_has_an_errno_of_its_own),
        OVER(plain, its_probe_tells_who_has_the_endpoint_and_what_is_missing),
        OVER(plain, an_interface_that_vanishes_is_an_error_of_receiving),
        OVER(plain, memif_joins_two_ends_without_any_interface),
    };
    return cmocka_run_group_tests_name("dpdk life", tests, NULL, NULL);
}
