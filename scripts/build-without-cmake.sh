#!/bin/sh
# Builds build/release/libinsane.so with nothing but a C compiler, for machines where cmake is missing and cannot be
# installed. Keep the flags as in CMakeLists.txt. Compiles all or, when nothing is newer than the library, nothing.
set -eu
. "$(dirname -- "$0")/env.sh"
library=build/release/libinsane.so
if [ -f "$library" ] && [ -z "$(find src/native -name '*.[ch]' -newer "$library" | head -n 1)" ]; then exit 0; fi
mkdir -p build/release
# shellcheck disable=SC2046
cc -std=gnu11 -O3 -g -Wall -Wextra -fPIC -fvisibility=hidden -D_GNU_SOURCE= -Isrc/native -shared -pthread \
  -Wl,-z,nodelete -Wl,-z,defs -Wl,-soname,libinsane.so \
  $(find src/native/core src/native/packet src/native/datapaths -name '*.c' 2>/dev/null) -o "$library.new" -ldl
mv "$library.new" "$library"
