/* Two network namespaces joined by a veth pair, which stand for two hosts. They have no names: they vanish with the
   process, however it ends. One thread; what it opens belongs to the host that it stands in. */
#ifndef INSANE_TEST_TWO_HOSTS_H
#define INSANE_TEST_TWO_HOSTS_H

#include <stdint.h>

#define HOST_A_INTERFACE "ixd0"
#define HOST_B_INTERFACE "ixd1"
#define HOST_A_ADDRESS "10.91.0.1"
#define HOST_B_ADDRESS "10.91.0.2"

struct two_hosts {
    int home, a, b; /* namespaces */
};

/* 0; -EPERM when not root (skip); else -errno with a line on standard error. `queues` of each end. */
int two_hosts_open(struct two_hosts *hosts, uint32_t mtu, uint32_t queues);
void two_hosts_close(struct two_hosts *hosts);
/* Moves the calling thread. */
void stand_in(int host);
/* Runs a command of the shell where we stand, silently. Returns its exit code. */
int shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A UDP socket bound to address and port (0: any) where we stand; receives wait at most 2 s. */
int kernel_udp(const char *address, uint16_t port);
uint16_t port_of(int fd);
uint32_t address_of(const char *text);
/* MAC address of an interface where we stand. */
void mac_of(const char *interface_name, uint8_t *mac);

#endif
