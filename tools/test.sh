#!/bin/bash
# What `make test` and CI run: named stages, each timed; all run even when one fails, then a summary.
#   tools/test.sh               every stage
#   tools/test.sh unit asan     only these
set -u
cd "$(dirname "$0")/.."
jobs=${JOBS:-$(nproc)}
build=${BUILD:-build}
log=$build/logs
mkdir -p "$log"
export CTEST_OUTPUT_ON_FAILURE=1

# build_and_run DIR TARGETS CTEST-ARGS -- CMAKE-ARGS: configure, build quietly (output only on failure), run ctest.
build_and_run() {
  local dir=$1 targets=$2 select=$3
  shift 3
  tools/configure.sh "$dir" "$@" || return 1
  if ! cmake --build "$dir" --target $targets -j "$jobs" >"$dir/build.log" 2>&1; then
    grep -E -A 12 'error|FAILED|undefined reference' "$dir/build.log" | grep -v '^/usr/bin/' | head -80
    return 1
  fi
  [ "$select" = none ] && return 0
  ctest --test-dir "$dir" $select -j "$jobs" --timeout 900 --no-tests=error >"$dir/ctest.log" 2>&1
  local rc=$?
  if [ $rc -ne 0 ]; then
    grep -vE '^ +Start|Passed|^\[ RUN |^\[       OK ' "$dir/ctest.log" | head -200
  else
    grep -E 'tests passed' "$dir/ctest.log" | sed 's/^/  /'
    grep -hiE '\bskipped\b' "$dir/Testing/Temporary/LastTest.log" | grep -vE 'SKIPPED TEST|listed below' | sort -u |
      sed 's/^/  /' | head -20
  fi
  return $rc
}
stage_checks() { # layers, docs, the speed harness, format: seconds
  local rc=0
  python3 tools/check_layers.py --self-test && python3 tools/check_layers.py || rc=1
  python3 tools/check_docs.py --self-test && python3 tools/check_docs.py || rc=1
  python3 bench/bench.py --self-test || rc=1
  if command -v clang-format-14 >/dev/null; then
    find include src tests fuzz bench -name '*.[ch]' -print0 2>/dev/null | xargs -0 -r clang-format-14 --dry-run -Werror 2>"$log/format.log" || {
      grep -oE '^[^:]+' "$log/format.log" | sort | uniq -c | sort -rn | grep -E '\.[ch]$' | head -40
      echo "  not formatted: run make format"
      rc=1
    }
  else
    echo "  format: skipped, no clang-format-14"
  fi
  return $rc
}

stage_unit() { # Release build, warnings are errors, all tests; the library exports the public API only
  build_and_run "$build" "product probe tests" "" -DMYNA_WERROR=ON || return 1
  if nm -D --defined-only "$build/libmyna.so" | awk '{ print $3 }' | grep -vE '^myna_[a-z0-9]'; then
    echo "  libmyna.so exports what is not public"
    return 1
  fi
  # Other compilers spill where they must; this one is the one we measure with.
  if grep -q '^CMAKE_C_COMPILER:.*clang-19$' "$build/CMakeCache.txt" && [ "$(uname -m)" = x86_64 ]; then
    python3 tools/check_tiles.py "$build"/CMakeFiles/myna_kernels_obj.dir/src/kernels/x86/mul_*.o >"$log/tiles.log" || {
      cat "$log/tiles.log"
      return 1
    }
  fi
}

# One build for the tests under sanitizers and for the fuzzers, where the compiler has libFuzzer: it is the slowest of all.
sanitized=$build/asan
sanitized_flags="-DMYNA_WERROR=ON -DCMAKE_BUILD_TYPE=Debug -DMYNA_FUZZ=ON"
grep -qs avx512f /proc/cpuinfo || sanitized_flags+=" -DMYNA_LEVELS=avx2" # what cannot run here compiles for minutes

stage_asan() { # all tests with AddressSanitizer and UBSan, asserts on
  build_and_run "$sanitized" "tests" "-LE ^(cli|server)$" $sanitized_flags
}

stage_tsan() { # threads: pool and engine with ThreadSanitizer
  build_and_run "$build/tsan" "test_base_pool test_base_mem tests_engine" "-R ^test_(base_(pool|mem)|engine_)" \
    -DCMAKE_BUILD_TYPE=Debug -DMYNA_SANITIZE=thread -DMYNA_LEVELS=avx2
}

