# SPDX-License-Identifier: Apache-2.0
"""Attention as torch offers it: SDPA on its flash and cuDNN backends, over [B, H, S, D] tensors
whose Q and K were turned before; and the eager ops that turn them and write the cache. Every call
has its own tensors, as ours have."""

from collections.abc import Callable

import torch
import torch.nn.functional
from torch.nn.attention import SDPBackend, sdpa_kernel

import gpu_timing
from gpu_timing import Calls

FLASH, CUDNN, UNFUSED = "SDPA flash", "SDPA cuDNN", "RoPE + cache write, eager"


def turn(x: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor) -> torch.Tensor:
    low, high = x.chunk(2, -1)
    return torch.cat([low * cosines - high * sines, high * cosines + low * sines], -1)


def inputs(call) -> list[tuple[torch.Tensor, ...]]:
    """Q, K, V of every copy, the past included."""
    q, k, v = (t.to(call.dtype) for t in call.turned(torch.float32))
    if call.past:
        k = torch.cat([call.cache[:, 0, :, : call.past], k], 2)
        v = torch.cat([call.cache[:, 1, :, : call.past], v], 2)
    count = gpu_timing.copies(q.nbytes + k.nbytes + v.nbytes)
    return [tuple(t.contiguous().clone() for t in (q, k, v)) for _ in range(count)]


def attention(call) -> dict[str, Callable[..., torch.Tensor]]:
    """By backend: (Q, K, V) to [B, Hq, S, D]."""

    def sdpa(backend: SDPBackend, **how) -> Callable[..., torch.Tensor]:
        def attend(q, k, v):
            with sdpa_kernel([backend]):
                return torch.nn.functional.scaled_dot_product_attention(
                    q, k, v, enable_gqa=True, **how
                )

        return attend

    if call.mode != "chunked":
        causal = call.tokens > 1
        return {
            FLASH: sdpa(SDPBackend.FLASH_ATTENTION, is_causal=causal),
            CUDNN: sdpa(SDPBackend.CUDNN_ATTENTION, is_causal=causal),
        }
    slots = torch.arange(call.capacity, device="cuda")
    unseen = slots[None] > slots[call.past :, None]
    bias = torch.zeros(unseen.shape, dtype=call.dtype, device="cuda")
    bias.masked_fill_(unseen, float("-inf"))
    flash = torch.ops.aten._scaled_dot_product_flash_attention
    return {
        # SDPA refuses a chunk; the operator behind it aligns the causal mask at the end.
        FLASH: lambda q, k, v: flash(q, k, v, 0.0, True)[0],
        CUDNN: sdpa(SDPBackend.CUDNN_ATTENTION, attn_mask=bias[None, None]),
    }


def rope_and_write(call) -> Calls:
    """Q turned, K turned and written, V written; one cache, since it is only written."""
    q_heads, kv_heads, d = call.heads
    cosines, sines = call.rope[call.past :].to(call.dtype)[:, None].chunk(2, -1)
    cache = torch.empty((call.batch, 2, kv_heads, call.tokens, d), dtype=call.dtype, device="cuda")

    def run(qkv: torch.Tensor) -> None:
        turn(qkv[:, :, :q_heads], cosines, sines)
        cache[:, 0] = turn(qkv[:, :, q_heads:-kv_heads], cosines, sines).transpose(1, 2)
        cache[:, 1] = qkv[:, :, -kv_heads:].transpose(1, 2)

    count = min(64, gpu_timing.copies(call.qkv.nbytes))
    return [lambda qkv=call.qkv.clone(): run(qkv) for _ in range(count)]
