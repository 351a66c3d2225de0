"""A synthetic head: person, body, colours and hair put together by seed and number, in PanoHead's world."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .body import Body, Label, make_body
from .chance import Part, dice, quota
from .colors import Colors, draw_colors, hair_colors
from .frame import to_world
from .glasses import Glasses, draw_glasses
from .hair.collide import Collider, make_collider
from .hair.cuts import draw_style
from .hair.face import grow_beard, grow_brows, grow_lashes
from .hair.strands import RADIUS, Strands, grow_hair, hair_waves
from .hair.styles import STYLES, Style, men_among
from .identity import Person, draw_person
from .vectors import Waves


@dataclass(frozen=True, eq=False)
class Lot:
    """What is drawn by lot before anything is grown, in no time: by it a head is known before it is made."""

    who: Person
    style: Style
    colors: Colors
    stray: Waves  # of ``hair_waves``

    @property
    def attributes(self) -> dict[str, float | str]:
        """style, sex, years, tone (melanin of the skin)."""
        return {
            "style": self.style.name,
            "sex": "male" if self.who.male > 0.5 else "female",
            "years": round(self.who.years, 1),
            "tone": round(self.colors.melanin, 3),
        }


@dataclass(frozen=True, eq=False)
class SyntheticHead:
    """All of one head.

    Args:
        seed, number: what it was made from; the same numbers make the same head.
        lot: what was drawn first.
        body: the closed solids with their labels.
        collider: the upright body's distance on a grid, as the strands met it (``frame.py``).
        hair, brows, beard, lashes: strands; any but the lashes may be none.
        landmarks: (478, 3) float64, MediaPipe's, on the surface.
        glasses: worn in pictures, no part of the surface; most have none.
    """

    seed: int
    number: int
    lot: Lot
    body: Body
    collider: Collider
    hair: Strands
    brows: Strands
    beard: Strands
    lashes: Strands
    landmarks: np.ndarray
    glasses: Glasses | None = None

    @property
    def who(self) -> Person:
        """The person."""
        return self.lot.who

    @property
    def style(self) -> Style:
        """The haircut."""
        return self.lot.style

    @property
    def colors(self) -> Colors:
        """Of skin, hair and all else."""
        return self.lot.colors

    @property
    def attributes(self) -> dict[str, float | str]:
        """What data sets count by: style, sex, years, tone (melanin of the skin), beard, glasses, expression."""
        return {
            **self.lot.attributes,
            "beard": self.colors.beard,
            "glasses": self.glasses.shape if self.glasses is not None else "none",
            "smile": round(self.who.smile, 3),
            "mouth_open": round(self.who.mouth_open, 3),
        }

    @property
    def strands(self) -> tuple[Strands, ...]:
        """All kinds that have hairs."""
        return tuple(kind for kind in (self.hair, self.brows, self.beard, self.lashes) if len(kind.points))


def draw_lot(seed: int, number: int, style: str | None = None) -> Lot:
    """The lot of head ``number`` of the data set ``seed``; ``style`` as ``make_head`` takes it."""
    name = style if style is not None else quota(seed, number, STYLES)
    who = draw_person(seed, number, men_among(name))
    stray = hair_waves(seed, number)
    cut = draw_style(name, who.male, who.years, dice(seed, number, Part.HAIR))
    return Lot(who, cut, draw_colors(seed, number, who, cut, stray), stray)


def make_head(seed: int, number: int, *, style: str | None = None, share: float = 1.0) -> SyntheticHead:
    """Head ``number`` of the data set ``seed``.

    Args:
        seed: of the data set.
        number: of the head, from 0. Each run of as many heads as there are styles has every style once.
        style: one of ``STYLES`` instead; ValueError for another.
        share: of the strands that a full head has, in (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"the share of strands is {share}; it must lie in (0, 1]")
    lot = draw_lot(seed, number, style)
    colors, stray = lot.colors, lot.stray
    look, dress = dice(seed, number, Part.EYES), dice(seed, number, Part.CLOTHES)
    gaze = (float(look.normal(0, 0.06)), float(look.normal(0, 0.03)))
    body = make_body(lot.who, gaze, collar=float(dress.normal(0, 0.02)))
    collider = make_collider(body)

    def strands(
        points: np.ndarray, label: Label, base: np.ndarray, part: Part, radius: float, greying: float, sheer: float = 0
    ) -> Strands:
        shades = hair_colors(colors, base, points[:, 0], dice(seed, number, part, 1), greying=greying, sheer=sheer)
        return Strands(label, to_world(points), np.full(len(points), radius, np.float32), shades)

    hair = grow_hair(body, lot.style, collider, stray, dice(seed, number, Part.STRANDS), share)
    thick = float(dice(seed, number, Part.BROWS).uniform(0.6, 1.3))
    brows = grow_brows(body, stray, thick, dice(seed, number, Part.BROWS))
    beard = grow_beard(body, colors, collider, dice(seed, number, Part.BEARD))
    sheer = 0.5 if colors.beard == "stubble" else 0.0
    lashes = grow_lashes(body, dice(seed, number, Part.LASHES))
    placed = body.in_world()
    return SyntheticHead(
        seed=seed,
        number=number,
        lot=lot,
        body=placed,
        collider=collider,
        hair=strands(hair, Label.HAIR, colors.hair, Part.HAIR, RADIUS, 1.0),
        brows=strands(brows, Label.BROW, colors.brow, Part.BROWS, 0.7 * RADIUS, 0.35),
        beard=strands(beard, Label.HAIR, 0.9 * colors.hair, Part.BEARD, 0.8 * RADIUS, 0.8, sheer),
        lashes=strands(lashes, Label.EYE, np.array([0.06, 0.045, 0.04]), Part.LASHES, 0.6 * RADIUS, 0.0),
        landmarks=placed.landmarks,
        glasses=draw_glasses(seed, number, placed),
    )
