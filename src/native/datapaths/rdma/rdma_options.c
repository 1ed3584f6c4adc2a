/* Parses the options of an rdma datapath. Strict: what is not understood is refused. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "rdma_state.h"

enum { MTU_LEAST = 576, PATIENCE_MS = 5000, PATIENCE_MOST_MS = 60000 };

static int number(const char *text, uint32_t least, uint32_t most, uint32_t *out) {
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (end == text || *end || *text == '-' || value < least || value > most)
        return -EINVAL;
    *out = (uint32_t)value;
    return 0;
}

static int one(const char *name, const char *value, struct rdma_settings *out) {
    if (strcmp(name, "provider") == 0) {
        if (strlen(value) >= sizeof out->provider || !ins_rdma_provider(value))
            return -EINVAL;
        memcpy(out->provider, value, strlen(value) + 1);
        return 0;
    }
    if (strcmp(name, "mtu") == 0)
        return number(value, MTU_LEAST, RDMA_MTU, &out->mtu);
    if (strcmp(name, "patience") == 0)
        return number(value, 1, PATIENCE_MOST_MS, &out->patience_ms);
    return -EINVAL;
}

int ins_rdma_options(const char *text, struct rdma_settings *out) {
    char copy[128], *rest = NULL;
    *out = (struct rdma_settings){.mtu = RDMA_MTU, .patience_ms = PATIENCE_MS};
    if (strlen(text) >= sizeof copy)
        return -EINVAL;
    memcpy(copy, text, strlen(text) + 1);
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
