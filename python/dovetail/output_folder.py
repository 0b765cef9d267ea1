# SPDX-License-Identifier: Apache-2.0
"""A folder that appears complete or not at all: written beside it, then renamed."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import DovetailError

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def output_folder(path: Path | str, source: Path, replace: bool = False) -> Iterator[Path]:
    """Yields an empty folder to fill; on success it becomes `path`, on any error it is removed.

    An existing folder that is not empty is an error, or, with `replace`, is removed at the very
    end; but only if it looks like what we write, and never if it holds the source.
    """
    final = Path(path).absolute()
    if final.exists() and not final.is_dir():
        raise DovetailError(f"{path}: is a file, expected a folder name")
    if final.is_dir() and any(final.iterdir()):
        if not replace:
            raise DovetailError(f"{path}: already exists; choose another name or pass --force")
        if source.resolve().is_relative_to(final.resolve()):
            raise DovetailError(f"{path}: holds the source {source}, so it cannot be replaced")
        if not (final / "config.json").is_file():
            raise DovetailError(f"{path}: neither a checkpoint nor a package; --force spares it")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{final.name}.partial-", dir=final.parent))
    except OSError as error:
        raise DovetailError(f"{path}: cannot be written: {error.strerror}") from None
    try:
        yield partial
        _make_readable(partial)
        if final.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{final.name}.old-", dir=final.parent))
            os.rename(final, old / final.name)
            os.rename(partial, final)
            shutil.rmtree(old)
        else:
            os.rename(partial, final)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        if error.errno in _NO_SPACE:
            raise DovetailError(
                f"{path}: the disk is full or the file size limit is reached "
                f"({error.strerror}); nothing was written under this name"
            ) from None
        raise DovetailError(f"{path}: writing failed: {error.strerror or error}") from None
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _make_readable(folder: Path) -> None:
    """mkdtemp makes 0700; the result gets the usual mode of a new folder."""
    mask = os.umask(0)
    os.umask(mask)
    folder.chmod(0o777 & ~mask)


# Files that travel with a checkpoint unchanged; those that are absent are skipped.
COMPANIONS = (
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
)


def copy_files(source: Path, target: Path, names: tuple[str, ...]) -> list[str]:
    """Copies the files that exist; returns their names."""
    found = [name for name in names if (source / name).is_file()]
    for name in found:
        shutil.copyfile(source / name, target / name)
    return found
