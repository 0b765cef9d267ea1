# SPDX-License-Identifier: Apache-2.0
"""Random int4 weights in both forms: ours (cpu_v1) and MatMulNBits', from the same codes and
scales."""

import dataclasses

import numpy as np

from graphs import Graph

GROUP = 128


@dataclasses.dataclass
class Int4Matrix:
    """codes uint8 [N, K] of 0..15 around 8, scales fp16 [N, K/G]; unit variance in gives unit
    variance out."""

    n: int
    k: int
    seed: int

    def __post_init__(self) -> None:
        random = np.random.default_rng(self.seed)
        self.codes = (
            np.frombuffer(random.bytes(self.n * self.k), np.uint8).reshape(self.n, self.k) & 15
        )
        spread = random.uniform(0.5, 1.5, (self.n, self.k // GROUP)) / (4.6 * np.sqrt(self.k))
        self.scales = spread.astype(np.float16)

    def dense(self, rows: np.ndarray) -> np.ndarray:
        """Some rows n in fp64."""
        scales = np.repeat(self.scales[rows].astype(np.float64), GROUP, 1)
        return (self.codes[rows].astype(np.float64) - 8) * scales

    def lines(self) -> np.ndarray:
        """Our weight tensor, int8 [N/2, K] in lines of 8 k of 16 columns."""
        n16 = -(-self.n // 16) * 16
        codes = np.full((n16, self.k), 8, np.uint8)
        codes[: self.n] = self.codes
        lines = codes.reshape(n16 // 16, 16, self.k // 8, 2, 4).transpose(0, 2, 3, 1, 4)
        return (lines[:, :, 0] | lines[:, :, 1] << 4).reshape(n16 // 2, self.k).view(np.int8)

    def add_ours(self, graph: Graph, x: str, name: str) -> str:
        n16 = -(-self.n // 16) * 16
        scales = np.zeros((n16, self.k // GROUP), np.float16)
        scales[: self.n] = self.scales
        weight = graph.weight(f"{name}.weight", self.lines())
        scale = graph.weight(f"{name}.scale", scales.reshape(n16 // 16, 16, -1).transpose(0, 2, 1))
        return graph.node(
            "Int4GroupwiseGemmPlugin",
            [x, weight, scale],
            [name],
            "trt",
            gemm_n=self.n,
            gemm_k=self.k,
            group_size=GROUP,
            weight_layout="cpu_v1",
        )

    def add_peer(self, graph: Graph, x: str, name: str) -> str:
        """MatMulNBits with int8 arithmetic; its scales have the activations' type."""
        weight = graph.weight(
            f"{name}.weight",
            (self.codes[:, ::2] | self.codes[:, 1::2] << 4).reshape(
                self.n, self.k // GROUP, GROUP // 2
            ),
        )
        scale = graph.weight(f"{name}.scale", self.scales.astype(np.float32))
        return graph.node(
            "MatMulNBits",
            [x, weight, scale],
            [name],
            "com.microsoft",
            N=self.n,
            K=self.k,
            bits=4,
            block_size=GROUP,
            accuracy_level=4,
        )

    def bytes_read(self) -> float:
        return self.n * self.k / 2 + 2 * self.n * self.k / GROUP
