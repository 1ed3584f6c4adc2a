/* Parses the options of an rdma datapath. Strict: what is not understood is refused. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "rdma_state.h"

enum { MTU_LEAST = 576 };

static int one(const char *name, const char *value, struct rdma_settings *out) {
    if (strcmp(name, "provider") == 0) {
        if (strlen(value) >= sizeof out->provider || !ins_rdma_provider(value))
            return -EINVAL;
        memcpy(out->provider, value, strlen(value) + 1);
        return 0;
    }
    if (strcmp(name, "mtu") == 0) {
        char *end;
        unsigned long bytes = strtoul(value, &end, 10);
        if (end == value || *end || *value == '-' || bytes < MTU_LEAST || bytes > RDMA_MTU)
            return -EINVAL;
        out->mtu = (uint32_t)bytes;
        return 0;
    }
    return -EINVAL;
}

int ins_rdma_options(const char *text, struct rdma_settings *out) {
    char copy[128], *rest = NULL;
    *out = (struct rdma_settings){.mtu = RDMA_MTU};
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
