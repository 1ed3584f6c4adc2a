/* Parses the options of a dpdk datapath, see dpdk.h. Strict: what is not understood is refused. */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dpdk_state.h"

enum {
    /* Of af_packet's rings. */
    DEFAULT_FRAME = 2048,
    DEFAULT_BLOCK = 4096,
    /* Holds DPDK_TRAIN and the headers around it, and is about the longest that fits an mbuf. 32 of them fill a block of whole pages exactly; one to a block of 64 KiB, all of them
       would share few sets of the caches. */
    TRAIN_FRAME = 65408,
    TRAIN_BLOCK = 32 * TRAIN_FRAME,
    TRAIN_FRAMES = 256,
};

static int number(const char *text, uint32_t least, uint32_t most, uint32_t *out) {
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (end == text || *end || *text == '-' || value < least || value > most)
        return -EINVAL;
    *out = (uint32_t)value;
    return 0;
}

static int address(const char *text, uint32_t *out) {
    struct in_addr at;
    if (inet_pton(AF_INET, text, &at) != 1)
        return -EINVAL;
    *out = at.s_addr;
    return 0;
}

uint32_t ins_dpdk_argument(const char *arguments, const char *name, char *out, uint32_t bytes) {
    size_t length = strlen(name);
    for (const char *at = arguments; *at; at += strcspn(at, ","), at += *at == ',') {
        if (strncmp(at, name, length) != 0 || at[length] != '=')
            continue;
        uint32_t value = (uint32_t)strcspn(at + length + 1, ",");
        if (value >= bytes)
            return 0;
        memcpy(out, at + length + 1, value);
        out[value] = 0;
        return value;
    }
    return 0;
}

static int copy(const char *text, char *out, size_t bytes) {
    if (!*text || strlen(text) >= bytes)
        return -EINVAL;
    memcpy(out, text, strlen(text) + 1);
    return 0;
}

/* "0000:01:00.0" */
static int is_pci(const char *text) {
    unsigned domain, bus, slot, function;
    char end;
    return sscanf(text, "%x:%x:%x.%x%c", &domain, &bus, &slot, &function, &end) == 4;
}

static int device(const char *text, struct dpdk_settings *out) {
    size_t name = strcspn(text, ",");
    char value[16];
    uint32_t frame = DEFAULT_FRAME, block = DEFAULT_BLOCK;
    if (!name || name >= sizeof out->name)
        return -EINVAL;
    memcpy(out->name, text, name);
    out->name[name] = 0;
    if (text[name] && copy(text + name + 1, out->arguments, sizeof out->arguments))
        return -EINVAL;
    out->pci = (uint32_t)is_pci(out->name);
    if (!out->pci && strncmp(out->name, "net_", 4) != 0)
        return -EINVAL;
    if (strncmp(out->name, "net_af_packet", 13) != 0)
        return 0;
    if (!ins_dpdk_argument(out->arguments, "iface", out->interface, sizeof out->interface))
        return -EINVAL;
    if (ins_dpdk_argument(out->arguments, "framesz", value, sizeof value) && number(value, 256, 1 << 20, &frame))
        return -EINVAL;
    if (ins_dpdk_argument(out->arguments, "blocksz", value, sizeof value) && number(value, 4096, 1 << 26, &block))
        return -EINVAL;
    if (ins_dpdk_argument(out->arguments, "qpairs", value, sizeof value) && strcmp(value, "1") != 0)
        return -EINVAL; /* we look at one */
    if (block % frame) /* DPDK takes it, and looks for frames where there are none */
        return -EINVAL;
    out->frame_bytes = frame;
    return 0;
}

static int interface(const char *text, struct dpdk_settings *out) {
    for (const char *at = text; *at; at++)
        if (isspace((unsigned char)*at) || *at == ',' || *at == '/' || *at == '=')
            return -EINVAL;
    if (copy(text, out->interface, sizeof out->interface))
        return -EINVAL;
    snprintf(out->arguments, sizeof out->arguments, "iface=%s,blocksz=%d,framesz=%d,framecnt=%d",
             out->interface, TRAIN_BLOCK, TRAIN_FRAME, TRAIN_FRAMES);
    out->frame_bytes = TRAIN_FRAME;
    return 0;
}

static int pages(const char *text, enum dpdk_pages *out) {
    static const char *const names[] = {[DPDK_PAGES_AUTO] = "auto", [DPDK_PAGES_HUGE] = "yes", [DPDK_PAGES_SMALL] = "no"};
    for (uint32_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(text, names[i]) == 0) {
            *out = (enum dpdk_pages)i;
            return 0;
        }
    return -EINVAL;
}

static int one(const char *name, const char *value, int for_probe, struct dpdk_settings *out) {
    if (strcmp(name, "device") == 0)
        return *out->arguments || *out->name ? -EINVAL : device(value, out);
    if (strcmp(name, "interface") == 0)
        return *out->arguments || *out->name ? -EINVAL : interface(value, out);
    if (strcmp(name, "prefix") == 0)
        return number(value, 1, 30, &out->prefix);
    if (strcmp(name, "gateway") == 0)
        return address(value, &out->gateway);
    if (strcmp(name, "mtu") == 0)
        return number(value, DPDK_MTU_LEAST, DPDK_MTU_MOST, &out->mtu);
    if (strcmp(name, "memory") == 0)
        return number(value, 16, 1 << 16, &out->memory);
    if (strcmp(name, "tx") == 0)
        return number(value, 64, 1 << 15, &out->tx);
    if (strcmp(name, "hugepages") == 0)
        return pages(value, &out->pages);
    if (strcmp(name, "checksum") == 0) {
        out->checksum = strcmp(value, "full") == 0;
        return out->checksum || strcmp(value, "none") == 0 ? 0 : -EINVAL;
    }
    if (strcmp(name, "tags") == 0) {
        out->tags = strcmp(value, "priority") == 0;
        return out->tags || strcmp(value, "none") == 0 ? 0 : -EINVAL;
    }
    if (for_probe && strcmp(name, "address") == 0)
        return address(value, &out->address);
    if (for_probe && strcmp(name, "port") == 0)
        return number(value, 0, 65535, &out->port);
    return -EINVAL;
}

int ins_dpdk_options(const char *text, int for_probe, struct dpdk_settings *out) {
    *out = (struct dpdk_settings){.prefix = 24, .memory = 64, .tx = 1024, .checksum = -1};
    for (const char *at = text; *at;) {
        char name[16], value[256];
        size_t length = strcspn(at, "=,");
        if (at[length] != '=' || length >= sizeof name)
            return -EINVAL;
        memcpy(name, at, length);
        name[length] = 0;
        at += length + 1;
        /* A device has arguments, with commas: it is the last option. */
        length = strcmp(name, "device") == 0 ? strlen(at) : strcspn(at, ",");
        if (length >= sizeof value)
            return -EINVAL;
        memcpy(value, at, length);
        value[length] = 0;
        int error = one(name, value, for_probe, out);
        if (error)
            return error;
        at += length + (at[length] == ',');
    }
    return for_probe || *out->name || *out->interface ? 0 : -EINVAL;
}
