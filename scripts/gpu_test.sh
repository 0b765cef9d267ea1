#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The CUDA kernels on a real GPU, alone and inside the TensorRT plugins: builds the cuda preset for this machine, runs
# the tests labelled gpu, then compute-sanitizer on a reduced table. Fails when a tool is missing or finds anything, and
# ends with a summary for docs/gpu-verification.md.
#
#   scripts/gpu_test.sh [build folder]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
build=${1:-build/cuda}

for tool in nvcc nvidia-smi compute-sanitizer cmake ctest; do
  command -v "$tool" >/dev/null || { echo "gpu_test: $tool is not on PATH" >&2; exit 1; }
done

cmake --preset cuda -B "$build" -DCMAKE_CUDA_ARCHITECTURES=native -DDOVETAIL_PYTHON=OFF -DDOVETAIL_ONNXRUNTIME=OFF \
  -DDOVETAIL_RUNTIME=OFF -DDOVETAIL_BENCHMARKS=OFF
cmake --build "$build" --target gpu_int4_gemm_test gpu_attention_test gpu_plugin_host_test gpu_plugin_host_abi8_test \
  gpu_residual_norm_test gpu_swiglu_test simt_vectors example_cuda_int4_gemm
ctest --test-dir "$build" -L gpu --output-on-failure --no-tests=error
"$build/examples/example_cuda_int4_gemm"

# sanitize TOOL TEST LINE: the tool must exit with 0, the test run tests, and the log hold exactly this summary. Prints one
# line for the summary, or what is wrong.
sanitize() {
  local log=$build/sanitizer-$1-${2#*/}.log
  compute-sanitizer --tool "$1" --error-exitcode 1 "$build/tests/$2" \
    --gtest_filter='Table*/6:Table*/18:Table*/2?:*Splits*:Cases*/*tree*:Cases*/*types*:Cases*/*ragged*:Libraries*-Cases*/v2*' \
    >"$log" 2>&1 || { tail -20 "$log"; return 1; }
  grep -q '\[  PASSED  \] [1-9]' "$log" || { echo "gpu_test: $1 ran no test of $2"; return 1; }
  grep -qF "$3" "$log" || { echo "gpu_test: $1 printed no clean summary"; tail -20 "$log"; return 1; }
  echo "$1, ${2#*/}: $(grep -o '\[  PASSED  \] .*' "$log" | cut -c14-), $3"
}

# All at once: a tool keeps one core busy, and the GPU hardly.
clean=(memcheck "ERROR SUMMARY: 0 errors"
  racecheck "RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)"
  initcheck "ERROR SUMMARY: 0 errors")
runs=()
for ((i = 0; i < ${#clean[@]}; i += 2)); do
  for test in cuda/gpu_int4_gemm_test cuda/gpu_attention_test plugin_host/gpu_plugin_host_test; do
    sanitize "${clean[i]}" "$test" "${clean[i + 1]}" >"$build/sanitizer-${#runs[@]}.txt" &
    runs+=($!)
  done
done
failed=0
for i in "${!runs[@]}"; do wait "${runs[i]}" || failed=1; done

echo
echo "date:   $(date -u +%F)"
echo "commit: $(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
echo "device: $(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | head -1)"
echo "nvcc:   $(nvcc --version | grep -o 'release [0-9.]*')"
for i in "${!runs[@]}"; do cat "$build/sanitizer-$i.txt"; done
exit $failed
