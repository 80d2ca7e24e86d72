#!/usr/bin/env python3
"""Test vectors of the storage types, by the gguf Python package.

usage: make_quants.py [--out DIR] [--libggml libggml-base.so]

    TYPE.q    8 blocks: random codes, scales from 0 to the extremes of their field (see EXTREMES)
    TYPE.f32  the same blocks dequantized, float32
    rows.f32  4 rows of 256 floats, and TYPE.rows what gguf.quants.quantize makes of them (types it can quantize)
    index.tsv type, ggml type id, elements and bytes of a block, who dequantized

With --libggml (a built llama.cpp) its dequantizers are compared with the package's, and types that the package does not
know are dequantized by it; without, the files of those types stay as they are.
"""
import argparse
import ctypes
import zlib
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType as T, quants

import blocks

TYPES = {t.name: int(t) for t in T if t.name in blocks.F16_FIELDS or t.name in ("F16", "BF16")} | {"Q2_0": 42}
# ordinary, largest, smallest, zero, minus zero, negative, smallest normal; the eighth is random
EXTREMES = [0.0123, 65504.0, 2.0**-24, 0.0, -0.0, -1.5, 2.0**-14]


class Traits(ctypes.Structure):
    """The public struct ggml_type_traits."""
    _fields_ = [("name", ctypes.c_char_p), ("block", ctypes.c_int64), ("interleave", ctypes.c_int64), ("size", ctypes.c_size_t),
                ("quantized", ctypes.c_bool), ("to_float", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64))]


def ggml_dequantize(lib, type_id, q, n):
    lib.ggml_get_type_traits.restype = ctypes.POINTER(Traits)
    out = np.empty(n, dtype=np.float32)
    q = np.ascontiguousarray(q)
    lib.ggml_get_type_traits(type_id).contents.to_float(q.ctypes.data, out.ctypes.data, n)
    return out


def extreme_blocks(name, rng):
    """8 blocks (16-bit floats: 64 values of every exponent)."""
    if name in ("F16", "BF16"):
        top = 31 if name == "F16" else 255
        shift = 10 if name == "F16" else 7
        exps = rng.integers(0, top, 64)
        exps[:4] = (0, 0, top - 1, 1)
        bits = rng.integers(0, 2, 64) << 15 | exps << shift | rng.integers(0, 1 << shift, 64)
        bits[:2] = (0, 0x8000)
        return bits.astype(np.uint16).view(np.uint8).reshape(64, 2)
    b = blocks.random_bytes(name, 8, rng)
    d = np.array(EXTREMES + [rng.standard_normal()])
    for i, field in enumerate(blocks.F16_FIELDS[name]):
        blocks.set_f16(b, field, np.roll(d, 3 * i))
    if name == "MXFP4":
        b[:, 0] = [121, 250, 0, 1, 2, 127, 128, 64]
    if name == "NVFP4":
        b[:4, :4] = [[0x38, 0x7E, 0x00, 0x01], [0x07, 0x08, 0x09, 0x77], [0x40, 0x30, 0x20, 0x10], [0x0F, 0x55, 0x2A, 0x66]]
    return b


def describe(name):
    return (1, 2) if name in ("F16", "BF16") else blocks.sizes(name)


def package_dequantize(name, b):
    try:
        return quants.dequantize(b, T[name]).astype(np.float32).ravel()
    except (KeyError, NotImplementedError):
        return None


def make_type(out, name, lib):
    """Writes the vectors of one type and returns who dequantized them."""
    n_el, _ = describe(name)
    b = extreme_blocks(name, np.random.default_rng(zlib.crc32(name.encode())))
    ours = package_dequantize(name, b)
    theirs = ggml_dequantize(lib, TYPES[name], b, len(b) * n_el) if lib else None
    if ours is not None and theirs is not None:
        same = np.array_equal(ours.view(np.uint32), theirs.view(np.uint32))
        rel = np.max(np.abs(ours - theirs) / np.maximum(np.abs(theirs), 1e-30))
        print(f"{name}: {'the same bits' if same else f'differs from ggml by {rel:.1e} (relative)'}")
    result = theirs if ours is None else ours
    if result is not None:
        assert np.isfinite(result).all(), name
        b.tofile(out / f"{name}.q")
        result.tofile(out / f"{name}.f32")
    return "gguf" if ours is not None else "ggml"


def make_rows(out):
    rng = np.random.default_rng(1)
    x = (rng.standard_normal((4, 256)) * [[0.05], [1.0], [300.0], [1e-6]]).astype(np.float32)
    x[1, 32:64] = 0
    x.tofile(out / "rows.f32")
    for name in TYPES:
        try:
            quants.quantize(x, T[name]).tofile(out / f"{name}.rows")
        except (KeyError, NotImplementedError):
            pass


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "fixtures/quants")
    ap.add_argument("--libggml")
    args = ap.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    lib = ctypes.CDLL(args.libggml) if args.libggml else None
    index = ["type\tid\telements\tbytes\tsource"]
    for name in TYPES:
        source = make_type(args.out, name, lib)
        index.append("\t".join(map(str, (name, TYPES[name], *describe(name), source))))
    make_rows(args.out)
    (args.out / "index.tsv").write_text("\n".join(index) + "\n")


if __name__ == "__main__":
    main()
