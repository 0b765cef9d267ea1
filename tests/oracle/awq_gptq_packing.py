# SPDX-License-Identifier: Apache-2.0
"""Round-to-nearest int4 with zero points as AutoAWQ ("gemm") and AutoGPTQ store it, with torch.

Written apart from the package's reader; check_int4_goldens.py has both formats decoded by the
projects they come from. N out, K in, G group:

  qweight  awq int32 [K, N / 8], gptq int32 [K / 8, N]
  qzeros   int32 [K / G, N / 8]; gptq stores zero point - 1
  scales   fp16 [K / G, N]
  g_idx    int32 [K] = k / G; gptq

  value = (u - zero_point) * scale, u and zero_point in 0..15, scale in fp32
"""

from dataclasses import dataclass

import torch

AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]  # nibble i of a word holds this one of its eight columns


def words_of(nibbles: torch.Tensor) -> torch.Tensor:
    """[..., 8] of 0..15 -> int32 [...], the first in the lowest bits."""
    words = (nibbles.to(torch.int64) << (4 * torch.arange(8))).sum(-1)
    return torch.where(words >= 2**31, words - 2**32, words).to(torch.int32).contiguous()


@dataclass(frozen=True)
class KFirstScheme:
    method: str  # awq or gptq
    group_size: int
    symmetric: bool = False

    def quantization_config(self) -> dict:
        if self.method == "awq":
            return {
                "quant_method": "awq",
                "version": "gemm",
                "bits": 4,
                "group_size": self.group_size,
                "zero_point": True,
                "modules_to_not_convert": None,
            }
        return {
            "quant_method": "gptq",
            "bits": 4,
            "group_size": self.group_size,
            "desc_act": False,
            "sym": self.symmetric,
            "true_sequential": True,
            "damp_percent": 0.01,
        }

    def quantize(self, weight: torch.Tensor) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Tensors of the checkpoint by suffix, and the fp32 weight [N, K] that they stand for."""
        n, k = weight.shape
        groups = weight.float().unflatten(1, (k // self.group_size, self.group_size))
        low = groups.amin(-1).clamp(max=0)
        high = groups.amax(-1).clamp(min=0)
        if self.symmetric:
            scale = (torch.maximum(-low, high) / 7.5).half()
            zero_point = torch.full_like(low, 8)
        else:
            scale = ((high - low) / 15).half()
            zero_point = (-low / scale.float()).round().clamp(1, 15)
        u = (groups / scale.float()[..., None] + zero_point[..., None]).round().clamp(0, 15)
        decoded = ((u - zero_point[..., None]) * scale.float()[..., None]).reshape(n, k)
        u, zero_point = u.reshape(n, k).T, zero_point.T  # K first
        if self.method == "awq":
            tensors = {
                "qweight": words_of(u.unflatten(1, (-1, 8))[..., AWQ_ORDER]),
                "qzeros": words_of(zero_point.unflatten(1, (-1, 8))[..., AWQ_ORDER]),
            }
        else:
            tensors = {
                "qweight": words_of(u.unflatten(0, (-1, 8)).movedim(1, -1)),
                "qzeros": words_of(zero_point.unflatten(1, (-1, 8)) - 1),
                "g_idx": (torch.arange(k) // self.group_size).to(torch.int32),
            }
        return tensors | {"scales": scale.T.contiguous()}, decoded


SCHEMES = {
    "awq": KFirstScheme("awq", group_size=64),
    "gptq": KFirstScheme("gptq", group_size=64),
    "gptq_symmetric": KFirstScheme("gptq", group_size=64, symmetric=True),
}
