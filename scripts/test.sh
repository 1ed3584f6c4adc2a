#!/bin/sh
# `npm test`: set-up, the C tests, then Vitest; the last line adds both up. Arguments go to Vitest.
set -eu
. "$(dirname -- "$0")/env.sh"
sh scripts/setup.sh all
. scripts/tally.sh

c_tests release -LE deep
vitest_run "$@"
closing_line
