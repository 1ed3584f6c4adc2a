#!/bin/sh
# Sets up, then runs one TypeScript program of this repository under its own Node, with the arguments given.
# usage: run.sh [--all] PROGRAM.ts [ARGUMENTS]   --all also builds the C tests and the native benchmark programs
set -eu
. "$(dirname -- "$0")/env.sh"
what=library
if [ "$1" = --all ]; then what=all; shift; fi
sh scripts/setup.sh "$what"
[ -f "$1" ] || { echo "$1 is not there" >&2; exit 1; }
exec node "$@"
