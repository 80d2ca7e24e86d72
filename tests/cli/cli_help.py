"""Helpers of the command tests: run the binary, read .npy, and where files lie. Python 3 standard library only."""
import array
import ast
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FIXTURES = os.path.join(ROOT, "tests", "fixtures", "models")
DATA = os.path.join(os.path.dirname(ROOT), "shared", "data")
STORIES = os.path.join(DATA, "models", "stories260K", "stories260K.gguf")
SAMPLE = os.path.join(DATA, "text", "tinystories_sample_2MB.txt")
SHIPPED = os.path.join(ROOT, "models", "myna-stories.gguf")
MYNA = os.environ.get("MYNA_BINARY", "")


def fixture(name):
    return os.path.join(FIXTURES, name)


def clean_env(**more):
    """The environment without MYNA_ variables of whoever runs the tests; MYNA_CPU stays: levels are tested from outside."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("MYNA_") or k == "MYNA_CPU"}
    env.update(more)
    return env


class Result:
    def __init__(self, p):
        self.status = p.returncode
        self.raw = p.stdout
        self.out = p.stdout.decode("utf-8", "replace")
        self.err = p.stderr.decode("utf-8", "replace")

    def json(self):
        return json.loads(self.raw.decode("utf-8"))  # strict: bytes that are no UTF-8 fail


def run(*args, stdin=b"", env=None, binary=None):
    p = subprocess.run([binary or MYNA, *map(str, args)], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_env(**(env or {})), timeout=120)
    return Result(p)


def read_npy(path):
    """(shape, numbers) of a little-endian .npy of any of f4 f8 i4 i8."""
    with open(path, "rb") as f:
        data = f.read()
    assert data[:6] == b"\x93NUMPY", path
    start = 10 + int.from_bytes(data[8:10], "little")
    header = ast.literal_eval(data[10:start].decode())
    numbers = array.array({"<f4": "f", "<f8": "d", "<i4": "i", "<i8": "q"}[header["descr"]])
    numbers.frombytes(data[start:])
    assert not header["fortran_order"] and start % 64 == 0, path
    return header["shape"], numbers


def nmse(x, ref):
    """Mean squared error over mean square of ref."""
    assert len(x) == len(ref)
    return sum((a - b) ** 2 for a, b in zip(x, ref)) / sum(b * b for b in ref)


def flags_of(command):
    """Every flag name that flags.inc gives to a command."""
    with open(os.path.join(ROOT, "src", "cli", "flags.inc"), encoding="utf-8") as f:
        text = f.read()
    groups = dict(re.findall(r'#define (\w+) "([a-z ]+)"', text))
    names = []
    for commands, rest in re.findall(r'^(?:FLAG|IGNORED|REFUSED)\(("[a-z ]+"|[A-Z]+), (.*)\)$', text, re.M):
        words = commands.strip('"') if commands[0] == '"' else groups[commands]
        if command in words.split():
            names += re.search(r'"(-[^"]*)"', rest).group(1).split(",")
    return names


def rows_of(command):
    """(names, argument or None, help, heading) of every flag that flags.inc gives to a command, in the order of the help."""
    with open(os.path.join(ROOT, "src", "cli", "flags.inc"), encoding="utf-8") as f:
        text = f.read()
    groups = dict(re.findall(r'#define (\w+) "([a-z ]+)"', text))
    rows, title = [], ""
    for line in re.findall(r'^(?:SECTION|FLAG|IGNORED|REFUSED)\(.*\)$', text, re.M):
        if line.startswith("SECTION"):
            title = ast.literal_eval(line[8:-1])
            continue
        commands, rest = re.match(r'\w+\(("[a-z ]+"|[A-Z]+), (.*)\)$', line).groups()
        words = commands.strip('"') if commands[0] == '"' else groups[commands]
        if command not in words.split():
            continue
        strings = [ast.literal_eval(s) for s in re.findall(r'"(?:[^"\\]|\\.)*"|NULL', rest.replace("NULL", '"\\x00"'))]
        names, arg, text_of = (strings + [None])[:3] if not line.startswith("REFUSED") else (strings[0], "\0", strings[1])
        rows.append((names, None if arg == "\0" else arg, text_of, title))
    return rows


# ---- GGUF files made by hand ----

GGUF_TYPES = {"u8": (0, "<B"), "i8": (1, "<b"), "u16": (2, "<H"), "i16": (3, "<h"), "u32": (4, "<I"), "i32": (5, "<i"), "f32": (6, "<f"), "bool": (7, "<?"),
              "u64": (10, "<Q"), "i64": (11, "<q"), "f64": (12, "<d")}


def _string(s):
    s = s if isinstance(s, bytes) else s.encode()
    return struct.pack("<Q", len(s)) + s


def gguf_value(kind, value):
    """Type and bytes: kinds as in GGUF_TYPES, "str", and "[kind]" for arrays."""
    if kind == "str":
        return struct.pack("<I", 8) + _string(value)
    if kind[0] == "[":
        items = [gguf_value(kind[1:-1], x)[4:] for x in value]
        return struct.pack("<II", 9, 8 if kind == "[str]" else GGUF_TYPES[kind[1:-1]][0]) + struct.pack("<Q", len(items)) + b"".join(items)
    return struct.pack("<I", GGUF_TYPES[kind][0]) + struct.pack(GGUF_TYPES[kind][1], value)


def write_gguf(path, meta):
    """A file without tensors; meta: [(key, kind, value)]."""
    with open(path, "wb") as f:
        f.write(b"GGUF" + struct.pack("<IQQ", 3, 0, len(meta)))
        for key, kind, value in meta:
            f.write(_string(key) + gguf_value(kind, value))


def change_gguf(source, path, changes, rename=lambda key: key):
    """A copy with other metadata: changes is {key: (kind, value), or None to leave it out}; `rename` gives keys of what stays."""
    with open(source, "rb") as f:
        data = f.read()
    _, n_tensors, n_meta = struct.unpack("<IQQ", data[4:24])
    sizes = {code: struct.calcsize(form) for code, form in GGUF_TYPES.values()}
    at, kept = 24, []

    def skip(kind, at):
        if kind == 8:
            return at + 8 + struct.unpack_from("<Q", data, at)[0]
        if kind != 9:
            return at + sizes[kind]
        item, n = struct.unpack_from("<IQ", data, at)
        at += 12
        for _ in range(n):
            at = skip(item, at)
        return at
    for _ in range(n_meta):
        length = struct.unpack_from("<Q", data, at)[0]
        key = data[at + 8:at + 8 + length].decode()
        start = at + 8 + length
        at = skip(struct.unpack_from("<I", data, start)[0], start + 4)
        if key not in changes:
            kept.append((rename(key), data[start:at]))
    infos = at
    for _ in range(n_tensors):
        at += 8 + struct.unpack_from("<Q", data, at)[0]
        at += 4 + 8 * struct.unpack_from("<I", data, at)[0] + 12
    kept += [(key, gguf_value(*new)) for key, new in changes.items() if new]
    head = data[:4] + struct.pack("<IQQ", 3, n_tensors, len(kept)) + b"".join(_string(k) + v for k, v in kept) + data[infos:at]
    with open(path, "wb") as f:
        f.write(head + bytes(-len(head) % 32) + data[(at + 31) // 32 * 32:])


class Case(unittest.TestCase):
    def terminal(self):
        """Both ends of a new terminal; skips the test where there are none (a chroot without /dev/pts)."""
        try:
            return pty.openpty()
        except OSError as e:
            self.skipTest(str(e))

    def seen(self, p, master, slave):
        """What process p writes to the terminal until it ends; closes both ends. Ours of the slave stays open till then, and what we write there last marks the end: where all have
        closed it, some kernels report the end before they hand over what is still on its way."""
        shown = b""
        marked = False
        while not shown.endswith(b"\0"):
            if not marked and p.poll() is not None:
                marked = os.write(slave, b"\0") == 1
            if select.select([master], [], [], 60 if marked else 0.02)[0]:
                shown += os.read(master, 65536)
            else:
                self.assertFalse(marked, shown)
        os.close(slave)
        os.close(master)
        return shown[:-1]

    def ok(self, *args, **kw):
        r = run(*args, **kw)
        self.assertEqual(r.status, 0, "%s: %s" % (args, r.err))
        return r

    def fails(self, status, part, *args, **kw):
        """Ends with this status, an error that contains part, and nothing on standard output."""
        r = run(*args, **kw)
        self.assertEqual(r.status, status, "%s: %s" % (args, r.err))
        self.assertIn(part, r.err)
        self.assertEqual(r.out, "")
        for line in r.err.splitlines():
            self.assertTrue(line.startswith("myna: "), line)
        return r


def main():
    """For scripts: the first argument is the binary, the others are unittest's. Skipped tests are listed."""
    global MYNA
    if len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
        MYNA = os.path.abspath(sys.argv.pop(1))
    if not MYNA:
        sys.exit("usage: %s BINARY" % sys.argv[0])
    program = unittest.main(exit=False)
    for test, reason in program.result.skipped:
        print("skipped: %s: %s" % (test.id().split(".", 1)[1], reason))
    sys.exit(not program.result.wasSuccessful())
