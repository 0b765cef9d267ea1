# SPDX-License-Identifier: Apache-2.0
"""`dovetail quantize` against numpy in fp64 and the bit table of pack-quantized."""

import json
import resource
import signal

import ml_dtypes
import numpy as np
import pytest

import checkpoint_files as files
from command_line import dovetail, fail, succeed
from dovetail import DovetailError, _native
from dovetail.checkpoint import Checkpoint
from dovetail.checkpoint.linear import open_linear
from dovetail.quantize import QuantizeOptions, quantize

GROUPS = [32, 64, 128]
DTYPES = {"fp32": np.float32, "fp16": np.float16, "bf16": ml_dtypes.bfloat16}


def search(weights, group_size, asymmetric=False, scale_type="fp16"):
    return _native.quantize_int4(weights.astype(np.float32), group_size, asymmetric, scale_type, 2)


def decode(codes, scales, zero_points, group_size):
    points = (
        8.0
        if zero_points is None
        else np.repeat(zero_points.astype(np.float64), group_size, axis=1)
    )
    return (codes - points) * np.repeat(scales.astype(np.float64), group_size, axis=1)


@pytest.mark.parametrize("group_size", GROUPS)
@pytest.mark.parametrize("asymmetric", [False, True])
def test_weights_on_a_grid_are_recovered_exactly(group_size, asymmetric):
    random = np.random.default_rng(files.SEED)
    zero_point = 3 if asymmetric else 8
    codes = random.integers(0, 16, (24, 256))
    codes[:, ::group_size] = 15  # both ends of the range are in every group
    codes[:, 1::group_size] = 0
    scales = 2.0 ** random.integers(-8, 3, (24, 256 // group_size))
    weights = (codes - zero_point) * np.repeat(scales, group_size, axis=1)
    got = search(weights, group_size, asymmetric)
    np.testing.assert_array_equal(decode(*got[:3], group_size), weights)
    assert got[3] == 0.0
    assert got[4] == pytest.approx(np.square(weights).sum())


@pytest.mark.parametrize("asymmetric", [False, True])
@pytest.mark.parametrize("scale_type", DTYPES)
def test_codes_are_the_nearest_and_scales_are_values_of_their_type(asymmetric, scale_type):
    weights = np.random.default_rng(files.SEED).standard_normal((40, 256)).astype(np.float32) * 0.05
    codes, scales, zero_points, error, norm = search(weights, 64, asymmetric, scale_type)
    np.testing.assert_array_equal(scales.astype(DTYPES[scale_type]).astype(np.float32), scales)
    points = 8.0 if zero_points is None else np.repeat(zero_points.astype(np.float64), 64, axis=1)
    exact = weights / np.repeat(scales.astype(np.float64), 64, axis=1) + points
    assert np.abs(codes - np.clip(exact, 0, 15)).max() <= 0.5 + 1e-5  # fp32 division inside
    difference = weights - decode(codes, scales, zero_points, 64)
    assert error == pytest.approx(np.square(difference).sum(), rel=1e-6)
    assert norm == pytest.approx(np.square(weights.astype(np.float64)).sum(), rel=1e-9)


@pytest.mark.parametrize("group_size", GROUPS)
@pytest.mark.parametrize("asymmetric", [False, True])
def test_the_search_is_as_good_as_a_fine_grid_in_fp64(group_size, asymmetric):
    random = np.random.default_rng(files.SEED)
    weights = random.standard_t(4, (16, 256))  # heavy tails: clipping pays
    if asymmetric:
        weights += 0.7
    weights = weights.astype(np.float32)
    error = search(weights, group_size, asymmetric, "fp32")[3]
    groups = weights.reshape(-1, group_size).astype(np.float64)
    best = np.full(len(groups), np.inf)
    low, high = np.minimum(groups.min(1), 0), np.maximum(groups.max(1), 0)
    for factor in np.linspace(0.4, 1.15, 151):
        full = high - low if asymmetric else 15 / 7 * np.maximum(high, -low)
        scale = (full / 15 * factor)[:, None]
        points = range(16) if asymmetric else [8]
        for point in points:
            codes = np.clip(np.round(groups / scale) + point, 0, 15)
            best = np.minimum(best, np.square(groups - (codes - point) * scale).sum(1))
    plain = np.maximum(high, -low)[:, None] / 7
    nearest = np.square(groups - np.clip(np.round(groups / plain), -8, 7) * plain).sum()
    assert error < 0.95 * nearest, "no better than scale = absmax / 7"
    assert error <= 1.02 * best.sum(), "a fine grid finds clearly better scales"


def test_zero_groups_outliers_and_tiny_weights_stay_finite():
    weights = np.zeros((4, 64), np.float32)
    weights[1, 3] = 1e4
    weights[2] = 1e-38
    weights[3, :32] = -6e-8
    for asymmetric in (False, True):
        codes, scales, zero_points, *_ = search(weights, 32, asymmetric)
        decoded = decode(codes, scales, zero_points, 32)
        assert np.isfinite(decoded).all() and (scales > 0).all()
        assert (decoded[0] == 0).all() and (decoded[2] == 0).all()
        assert decoded[1, 3] == pytest.approx(1e4, rel=2e-3)


def test_too_large_weights_are_refused_by_name_of_the_type():
    with pytest.raises(DovetailError, match="too large for scales of type fp16"):
        search(np.full((2, 32), 1e7, np.float32), 32)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("asymmetric", [False, True])
def test_the_written_checkpoint_is_what_the_convention_says(tmp_path, dtype, asymmetric):
    values = files.tensors(DTYPES[dtype])
    folder = files.write(tmp_path / "in", values)
    report = quantize(folder, tmp_path / "out", QuantizeOptions(32, asymmetric, ("lm_head",)))
    written = files.load(tmp_path / "out")
    settings = json.loads((tmp_path / "out" / "config.json").read_text())["quantization_config"]
    scheme = settings["config_groups"]["group_0"]["weights"]
    assert settings["quant_method"] == "compressed-tensors"
    assert settings["format"] == "pack-quantized" and settings["ignore"] == ["lm_head"]
    assert (scheme["num_bits"], scheme["group_size"], scheme["symmetric"]) == (
        4,
        32,
        not asymmetric,
    )
    checkpoint = Checkpoint(tmp_path / "out")
    for i in range(files.LAYERS):
        for module, (n, k) in files.LINEARS.items():
            name = f"model.layers.{i}.{module}"
            original = values.pop(f"{name}.weight")
            assert f"{name}.weight" not in written
            assert written[f"{name}.weight_scale"].dtype == original.dtype
            assert written[f"{name}.weight_packed"].shape == (n, k // 8)
            assert (f"{name}.weight_zero_point" in written) == asymmetric
            decoded = files.decode_int4(written, name)
            error = np.linalg.norm(decoded - original.astype(np.float64))
            error /= np.linalg.norm(original.astype(np.float64))
            told = next(m.relative_error for m in report.modules if m.module == name)
            assert error == pytest.approx(told, rel=1e-5)
            assert error < 0.095  # 4 bits, groups of 32, normal weights
            linear = open_linear(checkpoint, name, n, k)  # our own reader agrees with the bit table
            ours = decode(linear.nibbles(0, n), linear.scales(), linear.zero_points(), 32)
            np.testing.assert_array_equal(ours, decoded)
    for name, original in values.items():  # everything else is unchanged
        np.testing.assert_array_equal(written[name], original)


def test_shards_have_an_index_that_names_every_tensor(tmp_path):
    folder = files.write(tmp_path / "in")
    quantize(folder, tmp_path / "one", QuantizeOptions(128))
    quantize(folder, tmp_path / "many", QuantizeOptions(128, shard_bytes=60_000))
    index = json.loads((tmp_path / "many" / "model.safetensors.index.json").read_text())
    one = files.load(tmp_path / "one")
    assert set(index["weight_map"]) == set(one)
    assert len(set(index["weight_map"].values())) > 2
    for name, value in files.load(tmp_path / "many").items():
        np.testing.assert_array_equal(value, one[name])


def test_keep_takes_names_parts_and_paths(tmp_path):
    folder = files.write(tmp_path / "in")
    keep = ("lm_head", "down_proj", "model.layers.1.self_attn.q_proj")
    report = quantize(folder, tmp_path / "out", QuantizeOptions(64, keep=keep))
    expected = [
        "model.layers.0.mlp.down_proj",
        "model.layers.1.self_attn.q_proj",
        "model.layers.1.mlp.down_proj",
        "lm_head",
    ]
    assert report.kept == expected
    kept = {
        n.removesuffix(".weight") for n in files.load(tmp_path / "out") if n.endswith("proj.weight")
    }
    assert kept == set(expected) - {"lm_head"}


def test_keep_of_an_unknown_name_is_refused(tmp_path):
    message = fail("quantize", files.write(tmp_path / "in"), tmp_path / "out", "--keep", "q_prj")
    assert "--keep q_prj names no linear module" in message


def test_a_tied_head_stays_the_embedding(tmp_path):
    values = files.tensors()
    del values["lm_head.weight"]
    folder = files.write(tmp_path / "in", values, files.config(tie_word_embeddings=True))
    quantize(folder, tmp_path / "out", QuantizeOptions(32))
    written = files.load(tmp_path / "out")
    assert not any(name.startswith("lm_head") for name in written)
    np.testing.assert_array_equal(
        written["model.embed_tokens.weight"], values["model.embed_tokens.weight"]
    )


def test_the_command_quantizes_the_bundled_model_and_reports_every_layer(tmp_path):
    out = succeed("quantize", files.TINY, tmp_path / "out", "--group-size", "32")
    assert "all quantized weights: 0.0" in out and "down_proj" in out
    assert (tmp_path / "out" / "tokenizer.json").read_bytes() == (
        files.TINY / "tokenizer.json"
    ).read_bytes()
    assert not [p for p in tmp_path.iterdir() if p.name != "out"]


def test_refusals(tmp_path):
    folder = files.write(tmp_path / "in")
    assert "group size is 48, expected 32, 64 or 128" in fail(
        "quantize", folder, tmp_path / "out", "--group-size", "48"
    )
    assert "is quantized already" in fail(
        "quantize", files.GOLDENS / "llama" / "int4", tmp_path / "out"
    )
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("kept")
    assert "already exists" in fail("quantize", folder, tmp_path / "out")
    assert "--force spares it" in fail("quantize", folder, tmp_path / "out", "--force")
    assert (tmp_path / "out" / "mine").read_text() == "kept"
    assert "holds the source" in fail("quantize", folder, folder, "--force")


def test_a_group_size_that_does_not_divide_names_the_tensor(tmp_path):
    values = files.tensors()
    for i in range(files.LAYERS):
        for module, shape in (
            ("gate_proj", (160, 128)),
            ("up_proj", (160, 128)),
            ("down_proj", (128, 160)),
        ):
            values[f"model.layers.{i}.mlp.{module}.weight"] = np.zeros(shape, np.float32)
    folder = files.write(tmp_path / "in", values, files.config(intermediate_size=160))
    with pytest.raises(
        DovetailError, match="layers.0.mlp.down_proj.weight has 160 inputs.*--keep down_proj"
    ):
        quantize(folder, tmp_path / "out", QuantizeOptions(64))


def test_nan_weights_are_refused_and_leave_nothing_behind(tmp_path):
    values = files.tensors()
    values["model.layers.1.mlp.up_proj.weight"][7, 7] = np.nan
    folder = files.write(tmp_path / "in", values)
    message = fail("quantize", folder, tmp_path / "out")
    assert "model.layers.1.mlp.up_proj.weight holds NaN or infinity" in message
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("limit", [1000, 100_000])
def test_a_full_disk_leaves_nothing_under_the_final_name(tmp_path, limit):
    """A file size limit stands for the full disk: write() fails the same way, with EFBIG."""
    folder = files.write(tmp_path / "in")

    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    for command in (
        ["quantize"],
        ["export", "--engine", "onnxruntime", "--dtype", "fp32", "--capacity", "64"],
    ):
        done = dovetail(command[0], folder, tmp_path / "out", *command[1:], preexec_fn=limited)
        assert done.returncode == 1, done.stdout
        assert "the disk is full or the file size limit is reached" in done.stderr
        assert "Traceback" not in done.stderr and done.stderr.count("\n") == 1, done.stderr
        assert [p.name for p in tmp_path.iterdir()] == ["in"]
