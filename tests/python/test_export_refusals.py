# SPDX-License-Identifier: Apache-2.0
"""What `dovetail export` refuses: it names the thing and what is supported, and writes nothing."""

import pytest

import checkpoint_files as files
from dovetail import DovetailError
from dovetail.export import ExportOptions, export

LLAMA = files.GOLDENS / "llama" / "int4"
CPU = {"engine": "onnxruntime", "dtype": "fp32", "capacity": 64}
TRT = {"engine": "tensorrt", "dtype": "fp16", "capacity": 64}
AWQ = {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm"}
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 128}

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 4.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
UNSUPPORTED = {
    "architecture": (
        {"architectures": ["GemmaForCausalLM"]},
        ["GemmaForCausalLM", "LlamaForCausalLM"],
    ),
    "model type": ({"architectures": None, "model_type": "mamba"}, ["mamba", "Qwen3ForCausalLM"]),
    "activation": ({"hidden_act": "gelu"}, ["hidden_act gelu", "supported is silu"]),
    "attention bias": ({"attention_bias": True}, ["attention_bias", "o_proj"]),
    "mlp bias": ({"mlp_bias": True}, ["mlp_bias", "down_proj"]),
    "rope": (
        {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}},
        ["yarn", "default, linear, llama3"],
    ),
    "new rope": (
        {"rope_parameters": {"rope_type": "longrope"}},
        ["longrope", "default, linear, llama3"],
    ),
    "rope per layer type": ({"rope_parameters": {"full_attention": {}}}, ["per layer type"]),
    "rope without type": ({"rope_scaling": {"factor": 2.0}}, ["rope_type is missing"]),
    "rope without factor": ({"rope_scaling": {"type": "linear"}}, ["factor is missing"]),
    "rope band": ({"rope_scaling": LLAMA3}, ["high_freq_factor is 4.0"]),
    "partial rotary": ({"partial_rotary_factor": 0.5}, ["partial_rotary_factor 0.5"]),
    "missing key": ({"hidden_size": None}, ["hidden_size is missing"]),
    "wrong type": ({"num_hidden_layers": "2"}, ['num_hidden_layers is "2"', "an integer"]),
    "head ratio": ({"num_key_value_heads": 3}, ["num_attention_heads is 4", "multiple"]),
    "method": (
        {"quantization_config": {"quant_method": "bitsandbytes"}},
        ["quant_method is bitsandbytes", "compressed-tensors, awq, gptq"],
    ),
    "awq version": (
        {"quantization_config": AWQ | {"version": "gemv"}},
        ["version is gemv, supported is gemm"],
    ),
    "awq without zero points": (
        {"quantization_config": AWQ | {"zero_point": False}},
        ["zero_point is False"],
    ),
    "gptq bits": (
        {"quantization_config": GPTQ | {"bits": 8}},
        ["bits is 8, supported is 4"],
    ),
    "gptq groups": (
        {"quantization_config": GPTQ | {"group_size": -1}},
        ["group_size is -1, supported is 32 or 64 or 128"],
    ),
    "gptq format": (
        {"quantization_config": GPTQ | {"checkpoint_format": "marlin"}},
        ["checkpoint_format is marlin, supported is gptq or gptq_v2"],
    ),
    "8 bit": (
        {
            "quantization_config": {
                "quant_method": "compressed-tensors",
                "format": "pack-quantized",
                "config_groups": {"g": {"weights": {"num_bits": 8}}},
            }
        },
        ["num_bits is 8", "int4"],
    ),
    "channel": (
        {
            "quantization_config": {
                "quant_method": "compressed-tensors",
                "format": "pack-quantized",
                "config_groups": {
                    "g": {"weights": {"num_bits": 4, "type": "int", "strategy": "channel"}}
                },
            }
        },
        ["strategy is channel"],
    ),
    "other format": (
        {"quantization_config": {"quant_method": "compressed-tensors", "format": "marlin-24"}},
        ["format is marlin-24"],
    ),
}


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_what_is_not_supported_is_named_with_what_is(tmp_path, case):
    changes, words = UNSUPPORTED[case]
    folder = files.write(tmp_path / "c", settings=files.config(**changes))
    with pytest.raises(DovetailError) as raised:
        export(folder, tmp_path / "p", ExportOptions(**CPU))
    for word in words:
        assert word in str(raised.value)
    assert "\n" not in str(raised.value)
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


BAD_OPTIONS = {
    "engine": ({"engine": "openvino"}, "--engine is openvino, expected onnxruntime, tensorrt"),
    "device": ({"device": "npu"}, "--device for engine onnxruntime is npu, expected cpu, cuda"),
    "no CPU there": (TRT | {"device": "cpu"}, "--device for engine tensorrt is cpu, expected cuda"),
    "dtype": (
        TRT | {"dtype": "fp32"},
        "--dtype for engine tensorrt on cuda is fp32, expected fp16, bf16",
    ),
    "dtype on a GPU": (
        {"device": "cuda"},
        "--dtype for engine onnxruntime on cuda is fp32, expected fp16, bf16",
    ),
    "layout": (
        {"layout": "cuda_v1"},
        "--layout for engine onnxruntime on cpu is cuda_v1, expected cpu_v1",
    ),
    "kv": ({"kv_dtype": "int8"}, "--kv-dtype is int8, expected fp32, fp16, bf16, fp8"),
    "compute": ({"compute": "fast"}, "--compute is fast, expected auto, exact, int8"),
    "capacity": ({"capacity": 0}, "--capacity is 0, expected at least 1"),
    "head": ({"head": "int8"}, "--head is int8, expected auto, float, int4"),
    "head group": ({"head": "int4", "head_group_size": 16}, "--head-group-size is 16"),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_bad_options_are_refused(tmp_path, case):
    changes, message = BAD_OPTIONS[case]
    with pytest.raises(DovetailError, match=message):
        export(LLAMA, tmp_path / "p", ExportOptions(**(CPU | changes)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("tensor", ["model.embed_tokens", "lm_head", "model.norm"])
def test_a_value_beyond_fp16_is_an_error_and_not_infinity(tmp_path, tensor):
    values = files.tensors()
    values[f"{tensor}.weight"].flat[5] = 1e5
    folder = files.write(tmp_path / "c", values)
    with pytest.raises(DovetailError, match=f"{tensor}.weight has values beyond the range of fp16"):
        export(folder, tmp_path / "p", ExportOptions(**TRT))
    export(folder, tmp_path / "p", ExportOptions(**TRT | {"dtype": "bf16"}))
