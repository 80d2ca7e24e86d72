#!/usr/bin/env python3
"""Writes numpy_cases.bin: inputs and results of every primitive operation, computed by NumPy (read by test_cases.c).

    python3 tests/graph/make_numpy_cases.py            (needs numpy; the file is committed, never edited by hand)

Layout, little-endian: "MYNACASE", u32 cases, then per case:
    u8 n, name[n] | u8 n, i64[n] | u8 n, f64[n] | u8 n, inputs[n] | u8 n, outputs[n] | f64 relative tolerance
    array: u8 type (index into TYPES) | u8 n_dims | u32 dims[n_dims] | elements
"""
import itertools
import math
import os
import struct

import numpy as np

TYPES = ["F32", "F16", "BF16", "F64", "I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64", "BOOL"]
NUMPY = {"F32": "f4", "F16": "f2", "BF16": "u2", "F64": "f8", "I8": "i1", "I16": "i2", "I32": "i4", "I64": "i8",
         "U8": "u1", "U16": "u2", "U32": "u4", "U64": "u8", "BOOL": "u1"}
FLOATS = TYPES[:4]
TOLERANCE = {"F32": 2e-6, "F16": 1.1e-3, "BF16": 8e-3, "F64": 1e-13}
rng = np.random.default_rng(20240607)
END = 2**63 - 1
cases = []


class Array:
    """Values in float64 or int64, and the type they are stored as."""

    def __init__(self, values, t):
        self.t = t
        self.stored = store(np.asarray(values), t)
        self.v = load(self.stored, t)


def store(v, t):
    if t == "BF16":
        u = v.astype("f4").view("u4")
        return ((u + 0x7FFF + ((u >> 16) & 1)) >> 16).astype("u2")
    if t == "BOOL":
        return (v != 0).astype("u1")
    return v.astype(NUMPY[t])


def load(s, t):
    if t == "BF16":
        return (s.astype("u4") << 16).view("f4").astype("f8")
    return s.astype("f8" if t in FLOATS else "i8")


def kind(t):
    return 2 if t in FLOATS else 0 if t == "BOOL" else 1


def promote(a, b):
    """myna's rule: bool < int < float, the wider inside a kind, F16 with BF16 gives F32."""
    if a == b:
        return a
    if kind(a) != kind(b):
        return a if kind(a) > kind(b) else b
    wa, wb = np.dtype(NUMPY[a]).itemsize, np.dtype(NUMPY[b]).itemsize
    if kind(a) == 2:
        return "F32" if wa == wb else a if wa > wb else b
    return a if wa > wb else b if wb > wa else {1: "I16", 2: "I32", 4: "I64", 8: "I64"}[wa]


def number(t):
    return "I32" if t == "BOOL" else t


def floating(t):
    return t if t in FLOATS else "F32"


def wide(t):
    return {"BOOL": "I32", "I8": "I32", "I16": "I32", "U8": "U32", "U16": "U32"}.get(t, t)


def case(name, inputs, outputs, ints=(), doubles=(), tol=None):
    worst = max([TOLERANCE.get(a.t, 0) for a in outputs] + [0])
    cases.append((name, inputs, outputs, [int(i) for i in ints], list(doubles), worst if tol is None else tol))


def random(shape, t="F32", lo=-2.0, hi=2.0):
    if t in FLOATS:
        return Array(np.asarray(rng.uniform(lo, hi, shape)), t)
    if t == "BOOL":
        return Array(np.asarray(rng.integers(0, 2, shape)), t)
    return Array(np.asarray(rng.integers(0 if t[0] == "U" else -9, 10, shape)), t)


SHAPES = [(), (1,), (7,), (2, 3, 4), (0, 3)]
erf = np.vectorize(math.erf, otypes=["f8"])
erfc = np.vectorize(math.erfc, otypes=["f8"])

# ---- unary ----

