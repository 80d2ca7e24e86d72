#!/usr/bin/env python3
"""Refuses what a reader of the public headers and of docs/ would miss:

  - a function in include/*.h without a docstring: a comment right above it, or above the paragraph (no blank line
    between) in which it stands;
  - an environment variable MYNA_... read in src/ that no page of docs/, README.md or public header names
    (only once docs/ has pages).

    tools/check_docs.py [--root DIR] [--self-test]
"""
import argparse
import glob
import os
import re
import sys
import tempfile

PROTOTYPE = re.compile(r"\b(myna_\w+)\s*\(")
BANNER = re.compile(r"^\s*/\*\s*-{3,}.*-{3,}\s*\*/\s*$")


def undocumented(text):
    """Names and lines of public functions without a comment in their paragraph."""
    missing = []
    comment = False  # the paragraph has a comment so far
    depth = 0  # of braces and parentheses
    in_comment = in_macro = False
    for number, line in enumerate(text.split("\n"), 1):
        if in_comment:
            in_comment = "*/" not in line
            continue
        if in_macro or line.lstrip().startswith("#"):
            in_macro = line.endswith("\\")
            continue
        if not line.strip():
            if depth == 0:
                comment = False
            continue
        if BANNER.match(line):
            continue
        code = re.sub(r"/\*.*?\*/", "", line)
        if code != line or "/*" in code:
            comment = True
        if "/*" in code:
            in_comment = True
            code = code[: code.index("/*")]
        if "//" in code:
            comment = True
            code = code[: code.index("//")]
        m = PROTOTYPE.search(code)
        if m and depth == 0 and not code.lstrip().startswith("typedef") and not comment:
            missing.append((m.group(1), number))
        depth += len(re.findall(r"[({]", code)) - len(re.findall(r"[)}]", code))
        if 'extern "C" {' in code or (depth < 0):  # the C++ guard is no scope
            depth = 0
    return missing


def environment(root):
    """MYNA_ variables that src/ reads, with one place each."""
    found = {}
    for path in glob.glob(os.path.join(root, "src", "**", "*.[ch]"), recursive=True):
        with open(path, encoding="utf-8", errors="replace") as f:
            for number, line in enumerate(f, 1):
                for name in re.findall(r'getenv\("(MYNA_\w+)"\)', line):
                    found.setdefault(name, f"{os.path.relpath(path, root)}:{number}")
    return found


def check(root):
    problems, n = [], 0
    for path in sorted(glob.glob(os.path.join(root, "include", "*.h"))):
        with open(path, encoding="utf-8") as f:
            text = f.read()
        n += len(set(PROTOTYPE.findall(text)))
        for name, line in undocumented(text):
            problems.append(f"include/{os.path.basename(path)}:{line}: {name} has no docstring")
    pages = glob.glob(os.path.join(root, "docs", "*.md"))
    if pages:
        readable = pages + [os.path.join(root, "README.md")] + glob.glob(os.path.join(root, "include", "*.h"))
        words = "".join(open(p, encoding="utf-8").read() for p in readable if os.path.isfile(p))
        for name, place in sorted(environment(root).items()):
            if not re.search(rf"\b{name}\b", words):
                problems.append(f"{place}: the environment variable {name} is not documented")
    return problems, n


def self_test():
    header = """/* x.h: banner */
#ifndef X
#define F(x) \\
  myna_in_macro(x)
#ifdef __cplusplus
extern "C" {
#endif

/* Documented. */
MYNA_API int myna_a(int x);
MYNA_API int myna_b(int x,
                    int y);

MYNA_API int myna_c(void);
/* ---- a banner is no docstring ---- */

/* ---- another ---- */
int myna_d(void);

/* A struct,
 * documented. */
typedef struct myna_s {
  int (*fn)(int);

  int x;
} myna_s;
MYNA_API void myna_e(myna_s *s);

typedef int (*myna_cb)(int);
MYNA_API void myna_f(void); /* said behind it */
#endif
"""
    with tempfile.TemporaryDirectory() as root:
        files = {"include/x.h": header, "docs/x.md": "MYNA_KNOWN", "src/base/a.c": 'getenv("MYNA_KNOWN");\n'
                 'getenv("MYNA_SECRET"); getenv("HOME");'}
        for path, text in files.items():
            os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
            with open(os.path.join(root, path), "w") as f:
                f.write(text)
        problems, _ = check(root)
    got = [p.split(": ", 1)[1] for p in problems]
    want = ["myna_c has no docstring", "myna_d has no docstring",
            "the environment variable MYNA_SECRET is not documented"]
    if got != want:
        print("check_docs: self-test failed\n  got  ", got, "\n  want ", want)
        return 1
    return 0


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--root", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    ap.add_argument("--self-test", action="store_true")
    args = ap.parse_args()
    if args.self_test:
        return self_test()
    problems, n = check(args.root)
    for p in problems:
        print(p)
    print(f"  docs: {n} public names, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
