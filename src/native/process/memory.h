/* What an engine process was given for its links: mappings and doorbells, kept until the engine has acknowledged that it
   let go of them. Belongs to the process's main thread. */
#ifndef INSANE_PROCESS_MEMORY_H
#define INSANE_PROCESS_MEMORY_H

#include <stdint.h>

#define INS_HELD_LINK UINT32_MAX
#define INS_HELD_DOMAIN (UINT32_MAX - 1)
#define INS_HELD_ASSEMBLY (UINT32_MAX - 2)

struct ins_held {
    uint32_t link; /* or domain */
    uint32_t pool; /* INS_HELD_LINK: of the link itself; INS_HELD_DOMAIN: of the domain of that number */
    uint32_t sequence; /* of the frame it came with */
    void *address; /* NULL: only a descriptor */
    uint64_t bytes;
    int fd; /* -1: only a mapping, whose descriptor is closed */
    struct ins_held *next;
};

struct ins_memory {
    struct ins_held *first;
};

/* Maps `fd` and closes it, also when it fails. */
int ins_memory_map(struct ins_memory *memory, uint32_t link, uint32_t pool, uint32_t sequence, int fd, uint64_t bytes,
                   int writable, void **out);
/* Keeps a descriptor open; closes it when that fails. */
int ins_memory_keep(struct ins_memory *memory, uint32_t link, uint32_t sequence, int fd);
/* Gives back what a link held, or one pool of it. */
void ins_memory_release_link(struct ins_memory *memory, uint32_t link);
void ins_memory_release_pool(struct ins_memory *memory, uint32_t link, uint32_t pool);
/* Gives back what came with a frame that was refused. */
void ins_memory_release_frame(struct ins_memory *memory, uint32_t sequence);
void ins_memory_release_all(struct ins_memory *memory);

#endif
