/* The datapaths that the conformance suite runs over, see conformance_media.h. */
#include "conformance_media.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>

#include "core/wire.h"
#include "two_hosts.h"

static struct two_hosts hosts;

static int hosts_of(uint32_t mtu) {
    int error = two_hosts_open(&hosts, mtu, 1);
    if (error)
        printf("skipped: %s\n", error == -EPERM ? "needs root for network namespaces" : "no network namespaces here");
    return error;
}
static int plain(const struct medium *medium) {
    (void)medium;
    return hosts_of(1500);
}
static int jumbo(const struct medium *medium) {
    (void)medium;
    return hosts_of(9000);
}
static void end_hosts(const struct medium *medium) {
    (void)medium;
    two_hosts_close(&hosts);
}

/* Ends on two hosts, joined by a veth pair of that MTU; as root. An interface has room for one endpoint of xdp, so the
   third one is udp. */
#define HOSTS .address = {HOST_A_ADDRESS, HOST_B_ADDRESS}, .host = {&hosts.a, &hosts.b}, .tear_down = end_hosts
#define PLAIN HOSTS, .set_up = plain
#define JUMBO HOSTS, .set_up = jumbo
#define LOOPBACK .address = {"127.0.0.1", "127.0.0.1"}
#define ON_BOTH(text) {text, text}
/* DPDK's addresses are its own: the kernel must not have them. */
#define BESIDE_KERNEL                                                                                                  \
    .address = {"10.91.0.11", "10.91.0.12"}, .host = {&hosts.a, &hosts.b}, .tear_down = end_hosts,                     \
    .fellow = &udp_beside, .probe = "address=10.91.0.11,interface=" HOST_A_INTERFACE
#define ON_INTERFACES(text) {"interface=" HOST_A_INTERFACE text, "interface=" HOST_B_INTERFACE text}
static const struct medium udp_beside = {"udp", ON_BOTH(""), .largest = 1424, .bytes = 65536, HOSTS};

static const struct medium media[] = {
    {"udp", ON_BOTH(""), LOOPBACK, .largest = INS_WIRE_MAX_PAYLOAD, .bytes = 65536},
    {"udp", ON_BOTH(""), PLAIN, .largest = INS_WIRE_MAX_PAYLOAD, .bytes = 65536}, /* the kernel fragments and joins */
    {"xdp", ON_BOTH(""), PLAIN, .largest = 1424, .bytes = 4032, .fellow = &udp_beside},
    {"xdp", ON_BOTH("mtu=9000"), JUMBO, .largest = 8924, .bytes = 16320, .fellow = &udp_beside},
    {"xdp", ON_BOTH("mode=skb"), PLAIN, .largest = 1424, .bytes = 4032, .fellow = &udp_beside},
    {"xdp", ON_BOTH("mode=skb,mtu=9000"), JUMBO, .largest = 8924, .bytes = 16320, .fellow = &udp_beside},
    {"dpdk", ON_INTERFACES(""), BESIDE_KERNEL, .set_up = plain, .largest = 1424, .bytes = 65536},
    {"dpdk", ON_INTERFACES(",checksum=full"), BESIDE_KERNEL, .set_up = jumbo, .largest = 8924, .bytes = 65536},
    {"rdma", ON_BOTH("provider=net"), LOOPBACK, .largest = INS_WIRE_MAX_PAYLOAD, .bytes = 65536, .probe = "net"},
    {"rdma", ON_BOTH("provider=tcp;ofi_rxm"), LOOPBACK, .largest = INS_WIRE_MAX_PAYLOAD, .bytes = 65536,
     .probe = "tcp;ofi_rxm",
     .stops_in_flood = "libfabric 1.17 leaves its TCP socket unread though receives are posted (decision 80)"},
    {"faulty", ON_BOTH("of=udp"), LOOPBACK, .largest = INS_WIRE_MAX_PAYLOAD, .bytes = 65536},
    /* Everything goes through the copies in which datagrams wait. */
    {"faulty", ON_BOTH("of=udp,delay_us=1"), LOOPBACK, .largest = INS_WIRE_MAX_PAYLOAD, .bytes = 65536},
    {"faulty", ON_BOTH("of=xdp"), PLAIN, .largest = 1424, .bytes = 4032, .fellow = &udp_beside},
};

const struct medium *conformance_medium(uint32_t index) {
    return index < sizeof media / sizeof *media ? &media[index] : NULL;
}

void conformance_stand(const struct medium *medium, int side) {
    if (medium->host[side])
        stand_in(*medium->host[side]);
}
