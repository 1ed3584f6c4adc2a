/* What the core needs of the kernel: sealed memory, sockets that carry descriptors, doorbells, sleep. Exported to the
   control plane; none of it belongs on the path of a message. Every function returns >= 0 or -errno. */
#ifndef INSANE_PLATFORM_H
#define INSANE_PLATFORM_H

#include <stdint.h>

#include "layout.h"

#define INS_API __attribute__((visibility("default")))

/* ---- segment: a memfd, never a name ---- */
/* New memfd of `bytes`, sealed against SHRINK and GROW. */
INS_API int ins_segment_create(const char *name, uint64_t bytes);
/* The last step before consumers get it: nobody can map it writable from now on; existing mappings stay. */
INS_API int ins_segment_seal_future_write(int fd);
/* For segments that both ends write (links): no further seal can be added. */
INS_API int ins_segment_seal(int fd);
/* Checks what a stranger gave us before it is mapped: a memfd of exactly `bytes`, sealed against SHRINK. -EBADF,
   -EMSGSIZE (size differs), -EPERM (not sealed). */
INS_API int ins_segment_check(int fd, uint64_t bytes);
/* Maps the whole segment. `writable` 0 or 1. */
INS_API int ins_segment_map(int fd, uint64_t bytes, int writable, void **out);
INS_API int ins_segment_unmap(void *address, uint64_t bytes);
/* Faults the pages in (write faults when writable); may take long: not on a hot thread. */
INS_API int ins_segment_prefault(void *address, uint64_t bytes, int writable);
INS_API int ins_fd_close(int fd);
INS_API int ins_fd_dup(int fd);

/* ---- control socket: SOCK_SEQPACKET Unix sockets, frames with file descriptors ---- */
/* Listens on `path` (no unlink: the caller decides what is stale). Non-blocking. */
INS_API int ins_socket_listen(const char *path, uint32_t mode);
INS_API int ins_socket_accept(int listener);
/* Connects, blocking at most until the kernel accepts (-ETIMEDOUT after 5 s of a full backlog); the result is
   non-blocking. -ENAMETOOLONG for a path that does not fit sun_path, as with listen. */
INS_API int ins_socket_connect(const char *path);
/* Sends one frame with up to 32 descriptors. -EAGAIN when the peer does not read; -EMSGSIZE; -EINVAL for an empty
   frame, which would look like the end, and for more descriptors. */
INS_API int ins_socket_send(int fd, const void *data, uint32_t length, const int *fds, uint32_t fd_count);
/* Receives one frame. Returns its length (0: end of file), -EAGAIN, -EMSGSIZE (frame longer than max: dropped whole,
   its descriptors closed). *fd_count: in capacity, out number received; descriptors beyond capacity are closed. */
INS_API int ins_socket_receive(int fd, void *data, uint32_t max, int *fds, uint32_t *fd_count);
/* out: pid, uid, gid of the peer when it connected. */
INS_API int ins_socket_credentials(int fd, int32_t *out);
/* A descriptor that becomes readable when the process dies. -ESRCH when it is gone. */
INS_API int ins_process_fd(int pid);
/* Both ends of a control socket; non-blocking. */
INS_API int ins_socket_pair(int *out);
/* Room for frames under way, as far as the kernel allows. */
INS_API int ins_socket_buffer(int fd, uint32_t bytes);

/* ---- processes of our own ---- */
/* Read end, write end; non-blocking. */
INS_API int ins_pipe(int *out);
/* Starts `path` in a session of its own with one argument, `name`. It has nothing open but /dev/null as its input,
   `error_fd` (or /dev/null, -1) as output and error, and `fds` (at most 8) from 3 on. out: process id, and a descriptor
   that becomes readable when it has ended. It stays a zombie until it is waited for. */
INS_API int ins_process_start(const char *path, const char *name, const int *fds, uint32_t fd_count, int error_fd,
                              int *out);
/* SIGKILL, by descriptor. -ESRCH when it has been waited for. */
INS_API int ins_process_kill(int process);
/* 1 when it has ended (how: 0 and the exit status, or 1 and the signal), which is told once; 0 when it has not ended in
   time; -ECHILD. */
INS_API int ins_process_wait(int process, uint32_t timeout_ms, int32_t *how);

/* ---- doorbell: a datagram socket pair; whoever holds one end rings the sleeper that holds the other ---- */
INS_API int ins_bell_pair(int *out);
/* Never blocks; a full or closed bell is as good as a rung one and returns 0. */
INS_API int ins_bell_ring(int fd);
/* Empties it. Returns how often it was rung, 0 for not at all; at most 1024 at a time. */
INS_API int ins_bell_drain(int fd);

/* ---- sleep ---- */
INS_API int ins_epoll_create(void);
INS_API int ins_epoll_add(int epoll, int fd, uint32_t tag);
INS_API int ins_epoll_remove(int epoll, int fd);
/* Waits until something is readable; `tags` gets up to `max` tags (64 at a time). timeout_ms -1: for ever. Returns 0
   also when a signal came, so that its handler gets its turn. */
INS_API int ins_epoll_wait(int epoll, uint32_t *tags, uint32_t max, int timeout_ms);
INS_API int ins_eventfd(void);
INS_API int ins_eventfd_signal(int fd);
INS_API int ins_eventfd_drain(int fd);
/* Gives the core to others once. */
INS_API void ins_yield(void);
/* Reads the u32 at `word` until it differs from `seen`: `looks` times with a pause, then a yield, `yields` times.
   Returns 1 when it differs. */
INS_API int ins_wait_word(const uint32_t *word, uint32_t seen, uint32_t looks, uint32_t yields);
/* Nanoseconds of CLOCK_REALTIME and CLOCK_MONOTONIC, read as close together as possible. */
INS_API void ins_clock(uint64_t *realtime, uint64_t *monotonic);
INS_API int ins_pin_thread(int cpu);
INS_API uint32_t ins_layout_hash(void);

/* ---- labelled counters (layout.h, INS_COUNTERS_*) in a mapped segment; one writer a counter ---- */
/* Labels are cut to 63 bytes; an index beyond INS_COUNTERS_MAX is ignored. */
INS_API void ins_counters_label(void *segment, uint32_t index, const char *label);

static inline uint64_t *ins_counter(void *segment, uint32_t index) {
    return (uint64_t *)(void *)((uint8_t *)segment + INS_COUNTERS_VALUES) + index;
}
/* Relaxed and without a lock prefix: the one writer; readers see whole values, some time later. */
static inline void ins_counter_add(void *segment, uint32_t index, uint64_t more) {
    uint64_t *counter = ins_counter(segment, index);
    __atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + more, __ATOMIC_RELAXED);
}

#endif
