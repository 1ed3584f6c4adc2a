/* What the xdp probe says of this host: what is there, what is missing and what to do about it, who has the interface, and
   what of a frame of several buffers can be taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/prctl.h>
#include <sys/wait.h>

#include "xdp_cases.h"

static void a_probe_says_what_is_there_and_what_to_do(void **state) {
    (void)state;
    need_hosts();
    struct ins_probe probe = {0};
    stand_in(hosts.a);
    assert_int_equal(ins_xdp_probe(HOST_A_INTERFACE, &probe), 0);
    assert_int_equal(probe.available, 1);
    assert_int_equal(probe.mtu, 1500);
    assert_non_null(strstr(probe.evidence, "driver veth"));
    assert_non_null(strstr(probe.evidence, "mode: native; skb is the quicker one"));
    memset(&probe, 0, sizeof probe);
    assert_int_equal(ins_xdp_probe(HOST_A_INTERFACE ",mode=skb", &probe), 0);
    assert_int_equal(probe.available, 1);
    assert_non_null(strstr(probe.evidence, "mode: skb"));
    assert_non_null(strstr(probe.reason, "generic"));
    memset(&probe, 0, sizeof probe);
    assert_int_equal(ins_xdp_probe("", &probe), 0);
    assert_int_equal(probe.available, 1);
    static const struct {
        const char *name;
        int error;
    } cases[] = {{"ixd9", -ENODEV}, {HOST_A_INTERFACE ",mode=other", -ENODEV}, {HOST_A_INTERFACE ",mtu=", -ENODEV}, {HOST_A_INTERFACE ",mtu=9x", -ENODEV}, {"lo", -EOPNOTSUPP}, {"fe80::1", -EAFNOSUPPORT}, {HOST_A_INTERFACE, -EADDRNOTAVAIL}};
    assert_int_equal(shell("ip addr flush dev " HOST_A_INTERFACE " && ip addr add 2001:db8::1/64 dev " HOST_A_INTERFACE), 0);
    for (uint32_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        memset(&probe, 0, sizeof probe);
        assert_int_equal(ins_xdp_probe(cases[i].name, &probe), 0);
        assert_int_equal(probe.available, 0);
        assert_int_equal(probe.error, cases[i].error);
        assert_true(probe.reason[0] && probe.cure[0]);
        assert_true(i < 5 || strstr(probe.reason, "IPv6"));
    }
    struct xdp_side a = {0};
    assert_int_equal(xdp_side_open(&a, "interface=" HOST_A_INTERFACE, NULL, SLOTS, STRIDE), -EADDRNOTAVAIL);
}

/* Runs in a process of its own until the returned pipe end is closed; returns when it has said that it is ready. */
static pid_t in_a_process(void (*body)(void), int *until) {
    int said[2], hold[2];
    char byte = 0;
    assert_int_equal(pipe(said) | pipe(hold), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(said[0]);
        close(hold[1]);
        body();
        if (write(said[1], "r", 1) == 1 && read(hold[0], &byte, 1) == 0)
            _exit(0);
        _exit(1);
    }
    assert_true(pid > 0);
    close(said[1]);
    close(hold[0]);
    assert_int_equal(read(said[0], &byte, 1), 1);
    close(said[0]);
    *until = hold[1];
    return pid;
}

static void hold_a(void) {
    static struct xdp_side side;
    stand_in(hosts.a);
    if (xdp_side_open(&side, "", HOST_A_ADDRESS, SLOTS, STRIDE))
        _exit(2);
}

static void the_process_that_has_the_interface_is_named(void **state) {
    (void)state;
    need_hosts();
    struct ins_probe probe = {0};
    struct xdp_side second = {0};
    char who[64];
    int until, status;
    pid_t pid = in_a_process(hold_a, &until);
    stand_in(hosts.a);
    int error = xdp_side_open(&second, "", HOST_A_ADDRESS, SLOTS, STRIDE);
    ins_xdp_probe(HOST_A_INTERFACE, &probe);
    close(until);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(error, -EBUSY);
    assert_int_equal(probe.available, 0);
    assert_int_equal(probe.error, -EBUSY);
    snprintf(who, sizeof who, "process %d (test_xdp_probe)", pid);
    assert_non_null(strstr(probe.reason, who));
    /* It ended without closing anything, and nothing of it remains. */
    open_a(&second, "");
    close_side(&second);
}

static void hold_a_as_an_engine(void) {
    prctl(PR_SET_NAME, "insane-engine");
    hold_a();
}

