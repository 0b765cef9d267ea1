# SPDX-License-Identifier: Apache-2.0
"""int4_gemm beside torch's fp16 product (cuBLAS, four times the weight bytes) and torch's own int4
product (_weight_int4pack_mm, bf16 only), all from the same codes and scales; then what a smaller
group, zero points, bf16 and the layout edgellm_v1 cost."""

from collections.abc import Callable, Iterator

import torch

import gpu_operators as operators
import gpu_timing
from gpu_timing import Calls

OURS, CUBLAS, TINYGEMM = "dovetail", "cuBLAS fp16", "_weight_int4pack_mm bf16"
SHAPES = [(4096, 4096), (4096, 14336), (14336, 4096), (2048, 8192), (896, 4864)]  # K, N
ROWS = [1, 2, 4, 8, 16, 32, 64, 128, 512, 2048]
# Beside group 128, symmetric, fp16, cuda_v1; at 4096 x 14336.
VARIANTS = {
    "group 64": ("cuda_v1", 0, {"group": 64}),
    "group 32": ("cuda_v1", 0, {"group": 32}),
    "zero points": ("cuda_v1", 0, {"zero_points": True}),
    "bf16": ("cuda_v1", 0, {"dtype": torch.bfloat16}),
    "edgellm_v1": ("edgellm_v1", 0, {}),
    "sm_80 path": ("cuda_v1", 80, {}),
}
VARIANT_ROWS = [1, 16, 64, 2048]
# Rounding of inputs, weights and results: 3e-4 seen in fp16, 2e-3 in bf16.
ERROR = {torch.float16: 1e-3, torch.bfloat16: 8e-3}


