"""Balls with known answers, and a made-up head of which everything is known."""

from dataclasses import dataclass

import numpy as np
import pytest
from headstitch.backend.camera import Camera
from headstitch.backend.evaluation.truth import Part, Truth
from headstitch.backend.meshing.mesh import Mesh, TexturedMesh

SKIN, HAIR = (200, 150, 120), (60, 40, 30)
RADIUS = 0.25


def directions(count):
    """(count, 3) evenly over the unit sphere (a Fibonacci lattice)."""
    at = np.arange(count) + 0.5
    height, turn = 1 - 2 * at / count, at * np.pi * (3 - np.sqrt(5))
    wide = np.sqrt(1 - height**2)
    return np.stack([wide * np.cos(turn), height, wide * np.sin(turn)], axis=1)


def ball(radius=RADIUS, centre=(0.0, 0.0, 0.0), rings=48):
    """A closed UV sphere, finer than what the tests tell apart."""
    rise = np.linspace(-np.pi / 2, np.pi / 2, rings + 1)[1:-1]
    turn = np.arange(2 * rings) * np.pi / rings
    ring = [np.outer(np.cos(rise), np.sin(turn)), np.outer(np.sin(rise), np.ones_like(turn))]
    ring.append(np.outer(np.cos(rise), np.cos(turn)))
    points = np.concatenate([np.stack(ring, -1).reshape(-1, 3), [[0, -1, 0], [0, 1, 0]]]) * radius + centre
    grid = np.arange(len(rise) * len(turn)).reshape(len(rise), -1)
    right = np.roll(grid, -1, axis=1)
    a, b, c, d = grid[:-1], right[:-1], right[1:], grid[1:]
    south, north = np.full(len(turn), grid.size), np.full(len(turn), grid.size + 1)
    faces = [np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)]
    faces += [np.stack([right[0], grid[0], south], -1), np.stack([grid[-1], right[-1], north], -1)]
    return Mesh(points.astype(np.float32), np.concatenate(faces).astype(np.int32))


def painted(mesh, left=SKIN, right=SKIN):
    """The mesh in two colours: ``left`` where x is negative."""
    albedo = np.empty((8, 16, 3), np.uint8)
    albedo[:, :8], albedo[:, 8:] = left, right
    middle = mesh.vertices[mesh.faces].mean(axis=1)
    u = np.where(middle[:, 0] < 0, 0.25, 0.75)
    uvs = np.stack([u, np.full_like(u, 0.5)], axis=-1)[:, None].repeat(3, axis=1)
    return TexturedMesh(mesh, uvs.astype(np.float32), albedo)


@dataclass(frozen=True)
class Known:
    """Any object with these attributes will do."""

    points: np.ndarray
    normals: np.ndarray
    colors: np.ndarray
    labels: np.ndarray
    body: Mesh
    hair: Mesh | None
    landmarks: np.ndarray
    head_height: float


def landmarks_on_the_front():
    """(478, 3) on the front of the ball; the chin's is the lowest, the cheeks' are on its sides."""
    turn = np.arange(478) * 2 * np.pi / 478
    wide = 0.15 * np.sqrt((np.arange(478) + 0.5) / 478)
    points = np.stack([wide * np.cos(turn * 7), wide * np.sin(turn * 7), np.zeros(478)], axis=1)
    points[152], points[234], points[454] = (0, -0.2, 0), (-0.2, 0, 0), (0.2, 0, 0)
    points[:, 2] = np.sqrt(RADIUS**2 - points[:, 0] ** 2 - points[:, 1] ** 2)
    return points.astype(np.float32)


@pytest.fixture(scope="session")
def known():
    """A ball with a larger ball of hair at its back, of which the surface holds 6000 points."""
    body, hair = ball(), ball(0.24, (0.0, 0.05, -0.08))
    points, labels = [], []
    for radius, centre, part, other, away in (
        (RADIUS, (0, 0, 0), Part.SKIN, (0, 0.05, -0.08), 0.24),
        (0.24, (0, 0.05, -0.08), Part.HAIR, (0, 0, 0), RADIUS),
    ):
        each = directions(4000) * radius + centre
        outside = np.linalg.norm(each - other, axis=1) > away
        points.append(each[outside])
        labels.append(np.full(outside.sum(), part, np.uint8))
    points, labels = np.concatenate(points), np.concatenate(labels)
    centres = np.where((labels == Part.HAIR)[:, None], [0, 0.05, -0.08], [0, 0, 0])
    normals = points - centres
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    colors = np.where((labels == Part.HAIR)[:, None], HAIR, SKIN).astype(np.uint8)
    return Known(
        points.astype(np.float32),
        normals.astype(np.float32),
        colors,
        labels,
        body,
        hair,
        landmarks_on_the_front(),
        0.5,
    )


@pytest.fixture(scope="session")
def front():
    return Camera.from_angles()


@pytest.fixture
def truth(known, front):
    """The same with a photo of stripes."""
    photo = np.zeros((64, 64, 3), np.uint8)
    photo[::4] = (250, 120, 10)
    return Truth.of(known, photo, front, {"hair": "ball", "age": 30})


@pytest.fixture(scope="session")
def shapes():
    """``ball``, ``painted`` and ``directions``."""
    return ball, painted, directions
