# SPDX-License-Identifier: Apache-2.0
"""A stand-in for TensorRT's Python module, for tests of `dovetail-run --engine tensorrt`.

It runs the package's graph in ONNX Runtime on the memory that is bound by address, "GPU memory"
being the host's (fake_cudart.cpp), and insists on what TensorRT insists on: names, the shapes of
the chosen optimisation profile, an address for every tensor. It says nothing about TensorRT itself.

An "engine" file is JSON: the path of a package, and max_input.
"""

import ctypes
import enum
import json
import pathlib

import numpy as np
import onnxruntime

import dovetail
from dovetail.build.profiles import profiles

__version__ = "0.fake"


class TensorIOMode(enum.Enum):
    INPUT = 1
    OUTPUT = 2


class ILogger:
    class Severity(enum.IntEnum):
        ERROR = 1
        WARNING = 2


class _Registry:
    def load_library(self, path):
        return path if pathlib.Path(path).is_file() else None


class Runtime:
    def __init__(self, logger):
        self._logger = logger

    def get_plugin_registry(self):
        return _Registry()

    def deserialize_cuda_engine(self, data):
        try:
            return _Engine(json.loads(data), self._logger)
        except ValueError:
            self._logger.log(ILogger.Severity.ERROR, "the engine file is damaged")
            return None


class _Engine:
    num_optimization_profiles = 2

    def __init__(self, facts, logger):
        package = pathlib.Path(facts["package"])
        self.logger = logger
        self.manifest = json.loads((package / "manifest.json").read_text())
        self.profiles = profiles(self.manifest, facts["max_input"], 60)
        options = onnxruntime.SessionOptions()
        options.register_custom_ops_library(dovetail.onnxruntime_library())
        self.session = onnxruntime.InferenceSession(
            package / "model.onnx", options, providers=["CPUExecutionProvider"]
        )
        self.inputs = {value.name: value.type for value in self.session.get_inputs()}
        self.outputs = {value.name: value.type for value in self.session.get_outputs()}
        self._names = [*self.inputs, *self.outputs]

    @property
    def num_io_tensors(self):
        return len(self._names)

    def get_tensor_name(self, index):
        return self._names[index]

    def get_tensor_mode(self, name):
        return TensorIOMode.INPUT if name in self.inputs else TensorIOMode.OUTPUT

    def create_execution_context(self):
        return _Context(self)


TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int32)": np.int32,
         "tensor(int64)": np.int64}


class _Context:
    def __init__(self, engine):
        self._engine, self._profile = engine, None
        self._shapes, self._addresses = {}, {}

    def _refuse(self, message):
        self._engine.logger.log(ILogger.Severity.ERROR, message)
        return False

    def set_optimization_profile_async(self, index, stream):
        self._profile = self._engine.profiles[index]
        return bool(stream)

    def set_input_shape(self, name, shape):
        low, _, high = self._profile[name]
        inside = all(a <= d <= b for a, d, b in zip(low, shape, high, strict=True))
        if not inside:
            return self._refuse(f"{name}: {list(shape)} is outside of {low} to {high}")
        self._shapes[name] = tuple(shape)
        return True

    def set_tensor_address(self, name, address):
        if name not in self._engine.inputs | self._engine.outputs:
            return self._refuse(f"no tensor {name}")
        self._addresses[name] = address
        return True

    def _array(self, name, shape, kind):
        count = int(np.prod(shape))
        data = (ctypes.c_char * max(count * np.dtype(TYPES[kind]).itemsize, 1)).from_address(
            self._addresses[name]
        )
        return np.frombuffer(data, TYPES[kind], count).reshape(shape)

    def execute_async_v3(self, stream):
        engine = self._engine
        if missing := (engine.inputs | engine.outputs).keys() - self._addresses.keys():
            return self._refuse(f"no address for {sorted(missing)}")
        binding = engine.session.io_binding()
        values = {}
        for name, kind in engine.inputs.items():
            array = self._array(name, self._shapes[name], kind)
            values[name] = onnxruntime.OrtValue.ortvalue_from_numpy(array)
            binding.bind_ortvalue_input(name, values[name])
        for name, kind in engine.outputs.items():
            past = name.replace("present", "past")
            if past in values and self._addresses[past] == self._addresses[name]:
                binding.bind_ortvalue_output(name, values[past])
            elif name == "logits":
                shape = (*self._shapes["last_token_ids"], engine.manifest["model"]["vocab_size"])
                values[name] = onnxruntime.OrtValue.ortvalue_from_numpy(
                    self._array(name, shape, kind)
                )
                binding.bind_ortvalue_output(name, values[name])
            else:
                return self._refuse(f"{name} is not bound to the memory of {past}")
        engine.session.run_with_iobinding(binding)
        return True
