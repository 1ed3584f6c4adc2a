/* Gate control lists, see gates.h. */
#include "gates.h"

#include <errno.h>

enum { IP_HEADER = 20, UDP_HEADER = 8, LEAST_MTU = 576, MOST_MTU = 65535 };

static uint64_t line_ns(uint32_t mbps, uint64_t bytes) { return (bytes * 8000 + mbps - 1) / mbps; }

static int check(const struct ins_gate_list *list) {
    if (list->cycle_ns == 0 || list->cycle_ns > INS_CYCLE_MOST || list->count == 0 || list->count > INS_GATE_ENTRIES ||
        list->line_mbps == 0 || list->mtu < LEAST_MTU || list->mtu > MOST_MTU || list->base_ns > INT64_MAX)
        return -EINVAL;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < list->count; i++) {
        if (list->entries[i].interval_ns == 0 || list->entries[i].mask > 0xff)
            return -EINVAL;
        sum += list->entries[i].interval_ns;
    }
    return sum == list->cycle_ns ? 0 : -EINVAL;
}

static int is_open(const struct ins_gate_list *list, uint32_t entry, uint32_t class) {
    return list->entries[entry % list->count].mask >> class & 1;
}

static uint64_t open_from(const struct ins_gate_list *list, uint32_t entry, uint32_t class) {
    uint64_t ns = 0;
    for (uint32_t i = entry; i < entry + list->count; i++) {
        if (!is_open(list, i, class))
            return ns;
        ns += list->entries[i % list->count].interval_ns;
    }
    return INS_GATES_ALWAYS;
}

static uint64_t opens_after(const struct ins_gate_list *list, uint32_t entry, uint32_t class) {
    uint64_t ns = 0;
    for (uint32_t i = entry; i < entry + list->count; i++) {
        ns += list->entries[i % list->count].interval_ns;
        if (!is_open(list, i, class) && is_open(list, i + 1, class))
            return ns;
    }
    return INS_GATES_NEVER;
}

int ins_gates_compile(const struct ins_gate_list *list, struct ins_gates *out) {
    int error = check(list);
    if (error)
        return error;
    *out = (struct ins_gates){
        .base = list->base_ns,
        .cycle = list->cycle_ns,
        .line_mbps = list->line_mbps,
        .mtu = list->mtu,
        .margin = list->margin_ns,
        .count = list->count,
    };
    uint64_t least = line_ns(list->line_mbps, INS_FRAME_LEAST + INS_FRAME_OVERHEAD) + list->margin_ns;
    for (uint32_t i = 0; i < list->count; i++) {
        out->start[i + 1] = out->start[i] + list->entries[i].interval_ns;
        for (uint32_t class = 0; class < INS_CLASSES; class ++) {
            uint64_t open = open_from(list, i, class);
            int begins = open && !is_open(list, i + list->count - 1, class);
            out->open[i][class] = open;
            out->opens[i][class] = opens_after(list, i, class);
            if (open > out->longest[class])
                out->longest[class] = open;
            if (begins && open < least)
                return -ERANGE;
        }
    }
    return 0;
}

uint64_t ins_gates_duration(const struct ins_gates *gates, uint32_t payload) {
    uint64_t datagram = (uint64_t)payload + UDP_HEADER, frames = 1;
    if (datagram + IP_HEADER > gates->mtu) {
        uint64_t each = (gates->mtu - IP_HEADER) & ~7u; /* offsets of fragments count in eight bytes */
        frames = (datagram + each - 1) / each;
    }
    uint64_t bytes = datagram + frames * (IP_HEADER + INS_FRAME_OVERHEAD);
    uint64_t least = frames * (INS_FRAME_LEAST + INS_FRAME_OVERHEAD);
    return line_ns(gates->line_mbps, bytes > least ? bytes : least);
}