UNARY = {  # function of float64, of int64 (or None), range of inputs
    "neg": (np.negative, np.negative, -2, 2), "abs": (np.abs, np.abs, -2, 2), "sign": (np.sign, np.sign, -2, 2),
    "exp": (np.exp, None, -3, 3), "expm1": (np.expm1, None, -1, 1), "log": (np.log, None, 0.1, 5),
    "log1p": (np.log1p, None, -0.5, 5), "sqrt": (np.sqrt, None, 0, 5), "rsqrt": (lambda x: 1 / np.sqrt(x), None, 0.1, 5),
    "square": (np.square, np.square, -3, 3), "reciprocal": (lambda x: 1 / x, None, 0.2, 3),
    "sin": (np.sin, None, -7, 7), "cos": (np.cos, None, -7, 7), "tanh": (np.tanh, None, -3, 3),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), None, -5, 5), "erf": (erf, None, -3, 3),
    "floor": (np.floor, lambda x: x, -3, 3), "ceil": (np.ceil, lambda x: x, -3, 3), "round": (np.rint, lambda x: x, -3, 3),
    "logical_not": (lambda x: x == 0, lambda x: x == 0, -1, 1), "relu": (lambda x: np.maximum(x, 0), lambda x: np.maximum(x, 0), -2, 2),
    "silu": (lambda x: x / (1 + np.exp(-x)), None, -5, 5), "gelu": (lambda x: 0.5 * x * erfc(-x / math.sqrt(2)), None, -4, 4),
    "gelu_tanh": (lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))), None, -4, 4),
    "softplus": (lambda x: np.logaddexp(x, 0), None, -9, 9),
}
for name, (f, g, lo, hi) in UNARY.items():
    for shape, t in [(s, "F32") for s in SHAPES] + [((5,), "F64"), ((6,), "F16"), ((6,), "BF16"), ((3, 2), "I32"), ((4,), "BOOL"), ((4,), "U8")]:
        a = random(shape, t, lo, hi)
        if t not in FLOATS and name in ("log", "sqrt", "rsqrt", "reciprocal", "log1p"):
            a = Array(np.abs(a.v) + 1, t)
        ints = t not in FLOATS and g
        out = "BOOL" if name == "logical_not" else number(t) if ints else floating(t)
        case(name, [a], [Array((g if ints else f)(a.v), out)])
special = Array([0.0, -0.0, np.inf, -np.inf, np.nan, 0.5, 1.5, -0.5, 2.5], "F32")
with np.errstate(all="ignore"):
    for name in ["neg", "abs", "sign", "exp", "sqrt", "floor", "round", "relu", "sigmoid", "tanh", "logical_not", "log"]:
        f = UNARY[name][0]
        case(name, [special], [Array(f(special.v), "BOOL" if name == "logical_not" else "F32")])

# ---- binary ----


def floor_mod(a, b):
    return np.where(b == 0, 0, np.mod(a, np.where(b == 0, 1, b))) if a.dtype.kind == "i" else np.mod(a, b)


def power(a, b):
    return np.power(a, b) if a.dtype.kind == "f" else np.where(b < 0, np.where(a == 1, 1, np.where(a == -1, 1 - 2 * (b & 1), 0)), np.power(a, np.abs(b)))


BINARY = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": None, "pow": power, "maximum": np.maximum, "minimum": np.minimum,
          "remainder": floor_mod, "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
          "ge": np.greater_equal, "logical_and": np.logical_and, "logical_or": np.logical_or}
PAIRS = [((3, 4), (3, 4), "F32", "F32"), ((3, 1), (4,), "F32", "F32"), ((2, 1, 3), (5, 1), "F32", "F32"), ((), (2, 2), "F32", "F32"),
         ((0, 2), (1, 2), "F32", "F32"), ((5,), (5,), "F64", "F32"), ((2, 3), (3,), "F16", "F16"), ((4,), (4,), "BF16", "F16"),
         ((6,), (6,), "I32", "I32"), ((2, 3), (1, 3), "I32", "F32"), ((4,), (4,), "U8", "I8"), ((4,), (4,), "I64", "I16"),
         ((4,), (4,), "BOOL", "BOOL"), ((4,), (4,), "BOOL", "F32")]
