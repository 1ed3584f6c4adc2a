/* The thread that opens and closes datapaths, see worker.h. */
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

static void *work(void *argument) {
    struct ins_worker *worker = argument;
    struct ins_job *job;
    for (;;) {
        ssize_t got = read(worker->its_to, &job, sizeof job);
        if (got < 0 && errno == EINTR)
            continue;
        if (got != (ssize_t)sizeof job)
            return NULL;
        job->error = job->what == INS_JOB_OPEN ? ins_datapath_open(job->name, job->options, &job->at, &job->datapath)
                                               : ins_datapath_close(job->datapath);
        while (write(worker->its_from, &job, sizeof job) < 0 && errno == EINTR)
            ;
    }
}

int ins_worker_start(struct ins_worker *worker) {
    int to[2], from[2];
    pthread_t thread;
    if (pipe2(to, O_CLOEXEC) < 0)
        return -errno;
    if (pipe2(from, O_CLOEXEC) < 0) {
        int error = -errno;
        close(to[0]);
        close(to[1]);
        return error;
    }
    *worker = (struct ins_worker){.to = to[1], .its_to = to[0], .from = from[0], .its_from = from[1]};
    /* The main thread must not wait for it, in neither direction. */
    fcntl(worker->to, F_SETFL, O_NONBLOCK);
    fcntl(worker->from, F_SETFL, O_NONBLOCK);
    int error = pthread_create(&thread, NULL, work, worker);
    if (error)
        return -error;
    pthread_setname_np(thread, "insane-open");
    pthread_detach(thread);
    return 0;
}

int ins_worker_ask(struct ins_worker *worker, struct ins_job *job) {
    ssize_t sent;
    do
        sent = write(worker->to, &job, sizeof job);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}

struct ins_job *ins_worker_done(struct ins_worker *worker) {
    struct ins_job *job;
    ssize_t got;
    do
        got = read(worker->from, &job, sizeof job);
    while (got < 0 && errno == EINTR);
    return got == (ssize_t)sizeof job ? job : NULL;
}
