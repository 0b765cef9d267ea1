# SPDX-License-Identifier: Apache-2.0
"""Reading checkpoints: what is right is read alike in every form, what is wrong is one sentence."""

import json
import struct

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

import checkpoint_files as files
from command_line import fail
from dovetail import DovetailError
from dovetail.checkpoint import Checkpoint
from dovetail.checkpoint.linear import open_linear
from dovetail.models import load_model

Q = "model.layers.0.self_attn.q_proj"


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_every_tensor_is_read_as_the_safetensors_package_wrote_it(tmp_path, dtype):
    values = files.tensors(dtype)
    checkpoint = Checkpoint(files.write(tmp_path / "c", values))
    assert set(checkpoint) == set(values)
    for name, expected in values.items():
        assert checkpoint.read(name).dtype == expected.dtype
        np.testing.assert_array_equal(checkpoint.read(name), expected)
        np.testing.assert_array_equal(checkpoint.read_rows(name, 3, 17), expected[3:17])


def test_shards_read_like_one_file(tmp_path):
    values = files.tensors()
    checkpoint = Checkpoint(files.write_sharded(tmp_path / "c", values))
    assert set(checkpoint) == set(values)
    for name, expected in values.items():
        np.testing.assert_array_equal(checkpoint.read(name), expected)


