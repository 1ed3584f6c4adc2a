/* Frames of the runtime become calls of core/engine.h; acknowledgements become the runtime's. See served.h. */
#include "served.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/platform.h"

static int begin(struct ins_served *s, const struct ins_frame *f, const int *fds) {
    struct ins_engine_config config;
    if (s->engine)
        return -EALREADY;
    if (f->a[0] != INS_LAYOUT_HASH || f->a[1] != sizeof config)
        return -EPROTO;
    memcpy(&config, f->data, sizeof config);
    s->pool_bytes = f->bytes;
    int error = ins_segment_map(fds[0], f->bytes, 1, &s->pool);
    if (!error)
        error = ins_segment_map(fds[1], INS_PARKED_PAGE_BYTES, 1, &s->parked);
    if (!error)
        error = ins_segment_map(fds[2], INS_COUNTERS_BYTES, 1, &s->counters);
    if (!error)
        error = ins_engine_create(&config, s->pool, s->pool_bytes, s->parked, s->counters, 0, &s->engine);
    return error;
}

/* ---- datapaths ---- */

static int place_of(const struct ins_served *s, uint32_t handle) {
    for (int i = 0; i < INS_PROCESS_DATAPATHS; i++)
        if (s->datapaths[i].datapath && s->datapaths[i].handle == handle)
            return i;
    return -ENOENT;
}

static struct ins_datapath *datapath_of(const struct ins_served *s, uint32_t handle) {
    int place = place_of(s, handle);
    return place < 0 ? NULL : s->datapaths[place].datapath;
}

static int ask(struct ins_served *s, const struct ins_job *job) {
    struct ins_job *copy = malloc(sizeof *copy);
    if (!copy)
        return -ENOMEM;
    *copy = *job;
    int error = ins_worker_ask(&s->worker, copy);
    if (error)
        free(copy);
    return error == -EAGAIN ? -ENOBUFS : error;
}

static int open_datapath(struct ins_served *s, const struct ins_frame *f) {
    struct ins_job job = {.what = INS_JOB_OPEN, .handle = f->a[0]};
    job.at = (struct ins_endpoint){.address = f->a[1], .port = (uint16_t)f->a[2]};
    const char *name = (const char *)f->data, *options = name + strnlen(name, sizeof job.name) + 1;
    if (options - name < 2 || options - name > (int)sizeof job.name)
        return -EINVAL;
    size_t length = strnlen(options, sizeof job.options);
    if (length == sizeof job.options)
        return -EMSGSIZE;
    memcpy(job.name, name, (size_t)(options - name));
    memcpy(job.options, options, length);
    return ask(s, &job);
}

static int close_datapath(struct ins_served *s, const struct ins_frame *f) {
    int place = place_of(s, f->a[0]);
    if (place < 0)
        return place;
    struct ins_job job = {.what = INS_JOB_CLOSE, .handle = f->a[0], .datapath = s->datapaths[place].datapath};
    int error = ask(s, &job);
    if (!error)
        s->datapaths[place].datapath = NULL;
    return error;
}

void ins_serve_job(struct ins_served *s, const struct ins_job *job, struct ins_event *answer) {
    *answer = (struct ins_event){.type = job->what == INS_JOB_OPEN ? INS_ANSWER_OPENED : INS_ANSWER_CLOSED,
                                 .status = job->error,
                                 .a = job->handle,
                                 .b = job->at.address,
                                 .c = job->at.port,
                                 .d = ins_endpoint_limits(&job->at)};
    if (job->what != INS_JOB_OPEN || job->error)
        return;
    for (int i = 0; i < INS_PROCESS_DATAPATHS; i++) {
        if (s->datapaths[i].datapath)
            continue;
        s->datapaths[i].datapath = job->datapath;
        s->datapaths[i].handle = job->handle;
        return;
    }
    /* More than an engine takes by far: this one is of no use. */
    ins_datapath_close(job->datapath);
    answer->status = -ENOSPC;
}

void ins_serve_stats(struct ins_served *s) {
    struct {
        struct ins_event head;
        struct ins_stat stats[INS_FRAME_STATS_MOST];
    } out;
    for (int i = 0; i < INS_PROCESS_DATAPATHS; i++) {
        const char *names[INS_FRAME_STATS_MOST];
        uint64_t values[INS_FRAME_STATS_MOST];
        struct ins_datapath *dp = s->datapaths[i].datapath;
        int count = dp ? dp->ops->stats(dp, names, values, INS_FRAME_STATS_MOST) : 0;
        if (count <= 0)
            continue;
        memset(&out, 0, sizeof out);
        out.head = (struct ins_event){.type = INS_ANSWER_STATS, .a = s->datapaths[i].handle, .b = (uint32_t)count};
        for (int j = 0; j < count; j++) {
            strncpy(out.stats[j].name, names[j], sizeof out.stats[j].name - 1);
            out.stats[j].value = values[j];
        }
        /* A runtime that is busy gets the next ones. */
        ins_socket_send(s->socket, &out, (uint32_t)(sizeof out.head + (size_t)count * sizeof *out.stats), NULL, 0);
    }
}