for name, f in BINARY.items():
    for sa, sb, ta, tb in PAIRS:
        a, b = random(sa, ta), random(sb, tb)
        if name == "pow" and promote(ta, tb) in FLOATS:
            a = Array(np.abs(a.v) + (0.1 if ta in FLOATS else 1), ta)
        if name in ("div", "remainder") and promote(ta, tb) in FLOATS:
            b = Array(np.where(np.abs(b.v) < 0.3, 1, b.v), tb)
        if name == "div":
            b = Array(np.where(b.v == 0, 3, b.v), tb)
        t = number(promote(ta, tb))
        truth = name in ("eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or")
        if truth and sa == sb and len(sa):  # some equal pairs
            b = Array(np.where(rng.integers(0, 2, sa), a.v, b.v), tb)
        as_type = "f8" if t in FLOATS or name == "div" else "i8"
        x, y = a.v.astype(as_type), b.v.astype(as_type)
        v = x / y if name == "div" else f(x, y)
        out = "BOOL" if truth else floating(t) if name == "div" else t
        case(name, [a, b], [Array(v, out)], tol=None if name not in ("pow", "remainder") else 4 * TOLERANCE.get(out, 0))
np.seterr(all="ignore")
edge_a, edge_b = Array([np.nan, 1, -np.inf, 0, -7, 7, -7, np.inf], "F32"), Array([1, np.nan, np.inf, -0.0, 3, -3, -3, np.inf], "F32")
for name in ["maximum", "minimum", "eq", "lt", "ge", "add"]:
    v = BINARY[name](edge_a.v, edge_b.v)
    case(name, [edge_a, edge_b], [Array(v, "BOOL" if name in ("eq", "lt", "ge") else "F32")])
mod_a, mod_b = Array([-7, 7, -7, 7, 5, -5, 6, -6.5], "F32"), Array([3, -3, -3, 3, 0.75, 0.75, -2, 4], "F32")
case("remainder", [mod_a, mod_b], [Array(np.mod(mod_a.v, mod_b.v), "F32")])
mod_a, mod_b = Array([-7, 7, -7, 7, 5, 0, -9], "I64"), Array([3, -3, -3, 0, -1, 5, -2**63], "I64")
case("remainder", [mod_a, mod_b], [Array([2, -2, -1, 0, 0, 0, -9], "I64")])

for s, t in itertools.product([2.0, -0.5, 3.0], ["F32", "F64", "F16", "I32", "BOOL"]):
    a = random((3, 5), t)
    out = number(t) if s == int(s) else floating(t)
    case("scale", [a], [Array(a.v * s, out)], doubles=[s])
    case("offset", [a], [Array(a.v + s, out)], doubles=[s])

for sc, sa, sb, ta, tb in [((3, 4), (3, 4), (3, 4), "F32", "F32"), ((3, 1), (4,), (), "F32", "F32"), ((4,), (2, 1), (4,), "I32", "F64"),
                           ((), (3,), (3,), "F16", "F16"), ((3,), (3,), (3,), "BOOL", "BOOL"), ((0,), (1,), (1,), "I64", "I8")]:
    k, a, b = random(sc, "BOOL"), random(sa, ta), random(sb, tb)
    case("where", [k, a, b], [Array(np.where(k.v, a.v, b.v), promote(ta, tb))])

for ta, tb in itertools.product(TYPES, TYPES):
    a = random((7,), ta, -3, 3) if tb in FLOATS or ta not in FLOATS else random((7,), ta, 0, 9)
    v = np.trunc(a.v) if ta in FLOATS and tb not in FLOATS and tb != "BOOL" else a.v
    case("astype", [a], [Array(v, tb)], [TYPES.index(tb)])
wild = Array([300.7, -300.7, 3e9, -3e9, np.nan, np.inf, -np.inf], "F32")
case("astype", [wild], [Array([127, -128, 127, -128, 0, 127, -128], "I8")], [TYPES.index("I8")])
case("astype", [wild], [Array([255, 0, 255, 0, 0, 255, 0], "U8")], [TYPES.index("U8")])
case("astype", [wild], [Array([300, -300, 2**31 - 1, -2**31, 0, 2**31 - 1, -2**31], "I32")], [TYPES.index("I32")])
case("astype", [Array([300, -300, 2**40 + 5], "I64")], [Array([44, -44, 5], "I8")], [TYPES.index("I8")])
a = random((2, 3))
case("stop_gradient", [a], [a])
case("contiguous", [a], [a])

# ---- reductions: ints are axes, then keep ----

REDUCE = {"sum": np.sum, "prod": np.prod, "max": np.max, "min": np.min, "mean": np.mean}


def reduce_type(name, t):
    return floating(t) if name == "mean" else wide(t) if name in ("sum", "prod") else t


