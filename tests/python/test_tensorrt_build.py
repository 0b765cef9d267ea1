# SPDX-License-Identifier: Apache-2.0
"""Engines built by TensorRT for RTX (package tensorrt_rtx: NVIDIA's parser and builder), no GPU.

What can be seen without one: the engine's bytes, and its layers as the builder's log lists them.
"""

import json
import re
import shutil
import subprocess
import sys
from collections import Counter

import onnx
import pytest
from onnx import TensorProto, helper

import checkpoint_files as files
from command_line import dovetail, fail, succeed
from dovetail import DovetailError, tensorrt_library
from dovetail.build import process
from dovetail.build.profiles import profiles
from packages import fail as dovetail_run_fails

ROOT = files.GOLDENS.parents[2]
TINY = ROOT / "models" / "tiny" / "checkpoint"
GUIDE = ROOT / "docs" / "tensorrt.md"
LAYERS, BATCH, CAPACITY = 6, 2, 256


@pytest.fixture(scope="session")
def int4(tmp_path_factory):
    folder = tmp_path_factory.mktemp("build") / "int4"
    succeed("quantize", TINY, folder, "--group-size", 64)
    return folder


@pytest.fixture(scope="session")
def packages(int4, tmp_path_factory):
    """Without and with tree inputs."""
    root = tmp_path_factory.mktemp("packages")
    options = [
        "--engine",
        "tensorrt",
        "--dtype",
        "fp16",
        "--capacity",
        CAPACITY,
        "--max-batch",
        BATCH,
    ]
    succeed("export", int4, root / "plain", *options)
    succeed("export", int4, root / "tree", *options, "--tree")
    return root


def attention_layers(log: str) -> dict[str, tuple[str, list[str], list[str]]]:
    """Plugin layers of the finished engine, by name: type, tensors read, tensors written."""
    layers = {}
    for line in log.splitlines():
        match = re.match(
            r"Name: (.*?), LayerType: PluginV3, Inputs: \[(.*)\], Outputs: \[(.*)\], "
            r"PluginType: (\w+)",
            line,
        )
        if match:
            name, inputs, outputs, kind = match.groups()
            read, written = (re.findall(r"\{ Name: (.*?), Location", x) for x in (inputs, outputs))
            layers[name] = (kind, read, written)
    return layers


def fused_gemms(log: str) -> Counter[str]:
    """The int4 nodes: the builder puts them between its fused kernels as custom layers."""
    name = r"^Name: (layers\.\d+\.[\w.]+?)(?: \[profile 1\])?_U\d+_\w+, LayerType: custom_layer"
    return Counter(re.findall(name, log, re.M))


@pytest.mark.parametrize("kind", ["plain", "tree"])
def test_tiny_model_becomes_an_engine_with_its_cache_in_place(packages, kind, tmp_path):
    target = tmp_path / "engine"
    built = dovetail(
        *("build", packages / kind, target, "--engine", "tensorrt-rtx", "--verbose"),
        *("--max-input", 128, "--max-tree", 20, "--workspace", 512, "--optimization-level", 2),
    )
    assert built.returncode == 0, built.stderr[-2000:]
    assert f"{5 * LAYERS} plugin nodes" in built.stdout

    layers = attention_layers(built.stderr)
    assert len(layers) == 2 * LAYERS
    for profile in ("", " [profile 1]"):
        for i in range(LAYERS):
            kind_of_layer, read, written = layers[f"layers.{i}.attention{profile}"]
            assert kind_of_layer == "AttentionPlugin"
            # Bound directly: no copy and no reformat between the graph's tensors and the plugin's.
            assert read[1] == f"past_key_values_{i}{profile}"
            assert written[1] == f"present_key_values_{i}{profile}"
            assert len(read) == (7 if kind == "tree" else 5)
    gemms = ("attention.qkv", "attention.o", "mlp.gate_up", "mlp.down")
    assert fused_gemms(built.stderr) == {f"layers.{i}.{g}": 2 for i in range(LAYERS) for g in gemms}

    engine = (target / "llm.engine").read_bytes()
    assert engine.count(b"dovetail_state_version") >= 2 * 5 * LAYERS
    config = json.loads((target / "config.json").read_text())
    assert config["builder_config"] == {
        "engine": "tensorrt-rtx",
        "tensorrt_version": config["builder_config"]["tensorrt_version"],
        "max_input_len": 128,
        "max_kv_cache_capacity": CAPACITY,
        "max_batch_size": BATCH,
        "max_verify_tree_size": 20 if kind == "tree" else 0,
    }
    assert (
        config["num_hidden_layers"] == LAYERS and config["dovetail_package"]["capacity"] == CAPACITY
    )
    assert {p.name for p in target.iterdir()} == {
        *("llm.engine", "config.json", "generation_config.json", "tokenizer.json"),
        *("tokenizer_config.json", "embedding.safetensors", "rope.safetensors"),
    }
    # The real TensorRT for RTX takes the engine as far as the GPU that is not there.
    no_gpu = {"CUDA_VISIBLE_DEVICES": "", "DOVETAIL_PYTHON": sys.executable}
    no_gpu["PYTHONPATH"] = ":".join([str(ROOT / "python"), *filter(None, sys.path)])
    message = dovetail_run_fails("generate", target, "Go", **no_gpu)
    assert "deserializeCudaEngine" in message and "Cuda Runtime" in message


