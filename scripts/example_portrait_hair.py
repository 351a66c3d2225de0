"""Hair of the example portrait: strands stepped through a combing field over the scalp. numpy and scipy only.

All strands are (N, K, 3) polylines, root first, in the head pack's units (1 = 10 cm).
"""

from __future__ import annotations

import numpy as np
from example_portrait_person import LOWER_LID, UPPER_LID, Person, sample_mask
from headstitch.backend.template.morphable import load_morphable
from scipy.spatial import cKDTree

SKULL = np.array([0.0, 7.45, 0.45])  # where the hairline's angles are measured from
WHORL = np.array([-0.10, 8.30, 0.02])  # the crown, from which hair grows in all directions

# The hairline on the base head: azimuth from the face (degrees) and the elevation below which no hair grows.
_HAIRLINE = np.array(
    [
        (0, 38), (14, 38.5), (26, 38.5), (36, 36.5), (44, 32), (51, 22), (56, 9), (60, -5), (63, -17), (67, -30),
        (77, -30), (82, -6), (88, 7), (97, 8), (106, 4), (116, -14), (126, -30), (145, -42), (180, -46),
    ]
)  # fmt: skip


class Skin:
    """The head's surface as points: roots to grow from, and a signed distance that keeps strands outside."""

    def __init__(self, who: Person, random: np.random.Generator, count: int = 90_000):
        corners = who.vertices[who.triangles].astype(np.float64)
        rest = who.rest[who.triangles].astype(np.float64)
        head = rest[:, :, 1].min(axis=1) > 5.9
        corners, rest = corners[head], rest[head]
        self.corners, self.rest_corners = corners, rest
        self.corner_normals = _vertex_normals(who)[who.triangles[head]]
        self.points, self.normals, self.rest = self.sample(count, random)
        ear = (np.abs(self.rest[:, 0]) > 0.76) & (
            self.rest[:, 1] < 7.5
        )  # hair tucks behind the ears: they push none away
        self.points, self.normals, self.rest = self.points[~ear], self.normals[~ear], self.rest[~ear]
        self.tree = cKDTree(self.points)

    def sample(
        self, count: int, random: np.random.Generator, inside: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points, normals and rest places (N, 3) spread evenly over the triangles (of the mask ``inside``)."""
        area = np.linalg.norm(
            np.cross(self.corners[:, 1] - self.corners[:, 0], self.corners[:, 2] - self.corners[:, 0]), axis=1
        )
        if inside is not None:
            area = area * inside
        pick = random.choice(len(area), count, p=area / area.sum())
        u, v = np.sqrt(random.random(count)), random.random(count)
        bary = np.stack([1 - u, u * (1 - v), u * v], axis=1)[:, :, None]
        return (
            (self.corners[pick] * bary).sum(1),
            _unit((self.corner_normals[pick] * bary).sum(1)),
            (self.rest_corners[pick] * bary).sum(1),
        )

    def distance(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Signed distance (N,), outward normal (N, 3) and rest place (N, 3) of the nearest skin."""
        _, near = self.tree.query(points, k=3, workers=2)
        normal = _unit(self.normals[near].mean(axis=1))
        offset = points - self.points[near].mean(axis=1)
        return (offset * normal).sum(axis=1), normal, self.rest[near].mean(axis=1)


def scalp_hair(who: Person, skin: Skin, count: int, seed: int) -> np.ndarray:
    """(count, 15, 3): short on the sides, medium on top, swept from the crown to the person's right."""
    random = np.random.default_rng([seed, 2])
    roots, normals, rest = _scalp_roots(skin, count, random)
    azimuth, elevation = _angles(rest)
    wander = _field(rest, seed)  # (N, 4) smooth noise over the scalp: locks that stray together
    top = _smooth(26, 60, elevation)
    front = _smooth(75, 15, np.abs(azimuth)) * top
    back = _smooth(110, 150, np.abs(azimuth)) * (1 - top)
    length = 0.27 + 0.42 * top + 0.16 * front + 0.08 * back
    edge = elevation - _hairline(azimuth)
    length *= 0.45 + 0.55 * _smooth(0, 16, edge + 3 * wander[:, 3])
    sideburn = _smooth(14, 2, elevation) * _smooth(84, 74, np.abs(azimuth))
    length *= (1 - 0.62 * sideburn) * random.uniform(0.72, 1.08, len(roots)) * (1 + 0.18 * wander[:, 2])
    height = (0.03 + 0.21 * top + 0.14 * front) * random.uniform(0.35, 1.0, len(roots)) * (1 - 0.6 * sideburn)
    height *= 1 - 0.7 * _smooth(13, 0, edge) * _smooth(34, 44, np.abs(azimuth))  # close to the temples

    steps = 14
    strands = [roots]
    point, normal, place = roots, normals, rest
    rise = 0.40 + 0.25 * top + 0.5 * front
    heading = _unit(_combing(rest, normals, wander) * 0.9 + normals * rise[:, None])
    gap = np.zeros(len(roots))
    for k in range(steps):
        flow = _combing(place, normal, wander)
        walked = (k + 1) / steps
        target = height * np.sin(np.pi * np.clip(0.12 + 0.75 * walked, 0, 0.62))
        lift = np.clip((target - gap) / 0.10, -0.9, 1.1)
        wanted = _unit(flow + normal * lift[:, None] + np.array([0.0, -0.22, 0.0]) * walked)
        heading = _unit(0.52 * heading + 0.48 * wanted)
        point = point + heading * (length / steps)[:, None]
        gap, normal, place = skin.distance(point)
        inside = np.maximum(0.010 - gap, 0) * min(1.0, (k + 1) / 2)
        point = point + normal * inside[:, None]
        gap = gap + inside
        strands.append(point)
    hair = np.stack(strands, axis=1)
    hair = _clump(hair, random, groups=len(hair) // 55, strength=0.50, spread=0.45)
    hair = _clump(hair, random, groups=len(hair) // 9, strength=0.28, spread=0.6)
    return _wave(hair, random, amplitude=0.008).astype(np.float32)


def brows(skin: Skin, mask: np.ndarray, count: int, seed: int) -> np.ndarray:
    """(n, 6, 3) hairs of both brows: upright at the nose, lying outwards along the arch. ``mask``: painted brows."""
    random = np.random.default_rng([seed, 3])
    face = (skin.rest_corners[:, :, 2].min(1) > 0.9) & (np.abs(skin.rest_corners[:, :, 1].mean(1) - 7.4) < 0.2)
    points, normals, rest = skin.sample(count * 14, random, face)
    side = np.sign(rest[:, 0])
    along = np.clip((np.abs(rest[:, 0]) - 0.11) / (0.56 - 0.11), 0, 1)
    full = _smooth(-0.05, 0.22, along) * (1 - 0.25 * along) * (0.85 + 0.15 * _field(rest * 3, seed)[:, 0])
    full = full * _smooth(0.22, 0.6, sample_mask(mask, rest))
    keep = np.flatnonzero(random.random(len(rest)) < full)[:count]
    points, normals, rest, side, along = points[keep], normals[keep], rest[keep], side[keep], along[keep]
    middle = np.interp(along, [0, 0.25, 0.62, 1], [7.395, 7.425, 7.435, 7.37])
    above = np.clip((rest[:, 1] - middle) / 0.03, -1, 1)
    rise = np.interp(along, [0, 0.15, 0.5, 1], [1.5, 0.7, 0.15, -0.45]) - 0.35 * above
    heading = np.stack([side * (0.35 + along), rise, -0.35 * along], axis=1)
    length = (0.058 + 0.022 * np.sin(np.pi * along)) * random.uniform(0.6, 1.15, len(points))
    return _short(points, normals, heading, length, random, lift=0.20, noise=0.16, bend=0.5, steps=5)


def stubble(skin: Skin, mask: np.ndarray, count: int, seed: int) -> np.ndarray:
    """(n, 3, 3) very short hairs where the painted ``mask`` of the beard says so."""
    random = np.random.default_rng([seed, 4])
    face = (skin.rest_corners[:, :, 2].min(1) > 0.2) & (skin.rest_corners[:, :, 1].max(1) < 7.2)
    points, normals, rest = skin.sample(count * 6, random, face)
    full = sample_mask(mask, rest) * _smooth(0.3, 0.55, rest[:, 2])
    keep = np.flatnonzero(random.random(len(rest)) < full)[:count]
    heading = np.stack([rest[keep, 0] * 0.4, -np.ones(len(keep)), np.full(len(keep), 0.2)], axis=1)
    length = random.uniform(0.006, 0.017, len(keep))
    return _short(points[keep], normals[keep], heading, length, random, lift=0.9, noise=0.3, bend=0.3, steps=2)


def lashes(who: Person, seed: int) -> np.ndarray:
    """(n, 7, 3) lashes that grow from the rims of the lids and curve up (upper) or down (lower)."""
    random = np.random.default_rng([seed, 5])
    mirror = load_morphable().landmark_mirror
    parts = []
    for eye, centre in enumerate(who.eyes):
        for lid, count, up, long in ((UPPER_LID, 110, 1.0, 0.078), (LOWER_LID, 55, -1.0, 0.036)):
            ids = np.array(lid) if eye == 0 else mirror[list(lid)]
            rim = who.landmarks[ids]
            at = np.sort(random.uniform(0.04, 0.90, count))
            root = np.stack([np.interp(at, np.linspace(0, 1, len(rim)), rim[:, k]) for k in range(3)], axis=1)
            out = _unit(root - centre)
            root = root + random.normal(0, 0.0015, root.shape) + out * 0.002
            sway = np.clip((root[:, :1] - centre[0]) / 0.13, -1, 1) * np.array([0.5, 0.0, 0.0])
            length = long * random.uniform(0.65, 1.1, count) * (0.6 + 0.4 * np.sin(np.pi * np.clip(1.15 - at, 0, 1)))
            strand, heading = [root], _unit(out * np.array([1, 0.4, 1]) + sway + [0, -0.10 * up, 0.2])
            for _ in range(6):
                strand.append(strand[-1] + heading * (length / 6)[:, None])
                heading = _unit(heading + np.array([0.0, 0.20 * up, 0.0]) + random.normal(0, 0.03, root.shape))
            parts.append(np.stack(strand, axis=1))
    return np.concatenate(parts).astype(np.float32)


def scalp_cover(rest: np.ndarray) -> np.ndarray:
    """(N,) how much of the skin at these rest places is scalp, 0 to 1."""
    azimuth, elevation = _angles(rest)
    return _smooth(-2.0, 7.0, elevation - _hairline(azimuth)) * (np.abs(rest[:, 0]) < 0.78)


def _scalp_roots(skin: Skin, count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    near = _angles(skin.rest_corners.mean(axis=1))
    inside = near[1] > _hairline(near[0]) - 8
    points, normals, rest = skin.sample(count * 3, random, inside)
    azimuth, elevation = _angles(rest)
    edge = elevation - _hairline(azimuth) + 2.2 * _field(rest * 2.5, 7)[:, 1]
    ear = (np.abs(azimuth) > 78) & (np.abs(azimuth) < 118) & (np.abs(rest[:, 0]) > 0.74) & (rest[:, 1] < 7.42)
    keep = np.flatnonzero((random.random(len(rest)) < _smooth(-3.5, 5.0, edge)) & ~ear)[:count]
    return points[keep], normals[keep], rest[keep]


def _combing(rest: np.ndarray, normal: np.ndarray, wander: np.ndarray) -> np.ndarray:
    """Unit tangents (N, 3): away from the crown, on top swept to the person's right, at the sides down and back."""
    away = _unit(rest - WHORL)
    azimuth, elevation = _angles(rest)
    top = _smooth(25, 55, elevation) * _smooth(120, 60, np.abs(azimuth))
    side = _smooth(40, 20, elevation) * _smooth(64, 88, np.abs(azimuth)) * _smooth(150, 110, np.abs(azimuth))
    swirl = np.cross(normal, away) * np.exp(-(((rest - WHORL) ** 2).sum(axis=1)) / 0.05)[:, None]
    flow = away + 0.6 * swirl
    flow = flow + top[:, None] * np.array([-1.25, 0.0, -0.70])
    flow = flow + side[:, None] * np.array([0.0, -0.35, -0.75])
    flow = flow + 0.30 * wander[:, :1] * np.cross(normal, away)
    return _unit(flow - (flow * normal).sum(axis=1, keepdims=True) * normal)


def _angles(rest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Azimuth from the face and elevation, degrees, of places on the base head."""
    from_skull = rest - SKULL
    azimuth = np.degrees(np.arctan2(from_skull[:, 0], from_skull[:, 2]))
    return azimuth, np.degrees(np.arctan2(from_skull[:, 1], np.hypot(from_skull[:, 0], from_skull[:, 2])))


def _hairline(azimuth: np.ndarray) -> np.ndarray:
    return np.interp(np.abs(azimuth), _HAIRLINE[:, 0], _HAIRLINE[:, 1])


def _clump(hair: np.ndarray, random: np.random.Generator, groups: int, strength: float, spread: float) -> np.ndarray:
    """Draw each strand towards its group's leader, more towards the tip; ``spread`` of the group's width stays."""
    leaders = random.choice(len(hair), max(groups, 1), replace=False)
    middle = hair[:, hair.shape[1] // 2]
    _, nearest = cKDTree(middle[leaders]).query(middle, workers=2)
    leader = hair[leaders[nearest]]
    along = np.linspace(0, 1, hair.shape[1])[None, :, None]
    pull = strength * random.uniform(0.4, 1.0, (len(hair), 1, 1)) * along**0.9
    gathered = leader - leader[:, :1] + hair[:, :1] * (spread) + leader[:, :1] * (1 - spread)
    return hair * (1 - pull) + gathered * pull


def _wave(hair: np.ndarray, random: np.random.Generator, amplitude: float) -> np.ndarray:
    """A gentle irregular bend across each strand, and a few strands that fly away."""
    tangent = _unit(np.gradient(hair, axis=1))
    across = _unit(np.cross(tangent, random.normal(size=(len(hair), 1, 3))))
    arc = np.concatenate(
        [np.zeros((len(hair), 1)), np.cumsum(np.linalg.norm(np.diff(hair, axis=1), axis=2), 1)], axis=1
    )
    phase, pitch = random.uniform(0, 2 * np.pi, (len(hair), 1)), random.uniform(1.2, 2.6, (len(hair), 1))
    fly = np.where(random.random((len(hair), 1)) < 0.035, 3.2, 1.0)
    bend = amplitude * fly * np.clip(arc / 0.25, 0, 1.5) * np.sin(2 * np.pi * pitch * arc + phase)
    return hair + across * bend[..., None]


def _short(
    points: np.ndarray,
    normals: np.ndarray,
    heading: np.ndarray,
    length: np.ndarray,
    random: np.random.Generator,
    *,
    lift: float,
    noise: float,
    bend: float,
    steps: int,
) -> np.ndarray:
    """(N, steps + 1, 3) short hairs that leave the skin by ``lift`` and bend back to ``heading`` along it."""
    tangent = _unit(heading)
    tangent = _unit(tangent - (tangent * normals).sum(axis=1, keepdims=True) * normals)
    tangent = _unit(tangent + noise * random.normal(size=tangent.shape))
    direction = _unit(tangent + lift * normals)
    strand = [points - 0.003 * normals]
    for _ in range(steps):
        strand.append(strand[-1] + direction * (length / steps)[:, None])
        direction = _unit(direction + bend / steps * (tangent - 0.5 * lift * normals))
    return np.stack(strand, axis=1).astype(np.float32)


def _field(rest: np.ndarray, seed: int) -> np.ndarray:
    """(N, 4) smooth noise of unit size over places on the head: a sum of waves with random directions."""
    random = np.random.default_rng([seed, 6])
    waves = random.normal(0, 5.0, (3, 4, 8))
    phase = random.uniform(0, 2 * np.pi, (4, 8))
    return np.sin(np.einsum("nd,dcw->ncw", rest, waves) + phase).mean(axis=2) * 2.0


def _vertex_normals(who: Person) -> np.ndarray:
    normals = np.zeros(who.vertices.shape)
    corners = who.vertices[who.triangles].astype(np.float64)
    face = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    for k in range(3):
        np.add.at(normals, who.triangles[:, k], face)
    return _unit(normals)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def _smooth(start: float, end: float, value: np.ndarray) -> np.ndarray:
    """Smoothstep from 0 at ``start`` to 1 at ``end`` (either order)."""
    t = np.clip((value - start) / (end - start), 0, 1)
    return t * t * (3 - 2 * t)
