/* The seam of datapaths that need a library of their own (DPDK, libfabric). Each lives in src/native/datapaths/<name>/, is
   built as libinsane-<name>.so beside libinsane.so when its library is there, and exports one function, insane_datapath.
   The core is never linked against these libraries; a plugin is linked with private copies of those stateless parts of
   the core that it calls (pool, packet, probe text), so that it works under any host: the library, the engine
   process, a C test. */
#ifndef INSANE_PLUGIN_H
#define INSANE_PLUGIN_H

#include "datapath.h"

/* Changes with datapath.h and pool.h: a plugin of another build is refused, not misread. */
enum { INS_PLUGIN_VERSION = 1 };
#define INS_PLUGIN_SYMBOL "insane_datapath"
typedef const struct ins_datapath_ops *(*ins_plugin_entry)(uint32_t version, uint32_t layout);

/* In one file of the plugin: INS_PLUGIN(my_ops) */
#define INS_PLUGIN(operations)                                                                                         \
    INS_API const struct ins_datapath_ops *insane_datapath(uint32_t version, uint32_t layout);                         \
    const struct ins_datapath_ops *insane_datapath(uint32_t version, uint32_t layout) {                                \
        return version == INS_PLUGIN_VERSION && layout == INS_LAYOUT_HASH ? &(operations) : NULL;                      \
    }

/* The operations of libinsane-<name>.so, loaded by the first call and never unloaded (both libraries leave threads and
   handlers behind). Looked for in the folder of what this code is part of, then in the one above. NULL: *error is
   -ENOENT (no such file), -ELIBACC (it cannot be loaded), -EPROTO (of another build), and `why` says more. */
const struct ins_datapath_ops *ins_plugin_load(const char *name, int *error, char *why, uint32_t why_bytes);

#endif
