#!/usr/bin/env python3
"""Mutation test: random one-token changes in src/; the unit tests must notice at least 85 % of them.

    tools/mutants.py [-n 100] [--seed 1] [--only src/base] [--jobs 2] [--keep]

Works in a copy of the tree. A change that does not compile does not count and is replaced by another one. Prints every
survivor as a diff; exit status 1 below the threshold. The tests of the changed layer run first, then the others.
"""
import argparse
import bisect
import hashlib
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

# From the end of a kernel file's name to the flags of /proc/cpuinfo it needs.
NEEDS = {
    "avx2": ["avx2", "fma", "f16c"],
    "avx2vnni": ["avx2", "avx_vnni"],
    "avx512": ["avx512f", "avx512_vnni"],
    "avx512bf16": ["avx512_bf16", "avx512vbmi", "avx512_bitalg"],
    "neon": ["asimddp"],
    "i8mm": ["i8mm"],
    "armbf16": ["bf16"],
}
FOLDERS_ELSEWHERE = {"wasm", "cuda"}

# Longest first. Operators that also have a unary form count only with a space on both sides (clang-format's way).
OPERATORS = {
    "<": ["<=", ">"], "<=": ["<", ">="], ">": [">=", "<"], ">=": [">", "<="], "==": ["!="], "!=": ["=="],
    "&&": ["||"], "||": ["&&"], "+": ["-"], "-": ["+"], "*": ["+"], "/": ["*"], "%": ["/"], "<<": [">>"],
    ">>": ["<<"], "&": ["|"], "|": ["&"], "+=": ["-="], "-=": ["+="], "|=": ["&="], "&=": ["|="],
}
TOKEN = re.compile(
    r"<<=|>>=|\.\.\.|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||\+=|-=|\*=|/=|%=|&=|\|=|\^=|[-+*/%<>&|^!~?:;,=(){}\[\].]"
    r"|0[xX][0-9a-fA-F]+(?:\.[0-9a-fA-F]*)?(?:[pP][-+]?\d+)?\w*|\d[\d.]*(?:[eE][-+]?\d+)?\w*|\.\d+\w*|[A-Za-z_]\w*")
INTEGER = re.compile(r"^(0[xX][0-9a-fA-F]+|\d+)([uUlL]*)$")
HIDDEN = re.compile(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'"
                    r"|^[ \t]*#(?:\\\n|[^\n])*|\b(?:static_assert|_Static_assert|assert)\s*\([^;]*;", re.S | re.M)


def blank(text):
    """The text with comments, strings, directives and asserts replaced by spaces: same length, same lines."""
    return HIDDEN.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)


def sites(text):
    """(start, end, replacement) of every possible change, grouped by line."""
    code = blank(text)
    starts = [0] + [m.end() for m in re.finditer("\n", code)]
    lines = {}
    tokens = list(TOKEN.finditer(code))
    for i, m in enumerate(tokens):
        t, a, b = m.group(), m.start(), m.end()
        out = []
        if t in OPERATORS:
            spaced = code[a - 1:a] == " " and code[b:b + 1] in (" ", "\n")
            if spaced and not (i and tokens[i - 1].group() in ("return", "(", ",", "=")):
                out = OPERATORS[t]
        elif INTEGER.match(t):
            digits, suffix = INTEGER.match(t).groups()
            out = [f"{int(digits, 16 if digits[:2] in ('0x', '0X') else 10) + 1}{suffix}"]
            before = [x.group() for x in tokens[max(0, i - 3):i]]
            # `case 3`; the size in `char text[128]`, where one more is the same program
            declares = len(before) == 3 and before[2] == "[" and all(re.match(r"[A-Za-z_*]", x) for x in before[:2])
            if before[-1:] == ["case"] or (declares and before[0] not in ("return", "*", "else")):
                out = []
        elif t == "!":
            out = [" "]
        elif t in ("true", "false"):
            out = ["false" if t == "true" else "true"]
        elif t in ("++", "--"):
            out = ["--" if t == "++" else "++"]
        elif t == "return" and i + 2 < len(tokens) and tokens[i + 2].group() == ";":
            nxt = tokens[i + 1]
            if re.match(r"[A-Za-z_]\w*$", nxt.group()) and nxt.group() not in ("true", "false", "NULL"):
                lines.setdefault(bisect.bisect(starts, a), []).append((nxt.start(), nxt.end(), "0"))
        line = bisect.bisect(starts, a)
        for new in out:
            lines.setdefault(line, []).append((a, b, new))
    # Lines of data tables (many constants, a comma at the end) are judged by published vectors, not here.
    rows = text.split("\n")
    return {n: s for n, s in lines.items()
            if sum(INTEGER.match(text[x:y]) is not None for x, y, _ in s) <= 6 or not rows[n - 1].rstrip().endswith(",")}


