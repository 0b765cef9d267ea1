# SPDX-License-Identifier: Apache-2.0
"""Writes safetensors shards, one tensor at a time; the header is known before the data.

Tensors are declared first (name, type, shape), then written in any order of the declaration;
shards are cut at `shard_bytes`. The names follow the Hugging Face convention, with an index when
there are several.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import data_types
from ..errors import DovetailError
from .folder import INDEX, SINGLE

SHARD_BYTES = 5 << 30


@dataclass(frozen=True)
class Declared:
    name: str
    dtype: data_types.DataType
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.size


class SafetensorsWriter:
    """One file. write() appends to a declared tensor, whole or by rows."""

    def __init__(self, path: Path, tensors: list[Declared]):
        header: dict[str, object] = {"__metadata__": {"format": "pt"}}
        offset = 0
        self._next: dict[str, int] = {}
        self._end: dict[str, int] = {}
        for tensor in tensors:
            end = offset + tensor.nbytes
            header[tensor.name] = {
                "dtype": tensor.dtype.safetensors,
                "shape": list(tensor.shape),
                "data_offsets": [offset, end],
            }
            self._next[tensor.name], self._end[tensor.name] = offset, end
            offset = end
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        self._base = 8 + len(text)
        self._types = {tensor.name: tensor.dtype for tensor in tensors}
        self._file = open(path, "wb")
        self._file.write(len(text).to_bytes(8, "little") + text)

    def write(self, name: str, values: np.ndarray) -> None:
        data = np.ascontiguousarray(values, self._types[name].numpy)
        if self._next[name] + data.nbytes > self._end[name]:
            raise DovetailError(f"tensor {name}: more rows written than declared")
        self._file.seek(self._base + self._next[name])
        self._file.write(data.reshape(-1).view(np.uint8))
        self._next[name] += data.nbytes

    def close(self) -> None:
        """Ends a complete file."""
        for name, position in self._next.items():
            if position != self._end[name]:
                raise DovetailError(f"tensor {name}: {self._end[name] - position} bytes missing")
        self._file.close()

    def abandon(self) -> None:
        try:
            self._file.close()
        except OSError:
            pass  # the buffer could not be flushed; the file is being removed anyway


class CheckpointWriter:
    def __init__(self, folder: Path, tensors: list[Declared], shard_bytes: int = SHARD_BYTES):
        shards: list[list[Declared]] = [[]]
        size = 0
        for tensor in tensors:
            if shards[-1] and size + tensor.nbytes > shard_bytes:
                shards.append([])
                size = 0
            shards[-1].append(tensor)
            size += tensor.nbytes
        count = len(shards)
        names = [f"model-{i + 1:05}-of-{count:05}.safetensors" for i in range(count)]
        if count == 1:
            names = [SINGLE]
        self._files: list[SafetensorsWriter] = []
        self._home: dict[str, SafetensorsWriter] = {}
        weight_map: dict[str, str] = {}
        for name, shard in zip(names, shards, strict=True):
            file = SafetensorsWriter(folder / name, shard)
            self._files.append(file)
            for tensor in shard:
                self._home[tensor.name] = file
                weight_map[tensor.name] = name
        if count > 1:
            total = sum(tensor.nbytes for tensor in tensors)
            index = {"metadata": {"total_size": total}, "weight_map": weight_map}
            (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n")

    def write(self, name: str, values: np.ndarray) -> None:
        self._home[name].write(name, values)

    def __enter__(self) -> CheckpointWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            for file in self._files:
                file.close()
        else:
            for file in self._files:
                file.abandon()
