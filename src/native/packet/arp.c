/* The ARP cache and its protocol, see arp.h. We learn only what we asked for, and renew only what we already use: a
   stranger's announcements cannot fill the cache. */
#include "arp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

enum { BODY = 28, REQUEST = 1, REPLY = 2, ETHERNET = 1, SHORTEST_FRAME = 60 };

static const uint8_t broadcast[INS_MAC_BYTES] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static const uint8_t nobody[INS_MAC_BYTES];

const char *ins_arp_counter_name(enum ins_arp_counter counter) {
    static const char *const names[INS_ARP_COUNTERS] = {
        [INS_ARP_REQUESTS_SENT] = "arp_requests_sent", [INS_ARP_ANSWERED] = "arp_answered",
        [INS_ARP_LEARNED] = "arp_learned",             [INS_ARP_MALFORMED] = "arp_malformed",
        [INS_ARP_CONFLICTS] = "arp_conflicts",         [INS_ARP_UNASKED] = "arp_unasked",
        [INS_ARP_TIMEOUTS] = "arp_timeouts",           [INS_ARP_EVICTED] = "arp_evicted",
    };
    return counter < INS_ARP_COUNTERS ? names[counter] : NULL;
}

void ins_arp_init(struct ins_arp *arp, const struct ins_packet_local *local) {
    memset(arp, 0, sizeof *arp);
    arp->local = local;
    arp->next_ms = UINT64_MAX;
}

static struct ins_arp_entry *set_of(struct ins_arp *arp, uint32_t address) {
    return arp->sets[(address * 0x9e3779b1u) >> 26];
}

static struct ins_arp_entry *look(struct ins_arp *arp, uint32_t address) {
    struct ins_arp_entry *set = set_of(arp, address);
    for (uint32_t i = 0; i < INS_ARP_WAYS; i++)
        if (set[i].state != INS_ARP_FREE && set[i].address == address)
            return &set[i];
    return NULL;
}

static int waits(const struct ins_arp_entry *entry) {
    return entry->state == INS_ARP_ASKING || entry->state == INS_ARP_RENEWING;
}

static void move(struct ins_arp *arp, struct ins_arp_entry *entry, enum ins_arp_state state, uint64_t due_ms) {
    arp->waiting -= (uint32_t)waits(entry);
    entry->state = (uint8_t)state;
    entry->due_ms = due_ms;
    arp->waiting += (uint32_t)waits(entry);
    if (waits(entry) && due_ms < arp->next_ms)
        arp->next_ms = due_ms;
}

static void ask(struct ins_arp *arp, struct ins_arp_entry *entry, enum ins_arp_state state, uint64_t now_ms) {
    entry->tries = 0;
    move(arp, entry, state, now_ms);
}

static int a_host(uint32_t address) {
    uint32_t first = ntohl(address) >> 24;
    return first != 0 && first != 127 && first < 224;
}

int ins_arp_find(struct ins_arp *arp, uint32_t address, uint64_t now_ms, uint8_t *mac) {
    struct ins_arp_entry *entry = look(arp, address);
    if (!entry) {
        if (!a_host(address) || address == arp->local->address)
            return -EINVAL;
        struct ins_arp_entry *set = set_of(arp, address);
        entry = &set[0];
        for (uint32_t i = 0; i < INS_ARP_WAYS; i++) {
            if (set[i].state == INS_ARP_FREE) {
                entry = &set[i];
                break;
            }
            if (set[i].used_ms < entry->used_ms)
                entry = &set[i];
        }
        if (entry->state != INS_ARP_FREE) {
            move(arp, entry, INS_ARP_FREE, 0);
            arp->counters[INS_ARP_EVICTED]++;
        }
        entry->address = address;
        entry->used_ms = now_ms;
        ask(arp, entry, INS_ARP_ASKING, now_ms);
        return 0;
    }
    entry->used_ms = now_ms;
    switch (entry->state) {
    case INS_ARP_KNOWN:
        if (now_ms >= entry->due_ms)
            ask(arp, entry, INS_ARP_RENEWING, now_ms);
        break;
    case INS_ARP_RENEWING:
        break;
    case INS_ARP_FAILED:
        if (now_ms < entry->due_ms)
            return -EHOSTUNREACH;
        ask(arp, entry, INS_ARP_ASKING, now_ms);
        return 0;
    default:
        return 0;
    }
    memcpy(mac, entry->mac, INS_MAC_BYTES);
    return 1;
}

