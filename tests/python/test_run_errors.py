# SPDX-License-Identifier: Apache-2.0
"""Bad input to dovetail-run: a sentence that names the culprit, exit code 1, nothing on stdout."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from packages import TINY, accept_sizes, copy_package, dovetail_run, environment, fail, make_package

PROMPT = ("A prompt", "--max-tokens", 4)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_package(
        TINY / "checkpoint", tmp_path_factory.mktemp("tiny") / "package", capacity=64, max_batch=2
    )


@pytest.fixture
def damaged(tiny, tmp_path):
    return copy_package(tiny, tmp_path / "package")


def test_a_prompt_longer_than_the_capacity(tiny):
    message = fail("generate", tiny, "word " * 200, "--max-tokens", 1)
    assert message.startswith("prompt 0 has ") and "capacity of 64" in message


def test_a_prompt_and_max_tokens_longer_than_the_capacity(tiny):
    message = fail("generate", tiny, "A prompt", "--max-tokens", 64)
    assert "max_tokens is 64" in message and "lower max_tokens to " in message


def test_empty_prompts(tiny, tmp_path):
    assert fail("generate", tiny, "") == "prompt 0 is empty, expected some text to continue"
    assert fail("generate", tiny) == "prompt 0 is empty, expected some text to continue"
    empty = tmp_path / "empty.txt"
    empty.write_text("\n\n")
    assert "has no prompt" in fail("generate", tiny, "--prompt-file", empty)
    assert "cannot open the prompt file" in fail("generate", tiny, "--prompt-file", tmp_path / "no")
    assert "expected one of them" in fail("generate", tiny, "both", "--prompt-file", empty)


def test_a_package_of_a_newer_version(tiny, tmp_path):
    package = copy_package(tiny, tmp_path / "package", version=2, producer="dovetail 9.1")
    message = fail("generate", package, *PROMPT)
    assert "version 2 (written by dovetail 9.1)" in message and "up to 1" in message


def test_folders_that_are_no_packages(tmp_path):
    assert "is not a folder" in fail("generate", tmp_path / "none", *PROMPT)
    assert "has no manifest.json" in fail("bench", tmp_path)


@pytest.mark.parametrize(
    "name", ["model.onnx", "model.onnx.data", "embedding.safetensors", "rope.safetensors",
             "tokenizer.json"]
)
def test_missing_and_truncated_files(damaged, name):
    file = damaged / name
    content = file.read_bytes()
    file.write_bytes(content[:-3])
    message = fail("generate", damaged, *PROMPT)
    assert f"{name} has {len(content) - 3} bytes, the manifest says {len(content)}" in message
    file.unlink()
    assert f"{name} is missing" in fail("generate", damaged, *PROMPT)


@pytest.mark.parametrize("name", ["embedding.safetensors", "rope.safetensors"])
def test_truncated_safetensors_of_the_stated_size(damaged, name):
    file = damaged / name
    file.write_bytes(file.read_bytes()[:-4])
    accept_sizes(damaged)
    message = fail("perplexity", damaged, TINY / "held_out.txt")
    assert name in message and "is it truncated?" in message


def test_a_lying_safetensors_header(damaged):
    file = damaged / "embedding.safetensors"
    content = bytearray(file.read_bytes())
    content[0:8] = (1 << 40).to_bytes(8, "little")
    file.write_bytes(content)
    assert "the header claims 1099511627776 bytes" in fail("generate", damaged, *PROMPT)


def test_an_embedding_of_the_wrong_shape(damaged):
    file = damaged / "embedding.safetensors"
    save_file({"embedding": np.zeros((4096, 128), np.float32)}, file)
    accept_sizes(damaged)
    message = fail("generate", damaged, *PROMPT)
    assert "embedding is [4096, 128], expected [vocab_size, hidden_size] = [4096, 256]" in message


def test_damaged_weights_give_an_error_and_no_text(damaged):
    file = damaged / "embedding.safetensors"
    values = load_file(file)["embedding"]
    save_file({"embedding": np.full_like(values, np.nan)}, file)
    accept_sizes(damaged)
    message = fail("generate", damaged, *PROMPT)
    assert message.startswith("prompt 0, token 0: ") and "nan" in message.lower()
    assert "are not finite" in fail("perplexity", damaged, TINY / "held_out.txt", "--window", 64,
                                    "--max-pieces", 1)


def test_a_corrupt_tokenizer(damaged):
    (damaged / "tokenizer.json").write_text('{"model": {"type": "BPE", ')
    accept_sizes(damaged)
    assert "tokenizer.json" in fail("generate", damaged, *PROMPT)


def test_a_corrupt_graph(damaged):
    (damaged / "model.onnx").write_bytes(b"not a graph")
    accept_sizes(damaged)
    message = fail("generate", damaged, *PROMPT)
    assert message.startswith("onnxruntime: cannot load ") and "model.onnx" in message


def test_a_graph_with_other_inputs(damaged):
    manifest = json.loads((damaged / "manifest.json").read_text())
    manifest["tree"] = True
    (damaged / "manifest.json").write_text(json.dumps(manifest))
    assert "the graph lacks the input attention_mask" in fail("generate", damaged, *PROMPT)
    manifest["tree"], manifest["model"]["layers"] = False, 5
    (damaged / "manifest.json").write_text(json.dumps(manifest))
    assert "the graph has an unknown input past_key_values_5" in fail("generate", damaged, *PROMPT)


def test_engines_that_cannot_serve(tiny, tmp_path):
    assert "the engine openvino is not in this build; it has onnxruntime, tensorrt" in fail(
        "generate", tiny, *PROMPT, "--engine", "openvino"
    )
    assert "was exported for the engine onnxruntime, not for tensorrt" in fail(
        "generate", tiny, *PROMPT, "--engine", "tensorrt"
    )
    package = copy_package(tiny, tmp_path / "package", engine="tensorrt")
    assert "was exported for the engine tensorrt" in fail(
        "generate", package, *PROMPT, "--engine", "onnxruntime"
    )


def test_libraries_that_are_not_there(tiny, tmp_path):
    missing = str(tmp_path / "libonnxruntime.so")
    assert f"cannot open {missing}" in fail("generate", tiny, *PROMPT, "--onnxruntime", missing)
    assert f"cannot open {missing}" in fail(
        "generate", tiny, *PROMPT, DOVETAIL_ONNXRUNTIME_LIBRARY=missing
    )
    other = "libm.so.6"
    assert "is not ONNX Runtime" in fail("generate", tiny, *PROMPT, "--onnxruntime", other)
    assert "does not exist" in fail("generate", tiny, *PROMPT, DOVETAIL_OPERATOR_LIBRARY=missing)


def test_devices_that_cannot_serve(tiny, tmp_path):
    assert fail("generate", tiny, *PROMPT, "--device", "npu") == (
        'device is "npu", expected cpu or cuda'
    )
    library = environment()["DOVETAIL_ONNXRUNTIME_LIBRARY"]  # of the package for the CPU
    message = fail("generate", tiny, *PROMPT, "--device", "cuda")
    assert message.startswith("device cuda: ONNX Runtime 1.") and library in message
    assert "has no CUDA provider: run `pip install onnxruntime-gpu`" in message
    copy = tmp_path / "libonnxruntime.so"
    shutil.copy(library, copy)
    (tmp_path / "libonnxruntime_providers_cuda.so").write_bytes(b"not a library")
    message = fail("bench", tiny, "--device", "cuda", "--onnxruntime", copy)
    assert message.startswith("device cuda: ONNX Runtime's CUDA provider cannot be loaded: ")
    assert "libonnxruntime_providers_cuda.so: file too short" in message


def test_an_unknown_cpu_tier(tiny):
    message = fail("generate", tiny, *PROMPT, DOVETAIL_CPU="mmx")
    assert "mmx" in message and "generic" in message


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        (["--temperature", "-1"], "temperature"),
        (["--top-p", "1.5"], "top_p"),
        (["--min-p", "-0.1"], "min_p"),
        (["--top-k", "-2"], "top_k"),
        (["--repetition-penalty", "0"], "repetition_penalty"),
        (["--max-tokens", "-1"], "max_tokens"),
        (["--stop", ""], "stop"),
        (["--threads", "-1"], "threads"),
        (["--prefill-chunk", "0"], "prefill_chunk"),
    ],
)
def test_options_out_of_range(tiny, arguments, culprit):
    assert culprit in fail("generate", tiny, "A prompt", *arguments)


def test_command_lines(tiny):
    assert fail() == "A subcommand is required"
    assert "package is required" in fail("generate")
    assert "--max-tokens" in fail("generate", tiny, "A prompt", "--max-tokens", "many")
    assert "--no-such-option" in fail("generate", tiny, "A prompt", "--no-such-option")
    shown = dovetail_run("--help")
    assert shown.returncode == 0 and "dovetail-run generate ./llama-pkg" in shown.stdout


def test_windows_and_benches_that_do_not_fit(tiny):
    text = TINY / "held_out.txt"
    assert "window is 256" in fail("perplexity", tiny, text)
    assert "stride is 64" in fail("perplexity", tiny, text, "--window", 64, "--stride", 64)
    assert "a batch of 3 prompts" in fail("perplexity", tiny, text, "--window", 64, "--batch", 3)
    assert "cannot open" in fail("perplexity", tiny, text.with_name("no.txt"), "--window", 64)
    assert "do not fit" in fail("bench", tiny, "--prompt-tokens", 64, "--decode-tokens", 1)
