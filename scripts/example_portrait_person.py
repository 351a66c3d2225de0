"""The person of the example portrait: morphed CC0 head, eyes, shirt and painted masks of the skin. numpy and Pillow.

Units are the head pack's (1 = 10 cm, y up, z out of the face, x to the person's left).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from headstitch.backend.template.morphable import load_morphable
from headstitch.backend.template.pack import HEAD_CENTRE, WORLD_PER_DECIMETRE, load_pack, person
from PIL import Image, ImageDraw, ImageFilter

IRIS_RADIUS = 0.40  # of an eyeball with radius 1
MASK_WINDOW = (
    -0.9,
    6.0,
    1.8,
    2.4,
)  # left, bottom, width, height of the painted masks, on the base head seen from the front
COLLAR = (0.0, 0.275, 0.74, 0.655)  # the shirt's opening on the base head from above: centre x, z and radii

UPPER_LID = (
    263,
    466,
    388,
    387,
    386,
    385,
    384,
    398,
    362,
)  # MediaPipe landmarks of the person's left eye, outer to inner corner
LOWER_LID = (263, 249, 390, 373, 374, 380, 381, 382, 362)
LIPS = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
BROW = (336, 296, 334, 293, 300, 276, 283, 282, 295, 285)

SLEEVE_RINGS = 6

_UNITS = "expression/units/caucasian/"
_IDENTITY = {
    "head/head-oval": 0.35,
    "head/head-rectangular": 0.15,
    "head/head-scale-horiz-decr": 0.1,
    "chin/chin-prominent-incr": 0.25,
    "chin/chin-width-incr": 0.2,
    "chin/chin-height-incr": 0.1,
    "neck/neck-scale-horiz-decr": 0.1,
    "nose/nose-scale-vert-incr": 0.1,
    "nose/nose-hump-incr": 0.12,
    "nose/nose-point-up": 0.1,
    "nose/nose-scale-depth-incr": 0.15,
    "nose/nose-point-width-decr": 0.25,
    "nose/nose-width2-decr": 0.25,
    "nose/nose-flaring-incr": 0.2,
    "nose/nose-nostrils-width-decr": 0.1,
    "forehead/forehead-nubian-decr": 0.2,
    "forehead/forehead-scale-vert-decr": 0.25,
    "eyebrows/eyebrows-trans-forward": 0.35,
    "eyebrows/eyebrows-trans-down": 0.2,
    "mouth/mouth-lowerlip-volume-incr": 0.25,
    "mouth/mouth-upperlip-volume-incr": 0.35,
    "mouth/mouth-upperlip-height-incr": 0.2,
    "mouth/mouth-scale-horiz-incr": 0.08,
    "mouth/mouth-cupidsbow-incr": 0.3,
    "mouth/mouth-philtrum-volume-incr": 0.3,
    "mouth/mouth-laugh-lines-in": 0.35,
    _UNITS + "mouth-corner-puller": 0.24,
    "asym/asym-brown-1-l": 0.12,
    "asym/asym-mouth-1-r": 0.08,
    "asym/asym-nose-2-l": 0.08,
    "asym/asym-jaw-1-r": 0.1,
    "asym/asym-eye-3-l": 0.1,
}
_BOTH_SIDES = {
    "cheek/{}-cheek-bones-incr": 0.5,
    "cheek/{}-cheek-volume-decr": 0.2,
    "eyes/{}-eye-scale-incr": 0.12,
    "eyes/{}-eye-eyefold-concave": 0.5,
    "eyes/{}-eye-height2-incr": 0.3,
    "eyes/{}-eye-push1-in": 0.3,
    "eyes/{}-eye-push2-in": 0.3,
    "eyes/{}-eye-bag-in": 0.15,
    "ears/{}-ear-wing-decr": 0.4,
    "ears/{}-ear-scale-decr": 0.15,
}


@dataclass(frozen=True, eq=False)
class Person:
    """The morphed head and what is measured on it.

    Args:
        vertices: (V, 3) float64.
        rest: (V, 3) float32, the same vertices on the base head: texture coordinates that do not depend on the person.
        polygons: the body as quads and triangles.
        triangles: (F, 3) int32 of the body.
        landmarks: (L, 3) float64, MediaPipe's.
        eyes: centres of the person's left and right eye.
        eye_radius: of the eyeballs.
    """

    vertices: np.ndarray
    rest: np.ndarray
    polygons: list[list[int]]
    triangles: np.ndarray
    landmarks: np.ndarray
    eyes: tuple[np.ndarray, np.ndarray]
    eye_radius: float


def build_person(seed: int, body_turn: float) -> Person:
    """The person; ``seed`` varies small asymmetries. ``body_turn``: radians the shoulders turn to the person's left."""
    pack = load_pack()
    random = np.random.default_rng([seed, 1])
    weights = person({"caucasian": 0.78, "asian": 0.14, "african": 0.08}, male=0.86, age=0.37, muscle=0.55, weight=0.48)
    weights.update(_IDENTITY)
    for name, value in _BOTH_SIDES.items():
        for side in "lr":
            weights[name.format(side)] = value * random.uniform(0.9, 1.1)
    vertices = pack.morph(weights)
    vertices = _aligned(vertices.astype(np.float64))
    eyes = (pack.joint("joint-l-eye", vertices), pack.joint("joint-r-eye", vertices))
    helpers = vertices[np.unique(pack.group("helper-l-eye"))]
    eye_radius = float(np.linalg.norm(helpers - eyes[0], axis=1).mean())
    landmarks = load_morphable().landmarks(vertices)
    vertices = _twist(vertices, pack.base[:, 1], pack.joint("joint-neck", vertices), body_turn)
    triangles = pack.group("body")
    return Person(vertices, pack.base, _quads(triangles), triangles, landmarks, eyes, eye_radius)


