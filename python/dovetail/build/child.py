# SPDX-License-Identifier: Apache-2.0
"""The builder, in a process of its own: one JSON request on stdin, one JSON answer as the last line
of stdout, TensorRT's log on stderr.

A process of its own because TensorRT may end it (an exception that nobody catches), and because
TensorRT for RTX needs LD_LIBRARY_PATH set before it starts (process.py).
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

OUR_PREFIXES = ("attention:", "int4_gemm:", "dovetail:")


class Failure(Exception):
    """A sentence for the user."""


def make_logger(trt: Any, verbose: bool) -> Any:
    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.Severity.ERROR:
                self.errors.append(message)
            if verbose:  # warnings too: the parser has one for every attribute left at its default
                print(f"[{severity.name}] {message}", file=sys.stderr)

        def reason(self, otherwise: str) -> str:
            """Our own sentence if there is one, else TensorRT's first error."""
            ours = [e for e in self.errors if e.startswith(OUR_PREFIXES)]
            return (ours or self.errors or [otherwise])[0]

    return Logger()


def _parse(trt: Any, network: Any, logger: Any, model: str) -> None:
    parser = trt.OnnxParser(network, logger)
    if parser.parse_from_file(model):
        return
    problems = [parser.get_error(i).desc() for i in range(parser.num_errors)]
    raise Failure(logger.reason((problems or [f"{model}: the ONNX parser refuses it"])[0]))


def _set_profiles(builder: Any, config: Any, network: Any, wanted: list[dict[str, Any]]) -> None:
    names = [network.get_input(i).name for i in range(network.num_inputs)]
    for shapes in wanted:
        profile = builder.create_optimization_profile()
        for name in names:
            if name not in shapes:
                raise Failure(f"model.onnx has an input {name}, expected those of docs/package.md")
            profile.set_shape(name, *shapes[name])
        if config.add_optimization_profile(profile) < 0:
            raise Failure("TensorRT refuses an optimisation profile")


def _timing_cache(config: Any, path: Path) -> Any:
    data = path.read_bytes() if path.is_file() else b""
    cache = config.create_timing_cache(data)
    if not config.set_timing_cache(cache, ignore_mismatch=False):
        raise Failure(f"{path}: is not a timing cache of this TensorRT and GPU; delete it")
    return cache


def build(request: dict[str, Any]) -> dict[str, Any]:
    trt = importlib.import_module(request["module"])
    logger = make_logger(trt, request["verbose"])
    builder = trt.Builder(logger)
    if builder.get_plugin_registry().load_library(request["library"]) is None:
        raise Failure(logger.reason(f"{request['library']}: TensorRT cannot load it"))
    # Both flags became TensorRT's only way at some version, and their names then go.
    typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if typed is None else 1 << int(typed))
    _parse(trt, network, logger, request["model"])

    config = builder.create_builder_config()
    aliased = getattr(trt.PreviewFeature, "ALIASED_PLUGIN_IO_10_03", None)
    if aliased is not None:  # the KV cache in place
        config.set_preview_feature(aliased, True)
    _set_profiles(builder, config, network, request["profiles"])
    if request["workspace_bytes"] is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, request["workspace_bytes"])
    if request["optimization_level"] is not None:
        config.builder_optimization_level = request["optimization_level"]
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    cache_path = Path(request["timing_cache"]) if request["timing_cache"] else None
    cache = _timing_cache(config, cache_path) if cache_path else None

    plugins = [
        layer.name
        for layer in (network.get_layer(i) for i in range(network.num_layers))
        if layer.type == trt.LayerType.PLUGIN_V3
    ]
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise Failure(logger.reason("TensorRT builds no engine and gives no reason"))
    data = bytes(engine)
    Path(request["engine"]).write_bytes(data)
    if cache_path:
        cache_path.write_bytes(bytes(cache.serialize()))
    return {
        "tensorrt": trt.__version__,
        "bytes": len(data),
        "plugins": plugins,
        "inputs": [network.get_input(i).name for i in range(network.num_inputs)],
        "outputs": [network.get_output(i).name for i in range(network.num_outputs)],
    }


def main() -> None:
    try:
        answer = build(json.load(sys.stdin))
    except Failure as failure:
        answer = {"error": str(failure)}
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
