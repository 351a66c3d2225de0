from pathlib import Path

import numpy as np
import pytest
from headstitch.backend.camera import Camera
from headstitch.backend.portrait.pose import fit_camera, fit_crop
from headstitch.backend.template import fit as module
from headstitch.backend.template.fit import TemplateFit, average_fit, fit_template
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

POSES = np.load(Path(__file__).parents[2] / "data" / "pose_eval.npz")
CAMERAS = {"frontal": Camera.from_angles(), "yawed": Camera.from_angles(np.radians(30), np.radians(-5), 0.1)}


def landmarks_of(fit, model, camera):
    """(478, 2) as the camera sees them."""
    return camera.project(model.landmarks(fit.vertices(model)))[:, :2]


def errors(fit, model, camera, target):
    """(n,) distances of the used landmarks, image widths."""
    return np.linalg.norm(landmarks_of(fit, model, camera) - target, axis=1)[model.landmark_used]


def prior_cost(fit):
    return (
        (fit.coefficients**2).sum()
        + ((fit.rotation - module.MEAN_ROTATION) ** 2).sum() / module.ROTATION_SIGMA**2
        + ((fit.shift - module.MEAN_SHIFT) ** 2 / module.SHIFT_SIGMA**2).sum()
        + fit.log_scale**2 / module.LOG_SCALE_SIGMA**2
    )


def landmark_weight(model):
    """The weight of one squared distance; all together count as 2 sqrt(n) independent ones."""
    return 2 / np.sqrt(model.landmark_used.sum()) / module.LANDMARK_SIGMA**2


@pytest.mark.parametrize("camera", CAMERAS.values(), ids=CAMERAS)
@pytest.mark.parametrize("seed", [0, 1])
def test_landmarks_of_a_known_head_are_met(model, camera, seed):
    """The estimate cannot cost more than the truth, which meets every landmark and pays only its priors.

    So the mean square error is at most the truth's prior cost over the landmarks' whole weight.
    """
    rng = np.random.default_rng(seed)
    truth = TemplateFit(
        rng.standard_normal(len(model.components)),
        module.MEAN_ROTATION + module.ROTATION_SIGMA * rng.standard_normal(3),
        module.MEAN_SHIFT + module.SHIFT_SIGMA * rng.standard_normal(3),
        float(module.LOG_SCALE_SIGMA * rng.standard_normal()),
        0.0,
    )
    target = landmarks_of(truth, model, camera)
    fit = fit_template(model, target, camera)
    error = errors(fit, model, camera, target)
    reach = np.sqrt(prior_cost(truth) / (landmark_weight(model) * len(error)))
    assert np.sqrt((error**2).mean()) <= reach
    assert error.mean() < 0.1 * errors(average_fit(model), model, camera, target).mean()
    assert fit.residual == pytest.approx(error.mean(), rel=1e-6)


@pytest.mark.parametrize("camera", CAMERAS.values(), ids=CAMERAS)
def test_fit_is_where_the_stated_cost_is_least(model, known, camera):
    """A general optimiser, started at the answer, finds nothing that costs noticeably less."""
    target = landmarks_of(known, model, camera)
    count = len(model.components)
    weight = np.sqrt(landmark_weight(model))
    mean, components = model.landmarks(model.mean), model.landmarks(model.components)

    def residuals(state):
        shape = mean + np.tensordot(state[:count], components, axes=1)
        rotation = Rotation.from_rotvec(state[count : count + 3]).as_matrix()
        world = np.exp(state[-1]) * shape @ rotation.T + state[count + 3 : count + 6]
        apart = (camera.project(world)[:, :2] - target)[model.landmark_used]
        priors = [
            state[:count],
            (state[count : count + 3] - module.MEAN_ROTATION) / module.ROTATION_SIGMA,
            (state[count + 3 : count + 6] - module.MEAN_SHIFT) / module.SHIFT_SIGMA,
            state[-1:] / module.LOG_SCALE_SIGMA,
        ]
        return np.concatenate([weight * apart.ravel(), *priors])

    fit = fit_template(model, target, camera)
    start = np.concatenate([fit.coefficients, fit.rotation, fit.shift, [fit.log_scale]])
    best = least_squares(residuals, start, method="trf", max_nfev=4)
    cost = (residuals(start) ** 2).sum() / 2
    assert cost - best.cost < 1e-3 * best.cost
    # A thousandth of a standard deviation is far below anything that could be seen.
    np.testing.assert_allclose(fit.coefficients, best.x[:count], rtol=0, atol=0.02)