def _aligned(vertices: np.ndarray) -> np.ndarray:
    """The head moved, turned and scaled so that its landmarks lie on those of the mean head, in PanoHead's frame.

    A closed-form similarity: Umeyama, "Least-squares estimation of transformation parameters" (1991), eq. 40 to 42.
    """
    model = load_morphable()
    used = model.landmark_used
    here = model.landmarks(vertices)[used]
    there = model.landmarks(model.mean / WORLD_PER_DECIMETRE + np.array(HEAD_CENTRE))[used]
    from_mean, to_mean = here - here.mean(axis=0), there - there.mean(axis=0)
    left, stretch, right = np.linalg.svd(to_mean.T @ from_mean)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    scale = (stretch * sign).sum() / (from_mean**2).sum()
    return (vertices - here.mean(axis=0)) @ (scale * (left * sign) @ right).T + there.mean(axis=0)


def _twist(vertices: np.ndarray, heights: np.ndarray, pivot: np.ndarray, angle: float) -> np.ndarray:
    """Turn what lies below the neck about the vertical axis through ``pivot``, none of it above the jaw."""
    share = np.clip((heights - 5.3) / (6.0 - 5.3), 0, 1)
    turn = angle * (1 - share * share * (3 - 2 * share))
    x, z = vertices[:, 0] - pivot[0], vertices[:, 2] - pivot[2]
    twisted = vertices.copy()
    twisted[:, 0] = pivot[0] + np.cos(turn) * x + np.sin(turn) * z
    twisted[:, 2] = pivot[2] - np.sin(turn) * x + np.cos(turn) * z
    return twisted


def _quads(triangles: np.ndarray) -> list[list[int]]:
    """Pair the two halves of each quad again (they are neighbours in the list), so that subdivision runs smoothly."""
    polygons, at = [], 0
    while at < len(triangles):
        first = triangles[at]
        second = triangles[at + 1] if at + 1 < len(triangles) else None
        if second is not None and first[0] == second[0] and first[2] == second[1]:
            polygons.append([int(i) for i in (*first, second[2])])
            at += 2
        else:
            polygons.append([int(i) for i in first])
            at += 1
    return polygons


def eyeball(steps: int = 48) -> tuple[np.ndarray, list[list[int]], np.ndarray]:
    """Sclera of radius 1 with a recessed iris, gaze along +z: vertices (N, 3), faces, distance from the axis (N,)."""
    edge = np.arcsin(IRIS_RADIUS)
    radii = np.linspace(0, IRIS_RADIUS, 14)
    iris = np.stack([radii, np.cos(edge) - 0.095 + 0.055 * (radii / IRIS_RADIUS) ** 2], axis=1)
    angles = np.linspace(edge, np.pi - 0.02, 30)
    return _revolve(np.concatenate([iris, np.stack([np.sin(angles), np.cos(angles)], axis=1)]), steps)


