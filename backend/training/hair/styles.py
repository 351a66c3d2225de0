"""What a haircut is, in numbers; ``cuts.py`` draws them by lot. Lengths in centimetres of a real head."""

from __future__ import annotations

from dataclasses import dataclass, field

from .scalp import Hairline

STYLES = (
    *("bald", "buzz", "crop", "fringe", "parting", "slick back", "bob", "long straight", "long wavy", "curly"),
    *("afro", "coils", "tied back", "receding"),
)
_FEMALE = {"bob": 0.93, "long straight": 0.9, "long wavy": 0.95, "tied back": 0.85, "fringe": 0.7, "curly": 0.6}
_MALE = {"bald": 0.93, "buzz": 0.85, "receding": 0.97, "slick back": 0.75, "crop": 0.8, "parting": 0.75, "coils": 0.7}


@dataclass(frozen=True)
class Style:
    """How hair grows and falls.

    Args:
        name: one of ``STYLES``.
        kind: which haircut of that name, in words.
        comb: "crown", "forward", "back", "part", "tied" or "out", the field that strands follow near the skin.
        top, side, back: lengths in cm.
        fade: degrees of elevation below which the sides are clipped to ``under`` cm; None: not at all.
        layer: gap in cm between the skin and the lowest and the highest strands.
        rise: how steeply strands leave the skin.
        quiff: cm that the hair above the forehead stands higher.
        hold: how strongly they are kept at their layer.
        gravity: pull downwards.
        part: cm to the person's left of the middle where the parting runs.
        cut: world height at which hanging hair ends; None: where its length ends.
        layers: world units by which hair from the top of the head ends higher than hair from below.
        frame: world units by which hair beside the face ends higher than hair at the back.
        fringe: world height at which hair over the forehead ends; None: no fringe.
        curtain: 0 .. 1, how far the fringe opens to both sides; ``sweep``, -1 .. 1: to one.
        tuck: whose ear lies free: 1 the person's left, -1 the right, 2 both, 0 none.
        fall: below the ears, forwards over the shoulders (positive) or behind them.
        face: how wide hair stands apart beside the face; 1 is common.
        curl: radius of curls in cm, with ``turns`` a cm of length.
        wave, frizz: deviation in cm of locks and of single hairs.
        clump: 0 .. 1, how much hairs gather in locks, ``locks`` of them.
        strands, points: how many strands, and points of each.
        ragged: relative deviation of the length of locks; ``wisps``: up to which share single hairs end earlier.
        line: the hairline.
        tail: of tied hair, "tail" or "bun"; ``tie``: degrees of elevation at which it is tied.
        up: degrees of elevation above which hair is tied; the rest hangs.
        loose: 0 .. 1, how much of the hair beside the face is left out of the tie.
    """

    name: str
    kind: str = ""
    comb: str = "crown"
    top: float = 4.0
    side: float = 2.0
    back: float = 2.5
    fade: float | None = None
    under: float = 0.4
    layer: tuple[float, float] = (0.15, 1.2)
    rise: float = 0.6
    quiff: float = 0.0
    hold: float = 0.5
    gravity: float = 0.2
    part: float = 0.0
    cut: float | None = None
    layers: float = 0.0
    frame: float = 0.0
    fringe: float | None = None
    curtain: float = 0.0
    sweep: float = 0.0
    tuck: int = 0
    fall: float = 0.0
    face: float = 1.0
    curl: float = 0.0
    turns: float = 0.0
    wave: float = 0.12
    frizz: float = 0.02
    clump: float = 0.45
    locks: int = 500
    strands: int = 26000
    points: int = 14
    ragged: float = 0.12
    wisps: float = 0.15
    line: Hairline = field(default_factory=Hairline)
    tail: str = "tail"
    tie: float = 5.0
    up: float | None = None
    loose: float = 0.0


def men_among(name: str) -> float:
    """Share of men among those who wear a style, 0 .. 1."""
    return _MALE.get(name, 1 - _FEMALE.get(name, 0.5))
