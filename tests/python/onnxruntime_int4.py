# SPDX-License-Identifier: Apache-2.0
"""Int4GroupwiseGemmPlugin in numpy: packers, fp64 result and how far a result may be from it.
Written from the layout tables of docs/layouts.md and the contract, apart from the C++."""

import dataclasses

import numpy as np

from onnxruntime_session import F32, ONNX_TYPE, half_unit, node_model


def round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def pack_edgellm_v1(u: np.ndarray) -> np.ndarray:
    """u [N, K] of 0..15 -> int8 [N/2, K]; N is padded to 4, K to 64, with 8."""
    n, k = (round_up(u.shape[0], 4), round_up(u.shape[1], 64))
    padded = np.full((n, k), 8, np.uint32)
    padded[: u.shape[0], : u.shape[1]] = u
    rows, columns = np.meshgrid(np.arange(n), np.arange(k), indexing="ij")
    r = columns % 32
    word = (
        ((rows // 4 * (k // 64) + columns // 64) * 4 + rows % 4) * 8
        + columns % 64 // 32 * 4
        + r % 8 // 2
    )
    nibble = r // 8 + 4 * (r % 2)
    words = np.zeros(n * k // 8, np.uint32)
    np.add.at(words, word.ravel(), (padded << (4 * nibble).astype(np.uint32)).ravel())
    return words.view(np.int8).reshape(n // 2, k)


def pack_cpu_v1(u: np.ndarray) -> np.ndarray:
    """u [N, K] -> int8 [N16/2, K]: lines of 64 bytes hold 8 k of 16 n, k%8 < 4 in the low
    nibbles."""
    n, k = round_up(u.shape[0], 16), u.shape[1]
    padded = np.full((n, k), 8, np.uint8)
    padded[: u.shape[0]] = u
    lines = padded.reshape(n // 16, 16, k // 8, 2, 4).transpose(
        0, 2, 3, 1, 4
    )  # panel, line, half, n, k%4
    return (lines[:, :, 0] | lines[:, :, 1] << 4).reshape(n // 2, k).view(np.int8)


def place_scales(values: np.ndarray, layout: str, padding: float) -> np.ndarray:
    """values [K/G, N] in the layout's order."""
    if layout != "cpu_v1":
        return values
    groups, n = values.shape
    padded = np.full((groups, round_up(n, 16)), padding, values.dtype)
    padded[:, :n] = values
    return np.ascontiguousarray(padded.reshape(groups, -1, 16).transpose(1, 0, 2))


@dataclasses.dataclass
class Gemm:
    """One random problem. Scales and bias are of `scale_type` and `dtype`."""

    rows: int
    n: int
    k: int
    group: int
    layout: str = "edgellm_v1"
    dtype: np.dtype = F32
    scale_type: np.dtype = F32
    zero_points: bool = False
    bias: bool = False
    mode: str = "auto"
    swiglu: bool = False
    seed: int = 1

    def __post_init__(self):
        random = np.random.default_rng(self.seed)
        groups = self.k // self.group
        self.u = random.integers(0, 16, (self.n, self.k), np.uint8)
        self.scales = (random.uniform(0.5, 1.5, (groups, self.n)) / 16).astype(self.scale_type)
        self.zeros = (
            random.integers(0, 16, (groups, self.n)).astype(np.int8)
            if self.zero_points
            else np.full((groups, self.n), 8, np.int8)
        )
        self.x = random.standard_normal((self.rows, self.k)).astype(self.dtype)
        self.bias_values = random.standard_normal(self.n).astype(self.dtype) if self.bias else None

    def attributes(self) -> dict:
        """Only what differs from the guide's node."""
        attributes = {"gemm_n": self.n, "gemm_k": self.k, "group_size": self.group}
        extensions = {
            "weight_layout": (self.layout, "edgellm_v1"),
            "compute_mode": (self.mode, "auto"),
            "has_zero_points": (int(self.zero_points), 0),
            "has_bias": (int(self.bias), 0),
            "swiglu": (int(self.swiglu), 0),
        }
        return attributes | {
            name: value for name, (value, default) in extensions.items() if value != default
        }

    def constants(self) -> dict[str, np.ndarray]:
        pack = {"edgellm_v1": pack_edgellm_v1, "cpu_v1": pack_cpu_v1}[self.layout]
        constants = {"weights": pack(self.u), "scales": place_scales(self.scales, self.layout, 0)}
        if self.zero_points:
            constants["zero_points"] = place_scales(self.zeros, self.layout, 8)
        if self.bias:
            constants["bias"] = self.bias_values
        return constants

    def model(self, rank: int = 3) -> bytes:
        constants = self.constants()
        shape = ["B", "S", self.k] if rank == 3 else ["M", self.k]
        inputs = {"x": (ONNX_TYPE[self.dtype], shape)} | dict.fromkeys(constants)
        return node_model(
            "Int4GroupwiseGemmPlugin",
            inputs,
            {"y": ONNX_TYPE[self.dtype]},
            self.attributes(),
            constants,
        )

    def weights(self) -> np.ndarray:
        """[N, K] in fp64."""
        spread = lambda values: np.repeat(values.astype(np.float64), self.group, 0).T
        return (self.u.astype(np.float64) - spread(self.zeros)) * spread(self.scales)

    def expected(self) -> np.ndarray:
        y = self.product()
        if not self.swiglu:
            return y
        gate, up = np.split(y, 2, axis=1)
        return gate / (1 + np.exp(-gate)) * up

    def product(self) -> np.ndarray:
        y = self.x.astype(np.float64) @ self.weights().T
        return y if self.bias_values is None else y + self.bias_values.astype(np.float64)

    def allowed_error(self, mode: str | None = None) -> np.ndarray:
        """fp32 accumulation of K terms in any order, int8 activations where the mode allows them
        (half a step of absmax / 127 per value), and the rounding of the output."""
        x, w = np.abs(self.x.astype(np.float64)), np.abs(self.weights())
        product = np.abs(self.product())
        error = (self.k + 4) * 2.0**-24 * (x @ w.T + product)
        if (mode or self.mode) != "exact":
            top = x.reshape(self.rows, -1, self.group).max(2)
            error += top / 254 @ w.reshape(self.n, -1, self.group).sum(2).T
        error += half_unit(product + error, self.dtype)
        if not self.swiglu:
            return error
        # Gate and up may be stored in between; silu is nowhere steeper than 1.1. The exponent's
        # rounding counts |gate| times.
        (gate_error, up_error), (gate, up) = np.split(error, 2, axis=1), np.split(product, 2, axis=1)
        expected = np.abs(self.expected())
        error = 1.1 * gate_error * (up + up_error) + (gate + gate_error) * up_error
        error += (8 + gate) * 2.0**-24 * expected
        return error + half_unit(expected + error, self.dtype)
