/* Stress of link and pool: a producer and a consumer as two threads, as two processes over sealed memfds, and with a
   consumer that is killed. Every message must arrive once, in order, with its payload; its status must come back to it;
   in the end nothing is live and every slot is home. usage: stress_link [seconds a variant, default 0.5] [seed] */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/link.h"
#include "core/platform.h"
#include "core/pool.h"

enum { MAX_BURST = 64, STRIDE = 128, CHANNELS = 5, PATIENCE_SECONDS = 20 };

#define CHECK(condition, ...)                                                                                         \
    do {                                                                                                              \
        if (!(condition)) {                                                                                           \
            fprintf(stderr, "stress_link: %s:%d: ", __FILE__, __LINE__);                                              \
            fprintf(stderr, __VA_ARGS__);                                                                             \
            fputc('\n', stderr);                                                                                      \
            _exit(1);                                                                                                 \
        }                                                                                                             \
    } while (0)

struct run {
    uint32_t entries, slots;
    uint64_t seed;
    double seconds;
    int link_fd, pool_fd;
    void *link, *pool; /* the producer's mappings */
    pid_t victim;      /* to be killed while it holds messages, or 0 */
    uint32_t sent, abandoned;
};

static uint32_t random_below(uint64_t *state, uint32_t bound) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (uint32_t)((*state >> 32) % bound);
}
/* What message number `sequence` carries, and the status it comes back with. */
static uint32_t payload_of(uint32_t sequence) {
    return (sequence ^ 0x5bd1e995u) * 2654435761u;
}
static uint32_t status_of(uint32_t sequence) {
    return payload_of(sequence) >> 13 & 7;
}
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- consumer ---- */

static void consume(const struct run *run, void *link, const uint8_t *pool) {
    struct ins_consumer c;
    struct ins_descriptor burst[MAX_BURST];
    uint64_t random = run->seed * 31 + 7;
    uint32_t held_entries[65536], held_sequences[65536], held = 0, expected = 0;
    int last = 0;
    CHECK(ins_consumer_init(&c, link, ins_link_bytes(run->entries), run->entries) == 0, "consumer init");
    while (!last || held) {
        int got = ins_consumer_take(&c, burst, 1 + random_below(&random, MAX_BURST));
        CHECK(got >= 0, "take: %d", got);
        for (int i = 0; i < got; i++) {
            const struct ins_descriptor *d = &burst[i];
            uint32_t word;
            if (d->flags & INS_DESCRIPTOR_FLAG_MARKER) {
                last = 1;
            } else {
                CHECK((uint64_t)d->offset + d->length <= (uint64_t)run->slots * STRIDE && d->length >= 4,
                      "descriptor %u: offset %u, length %u", expected, d->offset, d->length);
                memcpy(&word, pool + d->offset, sizeof word);
                CHECK(word == payload_of(expected), "message %u: payload %x instead of %x", expected, word,
                      payload_of(expected));
                CHECK(d->channel == expected % CHANNELS && d->source == (expected & 0xffff),
                      "message %u: channel %u, source %u", expected, d->channel, d->source);
            }
            held_entries[held] = d->entry;
            held_sequences[held++] = expected++;
            CHECK(held <= run->entries, "more held than entries");
        }
        /* Some are kept, so that returns come back far out of order; when nothing arrives, none for ever. */
        uint32_t keep = got ? random_below(&random, run->entries) : held / 2;
        while (held > keep) {
            uint32_t pick = random_below(&random, held--);
            ins_consumer_return(&c, held_entries[pick], status_of(held_sequences[pick]));
            held_entries[pick] = held_entries[held];
            held_sequences[pick] = held_sequences[held];
        }
        if (got == 0 || random_below(&random, 3))
            ins_consumer_publish(&c);
        if (got == 0)
            sched_yield();
    }
    ins_consumer_publish(&c);
}

/* ---- producer ---- */

struct books {
    struct ins_producer p;
    struct ins_pool pool;
    uint64_t random;
};

