# SPDX-License-Identifier: Apache-2.0
"""Packages exported for tests of the runtime, and dovetail-run as a user starts it.

The programs are found in $DOVETAIL_BUILD_DIR, by default build/cpu.
"""

import json
import os
import pathlib
import shutil
import subprocess

import onnxruntime

from dovetail.export import ExportOptions, export

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("DOVETAIL_BUILD_DIR", REPOSITORY / "build" / "cpu"))
RUN = BUILD / "src" / "apps" / "dovetail-run"
TINY = REPOSITORY / "models" / "tiny"
GOLDENS = REPOSITORY / "tests" / "oracle" / "goldens"

# Nothing rounded: what the goldens of transformers were computed with.
EXACT = {"engine": "onnxruntime", "dtype": "fp32", "kv_dtype": "fp32", "compute": "exact"}


def make_package(source: pathlib.Path, folder: pathlib.Path, **options) -> pathlib.Path:
    export(source, folder, ExportOptions(**(EXACT | {"capacity": 512} | options)))
    return folder


def golden_text(name: str) -> dict:
    return json.loads((GOLDENS / name / "golden.json").read_text())


def environment(**changes: str) -> dict[str, str]:
    """This process's, with the ONNX Runtime of this Python."""
    capi = pathlib.Path(onnxruntime.__file__).parent / "capi"
    library = next(capi.glob("libonnxruntime.so*"))
    return os.environ | {"DOVETAIL_ONNXRUNTIME_LIBRARY": str(library)} | changes


def dovetail_run(*arguments, program=RUN, **changes: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [program, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment(**changes),
    )


def succeed(*arguments, **options) -> subprocess.CompletedProcess:
    done = dovetail_run(*arguments, **options)
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr}"
    return done


def succeed_json(*arguments, **options) -> dict:
    done = succeed(*arguments, "--json", **options)
    assert done.stderr == ""
    return json.loads(done.stdout)


def fail(*arguments, **options) -> str:
    """The one sentence of a command that must fail, without its prefix."""
    done = dovetail_run(*arguments, **options)
    assert done.returncode == 1, f"exit {done.returncode}: {done.stdout}{done.stderr}"
    assert done.stdout == ""
    assert done.stderr.startswith("dovetail-run: "), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.removeprefix("dovetail-run: ").rstrip("\n")


def complete(package: pathlib.Path, prompt: str, *arguments, **options) -> dict:
    """One prompt's entry of the JSON that `generate` prints."""
    return succeed_json("generate", package, prompt, *arguments, **options)["completions"][0]


def copy_package(package: pathlib.Path, folder: pathlib.Path, **manifest_changes) -> pathlib.Path:
    shutil.copytree(package, folder)
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | manifest_changes))
    return folder


def accept_sizes(package: pathlib.Path) -> None:
    """States the sizes that the files have now, so that only their content is wrong."""
    path = package / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"] = {name: (package / name).stat().st_size for name in manifest["files"]}
    path.write_text(json.dumps(manifest))
