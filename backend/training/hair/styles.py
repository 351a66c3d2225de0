"""The hair styles: what each is, in numbers, and one drawn by lot. Lengths in centimetres of a real head."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

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
        comb: "crown", "forward", "back", "part", "tied" or "out", the field that strands follow near the skin.
        top, side, back: lengths in cm.
        layer: gap in cm between the skin and the lowest and the highest strands.
        rise: how steeply strands leave the skin.
        hold: how strongly they are kept at their layer.
        gravity: pull downwards.
        part: cm to the person's left of the middle where the parting runs.
        cut: world height at which hanging hair is cut straight; None: not at all.
        fringe: world height at which hair over the forehead is cut; None: no fringe.
        curl: radius of curls in cm, with ``turns`` a cm of length.
        wave, frizz: deviation in cm of locks and of single hairs.
        clump: 0 .. 1, how much hairs gather in locks, ``locks`` of them.
        strands, points: how many strands, and points of each.
        ragged: relative deviation of the length.
        line: the hairline.
        tail: of tied hair, "tail" or "bun".
    """

    name: str
    comb: str = "crown"
    top: float = 4.0
    side: float = 2.0
    back: float = 2.5
    layer: tuple[float, float] = (0.15, 1.2)
    rise: float = 0.6
    hold: float = 0.5
    gravity: float = 0.2
    part: float = 0.0
    cut: float | None = None
    fringe: float | None = None
    curl: float = 0.0
    turns: float = 0.0
    wave: float = 0.12
    frizz: float = 0.02
    clump: float = 0.45
    locks: int = 500
    strands: int = 26000
    points: int = 14
    ragged: float = 0.12
    line: Hairline = field(default_factory=Hairline)
    tail: str = "tail"


def men_among(name: str) -> float:
    """Share of men among those who wear a style, 0 .. 1."""
    return _MALE.get(name, 1 - _FEMALE.get(name, 0.5))


