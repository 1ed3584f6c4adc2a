/* Text of probes, see probe_text.h. */
#include "probe_text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

void ins_probe_evidence(struct ins_probe *probe, const char *what, const char *format, ...) {
    size_t used = strlen(probe->evidence), size = sizeof probe->evidence;
    int written = snprintf(probe->evidence + used, size - used, "%s%s: ", used ? "\n" : "", what);
    if (written < 0 || used + (size_t)written >= size)
        return;
    used += (size_t)written;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(probe->evidence + used, size - used, format, arguments);
    va_end(arguments);
}

void ins_probe_kernel(struct ins_probe *probe) {
    struct utsname name;
    if (uname(&name) == 0)
        ins_probe_evidence(probe, "kernel", "%s %s", name.sysname, name.release);
}

int ins_probe_line(const char *path, char *out, uint32_t bytes) {
    out[0] = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t got = read(fd, out, bytes - 1);
    close(fd);
    out[got > 0 ? got : 0] = 0;
    out[strcspn(out, "\n")] = 0;
    return got < 0 ? -EIO : 0;
}

/* The program of a process. Node calls its threads by what they do. */
static void program_of(int pid, char *out, uint32_t bytes) {
    char path[64], target[256];
    snprintf(path, sizeof path, "/proc/%d/comm", pid);
    ins_probe_line(path, out, bytes);
    if (strcmp(out, "MainThread") != 0)
        return;
    snprintf(path, sizeof path, "/proc/%d/exe", pid);
    ssize_t length = readlink(path, target, sizeof target - 1);
    target[length > 0 ? length : 0] = 0;
    const char *base = strrchr(target, '/');
    snprintf(out, bytes, "%.*s", (int)bytes - 1, base ? base + 1 : "node");
}

int ins_probe_whose(int pid, char *out, uint32_t bytes) {
    char path[64], name[32], line[512];
    if (pid == getpid()) {
        snprintf(out, bytes, ", which is us");
        return 1;
    }
    program_of(pid, name, sizeof name);
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    ins_probe_line(path, line, sizeof line);
    /* "PID (NAME) STATE PARENT ...", and a name may have brackets of its own. */
    const char *behind = strrchr(line, ')');
    int parent = behind && strlen(behind) > 4 ? atoi(behind + 4) : 0;
    int ours = parent == getpid() && strcmp(name, "insane-engine") == 0;
    struct stat owner;
    snprintf(path, sizeof path, "/proc/%d", pid);
    if (ours)
        snprintf(out, bytes, " (%s), an engine of ours", name);
    else if (stat(path, &owner) == 0 && owner.st_uid != geteuid())
        snprintf(out, bytes, " (%s) of user %u", name, owner.st_uid);
    else
        snprintf(out, bytes, " (%s)", name[0] ? name : "gone");
    return ours;
}
