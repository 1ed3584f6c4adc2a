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

/* What a bound function does. */
struct turns {
    struct ins_engine *engine;
    uint32_t receive_budget, looks;
};

static napi_value run(const struct turns *bound) {
    ins_engine_poll_looks(bound->engine, bound->receive_budget, bound->looks);
    return NULL;
}

/* turns(): nothing. Without arguments, because to read one costs as much again as the call. */
static napi_value turns(napi_env env, napi_callback_info info) {
    void *data = NULL;
    return napi_get_cb_info(env, info, NULL, NULL, NULL, &data) ? NULL : run(data);
}

/* The same for the first engines of a process, three functions each: a place of its own for each function spares the question
   whose it is. `taken` is 1 from binding to finalization, on whatever thread. */
enum { PLACES = 12 };
static struct turns places[PLACES];
static uint32_t taken[PLACES];
#define PLACE(n)                                                                                                      \
    static napi_value turns_##n(napi_env env, napi_callback_info info) {                                              \
        (void)env;                                                                                                    \
        (void)info;                                                                                                   \
        return run(&places[n]);                                                                                       \
    }
PLACE(0) PLACE(1) PLACE(2) PLACE(3) PLACE(4) PLACE(5) PLACE(6) PLACE(7) PLACE(8) PLACE(9) PLACE(10) PLACE(11)
static const napi_callback placed[PLACES] = {turns_0, turns_1, turns_2, turns_3, turns_4,  turns_5,
                                             turns_6, turns_7, turns_8, turns_9, turns_10, turns_11};

static void release(napi_env env, void *data, void *hint) {
    (void)env;
    (void)hint;
    struct turns *bound = data;
    if (bound >= places && bound < places + PLACES)
        __atomic_store_n(&taken[bound - places], 0, __ATOMIC_RELEASE);
    else
        free(bound);
}

/* A place, or memory where all are taken. */
static struct turns *place(napi_callback *function) {
    for (int i = 0; i < PLACES; i++)
        if (!__atomic_exchange_n(&taken[i], 1, __ATOMIC_ACQUIRE)) {
            *function = placed[i];
            return &places[i];
        }
    *function = turns;
    return malloc(sizeof(struct turns));
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
    napi_callback call;
    struct turns *data = place(&call);
    if (!data)
        return NULL;
    *data = bound;
    if (napi_create_function(env, "turns", SIZE_MAX, call, data, &function) ||
        napi_add_finalizer(env, function, data, release, NULL, NULL)) {
        release(env, data, NULL);
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
