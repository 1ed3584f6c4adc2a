/* Text of probes, see probe_text.h. */
#include "probe_text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
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
