/* Parses the options of an xdp datapath, see xdp.h. Strict: what is not understood is refused. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "xdp_state.h"

static int number(const char *text, uint32_t least, uint32_t most, uint32_t *out) {
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (end == text || *end || *text == '-' || value < least || value > most)
        return -EINVAL;
    *out = (uint32_t)value;
    return 0;
}

static int one(const char *name, const char *value, struct xdp_settings *out) {
    uint32_t queue = 0;
    if (strcmp(name, "interface") == 0) {
        if (!*value || strlen(value) >= sizeof out->interface)
            return -EINVAL;
        memcpy(out->interface, value, strlen(value) + 1);
        return 0;
    }
    if (strcmp(name, "mode") == 0) {
        out->generic = strcmp(value, "skb") == 0;
        return out->generic || strcmp(value, "native") == 0 ? 0 : -EINVAL;
    }
    if (strcmp(name, "checksum") == 0) {
        out->checksum = strcmp(value, "full") == 0;
        return out->checksum || strcmp(value, "none") == 0 ? 0 : -EINVAL;
    }
    if (strcmp(name, "tags") == 0) {
        out->tags = strcmp(value, "priority") == 0;
        return out->tags || strcmp(value, "none") == 0 ? 0 : -EINVAL;
    }
    if (strcmp(name, "queue") == 0) {
        int error = number(value, 0, 65535, &queue);
        out->queue = (int)queue;
        return error;
    }
    if (strcmp(name, "mtu") == 0)
        return number(value, 576, XDP_MTU_MOST, &out->mtu);
    if (strcmp(name, "fill") == 0)
        return number(value, 1, XDP_FILL_MOST, &out->fill);
    if (strcmp(name, "tx") == 0)
        return number(value, 32, 1 << 15, &out->tx);
    return -EINVAL;
}

int ins_xdp_options(const char *text, struct xdp_settings *out) {
    char copy[256];
    *out = (struct xdp_settings){.queue = -1, .checksum = -1, .fill = XDP_FILL_MOST, .tx = 1024};
    if (strlen(text) >= sizeof copy)
        return -EINVAL;
    memcpy(copy, text, strlen(text) + 1);
    char *rest = NULL;
    for (char *item = strtok_r(copy, ",", &rest); item; item = strtok_r(NULL, ",", &rest)) {
        char *value = strchr(item, '=');
        if (!value)
            return -EINVAL;
        *value++ = '\0';
        int error = one(item, value, out);
        if (error)
            return error;
    }
    return 0;
}