static int collect(struct books *b, uint32_t max) {
    struct ins_returned back[MAX_BURST];
    uint32_t count;
    int result = ins_producer_reclaim(&b->p, back, max, &count);
    CHECK(result == (int)count, "reclaim: %d", result);
    for (uint32_t i = 0; i < count; i++) {
        CHECK(back[i].status == status_of(back[i].context), "message %u came back with status %u", back[i].context,
              back[i].status);
        CHECK(ins_pool_unref(&b->pool, back[i].slot) == 0, "slot %u came home twice", back[i].slot);
    }
    return result;
}

static int push_one(struct books *b, uint32_t sequence, uint32_t flags) {
    int64_t slot = ins_pool_take(&b->pool);
    if (slot < 0)
        return -EAGAIN;
    uint32_t offset = ins_pool_payload(&b->pool, (uint32_t)slot), word = payload_of(sequence);
    if (b->p.free_count == 0) {
        CHECK(ins_producer_push(&b->p, 0, 0, 0, 0, 0, 0, 0, 0) == -EAGAIN, "a push without a credit");
        ins_pool_unref(&b->pool, (uint32_t)slot);
        return -EAGAIN;
    }
    memcpy(b->pool.base + offset, &word, sizeof word);
    int entry = ins_producer_push(&b->p, 0, (uint32_t)slot, sequence, offset, 4 + sequence % 60, sequence % CHANNELS,
                                  sequence & 0xffff, flags);
    CHECK(entry >= 0, "push: %d", entry);
    return 0;
}

static void produce(struct run *run) {
    struct books b = {.random = run->seed};
    double end = now() + run->seconds, give_up = end + PATIENCE_SECONDS;
    uint32_t sequence = 0, kill_at = run->victim ? 1000 + (uint32_t)(run->seed % 50000) : UINT32_MAX;
    CHECK(ins_producer_init(&b.p, run->link, ins_link_bytes(run->entries), run->entries) == 0, "producer init");
    CHECK(ins_pool_init(&b.pool, run->pool, (uint64_t)run->slots * STRIDE, run->slots, STRIDE) == 0, "pool init");
    for (int turn = 0, ending = 0; !ending; turn++) {
        uint32_t burst = 1 + random_below(&b.random, MAX_BURST);
        int result = 0;
        while (burst-- && result == 0) {
            result = push_one(&b, sequence, 0);
            sequence += result == 0;
        }
        if (result || random_below(&b.random, 3))
            ins_producer_publish(&b.p);
        if (result || random_below(&b.random, 2))
            if (collect(&b, 1 + random_below(&b.random, MAX_BURST)) == 0 && result)
                sched_yield();
        if (sequence >= kill_at)
            break;
        if (turn % 64 == 0)
            ending = now() > end && !run->victim;
        CHECK(turn % 64 || now() < give_up, "stuck at message %u", sequence);
    }
    if (run->victim) {
        CHECK(kill(run->victim, SIGKILL) == 0 && waitpid(run->victim, NULL, 0) == run->victim, "kill");
        while (collect(&b, MAX_BURST))
            ;
        struct ins_returned back[MAX_BURST];
        uint32_t count;
        while ((count = ins_producer_abandon(&b.p, back, MAX_BURST)) > 0)
            for (uint32_t i = 0; i < count; i++, run->abandoned++)
                CHECK(ins_pool_unref(&b.pool, back[i].slot) == 0, "slot %u came home twice", back[i].slot);
    } else {
        while (push_one(&b, sequence, INS_DESCRIPTOR_FLAG_MARKER)) {
            if (collect(&b, MAX_BURST) == 0)
                sched_yield();
            CHECK(now() < give_up, "no room for the last message");
        }
        ins_producer_publish(&b.p);
        while (b.p.live) {
            if (collect(&b, MAX_BURST) == 0)
                sched_yield();
            CHECK(now() < give_up, "%u entries do not come back", b.p.live);
        }
    }
    CHECK(b.p.live == 0 && b.p.free_count == run->entries, "%u live, %u free of %u", b.p.live, b.p.free_count,
          run->entries);
    CHECK(b.pool.free_count == run->slots, "%u slots of %u at home", b.pool.free_count, run->slots);
    ins_producer_free(&b.p);
    ins_pool_free(&b.pool);
    run->sent = sequence;
}

