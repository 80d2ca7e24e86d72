#!/usr/bin/env python3
"""An MLX safetensors file with two matrices and what they multiply to, by mlx itself (CPU).

usage: make_mlx.py [--out DIR]

    matrices.safetensors  affine.weight U32 [128, 32], affine.scales and affine.biases BF16 [128, 4]: 4 bits, groups of 64, K = 256
                          dense.weight BF16 [128, 256]
    x.npy [5, 256], affine.y.npy and dense.y.npy [5, 128]: y = x W^T in float32, W dequantized in float32
"""
import argparse
from pathlib import Path

import mlx.core as mx
import numpy as np

N, K, ROWS, GROUP, BITS = 128, 256, 5, 64, 4


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "fixtures/mlx")
    out = ap.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(3)
    w, dense, x = (rng.standard_normal(shape).astype(np.float32) for shape in ((N, K), (N, K), (ROWS, K)))
    weight, scales, biases = mx.quantize(mx.array(w).astype(mx.bfloat16), group_size=GROUP, bits=BITS)
    assert mx.any(scales < 0) and mx.any(scales > 0), "both signs of scales should occur"
    dense = mx.array(dense).astype(mx.bfloat16)
    arrays = {"affine.weight": weight, "affine.scales": scales, "affine.biases": biases, "dense.weight": dense}
    mx.save_safetensors(str(out / "matrices.safetensors"), arrays, metadata={"format": "mlx"})

    f32 = mx.float32
    affine = mx.dequantize(weight, scales.astype(f32), biases.astype(f32), group_size=GROUP, bits=BITS)
    y = x @ np.array(affine).T
    by_mlx = np.array(mx.quantized_matmul(mx.array(x), weight, scales.astype(f32), biases.astype(f32), group_size=GROUP, bits=BITS))
    assert np.abs(y - by_mlx).max() < 1e-4, "mlx's own product disagrees"
    np.save(out / "x.npy", x)
    np.save(out / "affine.y.npy", y)
    np.save(out / "dense.y.npy", x @ np.array(dense.astype(f32)).T)


if __name__ == "__main__":
    main()