def test_builder_sees_the_alias(packages, tmp_path, monkeypatch):
    """With the preview feature held back, it says which plugin wants it."""
    code = (
        "import tensorrt_rtx as trt; trt.IBuilderConfig.set_preview_feature = lambda *a: None; "
        "from dovetail.build.child import main; main()"
    )
    monkeypatch.setattr(process, "COMMAND", [sys.executable, "-c", code])
    with pytest.raises(DovetailError, match="Aliased I/O used by plugin layers.0.attention"):
        run(request(packages / "plain", tmp_path))


def test_the_python_program_of_the_guide_builds_an_engine(packages, tmp_path):
    """docs/tensorrt.md, as it stands there but for the module."""
    program = re.search(r"```python\n(.*?)```", GUIDE.read_text(), re.S)[1]
    assert "tensorrt as trt" in program
    program = program.replace("tensorrt as trt", "tensorrt_rtx as trt")
    (tmp_path / "llama-trt").symlink_to(packages / "plain")
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=process.environment(process.find("tensorrt-rtx"), tmp_path),
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    engine = (tmp_path / "llm.engine").read_bytes()
    assert engine.count(b"dovetail_state_version") >= 2 * 5 * LAYERS


def request(package, tmp_path, **changes):
    manifest = json.loads((package / "manifest.json").read_text())
    return {
        "library": tensorrt_library(),
        "model": str(package / "model.onnx"),
        "engine": str(tmp_path / "llm.engine"),
        "profiles": profiles(manifest, 64, 16),
        "workspace_bytes": None,
        "optimization_level": None,
        "timing_cache": None,
        "verbose": False,
    } | changes


def run(wanted):
    return process.run(process.find("tensorrt-rtx"), wanted)


