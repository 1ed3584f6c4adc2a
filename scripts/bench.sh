#!/bin/sh
# Sets up, compiles the benchmarks and what they measure to build/js, and runs them there: users run JavaScript, too.
# usage: bench.sh [ARGUMENTS of bench/main.ts]
set -eu
. "$(dirname -- "$0")/env.sh"
sh scripts/setup.sh all
tsc -p tsconfig.bench.json 1>&2
exec node build/js/bench/main.js "$@"
