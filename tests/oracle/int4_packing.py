# SPDX-License-Identifier: Apache-2.0
"""Round-to-nearest int4 in the compressed-tensors `pack-quantized` convention, with torch.

Written apart from the package's quantizer, so that each checks the other. N out, K in, G group:

  weight_packed      int32 [N, K / 8]      nibble i of word c (bits 4i .. 4i+3) is column 8c + i,
                                           stored as signed value + 8
  weight_scale       bf16  [N, K / G]
  weight_shape       int64 [2] = N, K
  weight_zero_point  int32 [N / 8, K / G]  asymmetric only; nibble i of word r is row 8r + i,
                                           stored as signed zero point + 8

  value = (signed - signed zero point) * scale

The products are taken in fp32: a decoder that multiplies in bf16 rounds where this does not.
"""

from dataclasses import dataclass

import torch

QMIN, QMAX, OFFSET, PER_WORD = -8, 7, 8, 8


def pack(signed: torch.Tensor, dim: int) -> torch.Tensor:
    """Eight values in -8..7 along `dim` into one int32, the first in the lowest bits."""
    rows = signed if dim == 1 else signed.T
    nibbles = (rows.to(torch.int64) + OFFSET).unflatten(1, (-1, PER_WORD))
    words = (nibbles << (4 * torch.arange(PER_WORD))).sum(-1)
    words = torch.where(words >= 2**31, words - 2**32, words).to(torch.int32)
    return (words if dim == 1 else words.T).contiguous()


@dataclass(frozen=True)
class Scheme:
    group_size: int
    symmetric: bool

    def quantization_config(self) -> dict:
        """The quantization_config entry of config.json."""
        weights = {
            "num_bits": 4,
            "type": "int",
            "symmetric": self.symmetric,
            "strategy": "group",
            "group_size": self.group_size,
            "dynamic": False,
            "observer": "minmax",
        }
        group = {
            "targets": ["Linear"],
            "weights": weights,
            "input_activations": None,
            "output_activations": None,
        }
        return {
            "quant_method": "compressed-tensors",
            "format": "pack-quantized",
            "quantization_status": "compressed",
            "config_groups": {"group_0": group},
            "ignore": ["lm_head"],
            "kv_cache_scheme": None,
        }

    def quantize(self, weight: torch.Tensor) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Tensors of the checkpoint by suffix, and the fp32 weight [N, K] that they stand for."""
        n, k = weight.shape
        groups = weight.float().unflatten(1, (k // self.group_size, self.group_size))
        low = groups.amin(-1, keepdim=True).clamp(max=0)
        high = groups.amax(-1, keepdim=True).clamp(min=0)
        steps = QMAX - QMIN
        if self.symmetric:
            scale = (torch.maximum(-low, high) / (steps / 2)).bfloat16()
            zero_point = torch.zeros_like(low)
        else:
            scale = ((high - low) / steps).bfloat16()
            zero_point = (QMIN - low / scale.float()).round().clamp(QMIN, QMAX)
        signed = (groups / scale.float() + zero_point).round().clamp(QMIN, QMAX)
        tensors = {
            "weight_packed": pack(signed.reshape(n, k), dim=1),
            "weight_scale": scale.squeeze(-1),
            "weight_shape": torch.tensor([n, k]),
        }
        if not self.symmetric:
            tensors["weight_zero_point"] = pack(zero_point.squeeze(-1), dim=0)
        return tensors, ((signed - zero_point) * scale.float()).reshape(n, k)


SCHEMES = {
    "int4": Scheme(group_size=32, symmetric=True),
    "int4_asymmetric": Scheme(group_size=64, symmetric=False),
}
