"""Cameras in PanoHead's convention: a cam2world matrix and intrinsics in image widths, 25 numbers as a label."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

RADIUS = 2.7  # distance of the camera from the head's centre, world units
CENTIMETRE = 0.02366  # world units
FOCAL = 4.2647  # focal length in image widths (field of view 13.37 degrees)


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera.

    Args:
        cam2world: (4, 4) OpenCV camera (x right, y down, z forward) to world (y up).
        intrinsics: (3, 3) in image widths; (0, 0) is the picture's top left corner, (1, 1) its bottom right one.
    """

    cam2world: np.ndarray  # (4, 4) float64
    intrinsics: np.ndarray  # (3, 3) float64

    @staticmethod
    def from_label(label: np.ndarray) -> Camera:
        """The camera of a PanoHead label: 16 numbers of cam2world, then 9 of the intrinsics, both row-major.

        Raises:
            ValueError: it is no camera.
        """
        label = np.asarray(label, np.float64).reshape(25)
        return Camera(label[:16].reshape(4, 4).copy(), label[16:].reshape(3, 3).copy()).checked()

    def checked(self) -> Camera:
        """Itself, where it came from outside and is a camera.

        Raises:
            ValueError: its matrix does more than turn and move, or its lens has no focal length.
        """
        rotation = self.cam2world[:3, :3]
        turns = (
            np.allclose(rotation @ rotation.T, np.eye(3), atol=0.05) and np.linalg.det(rotation) > 0
        )  # official labels: 0.01
        last_rows = np.concatenate([self.cam2world[3] - [0, 0, 0, 1], self.intrinsics[2] - [0, 0, 1]])
        focal = np.diag(self.intrinsics)[:2]
        finite = np.isfinite(self.cam2world).all() and np.isfinite(self.intrinsics).all()
        if not (finite and turns and np.abs(last_rows).max() < 1e-4 and (focal > 0).all()):
            raise ValueError("no camera: its matrices do more than turn, move and project")
        return self

    @staticmethod
    def from_rotation(head_rotation: np.ndarray, radius: float = RADIUS, focal: float = FOCAL) -> Camera:
        """The camera that sees a head turned by ``head_rotation`` (3, 3): face frame to y-up, z-to-viewer frame.

        The label is inverse(diag(1, -1, -1, 1) . translate(0, 0, -radius) . R): the head turns, the camera stays.
        """
        world2cam = np.eye(4)
        world2cam[:3, :3] = head_rotation
        world2cam[2, 3] = -radius
        world2cam = np.diag([1.0, -1.0, -1.0, 1.0]) @ world2cam
        return Camera(np.linalg.inv(world2cam), _intrinsics(focal))

    @staticmethod
    def from_angles(
        yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0, radius: float = RADIUS, focal: float = FOCAL
    ) -> Camera:
        """A camera on the sphere around the origin, looking at it. Angles in radians.

        yaw = atan2(x, z) and pitch = asin(y) of the camera's unit position: positive yaw sees the head from the
        viewer's right, positive pitch from above. roll turns the camera about its view axis: positive turns the
        picture's content counter-clockwise.
        """
        position = np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
        cam2world = np.eye(4)
        cam2world[:3, :3] = _look_at(position) @ _turn(roll)
        cam2world[:3, 3] = position * radius
        return Camera(cam2world, _intrinsics(focal))

    @cached_property
    def label(self) -> np.ndarray:
        """(25,) float32, PanoHead's camera label."""
        return np.concatenate([self.cam2world.ravel(), self.intrinsics.ravel()]).astype(np.float32)

    @property
    def position(self) -> np.ndarray:
        """(3,) of the camera in the world."""
        return self.cam2world[:3, 3]

    @cached_property
    def world2cam(self) -> np.ndarray:
        """(4, 4) inverse of ``cam2world``."""
        return np.linalg.inv(self.cam2world)

    @cached_property
    def angles(self) -> tuple[float, float, float]:
        """(yaw, pitch, roll) in radians, as ``from_angles`` takes them."""
        direction = self.position / np.linalg.norm(self.position)
        relative = _look_at(direction).T @ self.cam2world[:3, :3]
        yaw = np.arctan2(direction[0], direction[2])
        pitch = np.arcsin(np.clip(direction[1], -1, 1))
        return float(yaw), float(pitch), float(np.arctan2(relative[1, 0], relative[0, 0]))

    def project(self, points: np.ndarray) -> np.ndarray:
        """World points (N, 3) to (N, 3): column and row in image widths, depth along the view axis in world units."""
        in_camera = np.asarray(points, np.float64) @ self.world2cam[:3, :3].T + self.world2cam[:3, 3]
        picture = in_camera @ self.intrinsics.T
        return np.concatenate([picture[:, :2] / picture[:, 2:], in_camera[:, 2:]], axis=1)

    def rays(self, size: int) -> np.ndarray:
        """(size, size, 6) float32: origin and unit direction through every pixel's centre."""
        at = (np.arange(size) + 0.5) / size
        column, row = np.meshgrid(at, at)
        pixels = np.stack([column, row, np.ones_like(column)], axis=-1)
        directions = pixels @ np.linalg.inv(self.intrinsics).T @ self.cam2world[:3, :3].T
        directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
        origins = np.broadcast_to(self.position, directions.shape)
        return np.concatenate([origins, directions], axis=-1).astype(np.float32)


def _intrinsics(focal: float) -> np.ndarray:
    return np.array([[focal, 0.0, 0.5], [0.0, focal, 0.5], [0.0, 0.0, 1.0]])


def _look_at(position: np.ndarray) -> np.ndarray:
    """Rotation (3, 3) of a roll-free camera at ``position`` that looks at the origin; columns right, down, forward."""
    forward = -position / np.linalg.norm(position)
    right = np.cross(forward, [0.0, 1.0, 0.0])
    if np.linalg.norm(right) < 1e-8:  # straight above or below: any right will do
        right = np.array([1.0, 0.0, 0.0])
    right = right / np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward], axis=1)


def _turn(roll: float) -> np.ndarray:
    cos, sin = np.cos(roll), np.sin(roll)
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
