# SPDX-License-Identifier: Apache-2.0
"""ONNX graphs written node by node, with weights handed over in memory instead of through a
file."""

import pathlib
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

LIBRARY = (
    pathlib.Path(__file__).resolve().parents[1]
    / "python"
    / "dovetail"
    / "libdovetail_onnxruntime.so"
)
TYPE = {
    np.dtype(np.float32): TensorProto.FLOAT,
    np.dtype(np.float16): TensorProto.FLOAT16,
    np.dtype(np.int8): TensorProto.INT8,
    np.dtype(np.uint8): TensorProto.UINT8,
    np.dtype(np.int32): TensorProto.INT32,
    np.dtype(np.int64): TensorProto.INT64,
}


class Graph:
    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.weights: dict[str, np.ndarray] = {}

    def input(self, name: str, dtype, shape: list) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, TYPE[np.dtype(dtype)], shape))
        return name

    def output(self, name: str, dtype, shape: list | None = None) -> None:
        self.outputs.append(helper.make_tensor_value_info(name, TYPE[np.dtype(dtype)], shape))

    def weight(self, name: str, array: np.ndarray) -> str:
        self.weights[name] = np.ascontiguousarray(array)
        return name

    def node(
        self, op: str, inputs: list[str], outputs: list[str], domain: str = "", **attributes
    ) -> str:
        """Returns the first output."""
        self.nodes.append(
            helper.make_node(
                op, inputs, outputs, name=outputs[0] or op, domain=domain, **attributes
            )
        )
        return outputs[0]

    def _initializer(self, name: str, array: np.ndarray) -> onnx.TensorProto:
        if (
            array.nbytes < 4096
        ):  # shapes and axes: ONNX Runtime wants to see them while it optimizes
            return helper.make_tensor(
                name, TYPE[array.dtype], array.shape, array.tobytes(), raw=True
            )
        proto = onnx.TensorProto(
            name=name,
            data_type=TYPE[array.dtype],
            dims=array.shape,
            data_location=TensorProto.EXTERNAL,
        )
        for key, value in {
            "location": "in_memory",
            "offset": "0",
            "length": str(array.nbytes),
        }.items():
            proto.external_data.add(key=key, value=value)
        return proto

    def session(self, threads: int) -> "Session":
        initializers = [self._initializer(name, array) for name, array in self.weights.items()]
        graph = helper.make_graph(self.nodes, "benchmark", self.inputs, self.outputs, initializers)
        model = helper.make_model(
            graph,
            opset_imports=[
                helper.make_opsetid("", 19),
                helper.make_opsetid("trt", 1),
                helper.make_opsetid("dovetail", 1),
                helper.make_opsetid("com.microsoft", 1),
            ],
        )
        model.ir_version = 9
        options = onnxruntime.SessionOptions()
        options.use_per_session_threads = False
        options.log_severity_level = 3
        options.add_session_config_entry("dovetail.threads", str(threads))
        options.register_custom_ops_library(str(LIBRARY))
        external = [
            (p.name, onnxruntime.OrtValue.ortvalue_from_numpy(self.weights[p.name]))
            for p in initializers
            if p.data_location == TensorProto.EXTERNAL
        ]
        if external:
            options.add_external_initializers(
                [name for name, _ in external], [v for _, v in external]
            )
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return Session(session, self.weights)


class Session:
    """A session whose runs have everything bound: no copy and no allocation of outputs in a run."""

    def __init__(
        self, session: onnxruntime.InferenceSession, weights: dict[str, np.ndarray]
    ) -> None:
        self._session = session
        self._weights = weights  # the session reads them where they are

    def bind(
        self, inputs: dict[str, np.ndarray], outputs: dict[str, np.ndarray]
    ) -> Callable[[], None]:
        """The run of these arrays. An array that is input and output is bound as one value: in
        place."""
        binding = self._session.io_binding()
        values: dict[int, onnxruntime.OrtValue] = {}

        def value(array: np.ndarray) -> onnxruntime.OrtValue:
            return values.setdefault(id(array), onnxruntime.OrtValue.ortvalue_from_numpy(array))

        for name, array in inputs.items():
            binding.bind_ortvalue_input(name, value(array))
        for name, array in outputs.items():
            binding.bind_ortvalue_output(name, value(array))
        keep = (inputs, outputs, values, self)
        return lambda: keep[3]._session.run_with_iobinding(binding)
