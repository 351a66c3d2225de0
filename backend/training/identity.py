"""A person drawn by lot: age, sex, ancestry, shape and expression as weights of the CC0 morphs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from ..template.morphable import load_morphable
from ..template.pack import load_pack, person, to_world
from .chance import Part, dice

ANCESTRIES: tuple[str, ...] = ("african", "asian", "caucasian")
_OPPOSITES = (
    ("incr", "decr"),
    ("up", "down"),
    ("out", "in"),
    ("forward", "backward"),
    ("convex", "concave"),
    ("uncompress", "compress"),
)
_HEAD_SHAPES = ("diamond", "invertedtriangular", "oval", "rectangular", "round", "square", "triangular")
# How far the morphs of a region go, as the standard deviation of their weight; those that make monsters go less far.
_SPREAD = {
    "cheek": 0.24,
    "chin": 0.22,
    "ears": 0.24,
    "eyebrows": 0.22,
    "eyes": 0.20,
    "forehead": 0.20,
    "head": 0.14,
    "measure": 0.16,
    "mouth": 0.20,
    "neck": 0.16,
    "nose": 0.24,
}
_GENTLE = {
    "chin/chin-jaw-drop": 0.10,
    "chin/chin-prognathism": 0.12,
    "ears/*-ear-wing": 0.30,
    "eyes/*-eye-push1": 0.12,
    "eyes/*-eye-push2": 0.12,
    "eyes/*-eye-scale": 0.14,
    "eyes/*-eye-bag": 0.25,
    "forehead/forehead-nubian": 0.12,
    "head/head-fat": 0.22,
    "head/head-angle": 0.08,
    "mouth/mouth-trans": 0.08,
    "mouth/mouth-scale-depth": 0.12,
    "neck/neck-double": 0.12,
    "nose/nose-scale-vert": 0.14,
    "nose/nose-scale-depth": 0.18,
    "nose/nose-greek": 0.14,
}
_LEFT_OUT = ("head/head-age", "head/head-trans", "neck/neck-trans", "mouth/mouth-trans-in", "nose/nose-trans-in")
_ONE_SIDED = 0.035  # deviation between the left and the right side of a morph that has both
_MOST = 0.7  # no single morph goes farther


@dataclass(frozen=True, eq=False)
class Person:
    """Who the head belongs to.

    Args:
        years: age in years, 12 to 85.
        male: 0 woman .. 1 man.
        ancestry: shares of ``ANCESTRIES``; they sum to 1.
        weights: of the pack's morphs, expression included.
        relaxed: the same without the expression, by which the head is aligned.
        smile, mouth_open, eyes_closed: the expression, 0 .. 1.
    """

    years: float
    male: float
    ancestry: dict[str, float]
    weights: dict[str, float]
    relaxed: dict[str, float]
    smile: float
    mouth_open: float
    eyes_closed: float


def draw_person(seed: int, number: int, men: float = 0.5) -> Person:
    """The person of head ``number``, a man with the chance ``men``; ages and ancestries mix freely."""
    random = dice(seed, number, Part.PERSON)
    shares = random.dirichlet([0.45] * 3)
    ancestry: dict[str, float] = dict(zip(ANCESTRIES, shares.tolist(), strict=True))
    male = abs(float(random.random() < men) - 0.49 * float(random.beta(1.0, 4.0)))
    years = float(np.clip(14 + 66 * random.beta(1.35, 1.9), 14, 80))
    # The pack's stops: a child of about 11, a young adult of 25, an old one of 90. Its old heads are masks: not so far.
    age = float(np.interp(years, [11, 25, 80], [0.0, 1 / 3, 0.80]))
    weights = person(ancestry, male, age, muscle=float(random.beta(4, 4)), weight=float(random.beta(3.2, 3.6)))
    boldness = random.choice([0.6, 1.0, 1.35], p=[0.3, 0.5, 0.2])
    for name, pair in _pairs().items():
        spread = next((size for start, size in _GENTLE.items() if name.startswith(start)), None)
        value = random.normal(0, boldness * (spread if spread is not None else _SPREAD[name.partition("/")[0]]))
        for up, down in pair:
            one = value + (random.normal(0, _ONE_SIDED) if len(pair) > 1 else 0.0)
            one = float(np.clip(one, -_MOST, _MOST))
            weights[up if one > 0 else down] = abs(one)
    for shape in random.choice(_HEAD_SHAPES, 2, replace=False):
        weights[f"head/head-{shape}"] = float(random.uniform(0, 0.5))
    for name in load_pack().targets:
        if name.startswith("asym/"):
            small = 0.05 if "mouth" in name or "jaw" in name or "eye" in name else 0.09
            weights[name] = min(abs(float(random.normal(0, small))), 0.25)
    expression, smile, mouth_open, closed = _expression(random, ancestry)
    return Person(years, male, ancestry, {**weights, **expression}, weights, smile, mouth_open, closed)


def shape_of(who: Person) -> np.ndarray:
    """(V, 3) float64 upright vertices in world units, the relaxed face aligned to the mean head's by a similarity.

    So rules that speak of places on the mean head hold on every head, and cameras see it in its place (``frame.py``).
    """
    model, pack = load_morphable(), load_pack()
    used = model.landmark_used
    target = model.landmarks(model.mean)[used]
    relaxed = model.landmarks(to_world(pack.morph(who.relaxed)))[used]
    scale, turn, middle = _similarity(relaxed, target)
    return scale * (to_world(pack.morph(who.weights)) - middle) @ turn.T + target.mean(axis=0)


def _similarity(points: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Scale, rotation and centre that bring points (N, 3) closest to target (N, 3) (Umeyama 1991, eq. 40 to 42)."""
    middle = points.mean(axis=0)
    source, goal = points - middle, target - target.mean(axis=0)
    left, size, right = np.linalg.svd(goal.T @ source)
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    turn = left @ flip @ right
    return float((size * np.diag(flip)).sum() / (source**2).sum()), turn, middle


