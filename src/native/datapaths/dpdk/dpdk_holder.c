/* Who serves an address and port by DPDK, see dpdk_state.h. The kernel knows nothing of such endpoints, so they are marked
   by the names of two sockets: one that only one process can have, and one that ends in its number. */
#include <arpa/inet.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "dpdk_state.h"

enum { FIRST_PORT = 49152, PORTS = 16384 }; /* RFC 6335: for anybody's use */

/* "insane-dpdk/10.0.0.1:6175" */
static int name_of(uint32_t address, uint16_t port, char *out, size_t bytes) {
    char text[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &address, text, sizeof text);
    return snprintf(out, bytes, "insane-dpdk/%s:%u", text, port);
}

static int claim(const char *name) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    size_t length = strlen(name);
    memcpy(at.sun_path + 1, name, length);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (bind(fd, (struct sockaddr *)&at, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length)) == 0)
        return fd;
    int error = -errno;
    close(fd);
    return error;
}

static int claim_port(struct dpdk *dpdk, uint16_t port) {
    char name[80], ours[96];
    name_of(dpdk->local.address, port, name, sizeof name);
    int fd = claim(name);
    if (fd < 0)
        return fd;
    snprintf(ours, sizeof ours, "%s/%d", name, (int)getpid());
    dpdk->holder = fd;
    dpdk->holder_name = claim(ours); /* only tells: doing without is no failure */
    dpdk->local.port = port;
    return 0;
}

/* Two af_packet devices of one process on one interface: the kernel would deal its frames out between them. */
static int claim_interface(struct dpdk *dpdk) {
    char name[64];
    if (!*dpdk->settings.interface)
        return 0;
    snprintf(name, sizeof name, "insane-dpdk-interface/%s/%d", dpdk->settings.interface, (int)getpid());
    dpdk->holder_interface = claim(name);
    return dpdk->holder_interface == -EADDRINUSE ? -EBUSY : dpdk->holder_interface < 0 ? dpdk->holder_interface : 0;
}

int ins_dpdk_hold(struct dpdk *dpdk) {
    int taken = claim_interface(dpdk);
    if (taken)
        return taken;
    if (dpdk->local.port)
        return claim_port(dpdk, dpdk->local.port);
    int error = -EADDRINUSE;
    for (uint32_t i = 0; i < PORTS && error == -EADDRINUSE; i++)
        error = claim_port(dpdk, (uint16_t)(FIRST_PORT + ((uint32_t)getpid() * 7 + i) % PORTS));
    return error;
}

void ins_dpdk_let_go(struct dpdk *dpdk) {
    if (dpdk->holder >= 0)
        close(dpdk->holder);
    if (dpdk->holder_name >= 0)
        close(dpdk->holder_name);
    if (dpdk->holder_interface >= 0)
        close(dpdk->holder_interface);
    dpdk->holder = dpdk->holder_name = dpdk->holder_interface = -1;
}

int ins_dpdk_who_holds(uint32_t address, uint16_t port) {
    char name[80], line[256];
    int pid = 0, length = name_of(address, port, name, sizeof name);
    FILE *file = fopen("/proc/thread-self/net/unix", "re");
    while (file && !pid && fgets(line, sizeof line, file)) {
        const char *at = strchr(line, '@');
        if (at && strncmp(at + 1, name, (size_t)length) == 0 && at[1 + length] == '/')
            pid = atoi(at + 2 + length);
    }
    if (file)
        fclose(file);
    return pid;
}
