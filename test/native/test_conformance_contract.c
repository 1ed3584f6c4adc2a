/* What every datapath promises, whatever it is built on: endpoints, options, descriptors, counters, and its life. The
   other files of the suite are about sizes, pressure and peers; the datapaths are in conformance_media.c. */
#include "conformance_cases.h"

#include <dirent.h>
#include <poll.h>

static void it_opens_an_endpoint_of_its_own_and_says_which(void **state) {
    const struct medium *medium = *state;
    struct end a, b;
    end_open(&a, medium, 0);
    end_open(&b, medium, 1);
    assert_int_not_equal(a.at.port, 0);
    assert_true(a.at.mtu >= 576);
    assert_true(a.at.address != b.at.address || a.at.port != b.at.port);
    struct ins_datapath *second = NULL;
    struct ins_endpoint taken = a.at;
    conformance_stand(medium, 0);
    assert_true(ins_datapath_open(medium->technology, medium->options[0], &taken, &second) < 0);
    end_close(&a);
    end_close(&b);
}

static void an_option_that_it_does_not_know_is_refused(void **state) {
    const struct medium *medium = *state;
    char options[128];
    struct ins_datapath *dp = NULL;
    struct ins_endpoint at = {.address = inet_addr(medium->address[0])};
    const char *separator = medium->options[0][0] ? "," : "";
    snprintf(options, sizeof options, "%s%snonsense=1", medium->options[0], separator);
    conformance_stand(medium, 0);
    assert_int_equal(ins_datapath_open(medium->technology, options, &at, &dp), -EINVAL);
    assert_null(dp);
}

static void its_counters_have_names_that_differ(void **state) {
    const struct medium *medium = *state;
    struct end a;
    char names[64][64];
    uint64_t value;
    uint32_t count = 0;
    end_open(&a, medium, 0);
    for (; count < 64 && ins_datapath_stat(a.dp, count, names[count], sizeof names[count], &value) == 0; count++) {
        assert_true(names[count][0] != 0);
        for (uint32_t i = 0; i < count; i++)
            assert_string_not_equal(names[i], names[count]);
    }
    assert_in_range(count, 1, 63);
    end_close(&a);
}

static void its_descriptors_become_readable_when_something_came(void **state) {
    const struct medium *medium = *state;
    struct end a, b;
    int fds[4];
    end_open(&a, medium, 0);
    end_open(&b, medium, 1);
    if (!(b.dp->ops->flags & INS_DATAPATH_CAN_PARK)) {
        end_close(&a);
        end_close(&b);
        skip();
    }
    int count = b.dp->ops->fds(b.dp, fds, 4);
    assert_in_range(count, 1, 4);
    struct pollfd waits[4];
    for (int i = 0; i < count; i++)
        waits[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
    if (b.dp->ops->arm)
        assert_int_equal(b.dp->ops->arm(b.dp), 0);
    assert_int_equal(poll(waits, (nfds_t)count, 20), 0);
    send_one(&a, &b, 64, 0);
    for (uint64_t until = harness_ms() + PATIENCE_MS; poll(waits, (nfds_t)count, 1) == 0; turn(&a))
        harness_deadline(until, "a readable descriptor", __FILE__, __LINE__);
    receive(&b, &a, 0, 1, 1);
    end_close(&a);
    end_close(&b);
}

/* A restarted engine takes an endpoint back from its predecessor at the port that peers know. */
static void its_endpoint_can_be_opened_again_after_it_was_closed(void **state) {
    const struct medium *medium = *state;
    struct end a, b;
    end_open(&b, medium, 1);
    struct ins_endpoint first = b.at;
    end_close(&b);
    end_open(&a, medium, 0);
    for (uint64_t round = 0; round < 3; round++) {
        struct medium again = *medium;
        uint64_t until = harness_ms() + PATIENCE_MS;
        struct ins_endpoint at = {.address = first.address, .port = first.port};
        struct ins_datapath *probe = NULL;
        conformance_stand(&again, 1);
        while (ins_datapath_open(medium->technology, medium->options[1], &at, &probe))
            harness_deadline(until, "the endpoint to be free", __FILE__, __LINE__);
        assert_int_equal(at.port, first.port);
        assert_int_equal(ins_datapath_close(probe), 0);
    }
    end_close(&a);
}

static uint32_t entries(const char *folder) {
    uint32_t count = 0;
    DIR *open = opendir(folder);
    while (open && readdir(open))
        count++;
    if (open)
        closedir(open);
    return count;
}

/* Of files, sockets and shared memory; an allocator's own come and go as it likes. */
static uint32_t mappings(void) {
    uint32_t count = 0;
    unsigned long inode;
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];
    while (maps && fgets(line, sizeof line, maps))
        count += sscanf(line, "%*s %*s %*s %*s %lu", &inode) == 1 && inode != 0;
    if (maps)
        fclose(maps);
    return count;
}

static void opening_and_closing_leaks_no_descriptor_no_thread_and_no_mapping(void **state) {
    const struct medium *medium = *state;
    enum { ROUNDS = 12 };
    uint32_t descriptors = 0, threads = 0, mapped = 0;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        struct end a, b;
        end_open(&a, medium, 0);
        end_open(&b, medium, 1);
        send_one(&a, &b, 100, 0);
        receive(&b, &a, 0, 1, 1);
        end_close(&a);
        end_close(&b);
        /* The first rounds may load and set up what stays. */
        if (round == 4) {
            descriptors = entries("/proc/self/fd");
            threads = entries("/proc/self/task");
            mapped = mappings();
        }
    }
    assert_int_equal(entries("/proc/self/fd"), descriptors);
    assert_int_equal(entries("/proc/self/task"), threads);
    assert_int_equal(mappings(), mapped);
}

static void closing_with_datagrams_waiting_leaks_no_slot(void **state) {
    const struct medium *medium = *state;
    for (uint32_t round = 0; round < 10; round++) {
        struct end a, b;
        end_open(&a, medium, 0);
        end_open(&b, medium, 1);
        for (uint64_t i = 0; i < round * 10; i++)
            send_one(&a, &b, 300, i);
        end_close(round % 2 ? &a : &b);
        end_close(round % 2 ? &b : &a);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_opens_an_endpoint_of_its_own_and_says_which),
        cmocka_unit_test(an_option_that_it_does_not_know_is_refused),
        cmocka_unit_test(its_counters_have_names_that_differ),
        cmocka_unit_test(its_descriptors_become_readable_when_something_came),
        cmocka_unit_test(its_endpoint_can_be_opened_again_after_it_was_closed),
        cmocka_unit_test(opening_and_closing_leaks_no_descriptor_no_thread_and_no_mapping),
        cmocka_unit_test(closing_with_datagrams_waiting_leaks_no_slot),
    };
    return conformance_run("contract", tests, sizeof tests / sizeof *tests);
}