/* ---- variants ---- */

static void open_memory(struct run *run) {
    uint64_t link_bytes = ins_link_bytes(run->entries), pool_bytes = (uint64_t)run->slots * STRIDE;
    run->link_fd = ins_segment_create("stress-link", link_bytes);
    run->pool_fd = ins_segment_create("stress-pool", pool_bytes);
    CHECK(run->link_fd >= 0 && run->pool_fd >= 0, "segments");
    CHECK(ins_segment_map(run->link_fd, link_bytes, 1, &run->link) == 0, "map");
    CHECK(ins_segment_map(run->pool_fd, pool_bytes, 1, &run->pool) == 0, "map");
    CHECK(ins_segment_seal(run->link_fd) == 0 && ins_segment_seal_future_write(run->pool_fd) == 0, "seal");
}

static void close_memory(struct run *run) {
    ins_segment_unmap(run->link, ins_link_bytes(run->entries));
    ins_segment_unmap(run->pool, (uint64_t)run->slots * STRIDE);
    close(run->link_fd);
    close(run->pool_fd);
}

static void *consumer_thread(void *argument) {
    struct run *run = argument;
    consume(run, run->link, run->pool);
    return NULL;
}

static void two_threads(struct run *run) {
    pthread_t consumer;
    CHECK(pthread_create(&consumer, NULL, consumer_thread, run) == 0, "thread");
    produce(run);
    pthread_join(consumer, NULL);
}

static pid_t fork_consumer(struct run *run) {
    pid_t child = fork();
    CHECK(child >= 0, "fork");
    if (child)
        return child;
    void *link, *pool;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a producer that fails takes its consumer along */
    CHECK(ins_segment_map(run->link_fd, ins_link_bytes(run->entries), 1, &link) == 0, "child: map");
    CHECK(ins_segment_map(run->pool_fd, (uint64_t)run->slots * STRIDE, 1, &pool) == -EPERM, "child: writable pool");
    CHECK(ins_segment_map(run->pool_fd, (uint64_t)run->slots * STRIDE, 0, &pool) == 0, "child: map");
    consume(run, link, pool);
    _exit(0);
}

static void two_processes(struct run *run) {
    pid_t child = fork_consumer(run);
    int status;
    produce(run);
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0, "the consumer failed");
}

static void killed_consumer(struct run *run) {
    run->victim = fork_consumer(run);
    produce(run);
}

int main(int argc, char **argv) {
    double seconds = argc > 1 ? atof(argv[1]) : 0.5;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)(now() * 1e9) | 1;
    const struct {
        const char *name;
        void (*run)(struct run *);
        uint32_t entries, slots, times;
    } variants[] = {
        {"two threads, few entries", two_threads, 16, 20, 1},
        {"two threads, few slots", two_threads, 1024, 100, 1},
        {"two threads", two_threads, 1024, 2048, 1},
        {"two processes, few entries", two_processes, 16, 20, 1},
        {"two processes", two_processes, 1024, 2048, 1},
        {"killed consumer", killed_consumer, 256, 512, 10},
    };
    printf("seed %llu\n", (unsigned long long)seed);
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        uint64_t sent = 0, abandoned = 0;
        for (uint32_t k = 0; k < variants[i].times; k++) {
            struct run run = {.entries = variants[i].entries, .slots = variants[i].slots, .seconds = seconds};
            run.seed = (seed + i * 1000003 + k * 7919) * 0x9e3779b97f4a7c15u | 1;
            open_memory(&run);
            fflush(stdout);
            variants[i].run(&run);
            close_memory(&run);
            sent += run.sent;
            abandoned += run.abandoned;
        }
        printf("%s: %llu messages, %llu abandoned\n", variants[i].name, (unsigned long long)sent,
               (unsigned long long)abandoned);
    }
    return 0;
}
