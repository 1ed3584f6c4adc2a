/* Segments: memfds that are sealed before anyone else sees them. Order for a pool: create (SHRINK|GROW), the
   producer maps it writable, ins_segment_seal_future_write, and only then consumers get the descriptor. */
#include "platform.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Since Linux 6.3 a memfd says whether it may be executed; older kernels refuse the flag. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

enum { PAGE = 4096 };

int ins_segment_create(const char *name, uint64_t bytes) {
    if (!name || bytes == 0 || bytes > INT64_MAX)
        return -EINVAL;
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL)
        fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    if (ftruncate(fd, (off_t)bytes) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

int ins_segment_seal_future_write(int fd) {
    return fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) < 0 ? -errno : 0;
}

int ins_segment_seal(int fd) {
    return fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL) < 0 ? -errno : 0;
}

int ins_segment_check(int fd, uint64_t bytes) {
    struct stat stat;
    struct statfs fs;
    int seals = fcntl(fd, F_GET_SEALS);
    /* The kernel answers EINVAL for what cannot be sealed. Huge-page memfds can, but fault in ways we do
       not expect. */
    if (seals < 0 || fstat(fd, &stat) < 0 || fstatfs(fd, &fs) < 0 || fs.f_type != TMPFS_MAGIC)
        return -EBADF;
    if ((uint64_t)stat.st_size != bytes)
        return -EMSGSIZE;
    return seals & F_SEAL_SHRINK ? 0 : -EPERM;
}

int ins_segment_map(int fd, uint64_t bytes, int writable, void **out) {
    *out = NULL;
    if (bytes == 0 || bytes > SIZE_MAX)
        return -EINVAL;
    void *address = mmap(NULL, bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
    if (address == MAP_FAILED)
        return -errno;
    *out = address;
    return 0;
}

int ins_segment_unmap(void *address, uint64_t bytes) {
    return munmap(address, bytes) < 0 ? -errno : 0;
}

int ins_segment_prefault(void *address, uint64_t bytes, int writable) {
    while (madvise(address, bytes, writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ) < 0) {
        if (errno == EINTR || errno == EAGAIN)
            continue;
        if (errno != EINVAL)
            return -errno;
        /* Before Linux 5.14: touch each page. Adding nothing is a write fault that changes no content. */
        for (uint64_t at = 0; at < bytes; at += PAGE) {
            uint8_t *page = (uint8_t *)address + at;
            if (writable)
                __atomic_fetch_or(page, 0, __ATOMIC_RELAXED);
            else
                (void)*(volatile uint8_t *)page;
        }
        return 0;
    }
    return 0;
}

int ins_fd_close(int fd) {
    return close(fd) < 0 ? -errno : 0;
}

int ins_fd_dup(int fd) {
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return copy < 0 ? -errno : copy;
}
