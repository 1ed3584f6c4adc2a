/* Ethernet, IPv4 and UDP for datapaths that bypass the kernel: one parser of what arrives, one writer of what leaves.
   Pure: no clock, no I/O, no memory of their own; reads never pass the length given. ARP is in arp.h. */
#ifndef INSANE_PACKET_H
#define INSANE_PACKET_H

#include <stdint.h>

enum {
    INS_MAC_BYTES = 6,
    INS_ETHERNET_HEADER = 14,
    INS_VLAN_TAG = 4,
    INS_IPV4_HEADER = 20,
    INS_UDP_HEADER = 8,
    INS_PACKET_HEADERS = INS_ETHERNET_HEADER + INS_IPV4_HEADER + INS_UDP_HEADER,
    INS_PACKET_MAX_HEADERS = INS_PACKET_HEADERS + INS_VLAN_TAG,
    INS_NO_VLAN = 0xffff,
};

/* One end of UDP over IPv4 over Ethernet: who we are, and what our port is like. */
struct ins_packet_local {
    uint32_t address; /* IPv4, network order */
    uint16_t port;    /* host order */
    uint16_t vlan;    /* the VLAN we are in, 1 to 4094, or INS_NO_VLAN */
    uint8_t mac[INS_MAC_BYTES];
    /* The port is a virtual device: senders on this host leave only the pseudo-header's sum in the UDP checksum (it
       was meant for hardware that is not there), so that is accepted. Never set it for a device with a wire. */
    uint8_t virtual_device;
};

/* What a frame turned out to be. From INS_PACKET_SHORT on: dropped, and counted by kind. */
enum ins_packet_kind {
    INS_PACKET_DATAGRAM = 0,
    INS_PACKET_ARP,
    INS_PACKET_SHORT,       /* cut short before its headers end */
    INS_PACKET_OTHER,       /* a protocol, an address or a port that is not ours */
    INS_PACKET_IPV6,        /* not spoken; said apart because somebody will ask */
    INS_PACKET_BAD_VLAN,    /* tagged for a VLAN that we are not in */
    INS_PACKET_BAD_IP,      /* version, header length or total length */
    INS_PACKET_BAD_IP_SUM,
    INS_PACKET_EXPIRED,     /* time to live 0 */
    INS_PACKET_FRAGMENT,    /* of an IP datagram: we send none, the kernel reassembles none for us */
    INS_PACKET_BAD_UDP,     /* the length lies, or the source port is 0 */
    INS_PACKET_BAD_UDP_SUM,
    INS_PACKET_KINDS
};

/* A datagram for us, where it lies in its frame. */
struct ins_packet {
    uint32_t from_address;   /* network order */
    uint16_t from_port;      /* host order */
    uint16_t priority;       /* of the VLAN tag (IEEE 802.1Q PCP), 0 without one */
    uint32_t payload_offset; /* from the start of the frame */
    uint32_t payload_length;
};

/* `out` is filled in for INS_PACKET_DATAGRAM only. */
enum ins_packet_kind ins_packet_parse(const struct ins_packet_local *local, const uint8_t *frame, uint32_t length,
                                      struct ins_packet *out);
/* Static, for counters: "rx_short", "rx_ipv6", ... NULL for the first two, which are no faults. */
const char *ins_packet_kind_name(enum ins_packet_kind kind);

/* All headers towards one destination, so that a datagram costs a copy and two lengths. */
struct ins_packet_template {
    uint8_t headers[INS_PACKET_MAX_HEADERS];
    uint8_t ethernet_length; /* 14, or 18 with a tag */
    uint8_t length;          /* of all headers */
    uint32_t ip_sum;         /* of the IP header with length and checksum 0 */
    uint32_t pseudo_sum;     /* of the UDP pseudo-header without its length */
};

/* `to_address` network order, `to_port` host order. `priority` 0 to 7 (IEEE 802.1Q PCP): a tag is written when it is
   not 0 or when `local` is in a VLAN (without one, VLAN 0: a priority tag). */
void ins_packet_template(struct ins_packet_template *out, const struct ins_packet_local *local,
                         const uint8_t *to_mac, uint32_t to_address, uint16_t to_port, uint32_t priority);
/* The same without a priority, and, unless `tagged` is NULL, with one of any value (ins_packet_prioritise). */
void ins_packet_templates(struct ins_packet_template *plain, struct ins_packet_template *tagged,
                          const struct ins_packet_local *local, const uint8_t *to_mac, uint32_t to_address,
                          uint16_t to_port);
/* Writes the headers at the start of `frame`, whose payload is or will be behind them. The UDP checksum is 0 ("none",
   RFC 768): right where corruption cannot happen. The datagram must fit 65535 bytes. */
void ins_packet_write(const struct ins_packet_template *t, uint8_t *frame, uint32_t payload_length);
/* Then, where the template has a tag: its priority, the upper three bits behind the addresses and the tag's type. */
static inline void ins_packet_prioritise(uint8_t *frame, uint32_t priority) {
    uint8_t *tag = frame + 2 * INS_MAC_BYTES + 2;
    *tag = (uint8_t)((*tag & 0x1fu) | priority << 5);
}
/* Then makes the checksum a full one. `payload_sum`: ins_sum of the payload, from 0 (checksum.h). */
void ins_packet_checksum(const struct ins_packet_template *t, uint8_t *frame, uint64_t payload_sum);

/* Writes an Ethernet header of `local`, tagged when it is in a VLAN. Returns its length. */
uint32_t ins_ethernet_write(uint8_t *frame, const struct ins_packet_local *local, const uint8_t *to_mac,
                            uint16_t type, uint32_t priority);
/* Reads one, with or without a tag. Returns its length, or 0 when it is cut short. `tag` gets the tag control
   information, or 0. */
uint32_t ins_ethernet_read(const uint8_t *frame, uint32_t length, uint16_t *type, uint16_t *tag);

enum { INS_ETHERTYPE_IPV4 = 0x0800, INS_ETHERTYPE_ARP = 0x0806, INS_ETHERTYPE_VLAN = 0x8100, INS_ETHERTYPE_IPV6 = 0x86dd };

#endif
