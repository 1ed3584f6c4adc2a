/* Says why a datapath that lives in a shared object of its own cannot be had here, and what the host has of it. */
#ifndef INSANE_ABSENT_H
#define INSANE_ABSENT_H

#include "core/datapath.h"

/* `error` and `why` are of ins_plugin_load. `out` is zeroed. */
int ins_absent_probe(const char *name, int error, const char *why, struct ins_probe *out);

#endif
