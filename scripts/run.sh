#!/bin/sh
# Sets up, then runs one TypeScript program of this repository under its own Node, with the arguments given.
# usage: run.sh PROGRAM.ts [ARGUMENTS]
set -eu
. "$(dirname -- "$0")/env.sh"
sh scripts/setup.sh
[ -f "$1" ] || { echo "$1 is not there" >&2; exit 1; }
exec node "$@"