/* An engine in a process of its own is the runtime's child: what it serves, this runtime has. */
static void an_engine_of_ours_does_not_make_it_unavailable(void **state) {
    (void)state;
    need_hosts();
    struct ins_probe probe = {0};
    char who[64];
    int until, status;
    pid_t pid = in_a_process(hold_a_as_an_engine, &until);
    stand_in(hosts.a);
    ins_xdp_probe(HOST_A_INTERFACE, &probe);
    close(until);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(probe.available, 1);
    snprintf(who, sizeof who, "process %d (insane-engine), an engine of ours", pid);
    assert_non_null(strstr(probe.evidence, who));
}

static void hold_a_as_nobody(void) {
    hold_a();
    if (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534))
        _exit(2);
    prctl(PR_SET_DUMPABLE, 1);
}

static void another_user_that_has_the_interface_is_named(void **state) {
    (void)state;
    need_hosts();
    struct ins_probe probe = {0};
    char who[64];
    int until, status;
    pid_t pid = in_a_process(hold_a_as_nobody, &until);
    stand_in(hosts.a);
    ins_xdp_probe(HOST_A_INTERFACE, &probe);
    close(until);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(probe.error, -EBUSY);
    snprintf(who, sizeof who, "process %d (test_xdp_probe) of user 65534", pid);
    assert_non_null(strstr(probe.reason, who));
    assert_true(probe.cure[0]);
}

static void probe_as_nobody(void) {
    struct ins_probe probe = {0};
    stand_in(hosts.a);
    if (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534))
        _exit(2);
    ins_xdp_probe(HOST_A_INTERFACE, &probe);
    if (probe.available || probe.error != -EPERM || !strstr(probe.cure, "CAP_NET_RAW"))
        _exit(3);
}

static void without_privileges_the_probe_says_which_are_missing(void **state) {
    (void)state;
    need_hosts();
    int until, status;
    pid_t pid = in_a_process(probe_as_nobody, &until);
    close(until);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static int probed(const char *about, struct ins_probe *out) {
    memset(out, 0, sizeof *out);
    stand_in(hosts.a);
    assert_int_equal(ins_xdp_probe(about, out), 0);
    return out->error;
}

static void datagrams_beyond_one_buffer_are_told_of(void **state) {
    (void)state;
    need_hosts();
    struct ins_probe probe;
    assert_int_equal(probed(HOST_A_INTERFACE ",mode=native,mtu=9000", &probe), 0);
    if (strstr(probe.evidence, "before Linux 6.3") || strstr(probe.evidence, "since Linux 6.6")) {
        print_message("skipped: this kernel is too old for them\n");
        skip();
    }
    assert_int_equal(probe.available, 1);
    assert_non_null(strstr(probe.evidence, "jumbo: datagrams beyond 3820 bytes can be taken"));
    assert_int_equal(probed(HOST_A_INTERFACE ",mode=native,mtu=9001", &probe), -EMSGSIZE);
    assert_non_null(strstr(probe.cure, "ip link set dev NAME mtu"));
    /* A driver with native XDP whose frames are one buffer each. */
    if (shell("ip tuntap add dev ixt0 mode tap && ip link set ixt0 mtu 9000 && ip addr add 10.92.0.1/24 dev ixt0 && "
              "ip link set ixt0 up")) {
        print_message("skipped: no tap devices here\n");
        skip();
    }
    assert_int_equal(probed("ixt0,mode=native", &probe), 0);
    assert_int_equal(probe.available, 1);
    assert_non_null(strstr(probe.evidence, "jumbo: no datagrams beyond 3820 bytes: the driver of ixt0 (tun)"));
    assert_non_null(strstr(probe.evidence, "network.xdp.mode skb"));
    assert_int_equal(probed("ixt0,mode=native,mtu=3820", &probe), 0);
    assert_int_equal(probed("ixt0,mode=native,mtu=3821", &probe), -EOPNOTSUPP);
    assert_int_equal(probe.available, 0);
    assert_non_null(strstr(probe.reason, "network.xdp.mtu is 3821"));
    assert_non_null(strstr(probe.cure, "3820"));
    assert_int_equal(probed("ixt0,mode=skb,mtu=9000", &probe), 0);
    assert_int_equal(probe.available, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        OVER(plain, a_probe_says_what_is_there_and_what_to_do),
        OVER(plain, the_process_that_has_the_interface_is_named),
        OVER(plain, another_user_that_has_the_interface_is_named),
        OVER(plain, an_engine_of_ours_does_not_make_it_unavailable),
        OVER(plain, without_privileges_the_probe_says_which_are_missing),
        OVER(jumbo, datagrams_beyond_one_buffer_are_told_of),
    };
    return cmocka_run_group_tests_name("xdp probe", tests, NULL, NULL);
}
