#!/usr/bin/env python3
"""Builds the examples of docs/HOWTO-*.md: each page's files and rows go into a copy of the tree, which must compile and link.

Fences:  ```c file=PATH      a new file
         ```c append=PATH    lines added at the end of an existing file
         ```c before=PATH:MARKER   lines added before the first line that contains MARKER
Usage: check_howto.py [PAGE ...]     (environment: CC)
"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^```c (file|append|before)=(\S+)\n(.*?)^```$", re.M | re.S)


def apply(tree, kind, target, text):
    path, _, marker = target.partition(":")
    path = tree / path
    if kind == "file":
        if path.exists():
            raise SystemExit(f"{path}: the example would overwrite a file")
        path.write_text(text)
    elif kind == "append":
        path.write_text(path.read_text() + text)
    else:
        lines = path.read_text().splitlines(True)
        at = next(i for i, line in enumerate(lines) if marker in line)
        path.write_text("".join(lines[:at]) + text + "".join(lines[at:]))


def main():
    pages = [pathlib.Path(p) for p in sys.argv[1:]] or sorted((ROOT / "docs").glob("HOWTO-*.md"))
    with tempfile.TemporaryDirectory() as tmp:
        tree = pathlib.Path(tmp) / "myna"
        tree.mkdir()
        for name in ("src", "include", "tests", "bench"):
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("fixtures"))
        shutil.copy(ROOT / "CMakeLists.txt", tree)
        for page in pages:
            found = FENCE.findall(page.read_text())
            if not found:
                raise SystemExit(f"{page}: no example")
            for kind, target, text in found:
                apply(tree, kind, target, text)
            print(f"{page.name}: {len(found)} pieces")
        build = pathlib.Path(tmp) / "build"
        subprocess.run(["cmake", "-S", tree, "-B", build, "-DMYNA_TESTS=OFF", "-DMYNA_WERROR=ON", "-DMYNA_LEVELS=avx2"], check=True, stdout=subprocess.DEVNULL)
        done = subprocess.run(["cmake", "--build", build, "-j2"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            sys.stdout.write(done.stdout[-6000:])
            raise SystemExit("the examples do not build")
    print("the examples of all pages build together")


main()
