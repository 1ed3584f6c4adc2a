/* The filter program, assembled by hand so that neither clang nor libbpf is needed, see xdp_filter.h. */
#include "xdp_filter.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef BPF_F_XDP_HAS_FRAGS
#define BPF_F_XDP_HAS_FRAGS (1u << 5)
#endif

/* Offsets in a frame without tag (one that has a priority tag is looked at as if it began four bytes later), whose IP header has no options. */
enum {
    AT_TYPE = 12,
    AT_VERSION = 14,
    AT_FRAGMENT = 20,
    AT_PROTOCOL = 23,
    AT_TO_ADDRESS = 30,
    AT_TO_PORT = 36,
    HEADERS = 42,
    AT_TAG = 14,
    TAG_BYTES = 4,
    VLAN_NUMBER = 0x0fff,
    VERSION_4_NO_OPTIONS = 0x45,
    UDP = 17,
    MORE_FRAGMENTS_OR_OFFSET = 0x3fff,
    MOST = 48,
};

struct program {
    struct bpf_insn instructions[MOST];
    uint32_t length;
};

static void add(struct program *p, int code, int to, int from, int offset, int32_t value) {
    p->instructions[p->length++] = (struct bpf_insn){
        .code = (uint8_t)code, .dst_reg = to & 15, .src_reg = from & 15, .off = (int16_t)offset, .imm = value};
}

/* Jumps that leave the program by its "pass" end are written with this offset and set right when it is known. */
enum { TO_PASS = -1 };

static void load(struct program *p, int size, int to, int from, int offset) {
    add(p, BPF_LDX | BPF_MEM | size, to, from, offset, 0);
}
/* Passes unless the `size` bytes at `offset` of the packet (r6) are `value`, in the packet's own byte order. */
static void require(struct program *p, int size, int offset, int32_t value) {
    load(p, size, BPF_REG_2, BPF_REG_6, offset);
    add(p, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_2, 0, TO_PASS, value);
}

/* A tag of VLAN 0 is a priority and nothing else. Frames of other VLANs pass. */
static void skip_tag(struct program *p) {
    load(p, BPF_H, BPF_REG_2, BPF_REG_6, AT_TYPE);
    uint32_t jump = p->length;
    add(p, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_2, 0, 0, htons(0x8100));
    add(p, BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_2, BPF_REG_6, 0, 0);
    add(p, BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_2, 0, 0, HEADERS + TAG_BYTES);
    add(p, BPF_JMP | BPF_JGT | BPF_X, BPF_REG_2, BPF_REG_3, TO_PASS, 0);
    load(p, BPF_H, BPF_REG_2, BPF_REG_6, AT_TAG);
    add(p, BPF_JMP | BPF_JSET | BPF_K, BPF_REG_2, 0, TO_PASS, htons(VLAN_NUMBER));
    add(p, BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_6, 0, 0, TAG_BYTES);
    p->instructions[jump].off = (int16_t)(p->length - jump - 1);
}

