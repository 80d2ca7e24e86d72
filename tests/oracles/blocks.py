"""Random valid blocks of the quantized GGUF types: bytes are random, scale fields are set, reserved codes are avoided."""
import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as T
from gguf.quants import dequantize

# type: byte offsets of its float16 fields; for a type with a minimum, the second field and what makes its mean zero (minimum / scale)
F16_FIELDS = {
    "Q4_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,), "Q5_1": (0, 2), "Q8_0": (0,),
    "Q2_K": (80, 82), "Q3_K": (108,), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,),
    "IQ1_S": (0,), "IQ1_M": ("nibbles",), "IQ2_XXS": (0,), "IQ2_XS": (0,), "IQ2_S": (0,), "IQ3_XXS": (0,), "IQ3_S": (0,),
    "IQ4_NL": (0,), "IQ4_XS": (0,), "TQ1_0": (52,), "TQ2_0": (64,), "Q1_0": (0,), "Q2_0": (0,), "MXFP4": (), "NVFP4": (),
}
MIN_OVER_SCALE = {"Q4_1": -7.5, "Q5_1": -15.5, "Q2_K": 1.5, "Q4_K": 7.5, "Q5_K": 15.5}
EXTRA_SIZES = {"Q1_0": (128, 18), "Q2_0": (64, 18)}  # types that this version of the gguf package does not know


def sizes(name):
    """(elements, bytes) of a block."""
    return GGML_QUANT_SIZES[T[name]] if name in T.__members__ and T[name] in GGML_QUANT_SIZES else EXTRA_SIZES[name]


def random_bytes(name, n, rng):
    """uint8 [n, block bytes]: valid codes everywhere; float16 fields still hold garbage."""
    b = rng.integers(0, 256, (n, sizes(name)[1]), dtype=np.uint8)
    if name == "TQ1_0":  # five base-3 digits a byte (four in the last 4 bytes), stored as ceil(v * 256 / 243)
        v = np.concatenate([rng.integers(0, 243, (n, 48)), rng.integers(0, 81, (n, 4)) * 3], axis=1)
        b[:, :52] = (v * 256 + 242) // 243
    elif name == "TQ2_0":  # code 3 is not used
        digits = rng.integers(0, 3, (n, 64, 4))
        b[:, :64] = (digits << np.array([0, 2, 4, 6])).sum(-1)
    elif name == "MXFP4":
        b[:, 0] = rng.integers(119, 124, n)
    elif name == "NVFP4":  # scales are unsigned e4m3; 0x7f is NaN
        b[:, :4] = rng.integers(0x08, 0x18, (n, 4))
    return b


def set_f16(blocks, field, values):
    """Stores one float16 per block at a byte offset, or spread over the top nibbles of IQ1_M's four scale words."""
    bits = np.asarray(values, dtype=np.float16).view(np.uint16)
    if field != "nibbles":
        blocks[:, field:field + 2] = bits.reshape(-1, 1).view(np.uint8)
        return
    words = blocks[:, 48:56].copy().view(np.uint16)
    for i in range(4):
        words[:, i] = (words[:, i] & 0x0FFF) | ((bits >> (4 * i) & 0xF) << 12)
    blocks[:, 48:56] = words.view(np.uint8)


def set_scales(name, blocks, d):
    for field, ratio in zip(F16_FIELDS[name], (1.0, MIN_OVER_SCALE.get(name))):
        set_f16(blocks, field, d * ratio)


def random_matrix(name, shape, std, rng):
    """Bytes [rows, row bytes] of a matrix with about the given standard deviation and mean zero."""
    rows, cols = shape
    n_el, n_by = sizes(name)
    blocks = random_bytes(name, rows * cols // n_el, rng)
    d = rng.uniform(0.5, 1.5, len(blocks)) / 16
    set_scales(name, blocks, d)
    set_scales(name, blocks, d * (std / dequantize(blocks, T[name]).std()))
    return blocks.reshape(rows, cols // n_el * n_by)
