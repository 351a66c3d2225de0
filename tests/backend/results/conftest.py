"""A made-up head that MediaPipe takes for a face: the mean head of the CC0 template, painted from its landmarks.

``painted_head.npz``: ``vertices`` (V, 3), ``faces`` (F, 3) and ``landmarks`` (478, 3) in world units, meshed from
MakeHuman's CC0 base mesh at its mean; closed at the neck.
"""

from pathlib import Path

import cv2
import numpy as np
import pytest
from headstitch.backend.camera import Camera
from headstitch.backend.meshing.mesh import Mesh, SurfaceReport, TexturedMesh

SIDE = 1024
MIDDLE = np.array([0.0, -0.02, -0.06])  # of the sphere on which the atlas is unrolled
BROWS = ([70, 63, 105, 66, 107, 55, 65, 52, 53, 46], [300, 293, 334, 296, 336, 285, 295, 282, 283, 276])
EYES = (
    [33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7],
    [263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249],
)
LIPS = [61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146]
MOUTH = [78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95]


def unroll(points):
    """World points (..., 3) to UVs on the sphere; the seam is at the back, u of a front point is 0.5."""
    x, y, z = np.moveaxis(points - MIDDLE, -1, 0)
    u = 0.5 + 0.9 * np.arctan2(x, z) / (2 * np.pi)
    return np.stack([u, 0.5 + 0.98 * np.arctan2(y, np.hypot(x, z)) / np.pi], axis=-1)


def corner_uvs(mesh):
    """(F, 3, 2): triangles across the seam keep together."""
    uvs = unroll(mesh.vertices[mesh.faces].astype(np.float64))
    across = np.ptp(uvs[..., 0], axis=1) > 0.5
    uvs[..., 0] += np.where(across[:, None] & (uvs[..., 0] < 0.5), 0.9, 0.0)
    return np.clip(uvs, 0, 1).astype(np.float32)


def paint(landmarks):
    """(SIDE, SIDE, 3) uint8: skin, dark hair, brows, eyes and lips where the landmarks say."""
    at = unroll(landmarks.astype(np.float64))
    at = np.stack([at[:, 0] * SIDE, (1 - at[:, 1]) * SIDE], axis=1)

    def polygon(members):
        return np.round(at[members] * 16).astype(np.int32)

    def fill(members, color):
        cv2.fillPoly(image, [polygon(members)], color, cv2.LINE_AA, 4)

    row, column = np.mgrid[:SIDE, :SIDE]
    front = np.cos((column / SIDE - 0.5) / 0.9 * 2 * np.pi)
    image = np.empty((SIDE, SIDE, 3), np.uint8)
    image[:] = (205, 160, 135)
    for cheek in (205, 425):
        blush = np.exp(-((column - at[cheek, 0]) ** 2 + (row - at[cheek, 1]) ** 2) / 900)[..., None]
        image = (image * (1 - 0.25 * blush) + np.array([205, 120, 105]) * 0.25 * blush).astype(np.uint8)
    hair = row < at[10, 1] + (at[152, 1] - at[10, 1]) * 0.55 * np.clip(0.45 - front, 0, 1) - 12
    image[hair] = (58, 42, 34)
    image = cv2.GaussianBlur(image, (0, 0), 3)
    for brow, eye, iris in zip(BROWS, EYES, ((468, 33, 133), (473, 263, 362)), strict=True):
        fill(brow, (70, 48, 38))
        fill(eye, (240, 236, 232))
        width = np.linalg.norm(at[iris[1]] - at[iris[2]])
        center = tuple(np.round(at[eye].mean(0) * 16).astype(int).tolist())
        cv2.circle(image, center, round(width * 0.2 * 16), (80, 58, 40), -1, cv2.LINE_AA, 4)
        cv2.circle(image, center, round(width * 0.09 * 16), (12, 10, 10), -1, cv2.LINE_AA, 4)
        cv2.polylines(image, [polygon(eye)], True, (60, 40, 32), 2, cv2.LINE_AA, 4)
    fill(LIPS, (178, 88, 84))
    fill(MOUTH, (110, 44, 44))
    for nostril in (98, 327):
        cv2.circle(image, tuple(np.round(at[nostril]).astype(int).tolist()), 4, (120, 75, 62), -1, cv2.LINE_AA)
    return cv2.GaussianBlur(image, (0, 0), 1.2)


@pytest.fixture(scope="session")
def landmarks():
    with np.load(Path(__file__).with_name("painted_head.npz")) as data:
        return data["landmarks"]


@pytest.fixture(scope="session")
def painted(landmarks):
    """TexturedMesh of 8000 faces."""
    with np.load(Path(__file__).with_name("painted_head.npz")) as data:
        mesh = Mesh(data["vertices"], data["faces"].astype(np.int32))
    return TexturedMesh(mesh, corner_uvs(mesh), paint(landmarks))


@pytest.fixture(scope="session")
def sound():
    """The surface report of the painted head."""
    return SurfaceReport(4002, 8000, 1, 0, True, 0, 2)


@pytest.fixture(scope="session")
def tilted():
    """The camera of the made-up portrait."""
    return Camera.from_angles(yaw=0.15, pitch=-0.05)


@pytest.fixture
def ball():
    """A textured UV sphere of radius 0.2: quick, and known in closed form. Its seam is at the back."""
    around, up = 32, 17
    turn = np.linspace(-np.pi, np.pi, around, endpoint=False)
    rise = np.linspace(-np.pi / 2, np.pi / 2, up)[1:-1]
    rings = np.stack(
        [
            np.outer(np.cos(rise), np.sin(turn)),
            np.repeat(np.sin(rise)[:, None], around, 1),
            np.outer(np.cos(rise), np.cos(turn)),
        ],
        axis=-1,
    ).reshape(-1, 3)
    vertices = np.concatenate([rings, [[0, -1, 0], [0, 1, 0]]]) * 0.2
    grid = np.arange(len(rings)).reshape(len(rise), around)
    right = np.roll(grid, -1, axis=1)
    a, b, c, d = grid[:-1], right[:-1], right[1:], grid[1:]
    faces = [np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)]
    south, north = len(rings), len(rings) + 1
    faces.append(np.stack([right[0], grid[0], np.full(around, south)], -1))
    faces.append(np.stack([grid[-1], right[-1], np.full(around, north)], -1))
    mesh = Mesh(vertices.astype(np.float32), np.concatenate(faces).astype(np.int32))
    row, column = np.mgrid[:64, :128]
    albedo = np.stack([column * 2, row * 4, np.full_like(row, 90)], axis=-1).astype(np.uint8)
    uvs = unroll_ball(mesh.vertices[mesh.faces])
    return TexturedMesh(mesh, uvs, albedo)


def unroll_ball(points):
    """Equirectangular (F, 3, 2), u = 0.5 + 0.9 longitude / turn; the poles take the longitude of their neighbours."""
    x, y, z = np.moveaxis(points.astype(np.float64), -1, 0)
    u = 0.5 + 0.9 * np.arctan2(x, z) / (2 * np.pi)
    v = 0.5 + np.arcsin(np.clip(y / 0.2, -1, 1)) / np.pi
    pole = np.hypot(x, z) < 1e-6
    across = np.ptp(np.where(pole, 0.5, u), axis=1) > 0.5
    u += np.where(across[:, None] & (u < 0.5) & ~pole, 0.9, 0.0)
    u = np.where(pole, ((u * ~pole).sum(1) / (~pole).sum(1))[:, None], u)
    return np.stack([u, v], axis=-1).astype(np.float32)