def _expression(
    random: np.random.Generator, ancestry: dict[str, float]
) -> tuple[dict[str, float], float, float, float]:
    """Moderate: three in five smile or part their lips a little, some raise or knit the brows, few blink."""
    smile = float(random.beta(1.4, 1.6)) if random.random() < 0.55 else 0.0
    mouth_open = float(random.beta(1.3, 2.5)) if random.random() < 0.35 else 0.0
    closed = float(random.uniform(0.5, 1.0)) if random.random() < 0.03 else 0.0
    squint = max(0.0, float(random.normal(0.25 * smile, 0.12)))
    brows = float(random.normal(0, 0.22))
    units = {
        "mouth-corner-puller": 0.75 * smile,
        "mouth-part-later": 0.35 * mouth_open * smile,
        "mouth-open": 0.30 * mouth_open,
        "mouth-pursing": max(0.0, float(random.normal(-0.25, 0.15))),
        "mouth-compression": max(0.0, float(random.normal(-0.15, 0.15))) * (mouth_open == 0),
        "nose-compression": max(0.0, float(random.normal(-0.2, 0.2))),
    }
    for side in ("left", "right"):
        units[f"eye-{side}-slit"] = float(np.clip(squint + random.normal(0, 0.03), 0, 0.6)) * (closed == 0)
        units[f"eye-{side}-closure"] = closed
        raised = float(np.clip(brows + random.normal(0, 0.05), -0.5, 0.6))
        units[f"eyebrows-{side}-{'up' if raised > 0 else 'down'}"] = abs(raised)
    weights = {
        f"expression/units/{name}/{unit}": weight * share
        for unit, weight in units.items()
        for name, share in ancestry.items()
        if weight * share
    }
    return weights, smile, mouth_open, closed


@cache
def _pairs() -> dict[str, tuple[tuple[str, str], ...]]:
    """Morph to its opposites: "nose/nose-hump" to (incr, decr); both sides of the face under one name with a star."""
    targets = load_pack().targets
    found: dict[str, tuple[tuple[str, str], ...]] = {}
    for name in targets:
        region = name.partition("/")[0]
        if region not in _SPREAD or name.startswith(_LEFT_OUT):
            continue
        for up, down in _OPPOSITES:
            stem = name.removesuffix(f"-{up}")
            if stem != name and f"{stem}-{down}" in targets:
                key = stem.replace("/l-", "/*-").replace("/r-", "/*-")
                found[key] = (*found.get(key, ()), (name, f"{stem}-{down}"))
    return found
