# SPDX-License-Identifier: Apache-2.0
"""Peak memory of quantize and export on a 2 GB checkpoint: below 2 x the largest tensor + 500 MB.

The checkpoint is a sparse file of zeros: its header and sizes are real, its blocks take no disk.
"""

import json
import os
import struct
import subprocess
import sys
import time

import checkpoint_files as files

HIDDEN, INTERMEDIATE, VOCABULARY, LAYERS = 2048, 8192, 32768, 16
MEGABYTE = 10**6


def shapes() -> dict[str, list[int]]:
    result = {"model.embed_tokens.weight": [VOCABULARY, HIDDEN], "model.norm.weight": [HIDDEN]}
    for i in range(LAYERS):
        prefix = f"model.layers.{i}."
        for name, shape in {
            "self_attn.q_proj": [HIDDEN, HIDDEN],
            "self_attn.k_proj": [512, HIDDEN],
            "self_attn.v_proj": [512, HIDDEN],
            "self_attn.o_proj": [HIDDEN, HIDDEN],
            "mlp.gate_proj": [INTERMEDIATE, HIDDEN],
            "mlp.up_proj": [INTERMEDIATE, HIDDEN],
            "mlp.down_proj": [HIDDEN, INTERMEDIATE],
            "input_layernorm": [HIDDEN],
            "post_attention_layernorm": [HIDDEN],
        }.items():
            result[f"{prefix}{name}.weight"] = shape
    return result


def write_sparse(folder) -> int:
    """bf16 zeros; returns the bytes of the largest tensor."""
    folder.mkdir()
    header, offset, largest = {}, 0, 0
    for name, shape in shapes().items():
        nbytes = 2 * shape[0] * (shape[1] if len(shape) == 2 else 1)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + nbytes]}
        offset += nbytes
        largest = max(largest, nbytes)
    text = json.dumps(header).encode()
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + offset)
    settings = files.config(
        hidden_size=HIDDEN,
        intermediate_size=INTERMEDIATE,
        vocab_size=VOCABULARY,
        num_hidden_layers=LAYERS,
        num_attention_heads=32,
        num_key_value_heads=8,
        tie_word_embeddings=True,
        max_position_embeddings=8192,
    )
    (folder / "config.json").write_text(json.dumps(settings))
    assert offset > 2000 * MEGABYTE
    return largest


def peak_bytes(*arguments) -> int:
    """Largest resident set of one run of the command."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dovetail", *map(str, arguments)], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss * 1024


def remove(folder) -> None:
    for file in folder.iterdir():
        file.unlink()


def test_quantize_and_export_need_little_memory(tmp_path):
    limit = 2 * write_sparse(tmp_path / "plain") + 500 * MEGABYTE
    assert (
        peak_bytes(
            "export",
            tmp_path / "plain",
            tmp_path / "trt",
            "--engine",
            "tensorrt",
            "--dtype",
            "bf16",
            "--capacity",
            4096,
        )
        < limit
    )
    remove(tmp_path / "trt")
    assert peak_bytes("quantize", tmp_path / "plain", tmp_path / "int4") < limit
    assert (
        peak_bytes(
            "export",
            tmp_path / "int4",
            tmp_path / "cpu",
            "--engine",
            "onnxruntime",
            "--dtype",
            "fp32",
            "--capacity",
            4096,
        )
        < limit
    )
    remove(tmp_path / "cpu")
    remove(tmp_path / "int4")


def test_a_terminated_command_leaves_nothing(tmp_path):
    write_sparse(tmp_path / "plain")
    command = [sys.executable, "-m", "dovetail", "quantize", tmp_path / "plain", tmp_path / "int4"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list(tmp_path.glob(".int4.partial-*/model.safetensors")):
        assert process.poll() is None
        time.sleep(0.01)
    process.terminate()
    assert process.wait(60) == 143
    assert [p.name for p in tmp_path.iterdir()] == ["plain"]
