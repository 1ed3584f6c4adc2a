/* AF_XDP as the raw peers need it: queue 0 of the interface that has LOCAL, a filter for one UDP port, the peer's address
   from the kernel's neighbour table. One socket receives and another sends on the same memory: in one that does both, as
   programs usually have it, the two directions share cache lines in the kernel. Set-up only; the loops are the programs' own. */
#ifndef BENCH_XDP_SOCKET_H
#define BENCH_XDP_SOCKET_H

#include "measure.h"

#include <ifaddrs.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <linux/if_xdp.h>
#include <net/if.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define CHUNK 4096u
#define RING 2048u
/* Chunks 0 to RING - 1 are received into, those behind are sent from. */
#define CHUNKS (2 * RING)
#define HEADERS 42u
/* The most that a chunk holds of a payload, the kernel's own room and all headers taken off. */
#define MAX_XDP_PAYLOAD (CHUNK - 256 - HEADERS)

struct ring {
    uint32_t *producer, *consumer, *flags;
    void *entries;
    uint32_t index; /* our end */
};

struct xdp_mode {
    bool generic, one_socket;
};

struct xdp {
    int fd, sender;
    struct ring rx, fill, tx, completion;
    uint8_t *umem;
    uint8_t headers[HEADERS]; /* towards the peer, for payloads of the one length */
};