static void assemble(struct program *p, int map, uint32_t address, uint16_t port) {
    load(p, BPF_W, BPF_REG_6, BPF_REG_1, offsetof(struct xdp_md, data));
    load(p, BPF_W, BPF_REG_3, BPF_REG_1, offsetof(struct xdp_md, data_end));
    add(p, BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_2, BPF_REG_6, 0, 0);
    add(p, BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_2, 0, 0, HEADERS);
    add(p, BPF_JMP | BPF_JGT | BPF_X, BPF_REG_2, BPF_REG_3, TO_PASS, 0);
    skip_tag(p);
    require(p, BPF_H, AT_TO_PORT, htons(port)); /* first, because it tells most packets apart */
    require(p, BPF_H, AT_TYPE, htons(0x0800));
    require(p, BPF_B, AT_VERSION, VERSION_4_NO_OPTIONS);
    require(p, BPF_B, AT_PROTOCOL, UDP);
    load(p, BPF_H, BPF_REG_2, BPF_REG_6, AT_FRAGMENT);
    add(p, BPF_JMP | BPF_JSET | BPF_K, BPF_REG_2, 0, TO_PASS, htons(MORE_FRAGMENTS_OR_OFFSET));
    /* In a register: a constant in the jump would be extended by its sign to 64 bits. */
    load(p, BPF_W, BPF_REG_2, BPF_REG_6, AT_TO_ADDRESS);
    add(p, BPF_ALU | BPF_MOV | BPF_K, BPF_REG_3, 0, 0, (int32_t)address);
    add(p, BPF_JMP | BPF_JNE | BPF_X, BPF_REG_2, BPF_REG_3, TO_PASS, 0);

    load(p, BPF_W, BPF_REG_2, BPF_REG_1, offsetof(struct xdp_md, rx_queue_index));
    add(p, BPF_LD | BPF_DW | BPF_IMM, BPF_REG_1, BPF_PSEUDO_MAP_FD, 0, map);
    add(p, 0, 0, 0, 0, 0);
    add(p, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_3, 0, 0, XDP_PASS); /* for a queue without a socket */
    add(p, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_redirect_map);
    add(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);

    uint32_t pass = p->length;
    add(p, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, XDP_PASS);
    add(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
    for (uint32_t i = 0; i < pass; i++)
        if (p->instructions[i].off == TO_PASS)
            p->instructions[i].off = (int16_t)(pass - i - 1);
}

static int bpf(int command, union bpf_attr *attributes) {
    long result = syscall(SYS_bpf, command, attributes, sizeof *attributes);
    return result < 0 ? -errno : (int)result;
}

int ins_xdp_filter_load(struct ins_xdp_filter *filter, uint32_t queues, uint32_t address, uint16_t port,
                        int fragments) {
    *filter = (struct ins_xdp_filter){-1, -1, -1};
    union bpf_attr map = {0}, load = {0};
    map.map_type = BPF_MAP_TYPE_XSKMAP;
    map.key_size = map.value_size = sizeof(uint32_t);
    map.max_entries = queues;
    snprintf(map.map_name, sizeof map.map_name, "insane_%u", port);
    filter->map = bpf(BPF_MAP_CREATE, &map);
    if (filter->map < 0)
        return filter->map;

    struct program program = {.length = 0};
    assemble(&program, filter->map, address, port);
    load.prog_type = BPF_PROG_TYPE_XDP;
    load.insns = (uint64_t)(uintptr_t)program.instructions;
    load.insn_cnt = program.length;
    load.license = (uint64_t)(uintptr_t) "MIT";
    load.prog_flags = fragments ? BPF_F_XDP_HAS_FRAGS : 0;
    snprintf(load.prog_name, sizeof load.prog_name, "insane_%u", port);
    filter->program = bpf(BPF_PROG_LOAD, &load);
    if (filter->program < 0) {
        int error = filter->program;
        ins_xdp_filter_close(filter);
        return error;
    }
    return 0;
}

int ins_xdp_filter_attach(struct ins_xdp_filter *filter, uint32_t interface_index, int generic) {
    union bpf_attr attach = {0};
    attach.link_create.prog_fd = (uint32_t)filter->program;
    attach.link_create.target_ifindex = interface_index;
    attach.link_create.attach_type = BPF_XDP;
    attach.link_create.flags = generic ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE;
    filter->link = bpf(BPF_LINK_CREATE, &attach);
    /* Native and generic exclude each other with -EEXIST; it means the same to whoever asks. */
    return filter->link >= 0 ? 0 : filter->link == -EEXIST ? -EBUSY : filter->link;
}

int ins_xdp_filter_direct(struct ins_xdp_filter *filter, uint32_t queue, int fd) {
    union bpf_attr update = {0};
    uint32_t value = (uint32_t)fd;
    update.map_fd = (uint32_t)filter->map;
    update.key = (uint64_t)(uintptr_t)&queue;
    update.value = (uint64_t)(uintptr_t)&value;
    return fd < 0 ? bpf(BPF_MAP_DELETE_ELEM, &update) : bpf(BPF_MAP_UPDATE_ELEM, &update);
}

void ins_xdp_filter_close(struct ins_xdp_filter *filter) {
    int *fds[] = {&filter->link, &filter->program, &filter->map};
    for (uint32_t i = 0; i < sizeof fds / sizeof *fds; i++) {
        if (*fds[i] >= 0)
            close(*fds[i]);
        *fds[i] = -1;
    }
}
