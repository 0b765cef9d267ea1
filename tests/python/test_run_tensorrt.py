# SPDX-License-Identifier: Apache-2.0
"""dovetail-run on engine folders of `dovetail build`: what is refused and why, and the whole path
through the Python process with a stand-in for TensorRT (fake_tensorrt), whose "GPU" is the host."""

import json
import pathlib
import shutil
import sys

import pytest
from safetensors.numpy import load_file

from packages import BUILD, GOLDENS, TINY, complete, fail, golden_text, make_package, succeed_json

PROMPT = ("A prompt", "--max-tokens", 4)
ROOT = pathlib.Path(__file__).resolve().parents[2]
FAKE = pathlib.Path(__file__).with_name("fake_tensorrt")
MAX_INPUT = 8
TRT = {"engine": "tensorrt", "dtype": "fp16", "kv_dtype": "fp16", "compute": "auto"}


def with_fake(**changes: str) -> dict[str, str]:
    site = [str(FAKE), str(ROOT / "python"), *(p for p in sys.path if p)]
    return {
        "DOVETAIL_PYTHON": sys.executable,
        "PYTHONPATH": ":".join(site),
        "DOVETAIL_CUDART_LIBRARY": str(BUILD / "tests" / "runtime" / "libfake_cudart.so"),
    } | changes


def engine_folder(package: pathlib.Path, folder: pathlib.Path, builder: str) -> pathlib.Path:
    """What `dovetail build` leaves, with a fake engine in it."""
    folder.mkdir()
    for name in ("embedding.safetensors", "rope.safetensors", "tokenizer.json"):
        shutil.copy(package / name, folder)
    facts = {"package": str(package), "max_input": MAX_INPUT}
    (folder / "llm.engine").write_text(json.dumps(facts))
    manifest = json.loads((package / "manifest.json").read_text())
    config = json.loads((package / "config.json").read_text())
    config["builder_config"] = {"engine": builder, "max_input_len": MAX_INPUT}
    files = {path.name: path.stat().st_size for path in folder.iterdir()}
    config["dovetail_package"] = manifest | {"files": files}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trt") / "package"
    return make_package(TINY / "checkpoint", folder, max_batch=4, **TRT)


@pytest.fixture(scope="module")
def engine(package, tmp_path_factory):
    return engine_folder(package, tmp_path_factory.mktemp("engine") / "engine", "tensorrt")


@pytest.fixture(scope="module")
def golden():
    tokens = load_file(GOLDENS / "tiny" / "golden.safetensors")["generated"].tolist()
    return golden_text("tiny")["prompt_text"], tokens


def test_a_package_is_not_an_engine(package):
    message = fail("generate", package, *PROMPT)
    assert message.endswith(
        f"is a package, expected the engine that `dovetail build {package} OUT "
        "--engine tensorrt` makes of it"
    )


def test_an_engine_runs_where_it_was_built_for(engine, package, tmp_path):
    message = fail("generate", engine, *PROMPT, "--engine", "tensorrt-rtx")
    assert message.endswith(" was built by tensorrt, not for tensorrt-rtx")
    message = fail("generate", engine, *PROMPT, "--device", "cpu")
    assert message == 'device is "cpu", but the engine tensorrt runs on a GPU'


def test_without_tensorrt_the_package_to_install_is_named(package, tmp_path):
    folder = engine_folder(package, tmp_path / "engine", "tensorrt-rtx")
    environment = {
        "DOVETAIL_PYTHON": sys.executable,
        "PYTHONPATH": f"{tmp_path}:{ROOT / 'python'}",  # before the site's: a module without loader
    }
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nsys.modules['tensorrt_rtx'] = None\n"
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'tensorrt_rtx' else find(name, *a)\n"
    )
    message = fail("generate", folder, *PROMPT, **environment)
    assert message == (
        "--engine tensorrt-rtx needs the Python package tensorrt_rtx, which is not installed "
        "here: pip install tensorrt-rtx"
    )


def test_a_python_that_does_not_start_is_named(engine):
    message = fail("generate", engine, *PROMPT, DOVETAIL_PYTHON="/nowhere/python")
    assert message == "cannot start /nowhere/python: No such file or directory"


def test_greedy_tokens_through_the_process(engine, golden):
    """Prompt in chunks of what the engine takes, then decode on the other profile."""
    prompt, tokens = golden
    done = complete(engine, prompt, "--max-tokens", 64, **with_fake())
    assert done["tokens"] == tokens
    done = complete(engine, prompt, "--max-tokens", 8, "--prefill-chunk", 3, **with_fake())
    assert done["tokens"] == tokens[:8]


def test_batches_of_different_sizes_have_caches_of_their_own(engine, tmp_path, golden):
    file = tmp_path / "prompts.txt"
    file.write_text("\n".join(["And", golden[0], "Go", "The LORD", golden[0]]) + "\n")
    options = ("--prompt-file", file, "--max-tokens", 12)
    batch = succeed_json("generate", engine, *options, **with_fake())["completions"]
    assert batch[1]["tokens"] == batch[4]["tokens"] == golden[1][:12]  # of four, and alone


def test_bench_names_the_engine(engine):
    options = ("--prompt-tokens", "5,20", "--decode-tokens", 2, "--repeat", 1)
    report = succeed_json("bench", engine, *options, **with_fake())
    assert report["engine"] == "tensorrt 0.fake (Python), cuda"
    assert "tier" not in report and len(report["rows"]) == 2


def test_what_the_engine_was_not_built_for(engine):
    """The engine computes one row of logits per lane."""
    message = fail(
        "perplexity", engine, TINY / "held_out.txt", "--window", 8, "--max-pieces", 1, **with_fake()
    )
    assert message == "last_token_ids: [1, 8] is outside of [1, 1] to [4, 1]"


def test_damaged_engines(engine, tmp_path):
    folder = tmp_path / "engine"
    shutil.copytree(engine, folder)
    size = (folder / "llm.engine").stat().st_size
    (folder / "llm.engine").write_text("x" * size)
    assert fail("generate", folder, *PROMPT, **with_fake()) == "the engine file is damaged"
    (folder / "llm.engine").write_text("x")
    assert f"llm.engine has 1 bytes, the manifest says {size}" in fail("generate", folder, *PROMPT)
    (folder / "config.json").write_text("{}")
    assert "not the configuration of an engine" in fail("generate", folder, *PROMPT)


def test_a_process_that_dies_is_an_error(engine, tmp_path):
    (tmp_path / "tensorrt.py").write_text("import os\nos._exit(3)\n")
    environment = with_fake()
    environment["PYTHONPATH"] = f"{tmp_path}:{environment['PYTHONPATH']}"
    message = fail("generate", engine, *PROMPT, **environment)
    assert message == f"{sys.executable} ended with exit code 3; its last messages are above"