/* ---- links ---- */

/* Link, parked page and bell of a frame, in this order. All or nothing. */
static int take_link(struct ins_served *s, const struct ins_frame *f, int *fds, void **segment, void **parked) {
    uint32_t link = f->a[0];
    int error = ins_memory_map(&s->memory, link, INS_HELD_LINK, f->sequence, fds[0], f->bytes, 1, segment);
    if (error)
        close(fds[1]);
    else
        error = ins_memory_map(&s->memory, link, INS_HELD_LINK, f->sequence, fds[1], INS_PARKED_PAGE_BYTES, 0, parked);
    if (error)
        close(fds[2]);
    else
        error = ins_memory_keep(&s->memory, link, f->sequence, fds[2]);
    return error;
}

static int64_t order(struct ins_served *s, const struct ins_frame *f, int *fds) {
    struct ins_engine *e = s->engine;
    const uint32_t *a = f->a;
    void *first, *second;
    int error = 0;
    switch (f->kind) {
    case INS_FRAME_PING:
        return ins_engine_ping(e);
    case INS_FRAME_ADD_DATAPATH:
        return ins_engine_add_datapath(e, a[0], datapath_of(s, a[1]));
    case INS_FRAME_REMOVE_DATAPATH:
        return ins_engine_remove_datapath(e, a[0]);
    case INS_FRAME_SET_PEER:
        return ins_engine_set_peer(e, a[0], a[1], a[2], a[3], a[4]);
    case INS_FRAME_REMOVE_PEER:
        return ins_engine_remove_peer(e, a[0]);
    case INS_FRAME_ADD_ROUTE:
        return ins_engine_add_route(e, a[0], a[1], a[2]);
    case INS_FRAME_REMOVE_ROUTE:
        return ins_engine_remove_route(e, a[0], a[1], a[2]);
    case INS_FRAME_ADD_EGRESS:
        error = take_link(s, f, fds, &first, &second);
        return error ? error : ins_engine_add_egress(e, a[0], a[1], a[2], first, f->bytes, a[3], second, fds[2]);
    case INS_FRAME_ADD_INGRESS:
        error = take_link(s, f, fds, &first, &second);
        return error ? error : ins_engine_add_ingress(e, a[0], first, f->bytes, a[1], second, fds[2]);
    case INS_FRAME_ADD_POOL:
        error = ins_memory_map(&s->memory, a[0], a[1], f->sequence, fds[0], f->bytes, 0, &first);
        return error ? error : ins_engine_add_pool(e, a[0], a[1], first, f->bytes, a[2]);
    case INS_FRAME_REMOVE_POOL:
        return ins_engine_remove_pool(e, a[0], a[1]);
    case INS_FRAME_ADD_SOURCE:
        return ins_engine_add_source(e, a[0], a[1], a[2], a[3], a[4]);
    case INS_FRAME_REMOVE_SOURCE:
        return ins_engine_remove_source(e, a[0], a[1]);
    case INS_FRAME_SUBSCRIBE:
        return ins_engine_subscribe(e, a[0], a[1], a[2], a[3]);
    case INS_FRAME_UNSUBSCRIBE:
        return ins_engine_unsubscribe(e, a[0], a[1], a[2]);
    case INS_FRAME_REMOVE_LINK:
        return ins_engine_remove_link(e, a[0]);
    case INS_FRAME_MUTE_PEER:
        return ins_engine_mute_peer(e, a[0], a[1]);
    case INS_FRAME_RESUME_PEER:
        return ins_engine_resume_peer(e, a[0], a[1], a[2], a[3], a[4]);
    case INS_FRAME_ADD_ROUTES:
    case INS_FRAME_REMOVE_ROUTES: {
        uint32_t pairs[2 * INS_ROUTES_AT_ONCE];
        memcpy(pairs, f->data, sizeof pairs);
        uint32_t count = a[1] > INS_ROUTES_AT_ONCE ? 0 : a[1];
        return (f->kind == INS_FRAME_ADD_ROUTES ? ins_engine_add_routes : ins_engine_remove_routes)(e, a[0], pairs, count);
    }
    case INS_FRAME_SET_SCHEDULE: {
        struct ins_gate_list list;
        memcpy(&list, f->data, sizeof list);
        return ins_engine_set_schedule(e, a[0], &list);
    }
    case INS_FRAME_SET_CLASS:
        return ins_engine_set_class(e, a[0], a[1]);
    case INS_FRAME_HOLD_LINK:
        return ins_engine_hold_link(e, a[0], a[1]);
    case INS_FRAME_RETIRE_LINK:
        return ins_engine_retire_link(e, a[0], a[1]);
    case INS_FRAME_MOVE_ROUTE:
        return ins_engine_move_route(e, a[0], a[1], a[2], a[3], a[4]);
    case INS_FRAME_ACCOUNT_FLOW:
        return ins_engine_account_flow(e, a[0], a[1], a[2], a[3], a[4], f->bytes);
    case INS_FRAME_TELL_FLOW:
        return ins_engine_tell_flow(e, a[0], a[1], a[2], a[3], a[4], f->bytes);
    case INS_FRAME_ADD_DOMAIN:
        error = ins_memory_map(&s->memory, a[0], INS_HELD_DOMAIN, f->sequence, fds[0], f->bytes, 1, &first);
        return error ? error : ins_engine_add_domain(e, a[0], first, f->bytes);
    case INS_FRAME_REMOVE_DOMAIN:
        return ins_engine_remove_domain(e, a[0]);
    case INS_FRAME_SET_DOMAIN:
        return ins_engine_set_domain(e, a[0], a[1]);
    case INS_FRAME_ADD_ASSEMBLY:
        error = ins_memory_map(&s->memory, a[0], INS_HELD_ASSEMBLY, f->sequence, fds[0], f->bytes, 1, &first);
        return error ? error : ins_engine_add_assembly(e, a[0], first, f->bytes, a[1]);
    case INS_FRAME_REMOVE_ASSEMBLY:
        return ins_engine_remove_assembly(e, a[0]);
    case INS_FRAME_SET_ASSEMBLY:
        return ins_engine_set_assembly(e, a[0], a[1]);
    case INS_FRAME_SET_BATCHING:
        return ins_engine_set_batching(e, a[0], a[1]);
    default:
        return -ENOSYS;
    }
}

