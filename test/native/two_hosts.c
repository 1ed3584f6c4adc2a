/* Sets the two hosts up and takes them down, see two_hosts.h. */
#include "two_hosts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static void must(int good, const char *what) {
    if (good)
        return;
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    abort();
}

static int here(void) {
    return open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
}

void stand_in(int host) {
    must(setns(host, CLONE_NEWNET) == 0, "setns");
}

int shell(const char *format, ...) {
    char command[512], quiet[600];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(command, sizeof command, format, arguments);
    va_end(arguments);
    snprintf(quiet, sizeof quiet, "%s >/dev/null 2>&1", command);
    int status = system(quiet);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The kernel takes a moment to notice that a pair is up, and drops what is sent before. */
static int carries(const char *interface_name) {
    for (int looks = 0; looks < 2000; looks++) {
        if (shell("ip link show dev %s | grep -q 'state UP'", interface_name) == 0)
            return 1;
        usleep(5000);
    }
    return 0;
}

static int set_up(struct two_hosts *hosts, uint32_t mtu, uint32_t queues) {
    stand_in(hosts->a);
    if (shell("ip link add " HOST_A_INTERFACE " mtu %u numrxqueues %u numtxqueues %u type veth peer name "
              HOST_B_INTERFACE " mtu %u numrxqueues %u numtxqueues %u", mtu, queues, queues, mtu, queues, queues) ||
        shell("ip link set " HOST_B_INTERFACE " netns /proc/%d/fd/%d", (int)getpid(), hosts->b) ||
        shell("ip addr add " HOST_A_ADDRESS "/24 dev " HOST_A_INTERFACE) || shell("ip link set lo up") ||
        shell("ip link set " HOST_A_INTERFACE " up"))
        return -EIO;
    stand_in(hosts->b);
    if (shell("ip addr add " HOST_B_ADDRESS "/24 dev " HOST_B_INTERFACE) || shell("ip link set lo up") ||
        shell("ip link set " HOST_B_INTERFACE " up"))
        return -EIO;
    int good = carries(HOST_B_INTERFACE);
    stand_in(hosts->a);
    return good && carries(HOST_A_INTERFACE) ? 0 : -EIO;
}

int two_hosts_open(struct two_hosts *hosts, uint32_t mtu, uint32_t queues) {
    *hosts = (struct two_hosts){-1, -1, -1};
    if (geteuid() != 0)
        return -EPERM;
    hosts->home = here();
    if (unshare(CLONE_NEWNET) != 0)
        return errno == EPERM ? -EPERM : -errno;
    hosts->a = here();
    must(unshare(CLONE_NEWNET) == 0, "unshare");
    hosts->b = here();
    must(hosts->home >= 0 && hosts->a >= 0 && hosts->b >= 0, "/proc/thread-self/ns/net");
    int error = set_up(hosts, mtu, queues);
    if (error) {
        fprintf(stderr, "the veth pair could not be set up: is iproute2 there?\n");
        two_hosts_close(hosts);
    }
    return error;
}

void two_hosts_close(struct two_hosts *hosts) {
    if (hosts->home < 0)
        return;
    stand_in(hosts->a);
    shell("ip link del " HOST_A_INTERFACE);
    stand_in(hosts->home);
    close(hosts->home);
    close(hosts->a);
    close(hosts->b);
    *hosts = (struct two_hosts){-1, -1, -1};
}

uint32_t address_of(const char *text) {
    struct in_addr address;
    must(inet_pton(AF_INET, text, &address) == 1, text);
    return address.s_addr;
}

int kernel_udp(const char *address, uint16_t port) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = address_of(address)};
    struct timeval patience = {.tv_sec = 2};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    must(fd >= 0, "socket");
    must(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0, "SO_RCVTIMEO");
    must(bind(fd, (struct sockaddr *)&at, sizeof at) == 0, "bind");
    return fd;
}

uint16_t port_of(int fd) {
    struct sockaddr_in at;
    socklen_t length = sizeof at;
    must(getsockname(fd, (struct sockaddr *)&at, &length) == 0, "getsockname");
    return ntohs(at.sin_port);
}

void mac_of(const char *interface_name, uint8_t *mac) {
    struct ifreq request = {0};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    must(fd >= 0, "socket");
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", interface_name);
    must(ioctl(fd, SIOCGIFHWADDR, &request) == 0, interface_name);
    memcpy(mac, request.ifr_hwaddr.sa_data, 6);
    close(fd);
}
