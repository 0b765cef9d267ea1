# SPDX-License-Identifier: Apache-2.0
"""ONNX graphs written node by node, with large weights in a file beside the model, as in a package:
ONNX Runtime maps them; an operator reads them there (ours) or from its own copy (MatMulNBits)."""

import mmap
import os
import pathlib
import tempfile
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

import machine

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


READ_DOMAIN = "benchmark"  # of the operator that only reads (read_operator.cpp)
FILE_NAME = "weights"
PAGE, HUGE_PAGE = 4096, 2 << 20


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

    def _initializers(self, folder: pathlib.Path) -> list[onnx.TensorProto]:
        protos, places, end = [], {}, 0
        for name, array in self.weights.items():
            proto = onnx.TensorProto(name=name, data_type=TYPE[array.dtype], dims=array.shape)
            if array.nbytes < PAGE:  # shapes and axes: ONNX Runtime wants to see them
                proto.raw_data = array.tobytes()
            else:  # as the exporter places them, except that nothing fills the gaps
                alignment = HUGE_PAGE if array.nbytes >= HUGE_PAGE else PAGE
                places[name] = offset = -(-end // alignment) * alignment
                end = offset + array.nbytes
                proto.data_location = TensorProto.EXTERNAL
                place = {"location": FILE_NAME, "offset": offset, "length": array.nbytes}
                for key, value in place.items():
                    proto.external_data.add(key=key, value=str(value))
            protos.append(proto)
        if places:
            self._write(folder / FILE_NAME, places, end)
        return protos

    def _write(self, path: pathlib.Path, places: dict[str, int], size: int) -> None:
        with open(path, "wb+") as file:
            os.posix_fallocate(file.fileno(), 0, size)
            with mmap.mmap(file.fileno(), size) as memory:
                memory.madvise(mmap.MADV_HUGEPAGE)
                for name, at in places.items():
                    array = self.weights[name]
                    memory[at : at + array.nbytes] = array.reshape(-1).view(np.uint8).data

    def session(self, threads: int) -> "Session":
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            graph = helper.make_graph(
                self.nodes, "benchmark", self.inputs, self.outputs, self._initializers(folder)
            )
            opsets = [("", 19), ("trt", 1), ("dovetail", 1), ("com.microsoft", 1), (READ_DOMAIN, 1)]
            model = helper.make_model(
                graph, opset_imports=[helper.make_opsetid(*opset) for opset in opsets]
            )
            model.ir_version = 9
            onnx.save(model, folder / "model.onnx")
            options = onnxruntime.SessionOptions()
            options.use_per_session_threads = False
            options.log_severity_level = 3
            options.add_session_config_entry("dovetail.threads", str(threads))
            reads = any(node.domain == READ_DOMAIN for node in self.nodes)
            options.register_custom_ops_library(str(machine.READ_OPERATOR if reads else LIBRARY))
            return Session(
                onnxruntime.InferenceSession(
                    folder / "model.onnx", options, providers=["CPUExecutionProvider"]
                )
            )


def memory_reader(weights: dict[str, np.ndarray], threads: int) -> tuple["Session", int]:
    """A session with one node that reads int8 arrays as an operator would, from a file of the same
    kind on the same threads, and the bytes it reads."""
    graph = Graph()
    names = [graph.input("x", np.float32, [1])]
    names += [graph.weight(name, array) for name, array in weights.items()]
    graph.output(graph.node("ReadMemory", names, ["checksum"], READ_DOMAIN), np.int64, [1])
    return graph.session(threads), sum(array.nbytes for array in weights.values())


class Session:
    """A session whose runs have everything bound: no copy and no allocation of outputs in a run."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session

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
