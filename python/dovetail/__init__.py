# SPDX-License-Identifier: Apache-2.0
"""Dovetail: INT4 and attention operators for ONNX Runtime and TensorRT, and the way to them.

import dovetail, onnxruntime
options = onnxruntime.SessionOptions()
options.register_custom_ops_library(dovetail.onnxruntime_library())
"""

from __future__ import annotations

from pathlib import Path

from .errors import DovetailError

__version__ = "0.1.0"
__all__ = ["DovetailError", "__version__", "onnxruntime_library", "tensorrt_library"]


def onnxruntime_library() -> str:
    """Path of the custom-op library, for SessionOptions.register_custom_ops_library."""
    return _library("libdovetail_onnxruntime.so")


def tensorrt_library() -> str:
    """Path of the plugin library, for IPluginRegistry.load_library and trtexec --dynamicPlugins."""
    return _library("libdovetail_tensorrt.so")


def _library(name: str) -> str:
    library = Path(__file__).parent / name
    if not library.is_file():
        raise DovetailError(
            f"{library}: not built; run `cmake --preset cpu && cmake --build --preset cpu` in the "
            "checkout, or install the package with `pip install .`"
        )
    return str(library)