def test_only_columns_and_rows_of_the_used_landmarks_count(model, known):
    camera = CAMERAS["frontal"]
    target = landmarks_of(known, model, camera)
    spoiled = np.concatenate([target, np.full((478, 1), 7.0)], axis=1)
    spoiled[~model.landmark_used, :2] += 0.3
    np.testing.assert_array_equal(
        fit_template(model, spoiled, camera).coefficients, fit_template(model, target, camera).coefficients
    )


def test_landmarks_of_nan_give_the_average_head(model):
    for landmarks in (np.full((478, 3), np.nan), np.full((478, 2), np.inf)):
        fit = fit_template(model, landmarks, CAMERAS["frontal"])
        np.testing.assert_array_equal(fit.vertices(model), average_fit(model).place(model.mean))
        assert np.isnan(fit.residual)


def test_fit_is_the_same_every_time(model, known):
    camera = CAMERAS["yawed"]
    target = landmarks_of(known, model, camera).astype(np.float32)
    one, two = fit_template(model, target, camera), fit_template(model, target.copy(), camera)
    for name in ("coefficients", "rotation", "shift", "log_scale", "residual"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_place_scales_then_turns_then_shifts():
    quarter = TemplateFit(np.zeros(1), np.array([0, np.pi / 2, 0]), np.array([1.0, 2.0, 3.0]), np.log(2.0), 0.0)
    placed = quarter.place(np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
    np.testing.assert_allclose(placed, [[1, 2, 1], [1, 4, 3]], atol=1e-12)  # x turns to -z about y


@pytest.mark.parametrize("camera", CAMERAS.values(), ids=CAMERAS)
def test_projected_motion_is_the_derivative_of_projection(camera):
    """Central differences err by step^2, about 1e-10 of a motion of 1, and by rounding, 1e-16 / step."""
    rng = np.random.default_rng(5)
    points = 0.2 * rng.standard_normal((20, 3))
    motion = rng.standard_normal((4, 20, 3))
    step = 1e-5
    ahead, behind = (
        np.stack([camera.project(points + sign * step * each)[:, :2] for each in motion]) for sign in (1, -1)
    )
    np.testing.assert_allclose(
        module._project_motion(camera, points, motion), (ahead - behind) / (2 * step), rtol=0, atol=1e-8
    )


def test_the_mean_pose_is_the_mean_of_what_photos_show(model, monkeypatch):
    """The stated mean pose is what the fit finds, with next to no prior, in landmarks of 20 real photos."""
    monkeypatch.setattr(module, "ROTATION_SIGMA", 0.5)
    monkeypatch.setattr(module, "SHIFT_SIGMA", np.full(3, 0.1))
    fits = []
    for landmarks in POSES["landmarks"].astype(np.float64):
        crop = fit_crop(landmarks)
        turn = np.array([[np.cos(crop.angle), -np.sin(crop.angle)], [np.sin(crop.angle), np.cos(crop.angle)]])
        aligned = np.column_stack([(landmarks[:, :2] - [crop.column, crop.row]) @ turn, landmarks[:, 2]]) / crop.side
        aligned[:, :2] += 0.5
        camera = fit_camera(aligned)
        if abs(np.degrees(camera.angles[0])) < 30:
            fits.append(fit_template(model, aligned, camera))
    assert len(fits) == 20
    np.testing.assert_allclose(np.mean([fit.rotation for fit in fits], axis=0), module.MEAN_ROTATION, atol=0.005)
    np.testing.assert_allclose(np.mean([fit.shift for fit in fits], axis=0), module.MEAN_SHIFT, atol=0.003)
    assert np.std([fit.rotation[0] for fit in fits]) < module.ROTATION_SIGMA
