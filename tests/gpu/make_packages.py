# SPDX-License-Identifier: Apache-2.0
"""Packages of the bundled model for onnxruntime_cuda.py, and the logits that it compares with.

    python tests/gpu/make_packages.py FOLDER

  fp16       fp32 weights, fp16 attention: the package whose tokens CPU and GPU must agree on
  int4       int4 weights in the layout that both read, everything in fp16
  int4_bf16  the same in bf16
  int4_cpu   the CPU's layout and fp32 activations, which a GPU refuses

reference.npz: `tokens`, greedy behind the prompt, and the logits of both packages' weights along
them, in fp32 on the CPU; the tests compare those with transformers. This runs anywhere, the
comparison on the machine with the GPU.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / "python"), str(REPOSITORY / "tests" / "python")]

from package_decoder import PackageDecoder  # noqa: E402

from dovetail.export import ExportOptions, export  # noqa: E402
from dovetail.quantize import QuantizeOptions, quantize  # noqa: E402

CHECKPOINT = REPOSITORY / "models" / "tiny" / "checkpoint"
CAPACITY = 512
PROMPT = [1, 295, 260, 907, 1031, 274, 811, 305]  # any ids will do: both sides get the same
STEPS = 64


def make(source: Path, folder: Path, **options) -> None:
    given = {"engine": "onnxruntime", "capacity": CAPACITY, "max_batch": 4} | options
    export(source, folder, ExportOptions(**given))


def logits(package: Path, tokens: list[int]) -> np.ndarray:
    """Behind the prompt and behind each token but the last, [STEPS, V]. Without tokens they are
    chosen greedily and left in the list."""
    decoder = PackageDecoder(package)
    rows = [decoder.prefill(PROMPT)[-1]]
    for step in range(STEPS):
        if len(tokens) == step:
            tokens.append(int(rows[-1].argmax()))
        if step + 1 < STEPS:
            rows.append(decoder.decode(tokens[step], len(PROMPT) + step))
    return np.stack(rows)


def main(target: Path) -> None:
    target.mkdir(parents=True)
    make(CHECKPOINT, target / "fp16", dtype="fp16")
    with tempfile.TemporaryDirectory() as scratch:
        int4, exact, exact_int4 = (Path(scratch) / name for name in ("int4", "exact", "exact4"))
        quantize(CHECKPOINT, int4, QuantizeOptions(64, False, (), False))
        make(int4, target / "int4", device="cuda", dtype="fp16", compute="exact", head="int4")
        make(int4, target / "int4_bf16", device="cuda", dtype="bf16", head="int4")
        make(int4, target / "int4_cpu", dtype="fp32", head="int4")
        wide = {"dtype": "fp32", "kv_dtype": "fp32", "compute": "exact"}
        make(CHECKPOINT, exact, **wide)
        make(int4, exact_int4, **wide, head="int4")
        tokens: list[int] = []
        reference = {"fp16": logits(exact, tokens), "int4": logits(exact_int4, tokens)}
    np.savez(target / "reference.npz", prompt=PROMPT, tokens=tokens, **reference)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
