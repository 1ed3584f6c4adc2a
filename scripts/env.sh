# Sourced by the other scripts: goes to the root of the repository and finds its Node, Biome and Vitest.
# Sets root, and PATH so that the clone's own programs come first.
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd "$root" || exit 1
outer_path=$PATH
PATH=$root/node_modules/.bin:$PATH
export PATH
# Ninja where it is there; the presets leave the generator open for this.
if [ -z "${CMAKE_GENERATOR:-}" ] && command -v ninja >/dev/null 2>&1; then
  CMAKE_GENERATOR=Ninja
  export CMAKE_GENERATOR
fi

# native PRESET [TARGET]: configures once, then builds what changed. Silent when all goes well.
native() {
  mkdir -p build
  # The libraries that plugins need may come after the first build.
  libraries=$(pkg-config --modversion libdpdk 2>/dev/null; pkg-config --modversion libfabric 2>/dev/null) || true
  if [ ! -f "build/$1/CMakeCache.txt" ] || [ "CMakePresets.json" -nt "build/$1/CMakeCache.txt" ] ||
    [ "$libraries" != "$(cat "build/$1/libraries.txt" 2>/dev/null)" ]; then
    cmake --preset "$1" >"build/$1.configure.log" 2>&1 || { cat "build/$1.configure.log" >&2; return 1; }
    echo "$libraries" >"build/$1/libraries.txt"
  fi
  cmake --build --preset "$1" --target "${2:-all}" >"build/$1.log" 2>&1 || { cat "build/$1.log" >&2; return 1; }
}