for name, f in REDUCE.items():
    for shape, axes, t in [((), (), "F32"), ((7,), (0,), "F32"), ((3, 4), (), "F32"), ((3, 4), (0,), "F32"), ((3, 4), (1,), "F32"), ((2, 3, 4, 2), (1, -1), "F32"),
                           ((2, 3, 4, 2), (0, 2), "F32"), ((2, 3, 4), (-2,), "F64"), ((5, 3), (0,), "F16"), ((5, 3), (1,), "BF16"), ((4, 3), (1,), "I32"),
                           ((4, 3), (0,), "I8"), ((6,), (), "U8"), ((5, 2), (0,), "BOOL"), ((1, 1), (0, 1), "F32"), ((1, 520), (1,), "F32"), ((520, 1), (0,), "F32"), ((2, 520), (0,), "I8")]:
        for keep in (0, 1):
            if np.prod(shape) > 500 and (keep or name not in ("sum", "max")):
                continue
            a = random(shape, t)
            if name == "prod":
                a = Array(np.clip(a.v, -1.2, 1.2), t)
            v = f(a.v, axis=tuple(axes) or None, keepdims=bool(keep))
            scale = 1 if name in ("max", "min") else 3
            case(name, [a], [Array(v, reduce_type(name, t))], list(axes) + [keep], tol=scale * TOLERANCE.get(reduce_type(name, t), 0))
for name in ("sum", "prod"):
    a = random((0, 3))
    case(name, [a], [Array(REDUCE[name](a.v, axis=0), "F32")], [0, 0])
    case(name, [a], [Array(REDUCE[name](a.v, axis=1), "F32")], [1, 0])
    case(name, [a], [Array(REDUCE[name](a.v), "F32")], [0])
nans = Array([[1, np.nan, 3], [4, 2, np.nan], [np.inf, 1, -np.inf]], "F32")
for name in ("sum", "max", "min"):
    with np.errstate(all="ignore"):
        case(name, [nans], [Array(REDUCE[name](nans.v, axis=1), "F32")], [1, 0])


def lse(x, axes, keep):
    m = np.max(x, axis=axes, keepdims=True)
    m = np.where(np.isinf(m), 0, m)
    with np.errstate(divide="ignore"):
        y = m + np.log(np.sum(np.exp(x - m), axis=axes, keepdims=True))
    return y if keep else np.squeeze(y, axis=axes)


for shape, axes, t in [((3, 4), (1,), "F32"), ((3, 4), (0, 1), "F32"), ((2, 3, 2), (0, 2), "F64"), ((5,), (0,), "F16")]:
    for keep in (0, 1):
        a = random(shape, t, -5, 5)
        case("logsumexp", [a], [Array(lse(a.v, axes, keep), t)], list(axes) + [keep])
a = Array([[-np.inf, -np.inf], [-np.inf, 1000.0], [1000.0, 1000.0]], "F32")
case("logsumexp", [a], [Array(lse(a.v, (1,), 0), "F32")], [1, 0])

for name, f in (("argmax", np.argmax), ("argmin", np.argmin)):
    for shape, axis, t in [((7,), 0, "F32"), ((3, 4), 0, "F32"), ((3, 4), -1, "F32"), ((2, 5, 3), 1, "I32"), ((4, 6), 1, "U8"), ((4, 2), 0, "F16"), ((1, 520), 1, "F32"), ((520,), 0, "I8")]:
        a = random(shape, t)
        if t != "F16" and np.prod(shape) < 100:
            a = Array(np.round(a.v), t)  # ties
        for keep in (0, 1):
            case(name, [a], [Array(f(a.v, axis=axis, keepdims=bool(keep)), "I32")], [axis, keep])
    case(name, [nans], [Array(f(nans.v, axis=1), "I32")], [1, 0])

for shape, axis, t in [((7,), 0, "F32"), ((3, 4), 0, "F32"), ((3, 4), -1, "F32"), ((2, 3, 2), 1, "F64"), ((5,), 0, "I32"), ((5,), 0, "BOOL"), ((0, 2), 0, "F32"), ((1, 520), 1, "F32"), ((520,), 0, "I8"), ((6,), 0, "BF16")]:
    a = random(shape, t)
    case("cumsum", [a], [Array(np.cumsum(a.v, axis=axis), number(t))], [axis], tol=4 * TOLERANCE.get(t, 0))


def softmax(x, axis):
    e = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


