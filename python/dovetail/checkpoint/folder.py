# SPDX-License-Identifier: Apache-2.0
"""A Hugging Face checkpoint folder: config.json and safetensors, single or sharded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .. import data_types
from ..errors import DovetailError
from .config import Config, load_json
from .safetensors_file import SafetensorsFile, TensorEntry

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"


class Checkpoint:
    def __init__(self, path: Path | str):
        self.path = Path(path)
        if not self.path.is_dir():
            raise DovetailError(f"{self.path}: no such folder")
        if not (self.path / "config.json").is_file():
            raise DovetailError(f"{self.path}: no config.json; is this a Hugging Face checkpoint?")
        self.config = Config.load(self.path / "config.json")
        self._files = {name: SafetensorsFile(self.path / name) for name in self._file_names()}
        self._home: dict[str, SafetensorsFile] = {}
        for file in self._files.values():
            for name in file.entries:
                if name in self._home:
                    raise DovetailError(
                        f"{self.path}: tensor {name} is in {self._home[name].path.name} and in "
                        f"{file.path.name}"
                    )
                self._home[name] = file
        self._check_index()

    def __contains__(self, name: str) -> bool:
        return name in self._home

    def __iter__(self) -> Iterator[str]:
        return iter(self._home)

    def entry(self, name: str) -> TensorEntry:
        if name not in self._home:
            raise DovetailError(f"{self.path}: tensor {name} is missing")
        return self._home[name].entries[name]

    def read(self, name: str) -> np.ndarray:
        self.entry(name)
        return self._home[name].read(name)

    def read_rows(self, name: str, start: int, stop: int) -> np.ndarray:
        self.entry(name)
        return self._home[name].read_rows(name, start, stop)

    def expect(
        self, name: str, shape: tuple[int, ...], dtypes: tuple[data_types.DataType, ...]
    ) -> TensorEntry:
        """The entry of a tensor that must have this shape and one of these types."""
        entry = self.entry(name)
        if entry.shape != tuple(shape):
            raise DovetailError(
                f"{self.path}: tensor {name} is {list(entry.shape)}, expected {list(shape)}"
            )
        if entry.dtype not in dtypes:
            raise DovetailError(
                f"{self.path}: tensor {name} is {entry.dtype.name}, expected "
                + " or ".join(t.name for t in dtypes)
            )
        return entry

    def bytes_in_files(self) -> int:
        return sum(file.path.stat().st_size for file in self._files.values())

    def file_names(self) -> list[str]:
        return list(self._files)

    def _file_names(self) -> list[str]:
        if (self.path / INDEX).is_file():
            names = sorted({str(name) for name in self._weight_map().values()})
            for name in names:
                if not (self.path / name).is_file() or Path(name).name != name:
                    raise DovetailError(f"{self.path}: shard {name}, named by {INDEX}, is missing")
            return names
        if (self.path / SINGLE).is_file():
            return [SINGLE]
        other = sorted(p.name for p in self.path.glob("*.bin"))
        found = f"; {other[0]} is another format, convert it to safetensors first" if other else ""
        raise DovetailError(f"{self.path}: neither {SINGLE} nor {INDEX}{found}")

    def _weight_map(self) -> dict[str, str]:
        weight_map = load_json(self.path / INDEX).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise DovetailError(f"{self.path / INDEX}: weight_map is missing")
        return weight_map

    def _check_index(self) -> None:
        if (self.path / INDEX).is_file():
            for tensor, shard in self._weight_map().items():
                if tensor not in self._files[str(shard)].entries:
                    raise DovetailError(
                        f"{self.path}: tensor {tensor} is not in {shard}, where {INDEX} places it"
                    )
