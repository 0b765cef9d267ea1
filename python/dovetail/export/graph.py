# SPDX-License-Identifier: Apache-2.0
"""Builds an ONNX graph node by node. A value is its name; our nodes follow the C++ schemas."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from .. import __version__, _native
from ..data_types import DataType
from .external_data import ExternalData

OPSET = 19  # the opset of Edge-LLM 0.5 graphs
IR_VERSION = 9
MICROSOFT = "com.microsoft"

_SCHEMAS: dict[str, Any] = _native.schemas()


class Graph:
    def __init__(self, name: str):
        self._name = name
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._domains = {""}
        self._constants: dict[str, str] = {}
        self.data = ExternalData()

    def input(self, name: str, dtype: DataType, shape: list[int | str]) -> str:
        self._inputs.append(helper.make_tensor_value_info(name, dtype.onnx, shape))
        return name

    def output(self, name: str, dtype: DataType, shape: list[int | str]) -> None:
        self._outputs.append(helper.make_tensor_value_info(name, dtype.onnx, shape))

    def constant(self, values: np.ndarray) -> str:
        """A small constant inside model.onnx; equal ones are shared."""
        key = f"{values.dtype}{values.shape}{values.tobytes().hex()}"
        if key not in self._constants:
            name = f"constant_{len(self._constants)}"
            self._initializers.append(numpy_helper.from_array(values, name))
            self._constants[key] = name
        return self._constants[key]

    def initializer(self, name: str, dtype: DataType, shape: tuple[int, ...]) -> str:
        """Declares a tensor of model.onnx.data; `data.produce` supplies the bytes."""
        self._initializers.append(self.data.declare(name, dtype, shape))
        return name

    def node(
        self,
        op: str,
        inputs: list[str],
        name: str,
        outputs: list[str] | None = None,
        domain: str = "",
        **attributes: Any,
    ) -> str:
        """Adds a node; its single output has the node's name unless `outputs` says otherwise."""
        self._domains.add(domain)
        results = [name] if outputs is None else outputs
        self._nodes.append(
            helper.make_node(op, inputs, results, name=name, domain=domain, **attributes)
        )
        return results[0]

    def plugin(
        self,
        op: str,
        inputs: dict[str, str],
        name: str,
        attributes: dict[str, Any],
        outputs: list[str] | None = None,
    ) -> str:
        """A node of ours. Attributes that have the default are left out, so that the graph asks for
        no more than it needs (the guide's own plugin knows no extension)."""
        schema = _SCHEMAS[op]
        given: dict[str, Any] = {}
        for key, value in attributes.items():
            spec = schema["attributes"][key]
            if spec["required"] or value != spec["default"]:
                given[key] = value
        declared = [tensor["name"] for tensor in schema["inputs"]]
        expected = {
            t["name"] for t in schema["inputs"] if not t["group"] or attributes.get(t["group"], 0)
        }
        if expected != inputs.keys():
            raise ValueError(f"{name}: inputs {sorted(inputs)}, expected {sorted(expected)}")
        ordered = [inputs[tensor] for tensor in declared if tensor in inputs]
        return self.node(op, ordered, name, outputs, schema["domain"], **given)

    def cast(self, value: str, source: DataType, target: DataType, name: str) -> str:
        if source == target:
            return value
        return self.node("Cast", [value], name, to=target.onnx)

    def model(self) -> onnx.ModelProto:
        graph = helper.make_graph(
            self._nodes, self._name, self._inputs, self._outputs, self._initializers
        )
        opsets = [helper.make_opsetid("", OPSET)]
        opsets += [helper.make_opsetid(domain, 1) for domain in sorted(self._domains - {""})]
        return helper.make_model(
            graph,
            opset_imports=opsets,
            ir_version=IR_VERSION,
            producer_name="dovetail",
            producer_version=__version__,
        )
