#!/bin/sh
# `npm run check`: types, lint and format, C warnings as errors (the build itself), generated files up to date.
# Runs all of them, then fails if one did. With --write it formats instead and applies the safe fixes.
set -eu
. "$(dirname -- "$0")/env.sh"
sh scripts/setup.sh all
if [ "${1:-}" = --write ]; then exec biome check --write .; fi

failed=
step() {
  name=$1
  shift
  if "$@"; then echo "$name: ok"; else echo "$name: FAILED"; failed="$failed $name"; fi
}
step types tsc -p tsconfig.json
# What only shows when declarations are written, such as an exported type that cannot be named.
case "$failed" in *types*) ;; *) step declarations tsc -p tsconfig.build.json --noEmit ;; esac
step lint-and-format biome check --max-diagnostics=50 .
if command -v cmake >/dev/null 2>&1; then step c-warnings native debug; fi
if [ -f scripts/layout.ts ]; then step layout node scripts/layout.ts --check; fi
if [ -f scripts/models.ts ]; then step models node scripts/models.ts --check; fi
[ -z "$failed" ] || { echo "check failed:$failed" >&2; exit 1; }