def cpu_flags():
    try:
        with open("/proc/cpuinfo") as f:
            for line in f:
                if line.startswith(("flags", "Features")):
                    return set(line.split(":")[1].split())
    except OSError:
        pass
    return set()


def candidates(root, only):
    flags, files = cpu_flags(), []
    machine = os.uname().machine
    skipped_folder = {"x86"} if machine in ("aarch64", "arm64") else {"arm"}
    for folder, _, names in os.walk(os.path.join(root, "src")):
        for name in names:
            path = os.path.relpath(os.path.join(folder, name), root)
            if not name.endswith((".c", ".h", ".inc")) or set(path.split("/")) & (FOLDERS_ELSEWHERE | skipped_folder):
                continue
            if only and not any(path == o or path.startswith(o.rstrip("/") + "/") for o in only):
                continue
            suffix = name.rsplit(".", 1)[0].rsplit("_", 1)[-1]
            if any(need not in flags for need in NEEDS.get(suffix, [])):
                continue
            files.append(path)
    return sorted(files)


class Bench:
    """The copied tree, its build folder, and running the tests on it."""

    def __init__(self, source, jobs):
        self.dir = tempfile.mkdtemp(prefix="myna-mutants-", dir=os.environ.get("TMPDIR", "/tmp"))
        self.jobs = str(jobs)
        self.seen = {}
        for name in ("include", "src", "tests", "tools", "bench", "models", "CMakeLists.txt", "docs", "shared"):
            path = os.path.join(source, name)
            if os.path.islink(path) or name in ("models", "docs", "shared"):  # read only: no need to copy
                if os.path.exists(path):
                    os.symlink(os.path.realpath(path), os.path.join(self.dir, name))
            elif os.path.isdir(path):
                shutil.copytree(path, os.path.join(self.dir, name), symlinks=True)
            elif os.path.exists(path):
                shutil.copy2(path, self.dir)
        self.build = os.path.join(self.dir, "build")
        # No debug information: objects() compares code, and DWARF holds a checksum of the source.
        generator = ["-GNinja"] if shutil.which("ninja") else []
        self.call(["cmake", "-S", self.dir, "-B", self.build, "-DCMAKE_BUILD_TYPE=Plain",
                   "-DCMAKE_C_FLAGS=-O1"] + generator, 120, check=True)

    def call(self, command, timeout, check=False):
        def limits():
            os.setsid()
            # A mutant may allocate without end.
            resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))
        p = subprocess.Popen(command, cwd=self.dir, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             errors="replace", preexec_fn=limits)
        try:
            out, _ = p.communicate(timeout=timeout)
            rc = p.returncode
        except subprocess.TimeoutExpired:
            os.killpg(p.pid, signal.SIGKILL)
            out, _ = p.communicate()
            rc = -1
        if check and rc != 0:
            sys.exit(f"{' '.join(command)} failed:\n{out[-6000:]}")
        return rc, out

    def compile(self, target):
        return self.call(["cmake", "--build", self.build, "--target", target, "-j", self.jobs], 1200)[0] == 0

    def test(self, select, seconds):
        """True when all pass."""
        rc, out = self.call(["ctest", "--test-dir", self.build, "-j", self.jobs, "--stop-on-failure", "--timeout",
                             str(seconds), *select], 3600)
        self.last = out
        return rc == 0

    def objects(self):
        """What was compiled: object file -> digest, read again only where the file is newer."""
        for folder, _, names in os.walk(os.path.join(self.build, "CMakeFiles")):
            for name in names:
                if not name.endswith(".o"):
                    continue
                path = os.path.join(folder, name)
                stamp = os.stat(path).st_mtime_ns
                if self.seen.get(path, (0,))[0] != stamp:
                    with open(path, "rb") as f:
                        self.seen[path] = (stamp, hashlib.sha1(f.read()).digest())
        return {path: digest for path, (_, digest) in self.seen.items()}


