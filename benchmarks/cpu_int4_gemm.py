# SPDX-License-Identifier: Apache-2.0
"""Int4GroupwiseGemmPlugin beside MatMulNBits (accuracy level 4): many layers of one shape, fp32
activations. Rows that memory limits run beside a plain read of the same weights too."""

from collections.abc import Iterator

import numpy as np

import timing
from graphs import Graph, Session, memory_reader
from weights import Int4Matrix

OURS, PEER = "dovetail", "MatMulNBits"
SHAPES = [(2048, 2048), (2048, 8192), (8192, 2048), (4096, 4096), (4096, 14336)]  # K, N
ROWS = [1, 4, 8, 16, 64, 512]
COLD_BYTES = 256e6  # of weights, for the memory-bound rows
# Half a step of absmax / 127 per activation, uniform weights: 0.4 to 0.7 %.
INT8_ERROR = 0.01


def _check(name: str, y: np.ndarray, x: np.ndarray, matrix: Int4Matrix) -> float:
    columns = np.random.default_rng(0).choice(matrix.n, 64, replace=False)
    expected = x.astype(np.float64) @ matrix.dense(columns).T
    error = np.linalg.norm(y[:, columns] - expected) / np.linalg.norm(expected)
    if not error < INT8_ERROR:
        raise SystemExit(
            f"{name}: relative error {error:.3g} at M {len(x)}, expected below {INT8_ERROR}"
        )
    return float(error)


def _session(matrices: list[Int4Matrix], threads: int, ours: bool) -> Session:
    graph = Graph()
    x = graph.input("x", np.float32, ["M", matrices[0].k])
    for i, matrix in enumerate(matrices):
        name = (matrix.add_ours if ours else matrix.add_peer)(graph, x, f"y{i}")
        graph.output(name, np.float32)
    return graph.session(threads)


def measure(threads: int, quick: bool) -> Iterator[dict]:
    for k, n in SHAPES[3:4] if quick else SHAPES:
        layers = max(3, round(COLD_BYTES / (n * k / 2)))
        matrices = [Int4Matrix(n, k, seed) for seed in range(layers)]
        few = matrices[:3]
        sessions = {
            (name, count): _session(some, threads, name == OURS)
            for name in (OURS, PEER)
            for count, some in ((layers, matrices), (3, few))
        }
        for rows in [1, 16, 512] if quick else ROWS:
            count = layers if rows <= 16 else 3
            x = np.random.default_rng(rows).standard_normal((rows, k)).astype(np.float32)
            errors, runs = {}, {}
            for name in (OURS, PEER):
                session = sessions[name, count]
                outputs = {f"y{i}": np.zeros((rows, n), np.float32) for i in range(count)}
                runs[name] = session.bind({"x": x}, outputs)
                runs[name]()
                errors[name] = max(
                    _check(name, outputs[f"y{i}"], x, matrices[i]) for i in (0, count - 1)
                )
            bytes_read = matrices[0].bytes_read() + 4 * rows * (n + k)
            read = {}
            if rows == 1:
                reader, reader_bytes = memory_reader(
                    {f"w{i}": matrix.lines() for i, matrix in enumerate(matrices)}, threads
                )
                runs[timing.READ] = reader.bind(
                    {"x": np.zeros(1, np.float32)}, {"checksum": np.zeros(1, np.int64)}
                )
            times = timing.alternate(runs, 0.5 if quick else 1.5)
            if rows == 1:
                read = timing.read_beside(times, OURS, bytes_read * count, reader_bytes)
            yield {
                "shape": f"M {rows}, K {k}, N {n}",
                "peers": [PEER],
                "ours": OURS,
                "error": errors,
                "bytes": bytes_read,
                "flops": 2 * rows * n * k,
                "bound": "int8",
            } | read | timing.summary(times, OURS, count)
