"""The haircuts of each style, drawn by lot. Above ``styles.py``. Lengths in centimetres, heights in world units."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from .scalp import Hairline
from .styles import STYLES, Style


def _one_of(random: np.random.Generator, kinds: Sequence[str], chance: Sequence[float]) -> str:
    return str(random.choice(list(kinds), p=np.array(chance) / np.sum(chance)))


def _side(random: np.random.Generator) -> float:
    return float(random.choice([-1.0, 1.0]))


def _bald(male: float, line: Hairline, random: np.random.Generator) -> Style:
    return Style("bald", "shaved", top=0.1, side=0.1, back=0.1, strands=0, line=line)


def _buzz(male: float, line: Hairline, random: np.random.Generator) -> Style:
    u, kind = random.uniform, _one_of(random, ("even", "graded", "fade"), (0.3, 0.4, 0.3))
    top = u(0.35, 1.0) if kind == "even" else u(0.6, 1.5)
    share = 1.0 if kind == "even" else u(0.4, 0.7)
    return Style(
        "buzz", kind, "crown", top, share * top, share * top, fade=u(8, 34) if kind == "fade" else None,
        under=u(0.12, 0.25), layer=(0.05, 0.2), rise=1.6, hold=0.0, gravity=0.0, wave=0.01, frizz=0.01, clump=0.05,
        strands=30000, points=4, wisps=0.1, line=line,
    )  # fmt: skip


def _crop(male: float, line: Hairline, random: np.random.Generator) -> Style:
    u = random.uniform
    kind = _one_of(random, ("short", "brushed", "quiff", "spiky", "fade", "pixie"), (0.2, 0.2, 0.2, 0.12, 0.2, 0.14))
    if male < 0.5 and random.random() < 0.5:
        kind = "pixie"
    cut = Style(
        "crop", kind, _one_of(random, ("forward", "crown"), (1, 1)), u(2.5, 5.0), u(0.8, 2.0), u(1.0, 2.4),
        layer=(0.15, u(0.6, 1.4)), rise=u(0.4, 0.9), gravity=0.12, wave=u(0.06, 0.2), frizz=0.03, clump=u(0.5, 0.75),
        locks=int(u(260, 520)), strands=int(u(24000, 30000)), points=9, ragged=u(0.15, 0.3), wisps=u(0.15, 0.4),
        fade=u(10, 30) if random.random() < 0.3 else None, under=u(0.3, 0.9), line=line,
    )  # fmt: skip
    if kind == "quiff":
        return replace(
            cut, comb="back", top=u(4.5, 7.5), quiff=u(1.2, 3.2), rise=u(0.7, 1.1), sweep=u(-1, 1), fade=u(14, 36),
            under=u(0.25, 1.0), points=12,
        )  # fmt: skip
    if kind == "spiky":
        return replace(cut, rise=u(1.2, 2.0), hold=0.1, gravity=0.0, top=u(2.5, 4.0), clump=u(0.7, 0.85), quiff=0.6)
    if kind == "fade":
        return replace(cut, fade=u(22, 42), under=u(0.15, 0.5), top=u(2.0, 5.5))
    if kind == "pixie":
        return replace(
            cut, comb="part", part=_side(random) * u(1.5, 4.5), top=u(6, 9), side=u(3.5, 6), back=u(3, 5),
            layer=(0.2, u(1.0, 1.8)), gravity=0.35, fringe=u(0.10, 0.15), sweep=_side(random) * u(0.6, 1.0), fade=None,
            tuck=int(random.choice([0, 2])), points=14, locks=360,
        )  # fmt: skip
    if kind == "brushed":
        return replace(cut, comb="forward", top=u(4, 6.5), fringe=u(0.14, 0.19), sweep=u(-0.7, 0.7), points=12)
    return cut


def _receding(male: float, line: Hairline, random: np.random.Generator) -> Style:
    u, bare = random.uniform, float(random.random())
    horseshoe = float(random.random() < 0.35)
    line = Hairline(
        front=4 + 4 * bare, temple=10 + 8 * bare, burn=line.burn, nape=line.nape, peak=float(u(0, 4)),
        crown=float(u(0.4, 0.97)), horseshoe=horseshoe,
    )  # fmt: skip
    top = u(0.6, 1.2) if random.random() < 0.3 else u(2.0, 5.0)
    return Style(
        "receding", "horseshoe" if horseshoe else "thin", _one_of(random, ("back", "crown", "part"), (1, 1, 1)), top,
        min(top, u(0.8, 3.0)), min(top, u(1.0, 3.0)), layer=(0.12, u(0.5, 1.1)), rise=u(0.3, 0.8), gravity=0.12,
        part=_side(random) * u(2.5, 4.0), wave=u(0.06, 0.2), frizz=0.03, clump=u(0.3, 0.6), locks=600,
        strands=int(u(17000, 26000)), points=9, ragged=0.2, wisps=0.3, line=line,
    )  # fmt: skip


def _fringe(male: float, line: Hairline, random: np.random.Generator) -> Style:
    u = random.uniform
    kind = _one_of(random, ("bowl", "choppy", "swept", "curtain", "shag"), (0.12, 0.25, 0.23, 0.2, 0.2))
    line = replace(line, temple=min(line.temple, 3.0), crown=0.0)
    cut = Style(
        "fringe", kind, "crown", u(9, 12), u(6, 9), u(5, 8), layer=(0.15, u(0.7, 1.4)), rise=0.45, hold=0.9,
        gravity=0.5, fringe=u(0.08, 0.15), cut=u(-0.10, -0.02), layers=u(0.0, 0.06), wave=u(0.1, 0.3),
        clump=u(0.5, 0.8), locks=int(u(220, 420)), points=18, ragged=0.12, wisps=u(0.15, 0.4), line=line,
    )  # fmt: skip
    if kind == "bowl":
        return replace(cut, wisps=u(0.06, 0.15), ragged=0.05, layers=0.0)
    if kind == "choppy":  # short sides, the front combed down in uneven locks
        return replace(
            cut, comb="forward", top=u(6, 9), side=u(1.5, 4), back=u(2, 4), fringe=u(0.10, 0.17), cut=None,
            sweep=u(-0.6, 0.6), ragged=u(0.18, 0.3), clump=u(0.65, 0.85),
            fade=u(6, 26) if random.random() < 0.6 else None, under=u(0.4, 1.2),
        )  # fmt: skip
    if kind == "swept":
        return replace(cut, fringe=u(0.065, 0.12), sweep=_side(random) * u(0.7, 1.2), side=u(5, 8), part=0.0)
    if kind == "curtain":
        return replace(
            cut, comb="part", part=u(-1.5, 1.5), top=u(10, 14), side=u(6, 10), fringe=u(0.04, 0.09),
            curtain=u(0.7, 1.0), cut=u(-0.13, 0.0), layers=u(0.03, 0.08),
        )  # fmt: skip
    return replace(
        cut, top=u(11, 15), side=u(10, 14), back=u(12, 18), cut=u(-0.26, -0.12), layers=u(0.10, 0.2),
        frame=u(0.03, 0.1), wave=u(0.3, 0.6), curl=u(0.3, 0.6), turns=u(0.08, 0.14), ragged=0.2,
        curtain=u(0.0, 0.5), points=24,
    )  # fmt: skip


def _parting(male: float, line: Hairline, random: np.random.Generator) -> Style:
    u, side = random.uniform, _side(random)
    kind = _one_of(random, ("side", "volume", "middle", "undercut"), (0.35, 0.25, 0.2, 0.2))
    cut = Style(
        "parting", kind, "part", u(8, 11), u(2.0, 4.0), u(2.5, 4.5), layer=(0.2, u(1.0, 2.0)), rise=u(0.6, 1.0),
        hold=0.55, gravity=0.25, part=side * u(2.5, 4.5), wave=u(0.1, 0.35), clump=u(0.45, 0.75),
        locks=int(u(220, 450)), points=16, ragged=0.15, wisps=u(0.15, 0.35), line=line,
    )  # fmt: skip
    if kind == "volume":
        return replace(cut, quiff=u(0.8, 2.2), top=u(9, 13), layer=(0.3, u(1.8, 2.8)), wave=u(0.2, 0.45))
    if kind == "middle":
        return replace(
            cut, part=u(-1.0, 1.0), top=u(10, 15), side=u(4, 9), back=u(4, 9), gravity=0.5, cut=u(-0.1, 0.02),
            fringe=u(0.04, 0.1) if random.random() < 0.5 else None, curtain=1.0,
        )  # fmt: skip
    if kind == "undercut":
        return replace(cut, fade=u(24, 38), under=u(0.25, 0.8), top=u(9, 14))
    return cut


def _slick_back(male: float, line: Hairline, random: np.random.Generator) -> Style:
    u = random.uniform
    kind = _one_of(random, ("flat", "pompadour", "undercut", "neck"), (0.3, 0.25, 0.25, 0.2))
    cut = Style(
        "slick back", kind, "back", u(10, 15), u(5, 8), u(4, 7), layer=(0.12, u(0.6, 1.4)), rise=u(0.4, 0.8), hold=0.9,
        gravity=0.15, wave=u(0.05, 0.2), frizz=0.012, clump=u(0.5, 0.8), locks=int(u(200, 420)), points=18, ragged=0.1,
        wisps=u(0.1, 0.3), part=0.0, line=line,
    )  # fmt: skip
    if kind == "pompadour":
        return replace(cut, quiff=u(1.5, 3.5), top=u(9, 13), rise=u(0.8, 1.3), side=u(2, 5), back=u(2, 5))
    if kind == "undercut":
        return replace(cut, fade=u(22, 38), under=u(0.2, 0.8), quiff=u(0, 1.2))
    if kind == "neck":
        return replace(
            cut, top=u(20, 28), side=u(16, 22), back=u(12, 18), cut=u(-0.26, -0.14), layers=u(0.03, 0.1), gravity=0.45,
            layer=(0.2, u(1.0, 2.0)), wave=u(0.15, 0.5), points=24, tuck=2,
        )  # fmt: skip
    return cut


def _with_fringe(cut: Style, often: float, random: np.random.Generator) -> Style:
    """With one chance in ``often`` a fringe: straight, wispy, curtain or swept."""
    u = random.uniform
    if random.random() >= often:
        return cut
    kind = _one_of(random, ("straight", "curtain", "swept"), (0.35, 0.4, 0.25))
    if kind == "straight":
        return replace(cut, fringe=u(0.08, 0.115), sweep=u(-0.25, 0.25))
    if kind == "curtain":
        return replace(cut, fringe=u(0.075, 0.10), curtain=u(0.7, 1.0), part=0.4 * cut.part)
    return replace(cut, fringe=u(0.085, 0.12), sweep=-float(np.sign(cut.part) or 1.0) * u(0.7, 1.1))


def _hanging(cut: Style, random: np.random.Generator) -> Style:
    """With what all hanging hair draws: parting, ears, shoulders, face."""
    u = random.uniform
    return replace(
        cut, part=_side(random) * u(0.0, 4.5) * float(random.random() < 0.75), fall=u(-0.5, 0.6), face=u(0.86, 1.18),
        tuck=int(random.choice([0, 1, -1, 2], p=[0.55, 0.15, 0.15, 0.15])),
    )  # fmt: skip


def _bob(male: float, line: Hairline, random: np.random.Generator) -> Style:
    u = random.uniform
    kind = _one_of(random, ("blunt", "angled", "layered", "wavy", "lob"), (0.2, 0.2, 0.2, 0.2, 0.2))
    cut = Style(
        "bob", kind, "part", 34, 30, 26, layer=(0.2, u(0.8, 1.7)), rise=u(0.3, 0.6), hold=0.9, gravity=0.9,
        cut=u(-0.24, -0.12), layers=u(0.0, 0.03), wave=u(0.15, 0.4), clump=u(0.45, 0.75), locks=int(u(260, 480)),
        points=26, ragged=0.05, wisps=u(0.06, 0.18), line=line,
    )  # fmt: skip
    cut = _hanging(cut, random)
    if kind == "angled":  # longer in front
        cut = replace(cut, cut=u(-0.14, -0.06), frame=u(-0.14, -0.06), tuck=0)
    elif kind == "layered":
        cut = replace(cut, layers=u(0.08, 0.16), frame=u(0.02, 0.08), wisps=u(0.2, 0.35), ragged=0.12)
    elif kind == "wavy":
        cut = replace(
            cut, curl=u(0.4, 0.9), turns=u(0.10, 0.18), layers=u(0.03, 0.1), wisps=u(0.15, 0.3), clump=u(0.7, 0.85),
            points=34, ragged=0.1,
        )  # fmt: skip
    elif kind == "lob":
        cut = replace(cut, cut=u(-0.36, -0.27), layers=u(0.0, 0.08), wisps=u(0.1, 0.25))
    return _with_fringe(cut, 0.45, random)


def _long_straight(male: float, line: Hairline, random: np.random.Generator) -> Style:
    u = random.uniform
    kind = _one_of(random, ("even", "layered", "shoulder", "half up"), (0.25, 0.35, 0.22, 0.18))
    cut = Style(
        "long straight", kind, "part", u(42, 52), u(36, 46), u(34, 44), layer=(0.2, u(0.7, 1.4)), rise=u(0.25, 0.5),
        hold=1.0, gravity=1.0, wave=u(0.2, 0.55), clump=u(0.45, 0.75), locks=int(u(260, 480)), points=30, ragged=0.08,
        wisps=u(0.1, 0.3), line=line,
    )  # fmt: skip
    cut = _hanging(cut, random)
    if kind == "layered":
        cut = replace(cut, cut=u(-0.62, -0.42), layers=u(0.1, 0.25), frame=u(0.1, 0.25), wisps=u(0.2, 0.4), ragged=0.14)
    elif kind == "shoulder":
        cut = replace(cut, cut=u(-0.46, -0.36), layers=u(0.0, 0.1), frame=u(0.0, 0.08))
    elif kind == "half up":
        cut = replace(cut, up=u(22, 36), tie=u(5, 35), tail=_one_of(random, ("tail", "bun"), (0.7, 0.3)), tuck=0)
        return replace(cut, loose=u(0, 0.4), points=34)
    return _with_fringe(cut, 0.4, random)


def _long_wavy(male: float, line: Hairline, random: np.random.Generator) -> Style:
    u = random.uniform
    kind = _one_of(random, ("loose", "layered", "shoulder", "half up"), (0.3, 0.3, 0.25, 0.15))
    cut = Style(
        "long wavy", kind, "part", u(36, 48), u(32, 42), u(30, 40), layer=(0.3, u(1.2, 2.2)), rise=u(0.4, 0.7),
        hold=0.8, gravity=0.9, curl=u(0.9, 1.9), turns=u(0.08, 0.15), wave=0.4, frizz=0.035, clump=u(0.8, 0.93),
        locks=int(u(110, 240)), points=44, ragged=0.12, wisps=u(0.15, 0.3), line=line,
    )  # fmt: skip
    cut = _hanging(cut, random)
    if kind == "layered":
        cut = replace(cut, cut=u(-0.6, -0.42), layers=u(0.1, 0.25), frame=u(0.08, 0.2))
    elif kind == "shoulder":
        cut = replace(cut, cut=u(-0.46, -0.34), layers=u(0.03, 0.14), frame=u(0.0, 0.08))
    elif kind == "half up":
        return replace(cut, up=u(22, 36), tie=u(5, 35), tail="tail", tuck=0, loose=u(0, 0.6))
    return _with_fringe(cut, 0.3, random)


def _curly(male: float, line: Hairline, random: np.random.Generator) -> Style:
    u = random.uniform
    kind = _one_of(random, ("short", "chin", "shoulder", "top"), (0.25, 0.3, 0.25, 0.2))
    if male > 0.6 and kind == "shoulder":
        kind = "top"
    long = {"short": u(5, 9), "chin": u(10, 16), "shoulder": u(18, 27), "top": u(6, 11)}[kind]
    big = u(0.55, 1.15) * (0.75 if kind in ("short", "top") else 1.0)
    cut = Style(
        "curly", kind, "part", long, long * u(0.75, 1.0), long * u(0.7, 1.0), fade=u(16, 34) if kind == "top" else None,
        under=u(0.5, 1.5), layer=(0.4, u(2.0, 3.6)), rise=u(0.9, 1.4), hold=0.3, gravity=0.5, curl=big,
        turns=u(0.22, 0.32) / big, wave=0.4, frizz=u(0.03, 0.07), clump=u(0.86, 0.95), locks=int(u(240, 420)),
        strands=22000, points=56, ragged=0.2, wisps=0.12, layers=u(0.0, 0.1), line=line,
    )  # fmt: skip
    return replace(_hanging(cut, random), tuck=0, fall=0.0)


def _afro(male: float, line: Hairline, random: np.random.Generator) -> Style:
    u = random.uniform
    kind = _one_of(random, ("round", "short", "tapered"), (0.45, 0.25, 0.3))
    long = u(5.0, 8.5) if kind == "round" else u(3.0, 6.0)
    side = u(0.75, 1.0) if kind == "round" else u(0.35, 0.7)
    return Style(
        "afro", kind, "out", long, long * side, long * side, fade=u(0, 24) if kind == "tapered" else None,
        under=u(0.6, 1.5), layer=(0.5, long), rise=3.0, hold=0.0, gravity=0.04, curl=u(0.28, 0.5), turns=u(0.8, 1.2),
        wave=0.3, frizz=u(0.06, 0.12), clump=u(0.6, 0.85), locks=int(u(500, 1100)), strands=28000, points=40,
        ragged=0.14, wisps=0.12, line=line,
    )  # fmt: skip


def _coils(male: float, line: Hairline, random: np.random.Generator) -> Style:
    u = random.uniform
    kind = _one_of(random, ("short", "fade", "twists"), (0.35, 0.35, 0.3))
    long = u(1.6, 3.6)
    cut = Style(
        "coils", kind, "out", long, long * u(0.5, 0.9), long * u(0.5, 0.95), fade=u(16, 38) if kind == "fade" else None,
        under=u(0.25, 0.6), layer=(0.2, long), rise=2.5, hold=0.0, gravity=0.02, curl=u(0.18, 0.3), turns=u(1.0, 1.7),
        wave=0.08, frizz=0.05, clump=u(0.8, 0.93), locks=int(u(500, 1100)), strands=30000, points=20, ragged=0.15,
        wisps=0.1, line=line,
    )  # fmt: skip
    if kind == "twists":  # thick twisted locks that hang a little
        return replace(
            cut, top=u(5, 10), side=u(3.5, 8), back=u(4, 8), gravity=0.16, clump=0.97, locks=int(u(120, 220)),
            curl=0.26, turns=u(0.5, 0.8), points=30, wave=0.3,
        )  # fmt: skip
    return cut


def _tied_back(male: float, line: Hairline, random: np.random.Generator) -> Style:
    u = random.uniform
    kind = _one_of(random, ("low tail", "high tail", "low bun", "high bun"), (0.32, 0.28, 0.2, 0.2))
    tie = {"low tail": u(-22, 5), "high tail": u(22, 48), "low bun": u(-18, 8), "high bun": u(30, 68)}[kind]
    cut = Style(
        "tied back", kind, "tied", u(38, 55), u(38, 52), u(36, 50), layer=(0.08, u(0.4, 0.9)), rise=0.25, hold=1.1,
        gravity=0.12, wave=u(0.08, 0.3), frizz=0.02, clump=u(0.4, 0.7), locks=int(u(250, 450)), points=38,
        ragged=0.08, wisps=u(0.1, 0.35), tail=kind.split()[1], tie=tie, part=_side(random) * u(0, 4), line=line,
        loose=float(random.choice([0.0, u(0.2, 0.8)])), face=u(0.9, 1.15),
        curl=float(random.choice([0.0, u(0.3, 0.8)])), turns=u(0.08, 0.16), cut=None,
    )  # fmt: skip
    if cut.tail == "bun":
        cut = replace(cut, curl=0.0)
    return _with_fringe(cut, 0.25, random)


_CUTS: dict[str, Callable[[float, Hairline, np.random.Generator], Style]] = {
    "bald": _bald,
    "buzz": _buzz,
    "crop": _crop,
    "fringe": _fringe,
    "parting": _parting,
    "slick back": _slick_back,
    "bob": _bob,
    "long straight": _long_straight,
    "long wavy": _long_wavy,
    "curly": _curly,
    "afro": _afro,
    "coils": _coils,
    "tied back": _tied_back,
    "receding": _receding,
}


def draw_style(name: str, male: float, years: float, random: np.random.Generator) -> Style:
    """One haircut of the style ``name``. ValueError for a style that does not exist."""
    if name not in STYLES:
        raise ValueError(f"no hair style {name!r}; there are {', '.join(STYLES)}")
    return _CUTS[name](male, _hairline(male, years, random), random)


def _hairline(male: float, years: float, random: np.random.Generator) -> Hairline:
    aged = float(np.clip((years - 25) / 50, 0, 1)) * male
    return Hairline(
        front=float(random.normal(0, 1.2) + 3 * aged * random.random()),
        temple=float(np.clip(random.normal(1.0, 2.0) + 12 * aged * random.random(), -3, 16)),
        burn=float(random.uniform(-4, 4) + 6 * (1 - male)),
        nape=float(random.normal(0, 2.0)),
        peak=float(max(0.0, random.normal(0, 1.6))),
        crown=float(max(0.0, random.normal(0, 0.3)) * aged),
    )