for shape, axis, t in [((7,), 0, "F32"), ((3, 4), 1, "F32"), ((3, 4), 0, "F32"), ((2, 3, 5), -2, "F32"), ((2, 3, 5), -1, "F32"), ((2, 3), -1, "F64"), ((2, 3), 0, "F16"), ((2, 3), 1, "BF16"),
                       ((0, 3), 1, "F32"), ((3, 1), 1, "F32"), ((1, 520), 1, "F32"), ((4,), 0, "I32")]:
    a = random(shape, t, -6, 6)
    v = softmax(a.v, axis) if a.v.size else a.v.astype("f8")
    case("softmax", [a], [Array(v, floating(t))], [axis], tol=2 * TOLERANCE[floating(t)])
    case("log_softmax", [a], [Array(a.v - lse(a.v, (axis,), 1) if a.v.size else v, floating(t))], [axis], tol=2 * TOLERANCE[floating(t)])
a = Array([[1000.0, 0, -1000], [-np.inf, 0, 1], [3e38, -3e38, 3e38]], "F32")
case("softmax", [a], [Array(softmax(a.v, 1), "F32")], [1])

# ---- order ----

for shape, axis, t in [((9,), 0, "F32"), ((3, 5), 1, "F32"), ((5, 3), 0, "F32"), ((2, 6, 2), 1, "I32"), ((8,), 0, "F16"), ((8,), 0, "U8"), ((8,), 0, "I64"), ((0,), 0, "F32"), ((3, 0), 0, "F32"), ((1, 300), 1, "F32")]:
    a = random(shape, t)
    if t != "F32":
        a = Array(np.round(a.v), t)
    case("argsort", [a], [Array(np.argsort(a.v, axis=axis, kind="stable"), "I32")], [axis])
    case("sort", [a], [Array(np.sort(a.v, axis=axis, kind="stable"), t)], [axis])
a = Array([3, np.nan, -np.inf, 1, np.nan, np.inf, 1], "F32")
case("argsort", [a], [Array(np.argsort(a.v, kind="stable"), "I32")], [0])
case("sort", [a], [Array(np.sort(a.v, kind="stable"), "F32")], [0])
for shape, k, t in [((7,), 3, "F32"), ((3, 8), 8, "F32"), ((2, 2, 9), 1, "I32"), ((20,), 5, "U8"), ((3, 4), 0, "F32"), ((1, 300), 40, "F32")]:
    a = random(shape, t)
    if t == "F32" and k == 8:
        a = Array(np.round(a.v), t)
    order = np.argsort(-a.v, axis=-1, kind="stable")[..., :k]
    case("topk", [a], [Array(np.take_along_axis(a.v, order, -1), t), Array(order, "I32")], [k])

# ---- matmul ----

for sa, sb, ta, tb in [((2, 3), (3, 4), "F32", "F32"), ((5,), (5,), "F32", "F32"), ((5,), (5, 2), "F32", "F32"), ((2, 5), (5,), "F32", "F32"), ((3, 2, 4), (4, 2), "F32", "F32"),
                       ((2, 1, 3, 4), (5, 4, 2), "F32", "F32"), ((4, 2), (3, 2, 3), "F32", "F32"), ((2, 0), (0, 3), "F32", "F32"), ((0, 2), (2, 3), "F32", "F32"), ((1, 1), (1, 1), "F32", "F32"),
                       ((3, 30), (30, 50), "F32", "F32"), ((3, 4), (4, 3), "F64", "F64"), ((2, 3, 4), (2, 4, 2), "F64", "F32"), ((3, 4), (4, 3), "F16", "F16"), ((3, 4), (4, 3), "BF16", "F16"),
                       ((2, 300), (300, 3), "F32", "F32")]:
    a, b = random(sa, ta), random(sb, tb)
    t = promote(ta, tb)
    case("matmul", [a, b], [Array(np.matmul(a.v, b.v), t)], tol=8 * TOLERANCE[t])

# ---- shapes ----

for shape, to in [((2, 3, 4), (6, 4)), ((2, 3, 4), (4, -1)), ((6,), (1, 6, 1)), ((), (1, 1)), ((1,), ()), ((0, 3), (3, 0)), ((0, 3), (0, 7)), ((2, 6), (2, 2, 3)), ((4, 4), (2, 2, 2, 2))]:
    a = random(shape)
    case("reshape", [a], [Array(a.v.reshape(to), "F32")], to)
