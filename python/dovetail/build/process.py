# SPDX-License-Identifier: Apache-2.0
"""Starts the builder (child.py) with what its TensorRT needs in the environment."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DovetailError

COMMAND = [sys.executable, "-m", "dovetail.build.child"]


@dataclass(frozen=True)
class TensorRT:
    """A TensorRT that builds engines: its Python module, and how a user gets it."""

    module: str
    origin: str
    # TensorRT for RTX opens its own library by the plain name when it meets a plugin node, and the
    # wheel holds only the versioned file: without a link of that name the process ends.
    link: tuple[str, str] | None = None  # package that holds the library, name of the link
    times_at_load: bool = False


TENSORRTS = {
    "tensorrt": TensorRT(
        "tensorrt", "it is part of JetPack and of the TensorRT SDK (python/ folder)"
    ),
    "tensorrt-rtx": TensorRT(
        "tensorrt_rtx",
        "pip install tensorrt-rtx",
        ("tensorrt_rtx_libs", "libtensorrt_rtx.so"),
        times_at_load=True,
    ),
}


def find(engine: str) -> TensorRT:
    if engine not in TENSORRTS:
        raise DovetailError(f"--engine is {engine}, expected {' or '.join(TENSORRTS)}")
    tensorrt = TENSORRTS[engine]
    if importlib.util.find_spec(tensorrt.module) is None:
        raise DovetailError(
            f"--engine {engine} needs the Python package {tensorrt.module}, which is not "
            f"installed here: {tensorrt.origin}"
        )
    return tensorrt


def environment(tensorrt: TensorRT, folder: Path) -> dict[str, str]:
    """This process's, for a child that imports `tensorrt`; its link goes into `folder`."""
    variables = dict(os.environ)
    _prepend(variables, "PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    if tensorrt.link is not None:
        _prepend(variables, "LD_LIBRARY_PATH", _make_link(tensorrt, folder))
    return variables


def run(tensorrt: TensorRT, request: dict[str, Any]) -> dict[str, Any]:
    """The builder's answer. Its log goes to stderr as it comes."""
    with tempfile.TemporaryDirectory(prefix="dovetail-build-") as folder:
        child = subprocess.run(
            COMMAND,
            input=json.dumps(request | {"module": tensorrt.module}),
            stdout=subprocess.PIPE,
            text=True,
            env=environment(tensorrt, Path(folder)),
            check=False,
        )
    lines = child.stdout.splitlines()
    if child.returncode != 0 or not lines:
        raise DovetailError(
            f"{tensorrt.module} ended while it built the engine ({_cause(child.returncode)}); "
            "its last messages are above"
        )
    answer: dict[str, Any] = json.loads(lines[-1])
    if "error" in answer:
        raise DovetailError(answer["error"])
    return answer


def _prepend(environment: dict[str, str], name: str, folder: str) -> None:
    old = environment.get(name)
    environment[name] = f"{folder}{os.pathsep}{old}" if old else folder


def _make_link(tensorrt: TensorRT, folder: Path) -> str:
    assert tensorrt.link is not None
    package, name = tensorrt.link
    spec = importlib.util.find_spec(package)
    for place in (spec.submodule_search_locations or []) if spec is not None else []:
        for library in sorted(Path(place).glob(f"{name}.*")):
            (folder / name).symlink_to(library)
            return str(folder)
    return str(folder)  # an installation of its own, whose library the loader finds


def _cause(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
