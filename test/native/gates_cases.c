/* Random gate lists and their plain reading, see gates_cases.h. */
#include "gates_cases.h"

struct cases cases_seeded(uint64_t seed) { return (struct cases){.state = seed * 0x9e3779b97f4a7c15u + 1}; }

uint64_t cases_random(struct cases *cases) {
    cases->state ^= cases->state << 13;
    cases->state ^= cases->state >> 7;
    cases->state ^= cases->state << 17;
    return cases->state * 0x2545f4914f6cdd1du;
}

uint64_t cases_below(struct cases *cases, uint64_t bound) { return (cases_random(cases) >> 16) % bound; }

struct ins_gate_list cases_list(struct cases *cases) {
    static const uint32_t rates[] = {100, 1000, 2500, 10000, 100000};
    struct ins_gate_list list = {
        .base_ns = 1000000000000 + cases_below(cases, 1000000000),
        .line_mbps = rates[cases_below(cases, sizeof rates / sizeof *rates)],
        .mtu = cases_below(cases, 2) ? 1500 : 9000,
        .margin_ns = (uint32_t)cases_below(cases, 3) * 1000,
        .count = 1 + (uint32_t)cases_below(cases, 12),
    };
    for (uint32_t i = 0; i < list.count; i++) {
        /* Long enough for the least frame at 100 Mbit/s and the largest margin. */
        uint32_t interval = 10000 + (uint32_t)cases_below(cases, 300000);
        list.entries[i] = (struct ins_gate_entry){.mask = (uint32_t)cases_below(cases, 256), .interval_ns = interval};
        list.cycle_ns += interval;
    }
    return list;
}

int cases_open(const struct ins_gate_list *list, uint32_t class, uint64_t at) {
    int64_t cycle = (int64_t)list->cycle_ns;
    int64_t since = ((int64_t)(at - list->base_ns) % cycle + cycle) % cycle;
    uint32_t entry = 0;
    for (; since >= list->entries[entry].interval_ns; entry++)
        since -= list->entries[entry].interval_ns;
    return list->entries[entry].mask >> class & 1;
}

uint64_t cases_window(const struct ins_gate_list *list, uint32_t class, uint64_t at) {
    int64_t cycle = (int64_t)list->cycle_ns;
    int64_t since = ((int64_t)(at - list->base_ns) % cycle + cycle) % cycle;
    uint64_t edge = at - (uint64_t)since;
    for (uint32_t i = 0; i <= 2 * list->count; i++) {
        uint64_t interval = list->entries[i % list->count].interval_ns;
        if (edge + interval > at) {
            int open = list->entries[i % list->count].mask >> class & 1;
            if (!open)
                return edge > at ? edge - at : 0;
            if (edge + interval - at > list->cycle_ns)
                return INS_GATES_ALWAYS;
        }
        edge += interval;
    }
    return INS_GATES_ALWAYS;
}
