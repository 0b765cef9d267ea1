# SPDX-License-Identifier: Apache-2.0
"""dovetail-run against what transformers generated and measured (tests/oracle/README.md)."""

import json
import math
import shutil
import signal
import subprocess

import numpy as np
import pytest
from safetensors.numpy import load_file

import checkpoint_files
from dovetail.quantize import QuantizeOptions, quantize
from packages import (
    BUILD,
    GOLDENS,
    RUN,
    TINY,
    complete,
    copy_package,
    environment,
    golden_text,
    make_package,
    succeed,
    succeed_json,
)

FAMILIES = [
    "llama/plain",
    "llama/int4",
    "llama/int4_asymmetric",
    "llama_rope_linear/plain",
    "llama_rope_llama3/plain",
    "mistral/int4",
    "qwen2/int4",
    "qwen3/int4",
]
HELD_OUT = TINY / "held_out.txt"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny") / "package"
    return make_package(TINY / "checkpoint", folder, max_batch=4)


@pytest.fixture(scope="module")
def golden():
    return golden_text("tiny") | {
        "tokens": load_file(GOLDENS / "tiny" / "golden.safetensors")["generated"].tolist()
    }


def test_greedy_tokens_and_text_are_those_of_transformers(tiny, golden):
    done = complete(tiny, golden["prompt_text"], "--max-tokens", 64)
    assert done["tokens"] == golden["tokens"]
    assert done["text"] == golden["generated_text"]
    assert done["prompt_tokens"] == 11
    assert done["finish_reason"] == "max_tokens"


@pytest.mark.parametrize("chunk", [1, 4, 10])
def test_chunks_of_the_prompt_change_nothing(tiny, golden, chunk):
    done = complete(tiny, golden["prompt_text"], "--max-tokens", 64, "--prefill-chunk", chunk)
    assert done["tokens"] == golden["tokens"]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_generates_what_transformers_does(tmp_path, name):
    package = make_package(GOLDENS / name, tmp_path / "package", capacity=80)
    expected = load_file(GOLDENS / name / "golden.safetensors")["generated"].tolist()
    assert 257 not in expected, "an end-of-text token would end our text, and not the golden's"
    done = complete(package, golden_text(name)["prompt_text"], "--max-tokens", len(expected))
    assert done["tokens"] == expected


def test_a_package_with_tree_inputs_serves_plain_generation(tmp_path, golden):
    package = make_package(TINY / "checkpoint", tmp_path / "package", tree=True)
    done = complete(package, golden["prompt_text"], "--max-tokens", 64, "--prefill-chunk", 4)
    assert done["tokens"] == golden["tokens"]


def test_a_package_for_a_gpu_runs_on_the_cpu(tmp_path, golden):
    gpu = {"device": "cuda", "dtype": "fp16", "kv_dtype": "fp16"}
    package = make_package(TINY / "checkpoint", tmp_path / "float", **gpu)
    done = complete(package, golden["prompt_text"], "--max-tokens", 64)
    assert done["tokens"] == golden["tokens"]
    package = make_package(GOLDENS / "llama" / "int4", tmp_path / "int4", **gpu, capacity=80)
    done = complete(package, golden_text("llama/int4")["prompt_text"], "--max-tokens", 8)
    expected = load_file(GOLDENS / "llama/int4" / "golden.safetensors")["generated"].tolist()
    assert done["tokens"] == expected[:8]


def test_perplexity_is_that_of_transformers(tiny, golden):
    whole = succeed_json("perplexity", tiny, HELD_OUT)
    assert whole["perplexity"] == pytest.approx(golden["perplexity"], rel=1e-5)
    assert (whole["tokens"], whole["counted_tokens"], whole["pieces"]) == (10962, 10962, 43)
    arguments = ("perplexity", tiny, HELD_OUT, "--max-pieces", 8, "--batch", 4)
    assert succeed_json(*arguments)["perplexity"] == pytest.approx(
        golden["slice_perplexity"], rel=1e-5
    )
    assert succeed(*arguments).stdout == "perplexity 15.0078 over 2040 tokens in 8 pieces\n"


def test_a_stride_gives_context_and_lowers_perplexity(tiny):
    """The first 1,024 tokens with up to 127 tokens of context, then most with 128 or more."""
    arguments = ("perplexity", tiny, HELD_OUT)
    side_by_side = succeed_json(*arguments, "--window", 129, "--max-pieces", 8)
    overlapping = succeed_json(*arguments, "--window", 257, "--stride", 128, "--max-pieces", 7)
    assert overlapping["counted_tokens"] == side_by_side["counted_tokens"] == 1024
    assert overlapping["perplexity"] < side_by_side["perplexity"]


