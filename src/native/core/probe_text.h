/* Puts sentences and evidence into a probe's fields, cut to their size. */
#ifndef INSANE_PROBE_TEXT_H
#define INSANE_PROBE_TEXT_H

#include "datapath.h"

/* Adds the line "what: finding". */
void ins_probe_evidence(struct ins_probe *probe, const char *what, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Adds the kernel's release. */
void ins_probe_kernel(struct ins_probe *probe);
/* First line of a file, without the newline; "" when it cannot be read. Returns 0 or -errno. */
int ins_probe_line(const char *path, char *out, uint32_t bytes);

/* What that process is to us: " (NAME)", and whose it is when not our user's; or that it is us, or an engine that we have in a
   process of its own. Returns 1 when it is one of ours. */
int ins_probe_whose(int pid, char *out, uint32_t bytes);

#endif
