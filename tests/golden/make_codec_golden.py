#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes codec_golden.bin, which src/tensor/codec_test.cc compares the codecs with.

Usage: make_codec_golden.py LIBGGML_BASE_SO [OUTPUT]
Needs numpy and the Python package `gguf`; LIBGGML_BASE_SO is llama.cpp's libggml-base, whose quantisers are the
reference for the size of the error. Deterministic: the same versions write the same bytes.

The file is little-endian and holds two sections.
1. Decoding: u32 number of records; each: 16 bytes of type name (zero-padded), u32 bytes, u32 elements, the encoded
   bytes (random blocks; F16 scales finite) and the float32 that gguf.quants.dequantize makes of them.
2. Quantising: u32 number of data sets; each: u32 elements n, bfloat16 values [n], bfloat16 importance [n], u32 number
   of results; each result: 16 bytes of type name, float64 squared error of ggml_quantize_chunk without importance,
   float64 squared error weighted by the importance that it was given.
"""
import ctypes
import struct
import sys

import gguf
import gguf.quants
import numpy as np

HALF_FIELDS = {  # offsets of the F16 scales in a block
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108],
    "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "MXFP4": [],
}
BLOCKS = {32: 6, 256: 2}
QUANTISED = ["Q8_0", "Q4_0", "MXFP4", "Q4_K", "Q6_K"]


def name16(name):
    return name.lower().encode().ljust(16, b"\0")


def random_blocks(rng, name):
    elements, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]
    blocks = rng.integers(0, 256, (BLOCKS[elements], size), dtype=np.uint8)
    for offset in HALF_FIELDS[name]:
        halves = rng.normal(0, 0.05, len(blocks)).astype("<f2")
        blocks[:, offset:offset + 2] = halves.view(np.uint8).reshape(-1, 2)
    if name == "MXFP4":  # gguf.quants has no NaN scale and no infinite product
        blocks[:, 0] = rng.integers(1, 250, len(blocks))
    return blocks.reshape(-1)


def to_bf16(x):
    bits = x.astype("<f4").view("<u4")
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def from_bf16(bits):
    return (bits.astype("<u4") << 16).view("<f4")


def ggml_error(lib, name, x, importance, weights):
    kind = gguf.GGMLQuantizationType[name]
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    columns = 256
    rows = len(x) // columns
    out = np.zeros(len(x) // elements * size, np.uint8)
    floats = ctypes.POINTER(ctypes.c_float)
    # One row at a time: importance in ggml belongs to a column, here to an element.
    row_bytes = columns // elements * size
    for row in range(rows):
        source = np.ascontiguousarray(x[row * columns:(row + 1) * columns])
        factors = np.ascontiguousarray(importance[row * columns:(row + 1) * columns]) if importance is not None else None
        target = np.zeros(row_bytes, np.uint8)
        lib.ggml_quantize_chunk(int(kind), source.ctypes.data_as(floats), target.ctypes.data_as(ctypes.c_void_p),
                                ctypes.c_int64(0), ctypes.c_int64(1), ctypes.c_int64(columns),
                                factors.ctypes.data_as(floats) if factors is not None else None)
        out[row * row_bytes:(row + 1) * row_bytes] = target
    decoded = gguf.quants.dequantize(out, kind).astype(np.float64)
    return float(np.sum(weights * (decoded - x) ** 2))


def main():
    lib = ctypes.CDLL(sys.argv[1])
    lib.ggml_quantize_chunk.restype = ctypes.c_size_t
    out = bytearray()
    rng = np.random.default_rng(20250101)
    out += struct.pack("<I", len(HALF_FIELDS))
    for name in HALF_FIELDS:
        blocks = random_blocks(rng, name)
        values = gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType[name]).astype("<f4")
        out += name16(name) + struct.pack("<II", len(blocks), len(values)) + blocks.tobytes() + values.tobytes()

    sets = [rng.normal(0, 0.02, 2048), rng.standard_t(4, 2048) * 0.02, np.abs(rng.normal(0, 1, 2048)) + 0.5]
    out += struct.pack("<I", len(sets))
    for data in sets:
        values = to_bf16(data.astype(np.float32))
        factors = to_bf16(rng.chisquare(2, len(values)).astype(np.float32))
        x, importance = from_bf16(values), from_bf16(factors)
        out += struct.pack("<I", len(values)) + values.tobytes() + factors.tobytes() + struct.pack("<I", len(QUANTISED))
        for name in QUANTISED:
            plain = ggml_error(lib, name, x, None, np.ones(len(x)))
            weighted = ggml_error(lib, name, x, importance, importance.astype(np.float64))
            out += name16(name) + struct.pack("<dd", plain, weighted)
    target = sys.argv[2] if len(sys.argv) > 2 else __file__.rsplit("/", 1)[0] + "/codec_golden.bin"
    with open(target, "wb") as file:
        file.write(out)


main()
