# SPDX-License-Identifier: Apache-2.0
"""A progress bar on stderr in bytes, or silence: functions report, the caller decides."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)


class Silent:
    """Takes reports and shows nothing."""

    def start(self, total_bytes: int) -> None: ...

    def step(self, what: str, done_bytes: int) -> None: ...


class Bar(Silent):
    def __init__(self, title: str):
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn(f"[bold]{title}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("", total=None)

    def start(self, total_bytes: int) -> None:
        self._progress.update(self._task, total=total_bytes)

    def step(self, what: str, done_bytes: int) -> None:
        self._progress.update(self._task, description=what, advance=done_bytes)

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()
