#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From a fresh clone to text: installs what is missing, builds, quantizes the bundled model to INT4, exports it
# with our operators, runs it in ONNX Runtime, and prints what quantization cost and how fast it was.
#
#   scripts/demo.sh ["a prompt"]
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
prompt=${1:-And it came to pass in those days, that the king}
out=build/demo
run=build/cpu/src/apps/dovetail-run
mkdir -p "$out"

build --target dovetail-run dovetail_onnxruntime _native

# Makes folder $1 by the rest of the command, unless it is newer than everything it is made from.
make_folder() {
  local folder=$1 stamp=$1/.made
  shift
  if [[ -f $stamp && -z $(find models/tiny/checkpoint python/dovetail -newer "$stamp" -type f \
    -not -path '*/__pycache__/*' -print -quit) ]]; then
    return
  fi
  rm -rf "$folder"
  "$@"
  touch "$stamp"
}

dovetail=.venv/bin/dovetail
say "Quantizing models/tiny to INT4, groups of 64"
make_folder "$out/tiny-int4" "$dovetail" quantize models/tiny/checkpoint "$out/tiny-int4" --group-size 64
say "Exporting to ONNX with AttentionPlugin and Int4GroupwiseGemmPlugin nodes"
make_folder "$out/tiny-int4-pkg" "$dovetail" export "$out/tiny-int4" "$out/tiny-int4-pkg" \
  --engine onnxruntime --dtype fp32 --capacity 1024 --max-batch 4
make_folder "$out/tiny-float-pkg" "$dovetail" export models/tiny/checkpoint "$out/tiny-float-pkg" \
  --engine onnxruntime --dtype fp32 --capacity 1024 --max-batch 4

say "A continuation from the INT4 model"
printf '%s' "$prompt"
"$run" generate "$out/tiny-int4-pkg" "$prompt" --max-tokens 120 --temperature 0.7 --top-p 0.9 --seed 7
printf '\n'

say "What INT4 costs, and how fast it is"
for kind in float int4; do
  "$run" perplexity "$out/tiny-$kind-pkg" models/tiny/held_out.txt --json >"$out/$kind-perplexity.json"
  "$run" bench "$out/tiny-$kind-pkg" --prompt-tokens 256 --decode-tokens 128 --json >"$out/$kind-bench.json"
done
.venv/bin/python scripts/demo_table.py "$out"

skip "TensorRT (needs its SDK and an NVIDIA GPU; docs/tensorrt.md)"
skip "CUDA kernels (need an NVIDIA GPU)"