def cornea(steps: int = 48) -> tuple[np.ndarray, list[list[int]], np.ndarray]:
    """The clear wet shell over the eyeball with the bulge over the iris, as ``eyeball`` gives it."""
    shell, bulge = 1.004, 0.59
    edge = np.arcsin(IRIS_RADIUS * 1.06 / shell)
    centre = shell * np.cos(edge) - np.sqrt(bulge**2 - (shell * np.sin(edge)) ** 2)
    cap = np.linspace(0, np.arcsin(shell * np.sin(edge) / bulge), 14)[:-1]
    front = np.stack([bulge * np.sin(cap), centre + bulge * np.cos(cap)], axis=1)
    angles = np.linspace(edge + 0.03, np.pi * 0.6, 24)
    back = np.stack([shell * np.sin(angles), shell * np.cos(angles)], axis=1)
    return _revolve(np.concatenate([front, back]), steps)


def _revolve(profile: np.ndarray, steps: int) -> tuple[np.ndarray, list[list[int]], np.ndarray]:
    angle = np.linspace(0, 2 * np.pi, steps, endpoint=False)
    rings = len(profile)
    vertices = np.stack(
        [
            profile[:, None, 0] * np.cos(angle),
            profile[:, None, 0] * np.sin(angle),
            np.broadcast_to(profile[:, None, 1], (rings, steps)),
        ],
        axis=-1,
    ).reshape(-1, 3)
    faces = [
        [r * steps + s, (r + 1) * steps + s, (r + 1) * steps + (s + 1) % steps, r * steps + (s + 1) % steps]
        for r in range(rings - 1)
        for s in range(steps)
    ]
    return vertices, faces, np.repeat(profile[:, 0], steps)


def in_collar(rest: np.ndarray) -> np.ndarray:
    """(N,) below 1 inside the shirt's opening, at places on the base head (N, 3)."""
    return np.hypot((rest[:, 0] - COLLAR[0]) / COLLAR[2], (rest[:, 2] - COLLAR[1]) / COLLAR[3])


def shirt(who: Person) -> tuple[np.ndarray, list[list[int]], np.ndarray]:
    """Cloth over shoulders and chest: smoothed body, pushed outwards, drawn out at the cut, open at the neck.

    Returns vertices (N, 3), faces, and the collar (M, 3): the ordered places around the opening.
    """
    faces = [p for p in who.polygons if who.rest[p, 1].max() < 5.98]
    used = np.unique(np.concatenate(faces))
    index = np.full(len(who.vertices), -1)
    index[used] = np.arange(len(used))
    faces = [[int(index[i]) for i in polygon] for polygon in faces]
    points = _relax(who.vertices[used], faces, rounds=10)
    points += 0.055 * _normals(points, faces)
    both = np.concatenate([points, who.rest[used]], axis=1)
    both, faces = _quarter(*_quarter(both, faces))
    points, neck = _relax(both[:, :3], faces, rounds=4), in_collar(both[:, 3:])

    faces = [p for p in faces if neck[p].min() > 1]
    at_neck = np.array([i for i in _border(faces) if neck[i] < 1.25 and both[i, 4] > 4.9])
    middle = points[at_neck].mean(axis=0)
    order = np.argsort(np.arctan2(points[at_neck, 2] - middle[2], points[at_neck, 0] - middle[0]))
    collar = points[at_neck[order]]

    rim = sorted(set(_border(faces)) - set(at_neck.tolist()))
    side = np.clip((np.abs(points[rim, :1]) - 1.2) / 0.5, 0, 1)
    step = ([0.0, -1.0, 0.0] + side * np.sign(points[rim, :1]) * [0.50, 0.0, 0.0]) / SLEEVE_RINGS
    edges = [(a, b) for b, a in _border_edges(faces) if a in set(rim) and b in set(rim)]
    for _ in range(SLEEVE_RINGS):
        new = {i: len(points) + k for k, i in enumerate(rim)}
        points = np.concatenate([points, points[rim] + step])
        faces = faces + [[a, b, new[b], new[a]] for a, b in edges]
        edges, rim = [(new[a], new[b]) for a, b in edges], [new[i] for i in rim]
    return _relax(points, faces, rounds=40), faces, collar


def _relax(points: np.ndarray, faces: list[list[int]], rounds: int) -> np.ndarray:
    """Laplacian smoothing that leaves the border where it is."""
    edges = np.array([(p[i], p[i - 1]) for p in faces for i in range(len(p))])
    degree = np.maximum(np.bincount(edges.ravel(), minlength=len(points)), 1)[:, None]
    border = _border(faces)
    for _ in range(rounds):
        total = np.zeros_like(points)
        np.add.at(total, edges[:, 0], points[edges[:, 1]])
        np.add.at(total, edges[:, 1], points[edges[:, 0]])
        mean = total / degree
        mean[border] = points[border]
        points = 0.4 * points + 0.6 * mean
    return points


