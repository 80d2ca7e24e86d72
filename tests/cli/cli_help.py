"""Helpers of the command tests: run the binary, read .npy, and where files lie. Python 3 standard library only."""
import array
import ast
import json
import os
import re
import subprocess
import sys

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
