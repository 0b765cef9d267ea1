# SPDX-License-Identifier: Apache-2.0
"""AttentionPlugin in numpy fp64, from the contract (docs/operators.md), apart from the C++.

Legend: B lanes, S tokens of the call (padded), C cache capacity, Hq / Hk query / KV heads, D head
size, R rotary width. A call is checked in two steps, so that one rounding of K and V more or less
is not counted twice: the cache against what must be stored, then the output against attention over
the cache as stored.
"""

import dataclasses

import numpy as np

from onnxruntime_session import F32, FP8, ONNX_TYPE, half_unit, node_model

PREFILL, CHUNKED, DECODE, TREE = "prefill", "chunked prefill", "decode", "tree decode"


@dataclasses.dataclass
class Attention:
    """One random call. `history[b]` tokens are in lane b, `fresh[b]` of the S new ones are real;
    `ids` are the tree's position ids. `attributes` holds what differs from the guide's node."""

    mode: str
    history: list[int]
    fresh: list[int]
    tokens: int
    q_heads: int = 4
    kv_heads: int = 2
    head_size: int = 64
    capacity: int = 32
    dtype: np.dtype = F32
    kv_dtype: np.dtype = F32
    rotary_width: int = 0
    table_per_lane: bool = False
    tree: bool = False
    remainder: bool = False  # decode that is the one-token rest of a chunked prefill
    attributes: dict = dataclasses.field(default_factory=dict)
    ids: np.ndarray | None = None
    seed: int = 1

    def __post_init__(self):
        self.rotary_width = self.rotary_width or self.head_size
        self.tree = self.tree or self.mode == TREE
        random = np.random.default_rng(self.seed)
        batch, d = len(self.history), self.head_size
        heads = self.q_heads + 2 * self.kv_heads
        normal = lambda *shape: random.standard_normal(shape)
        self.scales = np.array([0.02, 0.03], np.float32)
        cache = normal(batch, 2, self.kv_heads, self.capacity, d)
        if self.kv_dtype == FP8:
            cache = cache / self.scales[None, :, None, None, None]
        angles = random.uniform(
            0,
            2 * np.pi,
            (batch if self.table_per_lane else 1, self.capacity + 3, self.rotary_width // 2),
        )
        self.qkv = normal(batch, self.tokens, heads * d).astype(self.dtype)
        self.cache = cache.astype(self.kv_dtype)
        self.rope = np.concatenate([np.cos(angles), np.sin(angles)], -1).astype(np.float32)
        self.norms = [(1 + 0.2 * normal(d)).astype(self.dtype) for _ in range(2)]
        words = -(-self.tokens // 32)
        self.mask = random.integers(-(2**31), 2**31, (batch, self.tokens, words)).astype(np.int32)
        if self.ids is None:
            parents = np.arange(self.tokens) - random.integers(0, 2, self.tokens).cumsum() // 2
            self.ids = np.array([start + parents for start in self.history], np.int32)

    # ---- the node
    # -------------------------------------------------------------------------------------
    def all_attributes(self) -> dict:
        fixed = {
            "num_q_heads": self.q_heads,
            "num_kv_heads": self.kv_heads,
            "head_size": self.head_size,
            "enable_tree_attention": int(self.tree),
        }
        if self.kv_dtype == FP8:
            fixed["enable_fp8_kv_cache"] = 1
        return fixed | self.attributes

    def feeds(self) -> dict[str, np.ndarray]:
        """In contract order."""
        history, fresh = np.array(self.history, np.int32), np.array(self.fresh, np.int32)
        absolute = self.mode in (DECODE, TREE) and not self.remainder
        length = (
            (history + self.tokens if self.mode == TREE else history + fresh) if absolute else fresh
        )
        feeds = {
            "qkv": self.qkv,
            "past": self.cache,
            "lengths": length.astype(np.int32),
            "rope": self.rope,
            "start": np.zeros(0, np.int32) if self.mode == PREFILL else history,
        }
        if self.tree:
            feeds["mask"] = self.mask
            feeds["ids"] = self.ids if self.mode == TREE else self.ids[:, :1].copy()
        if self.kv_dtype == FP8:
            feeds["scales"] = self.scales
        if self.attributes.get("enable_qk_norm"):
            feeds |= {"q_norm": self.norms[0], "k_norm": self.norms[1]}
        return feeds

    def input_types(self) -> dict[str, tuple]:
        shapes = {
            "qkv": ["B", "S", self.qkv.shape[2]],
            "past": ["B", 2, self.kv_heads, "C", self.head_size],
            "lengths": ["B"],
            "rope": ["T", "P", self.rotary_width],
            "start": ["B0"],
            "mask": ["B", "S", "W"],
            "ids": ["B", "I"],
        }
        return {
            name: (ONNX_TYPE[array.dtype], shapes.get(name, array.shape))
            for name, array in self.feeds().items()
        }

    def model(self) -> bytes:
        outputs = {"y": ONNX_TYPE[self.dtype], "present": ONNX_TYPE[self.kv_dtype]}
        return node_model("AttentionPlugin", self.input_types(), outputs, self.all_attributes())

    def empty_output(self) -> np.ndarray:
        batch = len(self.history)
        return np.full((batch, self.tokens, self.q_heads, self.head_size), 77, np.float32).astype(
            self.dtype
        )

    # ---- the contract in fp64
    # -------------------------------------------------------------------------
    def position(self, lane: int, token: int) -> int:
        """RoPE position, -1 for padding."""
        if token >= self.fresh[lane]:
            return -1
        return int(self.ids[lane, token]) if self.mode == TREE else self.history[lane] + token

    def head(self, lane: int, token: int, index: int) -> np.ndarray:
        d = self.head_size
        return self.qkv[lane, token, index * d : (index + 1) * d].astype(np.float64)

    def rotate(self, x: np.ndarray, lane: int, position: int, norm: np.ndarray) -> np.ndarray:
        if self.attributes.get("enable_qk_norm"):
            epsilon = self.attributes.get("rms_norm_eps", 1e-6)
            x = x / np.sqrt(np.mean(x * x) + epsilon) * norm.astype(np.float64)
        half = self.rotary_width // 2
        row = self.rope[lane if self.table_per_lane else 0, position].astype(np.float64)
        cos, sin = row[:half], row[half:]
        low, high = x[:half], x[half : 2 * half]
        return np.concatenate([low * cos - high * sin, high * cos + low * sin, x[2 * half :]])

    def expected_rows(self):
        """(lane, part, KV head, slot, what is stored there in units of the cache) of every new
        token."""
        for lane in range(len(self.history)):
            for token in range(self.fresh[lane]):
                position = self.position(lane, token)
                for h in range(self.kv_heads if position >= 0 else 0):
                    key = self.head(lane, token, self.q_heads + h)
                    value = self.head(lane, token, self.q_heads + self.kv_heads + h)
                    for part, row in enumerate(
                        [self.rotate(key, lane, position, self.norms[1]), value]
                    ):
                        if self.kv_dtype == FP8:
                            row = np.clip(row / self.scales[part].astype(np.float64), -448, 448)
                        yield lane, part, h, self.history[lane] + token, row

    def check_cache(self, present: np.ndarray) -> None:
        """New rows within one rounding (and the fp32 error of the rotation), everything else
        untouched."""
        rest = present.copy()
        for lane, part, h, slot, row in self.expected_rows():
            got = present[lane, part, h, slot].astype(np.float64)
            allowed = half_unit(row, self.kv_dtype) + 8 * 2.0**-24 * np.abs(row).max()
            worst = np.argmax(np.abs(got - row) / allowed)
            assert np.all(np.abs(got - row) <= allowed), (
                f"lane {lane} part {part} head {h} slot {slot} [{worst}]: "
                f"{got[worst]}, expected {row[worst]}"
            )
            rest[lane, part, h, slot] = self.cache[lane, part, h, slot]
        np.testing.assert_array_equal(rest.view(np.uint8), self.cache.view(np.uint8))

    def visible(self, lane: int, token: int) -> list[int]:
        """Cache slots that a token sees."""
        own, start = self.position(lane, token), self.history[lane]
        window = self.attributes.get("sliding_window_size", -1)
        sees = lambda position: window < 0 or position > own - window
        if self.mode != TREE:
            return [slot for slot in range(own + 1) if sees(slot)]
        bits = self.mask[lane, token].astype(np.int64)
        drafts = [j for j in range(self.tokens) if bits[j // 32] >> (j % 32) & 1]
        return [slot for slot in range(start) if sees(slot)] + [
            start + j
            for j in drafts
            if self.position(lane, j) >= 0 and sees(self.position(lane, j))
        ]

    def attend(self, present: np.ndarray, storage: bool) -> np.ndarray:
        """Output [B, S, Hq, D] over the cache as it stands. `storage`: queries and probabilities
        rounded to the activation type and sums in fp32, the naive version of what a kernel may
        do."""
        real = np.float32 if storage else np.float64
        rounded = (lambda x: x.astype(self.dtype).astype(real)) if storage else (lambda x: x)
        unit = self.scales if self.kv_dtype == FP8 else np.ones(2)
        scale = self.attributes.get("attention_scale", 0) or self.head_size**-0.5
        cap = self.attributes.get("logit_softcap", 0)
        y = np.zeros((len(self.history), self.tokens, self.q_heads, self.head_size), real)
        for lane, token, h in np.ndindex(y.shape[:3]):
            position = self.position(lane, token)
            slots = self.visible(lane, token) if position >= 0 else []
            if not slots:
                continue
            kv = h // (self.q_heads // self.kv_heads)
            k, v = (
                present[lane, part, kv, slots].astype(real) * real(unit[part]) for part in range(2)
            )
            query = rounded(self.rotate(self.head(lane, token, h), lane, position, self.norms[0]))
            scores = k @ query.astype(real) * real(scale)
            if cap:
                scores = real(cap) * np.tanh(scores / real(cap))
            weights = np.exp(scores - scores.max())
            y[lane, token, h] = rounded(weights) @ v / weights.sum()
        return y

    def check_output(self, y: np.ndarray, present: np.ndarray) -> None:
        """Within twice the error of the naive storage version, and half a unit of the output
        type."""
        expected = self.attend(present, storage=False)
        naive = np.abs(self.attend(present, storage=True) - expected).max()
        top = np.abs(present.astype(np.float64)).max() * (
            self.scales.max() if self.kv_dtype == FP8 else 1
        )
        allowed = 2 * naive + half_unit(expected, self.dtype) + 2.0**-24 * top
        got = y.astype(np.float64)
        assert np.isfinite(got).all()
        excess = np.abs(got - expected) / allowed
        worst = np.unravel_index(excess.argmax(), excess.shape)
        assert excess.max() <= 1, (
            f"{worst}: got {got[worst]}, expected {expected[worst]} +- {allowed[worst]}"
        )
        padding = [(b, s) for b, s in np.ndindex(y.shape[:2]) if self.position(b, s) < 0]
        assert all(not y[b, s].astype(np.float64).any() for b, s in padding), (
            "a padding row is not zero"
        )
