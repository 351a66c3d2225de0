"""Fits the morphable head to a portrait's landmarks: shape, pose and scale by regularised Gauss-Newton."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from ..camera import Camera
from .morphable import MorphableHead

# How the model stands in the world, as the mean over 20 photos of what the fit finds without a prior (yaw below 30
# degrees; measured again in tests/backend/template/test_fit.py): its own frame looks 5.5 degrees further down.
MEAN_ROTATION = np.array([-0.097, 0.0, 0.0])  # rotation vector, radians; deviation over the photos 0.036
MEAN_SHIFT = np.array([0.0, -0.014, 0.009])  # world units
LANDMARK_SIGMA = 0.005  # image widths; what MediaPipe and its binding to the mesh err by
ROTATION_SIGMA = 0.05  # radians; the camera's own error (about 2 degrees) and what the neck may add
SHIFT_SIGMA = np.array([0.02, 0.02, 0.04])  # world units; depth is barely seen through a 13-degree lens
LOG_SCALE_SIGMA = 0.05
ITERATIONS = 6


@dataclass(frozen=True, eq=False)
class TemplateFit:
    """The morphable head, fitted. A world point of the head is exp(log_scale) * R(rotation) @ point + shift."""

    coefficients: np.ndarray  # (K,) float64, standard deviations
    rotation: np.ndarray  # (3,) rotation vector, radians
    shift: np.ndarray  # (3,) world units
    log_scale: float
    residual: float  # mean distance of the used landmarks, image widths; NaN where nothing was fitted

    def vertices(self, model: MorphableHead) -> np.ndarray:
        """(V, 3) float64, the fitted head in the world."""
        return self.place(model.vertices(self.coefficients))

    def place(self, points: np.ndarray) -> np.ndarray:
        """Moves points (N, 3) of the model's space into the world."""
        return np.exp(self.log_scale) * points @ Rotation.from_rotvec(self.rotation).as_matrix().T + self.shift


def average_fit(model: MorphableHead) -> TemplateFit:
    """The mean head in the mean place: for photos whose landmarks are not known."""
    return TemplateFit(np.zeros(len(model.components)), MEAN_ROTATION.copy(), MEAN_SHIFT.copy(), 0.0, float("nan"))


def fit_template(model: MorphableHead, landmarks: np.ndarray, camera: Camera) -> TemplateFit:
    """Fit to landmarks (L, 2 or 3) in image widths (only column and row are used) as ``camera`` sees them.

    Minimises sum |project(x) - landmark|^2 / sigma^2 + |coefficients|^2 + pose priors, a maximum a posteriori estimate
    under Gaussian priors about the mean head in the mean place. Landmarks of NaN give ``average_fit``.
    """
    if not np.isfinite(landmarks).all():
        return average_fit(model)
    used = model.landmark_used
    target = np.asarray(landmarks, np.float64)[used, :2]
    mean = model.landmarks(model.mean)[used]
    components = model.landmarks(model.components)[:, used]  # (K, n, 3)
    count, points = len(components), len(mean)

    sigma = np.concatenate([np.ones(count), np.full(3, ROTATION_SIGMA), SHIFT_SIGMA, [LOG_SCALE_SIGMA]])
    prior = 1.0 / sigma**2
    # All landmarks together weigh as much as sqrt(n) * 2 independent ones: their errors are correlated.
    weight = 2.0 * np.sqrt(points) / points / LANDMARK_SIGMA**2
    middle = np.concatenate([np.zeros(count), MEAN_ROTATION, MEAN_SHIFT, [0.0]])
    state = middle.copy()
    error = np.zeros((points, 2))
    for _ in range(ITERATIONS):
        coefficients, rotation, shift, scale = _split(state, count)
        turn = Rotation.from_rotvec(rotation).as_matrix()
        local = scale * (mean + np.tensordot(coefficients, components, axes=1)) @ turn.T
        error = target - camera.project(local + shift)[:, :2]
        motion = np.concatenate(
            [
                scale * components @ turn.T,
                np.cross(np.eye(3)[:, None], local[None]),
                np.broadcast_to(np.eye(3)[:, None], (3, points, 3)),
                local[None],
            ]
        )  # (K + 7, n, 3): how each parameter moves each landmark in the world
        jacobian = _project_motion(camera, local + shift, motion).reshape(count + 7, -1)
        normal = weight * jacobian @ jacobian.T + np.diag(prior)
        step = np.linalg.solve(normal, weight * jacobian @ error.ravel() - prior * (state - middle))
        state[:count] += step[:count]
        turned = Rotation.from_rotvec(step[count : count + 3]) * Rotation.from_rotvec(rotation)
        state[count : count + 3] = turned.as_rotvec()
        state[count + 3 :] += step[count + 3 :]
    coefficients, rotation, shift, scale = _split(state, count)
    placed = TemplateFit(coefficients, rotation, shift, float(np.log(scale)), 0.0)
    landmark = placed.place(mean + np.tensordot(coefficients, components, axes=1))
    residual = np.linalg.norm(target - camera.project(landmark)[:, :2], axis=1).mean()
    return TemplateFit(coefficients, rotation, shift, float(np.log(scale)), float(residual))


def _split(state: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    rotation, shift = state[count : count + 3], state[count + 3 : count + 6]
    return state[:count].copy(), rotation.copy(), shift.copy(), float(np.exp(state[-1]))


def _project_motion(camera: Camera, points: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """World motion (P, n, 3) of ``points`` (n, 3) to its motion in the picture (P, n, 2), image widths."""
    rotation = camera.world2cam[:3, :3]
    in_camera = points @ rotation.T + camera.world2cam[:3, 3]
    moved = motion @ rotation.T
    depth = in_camera[:, 2:]
    focal = np.diag(camera.intrinsics)[:2]
    return focal * (moved[..., :2] - in_camera[:, :2] / depth * moved[..., 2:]) / depth