def rewrite_header(path, change) -> None:
    """Applies `change` to the parsed header of a safetensors file; the data stays."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    text = json.dumps(change(header) or header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


def entry(header: dict) -> dict:
    return header[f"{Q}.weight"]


def overlap(header: dict) -> None:
    names = sorted(
        (n for n in header if n != "__metadata__"), key=lambda n: header[n]["data_offsets"]
    )
    size = header[names[0]]["data_offsets"][1]
    for name in names[1:]:
        header[name]["data_offsets"] = [x - size // 2 for x in header[name]["data_offsets"]]


LIES = {
    "shape": (lambda h: entry(h).update(shape=[128, 64]), "its shape"),
    "negative": (lambda h: entry(h).update(shape=[-128, -128]), "no valid"),
    "beyond the end": (
        lambda h: entry(h).update(data_offsets=[x + 10**9 for x in entry(h)["data_offsets"]]),
        "truncated",
    ),
    "overlap": (overlap, "overlaps"),
    "type of type": (lambda h: entry(h).update(dtype=["F32"]), "has type"),
    "type": (lambda h: entry(h).update(dtype="F4"), "has type F4, supported are"),
    "no offsets": (lambda h: entry(h).pop("data_offsets") and None, "no valid"),
    "a list": (lambda h: [1, 2], "not a JSON object"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_header_is_refused(tmp_path, lie):
    change, message = LIES[lie]
    folder = files.write(tmp_path / "c")
    rewrite_header(folder / "model.safetensors", change)
    with pytest.raises(DovetailError, match=message):
        Checkpoint(folder)


@pytest.mark.parametrize("keep", [0, 5, 8, 500, -1000])
def test_a_truncated_file_is_refused(tmp_path, keep):
    file = files.write(tmp_path / "c") / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    assert "not a valid safetensors file" in fail("inspect", tmp_path / "c")


def test_a_header_length_beyond_the_file_is_refused(tmp_path):
    file = files.write(tmp_path / "c") / "model.safetensors"
    file.write_bytes(struct.pack("<Q", 2**63) + file.read_bytes()[8:])
    assert f"claims {2**63} bytes" in fail("inspect", tmp_path / "c")


def test_trailing_bytes_are_refused(tmp_path):
    file = files.write(tmp_path / "c") / "model.safetensors"
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(DovetailError, match="1 bytes behind the last tensor"):
        Checkpoint(file.parent)


def test_a_missing_shard_is_named(tmp_path):
    folder = files.write_sharded(tmp_path / "c", files.tensors())
    (folder / "model-00002-of-00002.safetensors").unlink()
    message = fail(
        "export",
        folder,
        tmp_path / "out",
        "--engine",
        "onnxruntime",
        "--dtype",
        "fp32",
        "--capacity",
        16,
    )
    assert "shard model-00002-of-00002.safetensors" in message and "is missing" in message
    assert not (tmp_path / "out").exists()


def test_a_tensor_that_is_not_in_its_shard_is_named(tmp_path):
    folder = files.write_sharded(tmp_path / "c", files.tensors())
    index = folder / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"]["model.ghost.weight"] = "model-00001-of-00002.safetensors"
    index.write_text(json.dumps(content))
    with pytest.raises(DovetailError, match="model.ghost.weight is not in model-00001"):
        Checkpoint(folder)


def test_a_missing_folder_a_missing_config_and_another_format_are_told_apart(tmp_path):
    with pytest.raises(DovetailError, match="no such folder"):
        Checkpoint(tmp_path / "nothing")
    with pytest.raises(DovetailError, match="no config.json"):
        Checkpoint(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(DovetailError, match="pytorch_model.bin is another format"):
        Checkpoint(tmp_path)


def test_a_wrong_shape_names_tensor_and_expectation(tmp_path):
    values = files.tensors() | {f"{Q}.weight": np.zeros((128, 120), np.float32)}
    message = fail("quantize", files.write(tmp_path / "c", values), tmp_path / "out")
    assert f"{Q}.weight is [128, 120], expected [128, 128]" in message


def test_a_tensor_that_the_graph_would_drop_is_refused(tmp_path):
    values = files.tensors() | {f"{Q}.bias": np.zeros(128, np.float32)}
    load_model(Checkpoint(files.write(tmp_path / "idle", values)))
    values[f"{Q}.bias"][7] = 1e-6
    with pytest.raises(DovetailError, match=f"{Q}.bias is not supported in a llama model"):
        load_model(Checkpoint(files.write(tmp_path / "c", values)))


INT4 = files.GOLDENS / "llama" / "int4"
CHANGES = {
    "NaN scale": (
        {"weight_scale": lambda t: t.__setitem__((5, 1), np.nan)},
        r"has nan at \[5, 1\]",
    ),
    "negative scale": (
        {"weight_scale": lambda t: t.__setitem__((0, 0), -1)},
        r"has -1.0 at \[0, 0\]",
    ),
    "infinite scale": ({"weight_scale": lambda t: t.__setitem__((0, 2), np.inf)}, "has inf"),
    "scale shape": ({"weight_scale": lambda t: t[:, :3].copy()}, "groups of 32, 64 or 128"),
    "packed shape": (
        {"weight_packed": lambda t: t[:, :8].copy()},
        r"is \[128, 8\], expected \[128, 16\]",
    ),
    "told shape": ({"weight_shape": lambda t: t + 8}, r"says \[136, 136\], expected \[128, 128\]"),
    "activation order": ({"weight_g_idx": lambda t: np.zeros(128, np.int32)}, "weight_g_idx"),
    "zero point shape": (
        {"weight_zero_point": lambda t: np.zeros((128, 4), np.int32)},
        r"is \[128, 4\], expected \[16, 4\]",
    ),
}


def changed_copy(source, folder, changes, settings=lambda config: None) -> Checkpoint:
    """A copy of a golden checkpoint with tensors of Q changed, in place or by what is returned."""
    values = files.load_model_tensors(source)
    for suffix, change in changes.items():
        name = f"{Q}.{suffix}"
        changed = change(values.get(name))
        if changed is not None:
            values[name] = changed
    folder.mkdir()
    save_file(values, folder / "model.safetensors")
    config = files.load_json(source / "config.json")
    settings(config)
    (folder / "config.json").write_text(json.dumps(config))
    return Checkpoint(folder)


@pytest.mark.parametrize("case", CHANGES)
def test_bad_int4_tensors_are_refused(tmp_path, case):
    changes, message = CHANGES[case]
    with pytest.raises(DovetailError, match=message):
        open_linear(changed_copy(INT4, tmp_path / "c", changes), Q, 128, 128)


GPTQ, AWQ = files.GOLDENS / "llama" / "gptq", files.GOLDENS / "llama" / "awq"
K_FIRST_CHANGES = {
    "activation order": (
        GPTQ,
        {"g_idx": lambda t: t[::-1].copy()},
        r"q_proj.g_idx orders rows by activation \(desc_act\)",
    ),
    "awq in gptq's shape": (
        AWQ,
        {"qweight": lambda t: t.reshape(16, 128)},
        r"is \[16, 128\], expected \[128, 16\]",
    ),
    "gptq in awq's shape": (
        GPTQ,
        {"qweight": lambda t: t.reshape(128, 16)},
        r"is \[128, 16\], expected \[16, 128\]",
    ),
    "zero point shape": (
        AWQ,
        {"qzeros": lambda t: t.T.copy()},
        r"is \[16, 2\], expected \[2, 16\]",
    ),
    "scale shape": (GPTQ, {"scales": lambda t: t.T.copy()}, "groups of 32, 64 or 128"),
    "NaN scale": (AWQ, {"scales": lambda t: t.__setitem__((1, 5), np.nan)}, r"nan at \[1, 5\]"),
}


@pytest.mark.parametrize("case", K_FIRST_CHANGES)
def test_bad_awq_and_gptq_tensors_are_refused(tmp_path, case):
    source, changes, message = K_FIRST_CHANGES[case]
    with pytest.raises(DovetailError, match=message):
        open_linear(changed_copy(source, tmp_path / "c", changes), Q, 128, 128)


def test_gptq_zero_points_of_both_formats(tmp_path):
    """The second format stores zero points as they are, the first one less."""

    def plus_one(words):  # golden zero points are 1 .. 15: no nibble overflows
        return (words.view(np.uint32) + np.uint32(0x11111111)).view(np.int32)

    def second(config):
        config["quantization_config"]["checkpoint_format"] = "gptq_v2"

    copy = changed_copy(GPTQ, tmp_path / "c", {"qzeros": plus_one}, second)
    first, second = (open_linear(c, Q, 128, 128) for c in (Checkpoint(GPTQ), copy))
    assert len(np.unique(first.zero_points())) > 4
    np.testing.assert_array_equal(first.zero_points(), second.zero_points())


def test_awq_and_gptq_hold_the_same_numbers():
    """Their goldens round the same weights the same way, and are packed by different rules."""
    awq, gptq = (open_linear(Checkpoint(source), Q, 128, 128) for source in (AWQ, GPTQ))
    np.testing.assert_array_equal(awq.nibbles(0, 128), gptq.nibbles(0, 128))
    np.testing.assert_array_equal(awq.nibbles(13, 50), gptq.nibbles(13, 50))
    np.testing.assert_array_equal(awq.zero_points(), gptq.zero_points())
    np.testing.assert_array_equal(awq.scales(), gptq.scales())


def test_zero_points_of_8_everywhere_are_none():
    symmetric = Checkpoint(files.GOLDENS / "qwen2" / "gptq_symmetric")
    assert not open_linear(symmetric, Q, 128, 128).has_zero_points
    assert open_linear(Checkpoint(GPTQ), Q, 128, 128).has_zero_points


def test_missing_zero_points_are_not_taken_for_symmetric(tmp_path):
    source = files.GOLDENS / "llama" / "int4_asymmetric"
    values = files.load_model_tensors(source)
    del values[f"{Q}.weight_zero_point"]
    folder = files.write(tmp_path / "c", values, files.load_json(source / "config.json"))
    with pytest.raises(DovetailError, match=f"{Q}.weight_zero_point is missing"):
        open_linear(Checkpoint(folder), Q, 128, 128)
