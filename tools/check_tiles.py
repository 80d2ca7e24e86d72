#!/usr/bin/env python3
"""Looks at the machine code of panel multiplies: inside a k loop (a run of multiply-adds on zmm or ymm registers) the compiler must not spill.

Usage: check_tiles.py OBJECT ...     fails when an object moves vectors to or from the stack between multiply-adds more than a few times
"""
import re
import subprocess
import sys

MULTIPLY = re.compile(r"\bv(pdpbusd|dpbf16ps|fmadd\d+ps)\b.*%[yz]mm")
SPILL = re.compile(r"\bvmov\w+\s.*\(%rsp")
NEAR = 12  # a spill between two multiply-adds that are this close is inside a loop body
ALLOWED = 0.02  # of the multiply-adds: prologues of wide tiles come close to their loops


def spills(lines):
    """Stack moves with multiply-adds shortly before and after."""
    at = [i for i, line in enumerate(lines) if MULTIPLY.search(line)]
    found = 0
    for i, line in enumerate(lines):
        if not SPILL.search(line):
            continue
        before = [a for a in at if i - NEAR <= a < i]
        after = [a for a in at if i < a <= i + NEAR]
        found += len(before) >= 3 and len(after) >= 3
    return found, len(at)


def main():
    bad = False
    for path in sys.argv[1:]:
        text = subprocess.run(["objdump", "-d", "--no-show-raw-insn", path], check=True, stdout=subprocess.PIPE, text=True).stdout
        found, multiplies = spills(text.splitlines())
        bad |= multiplies == 0 or found > ALLOWED * multiplies
        print(f"{path}: {multiplies} multiply-adds, {found} spills among them")
    raise SystemExit(1 if bad or len(sys.argv) < 2 else 0)


main()
