#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Set-up, build, then every test: ctest (C++), pytest (Python and end to end). No GPU, CUDA toolkit or
# TensorRT needed; what needs them is named below and not run.
requirements=scripts/requirements-test.txt
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
start=$SECONDS
build

say "C++ tests (ctest)"
ctest --preset cpu -j2 --progress --output-on-failure

say "Python and end-to-end tests (pytest)"
.venv/bin/python -m pytest tests/python -q

command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1 || skip "CUDA kernels on a GPU (no GPU here)"
say "All tests passed in $((SECONDS - start)) s"
