# SPDX-License-Identifier: Apache-2.0
"""What `dovetail export` writes, without running it: names, file, manifest, refusals."""

import json

import numpy as np
import onnx
import pytest

import checkpoint_files as files
from command_line import fail, succeed
from dovetail import DovetailError, _native, data_types
from dovetail.checkpoint import Checkpoint, Config
from dovetail.export import ExportOptions, export
from dovetail.export.external_data import ExternalData
from dovetail.models import FAMILIES, load_model
from dovetail.progress import Silent
from package_decoder import load_tensor

LLAMA = files.GOLDENS / "llama" / "int4"
CPU = {"engine": "onnxruntime", "dtype": "fp32", "capacity": 64}
CUDA = {"engine": "onnxruntime", "device": "cuda", "dtype": "fp16", "capacity": 64}
TRT = {"engine": "tensorrt", "dtype": "fp16", "capacity": 64}


def graph_of(folder) -> onnx.GraphProto:
    return onnx.load(folder / "model.onnx", load_external_data=False).graph


def exported(tmp_path, source, **options):
    result = export(source, tmp_path / "p", ExportOptions(**options))
    return graph_of(tmp_path / "p"), result.manifest


def signature(values) -> dict[str, tuple]:
    result = {}
    for value in values:
        tensor = value.type.tensor_type
        dims = [d.dim_param or d.dim_value for d in tensor.shape.dim]
        result[value.name] = (onnx.TensorProto.DataType.Name(tensor.elem_type), dims)
    return result


def test_inputs_and_outputs_are_those_of_the_package_format(tmp_path):
    graph, _ = exported(tmp_path, LLAMA, **TRT, tree=True)
    cache = ("FLOAT16", ["batch", 2, 2, "capacity", 32])
    assert signature(graph.input) == {
        "inputs_embeds": ("FLOAT16", ["batch", "tokens", 128]),
        "past_key_values_0": cache,
        "past_key_values_1": cache,
        "rope_rotary_cos_sin": ("FLOAT", ["rope_batch", "positions", 32]),
        "context_lengths": ("INT32", ["batch"]),
        "last_token_ids": ("INT64", ["batch", "logit_rows"]),
        "kvcache_start_index": ("INT32", ["start_lanes"]),
        "attention_mask": ("INT32", ["batch", "tokens", "mask_words"]),
        "attention_pos_id": ("INT32", ["batch", "position_width"]),
    }
    assert signature(graph.output) == {
        "logits": ("FLOAT", ["batch", "logit_rows", 288]),
        "present_key_values_0": cache,
        "present_key_values_1": cache,
    }


def test_a_llama_graph_for_tensorrt_asks_for_nothing_beyond_the_guide(tmp_path):
    graph, _ = exported(tmp_path, LLAMA, **TRT)
    assert {node.domain for node in graph.node} == {"", "trt"}
    attributes = {
        node.op_type: {attribute.name for attribute in node.attribute}
        for node in graph.node
        if node.domain == "trt"
    }
    assert attributes == {
        "AttentionPlugin": {"num_q_heads", "num_kv_heads", "head_size", "enable_tree_attention"},
        "Int4GroupwiseGemmPlugin": {"gemm_n", "gemm_k", "group_size"},
    }
    scales = [t for t in graph.initializer if t.name.endswith(".scales")]
    assert {t.data_type for t in scales} == {onnx.TensorProto.FLOAT16}


@pytest.mark.parametrize("options", [CPU, CUDA, TRT], ids=["cpu", "cuda", "tensorrt"])
@pytest.mark.parametrize(
    "source", ["llama/int4_asymmetric", "qwen2/int4", "qwen3/int4", "mistral/plain"]
)
def test_plugin_nodes_follow_the_declarations(tmp_path, source, options):
    graph, _ = exported(tmp_path, files.GOLDENS / source, **options)
    schemas = _native.schemas()
    shapes = {t.name: list(t.dims) for t in graph.initializer}
    plugins = [node for node in graph.node if node.domain in ("trt", "dovetail")]
    swiglus = sum(node.op_type == "PackedSwiGLU" for node in plugins)
    gated = sum(a.name == "swiglu" for node in plugins for a in node.attribute)
    assert swiglus + gated == (0 if options is TRT else 2)
    assert (gated > 0) == (options is CUDA and source != "mistral/plain")
    standard = {"Sigmoid", "Split"} & {node.op_type for node in graph.node}
    assert standard == ({"Sigmoid", "Split"} & standard if options is TRT else set())
    norms = sum(node.op_type == "ResidualRMSNorm" for node in plugins)
    assert norms == (4 if options is CUDA else 0)
    gathers = sum(node.op_type == "GatherND" for node in graph.node)
    assert gathers == (0 if options is CUDA else 2)
    assert sum(node.op_type == "AttentionPlugin" for node in plugins) == 2
    for node in plugins:
        schema = schemas[node.op_type]
        values = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        assert values.keys() <= schema["attributes"].keys()
        assert {n for n, a in schema["attributes"].items() if a["required"]} <= values.keys()
        present = [t for t in schema["inputs"] if not t["group"] or values.get(t["group"], 0)]
        assert len(node.input) == len(present)
        if node.op_type == "Int4GroupwiseGemmPlugin":
            layout = values.get("weight_layout", b"edgellm_v1").decode()
            n, k, group = values["gemm_n"], values["gemm_k"], values["group_size"]
            assert shapes[node.input[1]] == list(_native.int4_weights_shape(layout, n, k))
            assert shapes[node.input[2]] == list(_native.int4_scales_shape(layout, n, k, group))


