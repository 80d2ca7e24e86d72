#!/usr/bin/env python3
"""The tables of docs/API.md from src/server/api_fields.inc: `api_docs.py` writes them, `api_docs.py --check` says whether they are up to date."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
START, END = "<!-- fields: made by tools/api_docs.py -->", "<!-- end of fields -->"
APIS = {"C": "chat", "T": "completions", "N": "native", "A": "template"}
KINDS = {"BOOL": "boolean", "INT": "integer", "NUM": "number", "STR": "string", "ARR": "array", "OBJ": "object", "ANY": "any"}
USES = {"HONOURED": "honoured", "CLAMPED": "honoured, clamped", "CALLED": "honoured", "ACCEPTED": "accepted without effect", "REFUSED": "refused"}


def split(text):
    """Arguments of a row: commas inside of strings do not count."""
    return [a.strip() for a in re.findall(r'\s*((?:"(?:[^"\\]|\\.)*"|[^,"])+)\s*', text)]


def string(text):
    return "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', text)).replace('\\"', '"').replace("|", "\\|")


def rows(text):
    text = "\n".join(line for line in text.split("*/", 1)[1].splitlines() if not line.lstrip().startswith("#") and "FIELD(" not in line)
    for use, args in re.findall(r'^(HONOURED|CLAMPED|CALLED|ACCEPTED|REFUSED)\(((?:"(?:[^"\\]|\\.)*"|[^")])*)\)', text, re.M):
        a = split(args)
        kinds = "any" if use == "REFUSED" else " or ".join(KINDS[k.strip()] for k in a[2].split("|"))
        span = ""
        if use in ("HONOURED", "CLAMPED", "CALLED") and a[3:5] != ["0", "0"]:
            span = "%g to %g" % (float(a[3]), float(a[4]))
        yield string(a[1]), " ".join(APIS[d.strip()] for d in a[0].split("|")), kinds, span, USES[use], string(a[-1])


def table():
    lines = ["| field | APIs | value | range | | note |", "|---|---|---|---|---|---|"]
    for name, apis, kinds, span, use, note in rows((ROOT / "src/server/api_fields.inc").read_text()):
        lines.append("| " + " | ".join([f"`{name}`", apis, kinds, span, use, note]) + " |")
    return "\n".join(lines)


def main():
    path = ROOT / "docs/API.md"
    old = path.read_text()
    before, rest = old.split(START)
    after = rest.split(END)[1]
    new = before + START + "\n" + table() + "\n" + END + after
    if "--check" in sys.argv:
        if new != old:
            sys.exit("docs/API.md is not up to date: run tools/api_docs.py")
        return
    path.write_text(new)


if __name__ == "__main__":
    main()
