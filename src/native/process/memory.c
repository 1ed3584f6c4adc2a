/* Mappings and doorbells of links in an engine process, see memory.h. */
#include "memory.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/platform.h"

static int add(struct ins_memory *memory, struct ins_held held) {
    struct ins_held *entry = malloc(sizeof *entry);
    if (!entry)
        return -ENOMEM;
    *entry = held;
    entry->next = memory->first;
    memory->first = entry;
    return 0;
}

static void give_back(struct ins_held *held) {
    if (held->address)
        ins_segment_unmap(held->address, held->bytes);
    if (held->fd >= 0)
        close(held->fd);
    free(held);
}

int ins_memory_map(struct ins_memory *memory, uint32_t link, uint32_t pool, uint32_t sequence, int fd, uint64_t bytes,
                   int writable, void **out) {
    int error = ins_segment_map(fd, bytes, writable, out);
    close(fd);
    if (error)
        return error;
    error = add(memory, (struct ins_held){
                            .link = link, .pool = pool, .sequence = sequence, .address = *out, .bytes = bytes, .fd = -1});
    if (error)
        ins_segment_unmap(*out, bytes);
    return error;
}

int ins_memory_keep(struct ins_memory *memory, uint32_t link, uint32_t sequence, int fd) {
    int error = add(memory, (struct ins_held){.link = link, .pool = INS_HELD_LINK, .sequence = sequence, .fd = fd});
    if (error)
        close(fd);
    return error;
}

enum what { LINK, POOL, FRAME, ALL };

static void release(struct ins_memory *memory, enum what what, uint32_t a, uint32_t b) {
    struct ins_held **place = &memory->first;
    while (*place) {
        struct ins_held *held = *place;
        int goes = what == ALL || (what == LINK && held->link == a && held->pool != INS_HELD_DOMAIN &&
                    held->pool != INS_HELD_ASSEMBLY) ||
                   (what == POOL && held->link == a && held->pool == b) || (what == FRAME && held->sequence == a);
        if (goes) {
            *place = held->next;
            give_back(held);
        } else
            place = &held->next;
    }
}

void ins_memory_release_link(struct ins_memory *memory, uint32_t link) { release(memory, LINK, link, 0); }
void ins_memory_release_pool(struct ins_memory *memory, uint32_t link, uint32_t pool) {
    release(memory, POOL, link, pool);
}
void ins_memory_release_frame(struct ins_memory *memory, uint32_t sequence) { release(memory, FRAME, sequence, 0); }
void ins_memory_release_all(struct ins_memory *memory) { release(memory, ALL, 0, 0); }