static uint32_t descriptors_of(uint32_t kind) {
    switch (kind) {
    case INS_FRAME_BEGIN:
    case INS_FRAME_ADD_EGRESS:
    case INS_FRAME_ADD_INGRESS:
        return 3;
    case INS_FRAME_ADD_POOL:
    case INS_FRAME_ADD_DOMAIN:
    case INS_FRAME_ADD_ASSEMBLY:
        return 1;
    default:
        return 0;
    }
}

static int command(struct ins_served *s, const struct ins_frame *f, int *fds) {
    /* Looked at before anything is taken, so that the frame can be given once more. Nobody else fills the queue. */
    if (s->ordered_tail - s->ordered_head >= INS_COMMANDS)
        return -EAGAIN;
    int64_t local = order(s, f, fds);
    if (local < 0) {
        ins_memory_release_frame(&s->memory, f->sequence);
        return (int)local;
    }
    s->ordered[s->ordered_tail++ % (2 * INS_COMMANDS)] = (struct ins_ordered){
        .local = (uint32_t)local, .sequence = f->sequence, .kind = f->kind, .link = f->a[0], .pool = f->a[1]};
    return 0;
}

int ins_serve_frame(struct ins_served *s, const struct ins_frame *f, int *fds, uint32_t fd_count) {
    int error = 0;
    if (fd_count != descriptors_of(f->kind))
        error = -EBADF;
    else if (f->kind != INS_FRAME_BEGIN && !s->engine)
        error = -ENXIO;
    if (error) {
        for (uint32_t i = 0; i < fd_count; i++)
            close(fds[i]);
        return error;
    }
    switch (f->kind) {
    case INS_FRAME_BEGIN:
        error = begin(s, f, fds);
        for (uint32_t i = 0; i < fd_count; i++)
            close(fds[i]);
        return error;
    case INS_FRAME_OPEN:
        return open_datapath(s, f);
    case INS_FRAME_CLOSE:
        return close_datapath(s, f);
    case INS_FRAME_STATS:
        ins_serve_stats(s);
        return 0;
    case INS_FRAME_STOP:
        s->stop = 1;
        return 0;
    default:
        return command(s, f, fds);
    }
}

void ins_serve_event(struct ins_served *s, struct ins_event *event) {
    if (event->type != INS_EVENT_ACK || s->ordered_head == s->ordered_tail)
        return;
    const struct ins_ordered *was = &s->ordered[s->ordered_head++ % (2 * INS_COMMANDS)];
    event->a = was->sequence;
    if (event->status) {
        ins_memory_release_frame(&s->memory, was->sequence);
        return;
    }
    if (was->kind == INS_FRAME_REMOVE_LINK)
        ins_memory_release_link(&s->memory, was->link);
    if (was->kind == INS_FRAME_REMOVE_POOL)
        ins_memory_release_pool(&s->memory, was->link, was->pool);
    if (was->kind == INS_FRAME_REMOVE_DOMAIN)
        ins_memory_release_pool(&s->memory, was->link, INS_HELD_DOMAIN);
    if (was->kind == INS_FRAME_REMOVE_ASSEMBLY)
        ins_memory_release_pool(&s->memory, was->link, INS_HELD_ASSEMBLY);
}
