"""Colours of skin, eyes, hair and clothes, drawn by lot and painted over places of the mean head. sRGB in [0, 1]."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from scipy.ndimage import map_coordinates

from ..template.morphable import load_morphable
from .body import IRIS_ANGLE, Label
from .chance import Part, dice
from .hair.scalp import growth
from .hair.styles import Style
from .identity import Person
from .vectors import Waves, smooth

_WINDOW = (-0.24, -0.30, 0.48, 0.60)  # left, bottom, width, height of the painted masks, the mean head from the front
_SIDE = 512  # pixels of a mask's side
_LIPS = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
_BROW = (336, 296, 334, 293, 300, 276, 283, 282, 295, 285)
_EYE = (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249)
_CHEEK = (280, 330, 266, 423, 411, 346)
_NOSE_TIP = (4, 45, 220, 1, 440, 275)
_UNDER_EYE = (463, 341, 256, 252, 253, 254, 339, 448, 449, 450, 451, 452, 453)
_BEARD = (
    *(447, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 227, 177),
    *(147, 187, 207, 206, 98, 97, 2, 326, 327, 426, 427, 411, 376, 401),
)
_MOUSTACHE = (98, 97, 2, 326, 327, 391, 322, 410, 287, 409, 270, 269, 267, 0, 37, 39, 40, 185, 57, 186, 92, 165)
_GOATEE = (57, 186, 92, 165, 98, 97, 2, 326, 327, 391, 322, 410, 287, 424, 431, 396, 175, 171, 211, 204)
MASKS = ("lips", "brow", "beard", "blush", "eye", "bag", "moustache", "goatee")
_IRISES = (
    (0.30, 0.18, 0.09),
    (0.20, 0.12, 0.07),
    (0.42, 0.31, 0.14),
    (0.36, 0.42, 0.26),
    (0.34, 0.46, 0.55),
    (0.45, 0.52, 0.56),
)
# Melanin's two pigments: the colour that is left of white hair, by a power of how much there is of each.
_EUMELANIN, _PHEOMELANIN = np.array([0.55, 0.86, 1.35]), np.array([0.12, 0.55, 1.15])
_PALE = np.array([0.74, 0.73, 0.71])  # of grey hair
_DYES = (  # and how often
    ((0.80, 0.66, 0.44), 5), ((0.86, 0.79, 0.66), 3), ((0.46, 0.19, 0.10), 3), ((0.34, 0.07, 0.07), 2),
    ((0.07, 0.06, 0.06), 3), ((0.30, 0.17, 0.09), 4), ((0.80, 0.45, 0.55), 0.6), ((0.22, 0.32, 0.55), 0.6),
    ((0.36, 0.20, 0.48), 0.4),
)  # fmt: skip
_DYE_CHANCES = np.array([often for _, often in _DYES]) / sum(often for _, often in _DYES)


@dataclass(frozen=True, eq=False)
class Colors:
    """What one person is painted with.

    Args:
        skin, lips, hair, brow, clothes, iris: base colours (3,).
        melanin: of the skin, 0.1 very fair .. 3 very dark.
        grey: share of grey hairs, 0 .. 1.
        streaks: colour of dyed locks (3,), or None.
        freckles, blush, bags, stubble: 0 .. 1.
        beard: "none", "stubble", "moustache", "goatee", "short" or "full".
        style: whose scalp shows through the hair.
        stray: the head's slow noise, for the hairline.
    """

    skin: np.ndarray
    lips: np.ndarray
    hair: np.ndarray
    brow: np.ndarray
    clothes: np.ndarray
    iris: np.ndarray
    melanin: float
    grey: float
    streaks: np.ndarray | None
    freckles: float
    blush: float
    bags: float
    stubble: float
    beard: str
    style: Style
    stray: Waves
    grain: Waves
    patches: Waves


def draw_colors(seed: int, number: int, who: Person, style: Style, stray: Waves) -> Colors:
    """The colours of a person; skin, hair and eyes go with ancestry, but not strictly."""
    random = dice(seed, number, Part.SKIN)
    share = who.ancestry
    melanin = (
        share["caucasian"] * random.normal(0.32, 0.16)
        + share["asian"] * random.normal(0.62, 0.22)
        + share["african"] * random.normal(1.9, 0.55)
    )
    melanin = float(np.clip(melanin, 0.06, 3.0))
    blood = float(np.clip(random.normal(0.42, 0.15), 0.1, 0.9))
    skin = np.array([0.93, 0.78, 0.69]) * np.exp(-melanin * np.array([0.30, 0.43, 0.54]))
    skin = skin * np.exp(-blood * np.array([0.03, 0.16, 0.16]))
    dark = 1 - share["caucasian"] ** 1.5
    eumelanin = float(np.clip(random.gamma(1.6, 0.8) * (1 - dark) + dark * random.normal(3.6, 0.8), 0.15, 4.6))
    pheomelanin = float(random.gamma(1.2, 0.35) * (1 - 0.7 * dark))
    grey = float(np.clip(smooth(40, 80, np.array(who.years + random.normal(0, 9))) * random.uniform(0.3, 1.3), 0, 1))
    pigment = eumelanin * 0.62 * _EUMELANIN + pheomelanin * 0.6 * _PHEOMELANIN
    hair = np.array([0.90, 0.86, 0.78]) * np.exp(-pigment)
    hair = np.maximum(hair, [0.045, 0.038, 0.034])
    brow = np.clip(hair * (0.75 if hair.mean() > 0.2 else 1.0), 0.04, 1)
    chance = np.array([0.34, 0.20, 0.12, 0.10, 0.14, 0.10]) * [1, 1, 1, *([max(0.02, 1 - dark)] * 3)]
    iris = np.array(_IRISES[int(random.choice(len(_IRISES), p=chance / chance.sum()))])
    beards, often = ("none", "stubble", "moustache", "goatee", "short", "full"), [0.40, 0.26, 0.05, 0.08, 0.12, 0.09]
    beard = str(random.choice(beards, p=often)) if who.male > 0.6 and who.years > 19 else "none"
    streaks = None
    if beard == "none":
        hair, grey, streaks = _dyed(hair, grey, who, dice(seed, number, Part.SKIN, 1))
    lips = skin * np.array([0.94, 0.74, 0.74]) * random.uniform(0.88, 1.0)
    if who.male < 0.4 and random.random() < 0.25:  # lipstick
        lips = 0.4 * lips + 0.6 * np.array([0.62, 0.20, 0.24]) * random.uniform(0.7, 1.15)
    clothes = np.clip(np.array([0.45, 0.45, 0.45]) + random.normal(0, 0.14) + random.normal(0, 0.12, 3), 0.04, 0.93)
    return Colors(
        skin=np.clip(skin, 0.05, 0.97),
        lips=np.clip(lips, 0.05, 0.95),
        hair=hair,
        brow=brow,
        clothes=clothes,
        iris=np.clip(iris * random.uniform(0.8, 1.2), 0, 1),
        melanin=melanin,
        grey=grey,
        streaks=streaks,
        freckles=float(random.random() ** 4 * (melanin < 0.9)),
        blush=float(random.uniform(0.1, 0.6)),
        bags=float(np.clip(random.normal(0.25 + (who.years - 30) / 90, 0.2), 0, 1)),
        stubble=float(random.uniform(0.2, 0.7))
        if beard in ("none", "stubble") and who.male > 0.7 and who.years > 18
        else 0.0,
        beard=beard,
        style=style,
        stray=stray,
        grain=Waves(random, 0.009, 3),
        patches=Waves(random, 0.10, 3),
    )


def _dyed(
    hair: np.ndarray, grey: float, who: Person, random: np.random.Generator
) -> tuple[np.ndarray, float, np.ndarray | None]:
    """Hair (3,), share of grey and colour of streaks as the hairdresser leaves them: some dye all, some a few locks."""
    chance = 0.22 - 0.18 * who.male
    dye = np.array(_DYES[int(random.choice(len(_DYES), p=_DYE_CHANCES))][0]) * np.exp(random.normal(0, 0.1))
    drawn = random.random()
    if drawn < chance:
        return np.clip(0.88 * dye + 0.12 * hair, 0.04, 0.95), 0.12 * grey, None
    if drawn < 1.6 * chance and hair.mean() < 0.5:
        return hair, 0.4 * grey, np.clip(hair + np.array([0.26, 0.19, 0.11]) * random.uniform(0.6, 1.4), 0.04, 0.95)
    return hair, grey, None


def hair_colors(
    colors: Colors, base: np.ndarray, roots: np.ndarray, random: np.random.Generator, *, greying: float = 1.0,
    sheer: float = 0.0,
) -> np.ndarray:  # fmt: skip
    """(S, 3) float32: hairs from ``roots`` (S, 3; upright), a little lighter or darker than ``base`` (3,), and grey.

    Grey comes by locks, at the temples first, as a mix that few hairs stand out from; brows and beards have less of the
    head's share of it (``greying``). ``sheer``, 0 .. 1: how much skin shines through, as through stubble.
    """
    count = len(roots)
    locks = colors.stray(roots * 2.2)
    lightness = np.exp(0.07 * locks[:, :1] + random.normal(0, 0.10, (count, 1)))
    warmth = np.exp(random.normal(0, 0.03, (count, 3)))
    shade = base * lightness * warmth
    if colors.streaks is not None:
        streak = smooth(0.2, 1.3, locks[:, 1] + random.normal(0, 0.4, count))[:, None]
        shade = shade + 0.8 * streak * (colors.streaks * lightness - shade)
    temples = (
        smooth(0.10, 0.17, np.abs(roots[:, 0])) * smooth(-0.14, 0.0, roots[:, 2]) * smooth(0.25, 0.12, roots[:, 1])
    )
    level = colors.grey * greying
    spread = 4 * level * (1 - level)  # white and dark heads are even
    grey = level + spread * (0.45 * temples - 0.08 + 0.16 * locks[:, 2] + random.normal(0, 0.14, count))
    grey = np.clip(grey, 0, 1)[:, None]
    pale = (0.8 * _PALE + 0.2 * colors.hair) * np.exp(random.normal(0, 0.06, (count, 1)))
    shown = shade + grey * (pale - shade)
    shown = shown + sheer * (colors.skin * 0.8 - shown)
    return np.clip(shown, 0.02, 0.97).astype(np.float32)


def mean_hair(colors: Colors) -> np.ndarray:
    """(3,) the colour of the hair seen from afar, grey ones included."""
    return colors.hair * (1 - colors.grey) + _PALE * colors.grey


def paint(colors: Colors, label: Label, rest: np.ndarray, clothes: np.ndarray | None = None) -> np.ndarray:
    """(N, 3) float32 albedo, for rest coordinates (N, 3) of a solid of kind ``label``.

    ``clothes``: (N,) how much of the skin is covered; None: nothing.
    """
    if label == Label.EYE:
        return _eye(colors, rest)
    if label == Label.MOUTH:
        teeth = smooth(0.052, 0.075, rest[:, 2])[:, None]
        tongue = np.abs(rest[:, 0]) < 0.0
        shown = np.array([0.86, 0.83, 0.76]) * teeth + np.array([0.30, 0.12, 0.12]) * (1 - teeth)
        return np.where(tongue[:, None], [0.55, 0.28, 0.27], shown).astype(np.float32)
    return _skin(colors, rest, clothes)


def mask_at(name: str, rest: np.ndarray) -> np.ndarray:
    """(N,) of a painted mask at places on the mean head (N, 3); 0 behind the face."""
    left, bottom, width, height = _WINDOW
    at = (rest[:, :2] - [left, bottom]) / [width, height] * _SIDE - 0.5
    values = map_coordinates(_masks()[MASKS.index(name)], at.T[::-1], order=1, mode="constant")
    return values * smooth(-0.04, 0.02, rest[:, 2])


def _skin(colors: Colors, rest: np.ndarray, clothes: np.ndarray | None) -> np.ndarray:
    patch, grain = colors.patches(rest), colors.grain(rest)
    color = colors.skin * np.exp(0.035 * patch[:, :1] + 0.010 * grain[:, :1])
    red = np.array([1.0, 0.80, 0.79])
    blush = colors.blush * 0.55 * mask_at("blush", rest) * (1 + 0.3 * patch[:, 1])
    color = color * red ** blush[:, None]
    color = color * np.array([0.90, 0.80, 0.82]) ** (colors.bags * mask_at("bag", rest))[:, None]
    spots = smooth(1.5, 2.3, grain[:, 1] + 0.5 * patch[:, 2]) * np.maximum(mask_at("blush", rest), 0.25)
    color = color * np.array([0.82, 0.66, 0.55]) ** (colors.freckles * 1.3 * spots)[:, None]
    hair = mean_hair(colors)
    if colors.stubble:
        shadow = 0.30 * colors.stubble * mask_at("beard", rest) * (1 + 0.25 * grain[:, 2])
        color = color + shadow[:, None] * (0.6 * hair + 0.1 - color)
    brow = 0.35 * mask_at("brow", rest)
    color = color + brow[:, None] * (colors.brow * 0.7 + 0.3 * colors.skin - color)
    scalp = growth(rest, colors.style.line, colors.stray) * (0.30 if colors.style.name == "bald" else 0.62)
    color = color + scalp[:, None] * (0.75 * hair + 0.12 * colors.skin - color)
    lips = smooth(0.25, 0.75, mask_at("lips", rest))
    color = color + lips[:, None] * (colors.lips * np.exp(0.05 * grain[:, :1]) - color)
    lid = smooth(0.3, 0.8, mask_at("eye", rest))
    color = color + 0.5 * lid[:, None] * (colors.skin * np.array([0.80, 0.58, 0.56]) - color)
    if clothes is not None:
        cover = smooth(0.3, 0.7, clothes)[:, None]
        color = color + cover * (colors.clothes * np.exp(0.05 * grain[:, 2:3]) - color)
    return np.clip(color, 0.01, 1).astype(np.float32)


def _eye(colors: Colors, direction: np.ndarray) -> np.ndarray:
    """White, veined a little; an iris with a dark rim and spokes; the pupil."""
    angle = np.arccos(np.clip(direction[:, 2], -1, 1))
    around = np.arctan2(direction[:, 1], direction[:, 0])
    white = np.array([0.87, 0.84, 0.81]) * np.exp(-0.10 * smooth(0.6, 1.4, angle))[:, None] ** [1, 1.5, 1.5]
    spokes = 1 + 0.16 * np.sin(around * 17 + 3 * np.sin(around * 5)) + 0.10 * np.sin(around * 41)
    inner = 1.25 - 0.45 * smooth(0.2, IRIS_ANGLE, angle)
    rim = 1 - 0.55 * smooth(IRIS_ANGLE * 0.80, IRIS_ANGLE * 0.98, angle)
    iris = colors.iris * (spokes * inner * rim)[:, None]
    shown = iris + smooth(IRIS_ANGLE * 0.94, IRIS_ANGLE * 1.06, angle)[:, None] * (white - iris)
    pupil = smooth(0.185, 0.165, angle)[:, None]
    return np.clip(shown * (1 - pupil) + 0.02 * pupil, 0, 1).astype(np.float32)


@cache
def _masks() -> tuple[np.ndarray, ...]:
    """(512, 512) float32 each, rows upwards, in the order of ``MASKS``: polygons through landmarks, blurred."""
    model = load_morphable()
    left, bottom, width, height = _WINDOW
    places = (model.landmarks(model.mean)[:, :2] - [left, bottom]) / [width, height] * _SIDE

    def filled(shapes: tuple[tuple[int, ...], ...], blur: float, both: bool = True) -> np.ndarray:
        canvas = np.zeros((_SIDE, _SIDE), np.uint8)
        for shape in shapes:
            for members in (list(shape), model.landmark_mirror[list(shape)]) if both else (list(shape),):
                cv2.fillPoly(canvas, [np.round(places[members]).astype(np.int32)], (255.0,))
        return cv2.GaussianBlur(canvas.astype(np.float32) / 255, (0, 0), blur)

    lips = filled((_LIPS,), 2.0, both=False)
    no_lips = 1 - filled((_LIPS,), 3.0, both=False)
    return (
        lips,
        filled((_BROW,), 4.0),
        filled((_BEARD,), 9.0, both=False) * no_lips,
        np.maximum(filled((_CHEEK,), 16.0), 0.8 * filled((_NOSE_TIP,), 9.0)),
        filled((_EYE,), 2.5),
        filled((_UNDER_EYE,), 4.0),
        filled((_MOUSTACHE,), 4.0, both=False) * no_lips,
        filled((_GOATEE,), 5.0, both=False) * no_lips,
    )
