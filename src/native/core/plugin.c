/* Finds and loads the shared objects of datapaths, see plugin.h. */
#include "plugin.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST = 4, NAME_BYTES = 32 };

static struct {
    char name[NAME_BYTES];
    const struct ins_datapath_ops *ops;
} loaded[MOST];
static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;

/* Folder of the object that contains this code, without the last slash. */
static int own_folder(char *out, size_t bytes) {
    Dl_info info;
    struct link_map *map = NULL;
    if (!dladdr1((void *)&loaded, &info, (void **)&map, RTLD_DL_LINKMAP))
        return -ENOENT;
    if (map && map->l_name && map->l_name[0]) {
        snprintf(out, bytes, "%s", map->l_name);
    } else {
        /* The program itself has no name there, and argv[0] may be relative to a folder it has left. */
        ssize_t got = readlink("/proc/self/exe", out, bytes - 1);
        if (got < 0)
            return -errno;
        out[got] = 0;
    }
    char *slash = strrchr(out, '/');
    if (slash)
        *slash = 0;
    else
        snprintf(out, bytes, ".");
    return 0;
}

static int locate(const char *name, char *out, size_t bytes) {
    char folder[PATH_MAX - 64];
    int error = own_folder(folder, sizeof folder);
    /* Above: the C tests lie one folder below the library. */
    for (int above = 0; !error && above < 2; above++) {
        snprintf(out, bytes, "%s%s/libinsane-%s.so", folder, above ? "/.." : "", name);
        if (access(out, F_OK) == 0)
            return 0;
    }
    snprintf(out, bytes, "%s", folder);
    return error ? error : -ENOENT;
}

/* libfabric's providers take over SIGINT, SIGTERM and SIGSEGV to print a stack, unless told not to before they load. */
static void disarm(const char *name) {
    if (strcmp(name, "rdma") == 0) {
        setenv("IPATH_NO_BACKTRACE", "1", 1);
        setenv("HFI_NO_BACKTRACE", "1", 1);
    }
}

static const struct ins_datapath_ops *load(const char *name, int *error, char *why, uint32_t why_bytes) {
    char path[PATH_MAX];
    *error = locate(name, path, sizeof path);
    if (*error) {
        snprintf(why, why_bytes, "libinsane-%s.so not found in %.180s", name, path);
        return NULL;
    }
    disarm(name);
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!object) {
        const char *said = dlerror();
        *error = -ELIBACC;
        snprintf(why, why_bytes, "libinsane-%s.so cannot be loaded: %.180s", name, said ? said : "no reason given");
        return NULL;
    }
    ins_plugin_entry entry;
    *(void **)&entry = dlsym(object, INS_PLUGIN_SYMBOL);
    const struct ins_datapath_ops *ops = entry ? entry(INS_PLUGIN_VERSION, INS_LAYOUT_HASH) : NULL;
    if (!ops) {
        *error = -EPROTO;
        snprintf(why, why_bytes, "libinsane-%s.so is of another build than this library", name);
    }
    return ops;
}

const struct ins_datapath_ops *ins_plugin_load(const char *name, int *error, char *why, uint32_t why_bytes) {
    const struct ins_datapath_ops *ops = NULL;
    int place = 0;
    *error = 0;
    if (strlen(name) >= NAME_BYTES) {
        *error = -ENOENT;
        return NULL;
    }
    pthread_mutex_lock(&guard);
    while (place < MOST && loaded[place].ops && strcmp(loaded[place].name, name) != 0)
        place++;
    if (place == MOST)
        *error = -ENOSPC;
    else if (loaded[place].ops)
        ops = loaded[place].ops;
    else {
        ops = load(name, error, why, why_bytes);
        if (ops) {
            snprintf(loaded[place].name, NAME_BYTES, "%s", name);
            loaded[place].ops = ops;
        }
    }
    pthread_mutex_unlock(&guard);
    return ops;
}
