/* Frames as a test writes them, byte by byte, sent from the second of two hosts to the first. Only for files that include
   cmocka. */
#ifndef INSANE_TEST_RAW_LINE_H
#define INSANE_TEST_RAW_LINE_H

#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "core/datapath.h"
#include "packet/checksum.h"
#include "packet/packet.h"
#include "two_hosts.h"

struct line {
    int fd, index;
    uint8_t to[6], from[6];
};

static inline void line_open(struct line *line, const struct two_hosts *hosts) {
    stand_in(hosts->a);
    mac_of(HOST_A_INTERFACE, line->to);
    stand_in(hosts->b);
    mac_of(HOST_B_INTERFACE, line->from);
    line->index = (int)if_nametoindex(HOST_B_INTERFACE);
    line->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    assert_true(line->fd >= 0);
}

static inline void line_send(const struct line *line, const uint8_t *frame, uint32_t length) {
    struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_ifindex = line->index, .sll_halen = 6};
    assert_int_equal(sendto(line->fd, frame, length, 0, (struct sockaddr *)&at, sizeof at), length);
}

/* 100 zero bytes for `to`, in a frame that is as it should be. Returns its length. */
static inline uint32_t good_datagram(const struct line *line, struct ins_endpoint to, uint8_t *frame) {
    struct ins_packet_template t;
    struct ins_packet_local us = {.address = address_of(HOST_B_ADDRESS), .port = 99, .vlan = INS_NO_VLAN};
    memcpy(us.mac, line->from, sizeof us.mac);
    ins_packet_template(&t, &us, line->to, to.address, to.port, 0);
    memset(frame + INS_PACKET_HEADERS, 0, 100);
    ins_packet_write(&t, frame, 100);
    return INS_PACKET_HEADERS + 100;
}
static inline void mend_ip_sum(uint8_t *frame) {
    memset(frame + 24, 0, 2);
    uint16_t sum = (uint16_t)~ins_sum_fold(ins_sum(frame + 14, 20, 0));
    memcpy(frame + 24, &sum, 2);
}

#endif
