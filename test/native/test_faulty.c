/* The datapath that injects faults: what it does to single datagrams follows from its seed, is counted, and no more than
   was asked for; it breaks, hangs and crashes when it is told to. That it is a good datapath otherwise is the
   conformance suite's business. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/wire.h"
#include "datapaths/faulty_options.h"
#include "engine_harness.h"

enum { SLOTS = 128, STRIDE = 64 + 2048, MOST = 4096, PATIENCE_MS = 20000 };

struct side {
    struct ins_datapath *dp;
    struct ins_endpoint at;
    struct ins_pool pool;
    uint8_t *memory;
};

static int side_open(struct side *side, const char *options) {
    memset(side, 0, sizeof *side);
    side->at.address = htonl(INADDR_LOOPBACK);
    int error = ins_datapath_open("udp", options, &side->at, &side->dp);
    if (error)
        return error;
    side->memory = mmap(NULL, (size_t)SLOTS * STRIDE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(side->memory != MAP_FAILED);
    assert_int_equal(ins_pool_init(&side->pool, side->memory, (uint64_t)SLOTS * STRIDE, SLOTS, STRIDE), 0);
    return side->dp->ops->bind(side->dp, &side->pool);
}

static void side_close(struct side *side) {
    side->dp->ops->unbind(side->dp);
    assert_int_equal(side->pool.free_count, SLOTS);
    assert_int_equal(ins_datapath_close(side->dp), 0);
    ins_pool_free(&side->pool);
    munmap(side->memory, (size_t)SLOTS * STRIDE);
}

static uint64_t stat_of(const struct side *side, const char *name) {
    char at[64];
    uint64_t value;
    for (uint32_t i = 0; ins_datapath_stat(side->dp, i, at, sizeof at, &value) == 0; i++)
        if (strcmp(at, name) == 0)
            return value;
    fail_msg("no counter %s", name);
    return 0;
}

static int send_number(struct side *from, const struct side *to, uint32_t number) {
    uint8_t header[INS_WIRE_HEADER], payload[32];
    struct ins_wire wire = {.type = INS_WIRE_TYPE_DATA, .sequence = number, .length = sizeof payload};
    memset(payload, (int)number, sizeof payload);
    ins_wire_write(header, &wire);
    struct ins_tx tx = {.header = header, .payload = payload, .header_length = sizeof header,
                        .payload_length = sizeof payload, .to = to->at, .error = 1};
    int taken = from->dp->ops->tx_burst(from->dp, &tx, 1);
    if (taken == 1)
        assert_int_equal(tx.error, 0);
    return taken;
}

/* Takes what is there; numbers in the order they came. */
static uint32_t take(struct side *at, uint32_t *numbers, uint32_t have) {
    struct ins_rx rx[8];
    int got;
    while ((got = at->dp->ops->rx_burst(at->dp, rx, 8)) > 0)
        for (int i = 0; i < got; i++) {
            struct ins_wire wire;
            assert_true(have < MOST);
            assert_int_equal(ins_wire_parse(at->memory + rx[i].offset, rx[i].length, &wire), INS_WIRE_OK);
            assert_int_equal(at->memory[rx[i].offset + INS_WIRE_HEADER], (uint8_t)wire.sequence);
            numbers[have++] = (uint32_t)wire.sequence;
            ins_pool_unref(&at->pool, rx[i].slot);
        }
    assert_int_equal(got, 0);
    return have;
}

/* Sends `count` numbers through a datapath with these options; what arrived, in its order. */
static uint32_t through(const char *options, uint32_t count, uint32_t *numbers, uint64_t stats[5]) {
    static const char *const names[] = {"faults_seen", "faults_lost", "faults_duplicated", "faults_reordered",
                                        "faults_delayed"};
    struct side a, b;
    uint32_t have = 0;
    uint64_t until = harness_ms() + PATIENCE_MS;
    assert_int_equal(side_open(&a, options), 0);
    assert_int_equal(side_open(&b, ""), 0);
    for (uint32_t i = 0; i < count;) {
        int taken = send_number(&a, &b, i);
        assert_true(taken >= 0);
        i += (uint32_t)taken;
        have = take(&b, numbers, have);
        if (!taken)
            a.dp->ops->rx_burst(a.dp, NULL, 0);
        harness_deadline(until, "a datapath that takes datagrams", __FILE__, __LINE__);
    }
    struct ins_rx none;
    while (have < count - stat_of(&a, "faults_lost") + stat_of(&a, "faults_duplicated")) {
        assert_int_equal(a.dp->ops->rx_burst(a.dp, &none, 1), 0); /* as an engine would when its timer rings */
        have = take(&b, numbers, have);
        harness_deadline(until, "what was not lost", __FILE__, __LINE__);
    }
    for (uint32_t i = 0; stats && i < 5; i++)
        stats[i] = stat_of(&a, names[i]);
    side_close(&a);
    side_close(&b);
    return have;
}

