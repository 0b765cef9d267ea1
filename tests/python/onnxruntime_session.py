# SPDX-License-Identifier: Apache-2.0
"""One-node models around our operators, and sessions that run them on numpy memory of any element
type.

A tensor is a numpy array; bfloat16 and float8_e4m3fn are those of ml_dtypes. Inputs and outputs
are bound by address, so binding one array as input and output is what "in place" means to ONNX
Runtime.
"""

import pathlib

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
LIBRARY = REPOSITORY / "python" / "dovetail" / "libdovetail_onnxruntime.so"

BF16 = np.dtype(ml_dtypes.bfloat16)
FP8 = np.dtype(ml_dtypes.float8_e4m3fn)
F16 = np.dtype(np.float16)
F32 = np.dtype(np.float32)

ONNX_TYPE = {
    F32: TensorProto.FLOAT,
    F16: TensorProto.FLOAT16,
    BF16: TensorProto.BFLOAT16,
    FP8: TensorProto.FLOAT8E4M3FN,
    np.dtype(np.int8): TensorProto.INT8,
    np.dtype(np.uint8): TensorProto.UINT8,
    np.dtype(np.int32): TensorProto.INT32,
    np.dtype(np.int64): TensorProto.INT64,
    np.dtype(np.float64): TensorProto.DOUBLE,
}
# What onnxruntime's numpy bridge takes for the types that numpy itself does not have.
RAW = {BF16: np.uint16, FP8: np.uint8}

# Half of the distance from 1 to the next value.
UNIT_ROUNDOFF = {F32: 2.0**-24, F16: 2.0**-11, BF16: 2.0**-8, FP8: 2.0**-4}
SMALLEST_NORMAL = {F32: 2.0**-126, F16: 2.0**-14, BF16: 2.0**-126, FP8: 2.0**-6}


def half_unit(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Largest rounding error of `values` stored as `dtype`, element by element."""
    exponent = np.exp2(np.floor(np.log2(np.maximum(np.abs(values), SMALLEST_NORMAL[dtype]))))
    return exponent * UNIT_ROUNDOFF[dtype]


def tensor(name: str, array: np.ndarray) -> onnx.TensorProto:
    array = np.ascontiguousarray(array)
    return helper.make_tensor(name, ONNX_TYPE[array.dtype], array.shape, array.tobytes(), raw=True)


def node_model(
    op: str,
    inputs: dict[str, tuple],
    outputs: dict[str, int],
    attributes: dict,
    constants: dict[str, np.ndarray] | None = None,
    domain: str = "trt",
) -> bytes:
    """A model of one node named "node". `inputs`: name -> (ONNX type, shape), or None for an
    initializer; a name that begins with "no " is left out. Outputs are declared by type alone:
    their shapes are for shape inference to find."""
    constants = constants or {}
    names = ["" if name.startswith("no ") else name for name in inputs]
    node = helper.make_node(op, names, list(outputs), name="node", domain=domain, **attributes)
    graph = helper.make_graph(
        [node],
        "one_node",
        [
            helper.make_tensor_value_info(name, *kind)
            for name, kind in inputs.items()
            if kind is not None
        ],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items() if name],
        [tensor(name, array) for name, array in constants.items()],
    )
    model = helper.make_model(
        graph,
        opset_imports=[
            helper.make_opsetid("", 19),
            helper.make_opsetid("trt", 1),
            helper.make_opsetid("com.microsoft", 1),
        ],
    )
    model.ir_version = 9
    return model.SerializeToString()


def open_session(model: bytes, threads: int = 2) -> onnxruntime.InferenceSession:
    assert LIBRARY.exists(), f"{LIBRARY} is missing: build the target dovetail_onnxruntime"
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    options.add_session_config_entry("dovetail.threads", str(threads))
    options.register_custom_ops_library(str(LIBRARY))
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def ort_value(array: np.ndarray) -> onnxruntime.OrtValue:
    """A view of the array's memory."""
    assert array.flags.c_contiguous
    raw = array.view(RAW.get(array.dtype, array.dtype))
    return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(raw, ONNX_TYPE[array.dtype])


def run(
    session: onnxruntime.InferenceSession,
    inputs: dict[str, np.ndarray],
    outputs: dict[str, np.ndarray],
) -> None:
    """Runs with inputs and outputs bound; an array that is both is bound as one value."""
    values = {}

    def value_of(array: np.ndarray) -> onnxruntime.OrtValue:
        return values.setdefault(id(array), ort_value(array))

    binding = session.io_binding()
    for name, array in inputs.items():
        binding.bind_ortvalue_input(name, value_of(array))
    for name, array in outputs.items():
        binding.bind_ortvalue_output(name, value_of(array))
    session.run_with_iobinding(binding)