def draw_style(name: str, male: float, years: float, random: np.random.Generator) -> Style:
    """One haircut of the style ``name``. ValueError for a style that does not exist."""
    if name not in STYLES:
        raise ValueError(f"no hair style {name!r}; there are {', '.join(STYLES)}")
    u = random.uniform
    aged = float(np.clip((years - 25) / 50, 0, 1)) * male
    line = Hairline(
        front=float(random.normal(0, 1.2) + 3 * aged * random.random()),
        temple=float(np.clip(random.normal(1.0, 2.0) + 12 * aged * random.random(), -3, 16)),
        burn=float(u(-4, 4) + 6 * (1 - male)),
        nape=float(random.normal(0, 2.0)),
        peak=float(max(0.0, random.normal(0, 1.6))),
        crown=float(max(0.0, random.normal(0, 0.3)) * aged),
    )
    side = float(random.choice([-1.0, 1.0]))
    if name == "bald":
        return Style(name, top=0.1, side=0.1, back=0.1, strands=0, line=line)
    if name == "buzz":
        top = u(0.35, 1.0)
        return Style(
            name, "crown", top, u(0.25, 0.7) * top, u(0.35, 0.8) * top, layer=(0.05, 0.2), rise=1.6, hold=0.0,
            gravity=0.0, wave=0.01, frizz=0.01, clump=0.05, strands=30000, points=4, line=line,
        )  # fmt: skip
    if name in ("crop", "receding"):
        if name == "receding":
            bare = float(u(0.0, 1.0))
            line = Hairline(
                front=4 + 4 * bare, temple=10 + 8 * bare, burn=line.burn, nape=line.nape, peak=float(u(0, 4)),
                crown=float(u(0.4, 0.97)), horseshoe=float(random.random() < 0.4),
            )  # fmt: skip
        return Style(
            name, str(random.choice(["forward", "crown"])), u(2.5, 5.0), u(0.8, 2.0), u(1.0, 2.4),
            layer=(0.15, u(0.6, 1.6)), rise=u(0.5, 1.1), hold=0.5, gravity=0.12, wave=u(0.06, 0.2), frizz=0.03,
            clump=u(0.3, 0.6), locks=900, strands=int(u(24000, 30000)), points=9, ragged=0.2, line=line,
        )  # fmt: skip
    if name == "fringe":
        return Style(
            name, "crown", u(9, 13), u(6, 9), u(5, 8), layer=(0.2, u(0.9, 1.6)), rise=0.5, hold=0.9, gravity=0.55,
            fringe=u(0.085, 0.150), cut=u(-0.10, -0.03), wave=u(0.1, 0.3), clump=u(0.3, 0.55), points=16, line=line,
        )  # fmt: skip
    if name == "parting":
        return Style(
            name, "part", u(8, 11), u(2.0, 4.0), u(2.5, 4.5), layer=(0.2, u(1.4, 2.4)), rise=u(0.7, 1.1), hold=0.55,
            gravity=0.25, part=side * u(2.5, 4.0), wave=u(0.1, 0.3), clump=u(0.35, 0.6), points=16, line=line,
        )  # fmt: skip
    if name == "slick back":
        return Style(
            name, "back", u(10, 15), u(5, 8), u(4, 7), layer=(0.12, u(0.7, 1.8)), rise=u(0.4, 0.9), hold=0.9,
            gravity=0.15, wave=u(0.05, 0.15), frizz=0.01, clump=u(0.4, 0.6), points=18, ragged=0.08, line=line,
        )  # fmt: skip
    fringe = u(0.075, 0.12) if random.random() < 0.4 else None
    part = side * u(0.0, 4.0) * (random.random() < 0.7)
    if name == "bob":
        return Style(
            name, "part", 34, 30, 26, layer=(0.2, u(1.0, 1.8)), rise=u(0.3, 0.6), hold=0.9, gravity=0.9, part=part,
            cut=u(-0.26, -0.13), fringe=fringe, wave=u(0.1, 0.35), clump=u(0.25, 0.5), points=24, line=line,
        )  # fmt: skip
    if name == "long straight":
        return Style(
            name, "part", u(42, 52), u(36, 46), u(34, 44), layer=(0.2, u(0.8, 1.5)), rise=u(0.25, 0.5), hold=1.0,
            gravity=1.0, part=part, fringe=fringe, wave=u(0.15, 0.45), clump=u(0.3, 0.5), locks=700, points=30,
            ragged=0.08, line=line,
        )  # fmt: skip
    if name == "long wavy":
        return Style(
            name, "part", u(36, 48), u(32, 42), u(30, 40), layer=(0.3, u(1.2, 2.2)), rise=u(0.4, 0.7), hold=0.8,
            gravity=0.9, part=part, fringe=fringe if random.random() < 0.5 else None, curl=u(0.6, 1.2),
            turns=u(0.09, 0.16), wave=0.3, frizz=0.04, clump=u(0.5, 0.7), locks=420, points=44, ragged=0.12, line=line,
        )  # fmt: skip
    if name == "curly":
        long = u(10, 24)
        return Style(
            name, "part", long, long * u(0.8, 1.0), long * u(0.7, 1.0), layer=(0.5, u(2.5, 4.5)), rise=u(0.9, 1.3),
            hold=0.3, gravity=0.55, part=part, curl=u(0.7, 1.1), turns=u(0.35, 0.6), wave=0.35, frizz=0.08,
            clump=u(0.65, 0.8), locks=650, strands=22000, points=56, ragged=0.18, line=line,
        )  # fmt: skip
    if name == "afro":
        long = u(5, 12)
        return Style(
            name, "out", long, long * u(0.65, 1.0), long * u(0.75, 1.0), layer=(0.5, long), rise=3.0, hold=0.0,
            gravity=0.04, curl=u(0.28, 0.45), turns=u(0.9, 1.3), wave=0.3, frizz=0.12, clump=u(0.4, 0.6), locks=1600,
            strands=28000, points=40, ragged=0.10, line=line,
        )  # fmt: skip
    if name == "coils":
        long = u(1.6, 3.6)
        return Style(
            name, "out", long, long * u(0.4, 0.9), long * u(0.5, 0.95), layer=(0.2, long), rise=2.5, hold=0.0,
            gravity=0.02, curl=u(0.18, 0.26), turns=u(1.4, 2.0), wave=0.08, frizz=0.06, clump=u(0.55, 0.75), locks=2200,
            strands=30000, points=20, ragged=0.12, line=line,
        )  # fmt: skip
    return Style(  # tied back
        name, "tied", u(40, 55), u(40, 52), u(36, 50), layer=(0.08, u(0.4, 0.9)), rise=0.25, hold=1.1, gravity=0.12,
        wave=u(0.05, 0.15), frizz=0.015, clump=u(0.3, 0.5), points=36, ragged=0.05, line=line,
        tail=str(random.choice(["tail", "bun"], p=[0.65, 0.35])), cut=None,
    )  # fmt: skip
