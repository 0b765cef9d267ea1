# SPDX-License-Identifier: Apache-2.0
"""Exported graphs in ONNX Runtime with our operators, against logits that transformers recorded.

The error is the largest difference over the largest logit (tests/oracle/README.md says what
mistakes cost).
"""

import functools

import numpy as np
import pytest
from safetensors.numpy import load_file

import checkpoint_files as files
import graph_reference
from dovetail.export import ExportOptions, export
from dovetail.quantize import QuantizeOptions, quantize
from package_decoder import PackageDecoder

PLAIN = ["llama", "llama_rope_linear", "llama_rope_llama3", "mistral", "qwen2", "qwen3"]
INT4 = ["llama/int4", "llama/int4_asymmetric", "mistral/int4", "qwen2/int4", "qwen3/int4"]
INT4 += ["llama/awq", "llama/gptq", "qwen2/gptq_symmetric"]
EXACT = {
    "engine": "onnxruntime",
    "dtype": "fp32",
    "kv_dtype": "fp32",
    "capacity": 80,
    "compute": "exact",
}
CHUNK = 20  # tokens of the first prefill call; the rest of the prompt is a chunked prefill


def package(tmp_path, source, **options):
    export(source, tmp_path / "package", ExportOptions(**(EXACT | options)))
    return tmp_path / "package"


@functools.cache
def golden(folder: str) -> dict[str, np.ndarray]:
    return load_file(files.GOLDENS / folder / "golden.safetensors")


def error(got: np.ndarray, expected: np.ndarray) -> float:
    assert got.shape == expected.shape
    assert np.isfinite(got).all()
    return float(np.abs(got - expected).max() / np.abs(expected).max())


def replay(decoder: PackageDecoder, expected: dict[str, np.ndarray]) -> float:
    """The prompt in two prefill chunks, then 32 decode steps; the larger error."""
    prompt, generated = expected["prompt"], expected["generated"]
    chunks = [decoder.prefill(prompt[:CHUNK]), decoder.prefill(prompt[CHUNK:], CHUNK)]
    worst = error(np.concatenate(chunks), expected["prefill_logits"])
    assert chunks[-1][-1].argmax() == generated[0]
    for step, row in enumerate(expected["decode_logits"]):
        logits = decoder.decode(int(generated[step]), len(prompt) + step)
        worst = max(worst, error(logits, row))
        assert logits.argmax() == generated[step + 1]
    return worst


@pytest.mark.parametrize("family", PLAIN)
def test_plain_graphs_reproduce_the_golden(tmp_path, family):
    decoder = PackageDecoder(package(tmp_path, files.GOLDENS / family / "plain"))
    assert replay(decoder, golden(f"{family}/plain")) < 1e-4


@pytest.mark.parametrize("folder", INT4)
def test_int4_graphs_reproduce_the_golden_of_dequantized_weights(tmp_path, folder):
    decoder = PackageDecoder(package(tmp_path, files.GOLDENS / folder))
    assert replay(decoder, golden(folder)) < 1e-3


def test_one_prefill_call_equals_two(tmp_path):
    expected = golden("llama/int4")
    decoder = PackageDecoder(package(tmp_path, files.GOLDENS / "llama" / "int4"))
    assert error(decoder.prefill(expected["prompt"]), expected["prefill_logits"]) < 1e-3


def test_a_chunk_of_one_token_is_prefill_and_not_decode(tmp_path):
    expected = golden("llama/plain")
    prompt = expected["prompt"]
    decoder = PackageDecoder(package(tmp_path, files.GOLDENS / "llama" / "plain"))
    decoder.prefill(prompt[:-1])
    last = decoder.run([prompt[-1:]], [1], [len(prompt) - 1], [[0]])[0]
    assert error(last, expected["prefill_logits"][-1:]) < 1e-4


def test_lanes_of_different_lengths_give_what_each_gives_alone(tmp_path):
    expected = golden("qwen3/int4")
    prompt = expected["prompt"]
    lengths = [len(prompt), 7, 1, 23]
    decoder = PackageDecoder(
        package(tmp_path, files.GOLDENS / "qwen3" / "int4", max_batch=4), lanes=4
    )
    tokens = np.zeros((4, len(prompt)), np.int64)
    for lane, length in enumerate(lengths):
        tokens[lane, :length] = prompt[:length]
    logits = decoder.run(tokens, lengths, [], [[length - 1] for length in lengths])
    for lane, length in enumerate(lengths):
        assert error(logits[lane, 0], expected["prefill_logits"][length - 1]) < 1e-3


