# SPDX-License-Identifier: Apache-2.0
"""Our operators through their C++ API, on torch tensors and torch's current stream: the mirror of
gpu_operators.h. Build the target dovetail_gpu_operators of the preset `cuda`, or set
DOVETAIL_BUILD_DIR."""

import ctypes
import os
import pathlib

import torch

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
BUILD = pathlib.Path(os.environ.get("DOVETAIL_BUILD_DIR", REPOSITORY / "build" / "cuda"))

TYPES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2, torch.float8_e4m3fn: 3}
LAYOUTS = {"edgellm_v1": 0, "cuda_v1": 2}
MODES = {"prefill": 0, "chunked": 1, "decode": 2, "tree": 3}
INT4_BUFFERS = "activations weights scales zero_points bias output workspace".split()
ATTENTION_BUFFERS = (
    "qkv past_kv_cache kv_cache context_lengths rope_cos_sin kv_start_index attention_mask "
    "attention_pos_id kv_scales q_norm_weight k_norm_weight output workspace"
).split()


def _struct(name: str, ctype, fields: list[str], *more: tuple[str, type]) -> type:
    return type(
        name, (ctypes.Structure,), {"_fields_": [(field, ctype) for field in fields] + list(more)}
    )


_Int4Gemm = _struct(
    "Int4Gemm",
    ctypes.c_int32,
    "m n k group_size layout activation_type scale_type zero_points capability".split(),
)
_Attention = _struct(
    "Attention",
    ctypes.c_int32,
    "q_heads kv_heads head_size mode activation_type cache_type capability".split(),
    *((name, ctypes.c_int64) for name in ("batch", "tokens", "capacity")),
)
_Pack = _struct(
    "Pack",
    ctypes.c_int64,
    "n k group_size".split(),
    *((name, ctypes.c_int32) for name in ("layout", "scale_type")),
    *((name, ctypes.c_void_p) for name in ("codes", "scales", "zero_points")),
    *((f"packed_{name}", ctypes.c_void_p) for name in ("weights", "scales", "zero_points")),
)


def _load() -> ctypes.CDLL:
    path = BUILD / "benchmarks" / "libdovetail_gpu_operators.so"
    if not path.exists():
        raise SystemExit(
            f"{path} is missing: build the target dovetail_gpu_operators of the preset cuda, or "
            "set DOVETAIL_BUILD_DIR"
        )
    library = ctypes.CDLL(str(path))
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    for name, result, arguments in (
        ("plan_int4_gemm", pointer, (pointer, pointer)),
        ("plan_attention", pointer, (pointer, pointer)),
        ("release", None, (pointer,)),
        ("workspace_bytes", size, (pointer,)),
        ("run", ctypes.c_int, (pointer, pointer, pointer, pointer)),
        ("host_seconds", ctypes.c_double, (pointer, pointer, pointer, ctypes.c_int)),
        ("launch_count", ctypes.c_int, (pointer, pointer, pointer)),
        ("pack", ctypes.c_int, (pointer, pointer, pointer)),
        ("launch_read", ctypes.c_int, (pointer, size, pointer, pointer)),
        ("launch_empty", ctypes.c_int, (pointer,)),
        ("host_seconds_empty", ctypes.c_double, (pointer, ctypes.c_int)),
    ):
        function = getattr(library, f"dovetail_{name}")
        function.restype, function.argtypes = result, arguments
    return library


LIBRARY = _load()
_text = ctypes.create_string_buffer(1024)


class OperatorError(Exception):
    """What the library answered."""


def stream() -> int:
    return torch.cuda.current_stream().cuda_stream


class Plan:
    """A plan and its workspace; run() takes the buffers of one call by name."""

    def __init__(self, make, call: ctypes.Structure, names: list[str]) -> None:
        self._handle = make(ctypes.byref(call), _text)
        if not self._handle:
            raise OperatorError(_text.value.decode())
        self.description = _text.value.decode()
        self._names = names
        self._buffers = _struct("Buffers", ctypes.c_void_p, names)
        size = LIBRARY.dovetail_workspace_bytes(self._handle)
        self._workspace = torch.full((max(size, 1),), 0xFF, dtype=torch.uint8, device="cuda")

    def __del__(self) -> None:
        if self._handle:
            LIBRARY.dovetail_release(self._handle)

    def call(self, **tensors: torch.Tensor):
        """A callable that launches this call, with its arguments bound once."""
        tensors["workspace"] = self._workspace
        buffers = self._buffers(
            **{name: tensor.data_ptr() for name, tensor in tensors.items() if tensor is not None}
        )
        address = ctypes.addressof(buffers)

        def run() -> None:
            if LIBRARY.dovetail_run(self._handle, address, stream(), _text):
                raise OperatorError(_text.value.decode())

        run.keep = buffers, tensors, self
        run.host_us = lambda calls: (
            LIBRARY.dovetail_host_seconds(self._handle, address, stream(), calls) * 1e6 / calls
        )
        run.launches = lambda: LIBRARY.dovetail_launch_count(self._handle, address, stream())
        return run


def int4_gemm(
    m, n, k, group_size, layout, activation_type, scale_type, zero_points, capability=0
) -> Plan:
    call = _Int4Gemm(
        m,
        n,
        k,
        group_size,
        LAYOUTS[layout],
        TYPES[activation_type],
        TYPES[scale_type],
        int(zero_points),
        capability,
    )
    return Plan(LIBRARY.dovetail_plan_int4_gemm, call, INT4_BUFFERS)


def attention(
    heads, mode, activation_type, cache_type, batch, tokens, capacity, capability=0
) -> Plan:
    call = _Attention(
        *heads,
        MODES[mode],
        TYPES[activation_type],
        TYPES[cache_type],
        capability,
        batch,
        tokens,
        capacity,
    )
    return Plan(LIBRARY.dovetail_plan_attention, call, ATTENTION_BUFFERS)


def pack(layout: str, group_size: int, codes, scales, scale_type, zero_points=None) -> dict:
    """Plain tensors [N, K] and [N, K/G] to the device buffers `weights`, `scales`, `zero_points`
    of a layout."""
    n, k = codes.shape
    codes, scales = codes.cpu().contiguous(), scales.float().cpu().contiguous()
    zero_points = None if zero_points is None else zero_points.cpu().contiguous()
    request = _Pack(n, k, group_size, LAYOUTS[layout], TYPES[scale_type])
    request.codes, request.scales = codes.data_ptr(), scales.data_ptr()
    sizes = (ctypes.c_int64 * 2)()
    LIBRARY.dovetail_pack(ctypes.byref(request), sizes, _text)
    packed = {
        "weights": torch.empty(sizes[0], dtype=torch.uint8),
        "scales": torch.empty(sizes[1], dtype=scale_type),
    }
    if zero_points is not None:
        packed["zero_points"] = torch.empty(sizes[1], dtype=torch.uint8)
        request.zero_points = zero_points.data_ptr()
    for name, tensor in packed.items():
        setattr(request, f"packed_{name}", tensor.data_ptr())
    if LIBRARY.dovetail_pack(ctypes.byref(request), sizes, _text):
        raise OperatorError(_text.value.decode())
    return {name: tensor.cuda() for name, tensor in packed.items()}
