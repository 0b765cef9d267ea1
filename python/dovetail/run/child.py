# SPDX-License-Identifier: Apache-2.0
"""Runs a TensorRT engine for dovetail-run (src/runtime/python_engine.cpp).

Requests come on standard input, answers go to standard output: one line of JSON, then the bytes
that it announces. TensorRT's log goes to standard error.

  {"open": {engine, library}}                        -> {version, inputs, outputs, profiles}
  {"context": {id, batch shapes, rope}} + rope       -> {}
  {"run": {id, profile, inputs, logits}} + inputs    -> {} + logits
  {"close": {id}}                                    -> {}
  anything that fails                                -> {"error": one sentence}

A context owns the KV cache of one batch: GPU memory that is bound as past and as present, in both
optimisation profiles.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any, BinaryIO

from ..build.child import Failure, make_logger
from .cuda import Cuda, CudaError

PROFILES = 2  # build/profiles.py: prompts, generation


class Context:
    def __init__(self, cuda: Cuda, engine: Any, logger: Any, facts: dict[str, Any], rope: bytes):
        self._cuda, self._logger = cuda, logger
        self._buffers: dict[str, tuple[int, int]] = {}  # name -> pointer, bytes
        self._profiles = [engine.create_execution_context() for _ in range(PROFILES)]
        for index, profile in enumerate(self._profiles):
            if profile is None or not profile.set_optimization_profile_async(index, cuda.stream):
                raise Failure(logger.reason(f"optimisation profile {index} cannot be used"))
            self._bind(profile, "rope_rotary_cos_sin", facts["rope_shape"], len(rope))
            for layer in range(facts["layers"]):
                past = f"past_key_values_{layer}"
                self._bind(profile, past, facts["cache_shape"], facts["cache_bytes"])
                self._address(profile, f"present_key_values_{layer}", self._buffers[past][0])
        cuda.copy_in(self._buffers["rope_rotary_cos_sin"][0], rope)
        cuda.wait()

    def run(self, request: dict[str, Any], inputs: list[bytes]) -> bytes:
        profile = self._profiles[request["profile"]]
        for tensor, data in zip(request["inputs"], inputs, strict=True):
            pointer = self._bind(profile, tensor["name"], tensor["shape"], len(data))
            if data:
                self._cuda.copy_in(pointer, data)
        nbytes = request["logits_bytes"]
        logits = self._reserve("logits", nbytes)
        self._address(profile, "logits", logits)
        if not profile.execute_async_v3(self._cuda.stream):
            raise Failure(self._logger.reason("TensorRT does not run the engine"))
        return self._cuda.copy_out(logits, nbytes)

    def close(self) -> None:
        self._profiles.clear()
        for pointer, _ in self._buffers.values():
            self._cuda.free(pointer)

    def _reserve(self, name: str, nbytes: int) -> int:
        pointer, size = self._buffers.get(name, (0, -1))
        if nbytes > size:
            if size >= 0:
                self._cuda.free(pointer)
            pointer = self._cuda.allocate(nbytes)
            self._buffers[name] = (pointer, nbytes)
        return pointer

    def _bind(self, profile: Any, name: str, shape: list[int], nbytes: int) -> int:
        if not profile.set_input_shape(name, tuple(shape)):
            raise Failure(
                self._logger.reason(
                    f"the engine was not built for {name} of shape {shape}; see --max-input"
                )
            )
        pointer = self._reserve(name, nbytes)
        self._address(profile, name, pointer)
        return pointer

    def _address(self, profile: Any, name: str, pointer: int) -> None:
        if not profile.set_tensor_address(name, pointer):
            raise Failure(self._logger.reason(f"{name} cannot be bound"))


class Server:
    def __init__(self, module: str, requests: BinaryIO, answers: BinaryIO):
        self._trt = importlib.import_module(module)
        self._requests, self._answers = requests, answers
        self._logger = make_logger(self._trt, verbose=False)
        self._contexts: dict[int, Context] = {}

    def serve(self) -> None:
        for line in iter(self._requests.readline, b""):
            payload = b""
            try:
                ((command, request),) = json.loads(line).items()
                answer, payload = getattr(self, f"_{command}")(request)
            except (Failure, CudaError) as error:
                answer = {"error": str(error)}
            except Exception as error:  # of a TensorRT that differs from the ones that we know
                answer = {"error": f"{type(error).__name__}: {error}"}
            self._answers.write(json.dumps(answer).encode() + b"\n" + payload)
            self._answers.flush()

    def _read(self, nbytes: int) -> bytes:
        return self._requests.read(nbytes)

    def _open(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        trt = self._trt
        self._runtime = trt.Runtime(self._logger)
        if self._runtime.get_plugin_registry().load_library(request["library"]) is None:
            raise Failure(self._logger.reason(f"{request['library']}: TensorRT cannot load it"))
        self._engine = self._runtime.deserialize_cuda_engine(Path(request["engine"]).read_bytes())
        if self._engine is None:
            raise Failure(self._logger.reason(f"{request['engine']}: TensorRT cannot load it"))
        self._cuda = Cuda()
        engine = self._engine
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        is_input = {n: engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT for n in names}
        return {
            "version": trt.__version__,
            "inputs": [name for name in names if is_input[name]],
            "outputs": [name for name in names if not is_input[name]],
            "profiles": engine.num_optimization_profiles,
        }, b""

    def _context(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        rope = self._read(request["rope_bytes"])
        context = Context(self._cuda, self._engine, self._logger, request, rope)
        self._contexts[request["id"]] = context
        return {}, b""

    def _run(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        inputs = [self._read(tensor["bytes"]) for tensor in request["inputs"]]
        return {}, self._contexts[request["id"]].run(request, inputs)

    def _close(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        self._contexts.pop(request["id"]).close()
        return {}, b""


def main() -> None:
    links = os.environ.pop("DOVETAIL_LINKS", "")
    try:
        # Libraries may print to standard output: the answers get a descriptor of their own.
        answers = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)
        Server(sys.argv[1], sys.stdin.buffer, answers).serve()
    finally:
        if links:
            shutil.rmtree(links, ignore_errors=True)


if __name__ == "__main__":
    main()
