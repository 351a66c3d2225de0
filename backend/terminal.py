"""What a person sees while a job runs: a bar in a terminal, else a line a stage. Stands below the command line."""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import TextIO

from . import stop
from .progress import Progress


class Bar:
    """A listener that shows progress on stderr, and lets lines through to stdout without breaking the bar.

    Args:
        stream: where the bar goes; a bar is drawn only where it is a terminal.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._stage = ""
        self._bar = None
        if self._stream.isatty():
            from tqdm import tqdm

            wide = _width(self._stream) > 0
            self._bar = tqdm(
                total=100,
                file=self._stream,
                leave=False,
                bar_format="{percentage:3.0f}%|{bar:30}| {desc}",
                dynamic_ncols=wide,
                ncols=None if wide else 80,
            )

    def __call__(self, progress: Progress) -> None:
        """Show one report.

        Raises:
            KeyboardInterrupt: the job was told to stop, and a library has swallowed it.
        """
        stop.check()
        left = "" if progress.seconds_left is None else time_left(progress.seconds_left)
        text = f"{progress.stage}, {left}" if left else progress.stage
        name = progress.stage.partition(",")[0]  # "turntable, 3 of 72" is one stage in 72 steps
        if self._bar is not None:
            self._bar.n = 100 * progress.fraction
            self._bar.set_description_str(text, refresh=True)
        elif name != self._stage:
            print(f"{int(100 * progress.fraction):3d}% {text}", file=self._stream, flush=True)
        self._stage = name

    def say(self, line: str) -> None:
        """Print a line on stdout, above the bar."""
        if self._bar is not None:
            self._bar.clear()
        print(line, flush=True)
        if self._bar is not None:
            self._bar.refresh()

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bar away, so that what follows stands on a clean line."""
        if self._bar is not None:
            self._bar.close()


def _width(stream: TextIO) -> int:
    """Columns of the terminal; 0 where it does not tell (tqdm would then show nothing)."""
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except OSError:
        return 0


def time_left(seconds: float) -> str:
    """Seconds in words; nothing when all is done."""
    if seconds <= 0:
        return ""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s left"
    if seconds < 90 * 60:
        return f"about {round(seconds / 60)} min left"
    return f"about {seconds / 3600:.1f} h left"
