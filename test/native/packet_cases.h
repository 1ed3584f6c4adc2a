/* Hosts and datagrams that the packet tests share. */
#ifndef INSANE_TEST_PACKET_CASES_H
#define INSANE_TEST_PACKET_CASES_H

#include <string.h>

#include "packet/checksum.h"
#include "packet/packet.h"
#include "two_hosts.h"

enum { FRAME = 2048 };
static const uint8_t mac_a[6] = {2, 0, 0, 0, 0x0a, 1}, mac_b[6] = {2, 0, 0, 0, 0x0b, 2};

static inline struct ins_packet_local local_at(const char *address, uint16_t port, const uint8_t *mac) {
    struct ins_packet_local local = {.address = address_of(address), .port = port, .vlan = INS_NO_VLAN};
    memcpy(local.mac, mac, 6);
    return local;
}

static inline uint32_t write_datagram(uint8_t *frame, const struct ins_packet_local *from, const struct ins_packet_local *to,
                               uint32_t length, uint32_t priority, int full) {
    struct ins_packet_template t;
    ins_packet_template(&t, from, to->mac, to->address, to->port, priority);
    for (uint32_t i = 0; i < length; i++)
        frame[t.length + i] = (uint8_t)(i * 7 + length);
    ins_packet_write(&t, frame, length);
    if (full)
        ins_packet_checksum(&t, frame, ins_sum(frame + t.length, length, 0));
    return t.length + length;
}

#endif
