# SPDX-License-Identifier: Apache-2.0
"""GPU memory and a stream through the CUDA runtime that TensorRT itself uses."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

HOST_TO_DEVICE, DEVICE_TO_HOST = 1, 2
NON_BLOCKING = 1


class CudaError(Exception):
    """A sentence for the user."""


def _open() -> ctypes.CDLL:
    named = os.environ.get("DOVETAIL_CUDART_LIBRARY")
    if named:
        return ctypes.CDLL(named)
    candidates = ["libcudart.so.13", "libcudart.so.12", "libcudart.so"]
    for folder in map(Path, sys.path):
        candidates += map(str, sorted(folder.glob("nvidia/*/lib/libcudart.so.*"), reverse=True))
    for candidate in candidates:
        try:
            return ctypes.CDLL(candidate)
        except OSError:
            continue
    raise CudaError(
        "the CUDA runtime (libcudart.so) was not found: put its folder on LD_LIBRARY_PATH"
    )


class Cuda:
    def __init__(self) -> None:
        self._library = _open()
        self._library.cudaGetErrorString.restype = ctypes.c_char_p
        stream = ctypes.c_void_p()
        self._call("cudaStreamCreateWithFlags", ctypes.byref(stream), NON_BLOCKING)
        self.stream = stream.value or 0

    def _call(self, name: str, *arguments: object) -> None:
        code = getattr(self._library, name)(*arguments)
        if code != 0:
            reason = self._library.cudaGetErrorString(code).decode()
            raise CudaError(f"cuda: {name} failed: {reason}")

    def allocate(self, nbytes: int) -> int:
        pointer = ctypes.c_void_p()
        self._call("cudaMalloc", ctypes.byref(pointer), ctypes.c_size_t(max(nbytes, 1)))
        return pointer.value or 0

    def free(self, pointer: int) -> None:
        self._call("cudaFree", ctypes.c_void_p(pointer))

    def copy_in(self, pointer: int, data: bytes) -> None:
        self._copy(pointer, data, len(data), HOST_TO_DEVICE)

    def copy_out(self, pointer: int, nbytes: int) -> bytes:
        data = ctypes.create_string_buffer(nbytes)
        self._copy(data, pointer, nbytes, DEVICE_TO_HOST)
        self.wait()
        return data.raw

    def _copy(self, target: object, source: object, nbytes: int, kind: int) -> None:
        def pointer(place: object) -> object:
            return ctypes.c_void_p(place) if isinstance(place, int) else place

        self._call(
            "cudaMemcpyAsync",
            pointer(target),
            pointer(source),
            ctypes.c_size_t(nbytes),
            kind,
            ctypes.c_void_p(self.stream),
        )

    def wait(self) -> None:
        self._call("cudaStreamSynchronize", ctypes.c_void_p(self.stream))
