# SPDX-License-Identifier: Apache-2.0
"""AttentionPlugin, which turns Q and K and writes the cache in the same call, beside torch's SDPA
(flash and cuDNN) on Q and K that were turned before, and beside the eager torch ops for that RoPE
and cache write. Prompts, chunks, decode; then trees, FP8 and a ragged batch beside our own plain
call."""

import dataclasses
from collections.abc import Callable, Iterator

import torch

import gpu_operators as operators
import gpu_peers
import gpu_timing
from gpu_timing import Calls

OURS = "dovetail"
HEADS = [(32, 8, 128), (14, 2, 64), (28, 4, 128)]  # Hq, Hk, D
E4M3 = torch.float8_e4m3fn
# Rounding of turned K, of probabilities and of results in the type.
ERROR = {torch.float16: 3e-3, torch.bfloat16: 2e-2}


@dataclasses.dataclass
class Call:
    """One call: `tokens` new ones behind `past`, the same for all lanes or listed by lane."""

    heads: tuple[int, int, int]
    mode: str
    tokens: int
    past: int = 0
    batch: int = 1
    dtype: torch.dtype = torch.float16
    cache_type: torch.dtype | None = None
    lengths: tuple[int, ...] = ()  # ragged prompts; `tokens` is the longest
    capability: int = 0  # 80: ours as on an sm_80

    def __post_init__(self) -> None:
        self.cache_type = self.cache_type or self.dtype
        self.capacity = self.past + self.tokens
        q_heads, kv_heads, d = self.heads
        random = torch.Generator("cuda").manual_seed(self.capacity + self.batch)
        self.qkv = torch.randn(
            (self.batch, self.tokens, q_heads + 2 * kv_heads, d), device="cuda", generator=random
        ).to(self.dtype)
        self.cache = torch.empty(
            (self.batch, 2, kv_heads, self.capacity, d), dtype=self.cache_type, device="cuda"
        )
        for lane in self.cache:
            lane.copy_(torch.randn(lane.shape, device="cuda", generator=random).half())
        angles = torch.outer(
            torch.arange(self.capacity, dtype=torch.float64),
            10000.0 ** (-torch.arange(0, d, 2, dtype=torch.float64) / d),
        )
        self.rope = torch.cat([angles.cos(), angles.sin()], 1).float().cuda()

    def name(self) -> str:
        text = f"{self.mode} {'/'.join(map(str, self.heads))}, "
        if self.mode == "decode":
            text += f"context {self.capacity}"
        else:
            text += f"{self.tokens} tokens" + (f" on {self.past}" if self.past else "")
        text += f", lengths {self.lengths[0]} to {self.lengths[-1]}" if self.lengths else ""
        text += f", B {self.batch}" if self.mode == "decode" or self.batch > 1 else ""
        text += f", sm_{self.capability} path" if self.capability else ""
        return text + {torch.float16: "", torch.bfloat16: ", bf16", E4M3: ", E4M3"}[self.cache_type]

    def turned(self, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, ...]:
        """Q, K and V of the new tokens, [B, heads, S, D], after RoPE."""
        q_heads, kv_heads, _ = self.heads
        heads = self.qkv.to(dtype).transpose(1, 2)
        table = self.rope[self.past :].to(dtype)
        turned = gpu_peers.turn(heads[:, : q_heads + kv_heads], *table.chunk(2, -1))
        return turned[:, :q_heads], turned[:, q_heads:], heads[:, q_heads + kv_heads :]

    def sees(self, token: int) -> torch.Tensor:
        """Slots that a new token attends to, as a bool [C]."""
        slots = torch.arange(self.capacity, device="cuda")
        if self.mode != "tree":
            return slots <= self.past + token
        seen = slots < self.past
        seen[self.past :] = self._tree()[token]
        return seen

    def _tree(self) -> torch.Tensor:
        """[S, S] bool: a binary tree, each token sees its ancestors and itself."""
        mask = torch.zeros((self.tokens, self.tokens), dtype=torch.bool, device="cuda")
        for token in range(self.tokens):
            node = token
            while node >= 0:
                mask[token, node] = True
                node = (node - 1) // 2 if node else -1
        return mask

    def judge(self, name: str, output: torch.Tensor) -> float:
        """Some tokens of the first and last lane of [B, S, Hq, D] against fp64."""
        q_heads, kv_heads, d = self.heads
        q, k, v = self.turned()
        expected, got = [], []
        for lane in {0, self.batch - 1}:
            length = self.lengths[lane] if self.lengths else self.tokens
            keys = torch.cat([self.cache[lane, 0, :, : self.past].double(), k[lane]], 1)
            values = torch.cat([self.cache[lane, 1, :, : self.past].double(), v[lane]], 1)
            for token in sorted({0, length // 3, length // 2, length - 1}):
                query = q[lane, :, token].reshape(kv_heads, -1, d)
                scores = query @ keys.transpose(1, 2) / d**0.5
                scores = scores.masked_fill(~self.sees(token), float("-inf"))
                expected.append((scores.softmax(-1) @ values).reshape(q_heads, d))
                got.append(output[lane, token])
        return gpu_timing.check(
            name, torch.stack(got), torch.stack(expected), ERROR[self.dtype]
        )

    def ours(self) -> tuple[Calls, torch.Tensor, str]:
        plan = operators.attention(
            self.heads,
            self.mode,
            self.dtype,
            self.cache_type,
            self.batch,
            self.tokens,
            self.capacity,
            self.capability,
        )
        filled = torch.full((self.batch,), self.past, dtype=torch.int32, device="cuda")
        prompt = self.mode in ("prefill", "chunked")
        lengths = filled + self.tokens
        if prompt:
            lengths = lengths - self.past
        if self.lengths:
            lengths = torch.tensor(self.lengths, dtype=torch.int32, device="cuda")
        output = torch.empty(
            (self.batch, self.tokens, *self.heads[::2]), dtype=self.dtype, device="cuda"
        )
        same = {"rope_cos_sin": self.rope, "context_lengths": lengths, "output": output}
        if self.mode != "prefill":
            same["kv_start_index"] = filled
        if self.mode == "tree":
            same |= self._tree_inputs()
        if self.cache_type == E4M3:
            same["kv_scales"] = torch.ones(2, device="cuda")
        each = self.cache.nbytes + self.qkv.nbytes
        calls = []
        for _ in range(gpu_timing.copies(each)):
            cache = self.cache.clone()
            calls.append(
                plan.call(qkv=self.qkv.clone(), past_kv_cache=cache, kv_cache=cache, **same)
            )
        return calls, output, plan.description

    def _tree_inputs(self) -> dict[str, torch.Tensor]:
        words = -(-self.tokens // 32)
        mask = torch.zeros((self.tokens, words * 32), dtype=torch.int64)
        mask[:, : self.tokens] = self._tree().cpu()
        bits = (mask.reshape(self.tokens, words, 32) << torch.arange(32)).sum(-1)
        bits = torch.where(bits >= 2**31, bits - 2**32, bits).to(torch.int32)
        # The judge turns token j at position past + j, whatever its depth: so does this call.
        positions = torch.arange(self.past, self.capacity, dtype=torch.int32)
        return {
            "attention_mask": bits.expand(self.batch, -1, -1).contiguous().cuda(),
            "attention_pos_id": positions.expand(self.batch, -1).contiguous().cuda(),
        }

    def cache_bytes(self) -> float:
        return self.batch * 2 * self.heads[1] * self.capacity * self.heads[2] * (
            self.cache.element_size()
        )

    def cost(self) -> dict:
        q_heads, _, d = self.heads
        if self.lengths:
            pairs = sum(n * (n + 1) / 2 for n in self.lengths)
        else:
            pairs = self.batch * self.tokens * (self.past + (self.tokens + 1) / 2)
        prompt = self.mode in ("prefill", "chunked")
        moved = self.qkv.nbytes * (1 + q_heads / self.qkv.shape[2]) if prompt else 0
        return {"bytes": self.cache_bytes() + moved, "flops": 4 * q_heads * d * pairs}


def _own(call: Call) -> tuple[Calls, str, float]:
    calls, output, plan = call.ours()
    errors = []
    for one in (calls[0], calls[-1]):
        output.fill_(float("nan"))
        one()
        errors.append(call.judge(OURS, output))
    return calls, plan, max(errors)


def _row(call: Call, sides: dict[str, Calls], quick: bool, **more) -> dict:
    return {
        "shape": call.name(),
        "ours": OURS,
        "peers": [],
        "peak": "bf16" if call.dtype == torch.bfloat16 else "fp16",
        "forced": call.capability != 0,
        **call.cost(),
        **more,
    } | gpu_timing.measure(sides, OURS, quick)


def _beside_peers(call: Call, quick: bool) -> dict:
    calls, plan, error = _own(call)
    sides, errors, absent = {OURS: calls}, {OURS: error}, {}
    inputs = gpu_peers.inputs(call)
    for name, attend in gpu_peers.attention(call).items():
        try:
            errors[name] = call.judge(name, attend(*inputs[-1]).transpose(1, 2))
            sides[name] = [lambda qkv=qkv, attend=attend: attend(*qkv) for qkv in inputs]
        except (RuntimeError, gpu_timing.Wrong) as reason:
            absent[name] = str(reason).splitlines()[0]
    peers = list(sides)[1:]
    sides[gpu_peers.UNFUSED] = gpu_peers.rope_and_write(call)
    return _row(call, sides, quick, plan=plan, peers=peers, error=errors, absent=absent)


def _beside_ourselves(call: Call, other: Call, note: str, quick: bool) -> dict:
    calls, plan, error = _own(call)
    row = _row(call, {OURS: calls, "other": _own(other)[0]}, quick, plan=plan, error={OURS: error})
    return row | {"note": f"x{1 / row['ratio']['other']:.2f} of {note}"}


def _peer_cells(quick: bool) -> Iterator[tuple[str, Callable[[], Call]]]:
    for heads in HEADS[:1] if quick else HEADS:
        for tokens in (2048,) if quick else (512, 2048, 8192):
            yield "prefill", lambda: Call(heads, "prefill", tokens)
    for heads in HEADS[:1] if quick else HEADS[:2]:
        yield "chunked", lambda: Call(heads, "chunked", 512, 8192)
    for heads in HEADS[:1] if quick else HEADS:
        for batch in (1, 8) if quick else (1, 8, 32):
            for context in (8192,) if quick else (1024, 8192, 32768):
                yield "decode", lambda: Call(heads, "decode", 1, context - 1, batch)
    for heads in () if quick else HEADS:
        for tokens in (2048, 8192):
            yield "sm_80", lambda: Call(heads, "prefill", tokens, capability=80)
    if not quick:
        bf16 = torch.bfloat16
        yield "bf16", lambda: Call(HEADS[0], "prefill", 2048, dtype=bf16)
        yield "bf16", lambda: Call(HEADS[0], "decode", 1, 8191, 8, dtype=bf16)


def _own_cells() -> Iterator[tuple[str, Callable[[], tuple[Call, Call, str]]]]:
    heads = HEADS[0]
    for tokens in (16, 64):
        yield (
            "tree",
            lambda: (
                Call(heads, "tree", tokens, 8192),
                Call(heads, "decode", 1, 8192),
                "one token",
            ),
        )
    for batch in (1, 8):
        yield (
            "fp8",
            lambda: (
                Call(heads, "decode", 1, 8191, batch, cache_type=E4M3),
                Call(heads, "decode", 1, 8191, batch),
                "fp16",
            ),
        )
    lengths = (64, 128, 256, 512, 768, 1024, 1536, 2048)
    even = round((sum(n * n for n in lengths) / 8) ** 0.5)
    yield (
        "ragged",
        lambda: (
            Call(heads, "prefill", 2048, batch=8, lengths=lengths),
            Call(heads, "prefill", even, batch=8),
            f"8 lanes of {even}, the same work",
        ),
    )


def measure(quick: bool, wanted: Callable[[str], bool]) -> Iterator[dict]:
    for part, make in _peer_cells(quick):
        if wanted(part):
            yield gpu_timing.row_or_reason(lambda: _beside_peers(make(), quick))
            torch.cuda.empty_cache()
    for part, make in () if quick else _own_cells():
        if wanted(part):
            yield gpu_timing.row_or_reason(lambda: _beside_ourselves(*make(), quick))
            torch.cuda.empty_cache()
