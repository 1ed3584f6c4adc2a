/* Runs a trace of link operations, one a line on standard input, on the C link over private memory, and prints after
   each what it returned and everything that can be seen. test/property/link-trace.test.ts holds the TypeScript link
   against it. Lines: entries N (first, and to begin anew) | push POOL SLOT CONTEXT OFFSET LENGTH CHANNEL SOURCE FLAGS |
   publish | reclaim MAX | abandon MAX | ready | take MAX | return ENTRY STATUS | returns | poke WORD VALUE */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/link.h"

enum { MAX = 65536, ARGUMENTS = 8 };

struct world {
    uint8_t *segment;
    uint32_t words;
    struct ins_producer p;
    struct ins_consumer c;
};

static struct ins_returned returned[MAX];
static struct ins_descriptor taken[MAX];

static uint32_t hash_of(const struct world *w) {
    uint32_t hash = 0x811c9dc5u;
    for (uint32_t i = 0; i < w->words; i++) {
        uint32_t word;
        memcpy(&word, w->segment + 4 * i, 4);
        hash = (hash ^ word) * 0x01000193u;
    }
    return hash;
}

static void begin(struct world *w, uint32_t entries) {
    uint64_t bytes = ins_link_bytes(entries);
    if (w->segment) {
        ins_producer_free(&w->p);
        free(w->segment);
    }
    w->segment = aligned_alloc(4096, bytes);
    memset(w->segment, 0, bytes);
    w->words = (uint32_t)(bytes / 4);
    if (ins_producer_init(&w->p, w->segment, bytes, entries) < 0 ||
        ins_consumer_init(&w->c, w->segment, bytes, entries) < 0) {
        fprintf(stderr, "trace_link: no link of %" PRIu32 " entries\n", entries);
        exit(2);
    }
}

static void print_returned(uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        printf(" %u:%u:%u:%u", returned[i].pool, returned[i].slot, returned[i].context, returned[i].status);
}

static void print_taken(int count) {
    for (int i = 0; i < count; i++)
        printf(" %u:%u:%u:%u:%u:%u:%u", taken[i].entry, taken[i].pool, taken[i].flags, taken[i].offset,
               taken[i].length, taken[i].channel, taken[i].source);
}

static int run(struct world *w, const char *operation, const uint32_t *a) {
    uint32_t count = 0;
    int result = 0;
    if (!strcmp(operation, "entries")) {
        begin(w, a[0]);
    } else if (!w->segment) {
        return -1;
    } else if (!strcmp(operation, "push")) {
        result = ins_producer_push(&w->p, a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]);
    } else if (!strcmp(operation, "publish")) {
        result = (int)ins_producer_publish(&w->p);
    } else if (!strcmp(operation, "reclaim") && a[0] <= MAX) {
        result = ins_producer_reclaim(&w->p, returned, a[0], &count);
    } else if (!strcmp(operation, "abandon") && a[0] <= MAX) {
        result = (int)(count = ins_producer_abandon(&w->p, returned, a[0]));
    } else if (!strcmp(operation, "ready")) {
        result = ins_consumer_ready(&w->c);
    } else if (!strcmp(operation, "take") && a[0] <= MAX) {
        result = ins_consumer_take(&w->c, taken, a[0]);
    } else if (!strcmp(operation, "return")) {
        ins_consumer_return(&w->c, a[0], a[1]);
    } else if (!strcmp(operation, "returns")) {
        result = (int)ins_consumer_publish(&w->c);
    } else if (!strcmp(operation, "poke") && a[0] < w->words) {
        memcpy(w->segment + 4 * a[0], &a[1], 4);
    } else {
        return -1;
    }
    const char *outcome = result == -EAGAIN ? "again" : result == -EPROTO ? "fault" : NULL;
    if (outcome)
        printf("%s", outcome);
    else
        printf("%d", result);
    if (!strcmp(operation, "reclaim") || !strcmp(operation, "abandon"))
        print_returned(count);
    if (!strcmp(operation, "take"))
        print_taken(result);
    printf(" | live %u credits %u unpublished %u held %u unreturned %u segment %08x\n", w->p.live, w->p.free_count,
           w->p.tail - w->p.published, w->c.head - w->c.return_tail, w->c.return_tail - w->c.published_returns,
           hash_of(w));
    return 0;
}

int main(void) {
    struct world world = {0};
    char line[256], operation[16];
    for (uint32_t number = 1; fgets(line, sizeof line, stdin); number++) {
        uint32_t a[ARGUMENTS] = {0};
        int found = sscanf(line,
                           "%15s %" SCNu32 " %" SCNu32 " %" SCNu32 " %" SCNu32 " %" SCNu32 " %" SCNu32 " %" SCNu32
                           " %" SCNu32,
                           operation, &a[0], &a[1], &a[2], &a[3], &a[4], &a[5], &a[6], &a[7]);
        if (found < 1 || run(&world, operation, a) < 0) {
            fprintf(stderr, "trace_link: line %" PRIu32 " cannot be run: %s", number, line);
            return 2;
        }
    }
    if (world.segment) {
        ins_producer_free(&world.p);
        free(world.segment);
    }
    return 0;
}
