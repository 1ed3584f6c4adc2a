#!/bin/sh
# Makes a clone ready to run: packages from npm, Node 24 among them, Debian packages, the native library. Run it as
# often as you like: what is there already is left alone. Says everything on standard error.
# usage: setup.sh [library|all|deep|bench]   library (default): enough to run; all: also the C tests and the native
# benchmark programs; deep: also the packages that only `npm run test:deep` needs;
# bench: also the messaging systems that `npm run bench -- lunar-mom` compares with.
set -eu
. "$(dirname -- "$0")/env.sh"
exec 1>&2
what=${1:-library}
say() { printf 'setup: %s\n' "$*"; }

[ "$(uname -s)" = Linux ] || { say "INSANE runs on Linux with glibc; this is $(uname -s)."; exit 1; }

# One at a time: a second set-up waits, then finds nothing left to do. The lock is held by descriptor 9.
mkdir -p build
if command -v flock >/dev/null 2>&1; then
  exec 9>build/.setup.lock
  flock 9
fi

# --- Debian packages -------------------------------------------------------------------------------------------------
if command -v dpkg-query >/dev/null 2>&1; then
  groups=base
  [ "$what" = deep ] && groups='base|deep'
  [ "$what" = bench ] && groups='base|bench'
  wanted=$(awk -v groups="^($groups)\$" '$1 ~ groups { print $2 }' scripts/debian-packages.txt)
  # shellcheck disable=SC2086
  present=$(dpkg-query -W -f '${Package} ${Status}\n' $wanted 2>/dev/null | awk '$NF == "installed" { print $1 }')
  missing=
  for package in $wanted; do
    case " $(echo $present) " in *" $package "*) ;; *) missing="$missing $package" ;; esac
  done
  # A compiler from elsewhere is as good as Debian's.
  if command -v cc >/dev/null 2>&1; then missing=$(echo "$missing" | sed 's/ build-essential//'); fi
  if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ]; then
      say "installing$missing"
      export DEBIAN_FRONTEND=noninteractive
      # shellcheck disable=SC2086
      apt-get install -y --no-install-recommends $missing >build/apt.log 2>&1 9>&- ||
        { apt-get update >build/apt.log 2>&1 9>&- && apt-get install -y --no-install-recommends $missing >>build/apt.log 2>&1 9>&-; } ||
        { tail -n 3 build/apt.log; say "could not install them (build/apt.log); going on without"; }
    else
      say "missing Debian packages; to install them: sudo apt-get install -y --no-install-recommends$missing"
    fi
  fi
fi
command -v cc >/dev/null 2>&1 || { say "no C compiler: install one (Debian: apt-get install build-essential)"; exit 1; }

# --- packages from npm, and Node -------------------------------------------------------------------------------------
# The stamp is a copy of the lock file that was last installed whole.
stamp=node_modules/.insane-installed
if ! cmp -s package-lock.json "$stamp"; then
  say "installing packages from npm (a minute or so)"
  mode=ci
  # On top of what is there, so that a program which runs from node_modules meanwhile keeps its files.
  [ -e "$stamp" ] && mode='install --no-save'
  # Not with the Node inside node_modules, which is about to be replaced. No install scripts: none is needed.
  # shellcheck disable=SC2086
  PATH=$outer_path npm $mode --include=dev --include=optional --ignore-scripts --no-audit --no-fund \
    >build/npm.log 2>&1 9>&- || { tail -n 20 build/npm.log; say "npm $mode failed (build/npm.log)"; exit 1; }
  for biome in node_modules/@biomejs/cli-linux-*/biome; do
    [ -x "$biome" ] && ln -sfn "../../$biome" node_modules/.bin/biome
  done
  cp package-lock.json "$stamp"
fi
if [ "$what" = bench ]; then
  say "installing the peers of the benchmarks from npm"
  (cd bench/peers && PATH=$outer_path npm install --no-save --no-package-lock --ignore-scripts --no-audit --no-fund) \
    >build/npm-bench.log 2>&1 9>&- || { tail -n 20 build/npm-bench.log; say "npm failed (build/npm-bench.log)"; exit 1; }
fi
case "$(node -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0)" in
  2[4-9] | [3-9][0-9]) ;;
  *) say "Node 24 or newer is needed, this is $(node --version 2>/dev/null || echo none), and for $(uname -m) set-up has none to offer: install it from nodejs.org"; exit 1 ;;
esac

# --- the native library ----------------------------------------------------------------------------------------------
if command -v cmake >/dev/null 2>&1; then
  target=insane
  [ "$what" = library ] || target=all
  native release "$target" 9>&- || { say "the native build failed"; exit 1; }
else
  say "no cmake: building the library alone, with cc; C tests are skipped"
  sh scripts/build-without-cmake.sh || { say "the native build failed"; exit 1; }
fi
