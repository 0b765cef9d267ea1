# SPDX-License-Identifier: Apache-2.0
"""`dovetail build`: a package in, a TensorRT engine folder out (docs/tensorrt.md)."""

from .engine_folder import BuildOptions, BuildResult, build

__all__ = ["BuildOptions", "BuildResult", "build"]