def _quarter(points: np.ndarray, faces: list[list[int]]) -> tuple[np.ndarray, list[list[int]]]:
    """Split each face into quads at its middle and the middles of its edges."""
    places = list(points)
    halves: dict[tuple[int, int], int] = {}

    def half(a: int, b: int) -> int:
        key = (min(a, b), max(a, b))
        if key not in halves:
            halves[key] = len(places)
            places.append((points[a] + points[b]) / 2)
        return halves[key]

    split = []
    for polygon in faces:
        middle = len(places)
        places.append(points[polygon].mean(axis=0))
        for k, corner in enumerate(polygon):
            split.append([corner, half(corner, polygon[(k + 1) % len(polygon)]), middle, half(polygon[k - 1], corner)])
    return np.array(places), split


def _border_edges(faces: list[list[int]]) -> list[tuple[int, int]]:
    directed = {(p[i - 1], p[i]) for p in faces for i in range(len(p))}
    return sorted(e for e in directed if (e[1], e[0]) not in directed)


def _border(faces: list[list[int]]) -> list[int]:
    return sorted({i for edge in _border_edges(faces) for i in edge})


def _normals(points: np.ndarray, faces: list[list[int]]) -> np.ndarray:
    normals = np.zeros_like(points)
    for polygon in faces:
        corners = points[polygon]
        normals[polygon] += np.cross(corners[1] - corners[0], corners[2] - corners[0])
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def skin_masks(size: int = 768) -> np.ndarray:
    """(2, size, size, 4) float32, rows upwards: lips, brows, beard, blush; lid rims, eye bags, T-zone, seam.

    Painted over the base head seen from the front, inside ``MASK_WINDOW``.
    """
    points = load_morphable().landmarks(load_pack().base.astype(np.float64))
    places = (points[:, :2] - MASK_WINDOW[:2]) / MASK_WINDOW[2:] * size
    mirror = load_morphable().landmark_mirror

    def paint(shapes: list[tuple[int, ...]], blur: float, both: bool = True) -> np.ndarray:
        canvas = Image.new("L", (size, size))
        draw = ImageDraw.Draw(canvas)
        for shape in shapes:
            for ids in (shape, tuple(mirror[list(shape)])) if both else (shape,):
                draw.polygon([tuple(places[i]) for i in ids], fill=255)
        return np.asarray(canvas.filter(ImageFilter.GaussianBlur(blur * size / 768)), np.float32) / 255

    eye = (*UPPER_LID, *LOWER_LID[::-1])
    beard = (
        447,
        323,
        361,
        288,
        397,
        365,
        379,
        378,
        400,
        377,
        152,
        148,
        176,
        149,
        150,
        136,
        172,
        58,
        132,
        93,
        227,
        177,
        147,
    )
    beard = (*beard, 187, 207, 206, 98, 97, 2, 326, 327, 426, 427, 411, 376, 401)
    inner = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 310, 311, 312, 14, 87, 178, 95)
    first = [
        paint([LIPS], 3.0, both=False),
        paint([BROW], 8.0),
        paint([beard], 14.0, both=False) * (1 - paint([LIPS], 5.0, both=False)),
        np.maximum(paint([(280, 330, 266, 423, 411, 346)], 26.0), 0.8 * paint([(4, 45, 220, 1, 440, 275)], 14.0)),
    ]
    second = [
        paint([eye], 3.5),
        paint([(463, 341, 256, 252, 253, 254, 339, 448, 449, 450, 451, 452, 453)], 6.0),
        np.maximum(
            paint([(9, 336, 285, 417, 351, 419, 248, 281, 5, 51, 3, 196, 122, 193, 55, 107)], 14.0),
            0.8 * paint([(10, 338, 337, 336, 9, 107, 108, 109)], 30.0),
        ),
        paint([inner], 1.5, both=False),
    ]
    return np.stack([np.stack(first, axis=-1), np.stack(second, axis=-1)])


def sample_mask(mask: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """(N,) values of a painted mask (size, size), rows upwards, at places on the base head (N, 3)."""
    size = len(mask)
    at = (rest[:, :2] - MASK_WINDOW[:2]) / MASK_WINDOW[2:] * size
    column, row = np.clip(at, 0, size - 1).astype(int).T
    return mask[row, column]
