#!/bin/sh
# `npm run build`, also before `npm pack`: dist/ (JavaScript and types) and prebuilt/ (the native library of this
# processor), which are what an installed package consists of.
set -eu
. "$(dirname -- "$0")/env.sh"
sh scripts/setup.sh
rm -rf dist
tsc -p tsconfig.build.json
case "$(uname -m)" in
  x86_64) arch=x64 ;;
  aarch64) arch=arm64 ;;
  *) arch=$(uname -m) ;;
esac
mkdir -p "prebuilt/linux-$arch"
# Without debug information: it is ten times the size of the code.
strip --strip-unneeded -o "prebuilt/linux-$arch/libinsane.so" build/release/libinsane.so
