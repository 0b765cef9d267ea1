# SPDX-License-Identifier: Apache-2.0
"""`dovetail inspect`, the help texts, the version, and where the libraries are."""

import json
import re

import pytest

import checkpoint_files as files
import dovetail
from command_line import dovetail as run
from command_line import fail, succeed
from dovetail.export import ExportOptions, export


@pytest.fixture
def package(tmp_path):
    source = files.GOLDENS / "llama" / "int4"
    export(source, tmp_path / "p", ExportOptions(engine="onnxruntime", dtype="fp32", capacity=64))
    return tmp_path / "p"


def test_a_package_is_described(package):
    facts = json.loads(succeed("inspect", package, "--json"))
    assert facts["kind"] == "package"
    assert facts["nodes"]["AttentionPlugin"] == 2
    assert facts["int4_layouts"] == {"cpu_v1": 8}
    assert facts["inputs"]["inputs_embeds"] == "float [batch, tokens, 128]"
    engines = facts["engines"]
    assert engines["onnxruntime, cpu"].startswith("yes")
    assert engines["onnxruntime, cuda"] == "no: activations are fp32"
    assert engines["tensorrt, cuda"].startswith("no: the graph uses ONNX Runtime's own operators")
    assert facts["cpu_tier"] in ("generic", "avx2", "avx512", "amx")
    text = succeed("inspect", package)
    assert "cpu_v1: 8" in text and "inputs_embeds: float [batch, tokens, 128]" in text


@pytest.mark.parametrize(
    ("device", "verdict"),
    [
        ("cpu", "no: the int4 weights are laid out for the CPU; export with --device cuda"),
        ("cuda", "yes, with onnxruntime-gpu"),
    ],
)
def test_a_package_says_whether_it_runs_on_a_gpu(tmp_path, device, verdict):
    source = files.GOLDENS / "llama" / "int4"
    options = ExportOptions(engine="onnxruntime", device=device, dtype="fp16", capacity=64)
    export(source, tmp_path / "p", options)
    facts = json.loads(succeed("inspect", tmp_path / "p", "--json"))
    assert facts["engines"]["onnxruntime, cuda"].startswith(verdict)
    assert facts["engines"]["onnxruntime, cpu"].startswith("yes")


def test_a_checkpoint_is_described():
    facts = json.loads(succeed("inspect", files.TINY, "--json"))
    assert (facts["kind"], facts["family"], facts["quantized"]) == ("checkpoint", "llama", False)
    assert facts["bytes_by_type"].keys() == {"bf16"}


def change_manifest(package, **changes) -> None:
    path = package / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_package_of_a_newer_version_is_refused(package):
    change_manifest(package, version=2)
    assert "package version 2, this dovetail reads up to 1" in fail("inspect", package)


def test_a_foreign_manifest_is_refused(package):
    change_manifest(package, format="something")
    assert "is not that of a dovetail-package" in fail("inspect", package)


def test_an_incomplete_package_is_refused(package):
    data = package / "model.onnx.data"
    data.write_bytes(data.read_bytes()[:-1])
    assert re.search(
        r"model.onnx.data has \d+ bytes, the manifest says \d+", fail("inspect", package)
    )
    data.unlink()
    assert "model.onnx.data is missing" in fail("inspect", package)


def test_a_corrupt_graph_and_a_corrupt_manifest_are_refused(package):
    size = (package / "model.onnx").stat().st_size
    (package / "model.onnx").write_bytes(b"\xff" * size)
    assert "model.onnx is not an ONNX model" in fail("inspect", package)
    (package / "manifest.json").write_text("{")
    assert "not valid JSON" in fail("inspect", package)


def test_other_paths_are_refused(tmp_path):
    assert "no such folder" in fail("inspect", tmp_path / "nothing")
    assert "neither a package" in fail("inspect", tmp_path)


def test_a_forced_cpu_tier_that_does_not_exist_is_an_error(package, monkeypatch):
    monkeypatch.setenv("DOVETAIL_CPU", "avx9000")
    assert "avx9000" in fail("inspect", package)


@pytest.mark.parametrize("command", ["quantize", "export", "inspect"])
def test_help_shows_an_example(command):
    assert f"dovetail {command} ./" in succeed(command, "--help")


def test_wrong_usage_is_no_traceback():
    done = run("export", "only-one-argument")
    assert done.returncode == 2 and "Traceback" not in done.stderr


def test_versions_agree():
    cmake = (files.REPOSITORY / "CMakeLists.txt").read_text()
    assert f"project(dovetail VERSION {dovetail.__version__} " in cmake
    assert succeed("--version").strip() == f"dovetail {dovetail.__version__}"


def test_a_missing_library_says_how_to_build_it(monkeypatch, tmp_path):
    monkeypatch.setattr(dovetail, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(dovetail.DovetailError, match="cmake --preset cpu"):
        dovetail.onnxruntime_library()


def test_a_manifest_without_its_fields_is_refused(package):
    change_manifest(package, files=None)
    assert "files is missing" in fail("inspect", package)
    change_manifest(package, dtype=7)
    assert "dtype is 7, expected a string" in fail("inspect", package)
