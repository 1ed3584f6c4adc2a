/* Parsing and writing of frames, see packet.h. Offsets are those of RFC 791 (IPv4) and RFC 768 (UDP). */
#include "packet.h"

#include <arpa/inet.h>
#include <string.h>

#include "checksum.h"

enum { UDP = 17, TIME_TO_LIVE = 64, MORE_FRAGMENTS_OR_OFFSET = 0x3fff, DO_NOT_FRAGMENT = 0x4000 };

static uint16_t get16(const uint8_t *at) {
    return (uint16_t)(at[0] << 8 | at[1]);
}
static void put16(uint8_t *at, uint32_t value) {
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}
static uint32_t raw32(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}
static uint16_t raw16(const uint8_t *at) {
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static int same_mac(const uint8_t *a, const uint8_t *b) {
    return ((raw32(a) ^ raw32(b)) | (uint32_t)(raw16(a + 4) ^ raw16(b + 4))) == 0;
}
/* All but a few headers have no options: five words, without a loop. */
static uint16_t header_sum(const uint8_t *ip, uint32_t length) {
    if (length != INS_IPV4_HEADER)
        return ins_sum_fold(ins_sum(ip, length, 0));
    return ins_sum_fold((uint64_t)raw32(ip) + raw32(ip + 4) + raw32(ip + 8) + raw32(ip + 12) + raw32(ip + 16));
}

const char *ins_packet_kind_name(enum ins_packet_kind kind) {
    static const char *const names[INS_PACKET_KINDS] = {
        [INS_PACKET_SHORT] = "rx_short",           [INS_PACKET_OTHER] = "rx_other",
        [INS_PACKET_IPV6] = "rx_ipv6",             [INS_PACKET_BAD_VLAN] = "rx_bad_vlan",
        [INS_PACKET_BAD_IP] = "rx_bad_ip",         [INS_PACKET_BAD_IP_SUM] = "rx_bad_ip_checksum",
        [INS_PACKET_EXPIRED] = "rx_expired",       [INS_PACKET_FRAGMENT] = "rx_ip_fragment",
        [INS_PACKET_BAD_UDP] = "rx_bad_udp",       [INS_PACKET_BAD_UDP_SUM] = "rx_bad_udp_checksum",
    };
    return kind < INS_PACKET_KINDS ? names[kind] : NULL;
}

uint32_t ins_ethernet_read(const uint8_t *frame, uint32_t length, uint16_t *type, uint16_t *tag) {
    *tag = 0;
    if (length < INS_ETHERNET_HEADER)
        return 0;
    *type = get16(frame + 12);
    if (*type != INS_ETHERTYPE_VLAN)
        return INS_ETHERNET_HEADER;
    if (length < INS_ETHERNET_HEADER + INS_VLAN_TAG)
        return 0;
    *tag = get16(frame + 14);
    *type = get16(frame + 16);
    return INS_ETHERNET_HEADER + INS_VLAN_TAG;
}

/* A checksum of 0 says that there is none; else it is full, or the sum that a sender left to its device. */
static int udp_sum_good(const struct ins_packet_local *local, const uint8_t *ip, const uint8_t *udp, uint32_t length) {
    uint16_t given = raw16(udp + 6);
    if (given == 0)
        return 1;
    uint64_t pseudo = ins_sum(ip + 12, 8, htons(UDP));
    pseudo += htons((uint16_t)length);
    if (local->virtual_device && given == ins_sum_fold(pseudo))
        return 1;
    return ins_sum_fold(ins_sum(udp, length, pseudo)) == 0xffff;
}

enum ins_packet_kind ins_packet_parse(const struct ins_packet_local *local, const uint8_t *frame, uint32_t length,
                                      struct ins_packet *out) {
    uint16_t type, tag;
    uint32_t at = ins_ethernet_read(frame, length, &type, &tag);
    if (at == 0)
        return INS_PACKET_SHORT;
    /* VLAN 0 is no VLAN but a priority. */
    uint32_t vlan = tag & 0xfffu;
    if (vlan != 0 ? vlan != local->vlan : local->vlan != INS_NO_VLAN)
        return INS_PACKET_BAD_VLAN;
    if (type == INS_ETHERTYPE_ARP)
        return INS_PACKET_ARP;
    if (type != INS_ETHERTYPE_IPV4)
        return type == INS_ETHERTYPE_IPV6 ? INS_PACKET_IPV6 : INS_PACKET_OTHER;
    if (length < at + INS_IPV4_HEADER)
        return INS_PACKET_SHORT;

    const uint8_t *ip = frame + at;
    uint32_t header = (ip[0] & 15u) * 4, total = get16(ip + 2);
    if (ip[0] >> 4 != 4 || header < INS_IPV4_HEADER || total < header)
        return INS_PACKET_BAD_IP;
    if (length < at + header)
        return INS_PACKET_SHORT;
    if (!same_mac(frame, local->mac) || raw32(ip + 16) != local->address || ip[9] != UDP)
        return INS_PACKET_OTHER;
    if (total > length - at) /* longer is right: short frames are padded */
        return INS_PACKET_BAD_IP;
    if (header_sum(ip, header) != 0xffff)
        return INS_PACKET_BAD_IP_SUM;
    if (ip[8] == 0)
        return INS_PACKET_EXPIRED;
    if (get16(ip + 6) & MORE_FRAGMENTS_OR_OFFSET)
        return INS_PACKET_FRAGMENT;
    if (total < header + INS_UDP_HEADER)
        return INS_PACKET_BAD_UDP;

    const uint8_t *udp = ip + header;
    uint32_t udp_length = get16(udp + 4);
    if (get16(udp + 2) != local->port)
        return INS_PACKET_OTHER;
    if (udp_length < INS_UDP_HEADER || udp_length > total - header || get16(udp) == 0)
        return INS_PACKET_BAD_UDP;
    if (!udp_sum_good(local, ip, udp, udp_length))
        return INS_PACKET_BAD_UDP_SUM;

    out->from_address = raw32(ip + 12);
    out->from_port = get16(udp);
    out->priority = tag >> 13;
    out->payload_offset = at + header + INS_UDP_HEADER;
    out->payload_length = udp_length - INS_UDP_HEADER;
    return INS_PACKET_DATAGRAM;
}

uint32_t ins_ethernet_write(uint8_t *frame, const struct ins_packet_local *local, const uint8_t *to_mac,
                            uint16_t type, uint32_t priority) {
    memcpy(frame, to_mac, INS_MAC_BYTES);
    memcpy(frame + INS_MAC_BYTES, local->mac, INS_MAC_BYTES);
    uint8_t *at = frame + 2 * INS_MAC_BYTES;
    if (local->vlan != INS_NO_VLAN || priority != 0) {
        put16(at, INS_ETHERTYPE_VLAN);
        put16(at + 2, (priority & 7u) << 13 | (local->vlan == INS_NO_VLAN ? 0 : local->vlan));
        at += INS_VLAN_TAG;
    }
    put16(at, type);
    return (uint32_t)(at + 2 - frame);
}

void ins_packet_template(struct ins_packet_template *out, const struct ins_packet_local *local,
                         const uint8_t *to_mac, uint32_t to_address, uint16_t to_port, uint32_t priority) {
    memset(out, 0, sizeof *out);
    out->ethernet_length =
        (uint8_t)ins_ethernet_write(out->headers, local, to_mac, INS_ETHERTYPE_IPV4, priority);
    uint8_t *ip = out->headers + out->ethernet_length, *udp = ip + INS_IPV4_HEADER;
    ip[0] = 0x45;
    put16(ip + 6, DO_NOT_FRAGMENT); /* hence the identification may be 0 in all of them (RFC 6864) */
    ip[8] = TIME_TO_LIVE;
    ip[9] = UDP;
    memcpy(ip + 12, &local->address, 4);
    memcpy(ip + 16, &to_address, 4);
    put16(udp, local->port);
    put16(udp + 2, to_port);
    out->length = (uint8_t)(out->ethernet_length + INS_IPV4_HEADER + INS_UDP_HEADER);
    out->ip_sum = ins_sum_fold(ins_sum(ip, INS_IPV4_HEADER, 0));
    out->pseudo_sum = ins_sum_fold(ins_sum(ip + 12, 8, htons(UDP)));
}

void ins_packet_templates(struct ins_packet_template *plain, struct ins_packet_template *tagged,
                          const struct ins_packet_local *local, const uint8_t *to_mac, uint32_t to_address,
                          uint16_t to_port) {
    enum { ANY_PRIORITY = 1 };
    ins_packet_template(plain, local, to_mac, to_address, to_port, 0);
    if (tagged)
        ins_packet_template(tagged, local, to_mac, to_address, to_port, ANY_PRIORITY);
}

void ins_packet_write(const struct ins_packet_template *t, uint8_t *frame, uint32_t payload_length) {
    if (t->length == INS_PACKET_HEADERS)
        memcpy(frame, t->headers, INS_PACKET_HEADERS); /* a constant: a few stores */
    else
        memcpy(frame, t->headers, INS_PACKET_MAX_HEADERS);
    uint8_t *ip = frame + t->ethernet_length, *udp = ip + INS_IPV4_HEADER;
    uint16_t udp_length = htons((uint16_t)(INS_UDP_HEADER + payload_length));
    uint16_t total = htons((uint16_t)(INS_IPV4_HEADER + INS_UDP_HEADER + payload_length));
    uint16_t ip_sum = (uint16_t)~ins_sum_fold((uint64_t)t->ip_sum + total);
    memcpy(ip + 2, &total, 2);
    memcpy(ip + 10, &ip_sum, 2);
    memcpy(udp + 4, &udp_length, 2);
}

void ins_packet_checksum(const struct ins_packet_template *t, uint8_t *frame, uint64_t payload_sum) {
    uint8_t *udp = frame + t->ethernet_length + INS_IPV4_HEADER;
    /* Once as part of the pseudo-header, once as it is in the header, whose checksum is still 0. */
    uint64_t sum = payload_sum + t->pseudo_sum + raw16(udp + 4);
    uint16_t checksum = (uint16_t)~ins_sum_fold(ins_sum(udp, INS_UDP_HEADER, sum));
    checksum = checksum ? checksum : 0xffff; /* 0 would say that there is none */
    memcpy(udp + 6, &checksum, 2);
}