static void what_it_loses_follows_from_the_seed(void **state) {
    (void)state;
    enum { COUNT = 2000 };
    static uint32_t first[MOST], again[MOST], other[MOST];
    uint64_t stats[5];
    uint32_t got = through("of=udp,loss=0.1,seed=5", COUNT, first, stats);
    assert_int_equal(stats[0], COUNT);
    assert_in_range(stats[1], COUNT / 20, COUNT / 5);
    assert_int_equal(got, COUNT - stats[1]);
    for (uint32_t i = 1; i < got; i++)
        assert_true(first[i] > first[i - 1]);
    assert_int_equal(through("of=udp,seed=5,loss=0.1", COUNT, again, NULL), got);
    assert_memory_equal(first, again, got * sizeof *first);
    uint32_t different = through("of=udp,loss=0.1,seed=6", COUNT, other, NULL);
    assert_true(different != got || memcmp(first, other, got * sizeof *first) != 0);
}

static void it_doubles_next_to_the_original(void **state) {
    (void)state;
    enum { COUNT = 1000 };
    static uint32_t numbers[MOST];
    uint64_t stats[5], twice = 0;
    uint32_t got = through("of=udp,duplicate=0.2,seed=1", COUNT, numbers, stats);
    assert_in_range(stats[2], COUNT / 10, COUNT / 3);
    assert_int_equal(got, COUNT + stats[2]);
    for (uint32_t i = 1; i < got; i++) {
        assert_true(numbers[i] == numbers[i - 1] || numbers[i] == numbers[i - 1] + 1);
        twice += numbers[i] == numbers[i - 1];
    }
    assert_int_equal(twice, stats[2]);
}

static void it_reorders_by_a_few_places(void **state) {
    (void)state;
    enum { COUNT = 1000 };
    static uint32_t numbers[MOST];
    uint8_t seen[COUNT] = {0};
    uint64_t stats[5], back = 0;
    /* Long enough that it is the later ones that let it go, however slow this host is. */
    uint32_t got = through("of=udp,reorder=0.05,reorder_us=500000,seed=3", COUNT, numbers, stats), highest = 0;
    assert_int_equal(got, COUNT);
    assert_in_range(stats[3], COUNT / 40, COUNT / 10);
    for (uint32_t i = 0; i < got; i++) {
        assert_int_equal(seen[numbers[i]], 0);
        seen[numbers[i]] = 1;
        if (numbers[i] < highest) {
            back++;
            assert_true(highest - numbers[i] <= 8);
        } else
            highest = numbers[i];
    }
    assert_in_range(back, 1, stats[3]);
}

static void it_delays_and_keeps_the_order(void **state) {
    (void)state;
    enum { COUNT = 100 };
    static uint32_t numbers[MOST];
    uint64_t stats[5], begin = harness_ms();
    assert_int_equal(through("of=udp,delay_us=30000", COUNT, numbers, stats), COUNT);
    assert_true(harness_ms() - begin >= 29);
    assert_int_equal(stats[4], COUNT);
    for (uint32_t i = 0; i < COUNT; i++)
        assert_int_equal(numbers[i], i);
}

