# SPDX-License-Identifier: Apache-2.0
"""Do other tools read the int4 goldens as we mean them? Needs compressed-tensors, transformers,
AutoAWQ 0.2.9 and AutoGPTQ 0.7.1 (of the last two the Python sources alone, on PYTHONPATH).

Every packed tensor is decoded by the compressed-tensors package and compared, bit for bit, with
the decoding written here from the table in int4_packing.py; then transformers loads the folder
with its own int4 support and must give the recorded logits (transformers 5.23 with
compressed-tensors 0.20 cannot load packed zero points: the asymmetric folder is only decoded).
Run it after record.py:

    python tests/oracle/check_int4_goldens.py
"""

import json
from pathlib import Path

import awq_gptq_packing
import torch
from auto_gptq.nn_modules.qlinear.qlinear_cuda_old import QuantLinear as GptqLinear
from awq.utils.packing_utils import dequantize_gemm as decode_awq
from compressed_tensors.compressors.pack_quantized.base import PackedQuantizationCompressor
from compressed_tensors.quantization import QuantizationScheme
from families import FAMILIES
from int4_packing import OFFSET, PER_WORD
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

GOLDENS = Path(__file__).resolve().parent / "goldens"


def unpack(words: torch.Tensor, dim: int) -> torch.Tensor:
    rows = words if dim == 1 else words.T
    nibbles = (rows[..., None] >> (4 * torch.arange(PER_WORD))) & 15
    signed = nibbles.flatten(1) - OFFSET
    return signed if dim == 1 else signed.T


def decode(parts: dict[str, torch.Tensor]) -> torch.Tensor:
    n, k = parts["weight_shape"].tolist()
    scale = parts["weight_scale"].float()
    signed = unpack(parts["weight_packed"], dim=1).unflatten(1, (scale.shape[1], -1))
    if "weight_zero_point" in parts:
        signed = signed - unpack(parts["weight_zero_point"], dim=0)[..., None]
    return (signed * scale[..., None]).reshape(n, k)


def check_k_first(folder: Path, tensors: dict[str, torch.Tensor], config: dict) -> None:
    """awq and gptq: their own decoders against the weight that the scheme decoded when it packed."""
    plain = load_file(folder.parent / "plain" / "model.safetensors")
    scheme = awq_gptq_packing.SCHEMES[folder.name]
    modules = [n.removesuffix(".qweight") for n in tensors if n.endswith(".qweight")]
    for module in modules:
        prefix = f"{module}."
        parts = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        ours = scheme.quantize(plain[f"{module}.weight"])[1]
        scales = parts["scales"].float()
        if config["quant_method"] == "awq":
            theirs = decode_awq(parts["qweight"], parts["qzeros"], scales, 4, scheme.group_size).T
        else:
            n, k = ours.shape
            layer = GptqLinear(4, scheme.group_size, k, n, False, weight_dtype=torch.float32)
            layer.qweight, layer.qzeros, layer.scales = parts["qweight"], parts["qzeros"], scales
            theirs = layer(torch.eye(k)).T
        if not torch.equal(ours, theirs):
            raise SystemExit(f"{folder.name}: {module} decodes differently")
    print(f"{folder.parent.name}/{folder.name}: {len(modules)} matrices decode alike")


def check(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())["quantization_config"]
    if config["quant_method"] != "compressed-tensors":
        return check_k_first(folder, tensors, config)
    scheme = QuantizationScheme.model_validate(config["config_groups"]["group_0"])
    modules = [n.removesuffix(".weight_packed") for n in tensors if n.endswith(".weight_packed")]
    for module in modules:
        prefix = f"{module}."
        parts = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        ours = decode(parts)
        exact = parts | {"weight_scale": parts["weight_scale"].float()}
        theirs = PackedQuantizationCompressor.decompress(exact, scheme)["weight"]
        if not torch.equal(ours, theirs.float()):
            raise SystemExit(f"{folder.name}: {module} decodes differently")

    print(f"{folder.parent.name}/{folder.name}: {len(modules)} matrices decode alike")
    if scheme.weights.symmetric:
        check_logits(folder)


@torch.no_grad()
def check_logits(folder: Path) -> None:
    golden = load_file(folder / "golden.safetensors")
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    expected = golden["prefill_logits"]
    logits = model(input_ids=golden["prompt"][None]).logits[0]
    error = float((logits - expected).abs().max() / expected.abs().max())
    print(f"  transformers' own int4 gives the logits within {error:.1e} of the largest")
    if error > 1e-6:
        raise SystemExit(f"{folder}: transformers reads another model out of it")


if __name__ == "__main__":
    for family in FAMILIES:
        for what in family.quantized:
            check(GOLDENS / family.name / what)
