# SPDX-License-Identifier: Apache-2.0
"""model.onnx.data: every large initializer, 64-byte aligned, written one at a time.

While the graph is built, an initializer is only declared: its place in the file is fixed by type
and shape. Its bytes come later from a producer, so the weights of the model are never in memory
together.

The file is written through a mapping in huge pages. Linux keeps it in its cache as it was written,
so the runtime, which maps it too, reads the weights faster than from pages of 4 KB. ONNX Runtime
maps every initializer alone: large ones begin at a huge page, small ones fill the gaps in front.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from ..data_types import DataType
from ..errors import DovetailError
from ..progress import Silent

ALIGNMENT = 64
HUGE_PAGE = 2 << 20
MOST_RESIDENT_BYTES = 64 << 20  # of the mapping, while it is written
FILE_NAME = "model.onnx.data"

# Yields (initializer name, next elements of it) until all the initializers it is for are complete.
Producer = Callable[[], Iterable[tuple[str, np.ndarray]]]


@dataclass
class _Place:
    offset: int
    nbytes: int
    done: int = 0


class ExternalData:
    def __init__(self) -> None:
        self._places: dict[str, _Place] = {}
        self._producers: list[Producer] = []
        self._end = 0
        self._gaps: list[tuple[int, int]] = []  # begin, end

    @property
    def total_bytes(self) -> int:
        return self._end

    def declare(self, name: str, dtype: DataType, shape: tuple[int, ...]) -> onnx.TensorProto:
        nbytes = math.prod(shape) * dtype.size
        offset = self._place(nbytes)
        self._places[name] = _Place(offset, nbytes)
        proto = onnx.TensorProto(name=name, data_type=dtype.onnx, dims=shape)
        proto.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", FILE_NAME), ("offset", offset), ("length", nbytes)):
            proto.external_data.add(key=key, value=str(value))
        return proto

    def _place(self, nbytes: int) -> int:
        if nbytes < HUGE_PAGE:
            for i, (begin, end) in enumerate(self._gaps):
                if begin + nbytes <= end:
                    self._gaps[i] = (_round_up(begin + nbytes, ALIGNMENT), end)
                    return begin
        offset = _round_up(self._end, HUGE_PAGE if nbytes >= HUGE_PAGE else ALIGNMENT)
        gap = _round_up(self._end, ALIGNMENT)
        if gap < offset:
            self._gaps.append((gap, offset))
        self._end = offset + nbytes
        return offset

    def produce(self, producer: Producer) -> None:
        self._producers.append(producer)

    def write(self, folder: Path, progress: Silent) -> None:
        progress.start(self._end)
        with _mapped_file(folder / FILE_NAME, self._end) as memory:
            resident = 0
            for producer in self._producers:
                for name, values in producer():
                    data = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
                    place = self._places[name]
                    at = place.offset + place.done
                    memory[at : at + data.nbytes] = data.data
                    place.done += data.nbytes
                    resident += data.nbytes
                    if resident > MOST_RESIDENT_BYTES:
                        memory.madvise(mmap.MADV_DONTNEED)  # the file keeps what was written
                        resident = 0
                    progress.step(name, data.nbytes)
        for name, place in self._places.items():
            if place.done != place.nbytes:
                raise DovetailError(
                    f"initializer {name}: {place.done} bytes produced, {place.nbytes} declared"
                )


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


@contextlib.contextmanager
def _mapped_file(path: Path, size: int) -> Iterator[mmap.mmap | memoryview]:
    """A new file of `size` bytes, to be written as memory."""
    with open(path, "wb+") as file:
        if size == 0:  # cannot be mapped
            yield memoryview(b"")
            return
        # The space is taken now: a full disk would end the process at some later write.
        os.posix_fallocate(file.fileno(), 0, size)
        with mmap.mmap(file.fileno(), size) as memory:
            if hasattr(mmap, "MADV_HUGEPAGE"):
                memory.madvise(mmap.MADV_HUGEPAGE)
            yield memory
