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
rm -rf "prebuilt/linux-$arch"
mkdir -p "prebuilt/linux-$arch"
# Without debug information: it is ten times the size of the code. The plugins of datapaths go along where they were
# built; an installation without their libraries says so and goes on.
for object in build/release/libinsane*.so build/release/insane-engine; do
  strip --strip-unneeded -o "prebuilt/linux-$arch/$(basename "$object")" "$object"
done
