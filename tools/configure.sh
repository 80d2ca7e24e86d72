#!/bin/sh
# cmake -S . -B DIR with Ninja where it is there; later arguments go to cmake. Quiet unless it fails or warns.
set -eu
dir=$1
shift
command -v cmake >/dev/null 2>&1 || { echo "cmake is missing: run 'make demo' or tools/bootstrap.sh build" >&2; exit 1; }
generator=
if [ ! -f "$dir/CMakeCache.txt" ] && command -v ninja >/dev/null 2>&1; then
  generator=-GNinja
fi
mkdir -p "$dir"
if ! cmake -S . -B "$dir" $generator "$@" >"$dir/configure.log" 2>&1; then
  cat "$dir/configure.log" >&2
  exit 1
fi
grep -A 3 '^CMake Warning' "$dir/configure.log" >&2 || true
