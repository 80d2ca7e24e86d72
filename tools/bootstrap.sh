#!/bin/sh
# Installs what is missing for a goal and says what that is:  tools/bootstrap.sh build|test
# Debian and Ubuntu with root or sudo; Homebrew (untested); elsewhere it names the packages and goes on.
set -eu
cd "$(dirname "$0")/.."
goal=${1:-build}
case $goal in build|test) ;; *) echo "usage: tools/bootstrap.sh build|test" >&2; exit 2 ;; esac

have() { command -v "$1" >/dev/null 2>&1; }

if have brew && ! have apt-get; then
  echo "bootstrap: Homebrew (this path is untested)"
  formulas="cmake ninja pkg-config pcre2 utf8proc jansson"
  [ "$goal" = test ] && formulas="$formulas cmocka llvm clang-format numpy"
  for f in $formulas; do
    brew list "$f" >/dev/null 2>&1 || { echo "bootstrap: installing $f"; brew install "$f"; }
  done
  exit 0
fi

# Same order of preference as CMakeLists.txt; 14 is the oldest that builds the kernels.
clang_found=
for c in clang-19 clang-18 clang-17 clang-16 clang-15 clang clang-14; do
  if have $c; then
    clang_found=$c
    break
  fi
done

build="make cmake ninja-build pkg-config libc6-dev libpcre2-dev libutf8proc-dev libjansson-dev"
# The binary's own libraries: what its sources include (CMakeLists.txt looks for the same names).
uses() { grep -qsE "^ *# *include *<$1>" src/cli/*.c src/server/*.c; }
uses microhttpd.h && build="$build libmicrohttpd-dev"
uses curl/curl.h && build="$build libcurl4-gnutls-dev"
uses '(histedit|editline/readline)\.h' && build="$build libedit-dev"
wanted=$build
[ "$goal" = test ] && wanted="$wanted libcmocka-dev gcc clang-tidy clang-format-14 python3 python3-numpy python3-venv openssl"

if ! have apt-get || ! have dpkg; then
  echo "bootstrap: this is not Debian or Ubuntu; needed: clang (14 or newer) $wanted" >&2
  exit 0
fi

installed() { dpkg-query -W -f='${db:Status-Status}\n' "$1" 2>/dev/null | grep -q '^installed'; }
sudo=
[ "$(id -u)" = 0 ] || sudo=sudo

updated=
update() {
  [ -n "$updated" ] && return
  updated=1
  $sudo apt-get update -qq || echo "bootstrap: apt-get update failed; going on with the lists at hand" >&2
}
exists() { [ -n "$(apt-cache show --no-all-versions "$1" 2>/dev/null)" ]; }

# install PACKAGE...: what is missing of it, in one go.
install() {
  missing=
  for p in "$@"; do
    installed "$p" || missing="$missing $p"
  done
  [ -z "$missing" ] && return 0
  if [ -n "$sudo" ] && ! have sudo; then
    echo "bootstrap: not root and no sudo; install these first:$missing" >&2
    exit 1
  fi
  echo "bootstrap: installing$missing"
  update
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/tmp/myna-apt.$$ 2>&1 || {
    cat /tmp/myna-apt.$$ >&2
    rm -f /tmp/myna-apt.$$
    echo "bootstrap: apt-get failed for:$missing" >&2
    exit 1
  }
  rm -f /tmp/myna-apt.$$
}

if [ -z "$clang_found" ]; then
  update
  if exists clang-19; then clang_found=clang-19; else clang_found=clang; fi
  wanted="$wanted $clang_found"
fi
install $wanted

if [ "$goal" = test ]; then
  # The clients that judge the server, in a place of their own; without a network tests/server/test_clients.py says that it was skipped.
  if ! build/clients/bin/python3 -c 'import openai, langchain_openai' 2>/dev/null; then
    echo "bootstrap: installing the Python packages openai and langchain-openai into build/clients"
    { python3 -m venv build/clients && build/clients/bin/python3 -m pip install -q --retries 1 --timeout 20 openai langchain-openai; } >/dev/null 2>&1 ||
      echo "bootstrap: they cannot be installed (no network?); tests of the server with them are skipped" >&2
  fi
  # Sanitizer and fuzzer runtimes of the clang that CMake picks; part of another package on older Ubuntu.
  version=$($clang_found -dumpversion | cut -d. -f1)
  if ! installed "libclang-rt-$version-dev"; then
    exists "libclang-rt-$version-dev" || update
    exists "libclang-rt-$version-dev" && install "libclang-rt-$version-dev"
  fi
  # arm64 tests under qemu: Debian's multiarch. Ubuntu keeps arm64 on another server, so the stage is skipped there.
  if [ "$(dpkg --print-architecture)" = amd64 ] && grep -qs '^ID=debian' /etc/os-release; then
    if ! dpkg --print-foreign-architectures | grep -qx arm64; then
      echo "bootstrap: adding the arm64 architecture (tests of the arm kernels)"
      $sudo dpkg --add-architecture arm64
      updated=
      update
    fi
    install qemu-user gcc-aarch64-linux-gnu libcmocka-dev:arm64 libpcre2-dev:arm64 libutf8proc-dev:arm64 libjansson-dev:arm64
  fi
fi
echo "bootstrap: all that '$goal' needs is there"
