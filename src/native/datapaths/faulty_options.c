/* Reads the options of the fault-injecting datapath, see faulty_options.h. */
#include "faulty_options.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum kind { TEXT, SHARE, COUNT };
struct field {
    const char *name;
    enum kind kind;
    size_t at, bytes;
};
#define FIELD(name, kind) {#name "=", kind, offsetof(struct ins_faulty_options, name), \
                           sizeof((struct ins_faulty_options *)0)->name}
static const struct field fields[] = {
    FIELD(of, TEXT),          FIELD(armed, TEXT),        FIELD(loss, SHARE),        FIELD(duplicate, SHARE),
    FIELD(reorder, SHARE),    FIELD(delay_us, COUNT),    FIELD(reorder_us, COUNT),  FIELD(seed, COUNT),
    FIELD(fail_after, COUNT), FIELD(hang_after, COUNT),  FIELD(crash_after, COUNT), FIELD(hang_ms, COUNT),
    FIELD(open_hang, COUNT),  FIELD(open_crash, COUNT),
};

static int text_into(char *to, size_t bytes, const char *from, size_t length) {
    if (length == 0 || length >= bytes)
        return -EINVAL;
    memcpy(to, from, length);
    to[length] = 0;
    return 0;
}

static int read_value(const struct field *field, const char *value, size_t length, struct ins_faulty_options *out) {
    char *place = (char *)out + field->at, text[32], *end;
    if (field->kind == TEXT)
        return text_into(place, field->bytes, value, length);
    if (text_into(text, sizeof text, value, length) || text[0] < '0' || text[0] > '9')
        return -EINVAL;
    errno = 0;
    if (field->kind == SHARE) {
        double share = strtod(text, &end);
        if (*end || !(share >= 0 && share <= 1))
            return -EINVAL;
        memcpy(place, &share, sizeof share);
        return 0;
    }
    uint64_t count = strtoull(text, &end, 10);
    if (*end || errno)
        return -EINVAL;
    memcpy(place, &count, sizeof count);
    return 0;
}

int ins_faulty_parse(const char *text, struct ins_faulty_options *out) {
    memset(out, 0, sizeof *out);
    out->reorder_us = 2000;
    out->fail_after = out->hang_after = out->crash_after = INS_FAULTY_NEVER;
    size_t inner = 0;
    for (const char *at = text; *at;) {
        size_t length = strcspn(at, ","), i = 0;
        const size_t known = sizeof fields / sizeof *fields;
        while (i < known && strncmp(at, fields[i].name, strlen(fields[i].name)) != 0)
            i++;
        if (i < known) {
            size_t name = strlen(fields[i].name);
            if (name > length || read_value(&fields[i], at + name, length - name, out))
                return -EINVAL;
        } else {
            if (inner + length + 2 > sizeof out->inner)
                return -EINVAL;
            if (inner)
                out->inner[inner++] = ',';
            memcpy(out->inner + inner, at, length);
            inner += length;
        }
        at += length;
        at += *at == ',';
    }
    return out->of[0] ? 0 : -EINVAL;
}
