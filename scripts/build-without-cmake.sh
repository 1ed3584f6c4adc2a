#!/bin/sh
# Builds build/release/libinsane.so with nothing but a C compiler, for machines where cmake is missing and cannot be
# installed. Keep the flags as in CMakeLists.txt. Compiles all or, when nothing is newer than the library, nothing.
set -eu
. "$(dirname -- "$0")/env.sh"
library=build/release/libinsane.so
if [ -f "$library" ] && [ -z "$(find src/native -name '*.[ch]' -newer "$library" | head -n 1)" ]; then exit 0; fi
mkdir -p build/release
flags='-std=gnu11 -O3 -g -Wall -Wextra -fPIC -fvisibility=hidden -D_GNU_SOURCE= -Isrc/native -pthread'
core=$(find src/native/core src/native/node src/native/packet -name '*.c'; find src/native/datapaths -maxdepth 1 -name '*.c')

# plugin NAME PACKAGE: libinsane-NAME.so, where pkg-config finds PACKAGE and there is something to build.
# The core goes in as an archive of which the linker takes what is called, see core/plugin.h.
plugin() {
  sources=$(find "src/native/datapaths/$1" -name '*.c' 2>/dev/null || true)
  [ -n "$sources" ] && pkg-config --exists "$2" 2>/dev/null || return 0
  if [ ! -f "$objects/core.a" ]; then
    for source in $core; do
      # shellcheck disable=SC2086
      cc $flags -c "$source" -o "$objects/$(echo "$source" | tr / _).o"
    done
    ar rc "$objects/core.a" "$objects"/*.o
  fi
  # shellcheck disable=SC2046,SC2086
  cc $flags $(pkg-config --cflags "$2") -shared -Wl,-z,nodelete -Wl,-z,defs -Wl,--as-needed -Wl,--exclude-libs,core.a $sources \
    "$objects/core.a" $(pkg-config --libs "$2") -ldl -o "build/release/libinsane-$1.so.new"
  mv "build/release/libinsane-$1.so.new" "build/release/libinsane-$1.so"
}
objects=$(mktemp -d)
trap 'rm -rf "$objects"' EXIT
plugin dpdk libdpdk
plugin rdma libfabric

# shellcheck disable=SC2046,SC2086
cc $flags $(find src/native/process -name '*.c') $core -o build/release/insane-engine.new -ldl
mv build/release/insane-engine.new build/release/insane-engine
# Last, because its age says whether all is built.
# shellcheck disable=SC2086
cc $flags -shared -Wl,-z,nodelete -Wl,-z,defs -Wl,-soname,libinsane.so $core -o "$library.new" -ldl
mv "$library.new" "$library"
