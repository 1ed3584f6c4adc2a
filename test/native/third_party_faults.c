/* What sanitizers find in libraries that are not ours: leaks of libfabric, and races in those of DPDK, whose locks
   ThreadSanitizer does not see as they are not built for it. Nothing else is to be named here. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:libfabric.so\n"; }

__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void) { return "race:librte_\n"; }
