/* Labels of the counters in a counter segment. Values are written by ins_counter_add (platform.h). */
#include "platform.h"

#include <string.h>

void ins_counters_label(void *segment, uint32_t index, const char *label) {
    if (index >= INS_COUNTERS_MAX)
        return;
    char *to = (char *)segment + index * INS_COUNTERS_LABEL_BYTES;
    size_t length = strnlen(label, INS_COUNTERS_LABEL_BYTES - 1);
    memcpy(to, label, length);
    memset(to + length, 0, INS_COUNTERS_LABEL_BYTES - length);
}
