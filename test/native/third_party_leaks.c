/* Leaks that are not ours, for programs built with a leak checker: libfabric 1.17 keeps some hundred bytes of each endpoint
   that was opened and closed. Exported, because the checker is a library that looks for it. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:libfabric.so\n"; }
