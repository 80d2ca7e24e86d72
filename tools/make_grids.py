#!/usr/bin/env python3
"""Writes src/kernels/quants/grids.inc: which points the codebooks of the IQ types hold.

Source of the constants: the `gguf` Python package (pip install gguf). A codebook entry is a vector of 8
levels of {0, 1, 2} or 4 levels of {0..7}. In every codebook the entries stand in ascending order of the number
whose digits are the levels (first level lowest), so a codebook is a set of numbers and is stored as a bitmap:
bit v of the little-endian string of 64-bit words is set when the vector with digits v is in the book.

    python3 tools/make_grids.py > src/kernels/quants/grids.inc
"""
import gguf.quants as q

BOOKS = [  # our name, class of the package, levels, digits
    ("iq2_xxs", q.IQ2_XXS, 3, 8),
    ("iq2_xs", q.IQ2_XS, 3, 8),
    ("iq2_s", q.IQ2_S, 3, 8),
    ("iq1", q.IQ1_S, 3, 8),
    ("iq3_xxs", q.IQ3_XXS, 8, 4),
    ("iq3_s", q.IQ3_S, 8, 4),
]


def members(cls, levels, digits):
    cls.init_grid()
    value = {v: i for i, v in enumerate(cls.grid_map)}
    assert len(value) == levels
    numbers = [sum(value[x] * levels**j for j, x in enumerate(row))
               for row in cls.grid.reshape(-1, digits).tolist()]
    assert all(a < b for a, b in zip(numbers, numbers[1:])), "not in ascending order"
    return numbers


print("/* Written by tools/make_grids.py from the constants of the `gguf` Python package; not edited by hand.\n"
      " * One bitmap per codebook: BOOK(name, levels, digits, entries, words...). */")
for name, cls, levels, digits in BOOKS:
    numbers = members(cls, levels, digits)
    bits = sum(1 << v for v in numbers)
    n_words = (levels**digits + 63) // 64
    words = [bits >> 64 * i & (1 << 64) - 1 for i in range(n_words)]
    print(f"BOOK({name}, {levels}, {digits}, {len(numbers)},")
    for i in range(0, n_words, 6):
        row = ", ".join(f"0x{w:x}" for w in words[i:i + 6])
        print(f"     {row}" + ("," if i + 6 < n_words else ")"))
