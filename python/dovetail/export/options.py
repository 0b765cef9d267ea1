# SPDX-License-Identifier: Apache-2.0
"""What an export is asked for, checked, and what each engine wants."""

from __future__ import annotations

from dataclasses import dataclass

from .. import data_types
from ..data_types import DataType
from ..errors import DovetailError


@dataclass(frozen=True)
class Engine:
    """An engine on the device that the package is made for. Others may run it too: the CPU reads
    the layout of the GPU packages, only slower than its own."""

    name: str
    device: str
    layouts: tuple[str, ...]  # of int4 weights; the first is the default
    dtypes: tuple[DataType, ...]  # the first is the default
    # Type of everything outside our nodes: None = the activation type. ONNX Runtime's CPU kernels
    # for norms and elementwise operators are 2 to 6 times slower in fp16 than in fp32, and absent
    # in bf16.
    plain_dtype: DataType | None
    fused_norms: bool  # ONNX Runtime's (Skip)SimplifiedLayerNormalization, not standard operators
    fused_residual_norms: bool  # our ResidualRMSNorm behind each sum
    fused_swiglu: bool  # our PackedSwiGLU, not standard operators
    gated_gemm: bool  # the GEMM of gate and up does that itself


# The first device of an engine is its default.
ENGINES = (
    Engine(
        "onnxruntime",
        "cpu",
        ("cpu_v1",),
        (data_types.FP32, data_types.FP16, data_types.BF16),
        plain_dtype=data_types.FP32,
        fused_norms=True,
        fused_residual_norms=False,
        fused_swiglu=True,
        gated_gemm=False,
    ),
    Engine(
        "onnxruntime",
        "cuda",
        ("edgellm_v1", "cuda_v1"),
        (data_types.FP16, data_types.BF16),
        plain_dtype=None,
        fused_norms=True,
        fused_residual_norms=True,
        fused_swiglu=True,
        gated_gemm=True,
    ),
    Engine(
        "tensorrt",
        "cuda",
        ("edgellm_v1", "cuda_v1"),
        (data_types.FP16, data_types.BF16),
        plain_dtype=None,
        fused_norms=False,
        fused_residual_norms=False,
        fused_swiglu=False,
        gated_gemm=False,
    ),
)
KV_DTYPES = (data_types.FP32, data_types.FP16, data_types.BF16, data_types.FP8)
COMPUTE_MODES = ("auto", "exact", "int8")
HEADS = ("auto", "float", "int4")
DEFAULT_CAPACITY = 4096


@dataclass(frozen=True)
class ExportOptions:
    engine: str = "onnxruntime"
    dtype: str | None = None  # None: the engine's default
    capacity: int | None = None  # None: what the model was trained for, DEFAULT_CAPACITY at most
    device: str | None = None  # None: the engine's default
    max_batch: int = 1
    kv_dtype: str | None = None  # None: fp16, or bf16 with --dtype bf16
    tree: bool = False
    compute: str = "auto"
    head: str = "auto"
    head_group_size: int = 32
    layout: str | None = None  # of int4 weights; None: the engine's default
    replace: bool = False


@dataclass(frozen=True)
class Plan:
    """Checked options with the names resolved."""

    options: ExportOptions
    engine: Engine
    layout: str  # of int4 weights
    dtype: DataType  # of activations at our nodes, and of inputs_embeds
    plain: DataType  # of everything else
    kv_dtype: DataType


def make_plan(options: ExportOptions) -> Plan:
    engine = _engine(options)
    where = f"--dtype for engine {engine.name} on {engine.device}"
    names = tuple(t.name for t in engine.dtypes)
    dtype = data_types.BY_NAME[_choice(where, options.dtype or names[0], names)]
    _choice("--compute", options.compute, COMPUTE_MODES)
    _choice("--head", options.head, HEADS)
    kv_name = options.kv_dtype or ("bf16" if dtype is data_types.BF16 else "fp16")
    _choice("--kv-dtype", kv_name, tuple(t.name for t in KV_DTYPES))
    for what, value in (("--capacity", options.capacity), ("--max-batch", options.max_batch)):
        if value is not None and value < 1:
            raise DovetailError(f"{what} is {value}, expected at least 1")
    if options.head_group_size not in (32, 64, 128):
        raise DovetailError(
            f"--head-group-size is {options.head_group_size}, expected 32, 64 or 128"
        )
    layout = _choice(
        f"--layout for engine {engine.name} on {engine.device}",
        options.layout or engine.layouts[0],
        engine.layouts,
    )
    return Plan(
        options, engine, layout, dtype, engine.plain_dtype or dtype, data_types.BY_NAME[kv_name]
    )


def _engine(options: ExportOptions) -> Engine:
    _choice("--engine", options.engine, tuple(dict.fromkeys(e.name for e in ENGINES)))
    devices = {e.device: e for e in ENGINES if e.name == options.engine}
    device = options.device or next(iter(devices))
    return devices[_choice(f"--device for engine {options.engine}", device, tuple(devices))]


def _choice(what: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise DovetailError(f"{what} is {value}, expected {', '.join(choices)}")
    return value