for shape, perm in [((2, 3), (1, 0)), ((2, 3, 4), (2, 0, 1)), ((2, 3, 4), (0, -1, 1)), ((3,), (0,)), ((), ()), ((0, 2), (1, 0)), ((2, 1, 3, 2), (3, 2, 1, 0))]:
    a = random(shape)
    case("transpose", [a], [Array(a.v.transpose(perm), "F32")], perm)
for shape, i, j in [((2, 3), 0, 1), ((2, 3, 4), -1, 0), ((2, 3), 1, 1)]:
    a = random(shape, "I16")
    case("swapaxes", [a], [Array(a.v.swapaxes(i, j), "I16")], [i, j])
for shape, axis in [((), 0), ((3,), 0), ((3,), -1), ((2, 3), 1), ((2, 3), 2)]:
    a = random(shape)
    case("expand_dims", [a], [Array(np.expand_dims(a.v, axis), "F32")], [axis])
for shape, axis in [((1,), 0), ((1, 3), 0), ((3, 1), -1), ((2, 1, 3), 1)]:
    a = random(shape)
    case("squeeze", [a], [Array(np.squeeze(a.v, axis), "F32")], [axis])
for shape, to in [((), (2, 3)), ((3,), (2, 3)), ((2, 1), (2, 4)), ((1, 2, 1), (3, 2, 2)), ((1,), (0,)), ((2, 3), (2, 3))]:
    a = random(shape)
    case("broadcast_to", [a], [Array(np.broadcast_to(a.v, to), "F32")], to)


def index(n, start, stop, step):
    return np.arange(n)[slice(start, None if stop == END else stop, step)]


for shape, start, stop, step in [((5,), (1,), (4,), (1,)), ((5,), (0,), (END,), (2,)), ((5,), (4,), (END,), (-1,)), ((5,), (-2,), (-5,), (-2,)), ((5,), (3,), (1,), (1,)), ((4, 6), (1, -4), (END, -1), (2, 1)),
                                 ((2, 3, 4), (0, 2, 3), (END, END, 0), (1, -1, -2)), ((5,), (-99,), (99,), (1,)), ((5,), (99,), (END,), (-3,)), ((0,), (0,), (END,), (1,)), ((3, 3), (0, 3), (3, 3), (1, 1))]:
    a = random(shape)
    v = a.v
    for d in range(len(shape)):
        v = np.take(v, index(shape[d], start[d], stop[d], step[d]), axis=d)
    case("slice", [a], [Array(v, "F32")], list(start) + list(stop) + list(step))
for shape, axis, start, stop in [((5, 3), 0, 1, 4), ((5, 3), -1, -2, END), ((2, 6, 2), 1, 2, 3), ((4,), 0, 2, 2)]:
    a = random(shape, "BF16")
    case("slice_axis", [a], [Array(np.take(a.v, index(shape[axis], start, stop, 1), axis=axis), "BF16")], [axis, start, stop])
for shape, part, start, t in [((5,), (2,), (1,), "F32"), ((4, 6), (2, 3), (2, 1), "F32"), ((4, 6), (4, 6), (0, 0), "I8"), ((4, 6), (1, 2), (-1, -2), "F16"), ((3, 3), (0, 3), (1, 0), "F32"), ((), (), (), "F64")]:
    a, u = random(shape, t), random(part, t)
    v = a.v.copy()
    v[tuple(slice(s % n if n else 0, (s % n if n else 0) + m) for s, n, m in zip(start, shape, part))] = u.v
    case("slice_update", [a, u], [Array(v, t)], start)

for shapes, axis, types in [([(2, 3), (1, 3)], 0, ["F32", "F32"]), ([(2, 3), (2, 1), (2, 0)], -1, ["F32"] * 3), ([(3,), (2,)], 0, ["I32", "F16"]), ([(2, 2)], 1, ["U8"]), ([(1, 2)] * 30, 0, ["I32"] * 30)]:
    arrays = [random(s, t) for s, t in zip(shapes, types)]
    t = types[0]
    for other in types[1:]:
        t = promote(t, other)
    case("concat", arrays, [Array(np.concatenate([a.v for a in arrays], axis=axis), t)], [axis])