@pytest.mark.parametrize("folder", ["llama/plain", "mistral/int4"])
def test_a_tree_of_drafts_equals_the_sequences_it_stands_for(tmp_path, folder):
    """Two branches after the prompt: the golden continuation, and one with a wrong token."""
    expected = golden(folder)
    prompt, generated = expected["prompt"], expected["generated"]
    n = len(prompt)
    decoder = PackageDecoder(package(tmp_path, files.GOLDENS / folder, tree=True))
    dummy = {"mask": np.zeros((1, n, (n + 31) // 32)), "positions": np.zeros((1, 1))}
    assert error(decoder.prefill(prompt, **dummy), expected["prefill_logits"]) < 1e-3
    wrong = int(generated[1]) ^ 1
    tokens = [generated[0], wrong, generated[1], generated[2]]
    seen = [[0], [0, 1], [0, 2], [0, 2, 3]]  # tree tokens that each one sees
    mask = [[sum(1 << j for j in row)] for row in seen]
    positions = [[n, n + 1, n + 1, n + 2]]
    logits = decoder.run([tokens], [n + 4], [n], [[0, 1, 2, 3]], [mask], positions)[0]
    for row, step in ((0, 0), (2, 1), (3, 2)):
        assert error(logits[row], expected["decode_logits"][step]) < 1e-3
    assert error(logits[1], expected["decode_logits"][1]) > 1e-2  # the wrong branch is another text


NARROW = {
    "fp16 cache": {"kv_dtype": "fp16"},
    "bf16 cache": {"kv_dtype": "bf16"},
    "fp8 cache": {"kv_dtype": "fp8"},
    "fp16": {"dtype": "fp16", "kv_dtype": "fp16"},
    "bf16": {"dtype": "bf16", "kv_dtype": "bf16"},
    "int8 activations": {"compute": "int8"},
}


@pytest.mark.parametrize("case", NARROW)
def test_narrow_types_cost_what_the_same_rounding_costs_in_fp64(tmp_path, case):
    """At most twice the error of the numpy evaluation of the same graph with the same storage
    types; and not ten times less, which would mean that the option did nothing."""
    expected = golden("llama/int4")
    folder = package(tmp_path, files.GOLDENS / "llama" / "int4", **NARROW[case])
    model = graph_reference.prefill(folder, expected["prompt"])
    got = PackageDecoder(folder).prefill(expected["prompt"])
    cost = error(model, expected["prefill_logits"])
    assert 0.1 * cost < error(got, expected["prefill_logits"]) < 2 * cost


def test_the_guide_layout_gives_the_same_logits(tmp_path):
    """The tensorrt graph runs in ONNX Runtime too: edgellm_v1 weights, standard operators, fp16."""
    expected = golden("llama/int4")
    decoder = PackageDecoder(
        package(
            tmp_path,
            files.GOLDENS / "llama" / "int4",
            engine="tensorrt",
            dtype="fp16",
            kv_dtype="fp16",
        )
    )
    assert error(decoder.prefill(expected["prompt"]), expected["prefill_logits"]) < 1e-2


def test_an_int4_head_made_at_export_is_close_to_the_float_head(tmp_path):
    expected = golden("llama/plain")
    decoder = PackageDecoder(package(tmp_path, files.GOLDENS / "llama" / "plain", head="int4"))
    logits = decoder.prefill(expected["prompt"])
    relative = np.linalg.norm(logits - expected["prefill_logits"]) / np.linalg.norm(
        expected["prefill_logits"]
    )
    assert 1e-3 < relative < 0.12  # the error of 4-bit weights in groups of 32


def test_a_mixed_checkpoint_runs_the_kept_modules_in_float(tmp_path):
    """--keep v_proj,up_proj splits the fused GEMMs; the result is that of the decoded weights."""
    source = files.GOLDENS / "qwen2" / "plain"
    quantize(source, tmp_path / "mixed", QuantizeOptions(32, keep=("v_proj", "up_proj")))
    decoded = files.load_model_tensors(tmp_path / "mixed")
    plain = {}
    for name, value in decoded.items():
        module, _, kind = name.rpartition(".")
        if kind == "weight_packed":
            plain[f"{module}.weight"] = files.decode_int4(decoded, module).astype(np.float32)
        elif not kind.startswith("weight_"):
            plain[name] = value.astype(np.float32)
    settings = files.load_json(source / "config.json")
    files.write(tmp_path / "plain", plain, settings)
    prompt = golden("qwen2/plain")["prompt"]
    reference = PackageDecoder(package(tmp_path / "a", tmp_path / "plain")).prefill(prompt)
    mixed = PackageDecoder(package(tmp_path / "b", tmp_path / "mixed")).prefill(prompt)
    assert error(mixed, reference) < 1e-4


def test_the_bundled_model_gives_the_recorded_logits(tmp_path):
    expected = load_file(files.GOLDENS / "tiny" / "golden.safetensors")
    decoder = PackageDecoder(package(tmp_path, files.TINY, capacity=128))
    logits = decoder.prefill(expected["piece"])
    assert error(logits[7::8], expected["piece_logits"]) < 1e-4
    np.testing.assert_array_equal(logits.argmax(-1), expected["piece_best"])
    sums = np.log(np.exp(logits.astype(np.float64)).sum(-1))
    assert np.abs(sums - expected["piece_log_sum_exp"]).max() < 1e-3
