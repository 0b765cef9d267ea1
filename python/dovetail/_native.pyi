# SPDX-License-Identifier: Apache-2.0
# Written by `python -m nanobind.stubgen -m dovetail._native`; test_native.py compares the two.
"""Declarations, layouts and packers of the C++ library."""

from typing import Annotated

import numpy
from numpy.typing import NDArray

def schemas() -> dict:
    """
    Every operator by name: domain, attributes with defaults, inputs and outputs in order.
    """

def int4_weights_shape(layout: str, n: int, k: int) -> tuple:
    """Shape of the packed weights, in bytes."""

def int4_scales_shape(layout: str, n: int, k: int, group_size: int) -> tuple:
    """Shape of the packed scales and zero points."""

def pack_int4(
    codes: Annotated[
        NDArray[numpy.uint8], dict(shape=(None, None), order="C", device="cpu", writable=False)
    ],
    scales: Annotated[
        NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu", writable=False)
    ],
    zero_points: Annotated[
        NDArray[numpy.uint8], dict(shape=(None, None), order="C", device="cpu", writable=False)
    ]
    | None,
    group_size: int,
    layout: str,
    scale_type: str,
) -> tuple:
    """
    Plain codes, scales, zero points -> the bytes of a layout, three flat uint8 arrays.
    """

def unpack_int4(
    weights: Annotated[
        NDArray[numpy.uint8], dict(shape=(None,), order="C", device="cpu", writable=False)
    ],
    scales: Annotated[
        NDArray[numpy.uint8], dict(shape=(None,), order="C", device="cpu", writable=False)
    ],
    zero_points: Annotated[
        NDArray[numpy.uint8], dict(shape=(None,), order="C", device="cpu", writable=False)
    ]
    | None,
    n: int,
    k: int,
    group_size: int,
    layout: str,
    scale_type: str,
) -> tuple:
    """The reverse of pack_int4."""

def quantize_int4(
    weights: Annotated[
        NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu", writable=False)
    ],
    group_size: int,
    asymmetric: bool,
    scale_type: str,
    threads: int,
) -> tuple:
    """
    fp32 [N, K] -> codes, scales, zero points or None, sum of squared errors, of squares.
    """

def attention_reference(attributes: dict, inputs: dict) -> tuple:
    """
    AttentionPlugin in fp64: attributes and fp32 tensors by name -> output, present cache.
    """

def int4_gemm_reference(attributes: dict, inputs: dict) -> object:
    """
    Int4GroupwiseGemmPlugin in fp64: attributes and tensors by name -> fp64 [M, N].
    """

def swiglu_reference(attributes: dict, inputs: dict) -> object:
    """
    PackedSwiGLU in fp64: attributes and the fp32 tensor gate_up by name -> fp64 [M, I].
    """

def residual_norm_reference(attributes: dict, inputs: dict) -> tuple:
    """
    ResidualRMSNorm in fp64: attributes and tensors by name -> fp64 normed, sum [M, H].
    """

def cpu_tier() -> str:
    """
    The instruction tier that runs here, or the one that DOVETAIL_CPU forces.
    """