for shape, n, axis in [((2, 3), 2, 0), ((2, 3), 3, -1), ((2, 3), 2, 1), ((), 4, 0)]:
    arrays = [random(shape) for _ in range(n)]
    case("stack", arrays, [Array(np.stack([a.v for a in arrays], axis=axis), "F32")], [axis])
for shape, before, after, value, t in [((3,), (1,), (2,), 0.0, "F32"), ((2, 3), (0, 2), (1, 0), -1.5, "F32"), ((2, 2), (0, 0), (0, 0), 1.0, "F32"), ((0, 2), (1, 1), (1, 0), 7.0, "I32"), ((), (), (), 1.0, "F32")]:
    a = random(shape, t)
    case("pad", [a], [Array(np.pad(a.v, list(zip(before, after)), constant_values=value) if shape else a.v, t)], list(before) + list(after), [value])
for shape, n, axis in [((3,), 2, 0), ((2, 3), 3, 0), ((2, 3), 2, -1), ((2, 3), 0, 1), ((2, 0), 2, 1)]:
    a = random(shape)
    case("repeat", [a], [Array(np.repeat(a.v, n, axis=axis), "F32")], [n, axis])

# ---- indices: out of range gives zeros, or is not written ----


def indices(shape, n, t="I32", stray=True):
    v = rng.integers(-n, n, shape)
    if stray and np.size(v) > 2:
        v = np.asarray(v)
        v.flat[0], v.flat[1] = n, -n - 1
    return Array(np.asarray(v) if t[0] != "U" else np.abs(v), t)


def resolve(i, n):
    j = np.where(i < 0, i + n, i)
    ok = (j >= 0) & (j < n)
    return np.where(ok, j, 0), ok


TAKE = [((5,), (3,), 0, "F32", "I32"), ((5, 3), (4,), 0, "F32", "I64"), ((5, 3), (2, 2), 1, "F32", "I32"), ((2, 4, 3), (5,), 1, "F64", "I16"), ((4, 2), (), 0, "F32", "I32"), ((4, 2), (0,), 0, "F32", "I32"),
        ((3, 4), (6,), -1, "F16", "U8"), ((6,), (4,), 0, "I32", "I8"), ((6,), (4,), 0, "BOOL", "I32")]
for shape, si, axis, t, ti in TAKE:
    a, i = random(shape, t), indices(si, shape[axis], ti)
    j, ok = resolve(i.v, shape[axis])
    axis0 = axis % len(shape)
    mask = ok.reshape((1,) * axis0 + ok.shape + (1,) * (len(shape) - axis0 - 1))
    case("take", [a, i], [Array(np.where(mask, np.take(a.v, j, axis=axis), 0), t)], [axis])
    u = random(shape[:axis0] + np.shape(i.v) + shape[axis0 + 1:], t)
    added, written = np.moveaxis(a.v.copy(), axis0, 0), np.moveaxis(a.v.copy(), axis0, 0)
    flat = np.moveaxis(u.v.reshape(shape[:axis0] + (-1,) + shape[axis0 + 1:]) if u.v.size else np.zeros(shape[:axis0] + (0,) + shape[axis0 + 1:]), axis0, 0)
    for k, (to, good) in enumerate(zip(np.ravel(j), np.ravel(ok))):
        if good:
            added[to] += flat[k]
            written[to] = flat[k]
    if t != "BOOL":
        case("scatter_add", [a, i, u], [Array(np.moveaxis(added, 0, axis0), t)], [axis], tol=4 * TOLERANCE.get(t, 0))
    case("scatter", [a, i, u], [Array(np.moveaxis(written, 0, axis0), t)], [axis])
for shape, si, axis, t in [((5,), (3,), 0, "F32"), ((3, 4), (3, 2), 1, "F32"), ((3, 4), (6, 4), 0, "F64"), ((2, 3, 4), (2, 1, 4), 1, "I32"), ((2, 3, 4), (2, 3, 1), -1, "F16"), ((3, 4), (1, 4), 1, "F32"), ((3, 4), (3, 0), 1, "F32")]:
    a, i = random(shape, t), indices(si, shape[axis])
    j, ok = resolve(i.v, shape[axis])
    with_axis = [max(x, y) for x, y in zip(shape, si)]
    with_axis[axis] = si[axis]
    j, ok = np.broadcast_to(j, with_axis), np.broadcast_to(ok, with_axis)
    case("take_along_axis", [a, i], [Array(np.where(ok, np.take_along_axis(a.v, j, axis), 0), t)], [axis])