static inline uint32_t acquire(const uint32_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
static inline void release(uint32_t *word, uint32_t value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }
static inline uint64_t *address_at(struct ring *r, uint32_t i) { return (uint64_t *)r->entries + i % RING; }
static inline struct xdp_desc *frame_at(struct ring *r, uint32_t i) { return (struct xdp_desc *)r->entries + i % RING; }

/* The C library's sendto is a cancellation point and costs more. */
static inline void kick(struct xdp *x) {
    if (syscall(SYS_sendto, x->sender, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 && errno != EAGAIN && errno != EBUSY &&
        errno != ENOBUFS)
        die("kick");
}

static inline int bpf_call(int command, union bpf_attr *attributes) {
    return (int)syscall(SYS_bpf, command, attributes, sizeof *attributes);
}

#define INSTRUCTION(c, d, s, o, i) ((struct bpf_insn){.code = c, .dst_reg = d, .src_reg = s, .off = o, .imm = i})

static inline void attach_filter(int socket_fd, unsigned interface, uint16_t port, bool generic) {
    union bpf_attr map = {.map_type = BPF_MAP_TYPE_XSKMAP, .key_size = 4, .value_size = 4, .max_entries = 1};
    int map_fd = bpf_call(BPF_MAP_CREATE, &map), key = 0;
    if (map_fd < 0) die("XSKMAP");
    union bpf_attr put = {0};
    put.map_fd = (uint32_t)map_fd;
    put.key = (uint64_t)(uintptr_t)&key;
    put.value = (uint64_t)(uintptr_t)&socket_fd;
    if (bpf_call(BPF_MAP_UPDATE_ELEM, &put)) die("XSKMAP entry");
    struct bpf_insn program[] = {
        INSTRUCTION(BPF_LDX | BPF_MEM | BPF_W, 2, 1, 0, 0),   /* data */
        INSTRUCTION(BPF_LDX | BPF_MEM | BPF_W, 3, 1, 4, 0),   /* data_end */
        INSTRUCTION(BPF_ALU64 | BPF_MOV | BPF_X, 4, 2, 0, 0), /* all headers are there */
        INSTRUCTION(BPF_ALU64 | BPF_ADD | BPF_K, 4, 0, 0, HEADERS),
        INSTRUCTION(BPF_JMP | BPF_JGT | BPF_X, 4, 3, 14, 0),
        INSTRUCTION(BPF_LDX | BPF_MEM | BPF_H, 5, 2, 12, 0), /* IPv4 */
        INSTRUCTION(BPF_JMP | BPF_JNE | BPF_K, 5, 0, 12, htons(0x0800)),
        INSTRUCTION(BPF_LDX | BPF_MEM | BPF_B, 5, 2, 14, 0), /* without options */
        INSTRUCTION(BPF_JMP | BPF_JNE | BPF_K, 5, 0, 10, 0x45),
        INSTRUCTION(BPF_LDX | BPF_MEM | BPF_B, 5, 2, 23, 0), /* UDP */
        INSTRUCTION(BPF_JMP | BPF_JNE | BPF_K, 5, 0, 8, 17),
        INSTRUCTION(BPF_LDX | BPF_MEM | BPF_H, 5, 2, 36, 0), /* our port */
        INSTRUCTION(BPF_JMP | BPF_JNE | BPF_K, 5, 0, 6, htons(port)),
        INSTRUCTION(BPF_LD | BPF_DW | BPF_IMM, 1, BPF_PSEUDO_MAP_FD, 0, map_fd),
        INSTRUCTION(0, 0, 0, 0, 0),
        INSTRUCTION(BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, 0), /* queue 0 */
        INSTRUCTION(BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, XDP_PASS),
        INSTRUCTION(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_redirect_map),
        INSTRUCTION(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
        INSTRUCTION(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, XDP_PASS),
        INSTRUCTION(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
    };
    union bpf_attr load = {.prog_type = BPF_PROG_TYPE_XDP, .insn_cnt = sizeof program / sizeof *program};
    load.insns = (uint64_t)(uintptr_t)program;
    load.license = (uint64_t)(uintptr_t) "MIT";
    int program_fd = bpf_call(BPF_PROG_LOAD, &load);
    if (program_fd < 0) die("XDP program");
    union bpf_attr attach = {0};
    attach.link_create.prog_fd = (uint32_t)program_fd;
    attach.link_create.target_ifindex = interface;
    attach.link_create.attach_type = BPF_XDP;
    attach.link_create.flags = generic ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE;
    /* Detaches with the process. */
    if (bpf_call(BPF_LINK_CREATE, &attach) < 0) die("attach the XDP program");
}

static inline void map_ring(int fd, struct ring *r, struct xdp_ring_offset *at, uint64_t where, size_t bytes) {
    uint8_t *m = mmap(NULL, at->desc + RING * bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, (off_t)where);
    if (m == MAP_FAILED) die("map a ring");
    *r = (struct ring){(void *)(m + at->producer), (void *)(m + at->consumer), (void *)(m + at->flags), m + at->desc, 0};
}

static inline void interface_of(uint32_t address, char *name) {
    struct ifaddrs *all;
    if (getifaddrs(&all)) die("getifaddrs");
    for (struct ifaddrs *at = all; at; at = at->ifa_next)
        if (at->ifa_addr && at->ifa_addr->sa_family == AF_INET &&
            ((struct sockaddr_in *)(void *)at->ifa_addr)->sin_addr.s_addr == address) {
            snprintf(name, IF_NAMESIZE, "%s", at->ifa_name);
            freeifaddrs(all);
            return;
        }
    fprintf(stderr, "no interface has the address LOCAL\n");
    exit(2);
}

/* Has the kernel resolve the peer, then reads what it learned. */
static inline void neighbour_of(const char *peer, uint8_t *mac) {
    struct sockaddr_in discard = {.sin_family = AF_INET, .sin_port = htons(9)};
    inet_pton(AF_INET, peer, &discard.sin_addr);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    for (int tries = 0; tries < 200; tries++) {
        char line[256], address[64], text[32];
        unsigned flags;
        if (tries % 50 == 0) (void)sendto(fd, "", 0, 0, (struct sockaddr *)&discard, sizeof discard);
        FILE *table = fopen("/proc/net/arp", "re");
        while (table && fgets(line, sizeof line, table))
            if (sscanf(line, "%63s 0x%*x 0x%x %31s", address, &flags, text) == 3 && !strcmp(address, peer) && flags & 2 &&
                sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", mac, mac + 1, mac + 2, mac + 3, mac + 4, mac + 5) == 6) {
                fclose(table);
                close(fd);
                return;
            }
        if (table) fclose(table);
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    fprintf(stderr, "nobody answers for %s\n", peer);
    exit(1);
}

static inline void put16(uint8_t *at, uint32_t value) {
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

/* Ethernet, IPv4 and UDP (no checksum: nothing corrupts on the way) towards the peer. */
static inline void write_headers(struct xdp *x, int query, const char *interface, const char *local, const char *peer,
                                 int port, size_t payload) {
    struct ifreq own = {0};
    snprintf(own.ifr_name, sizeof own.ifr_name, "%s", interface);
    if (ioctl(query, SIOCGIFHWADDR, &own)) die("SIOCGIFHWADDR");
    uint8_t *ip = x->headers + 14, *udp = x->headers + 34;
    neighbour_of(peer, x->headers);
    memcpy(x->headers + 6, own.ifr_hwaddr.sa_data, 6);
    put16(x->headers + 12, 0x0800);
    ip[0] = 0x45;
    put16(ip + 2, (uint32_t)(28 + payload));
    put16(ip + 6, 0x4000);
    ip[8] = 64;
    ip[9] = 17;
    inet_pton(AF_INET, local, ip + 12);
    inet_pton(AF_INET, peer, ip + 16);
    uint32_t sum = 0;
    for (int i = 0; i < 20; i += 2) sum += (uint32_t)(ip[i] << 8 | ip[i + 1]);
    sum = (sum & 0xffff) + (sum >> 16);
    put16(ip + 10, ~((sum & 0xffff) + (sum >> 16)) & 0xffff);
    put16(udp, (uint32_t)port);
    put16(udp + 2, (uint32_t)port);
    put16(udp + 4, (uint32_t)(8 + payload));
}

static inline void bind_queue(struct xdp *x, unsigned interface) {
    struct sockaddr_xdp at = {.sxdp_family = AF_XDP, .sxdp_ifindex = interface, .sxdp_flags = XDP_COPY};
    /* A socket that was just closed lets go of its queue after a while. */
    for (int tries = 0; bind(x->fd, (struct sockaddr *)&at, sizeof at); tries++) {
        if (errno != EBUSY || tries == 500) die("bind AF_XDP");
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
}

/* native, skb: two sockets; native-one, skb-one: one. */
static inline struct xdp_mode mode_argument(const char *text) {
    struct xdp_mode mode = {.generic = !strncmp(text, "skb", 3), .one_socket = strstr(text, "-one") != NULL};
    return mode;
}

/* A second socket on the memory and queue of the first, to send from. */
static inline void open_sender(struct xdp *x, unsigned interface, const uint32_t *size) {
    x->sender = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (x->sender < 0 || setsockopt(x->sender, SOL_XDP, XDP_TX_RING, size, sizeof *size)) die("socket to send from");
    struct sockaddr_xdp same = {.sxdp_family = AF_XDP,
                                .sxdp_flags = XDP_SHARED_UMEM,
                                .sxdp_ifindex = interface,
                                .sxdp_shared_umem_fd = (uint32_t)x->fd};
    if (bind(x->sender, (struct sockaddr *)&same, sizeof same)) die("bind the socket to send from");
}

/* Everything, up to full fill ring. Both sides use the same port on their own address. */
static inline void open_xdp(struct xdp *x, const char *local, const char *peer, int port, size_t payload,
                            struct xdp_mode mode) {
    char name[IF_NAMESIZE];
    struct in_addr address;
    uint32_t size = RING;
    if (inet_pton(AF_INET, local, &address) != 1) {
        fprintf(stderr, "%s is not an IPv4 address\n", local);
        exit(2);
    }
    interface_of(address.s_addr, name);
    int query = connected_udp_socket(local, peer, port); /* also keeps the port ours */
    write_headers(x, query, name, local, peer, port, payload);
    x->umem = mmap(NULL, (size_t)CHUNKS * CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (x->umem == MAP_FAILED) die("umem");
    x->fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (x->fd < 0) die("AF_XDP socket");
    struct xdp_umem_reg memory = {.addr = (uint64_t)(uintptr_t)x->umem, .len = (uint64_t)CHUNKS * CHUNK, .chunk_size = CHUNK};
    struct xdp_mmap_offsets at;
    socklen_t length = sizeof at;
    if (setsockopt(x->fd, SOL_XDP, XDP_UMEM_REG, &memory, sizeof memory) ||
        setsockopt(x->fd, SOL_XDP, XDP_UMEM_FILL_RING, &size, sizeof size) ||
        setsockopt(x->fd, SOL_XDP, XDP_UMEM_COMPLETION_RING, &size, sizeof size) ||
        setsockopt(x->fd, SOL_XDP, XDP_RX_RING, &size, sizeof size) ||
        (mode.one_socket && setsockopt(x->fd, SOL_XDP, XDP_TX_RING, &size, sizeof size)) ||
        getsockopt(x->fd, SOL_XDP, XDP_MMAP_OFFSETS, &at, &length))
        die("umem and rings");
    map_ring(x->fd, &x->rx, &at.rx, XDP_PGOFF_RX_RING, sizeof(struct xdp_desc));
    map_ring(x->fd, &x->fill, &at.fr, XDP_UMEM_PGOFF_FILL_RING, sizeof(uint64_t));
    map_ring(x->fd, &x->completion, &at.cr, XDP_UMEM_PGOFF_COMPLETION_RING, sizeof(uint64_t));
    bind_queue(x, if_nametoindex(name));
    x->sender = x->fd;
    if (!mode.one_socket) open_sender(x, if_nametoindex(name), &size);
    if (getsockopt(x->sender, SOL_XDP, XDP_MMAP_OFFSETS, &at, &length)) die("XDP_MMAP_OFFSETS");
    map_ring(x->sender, &x->tx, &at.tx, XDP_PGOFF_TX_RING, sizeof(struct xdp_desc));
    attach_filter(x->fd, if_nametoindex(name), (uint16_t)port, mode.generic);
}

#endif