def judge(bench, layer, seconds, own_only, before):
    """For the tree as it is: 'broken' (does not compile), 'same' (nothing compiled differs: code for other machines, or
    the compiler proves the change equivalent), 'caught' or 'survived'."""
    if not bench.compile(f"tests_{layer}"):
        return "broken"
    if not bench.test(["-L", f"^{layer}$"], seconds):
        return "caught"
    if not own_only and not (bench.compile("product") and bench.compile("tests")):
        return "broken"
    if bench.objects() == before:
        return "same"
    return "survived" if own_only or bench.test(["-LE", f"^{layer}$"], seconds) else "caught"


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("-n", type=int, default=100)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--only", action="append", default=[], metavar="PATH", help="file or folder; may be repeated")
    ap.add_argument("--jobs", type=int, default=2)
    ap.add_argument("--threshold", type=float, default=85.0)
    ap.add_argument("--keep", action="store_true", help="leave the copied tree")
    args = ap.parse_args()

    source = os.path.realpath(os.path.join(os.path.dirname(__file__), ".."))
    bench = Bench(source, args.jobs)
    rng = random.Random(args.seed)
    caught = survived = broken = same = 0
    try:
        start, select = time.time(), []
        own_only = not (bench.compile("product") and bench.compile("tests"))
        if own_only:
            # While layers elsewhere are half-written, --only can still judge those that build.
            layers = sorted({p.split("/")[1] for p in args.only if "/" in p})
            if not layers or not all(bench.compile(f"tests_{layer}") for layer in layers):
                sys.exit("mutants: the unchanged tree does not build")
            print("mutants: the whole tree does not build; only the tests of", ", ".join(layers), "are run")
            select = ["-L", "^(" + "|".join(layers) + ")$"]
        built = time.time()
        if not bench.test(select, 900):
            sys.exit("mutants: the tests fail on the unchanged tree\n" + bench.last[-3000:])
        slowest = max([float(s) for s in re.findall(r"([\d.]+) sec$", bench.last, re.M)] or [1.0])
        seconds = int(max(10, 6 * slowest))
        print(f"mutants: seed {args.seed}, build {built - start:.0f} s, tests {time.time() - built:.0f} s,"
              f" {seconds} s per test at most", flush=True)

        before = bench.objects()
        pool = []  # (path, line, changes), every line of code once
        for path in candidates(bench.dir, args.only):
            with open(os.path.join(bench.dir, path), encoding="utf-8") as f:
                pool += [(path, n, s) for n, s in sorted(sites(f.read()).items())]
        if not pool:
            sys.exit("mutants: nothing to change")
        rng.shuffle(pool)
        for path, line, changes in pool:
            if caught + survived >= args.n:
                break
            full = os.path.join(bench.dir, path)
            with open(full, encoding="utf-8") as f:
                text = f.read()
            a, b, new = rng.choice(changes)
            mutant = text[:a] + new + text[b:]
            with open(full, "w", encoding="utf-8") as f:
                f.write(mutant)
            t = time.time()
            verdict = judge(bench, path.split("/")[1], seconds, own_only, before)
            with open(full, "w", encoding="utf-8") as f:
                f.write(text)
            broken += verdict == "broken"
            same += verdict == "same"
            if verdict in ("broken", "same"):
                continue
            caught += verdict == "caught"
            survived += verdict == "survived"
            print(f"{caught + survived:4d} {verdict:8s} {path}:{line} {text[a:b]} -> {new.strip() or '(nothing)'}"
                  f" ({time.time() - t:.0f} s)", flush=True)
            if verdict == "survived":
                print("     -" + text.split("\n")[line - 1] + "\n     +" + mutant.split("\n")[line - 1], flush=True)
    finally:
        if not args.keep:
            shutil.rmtree(bench.dir, ignore_errors=True)
    total = caught + survived
    percent = 100.0 * caught / total if total else 0.0
    print(f"mutants: {caught} of {total} caught, {percent:.1f} % (at least {args.threshold:.0f} wanted);"
          f" {broken} did not compile, {same} changed nothing")
    return 0 if percent >= args.threshold else 1


if __name__ == "__main__":
    sys.exit(main())
