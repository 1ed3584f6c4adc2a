/* What sanitizers find in libraries that are not ours: leaks of libfabric, races between DPDK's memif driver and the thread
   that DPDK starts for it. Nothing else is to be named here. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:libfabric.so\n"; }

__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void) { return "race:librte_net_memif.so\n"; }
