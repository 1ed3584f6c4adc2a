#!/bin/sh
# `npm run test:deep`: what takes minutes. The C tests and the stress of rings and links under AddressSanitizer with
# UBSan and under ThreadSanitizer, the fuzzers, test/deep; the last line adds all up. Arguments go to Vitest.
# INSANE_DEEP=1 tells programs that may choose how long they run to run long.
set -eu
. "$(dirname -- "$0")/env.sh"
sh scripts/setup.sh deep
. scripts/tally.sh
export INSANE_DEEP=1
# detect_leaks: a leak is a failure like any other. second_deadlock_stack: both sides of a lock inversion.
export ASAN_OPTIONS="detect_leaks=1:abort_on_error=0:${ASAN_OPTIONS:-}"
export UBSAN_OPTIONS="print_stacktrace=1:${UBSAN_OPTIONS:-}"
export TSAN_OPTIONS="second_deadlock_stack=1:${TSAN_OPTIONS:-}"

c_tests asan
c_tests tsan
c_tests release -L 'deep|stress'
vitest_run --config vitest.deep.config.ts "$@"
closing_line
