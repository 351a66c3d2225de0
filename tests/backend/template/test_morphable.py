import numpy as np
from headstitch.backend.template.morphable import load_morphable
from headstitch.backend.template.pack import load_pack


def test_model_is_read_once():
    assert load_morphable() is load_morphable()


def test_vertices_are_the_mean_and_a_sum_of_components(model):
    np.testing.assert_array_equal(model.vertices(np.zeros(len(model.components))), model.mean)
    moved = model.vertices(np.array([0.0, 2.0, -1.5]))  # fewer coefficients than components
    expected = model.mean + 2.0 * model.components[1] - 1.5 * model.components[2]
    np.testing.assert_allclose(moved, expected, rtol=0, atol=1e-12)


def test_vertices_are_those_of_the_pack(model):
    assert model.mean.shape == load_pack().base.shape
    assert model.outer.max() < len(model.mean)
    assert np.isin(model.outer, load_pack().group("body")).all()


def test_landmarks_are_points_of_their_triangles(model):
    assert len(model.landmark_weights) == 478
    np.testing.assert_allclose(model.landmark_weights.sum(axis=1), 1, atol=1e-6)
    shifted = np.stack([model.mean, model.mean + 1.0])
    landmarks = model.landmarks(shifted)
    assert landmarks.shape == (2, 478, 3)
    np.testing.assert_allclose(landmarks[1] - landmarks[0], 1, atol=1e-6)
    one = model.landmark_weights[4] @ model.mean[model.landmark_vertices[4]]
    np.testing.assert_allclose(landmarks[0, 4], one, atol=1e-12)


def test_mirrored_landmarks_lie_on_the_other_side(model):
    """Mirroring twice comes home, and from the front each used landmark meets its partner's mirror image.

    Within 6 mm (0.014 units): the binding's own coarseness. Depth is left out: at the temples, where the skin runs
    along the view, the same few millimetres in the picture are centimetres of it.
    """
    mirror = model.landmark_mirror
    np.testing.assert_array_equal(mirror[mirror], np.arange(478))
    np.testing.assert_array_equal(model.landmark_used[mirror], model.landmark_used)
    landmarks = model.landmarks(model.mean)
    apart = np.abs(landmarks[mirror] * [-1, 1, 1] - landmarks)[model.landmark_used]
    assert apart[:, :2].max() < 0.014
    assert np.median(apart, axis=0).max() < 0.005
    assert np.linalg.norm(landmarks[mirror] - landmarks, axis=1).max() > 0.3  # from ear to ear


def test_the_mean_face_looks_out_of_the_z_axis(model):
    landmarks = model.landmarks(model.mean)
    nose, chin, forehead, left_eye, right_eye = landmarks[[4, 152, 10, 263, 33]]
    assert nose[2] > max(chin[2], forehead[2])
    assert forehead[1] > left_eye[1] > nose[1] > chin[1]
    assert left_eye[0] > 0 > right_eye[0]  # the person's left is the viewer's right
