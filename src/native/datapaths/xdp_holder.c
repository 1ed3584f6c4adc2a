/* Who holds an XDP program: its name from the kernel, its process from the descriptors listed in /proc. */
#include <dirent.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "xdp_filter.h"

static void name_of(uint32_t program_id, char *out, uint32_t bytes) {
    union bpf_attr get = {.prog_id = program_id}, describe = {0};
    struct bpf_prog_info info = {0};
    snprintf(out, bytes, "program %u", program_id);
    int fd = (int)syscall(SYS_bpf, BPF_PROG_GET_FD_BY_ID, &get, sizeof get);
    if (fd < 0)
        return;
    describe.info.bpf_fd = (uint32_t)fd;
    describe.info.info_len = sizeof info;
    describe.info.info = (uint64_t)(uintptr_t)&info;
    if (syscall(SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &describe, sizeof describe) == 0 && info.name[0])
        snprintf(out, bytes, "program %u \"%.15s\"", program_id, info.name);
    close(fd);
}

/* One descriptor's lines say "prog_id:" for a program and for its attachment. */
static int describes(const char *path, uint32_t program_id) {
    char line[128];
    FILE *file = fopen(path, "re");
    int found = 0;
    while (file && !found && fgets(line, sizeof line, file))
        found = strncmp(line, "prog_id:", 8) == 0 && strtoul(line + 8, NULL, 10) == program_id;
    if (file)
        fclose(file);
    return found;
}

static int holds(int pid, uint32_t program_id) {
    char path[64], target[64], entry[352];
    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    DIR *fds = opendir(path);
    int found = 0;
    for (const struct dirent *at; fds && !found && (at = readdir(fds));) {
        snprintf(entry, sizeof entry, "/proc/%d/fd/%s", pid, at->d_name);
        ssize_t length = readlink(entry, target, sizeof target - 1);
        if (length <= 0)
            continue;
        target[length] = '\0';
        if (strncmp(target, "anon_inode:bpf", 14) != 0)
            continue;
        snprintf(entry, sizeof entry, "/proc/%d/fdinfo/%s", pid, at->d_name);
        found = describes(entry, program_id);
    }
    if (fds)
        closedir(fds);
    return found;
}

int ins_xdp_filter_holder(uint32_t program_id, char *out, uint32_t bytes, int *pid) {
    char name[64];
    *pid = 0;
    name_of(program_id, name, sizeof name);
    snprintf(out, bytes, "%s", name);
    DIR *processes = opendir("/proc");
    if (!processes)
        return -errno;
    for (const struct dirent *at; *pid == 0 && (at = readdir(processes));) {
        int candidate = atoi(at->d_name);
        if (candidate > 0 && holds(candidate, program_id))
            *pid = candidate;
    }
    closedir(processes);
    if (*pid)
        snprintf(out, bytes, "%s, process %d", name, *pid);
    return 0;
}