class Matrix:
    """codes uint8 [N, K], scales [N, K/G], zero points [N, K/G] or none; dense() in fp64."""

    def __init__(self, k: int, n: int, group=128, zero_points=False, dtype=torch.float16):
        self.k, self.n, self.group, self.dtype = k, n, group, dtype
        random = torch.Generator("cuda").manual_seed(k + n)
        self.codes = torch.randint(
            0, 16, (n, k), dtype=torch.uint8, device="cuda", generator=random
        )
        spread = torch.rand((n, k // group), device="cuda", generator=random) + 0.5
        self.scales = (spread / (4.6 * k**0.5)).to(dtype)
        self.zero_points = None
        if zero_points:
            self.zero_points = torch.randint(
                5, 11, (n, k // group), dtype=torch.uint8, device="cuda", generator=random
            )

    def dense(self) -> torch.Tensor:
        zeros = 8 if self.zero_points is None else self._spread(self.zero_points)
        return (self.codes.double() - zeros) * self._spread(self.scales)

    def _spread(self, values: torch.Tensor) -> torch.Tensor:
        return values.double().repeat_interleave(self.group, 1)

    def packed(self, layout: str) -> list[dict[str, torch.Tensor]]:
        """The layout's buffers, in as many copies as keep every call's weights cold."""
        one = operators.pack(
            layout, self.group, self.codes, self.scales, self.dtype, self.zero_points
        )
        count = gpu_timing.copies(one["weights"].numel())
        return [{name: tensor.clone() for name, tensor in one.items()} for _ in range(count)]

    def ours(self, x: torch.Tensor, layout: str, packed: list[dict], capability=0) -> tuple:
        """One call for each copy, the output they share, and the plan in words."""
        plan = operators.int4_gemm(
            len(x),
            self.n,
            self.k,
            self.group,
            layout,
            self.dtype,
            self.dtype,
            self.zero_points is not None,
            capability,
        )
        y = torch.empty((len(x), self.n), dtype=self.dtype, device="cuda")
        calls = [plan.call(activations=x, output=y, **buffers) for buffers in packed]
        return calls, y, plan.description

    def bytes_read(self, m: int) -> float:
        per_group = 2 + (self.zero_points is not None)
        weights = self.n * self.k / 2 + per_group * self.n * self.k / self.group
        return weights + 2 * m * (self.n + self.k)


def _activations(m: int, k: int, dtype: torch.dtype) -> torch.Tensor:
    random = torch.Generator("cuda").manual_seed(m)
    return torch.randn((m, k), device="cuda", generator=random).to(dtype)


def _checked(name: str, calls: Calls, y: torch.Tensor, expected: torch.Tensor) -> float:
    errors = []
    for call in (calls[0], calls[-1]):
        y.fill_(float("nan"))
        call()
        errors.append(gpu_timing.check(name, y, expected, ERROR[y.dtype]))
    return max(errors)


def _writing(y: torch.Tensor, product: Callable[[], torch.Tensor]) -> Callable[[], None]:
    return lambda: y.copy_(product())


def _peers(matrix: Matrix, dense: torch.Tensor) -> dict[str, tuple[torch.dtype, list]]:
    """By name: type, and one function (x) -> y for each copy of its weights."""
    weights = dense.half()
    copies = [weights.clone() for _ in range(gpu_timing.copies(2 * weights.numel()))]
    pairs = matrix.codes[:, ::2] << 4 | matrix.codes[:, 1::2]
    packed = torch.ops.aten._convert_weight_to_int4pack(pairs, 8)
    scales = matrix.scales.T.to(torch.bfloat16)
    scales = torch.stack([scales, torch.zeros_like(scales)], -1).contiguous()
    tiny = [packed.clone() for _ in range(gpu_timing.copies(matrix.codes.numel() / 2))]
    return {
        CUBLAS: (torch.float16, [lambda x, w=w: torch.matmul(x, w.T) for w in copies]),
        TINYGEMM: (
            torch.bfloat16,
            [
                lambda x, w=w: torch.ops.aten._weight_int4pack_mm(x, w, matrix.group, scales)
                for w in tiny
            ],
        ),
    }


def _row(matrix: Matrix, m: int, name: str, summary: dict, **more) -> dict:
    return {
        "shape": f"M {m}, {matrix.k} x {matrix.n}{name}",
        "rows": m,
        "matrix": f"{matrix.k} x {matrix.n}{name}",
        "ours": OURS,
        "bytes": matrix.bytes_read(m),
        "flops": 2 * m * matrix.n * matrix.k,
        **more,
    } | summary


def _beside_peers(matrix: Matrix, dense: torch.Tensor, packed, peers: dict, m: int, quick) -> dict:
    x = _activations(m, matrix.k, torch.float16)
    expected = x.double() @ dense.T
    calls, y, plan = matrix.ours(x, "cuda_v1", packed)
    sides, errors, absent = {OURS: calls}, {OURS: _checked(OURS, calls, y, expected)}, {}
    for name, (dtype, functions) in peers.items():
        given = x.to(dtype)
        wanted = expected if dtype == x.dtype else given.double() @ dense.T
        y = torch.empty((m, matrix.n), dtype=dtype, device="cuda")
        side = [lambda f=f, given=given: f(given) for f in functions]
        try:
            errors[name] = _checked(name, [_writing(y, side[i]) for i in (0, -1)], y, wanted)
            sides[name] = side
        except (RuntimeError, gpu_timing.Wrong) as reason:
            absent[name] = str(reason).splitlines()[0]
    summary = gpu_timing.measure(sides, OURS, quick)
    return _row(
        matrix,
        m,
        "",
        summary,
        plan=plan,
        peers=list(sides)[1:],
        error=errors,
        absent=absent,
        peak="fp16",
    )


def _shape(k: int, n: int, rows: list[int], quick: bool) -> Iterator[dict]:
    matrix = Matrix(k, n)
    dense = matrix.dense()
    packed, peers = matrix.packed("cuda_v1"), _peers(matrix, dense)
    first_us = None
    for m in rows:
        row = gpu_timing.row_or_reason(
            lambda: _beside_peers(matrix, dense, packed, peers, m, quick)
        )
        if "wrong" not in row:
            us = row["median_us"][OURS]
            first_us = first_us or us
            row["note"] = f"x{us / first_us:.2f} of the first row"
        yield row


def _variant(name: str, ours: tuple, plain: tuple, m: int, quick: bool) -> dict:
    """`ours` and `plain` are (matrix, layout, packed, capability)."""
    matrix, base = ours[0], plain[0]
    x = _activations(m, matrix.k, matrix.dtype)
    calls, y, plan = matrix.ours(x, *ours[1:])
    errors = {OURS: _checked(OURS, calls, y, x.double() @ matrix.dense().T)}
    sides = {OURS: calls, "plain": base.ours(x.half(), *plain[1:])[0]}
    summary = gpu_timing.measure(sides, OURS, quick)
    more_time = 1 / summary["ratio"]["plain"]
    more_bytes = matrix.bytes_read(m) / base.bytes_read(m)
    return _row(
        matrix,
        m,
        f", {name}",
        summary,
        plan=plan,
        peers=[],
        error=errors,
        peak="bf16" if matrix.dtype == torch.bfloat16 else "fp16",
        note=f"time x{more_time:.2f} of plain, bytes x{more_bytes:.2f}",
    )


def measure(quick: bool, wanted: Callable[[str], bool]) -> Iterator[dict]:
    for k, n in SHAPES[1:2] if quick else SHAPES:
        if wanted(f"{k} x {n}"):
            yield from _shape(k, n, [1, 16, 64, 2048] if quick else ROWS, quick)
            torch.cuda.empty_cache()
    if quick or not wanted("variants"):
        return
    plain = Matrix(*SHAPES[1])
    plain = (plain, "cuda_v1", plain.packed("cuda_v1"), 0)
    for name, (layout, capability, options) in VARIANTS.items():
        matrix = Matrix(*SHAPES[1], **options)
        ours = (matrix, layout, matrix.packed(layout), capability)
        for m in VARIANT_ROWS:
            yield gpu_timing.row_or_reason(lambda: _variant(name, ours, plain, m, quick))
