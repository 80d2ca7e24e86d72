#!/usr/bin/env python3
"""Looks at the machine code of panel multiplies: inside a k loop the compiler must not spill.

Usage: check_tiles.py OBJECT ...

x86: fails when an object moves zmm or ymm registers to or from the stack between multiply-adds more than a few times.
arm64: fails when the widest loop of a multiply in TILES does another number of products than its tile has, or copies, saves or
reloads vector registers. `-v` prints what that loop holds.
"""
import re
import shutil
import subprocess
import sys

MULTIPLY = re.compile(r"\bv(pdpbusd|dpbf16ps|fmadd\d+ps)\b.*%[yz]mm")
SPILL = re.compile(r"\bvmov\w+\s.*\(%rsp")
NEAR = 12  # a spill between two multiply-adds that are this close is inside a loop body
ALLOWED = 0.02  # of the multiply-adds: prologues of wide tiles come close to their loops

# arm64: products of one round of a k loop: 16 rows x 4 columns x k.
TILES = {
    "mul_32": 16 * 4 * 32, "mul_32_min": 16 * 4 * 32, "mul_16": 16 * 4 * 32,
    "mul_256_1": 16 * 4 * 32, "mul_256_1_min": 16 * 4 * 32,
    "mul_256_8": 16 * 4 * 32, "mul_256_8_min": 16 * 4 * 32, "mul_256_16": 16 * 4 * 16,
    "mul_f32": 16 * 4 * 4, "mul_bf16": 16 * 4 * 8, "mul_bf16_pairs": 16 * 4 * 8,
}
PRODUCTS = {"sdot": 16, "smmla": 32, "bfdot": 8, "bfmmla": 16, "fmla": 4}  # per instruction
ARM_SPILL = re.compile(r"^(ldr|ldp|ldur|str|stp|stur) q.*\[(sp|x29)")
ARM_COPY = re.compile(r"^mov v\d+\.16b")


def disassemble(path):
    with open(path, "rb") as f:
        arm = f.read(20)[18:20] == b"\xb7\x00"  # e_machine
    tools = ["aarch64-linux-gnu-objdump", "llvm-objdump", "llvm-objdump-19"] if arm else ["objdump"]
    tool = next((t for t in tools if shutil.which(t)), tools[0])
    text = subprocess.run([tool, "-d", "--no-show-raw-insn", path], check=True, stdout=subprocess.PIPE, text=True).stdout
    return arm, text.splitlines()


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


def arm_functions(lines):
    """name -> [(address, instruction)]"""
    functions, body = {}, None
    for line in lines:
        name = re.match(r"[0-9a-f]+ <(.+)>:", line)
        code = re.match(r"\s*([0-9a-f]+):\s+(.+)", line)
        if name:
            body = functions.setdefault(name.group(1), [])
        elif code and body is not None:
            body.append((int(code.group(1), 16), re.sub(r"\s+", " ", code.group(2))))
    return functions


def arm_loops(body):
    """The instructions of every innermost loop."""
    index = {address: i for i, (address, _) in enumerate(body)}
    loops = []
    for i, (_, text) in enumerate(body):
        branch = re.match(r"(?:b|b\.\w+|cbn?z|tbn?z) (?:.*, )?(?:0x)?([0-9a-f]+)\b", text)
        to = index.get(int(branch.group(1), 16)) if branch else None
        if to is not None and to <= i:
            loops.append((to, i))
    inner = [a for a in loops if not any(a != b and a[0] <= b[0] and b[1] <= a[1] for b in loops)]
    return [[text for _, text in body[a:b + 1]] for a, b in inner]


def count(loop, table):
    return sum(table.get(text.split()[0], 0) for text in loop)


def check_arm(path, lines, verbose):
    bad, seen = False, 0
    for name, body in arm_functions(lines).items():
        if name not in TILES:
            continue
        loops = arm_loops(body)
        integer = {k: v for k, v in PRODUCTS.items() if k != "fmla"}
        table = integer if any(count(loop, integer) for loop in loops) else PRODUCTS
        products = max((count(loop, table) for loop in loops), default=0)
        wide = [loop for loop in loops if count(loop, table) == products]  # also 3 columns where 4 come in pairs
        widest = max(wide, key=len, default=[])
        moves = [t for loop in wide for t in loop if ARM_SPILL.match(t) or ARM_COPY.match(t)]
        seen += 1
        bad |= products != TILES[name] or bool(moves)
        dots = count(widest, {k: 1 for k in table})
        print(f"{path}: {name}: {products} products of {TILES[name]} by {dots} of {len(widest)} instructions, "
              f"{len(moves)} spills or copies")
        if verbose:
            names = [t.split()[0] for t in widest]
            print("   ", ", ".join(f"{n} {names.count(n)}" for n in sorted(set(names))))
    if not seen:
        print(f"{path}: no multiply that is in TILES")
    return bad or not seen


def main():
    bad = False
    paths = [a for a in sys.argv[1:] if a != "-v"]
    for path in paths:
        arm, lines = disassemble(path)
        if arm:
            bad |= check_arm(path, lines, "-v" in sys.argv)
            continue
        found, multiplies = spills(lines)
        bad |= multiplies == 0 or found > ALLOWED * multiplies
        print(f"{path}: {multiplies} multiply-adds, {found} spills among them")
    raise SystemExit(1 if bad or not paths else 0)


main()
