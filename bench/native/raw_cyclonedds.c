/* Cyclone DDS over UDP in C: round trips over two topics, best effort, the reader polled and the core given away between two
   looks, for its own threads share the side's core (or, `wait`, by a waitset); one way reliable, with batching of writes. Discovery by unicast. */
#define _GNU_SOURCE
#include "window.h"

#include "raw_cyclonedds.h"
#include <dds/dds.h>
#include <sched.h>

#define LOST_AFTER_NS UINT64_C(200000000)
#define BURST 64

static uint8_t payload_bytes[65536];

static void must(dds_return_t code, const char *what) {
    if (code >= 0) return;
    fprintf(stderr, "%s: %s\n", what, dds_strretcode(code));
    exit(1);
}

static dds_entity_t participant(const char *local, const char *peer, bool batch) {
    char config[1024];
    snprintf(config, sizeof config,
             "<General><Interfaces><NetworkInterface address=\"%s\"/></Interfaces><AllowMulticast>false</AllowMulticast>"
             "<MaxMessageSize>65500B</MaxMessageSize></General>"
             "<Discovery><ParticipantIndex>auto</ParticipantIndex><Peers><Peer address=\"%s\"/></Peers></Discovery>"
             "<Internal>%s<SocketReceiveBufferSize min=\"default\" max=\"4MiB\"/></Internal>",
             local, peer, batch ? "<WriteBatch>true</WriteBatch>" : "");
    setenv("CYCLONEDDS_URI", config, 1);
    dds_entity_t p = dds_create_participant(0, NULL, NULL);
    must(p, "participant");
    return p;
}

static dds_entity_t endpoint(dds_entity_t p, const char *name, bool writer, bool reliable) {
    dds_entity_t topic = dds_create_topic(p, &bench_Message_desc, name, NULL, NULL);
    must(topic, "topic");
    dds_qos_t *qos = dds_create_qos();
    dds_qset_reliability(qos, reliable ? DDS_RELIABILITY_RELIABLE : DDS_RELIABILITY_BEST_EFFORT, DDS_SECS(10));
    dds_qset_history(qos, reliable ? DDS_HISTORY_KEEP_ALL : DDS_HISTORY_KEEP_LAST, 16);
    if (reliable) dds_qset_resource_limits(qos, 4096, DDS_LENGTH_UNLIMITED, DDS_LENGTH_UNLIMITED);
    dds_entity_t e = writer ? dds_create_writer(p, topic, qos, NULL) : dds_create_reader(p, topic, qos, NULL);
    must(e, "endpoint");
    dds_delete_qos(qos);
    return e;
}

static void matched(dds_entity_t writer) {
    dds_publication_matched_status_t status;
    for (status.current_count = 0; status.current_count == 0; usleep(1000))
        must(dds_get_publication_matched_status(writer, &status), "matched");
}

static bench_Message message(uint64_t number, size_t bytes) {
    uint32_t length = (uint32_t)(bytes - sizeof number);
    return (bench_Message){
        .number = number, .payload = {._maximum = length, ._length = length, ._buffer = payload_bytes, ._release = false}};
}

/* The next number, 0 when nothing came for a while. */
static uint64_t next(dds_entity_t reader, dds_entity_t waitset) {
    uint64_t deadline = now_ns() + LOST_AFTER_NS, number;
    for (;;) {
        void *samples[1] = {NULL};
        dds_sample_info_t info;
        int n = dds_take(reader, samples, &info, 1, 1);
        must(n, "take");
        if (n > 0) {
            number = info.valid_data ? ((bench_Message *)samples[0])->number : 0;
            must(dds_return_loan(reader, samples, n), "loan");
            if (number) return number;
        }
        if (waitset > 0) dds_waitset_wait(waitset, NULL, 0, DDS_NSECS_IN_MSEC * 200);
        else sched_yield();
        if (now_ns() > deadline) return 0;
    }
}

static dds_entity_t waiting(dds_entity_t p, dds_entity_t reader, bool wait) {
    if (!wait) return 0;
    dds_entity_t waitset = dds_create_waitset(p), condition = dds_create_readcondition(reader, DDS_ANY_STATE);
    must(dds_waitset_attach(waitset, condition, 0), "waitset");
    return waitset;
}

static void echo(dds_entity_t p, size_t payload, bool wait) {
    dds_entity_t reader = endpoint(p, "there", false, false), writer = endpoint(p, "back", true, false);
    dds_entity_t waitset = waiting(p, reader, wait);
    say_ready();
    for (;;) {
        uint64_t number = next(reader, waitset);
        if (!number) continue;
        bench_Message m = message(number, payload);
        must(dds_write(writer, &m), "write");
    }
}

static void ping(dds_entity_t p, size_t payload, double warmup, double seconds, bool wait) {
    static struct histogram times;
    dds_entity_t reader = endpoint(p, "back", false, false), writer = endpoint(p, "there", true, false);
    dds_entity_t waitset = waiting(p, reader, wait);
    matched(writer);
    uint64_t number = 0, lost = 0;
    uint64_t start = now_ns() + (uint64_t)(warmup * 1e9), end = start + (uint64_t)(seconds * 1e9);
    for (uint64_t sent = now_ns(); sent < end;) {
        uint64_t answer;
        bench_Message m = message(++number, payload);
        must(dds_write(writer, &m), "write");
        do answer = next(reader, waitset);
        while (answer && answer != number);
        uint64_t done = now_ns();
        if (sent >= start) {
            if (answer) histogram_add(&times, done - sent);
            else lost++;
        }
        sent = done;
    }
    print_round_trips(&times, lost);
}

static void send_all(dds_entity_t p, size_t payload) {
    dds_entity_t writer = endpoint(p, "there", true, true);
    matched(writer);
    for (uint64_t number = 1;; number++) {
        bench_Message m = message(number, payload);
        must(dds_write(writer, &m), "write");
    }
}

static int receive(dds_entity_t p, size_t payload, double warmup, double seconds) {
    dds_entity_t reader = endpoint(p, "there", false, true);
    struct window window = {.warmup = warmup, .seconds = seconds};
    say_ready();
    for (bool more = true; more;) {
        void *samples[BURST] = {NULL};
        dds_sample_info_t info[BURST];
        int n = dds_take(reader, samples, info, BURST, BURST);
        must(n, "take");
        for (int i = 0; i < n && more; i++)
            if (info[i].valid_data) more = window_take(&window, ((bench_Message *)samples[i])->number);
        if (n > 0) must(dds_return_loan(reader, samples, n), "loan");
        else sched_yield();
    }
    return window_print(&window, payload);
}

int main(int argc, char **argv) {
    if (argc != 8) {
        fprintf(stderr, "usage: raw_cyclonedds ping|echo|send|receive[-wait] LOCAL PEER PORT PAYLOAD WARMUP SECONDS\n");
        return 2;
    }
    size_t payload = (size_t)number_argument(argv[5], 16, sizeof payload_bytes, "PAYLOAD");
    double warmup = number_argument(argv[6], 0, 3600, "WARMUP");
    double seconds = number_argument(argv[7], 0, 3600, "SECONDS");
    bool wait = strstr(argv[1], "-wait") != NULL;
    dds_entity_t p = participant(argv[2], argv[3], !strcmp(argv[1], "send"));
    if (!strncmp(argv[1], "echo", 4)) echo(p, payload, wait);
    if (!strcmp(argv[1], "send")) send_all(p, payload);
    if (!strcmp(argv[1], "receive")) return receive(p, payload, warmup, seconds);
    ping(p, payload, warmup, seconds, wait);
    return 0;
}