def test_node_form_of_edge_llm_0_5(tmp_path):
    """Hand-written as its exporter writes: attention in domain trt with five int attributes, the
    int4 node in no domain, neither with an extension; the start index may be empty."""
    hidden, heads, kv_heads, size, capacity = 256, 4, 2, 64, 128
    width = (heads + 2 * kv_heads) * size
    fp16, int32 = TensorProto.FLOAT16, TensorProto.INT32
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node(
                "Int4GroupwiseGemmPlugin",
                ["x", "w", "s"],
                ["qkv"],
                name="gemm",
                gemm_n=width,
                gemm_k=hidden,
                group_size=128,
            ),
            helper.make_node(
                "AttentionPlugin",
                ["qkv", "past", "context_lengths", "rope", "kvcache_start_index"],
                ["heads", "present"],
                name="attention",
                domain="trt",
                num_q_heads=heads,
                num_kv_heads=kv_heads,
                head_size=size,
                enable_tree_attention=0,
                enable_fp8_kv_cache=0,
            ),
        ],
        "edge_llm",
        [
            value("x", fp16, ["b", "s", hidden]),
            value("past", fp16, ["b", 2, kv_heads, "c", size]),
            value("context_lengths", int32, ["b"]),
            value("rope", TensorProto.FLOAT, ["r", "p", size]),
            value("kvcache_start_index", int32, ["k"]),
        ],
        [
            value("heads", fp16, ["b", "s", heads, size]),
            value("present", fp16, ["b", 2, kv_heads, "c", size]),
        ],
        [
            helper.make_tensor(
                "w", TensorProto.INT8, [width // 2, hidden], bytes(width // 2 * hidden), raw=True
            ),
            helper.make_tensor(
                "s", fp16, [hidden // 128, width], bytes(hidden // 128 * width * 2), raw=True
            ),
        ],
    )
    opsets = [helper.make_opsetid("", 19), helper.make_opsetid("trt", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), tmp_path / "model.onnx")
    full = [4, 2, kv_heads, capacity, size]
    shared = {
        "past": ([1, 2, kv_heads, 0, size], full, full),
        "context_lengths": ([1], [4], [4]),
        "rope": ([1, capacity, size], [4, capacity, size], [4, capacity, size]),
    }
    answer = run(
        {
            "library": tensorrt_library(),
            "model": str(tmp_path / "model.onnx"),
            "engine": str(tmp_path / "llm.engine"),
            "profiles": [
                shared
                | {
                    "x": ([1, 1, hidden], [4, 32, hidden], [4, 64, hidden]),
                    "kvcache_start_index": ([0], [4], [4]),
                },
                shared
                | {
                    "x": ([1, 1, hidden], [4, 1, hidden], [4, 1, hidden]),
                    "kvcache_start_index": ([1], [4], [4]),
                },
            ],
            "workspace_bytes": None,
            "optimization_level": None,
            "timing_cache": None,
            "verbose": False,
        }
    )
    assert answer["plugins"] == ["gemm", "attention"]
    assert (tmp_path / "llm.engine").stat().st_size == answer["bytes"] > 0


def edited(package, target, edit):
    """A copy of the package whose graph was changed by hand."""
    shutil.copytree(package, target)
    model = onnx.load(target / "model.onnx", load_external_data=False)
    edit(model.graph)
    (target / "model.onnx").write_bytes(model.SerializeToString())
    manifest = json.loads((target / "manifest.json").read_text())
    manifest["files"]["model.onnx"] = (target / "model.onnx").stat().st_size
    (target / "manifest.json").write_text(json.dumps(manifest))
    return target


def reshape_weights(graph):
    weights = next(t for t in graph.initializer if t.name == "layers.0.attention.o.weights")
    assert list(weights.dims) == [128, 256]
    weights.dims[:] = [64, 512]


def set_attribute(node_name, name, value):
    def edit(graph):
        node = next(n for n in graph.node if n.name == node_name)
        del node.attribute[[a.name for a in node.attribute].index(name)]
        node.attribute.append(helper.make_attribute(name, value))

    return edit


@pytest.mark.parametrize(
    "edit, sentence",
    [
        (reshape_weights, "error: int4_gemm: weights is [64, 512], expected "),
        (
            set_attribute("layers.3.attention", "head_size", 260),
            "error: attention: head_size is 260, expected a multiple of 8 up to 256\n",
        ),
        (
            set_attribute("layers.3.attention", "num_kv_heads", 4),
            "error: attention: qkv is [2, 128, 512], expected ",
        ),
        (
            set_attribute("layers.1.mlp.down", "group_size", 96),
            "error: int4_gemm: group_size is 96, expected 32, 64 or 128",
        ),
    ],
)
def test_wrong_graph_ends_in_our_sentence(packages, tmp_path, edit, sentence):
    package = edited(packages / "plain", tmp_path / "edited", edit)
    message = fail(
        "build", package, tmp_path / "engine", "--engine", "tensorrt-rtx", "--max-input", 128
    )
    assert message.startswith(sentence), message
    assert not (tmp_path / "engine").exists()


def test_builder_that_dies_is_an_error(packages, tmp_path, monkeypatch):
    monkeypatch.setattr(process, "COMMAND", [sys.executable, "-c", "import os; os.abort()"])
    with pytest.raises(DovetailError, match=r"tensorrt_rtx ended while it built .* \(SIGABRT\)"):
        run(request(packages / "plain", tmp_path))


@pytest.mark.parametrize(
    "options, sentence",
    [
        (["--engine", "trt"], "--engine is trt, expected tensorrt or tensorrt-rtx"),
        (
            ["--engine", "tensorrt-rtx", "--max-input", 300],
            "--max-input is 300, expected 1 to the capacity 256",
        ),
        (
            ["--engine", "tensorrt-rtx", "--optimization-level", 6],
            "--optimization-level is 6, expected 0 to 5",
        ),
        (
            ["--engine", "tensorrt-rtx", "--timing-cache", "x"],
            "--timing-cache has no meaning for --engine tensorrt-rtx",
        ),
        (
            ["--engine", "tensorrt-rtx", "--plugin-library", "/nowhere/x.so"],
            "/nowhere/x.so: no such file, expected the plugin library",
        ),
    ],
)
def test_wrong_options(packages, tmp_path, options, sentence):
    assert fail("build", packages / "plain", tmp_path / "engine", *options).startswith(
        f"error: {sentence}"
    )


def test_wrong_packages(packages, int4, tmp_path):
    target = tmp_path / "engine"
    message = fail("build", int4, target, "--engine", "tensorrt-rtx")
    assert (
        "no manifest.json, expected a package made by `dovetail export --engine tensorrt`"
        in message
    )
    cpu = tmp_path / "cpu"
    succeed("export", int4, cpu, "--engine", "onnxruntime", "--dtype", "fp32", "--capacity", 64)
    message = fail("build", cpu, target, "--engine", "tensorrt-rtx")
    assert (
        "the package is for engine onnxruntime; export it again with --engine tensorrt" in message
    )