def test_a_batch_gives_what_each_prompt_gives_alone(tiny, tmp_path):
    prompts = [
        "And",
        "In the beginning God created the heaven and the earth, and all that was in it, and seas",
        "The LORD is my",
        "Thus saith the king:",
        "Go",  # beyond max_batch: a second batch
    ]
    file = tmp_path / "prompts.txt"
    file.write_text("\n".join(prompts) + "\n\n")
    report = succeed_json("generate", tiny, "--prompt-file", file, "--max-tokens", 40)
    assert [done["prompt"] for done in report["completions"]] == prompts
    assert len({done["prompt_tokens"] for done in report["completions"]}) > 3
    for done in report["completions"]:
        alone = complete(tiny, done["prompt"], "--max-tokens", 40)
        assert done["tokens"] == alone["tokens"]
        assert done["text"] == alone["text"]
    lines = succeed("generate", tiny, "--prompt-file", file, "--max-tokens", 3).stdout
    assert lines.count("\n") == len(prompts)


def test_seeds_reproduce_and_requests_do_not_share_random_numbers(tiny, tmp_path):
    options = ("--max-tokens", 30, "--temperature", 1.2, "--top-p", 0.95, "--seed", 3)
    first = complete(tiny, "And the king said", *options)
    assert complete(tiny, "And the king said", *options)["tokens"] == first["tokens"]
    assert complete(tiny, "And the king said", *options[:-1], 4)["tokens"] != first["tokens"]
    file = tmp_path / "prompts.txt"
    file.write_text("And the king said\n" * 5)
    batch = succeed_json("generate", tiny, "--prompt-file", file, *options)["completions"]
    assert batch[0]["tokens"] == first["tokens"]
    assert len({tuple(done["tokens"]) for done in batch}) == 5


def test_repetition_penalty_breaks_the_loop_of_greedy_decoding(tiny, golden):
    options = ("--max-tokens", 64, "--repetition-penalty", 1.5)
    tokens = complete(tiny, golden["prompt_text"], *options)["tokens"]
    assert len(set(tokens)) > len(set(golden["tokens"])) + 10


def test_stop_strings_end_before_themselves(tiny, golden):
    text = golden["generated_text"]
    stop = "of Israel, and"
    assert stop in text
    options = ("--max-tokens", 64, "--stop", "no such text", "--stop", stop)
    done = complete(tiny, golden["prompt_text"], *options)
    assert done["text"] == text[: text.index(stop)]
    assert done["finish_reason"] == "stop_string"
    assert len(done["tokens"]) < 64


def test_every_end_of_text_token_ends_the_text(tiny, golden, tmp_path):
    tokens = golden["tokens"]
    end = next(i for i in range(8, 64) if tokens[i] not in tokens[:i])
    package = copy_package(tiny, tmp_path / "package", eos_token_ids=[4095, tokens[end]])
    done = complete(package, golden["prompt_text"], "--max-tokens", 64)
    assert done["tokens"] == tokens[:end]
    assert done["finish_reason"] == "end_of_text"


def test_zero_max_tokens_fills_the_capacity(tmp_path, golden):
    package = make_package(TINY / "checkpoint", tmp_path / "package", capacity=32)
    done = complete(package, golden["prompt_text"], "--max-tokens", 0)
    assert done["finish_reason"] == "capacity"
    assert done["tokens"] == golden["tokens"][: 32 - 11 + 1]


def test_text_streams_to_stdout_and_timing_to_stderr(tiny, golden):
    done = succeed("generate", tiny, golden["prompt_text"], "--max-tokens", 64)
    assert done.stdout == golden["generated_text"] + "\n"
    assert done.stderr.startswith("prompt: 11 tokens in ")
    for part in ("first token after", "decode: 63 tokens in", "tokens/s"):
        assert part in done.stderr


@pytest.mark.parametrize("tier", ["generic", "avx2"])
def test_bench_reports_the_forced_tier(tiny, tier):
    report = succeed_json(
        *("bench", tiny, "--prompt-tokens", "5,17", "--decode-tokens", 3, "--batch", 2),
        *("--repeat", 1, "--threads", 2),
        DOVETAIL_CPU=tier,
    )
    assert report["tier"] == tier
    assert report["threads"] == 2
    assert [row["prompt_tokens"] for row in report["rows"]] == [5, 17]
    for row in report["rows"]:
        assert row["prefill_tokens_per_second"] == pytest.approx(
            row["prompt_tokens"] * 2 / row["first_token_seconds"]
        )
        assert row["decode_tokens_per_second"] > 0
    assert report["peak_resident_bytes"] > report["anonymous_resident_bytes"] > 2**20
    table = succeed("bench", tiny, "--prompt-tokens", 5, "--decode-tokens", 1, DOVETAIL_CPU=tier)
    assert f"tier {tier}" in table.stdout
    assert "peak memory" in table.stdout


def test_the_cache_is_bound_in_place_and_costs_what_is_used(tiny, tmp_path):
    """A cache of 65,536 tokens has 400 MB; a copy per step, or memory written ahead, would show."""
    large = make_package(TINY / "checkpoint", tmp_path / "package", capacity=65536, max_batch=1)
    options = ("--prompt-tokens", 64, "--decode-tokens", 4, "--repeat", 2, "--threads", 2)
    used = [
        succeed_json("bench", package, *options)["anonymous_resident_bytes"]
        for package in (tiny, large)
    ]
    assert used[1] < used[0] + 32 * 2**20


