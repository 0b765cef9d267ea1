# SPDX-License-Identifier: Apache-2.0
"""The plugin library before TensorRT 11's registry (package tensorrt-lean-cu13), without a GPU."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from packages import BUILD

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "python" / "dovetail" / "libdovetail_tensorrt.so"
DRIVER = Path(__file__).with_name("tensorrt_registry.py")

ATTENTION = [
    ["num_q_heads", "int32", 8],
    ["num_kv_heads", "int32", 2],
    ["head_size", "int32", 64],
    ["enable_tree_attention", "int32", 0],
]
INT4 = [["gemm_n", "int32", 256], ["gemm_k", "int32", 512], ["group_size", "int32", 128]]


def drive(cases, opened_first=False, namespaces=()):
    request = {
        "opened_first": opened_first,
        "namespaces": list(namespaces),
        "ops": ["AttentionPlugin", "Int4GroupwiseGemmPlugin"],
        "cases": cases,
    }
    process = subprocess.run(
        [sys.executable, DRIVER, LIBRARY],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.stdout, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


def attention(*extra, without=(), phase="BUILD"):
    changed = {f[0] for f in extra}
    fields = [f for f in ATTENTION if f[0] not in changed and f[0] not in without]
    return {"op": "AttentionPlugin", "fields": fields + list(extra), "phase": phase}


def int4(*extra, without=(), phase="BUILD"):
    changed = {f[0] for f in extra}
    fields = [f for f in INT4 if f[0] not in changed and f[0] not in without]
    return {"op": "Int4GroupwiseGemmPlugin", "fields": fields + list(extra), "phase": phase}


def test_registry_lists_both_creators_once_with_their_fields():
    answer = drive([])
    assert answer["loaded"]
    found = {c["name"]: c for c in answer["creators"]}
    assert len(answer["creators"]) == 2 and set(found) == {
        "AttentionPlugin",
        "Int4GroupwiseGemmPlugin",
    }
    for creator in answer["creators"]:
        assert (creator["version"], creator["namespace"]) == ("1", "")
    fields = found["AttentionPlugin"]["fields"]
    assert {n: fields[n] for n, _, _ in ATTENTION} == {n: "INT32" for n, _, _ in ATTENTION}
    assert fields["attention_scale"] == "FLOAT32"
    assert found["Int4GroupwiseGemmPlugin"]["fields"]["weight_layout"] == "CHAR"


def test_library_that_is_only_opened_registers_itself_and_never_twice():
    assert drive([])["opened"] == []
    answer = drive([int4()], opened_first=True)
    assert sorted(answer["opened"]) == ["AttentionPlugin", "Int4GroupwiseGemmPlugin"]
    assert answer["loaded"] and len(answer["creators"]) == 2
    assert answer["created"][0]["ok"]


def test_namespace_of_the_caller():
    answer = drive([int4()], namespaces=["mine", "mine"])
    assert answer["named"] == [True, True]
    assert sorted(answer["in_namespaces"]["mine"]) == ["AttentionPlugin", "Int4GroupwiseGemmPlugin"]
    assert answer["created"][0]["namespace"] == ""


def test_guide_fields_make_plugins_with_every_capability():
    answer = drive(
        [
            attention(),
            int4(),
            attention(["enable_fp8_kv_cache", "int32", 1]),
            int4(["weight_layout", "char", "cuda_v1"], ["has_bias", "int32", 1]),
            attention(["attention_scale", "float32", 0.5]),
        ]
    )
    assert [c["ok"] for c in answer["created"]] == [True] * 5
    first, second = answer["created"][:2]
    assert first["name"] == "AttentionPlugin" and first["outputs"] == 2
    assert first["build"] == "IPluginV3OneBuildV2"
    assert second["name"] == "Int4GroupwiseGemmPlugin" and second["outputs"] == 1
    assert {first["runtime"], second["runtime"]} == {"IPluginV3OneRuntime"}


@pytest.mark.parametrize(
    "case, message",
    [
        (
            attention(without=["head_size"]),
            "attention: attribute head_size is missing, expected an integer",
        ),
        (attention(["kv_cache_type", "int32", 1]), "attention: unknown attribute kv_cache_type"),
        (
            attention(["head_size", "float32", 64]),
            "attention: field head_size is FLOAT32, expected INT32",
        ),
        (
            attention(["head_size", "int32", [64, 64]]),
            "attention: field head_size has 2 values, expected 1",
        ),
        (
            attention(["head_size", "int32", 260]),
            "attention: head_size is 260, expected a multiple of 8 up to 256",
        ),
        (
            attention(["num_kv_heads", "int32", 3]),
            "attention: num_q_heads is 8, expected a positive multiple of num_kv_heads = 3",
        ),
        (
            int4(["group_size", "int32", 100]),
            "int4_gemm: group_size is 100, expected 32, 64 or 128",
        ),
        (
            int4(["weight_layout", "char", "marlin"]),
            'int4_gemm: attribute weight_layout is "marlin", '
            "expected one of edgellm_v1, cpu_v1, cuda_v1",
        ),
        (
            attention(phase="RUNTIME"),
            "attention: serialised state has no field dovetail_state_version, expected version 1",
        ),
        (
            int4(["dovetail_state_version", "int32", 2], phase="RUNTIME"),
            "int4_gemm: serialised state has version 2, expected at most 1",
        ),
        (
            int4(["dovetail_state_version", "float32", 1], phase="RUNTIME"),
            "int4_gemm: serialised state has a corrupt field dovetail_state_version, "
            "expected one INT32",
        ),
    ],
)
def test_wrong_fields_give_no_plugin_and_one_sentence(case, message):
    created = drive([case])["created"][0]
    assert not created["ok"]
    assert created["message"].startswith(message)


def test_serialised_state_makes_the_runtime_plugin():
    fields = [["dovetail_state_version", "int32", 1]]
    answer = drive([attention(*fields, phase="RUNTIME"), int4(*fields, phase="RUNTIME")])
    assert [c["ok"] for c in answer["created"]] == [True, True]


def test_the_plugin_host_lists_the_creators_of_another_vendors_library():
    """NVIDIA's own V3 plugin library, from the same package, in the host that tests ours."""
    folder = Path(importlib.util.find_spec("tensorrt_lean_libs").origin).parent
    library = next(folder.glob("libnvinfer_vc_plugin.so.*"))
    done = subprocess.run(
        [BUILD / "tests" / "plugin_host" / "plugin_host", library, LIBRARY],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    theirs, attention_line, int4_line = done.stdout.splitlines()
    assert theirs.startswith('ROIAlign_TRT version 2 namespace "" (PLUGIN CREATOR_V3ONE): ')
    assert "sampling_ratio spatial_scale" in theirs
    assert attention_line.startswith('AttentionPlugin version 1 namespace "" (PLUGIN CREATOR_V3ONE)')
    assert int4_line.endswith(
        ": gemm_n gemm_k group_size has_zero_points has_bias weight_layout compute_mode swiglu"
    )