def test_a_layout_that_was_asked_for(tmp_path):
    graph, manifest = exported(tmp_path, LLAMA, **CUDA, layout="cuda_v1")
    layouts = {
        value.s
        for node in graph.node
        if node.op_type == "Int4GroupwiseGemmPlugin"
        for value in node.attribute
        if value.name == "weight_layout"
    }
    assert layouts == {b"cuda_v1"} and manifest["weights"]["layout"] == "cuda_v1"
    shapes = {t.name: tuple(t.dims) for t in graph.initializer}
    assert shapes["layers.0.mlp.down.weights"] == _native.int4_weights_shape("cuda_v1", 128, 256)


def test_weights_lie_aligned_in_one_file_and_not_in_the_graph(tmp_path):
    graph, manifest = exported(tmp_path, LLAMA, **CPU, kv_dtype="fp8")  # its scales are 8 bytes
    size = (tmp_path / "p" / "model.onnx.data").stat().st_size
    end = 0
    for tensor in graph.initializer:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            assert len(tensor.raw_data) <= 64
            continue
        place = {entry.key: entry.value for entry in tensor.external_data}
        assert place["location"] == "model.onnx.data"
        offset = int(place["offset"])
        assert offset % 64 == 0 and end <= offset < end + 64
        end = offset + int(place["length"])
    assert end == size == manifest["files"]["model.onnx.data"]


def test_large_weights_begin_at_a_huge_page_and_small_ones_fill_the_gaps(tmp_path):
    megabyte = 1 << 20
    sizes = [3 * megabyte, 100, 2 * megabyte, megabyte - 64, 200, 2 * megabyte - 1, 4 * megabyte]
    data, places = ExternalData(), []
    for i, size in enumerate(sizes):
        proto = data.declare(f"t{i}", data_types.UINT8, (size,))
        entries = {entry.key: entry.value for entry in proto.external_data}
        places.append((int(entries["offset"]), int(entries["length"])))
        data.produce(lambda i=i, size=size: [(f"t{i}", np.full(size, i + 1, np.uint8))])
    data.write(tmp_path, Silent())
    written = np.fromfile(tmp_path / "model.onnx.data", np.uint8)
    assert [offset for offset, _ in places] == [
        0,
        3 * megabyte,  # behind the first, as its end is aligned
        4 * megabyte,
        6 * megabyte,  # the gap at 3 MB + 128 is too small by 64 bytes
        3 * megabyte + 128,
        7 * megabyte - 64,
        10 * megabyte,
    ]
    for i, (offset, size) in enumerate(places):
        assert size == sizes[i]
        assert (written[offset : offset + size] == i + 1).all()


def test_packed_weights_are_those_of_the_checkpoint(tmp_path):
    """q, k and v stacked, unpacked again, equal the checkpoint by the bit table."""
    graph, _ = exported(tmp_path, LLAMA, **CPU)
    model = onnx.load(tmp_path / "p" / "model.onnx")
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    name = "layers.1.attention.qkv"
    flat = [tensors[f"{name}.{part}"].reshape(-1).view(np.uint8) for part in ("weights", "scales")]
    codes, scales, _ = _native.unpack_int4(*flat, None, 256, 128, 32, "cpu_v1", "fp16")
    got = (codes - 8.0) * np.repeat(scales.astype(np.float64), 32, axis=1)
    values = files.load_model_tensors(LLAMA)
    parts = [files.decode_int4(values, f"model.layers.1.self_attn.{x}_proj") for x in "qkv"]
    np.testing.assert_array_equal(got, np.concatenate(parts))
    assert graph is not None


def test_the_manifest_says_what_the_package_holds(tmp_path):
    export(LLAMA, tmp_path / "p", ExportOptions(**CPU, max_batch=3, compute="int8"))
    manifest = json.loads((tmp_path / "p" / "manifest.json").read_text())
    sizes = manifest.pop("files")
    assert sizes == {
        p.name: p.stat().st_size for p in (tmp_path / "p").iterdir() if p.name != "manifest.json"
    }
    assert manifest == {
        "format": "dovetail-package",
        "version": 1,
        "producer": "dovetail 0.1.0",
        "engine": "onnxruntime",
        "dtype": "fp32",
        "kv_dtype": "fp16",
        "capacity": 64,
        "max_batch": 3,
        "tree": False,
        "model": {
            "family": "llama",
            "layers": 2,
            "hidden_size": 128,
            "vocab_size": 288,
            "num_q_heads": 4,
            "num_kv_heads": 2,
            "head_size": 32,
            "rotary_width": 32,
        },
        "weights": {"format": "int4", "group_size": 32, "layout": "cpu_v1", "compute_mode": "int8"},
        "bos_token_id": 256,
        "eos_token_ids": [257],
    }
    assert load_tensor(tmp_path / "p" / "rope.safetensors", "rope_rotary_cos_sin").shape == (
        1,
        64,
        32,
    )
    embedding = load_tensor(tmp_path / "p" / "embedding.safetensors", "embedding")
    original = files.load_model_tensors(LLAMA)["model.embed_tokens.weight"]
    np.testing.assert_array_equal(embedding, original)
    assert embedding.dtype == original.dtype


