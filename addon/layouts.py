"""What Blender's layouts lack: text of several lines, and a bar with the time that is left. Imports no bpy."""

from __future__ import annotations

import textwrap
from typing import Any

from . import strings

CHARACTER = 7.0  # pixels of a letter of Blender's interface, about, at its ordinary size


def paragraph(layout: Any, text: str, width: float, *, icon: str = "NONE", scale: float = 1.0) -> None:
    """Show a text over as many lines as it takes; the icon stands before the first.

    Args:
        layout: of Blender.
        text: without line breaks of its own.
        width: of the region in pixels.
        icon: its name.
        scale: of the interface.
    """
    letters = max(20, int(width / (CHARACTER * max(scale, 0.1))) - 7)
    column = layout.column(align=True)
    column.scale_y = 0.8
    for number, line in enumerate(textwrap.wrap(text, letters, break_on_hyphens=False)):
        blank = "BLANK1" if icon != "NONE" else "NONE"
        column.label(text=line, icon=icon if number == 0 else blank)


def progress_bar(layout: Any, stage: str, fraction: float, seconds_left: float | None) -> None:
    """A bar with the stage in words and the time that is left."""
    left = "" if seconds_left is None else f", {time_in_words(seconds_left)}"
    layout.progress(factor=min(1.0, max(0.0, fraction)), type="BAR", text=f"{stage[:1].upper()}{stage[1:]}{left}")


def time_in_words(seconds: float) -> str:
    """How long something still takes, roughly."""
    if seconds < 8:
        return strings.SECONDS_FEW
    if seconds < 90:
        return strings.SECONDS_LEFT.format(seconds=5 * max(2, round(seconds / 5)))
    return strings.MINUTES_LEFT.format(minutes=round(seconds / 60))
