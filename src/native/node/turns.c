/* The one function that Node calls through Node-API rather than koffi: a turn of an inline engine, twice a message when
   messages come one by one. A call costs half of what it does through koffi, which must look up and convert each argument.
   Node finds it when it opens libinsane.so as an addon; everywhere else the weak functions below are not there, nor used.
   The declarations are those of Node-API version 8, whose binary interface is stable. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "core/engine.h"
#include "core/platform.h"

typedef struct napi_env__ *napi_env;
typedef struct napi_value__ *napi_value;
typedef struct napi_callback_info__ *napi_callback_info;
typedef napi_value (*napi_callback)(napi_env, napi_callback_info);

#define WEAK __attribute__((weak))
WEAK int napi_get_cb_info(napi_env, napi_callback_info, size_t *count, napi_value *arguments, napi_value *self, void **data);
WEAK int napi_get_value_uint32(napi_env, napi_value, uint32_t *);
WEAK int napi_get_value_bigint_uint64(napi_env, napi_value, uint64_t *, bool *lossless);
WEAK int napi_create_function(napi_env, const char *name, size_t length, napi_callback, void *data, napi_value *);
WEAK int napi_add_finalizer(napi_env, napi_value object, void *data, void (*)(napi_env, void *, void *), void *hint,
                            void **reference);
WEAK int napi_set_named_property(napi_env, napi_value object, const char *name, napi_value);

enum { ADDON_API = 8 };

/* What a bound function does; as long-lived as the process, of which there are few. */
struct turns {
    struct ins_engine *engine;
    uint32_t receive_budget, looks;
};

/* turns(): nothing. Without arguments, because to read one costs as much again as the call. */
static napi_value turns(napi_env env, napi_callback_info info) {
    void *data = NULL;
    if (napi_get_cb_info(env, info, NULL, NULL, NULL, &data) == 0) {
        const struct turns *bound = data;
        ins_engine_poll_looks(bound->engine, bound->receive_budget, bound->looks);
    }
    return NULL;
}

static void release(napi_env env, void *data, void *hint) {
    (void)env;
    (void)hint;
    free(data);
}

/* bind(engine: bigint, receive budget, looks): the function that runs such turns of that engine; not to be called when
   the engine is destroyed. */
static napi_value bind(napi_env env, napi_callback_info info) {
    napi_value arguments[3], function = NULL;
    size_t count = 3;
    struct turns bound = {0};
    uint64_t engine = 0;
    bool lossless = false;
    if (napi_get_cb_info(env, info, &count, arguments, NULL, NULL) || count != 3 ||
        napi_get_value_bigint_uint64(env, arguments[0], &engine, &lossless) || !engine ||
        napi_get_value_uint32(env, arguments[1], &bound.receive_budget) ||
        napi_get_value_uint32(env, arguments[2], &bound.looks))
        return NULL;
    bound.engine = (struct ins_engine *)(uintptr_t)engine;
    struct turns *data = malloc(sizeof *data);
    if (!data)
        return NULL;
    *data = bound;
    if (napi_create_function(env, "turns", SIZE_MAX, turns, data, &function) ||
        napi_add_finalizer(env, function, data, release, NULL, NULL)) {
        free(data);
        return NULL;
    }
    return function;
}

INS_API int32_t node_api_module_get_api_version_v1(void);
INS_API int32_t node_api_module_get_api_version_v1(void) { return ADDON_API; }

INS_API napi_value napi_register_module_v1(napi_env env, napi_value exports);
INS_API napi_value napi_register_module_v1(napi_env env, napi_value exports) {
    napi_value function;
    if (napi_create_function && napi_create_function(env, "bind", SIZE_MAX, bind, NULL, &function) == 0)
        napi_set_named_property(env, exports, "bind", function);
    return exports;
}
