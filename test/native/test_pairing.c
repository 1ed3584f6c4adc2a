/* Hosts with different datapaths understand each other: every pairing of what speaks UDP over IPv4, both directions at
   once, small and jumbo, with engines on threads of their own. Nothing may be lost, doubled or out of order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine_harness.h"
#include "two_hosts.h"

enum { MESSAGES = 6000, FIRST_MESSAGES = 100, TAG = 1, CHANNEL = 2, PEER = 3, EXIT = 1, ENTRANCE = 2 };

/* Messages under way in one direction. What arrives while an engine does not run finds the slots that it has put up: of 256
   those that are not with the application, or on their way back, or fewer than 16 not put up yet. A jumbo takes three. */
enum { SMALL_WINDOW = 64, JUMBO_WINDOW = 40, DRIVERS_BURST = 64 };

struct technology {
    const char *name, *options[2];
    uint32_t receive_bytes;
    const char *address[2];
};
#define THE_KERNELS {HOST_A_ADDRESS, HOST_B_ADDRESS}
/* DPDK's addresses are its own. Its frames hold the trains that a kernel sender hands over whole on a virtual link. */
#define DPDK(more)                                                                                                     \
    {"dpdk", {"interface=" HOST_A_INTERFACE more, "interface=" HOST_B_INTERFACE more}, 65536, {"10.91.0.11", "10.91.0.12"}}
#define GENERIC(more, bytes) {"xdp", {"mode=skb" more, "mode=skb" more}, bytes, THE_KERNELS}
/* One whose frames hold no trains, and whose endpoint says so. */
#define DPDK_SINGLY                                                                                                    \
    {"dpdk",                                                                                                           \
     {"device=net_af_packet_a,iface=" HOST_A_INTERFACE, "device=net_af_packet_b,iface=" HOST_B_INTERFACE},             \
     65536,                                                                                                            \
     {"10.91.0.11", "10.91.0.12"}}
enum { TECHNOLOGIES = 4 };
static const struct technology small[TECHNOLOGIES] = {
    {"udp", {"", ""}, 65536, THE_KERNELS}, {"xdp", {"", ""}, 4032, THE_KERNELS}, GENERIC("", 4032), DPDK("")};
static const struct technology jumbo[TECHNOLOGIES] = {
    {"udp", {"", ""}, 65536, THE_KERNELS}, {"xdp", {"mtu=9000", "mtu=9000"}, 16320, THE_KERNELS}, GENERIC(",mtu=9000", 16320),
    DPDK(",checksum=full")};

/* Each way, in one pairing. */
static uint64_t messages;

struct host {
    struct node node;
    struct exit_link exit;
    struct entrance entrance;
    uint64_t sent, received;
};

static void host_open(struct host *host, int where, const struct technology *technology, int side) {
    struct ins_engine_config config = node_config();
    config.receive_bytes = technology->receive_bytes;
    stand_in(where);
    node_open_at(&host->node, &config, technology->name, technology->options[side],
                 address_of(technology->address[side]));
    host->sent = host->received = 0;
}

static void host_link(struct host *host, uint32_t largest) {
    struct node *node = &host->node;
    exit_open(&host->exit, node, EXIT, TAG, 32, 48, largest);
    entrance_open(&host->entrance, node, ENTRANCE, 256);
    node_do(node, ins_engine_add_source(node->engine, EXIT, 0, 9, 0, CHANNEL));
    node_do(node, ins_engine_subscribe(node->engine, ENTRANCE, TAG, CHANNEL, 0));
}

/* doubled: datagrams that may come twice. DPDK's af_packet driver says that it took none of a burst when its call to the
   kernel fails, and leaves the frames in its ring: they leave with the next call, and again because we send them again. */
static void host_close(struct host *host, uint64_t doubled) {
    exit_close(&host->exit, &host->node);
    assert_int_equal(host->exit.returned[INS_STATUS_DONE], messages);
    entrance_close(&host->entrance, &host->node);
    assert_int_equal(node_count(&host->node, INS_COUNT_rx_lost), 0);
    assert_true(node_count(&host->node, INS_COUNT_rx_late) <= doubled);
    node_close(&host->node);
}

static void send_some(struct host *from, const struct host *to, uint32_t largest) {
    uint32_t window = largest > 1500 ? JUMBO_WINDOW : SMALL_WINDOW;
    /* Runs of one size, which leave as trains where there are trains, and sizes that change. */
    while (from->sent < messages && from->sent - to->received < window) {
        uint64_t number = from->sent;
        uint32_t length = number / 500 % 2 ? 8 + (uint32_t)(number * 37 % (largest - 7)) : number / 1000 % 2 ? largest : 64;
        if (!exit_send(&from->exit, &from->node, 0, 0, length, number))
            return;
        from->sent++;
    }
}

