/* DPDK's environment (EAL): started once in a process's life, by a thread made for that, because it pins the thread that
   starts it to a core and makes it its own. It stays until the process ends: DPDK cannot start it a second time. */
#include <errno.h>
#include <pthread.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/probe_text.h"
#include "dpdk_state.h"

enum { ARGUMENTS = 24 };

static struct {
    pthread_mutex_t guard;
    enum { NEVER, RUNS, FAILED } state;
    int error;
    uint32_t huge, pci;
} environment = {.guard = PTHREAD_MUTEX_INITIALIZER};

struct start {
    char *arguments[ARGUMENTS];
    int count;
    int error;
};

uint32_t ins_dpdk_huge_free(void) {
    static const struct {
        const char *file;
        uint32_t mib;
    } sizes[] = {{"/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", 2},
                 {"/sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages", 1024}};
    uint32_t free_mib = 0;
    for (uint32_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char line[32];
        if (ins_probe_line(sizes[i].file, line, sizeof line) == 0)
            free_mib += (uint32_t)strtoul(line, NULL, 10) * sizes[i].mib;
    }
    return free_mib;
}

static void *start(void *argument) {
    struct start *s = argument;
    rte_openlog_stream(stderr); /* else it writes to standard output, which is the program's own */
    if (rte_eal_init(s->count, s->arguments) < 0 && rte_errno != EALREADY)
        s->error = rte_errno == EACCES || rte_errno == EPERM ? -EPERM : rte_errno == ENOMEM ? -ENOMEM : -EIO;
    else
        s->error = ins_dpdk_pools_register();
    return NULL;
}

/* A core that this process may use: DPDK wants one to call its own, and refuses others. */
static int any_core(void) {
    cpu_set_t cores;
    if (sched_getaffinity(0, sizeof cores, &cores) == 0)
        for (int core = 0; core < CPU_SETSIZE; core++)
            if (CPU_ISSET(core, &cores))
                return core;
    return 0;
}

static int launch(const struct dpdk_settings *settings, uint32_t huge) {
    char cores[24], memory[16], device[80];
    struct start s = {.count = 0};
    const char *const always[] = {"insane", "--no-telemetry", "--log-level=error", "--lcores", cores, "--iova-mode=va"};
    snprintf(cores, sizeof cores, "0@%d", any_core());
    for (uint32_t i = 0; i < sizeof always / sizeof *always; i++)
        s.arguments[s.count++] = (char *)(uintptr_t)always[i];
    if (huge) {
        s.arguments[s.count++] = (char *)(uintptr_t) "--in-memory"; /* no names: nothing to leave behind */
    } else {
        s.arguments[s.count++] = (char *)(uintptr_t) "--no-shconf"; /* which --in-memory implies */
        snprintf(memory, sizeof memory, "%u", settings->memory);
        s.arguments[s.count++] = (char *)(uintptr_t) "--no-huge";
        s.arguments[s.count++] = (char *)(uintptr_t) "-m";
        s.arguments[s.count++] = memory;
    }
    if (settings->pci) {
        snprintf(device, sizeof device, "%s", settings->name);
        s.arguments[s.count++] = (char *)(uintptr_t) "-a";
        s.arguments[s.count++] = device;
    } else {
        s.arguments[s.count++] = (char *)(uintptr_t) "--no-pci";
    }
    /* Signals are the host program's: none of them is to be handled on threads of DPDK's. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread;
    int error = -pthread_create(&thread, NULL, start, &s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error)
        return error;
    pthread_join(thread, NULL);
    return s.error;
}

int ins_dpdk_eal_start(const struct dpdk_settings *settings) {
    int error = 0;
    pthread_mutex_lock(&environment.guard);
    if (environment.state == NEVER) {
        uint32_t huge = settings->pages == DPDK_PAGES_HUGE ||
                        (settings->pages == DPDK_PAGES_AUTO && ins_dpdk_huge_free() >= settings->memory);
        environment.error = launch(settings, huge);
        environment.state = environment.error ? FAILED : RUNS;
        environment.huge = huge;
        environment.pci = settings->pci;
        error = environment.error;
    } else if (environment.state == FAILED) {
        error = environment.error; /* it does not start twice, even so */
    } else if ((settings->pages == DPDK_PAGES_HUGE && !environment.huge) ||
               (settings->pages == DPDK_PAGES_SMALL && environment.huge) || (settings->pci && !environment.pci)) {
        error = -EALREADY;
    }
    pthread_mutex_unlock(&environment.guard);
    return error;
}

int ins_dpdk_eal_runs(int *huge) {
    pthread_mutex_lock(&environment.guard);
    int runs = environment.state == RUNS;
    *huge = runs && environment.huge;
    pthread_mutex_unlock(&environment.guard);
    return runs;
}