@pytest.mark.parametrize(
    "changes",
    [
        {"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 4.0}},
        {
            "rope_theta": 5e5,
            "rope_scaling": {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
        },
        {"rope_theta": 5e5, "rope_scaling": None},
    ],
)
def test_both_spellings_of_rope_give_one_table(tmp_path, changes):
    old = files.config(**changes)
    scaling = changes["rope_scaling"] or {"rope_type": "default"}
    kind = scaling.get("rope_type", scaling.get("type"))
    parameters = {**scaling, "rope_type": kind, "rope_theta": 5e5}
    parameters.pop("type", None)
    new = files.config(rope_theta=None, rope_parameters=parameters)
    tables = []
    for i, settings in enumerate((old, new)):
        model = load_model(Checkpoint(files.write(tmp_path / str(i), settings=settings)))
        tables.append(np.concatenate(list(model.rope.table(5000))))
    np.testing.assert_array_equal(*tables)
    assert tables[0].shape == (5000, 32)


def test_sliding_windows_per_layer():
    def windows(**changes):
        name = changes.pop("family")
        family = next(f for f in FAMILIES if f.name == name)
        settings = files.config(
            architectures=list(family.architectures), num_hidden_layers=4, **changes
        )
        from dovetail.models.model import read_model

        return read_model(Config(settings, "config.json"), family).windows

    full = (-1, -1, -1, -1)
    assert windows(family="llama", sliding_window=9) == full
    assert windows(family="mistral") == full
    assert windows(family="mistral", sliding_window=9) == (9, 9, 9, 9)
    assert (
        windows(family="qwen2", sliding_window=9, use_sliding_window=False, max_window_layers=1)
        == full
    )
    assert windows(
        family="qwen2", sliding_window=9, use_sliding_window=True, max_window_layers=3
    ) == (-1, -1, -1, 9)
    types = ["sliding_attention", "full_attention"] * 2
    assert windows(
        family="qwen3",
        sliding_window=9,
        use_sliding_window=True,
        max_window_layers=4,
        layer_types=types,
    ) == (9, -1, 9, -1)
    with pytest.raises(DovetailError, match="layer_types has chunked_attention"):
        windows(family="mistral", sliding_window=9, layer_types=["chunked_attention"] * 4)


def test_export_from_the_command_line_notes_what_is_unusual(tmp_path):
    folder = files.write(tmp_path / "c")
    arguments = [
        folder,
        tmp_path / "p",
        "--engine",
        "onnxruntime",
        "--dtype",
        "fp32",
        "--capacity",
        300,
    ]
    from command_line import dovetail

    done = dovetail("export", *arguments, "--kv-dtype", "fp8")
    assert done.returncode == 0, done.stderr
    assert "more than max_position_embeddings = 256" in done.stderr
    assert "no tokenizer.json" in done.stderr and "fp8 cache has scale 1" in done.stderr
    assert "already exists" in fail("export", *arguments)
    succeed("export", *arguments, "--force")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c", "p"]


@pytest.mark.parametrize(
    "options, dtype",
    [({}, "fp32"), ({"device": "cuda"}, "fp16"), ({"engine": "tensorrt"}, "fp16")],
)
@pytest.mark.parametrize("trained, capacity", [(256, 256), (131072, 4096)])
def test_defaults(tmp_path, options, dtype, trained, capacity):
    source = files.write(tmp_path / "c", settings=files.config(max_position_embeddings=trained))
    result = export(source, tmp_path / "p", ExportOptions(**options))
    assert result.manifest["engine"] == options.get("engine", "onnxruntime")
    assert (result.manifest["dtype"], result.manifest["capacity"]) == (dtype, capacity)
    assert load_tensor(tmp_path / "p" / "rope.safetensors", "rope_rotary_cos_sin").shape == (
        1,
        capacity,
        32,
    )
    assert not [note for note in result.notes if "max_position_embeddings" in note]


def test_kv_scales_of_the_checkpoint_reach_the_graph(tmp_path):
    values = files.tensors()
    for i in range(files.LAYERS):
        values[f"model.layers.{i}.self_attn.k_scale"] = np.array([0.5 + i], np.float32)
        values[f"model.layers.{i}.self_attn.v_scale"] = np.array(0.25, np.float32)
    folder = files.write(tmp_path / "c", values)
    export(folder, tmp_path / "p", ExportOptions(**CPU, kv_dtype="fp8"))
    model = onnx.load(tmp_path / "p" / "model.onnx")
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    np.testing.assert_array_equal(tensors["layers.1.attention.kv_scales"], [1.5, 0.25])
