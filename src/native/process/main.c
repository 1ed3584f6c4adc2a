/* insane-engine: an engine in a process of its own, for drivers that may crash or hang. Started by the runtime with one
   end of a socket pair as descriptor 3, and ends with it. The main thread answers the runtime, one thread polls (the
   engine's), one opens and closes datapaths. It reads no file and trusts what the runtime
   says. With --probe it only looks at the host. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "served.h"

enum { SOCKET = 3, STOP_MS = 500, ENDED_ALONE = 3 };

/* What waits to be said to the runtime when its socket was full, and a frame that found the engine's queue full. */
struct unsaid {
    struct ins_event event;
    int waits;
};
struct put_off {
    struct ins_frame frame;
    int fds[INS_FRAME_FDS];
    uint32_t fd_count;
    int waits;
};

static struct ins_served served = {.socket = SOCKET};
static struct put_off put_off;
static struct unsaid unsaid;

/* 1: said, or it never will be (the runtime is gone: the main loop sees that). */
static int say(const struct ins_event *event) {
    if (ins_socket_send(SOCKET, event, sizeof *event, NULL, 0) == -EAGAIN) {
        unsaid.event = *event;
        unsaid.waits = 1;
        return 0;
    }
    return 1;
}

static void answer(const struct ins_frame *frame, int status) {
    struct ins_event event = {.type = INS_EVENT_ACK, .status = status, .a = frame->sequence};
    if (frame->kind == INS_FRAME_BEGIN)
        event.type = INS_ANSWER_BEGUN;
    else if (frame->kind == INS_FRAME_OPEN || frame->kind == INS_FRAME_CLOSE) {
        event.type = frame->kind == INS_FRAME_OPEN ? INS_ANSWER_OPENED : INS_ANSWER_CLOSED;
        event.a = frame->a[0];
    }
    say(&event);
}

/* Returns 1 when the frame is dealt with. */
static int serve(void) {
    int status = ins_serve_frame(&served, &put_off.frame, put_off.fds, put_off.fd_count);
    put_off.waits = status == -EAGAIN;
    if (put_off.waits)
        return 0;
    /* What went to the engine or to the worker is answered by them. */
    if (status || put_off.frame.kind == INS_FRAME_BEGIN)
        answer(&put_off.frame, status);
    return 1;
}

/* The runtime's frames, as long as there is room for what they bring about. */
static void hear(void) {
    while (!served.stop && !unsaid.waits) {
        put_off.fd_count = INS_FRAME_FDS;
        int length = ins_socket_receive(SOCKET, &put_off.frame, sizeof put_off.frame, put_off.fds, &put_off.fd_count);
        if (length == -EAGAIN)
            return;
        if (length == -EMSGSIZE)
            continue;
        /* The runtime is gone, and with it everybody whom this engine served. */
        if (length <= 0)
            _exit(0);
        memset((char *)&put_off.frame + length, 0, sizeof put_off.frame - (size_t)length);
        if (!serve())
            return;
    }
}

static void tell(void) {
    struct ins_event event;
    while (!unsaid.waits && served.engine && ins_engine_next_event(served.engine, &event) == 1) {
        ins_serve_event(&served, &event);
        say(&event);
    }
    struct ins_job *job;
    while (!unsaid.waits && (job = ins_worker_done(&served.worker))) {
        ins_serve_job(&served, job, &event);
        /* Before the answer: who hears that it is open has its counters. */
        ins_serve_stats(&served);
        free(job);
        say(&event);
    }
}

static void loop(void) {
    while (!served.stop) {
        struct pollfd look[3] = {
            {.fd = SOCKET, .events = (short)((put_off.waits || unsaid.waits ? 0 : POLLIN) | (unsaid.waits ? POLLOUT : 0))},
            {.fd = unsaid.waits ? -1 : served.worker.from, .events = POLLIN},
            {.fd = unsaid.waits || !served.engine ? -1 : ins_engine_event_fd(served.engine), .events = POLLIN},
        };
        if (poll(look, 3, -1) < 0 && errno != EINTR)
            _exit(ENDED_ALONE);
        if (look[0].revents & (POLLHUP | POLLERR) && !(look[0].revents & POLLIN))
            _exit(0);
        if (unsaid.waits) {
            unsaid.waits = 0;
            if (!say(&unsaid.event))
                continue;
        }
        tell();
        if (put_off.waits && !unsaid.waits && !serve())
            continue;
        hear();
    }
}

/* Looks at the host for one datapath and writes the struct to descriptor 3: a library that crashes or hangs while it looks
   does so here. */
static int probe(const char *name, const char *about) {
    struct ins_probe found;
    if (ins_datapath_probe(name, about, &found))
        return 1;
    return write(SOCKET, &found, sizeof found) == (ssize_t)sizeof found ? 0 : 1;
}

int main(int argc, char **argv) {
    if (argc == 4 && strcmp(argv[1], "--probe") == 0)
        _exit(probe(argv[2], argv[3]));
    /* Also when this process is stopped or hangs. The end of the socket says the same to one that lives. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    int error = ins_worker_start(&served.worker);
    if (error) {
        fprintf(stderr, "insane-engine: no thread: %s\n", strerror(-error));
        return ENDED_ALONE;
    }
    loop();
    if (served.engine && ins_engine_stop(served.engine, STOP_MS) == 0)
        ins_engine_destroy(served.engine);
    else if (served.engine)
        _exit(ENDED_ALONE); /* its thread still touches what would be given back now */
    ins_memory_release_all(&served.memory);
    return 0;
}
