#!/usr/bin/env python3
"""Refuses an #include that points up or sideways (docs: layers, each seeing only those below).

    tools/check_layers.py [--root DIR] [--self-test]

A quoted include is resolved as the compiler does: next to the file, then in src/, then in include/.
Exit status 1 when one is refused.
"""
import argparse
import os
import re
import sys
import tempfile

# What a layer may include from src/. The CPU part of CMakeLists.txt links in the same order.
BELOW = {
    "base": [],
    "formats": ["base"],
    "kernels": ["base"],
    "tensor": ["base", "formats", "kernels"],
    "graph": ["base", "formats", "kernels", "tensor"],
    "models": [],  # only the public array header: a family is written against what any user sees
    "text": ["base", "formats", "kernels", "tensor", "graph"],
    "engine": ["base", "formats", "kernels", "tensor", "graph", "models", "text"],
    "server": [],
    "cli": [],
}
# Public headers, by the first layer that may see them.
BASE_PUBLIC = {"myna_base.h", "myna_dtypes.inc"}
PUBLIC = {
    "base": BASE_PUBLIC,
    "formats": BASE_PUBLIC,
    "kernels": BASE_PUBLIC,
    "tensor": BASE_PUBLIC,
    "graph": BASE_PUBLIC | {"myna_array.h"},
    "models": {"myna_array.h"},
    "text": BASE_PUBLIC | {"myna_chat.h", "myna_grammar.h"},
}
# One file may know another layer for a reason that is written here.
EXCEPTIONS = {
    ("src/cli/serve.c", "src/server/server.h"),  # the subcommand starts the server
}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"]+)"|<(myna[^>]*)>)', re.M)


def resolve(root, source, name):
    for folder in (os.path.dirname(source), "src", "include"):
        path = os.path.normpath(os.path.join(folder, name))
        if os.path.isfile(os.path.join(root, path)):
            return path
    return None


def refused(root, source, target):
    """Why source may not include target, or None."""
    layer = source.split("/")[1]
    if layer not in BELOW:
        return f"src/{layer} is no layer of tools/check_layers.py"
    parts = target.split("/")
    if parts[0] == "include":
        allowed = PUBLIC.get(layer)
        if allowed is not None and target[len("include/"):] not in allowed:
            return f"{layer} may not include the public header {parts[-1]}"
        return None
    if parts[0] != "src":
        return f"{layer} may not include files outside src/ and include/"
    other = parts[1]
    if other == layer or other in BELOW[layer] or (source, target) in EXCEPTIONS:
        return None
    return f"{layer} may not include {other}"


def check(root):
    problems, n = [], 0
    for folder, _, files in sorted(os.walk(os.path.join(root, "src"))):
        for name in sorted(files):
            if not name.endswith((".c", ".h", ".inc", ".cu", ".cuh")):
                continue
            source = os.path.relpath(os.path.join(folder, name), root)
            if source.count("/") < 2:
                problems.append(f"{source}: a file outside the layers")
                continue
            n += 1
            with open(os.path.join(root, source), encoding="utf-8", errors="replace") as f:
                text = f.read()
            for m in INCLUDE.finditer(text):
                included = m.group(1) or m.group(2)
                target = resolve(root, source, included)
                why = refused(root, source, target) if target else None
                if target is None and (m.group(2) or "/" in included):
                    why = f"{included} does not exist"  # other quoted names may be generated or of the system
                if why:
                    line = text.count("\n", 0, m.start()) + 1
                    problems.append(f"{source}:{line}: {why} ({included})")
    return problems, n


def self_test():
    files = {
        "include/myna_base.h": "",
        "include/myna_array.h": '#include "myna_base.h"\n',
        "include/myna.h": "",
        "src/base/base.h": '#include "myna_base.h"\n',
        "src/base/bad.c": '#include "formats/gguf.h"\n',  # up
        "src/formats/gguf.h": '#include "base/base.h"\n',
        "src/formats/bad.c": '#include "kernels/k.h"\n',  # sideways
        "src/kernels/k.h": "",
        "src/kernels/ref/good.c": '#include "../k.h"\n#include "base/base.h"\n#include <stdio.h>\n',
        "src/kernels/ref/bad.c": '#  include "../../formats/gguf.h"\n',  # sideways, hidden in a path
        "src/graph/graph.h": '#include "myna_array.h"\n',
        "src/models/models.h": "",
        "src/models/good.c": '#include "myna_array.h"\n#include "models/models.h"\n',
        "src/models/bad.c": '\n#include "graph/graph.h"\n',
        "src/models/bad2.c": '#include "base/base.h"\n',
        "src/text/bad.c": "#include <myna.h>\n",
        "src/engine/good.c": '#include "models/models.h"\n#include "myna.h"\n',
        "src/cli/good.c": '#include <myna.h>\n',
        "src/cli/bad.c": '#include "engine/engine.h"\n',
        "src/cli/bad2.c": '#include "base/base.h"\n',
        "src/stray.c": "",
    }
    want = ["src/base/bad.c:1", "src/formats/bad.c:1", "src/kernels/ref/bad.c:1", "src/models/bad.c:2",
            "src/models/bad2.c:1", "src/text/bad.c:1", "src/cli/bad.c:1", "src/cli/bad2.c:1", "src/stray.c"]
    with tempfile.TemporaryDirectory() as root:
        for path, text in files.items():
            full = os.path.join(root, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w") as f:
                f.write(text)
        problems, _ = check(root)
    got = sorted(p.split(": ")[0] for p in problems)
    if got != sorted(want):
        print("check_layers: self-test failed\n  got  ", got, "\n  want ", sorted(want))
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
    print(f"  layers: {n} files, {len(problems)} includes refused")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