static void put16(uint8_t *at, uint32_t value) {
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static uint32_t write_frame(const struct ins_packet_local *local, uint8_t *frame, const uint8_t *to_mac,
                            uint32_t operation, const uint8_t *target_mac, uint32_t target) {
    uint32_t header = ins_ethernet_write(frame, local, to_mac, INS_ETHERTYPE_ARP, 0);
    uint8_t *body = frame + header;
    put16(body, ETHERNET);
    put16(body + 2, INS_ETHERTYPE_IPV4);
    body[4] = INS_MAC_BYTES;
    body[5] = 4;
    put16(body + 6, operation);
    memcpy(body + 8, local->mac, INS_MAC_BYTES);
    memcpy(body + 14, &local->address, 4);
    memcpy(body + 18, target_mac, INS_MAC_BYTES);
    memcpy(body + 24, &target, 4);
    uint32_t shortest = SHORTEST_FRAME + header - INS_ETHERNET_HEADER;
    memset(body + BODY, 0, shortest - header - BODY);
    return shortest;
}

uint32_t ins_arp_announce(const struct ins_arp *arp, uint8_t *frame) {
    return write_frame(arp->local, frame, broadcast, REQUEST, nobody, arp->local->address);
}

uint32_t ins_arp_input(struct ins_arp *arp, const uint8_t *frame, uint32_t length, uint64_t now_ms,
                       uint8_t *answer) {
    uint16_t type, tag;
    uint32_t header = ins_ethernet_read(frame, length, &type, &tag), sender, target;
    const uint8_t *body = frame + header, *mac = body + 8;
    static const uint8_t kind[] = {0, ETHERNET, INS_ETHERTYPE_IPV4 >> 8, INS_ETHERTYPE_IPV4 & 255, INS_MAC_BYTES, 4, 0};
    if (header == 0 || type != INS_ETHERTYPE_ARP || length < header + BODY || memcmp(body, kind, sizeof kind) != 0 ||
        (body[7] != REQUEST && body[7] != REPLY) || (mac[0] & 1) != 0 || memcmp(mac, nobody, INS_MAC_BYTES) == 0) {
        arp->counters[INS_ARP_MALFORMED]++;
        return 0;
    }
    memcpy(&sender, body + 14, 4);
    memcpy(&target, body + 24, 4);
    if (memcmp(mac, arp->local->mac, INS_MAC_BYTES) == 0)
        return 0; /* our own frame, reflected */
    if (sender == arp->local->address) {
        arp->counters[INS_ARP_CONFLICTS]++;
        return 0;
    }
    if (sender != 0 && !a_host(sender)) { /* 0: a probe before somebody takes the address (RFC 5227) */
        arp->counters[INS_ARP_MALFORMED]++;
        return 0;
    }
    struct ins_arp_entry *entry = sender ? look(arp, sender) : NULL;
    if (entry) {
        if (waits(entry))
            arp->counters[INS_ARP_LEARNED]++;
        memcpy(entry->mac, mac, INS_MAC_BYTES);
        move(arp, entry, INS_ARP_KNOWN, now_ms + INS_ARP_FRESH_MS);
    } else if (body[7] == REPLY)
        arp->counters[INS_ARP_UNASKED]++;
    if (body[7] != REQUEST || target != arp->local->address)
        return 0;
    arp->counters[INS_ARP_ANSWERED]++;
    return write_frame(arp->local, answer, mac, REPLY, mac, sender);
}

uint32_t ins_arp_due(struct ins_arp *arp, uint64_t now_ms, uint8_t *frame) {
    if (arp->waiting == 0)
        arp->next_ms = UINT64_MAX;
    if (now_ms < arp->next_ms)
        return 0;
    uint64_t next_ms = UINT64_MAX;
    for (uint32_t i = 0; i < INS_ARP_SETS * INS_ARP_WAYS; i++) {
        struct ins_arp_entry *entry = &arp->sets[i / INS_ARP_WAYS][i % INS_ARP_WAYS];
        if (!waits(entry))
            continue;
        if (now_ms < entry->due_ms) {
            next_ms = entry->due_ms < next_ms ? entry->due_ms : next_ms;
            continue;
        }
        if (entry->tries == INS_ARP_TRIES) {
            move(arp, entry, INS_ARP_FAILED, now_ms + INS_ARP_FAILED_MS);
            arp->counters[INS_ARP_TIMEOUTS]++;
            continue;
        }
        entry->tries++;
        entry->due_ms = now_ms + INS_ARP_RETRY_MS;
        arp->counters[INS_ARP_REQUESTS_SENT]++;
        /* Who is asked anew is asked directly first: others need not hear it. */
        int direct = entry->state == INS_ARP_RENEWING && entry->tries < INS_ARP_TRIES;
        return write_frame(arp->local, frame, direct ? entry->mac : broadcast, REQUEST, nobody, entry->address);
    }
    arp->next_ms = next_ms;
    return 0;
}