/* A parked engine sleeps on its descriptors: one of them must wake it for what is due. */
static void its_timer_wakes_who_sleeps(void **state) {
    (void)state;
    struct side a, b;
    struct pollfd waits[4];
    struct ins_rx rx;
    int fds[4];
    assert_int_equal(side_open(&a, "of=udp,delay_us=20000"), 0);
    assert_int_equal(side_open(&b, ""), 0);
    int count = a.dp->ops->fds(a.dp, fds, 4);
    assert_int_equal(count, 2);
    for (int i = 0; i < count; i++)
        waits[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
    assert_int_equal(send_number(&a, &b, 1), 1);
    assert_int_equal(b.dp->ops->rx_burst(b.dp, &rx, 1), 0);
    assert_int_equal(poll(waits, (nfds_t)count, PATIENCE_MS), 1);
    uint32_t number[2], got = 0;
    uint64_t until = harness_ms() + PATIENCE_MS;
    while (!got) {
        assert_int_equal(a.dp->ops->rx_burst(a.dp, &rx, 1), 0);
        got = take(&b, number, 0);
        harness_deadline(until, "what was delayed", __FILE__, __LINE__);
    }
    assert_int_equal(poll(waits, (nfds_t)count, 0), 0);
    side_close(&a);
    side_close(&b);
}

static void it_breaks_after_so_many_and_cannot_be_opened_when_that_is_none(void **state) {
    (void)state;
    struct side a, b;
    struct ins_rx rx;
    assert_int_equal(side_open(&a, "of=udp,fail_after=3"), 0);
    assert_int_equal(side_open(&b, ""), 0);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(send_number(&a, &b, i), 1);
    assert_int_equal(send_number(&a, &b, 3), -EIO);
    assert_int_equal(a.dp->ops->rx_burst(a.dp, &rx, 1), -EIO);
    assert_int_equal(stat_of(&a, "faults_struck"), 2);
    side_close(&a);
    side_close(&b);
    assert_int_equal(side_open(&a, "of=udp,fail_after=0"), -EIO);
}

static void it_strikes_only_while_it_is_armed(void **state) {
    (void)state;
    char path[] = "/tmp/insane-armed-XXXXXX", options[128];
    struct side a;
    struct ins_rx rx;
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    snprintf(options, sizeof options, "of=udp,fail_after=0,armed=%s", path);
    assert_int_equal(side_open(&a, options), -EIO);
    unlink(path);
    assert_int_equal(side_open(&a, options), 0);
    assert_int_equal(a.dp->ops->rx_burst(a.dp, &rx, 1), 0);
    file = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
    assert_true(file >= 0);
    close(file);
    int result = 0;
    for (uint64_t until = harness_ms() + PATIENCE_MS; result == 0;) {
        result = a.dp->ops->rx_burst(a.dp, &rx, 1);
        harness_deadline(until, "the strike", __FILE__, __LINE__);
    }
    assert_int_equal(result, -EIO);
    unlink(path);
    side_close(&a);
}

static void it_hangs_for_as_long_as_it_is_told(void **state) {
    (void)state;
    struct side a;
    struct ins_rx rx;
    assert_int_equal(side_open(&a, "of=udp,hang_after=0,hang_ms=50"), 0);
    uint64_t begin = harness_ms();
    assert_int_equal(a.dp->ops->rx_burst(a.dp, &rx, 1), 0);
    assert_true(harness_ms() - begin >= 49);
    assert_int_equal(stat_of(&a, "faults_struck"), 1);
    side_close(&a);
}

static void it_crashes_its_process_and_no_other(void **state) {
    (void)state;
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct rlimit none = {0, 0};
        struct side a;
        struct ins_rx rx;
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGABRT, SIG_DFL);
        if (side_open(&a, "of=udp,crash_after=0"))
            _exit(1);
        a.dp->ops->rx_burst(a.dp, &rx, 1);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void options_that_make_no_sense_are_refused(void **state) {
    (void)state;
    const char *const bad[] = {"loss=0.1",           "of=",          "of=udp,loss=2",       "of=udp,loss=-1",
                               "of=udp,loss=x",      "of=udp,loss=", "of=udp,seed=1x",      "of=udp,delay_us=-5",
                               "of=nothing,loss=0",  "of=udp,nonsense=1", "of=faulty,of=udp,x=1",
                               "of=a-name-that-is-far-too-long"};
    for (uint32_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct ins_endpoint at = {.address = htonl(INADDR_LOOPBACK)};
        struct ins_datapath *dp;
        assert_true(ins_datapath_open("faulty", bad[i], &at, &dp) < 0);
    }
    struct ins_faulty_options options;
    assert_int_equal(ins_faulty_parse("rcvbuf=4096,of=udp,loss=0.5,sndbuf=8192,seed=9", &options), 0);
    assert_string_equal(options.inner, "rcvbuf=4096,sndbuf=8192");
    assert_string_equal(options.of, "udp");
    assert_true(options.loss > 0.49 && options.loss < 0.51 && options.seed == 9);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_it_loses_follows_from_the_seed),
        cmocka_unit_test(it_doubles_next_to_the_original),
        cmocka_unit_test(it_reorders_by_a_few_places),
        cmocka_unit_test(it_delays_and_keeps_the_order),
        cmocka_unit_test(its_timer_wakes_who_sleeps),
        cmocka_unit_test(it_breaks_after_so_many_and_cannot_be_opened_when_that_is_none),
        cmocka_unit_test(it_strikes_only_while_it_is_armed),
        cmocka_unit_test(it_hangs_for_as_long_as_it_is_told),
        cmocka_unit_test(it_crashes_its_process_and_no_other),
        cmocka_unit_test(options_that_make_no_sense_are_refused),
    };
    return cmocka_run_group_tests_name("faulty", tests, NULL, NULL);
}