# ---- creation ----

for shape, t, value in [((2, 3), "F32", 1.5), ((), "F64", math.pi), ((3,), "I32", -7.9), ((2,), "BOOL", 2.0), ((0, 2), "F32", 1.0), ((2,), "BF16", 1.5), ((3,), "U8", 200.0)]:
    case("full", [], [Array(np.full(shape, np.trunc(value) if t[0] in "IU" else value), t)], [TYPES.index(t)] + list(shape), [value])
for t, start, stop, step in [("F32", 0, 5, 1), ("I32", 3, -4, -2), ("F64", 0, 1, 0.1), ("I64", 5, 5, 1), ("F32", 0, 1000, 1), ("F16", -1, 1, 0.5)]:
    case("arange", [], [Array(start + np.arange(max(0, math.ceil((stop - start) / step))) * float(step), t)], [TYPES.index(t)], [start, stop, step])


# ---- random numbers: an independent Philox4x32-10, checked against the vectors of Random123 ----


def philox(key, counter):
    x = [counter & 0xFFFFFFFF, counter >> 32 & 0xFFFFFFFF, counter >> 64 & 0xFFFFFFFF, counter >> 96]
    k = [key & 0xFFFFFFFF, key >> 32]
    for _ in range(10):
        a, b = 0xD2511F53 * x[0], 0xCD9E8D57 * x[2]
        x = [b >> 32 ^ x[1] ^ k[0], b & 0xFFFFFFFF, a >> 32 ^ x[3] ^ k[1], a & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return x


assert philox(0, 0) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
assert philox(2**64 - 1, 2**128 - 1) == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]
assert philox(0x299F31D0A4093822, 0x0370734413198A2E85A308D3243F6A88) == [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]


def normals(bits):
    u, v = (np.asarray(bits[0::2]) + 0.5) / 2**32, np.asarray(bits[1::2]) / 2**32
    r = np.sqrt(-2 * np.log(u))
    return np.stack([r * np.cos(2 * np.pi * v), r * np.sin(2 * np.pi * v)], -1).ravel()


for key, shape in [(1, (10,)), (0x123456789ABCDEF0, (3, 7)), (42, (301,))]:
    n = int(np.prod(shape))
    bits = np.array([b for c in range((n + 3) // 4) for b in philox(key, c)], "f8")
    uniform = -1 + 3 * (np.floor(bits / 256) / 2**24)
    signed = key - 2**64 if key >= 2**63 else key
    case("random_uniform", [], [Array(uniform[:n].reshape(shape), "F32")], [signed] + list(shape), [-1, 2], tol=0)
    case("random_normal", [], [Array((0.5 + 2 * normals(bits)[:n]).reshape(shape), "F32")], [signed] + list(shape), [0.5, 2], tol=1e-6)
logits = random((50, 8), "F32", -2, 2)
bits = np.array([b for c in range(100) for b in philox(7, c)], "f8").reshape(50, 8)
case("random_categorical", [logits], [Array(np.argmax(logits.v - np.log(-np.log((bits + 0.5) / 2**32)), -1), "I32")], [7])


def write(path):
    out = [b"MYNACASE", struct.pack("<I", len(cases))]

    def array(a):
        dims = np.shape(a.stored)
        out.append(struct.pack(f"<BB{len(dims)}I", TYPES.index(a.t), len(dims), *dims) + np.ascontiguousarray(a.stored).tobytes())

    for name, inputs, outputs, ints, doubles, tol in cases:
        out.append(struct.pack(f"<B{len(name)}s", len(name), name.encode()))
        out.append(struct.pack(f"<B{len(ints)}q", len(ints), *ints) + struct.pack(f"<B{len(doubles)}d", len(doubles), *doubles))
        for arrays in (inputs, outputs):
            out.append(struct.pack("<B", len(arrays)))
            for a in arrays:
                array(a)
        out.append(struct.pack("<d", tol))
    data = b"".join(out)
    with open(path, "wb") as f:
        f.write(data)
    print(f"{path}: {len(cases)} cases, {len(data)} bytes")


write(os.path.join(os.path.dirname(os.path.abspath(__file__)), "numpy_cases.bin"))