def test_a_float_head_is_mapped_and_not_copied(tmp_path):
    """33 MB of fp32 behind int4 layers: packages for one lane read them where the file is mapped."""
    values, rows = checkpoint_files.tensors(), 65536
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        values[name] = np.resize(values[name], (rows, checkpoint_files.HIDDEN))
    checkpoint_files.write(tmp_path / "plain", values, checkpoint_files.config(vocab_size=rows))
    shutil.copy(TINY / "checkpoint" / "tokenizer.json", tmp_path / "plain")
    quantize(tmp_path / "plain", tmp_path / "int4", QuantizeOptions(32, keep=("lm_head",)))
    used = []
    for lanes in (1, 2):
        package = make_package(tmp_path / "int4", tmp_path / f"{lanes}", max_batch=lanes)
        report = succeed_json(
            *("bench", package, "--prompt-tokens", 4, "--decode-tokens", 1, "--repeat", 1)
        )
        used.append(report["anonymous_resident_bytes"])
    head = rows * checkpoint_files.HIDDEN * 4
    assert used[1] - used[0] > 0.8 * head  # what a copy costs shows in the package for two


@pytest.mark.parametrize(
    ("dtype", "kv_dtype"), [("fp32", "fp16"), ("fp32", "fp8"), ("fp16", "fp16"), ("bf16", "bf16")]
)
def test_narrow_types_stay_close(tmp_path, dtype, kv_dtype):
    package = make_package(TINY / "checkpoint", tmp_path / "p", dtype=dtype, kv_dtype=kv_dtype)
    report = succeed_json("perplexity", package, HELD_OUT, "--max-pieces", 2)
    losses = load_file(GOLDENS / "tiny" / "golden.safetensors")["piece_losses"][:2]
    # Rounding activations to 8 bits (bf16) or keys and values to 4 (fp8) moves a mean loss by far
    # less than 1 %; a scale or a layout misread moves it by whole nats.
    assert report["perplexity"] == pytest.approx(math.exp(losses.sum() / 510), rel=0.01)


def test_ctrl_c_ends_quietly(tiny):
    process = subprocess.Popen(
        [RUN, "generate", tiny, "And", "--max-tokens", "500", "--temperature", "1"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    )
    first = process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (first + rest).endswith("\n")
    assert errors.startswith("prompt: 2 tokens") and errors.count("\n") == 1


def test_a_closed_pipe_ends_quietly(tiny):
    command = f"'{RUN}' generate '{tiny}' And --max-tokens 500 --temperature 1 | head -c 5"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=60, env=environment()
    )
    assert len(done.stdout) == 5
    assert done.stderr == ""


def test_the_cpp_example_streams_and_runs_batches(tiny, golden):
    example = BUILD / "examples" / "example_generate"
    text = succeed(tiny, golden["prompt_text"], program=example).stdout
    assert text.rstrip("\n") == complete(tiny, golden["prompt_text"], "--max-tokens", 24)["text"]
    assert golden["generated_text"].startswith(text.rstrip("\n"))
    both = succeed(tiny, golden["prompt_text"], "Go", program=example).stdout
    assert both == text + complete(tiny, "Go", "--max-tokens", 24)["text"] + "\n"


def test_threads_share_a_session(tiny):
    """More generations at once than idle KV caches: each must have its own."""
    prompts = ["And the", "In the beginning", "Go", "The LORD said unto", "Behold, a", "Go"]
    program = BUILD / "tests" / "runtime" / "threads_probe"
    alone = [complete(tiny, prompt, "--max-tokens", 24)["text"] for prompt in prompts]
    assert succeed(tiny, "cpu", *prompts, program=program).stdout == "".join(t + "\n" for t in alone)


def test_onnxruntime_is_found_in_a_virtual_environment(tiny, tmp_path):
    """Without the variable: a wheel's folder, laid out as pip does, named by VIRTUAL_ENV."""
    library = environment()["DOVETAIL_ONNXRUNTIME_LIBRARY"]
    capi = tmp_path / "venv/lib/python3.11/site-packages/onnxruntime/capi"
    capi.mkdir(parents=True)
    (capi / "libonnxruntime.so.1.0").symlink_to(library)
    report = succeed_json(
        *("bench", tiny, "--prompt-tokens", 1, "--decode-tokens", 1, "--repeat", 1),
        DOVETAIL_ONNXRUNTIME_LIBRARY="",
        VIRTUAL_ENV=str(tmp_path / "venv"),
    )
    assert report["engine"].startswith("onnxruntime 1.")


def test_json_holds_whole_characters(tiny):
    done = complete(tiny, "In the beginning – “God”", "--max-tokens", 4)
    assert done["prompt"] == "In the beginning – “God”"
    assert json.dumps(done)