stage_gcc() { # the other compiler, warnings are errors; tests of the base are run; kernels beyond avx2 are parsed only
  CC=gcc build_and_run "$build/gcc" "product probe tests_base tests_formats tests_text" "-L ^(base|formats|text)$" -DMYNA_WERROR=ON -DMYNA_LEVELS=avx2 ||
    return 1
  [ "$(uname -m)" = x86_64 ] || return 0
  gcc -fsyntax-only -std=gnu11 -Wall -Wextra -Werror -Wno-unused-parameter -Wno-missing-field-initializers -Iinclude -Isrc -mavx512f -mavx512bw -mavx512dq \
    -mavx512vl -mavx512vnni -mavx512bf16 -mavx512vbmi -mavx512bitalg -mavxvnni -mfma -mf16c -mbmi2 -D_GNU_SOURCE= \
    src/kernels/x86/*_avx2vnni.c src/kernels/x86/*_avx512*.c
}

stage_arm64() { # cross build, run under qemu; the tests of kernels force every level that the emulated CPU has
  if ! command -v qemu-aarch64 >/dev/null || [ ! -f /usr/lib/aarch64-linux-gnu/pkgconfig/cmocka.pc ]; then
    echo "  skipped: no qemu-aarch64 or no arm64 libraries (tools/bootstrap.sh test installs them on Debian amd64)"
    return 0
  fi
  build_and_run "$build/arm64" "probe tests_base tests_formats tests_kernels tests_text" \
    "-L ^(base|formats|kernels|text)$" -DCMAKE_TOOLCHAIN_FILE=tools/aarch64.cmake -DMYNA_WERROR=ON \
    -DMYNA_BINARY=OFF || return 1
  if grep -q '^MYNA_CROSS_CLANG:.*clang-19$' "$build/arm64/CMakeCache.txt"; then # as in stage_unit
    python3 tools/check_tiles.py "$build"/arm64/CMakeFiles/myna_kernels_obj.dir/src/kernels/arm/mul_*.o >"$log/tiles-arm64.log" || {
      cat "$log/tiles-arm64.log"
      return 1
    }
  fi
}

stage_fuzz() { # 60 seconds in all, shared by the fuzzers
  local fuzzers dir=$sanitized f rc=0
  fuzzers=$(ls fuzz/*.c 2>/dev/null | sed 's,.*/,,; s,\.c$,,; s,^fuzz_,,; s,^,fuzz_,')
  [ -n "$fuzzers" ] || { echo "  no fuzzers"; return 0; }
  build_and_run "$dir" "$fuzzers" none $sanitized_flags || return 1
  local n each
  n=$(wc -w <<<"$fuzzers")
  each=$((60 * (jobs < n ? jobs : n) / n))
  [ $each -ge 3 ] || each=3
  fuzz_one() { # FUZZER SECONDS DIR
    local name=${1#fuzz_} corpus=$3/corpus/${1#fuzz_} seeds=()
    mkdir -p "$corpus"
    [ -d "fuzz/corpus/$name" ] && seeds=("fuzz/corpus/$name")
    "$3/fuzz/$1" -max_total_time="$2" -timeout=10 -rss_limit_mb=2048 -print_final_stats=0 -verbosity=1 \
      -artifact_prefix="$3/crash-$name-" "$corpus" "${seeds[@]}" >"$3/$1.log" 2>&1 || {
      echo "  $1 failed:"
      grep -E -A 12 'ERROR: |runtime error:' "$3/$1.log" | head -24
      grep -E 'SUMMARY|Test unit written' "$3/$1.log"
      return 1
    }
    echo "  $1: $(grep -oE '^#[0-9]+' "$3/$1.log" | tail -1 | tr -d '#') runs in $2 s"
  }
  export -f fuzz_one
  for f in $fuzzers; do echo "$f"; done | xargs -P "$jobs" -I{} bash -c "fuzz_one {} $each $dir" || rc=1
  return $rc
}

stage_howto() { # the examples of docs/HOWTO-*.md build as written
  python3 tools/check_howto.py >"$log/howto.log" 2>&1 || { tail -40 "$log/howto.log"; return 1; }
  tail -1 "$log/howto.log" | sed 's/^/  /'
}

stage_tidy() { # clang-tidy over src/, at most 3 minutes
  local tidy
  tidy=$(command -v clang-tidy-14 || command -v clang-tidy) || { echo "  skipped, no clang-tidy"; return 0; }
  [ -f "$build/compile_commands.json" ] || tools/configure.sh "$build" || return 1
  rm -rf "$log/tidy" && mkdir -p "$log/tidy"
  tidy_one() { # TIDY BUILD OUT FILE
    "$1" -p "$2" --quiet "$4" >"$3/${4//\//_}" 2>/dev/null
  }
  export -f tidy_one
  # In an order that changes by the day: when the time is up, the next run sees other files.
  find src -name '*.c' ! -path '*/arm/*' ! -path '*/wasm/*' ! -path '*/cuda/*' |
    shuf --random-source=<(yes "$(date +%F)") |
    timeout 180 xargs -P "$jobs" -I{} bash -c "tidy_one $tidy $build $log/tidy {}"
  [ ${PIPESTATUS[2]} -eq 124 ] && echo "  the time was up"
  echo "  $(ls "$log/tidy" | wc -l) of $(find src -name '*.c' | wc -l) files"
  if grep -hE '(warning|error):' "$log"/tidy/* >"$log/tidy.out"; then
    sort -u "$log/tidy.out" | sed "s,$PWD/,," | head -60
    return 1
  fi
  return 0
}

all="checks unit howto asan fuzz gcc tsan arm64 tidy"
stages=${*:-$all}
summary=
failed=0
start=$SECONDS
for s in $stages; do
  if ! declare -F "stage_$s" >/dev/null; then
    echo "no stage '$s'; there are: $all" >&2
    exit 2
  fi
  echo "== $s: $(sed -n "s/^stage_$s() { # //p" "$0")"
  t=$SECONDS
  if "stage_$s"; then r=ok; else r=FAILED failed=1; fi
  summary+=$(printf '%-8s %-7s %4d s' "$s" "$r" $((SECONDS - t)))$'\n'
  echo "== $s: $r, $((SECONDS - t)) s"
done
printf '\n%s' "$summary"
echo "total $((SECONDS - start)) s"
exit $failed
