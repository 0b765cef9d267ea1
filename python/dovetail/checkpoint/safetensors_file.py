# SPDX-License-Identifier: Apache-2.0
"""Reads one safetensors file: 8 bytes header length (little endian), a JSON header, the data.

The header is checked completely before any tensor is read, so that a truncated or lying file is
one clear sentence. Tensors are read by rows with plain reads, not through a memory map: the memory
in use is the array that was asked for, and a file that shrinks meanwhile is an error, not a signal.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import data_types
from ..errors import DovetailError

MAX_HEADER_BYTES = 100_000_000  # the limit of the format's own library


@dataclass(frozen=True)
class TensorEntry:
    name: str
    dtype: data_types.DataType
    shape: tuple[int, ...]
    offset: int  # of the first byte in the file
    nbytes: int


class SafetensorsFile:
    def __init__(self, path: Path):
        self.path = Path(path)
        try:
            self._file = open(self.path, "rb", buffering=0)
        except OSError as error:
            raise DovetailError(f"{self.path}: cannot be opened: {error.strerror}") from None
        self.entries = self._parse_header()

    def close(self) -> None:
        self._file.close()

    def read(self, name: str) -> np.ndarray:
        entry = self.entries[name]
        return self._read_bytes(entry, 0, entry.nbytes).reshape(entry.shape)

    def read_rows(self, name: str, start: int, stop: int) -> np.ndarray:
        """Rows [start, stop) of dimension 0."""
        entry = self.entries[name]
        row_bytes = entry.nbytes // entry.shape[0]
        rows = self._read_bytes(entry, start * row_bytes, (stop - start) * row_bytes)
        return rows.reshape(stop - start, *entry.shape[1:])

    def _read_bytes(self, entry: TensorEntry, begin: int, nbytes: int) -> np.ndarray:
        data = np.empty(nbytes, np.uint8)
        view = memoryview(data)
        done = 0
        while done < nbytes:
            got = os.preadv(self._file.fileno(), [view[done:]], entry.offset + begin + done)
            if got == 0:
                raise DovetailError(f"{self.path}: the file ends inside tensor {entry.name}")
            done += got
        return data.view(entry.dtype.numpy)

    def _fail(self, what: str) -> DovetailError:
        return DovetailError(f"{self.path}: not a valid safetensors file: {what}")

    def _parse_header(self) -> dict[str, TensorEntry]:
        size = os.fstat(self._file.fileno()).st_size
        if size < 8:
            raise self._fail(f"{size} bytes, expected at least the 8 of the header length")
        length = int.from_bytes(os.pread(self._file.fileno(), 8, 0), "little")
        if length > MAX_HEADER_BYTES or 8 + length > size:
            raise self._fail(f"its header claims {length} bytes and the file has {size}")
        text = os.pread(self._file.fileno(), length, 8)
        try:
            header = json.loads(text, object_pairs_hook=self._unique_keys)
        except (ValueError, RecursionError):
            raise self._fail("the header is not JSON") from None
        if not isinstance(header, dict):
            raise self._fail("the header is not a JSON object")
        header.pop("__metadata__", None)
        base = 8 + length
        entries = {name: self._entry(name, value, base, size) for name, value in header.items()}
        self._check_no_overlap(entries, base, size)
        return entries

    def _unique_keys(self, pairs: list[tuple[str, object]]) -> dict[str, object]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise self._fail("the header names a tensor twice")
        return result

    def _entry(self, name: str, value: object, base: int, size: int) -> TensorEntry:
        fields = value if isinstance(value, dict) else {}
        dtype, shape, offsets = (fields.get(key) for key in ("dtype", "shape", "data_offsets"))
        if not _whole_numbers(shape) or not _whole_numbers(offsets) or len(offsets) != 2:
            raise self._fail(f"tensor {name} has no valid dtype, shape and data_offsets")
        if not isinstance(dtype, str) or dtype not in data_types.BY_SAFETENSORS:
            raise DovetailError(
                f"{self.path}: tensor {name} has type {dtype}, supported are "
                + ", ".join(data_types.BY_SAFETENSORS)
            )
        element = data_types.BY_SAFETENSORS[dtype]
        begin, end = offsets
        expected = math.prod(shape) * element.size
        if end - begin != expected:
            raise self._fail(
                f"tensor {name} has {end - begin} bytes, its shape {shape} of {dtype} needs "
                f"{expected}"
            )
        if base + end > size:
            raise self._fail(
                f"tensor {name} ends at byte {base + end} of a file of {size}; is it truncated?"
            )
        return TensorEntry(name, element, tuple(shape), base + begin, expected)

    def _check_no_overlap(self, entries: dict[str, TensorEntry], base: int, size: int) -> None:
        position = base
        for entry in sorted(entries.values(), key=lambda e: (e.offset, e.nbytes)):
            if entry.offset != position:
                kind = "overlaps another tensor" if entry.offset < position else "follows a gap"
                raise self._fail(f"tensor {entry.name} {kind}")
            position += entry.nbytes
        if position != size:
            raise self._fail(f"{size - position} bytes behind the last tensor")


def _whole_numbers(value: object) -> bool:
    return isinstance(value, list) and all(type(x) is int and x >= 0 for x in value)