static void take_some(struct host *host) {
    struct ins_descriptor d[32];
    int count = entrance_take(&host->entrance, &host->node, d, 32);
    for (int i = 0; i < count; i++) {
        assert_int_equal(entrance_mark(&host->node, &d[i]), host->received++);
        entrance_give(&host->entrance, &host->node, &d[i]);
    }
}

static void pair(const struct two_hosts *hosts, const struct technology *of_a, const struct technology *of_b) {
    static struct host a, b;
    host_open(&a, hosts->a, of_a, 0);
    host_open(&b, hosts->b, of_b, 1);
    /* The smaller of the two ends' largest datagrams is what control would agree on. */
    uint32_t mtu = a.node.at.mtu < b.node.at.mtu ? a.node.at.mtu : b.node.at.mtu;
    uint32_t largest = mtu - 28 - INS_WIRE_HEADER;
    node_introduce(&a.node, &b.node, PEER);
    host_link(&a, largest);
    host_link(&b, largest);
    node_do(&a.node, ins_engine_add_route(a.node.engine, TAG, CHANNEL, PEER));
    node_do(&b.node, ins_engine_add_route(b.node.engine, TAG, CHANNEL, PEER));
    HARNESS_UNTIL(a.received == messages && b.received == messages, &a.node, &b.node) {
        send_some(&a, &b, largest);
        send_some(&b, &a, largest);
        take_some(&a);
        take_some(&b);
    }
    host_close(&a, strcmp(of_b->name, "dpdk") ? 0 : DRIVERS_BURST);
    host_close(&b, strcmp(of_a->name, "dpdk") ? 0 : DRIVERS_BURST);
}

static struct two_hosts hosts_of(uint32_t mtu) {
    struct two_hosts hosts;
    int error = two_hosts_open(&hosts, mtu, 1);
    if (error == -EPERM) {
        print_message("needs root for network namespaces\n");
        skip();
    }
    assert_int_equal(error, 0);
    return hosts;
}

static void every_pairing(uint32_t mtu, const struct technology *technologies) {
    struct two_hosts hosts = hosts_of(mtu);
    messages = MESSAGES;
    for (uint32_t i = 0; i < TECHNOLOGIES; i++)
        for (uint32_t k = 0; k < TECHNOLOGIES; k++) {
            const struct technology *of_a = &technologies[i], *of_b = &technologies[k];
            print_message("%s %s with %s %s\n", of_a->name, of_a->options[0], of_b->name, of_b->options[1]);
            if (ins_datapath_flags(of_a->name) < 0 || ins_datapath_flags(of_b->name) < 0)
                print_message("skipped: not built here\n");
            else
                pair(&hosts, of_a, of_b);
        }
    two_hosts_close(&hosts);
}

static void every_pairing_exchanges_small_datagrams(void **state) {
    (void)state;
    every_pairing(1500, small);
}

static void every_pairing_exchanges_jumbo_datagrams(void **state) {
    (void)state;
    every_pairing(9000, jumbo);
}

static void a_device_whose_frames_hold_no_trains_gets_none(void **state) {
    (void)state;
    static const struct technology singly = DPDK_SINGLY;
    const struct technology *udp = &small[0];
    struct two_hosts hosts = hosts_of(1500);
    if (ins_datapath_flags("dpdk") < 0) {
        two_hosts_close(&hosts);
        print_message("skipped: not built here\n");
        skip();
    }
    messages = MESSAGES;
    pair(&hosts, udp, &singly);
    pair(&hosts, &singly, udp);
    two_hosts_close(&hosts);
}

/* DPDK's address is resolved by the kernel at the other end when something is first sent there: each time anew. */
static void what_begins_with_a_burst_to_an_address_not_resolved_yet_arrives_in_order(void **state) {
    (void)state;
    enum { ROUNDS = 30 };
    const struct technology *udp = &small[0], *dpdk = &small[TECHNOLOGIES - 1];
    struct two_hosts hosts = hosts_of(1500);
    if (ins_datapath_flags("dpdk") < 0) {
        two_hosts_close(&hosts);
        print_message("skipped: not built here\n");
        skip();
    }
    messages = FIRST_MESSAGES;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        stand_in(hosts.a);
        assert_int_equal(shell("ip neigh flush dev " HOST_A_INTERFACE), 0);
        pair(&hosts, udp, dpdk);
    }
    two_hosts_close(&hosts);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_begins_with_a_burst_to_an_address_not_resolved_yet_arrives_in_order),
        cmocka_unit_test(a_device_whose_frames_hold_no_trains_gets_none),
        cmocka_unit_test(every_pairing_exchanges_small_datagrams),
        cmocka_unit_test(every_pairing_exchanges_jumbo_datagrams),
    };
    return cmocka_run_group_tests_name("pairing", tests, NULL, NULL);
}
