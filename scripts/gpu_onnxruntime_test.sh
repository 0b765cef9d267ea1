#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# ONNX Runtime's CUDA provider with Dovetail's operators on a real GPU, beside its CPU provider: packages of the
# bundled model, tokens, logits, perplexity, refusals, speed (tests/gpu/onnxruntime_cuda.py).
#
#   scripts/gpu_onnxruntime_test.sh [python]    a Python with onnxruntime-gpu and scripts/requirements.txt
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${1:-python3}
build=build/cuda

capi=$("$python" -c 'import onnxruntime, pathlib; print(pathlib.Path(onnxruntime.__file__).parent / "capi")')
[[ -e $capi/libonnxruntime_providers_cuda.so ]] || {
  echo "gpu_onnxruntime_test: $python has an onnxruntime without CUDA provider; install onnxruntime-gpu" >&2
  exit 1
}
cmake --preset cuda -DCMAKE_CUDA_ARCHITECTURES=native -DPython_EXECUTABLE="$("$python" -c 'import sys; print(sys.executable)')"
cmake --build "$build" --target dovetail-run dovetail_onnxruntime _native threads_probe
packages=$(mktemp -d)
trap 'rm -rf "$packages"' EXIT
"$python" tests/gpu/make_packages.py "$packages/all"
"$python" tests/gpu/onnxruntime_cuda.py "$packages/all" "$build/src/onnxruntime/libdovetail_onnxruntime.so" \
  "$build/src/apps/dovetail-run" "$build/tests/runtime/threads_probe" "$(ls "$capi"/libonnxruntime.so.*)"
