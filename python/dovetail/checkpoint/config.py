# SPDX-License-Identifier: Apache-2.0
"""config.json with typed access: a missing key or a wrong type is a sentence that names the key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import DovetailError

_MISSING = object()


def load_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DovetailError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise DovetailError(f"{path}: not valid JSON") from None
    if not isinstance(value, dict):
        raise DovetailError(f"{path}: not a JSON object")
    return value


class Config:
    """One JSON object. A default of None means that null and absence are both accepted."""

    def __init__(self, values: dict[str, Any], where: str):
        self.values = values
        self.where = where

    @classmethod
    def load(cls, path: Path) -> Config:
        return cls(load_json(path), str(path))

    def integer(self, key: str, default: Any = _MISSING, minimum: int = 1) -> Any:
        value = self._get(key, default)
        if value is default:
            return value
        if type(value) is not int or value < minimum:
            raise self._wrong(key, value, f"an integer of at least {minimum}")
        return value

    def number(self, key: str, default: Any = _MISSING) -> Any:
        value = self._get(key, default)
        if value is default:
            return value
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise self._wrong(key, value, "a number above 0")
        return float(value)

    def flag(self, key: str, default: Any = _MISSING) -> Any:
        value = self._get(key, default)
        if value is not default and not isinstance(value, bool):
            raise self._wrong(key, value, "true or false")
        return value

    def text(self, key: str, default: Any = _MISSING) -> Any:
        value = self._get(key, default)
        if value is not default and not isinstance(value, str):
            raise self._wrong(key, value, "a string")
        return value

    def section(self, key: str) -> Config | None:
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self._wrong(key, value, "an object")
        return Config(value, f"{self.where}: {key}")

    def strings(self, key: str) -> list[str]:
        value = self.values.get(key)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(x, str) for x in value):
            raise self._wrong(key, value, "a list of strings")
        return value

    def token_ids(self, key: str) -> list[int]:
        """A token id, a list of them, or nothing."""
        value = self.values.get(key)
        ids = value if isinstance(value, list) else [] if value is None else [value]
        if not all(type(x) is int and x >= 0 for x in ids):
            raise self._wrong(key, value, "a token id or a list of token ids")
        return ids

    def _get(self, key: str, default: Any) -> Any:
        value = self.values.get(key)
        if value is not None:
            return value
        if default is _MISSING:
            raise DovetailError(f"{self.where}: {key} is missing")
        return default

    def _wrong(self, key: str, value: Any, expected: str) -> DovetailError:
        return DovetailError(f"{self.where}: {key} is {json.dumps(value)}, expected {expected}")
