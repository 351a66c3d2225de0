from collections import Counter

import numpy as np
import pytest
from headstitch.backend.template.pack import load_pack
from headstitch.backend.template.solid import closed_body, make_solids, skin, solid_topology


def arrays(mesh):
    return mesh.vertex.positions.numpy().astype(np.float64), mesh.triangle.indices.numpy().astype(np.int64)


def parts(solids):
    return [solids.body, *solids.inner]


def unpaired_edges(faces):
    """Directed edges that do not have exactly one twin running the other way."""
    edges = Counter(map(tuple, np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).tolist()))
    return [edge for edge, count in edges.items() if count != 1 or edges[edge[::-1]] != 1]


def volume(vertices, faces):
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    return np.einsum("fc,fc->", a, np.cross(b, c)) / 6


def test_every_part_is_closed_and_manifold(known_solids):
    assert len(known_solids.inner) >= 3  # at least the mouth and two eyes
    for part in parts(known_solids):
        assert unpaired_edges(arrays(part)[1]) == []


def test_every_part_looks_outward(known_solids):
    for part in parts(known_solids):
        assert volume(*arrays(part)) > 0


def test_eyeballs_fill_most_of_a_sphere(known_solids):
    """The volume is what the outward faces enclose: within the box of the eye, more than half of the ball in it."""
    for eye in known_solids.inner[-2:]:
        vertices, faces = arrays(eye)
        side = np.ptp(vertices, axis=0)
        assert 0.5 * np.pi / 6 < volume(vertices, faces) / side.prod() <= 1.0


def test_topology_is_the_same_for_every_head(model, known_solids):
    mean = make_solids(model.mean)
    for one, other in zip(parts(mean), parts(known_solids), strict=True):
        np.testing.assert_array_equal(arrays(one)[1], arrays(other)[1])
        assert len(arrays(one)[0]) == len(arrays(other)[0])


def test_rest_coordinates_are_the_mean_heads_own_positions(model):
    np.testing.assert_array_equal(skin().rest, closed_body(model.mean).vertex.positions.numpy().astype(np.float32))


def test_rest_coordinates_move_with_the_skin(known, known_solids, model):
    """Undoing pose and scale, what stays between rest place and head is the shape alone: centimetres, not the face."""
    positions = arrays(known_solids.body)[0]
    placed = known.place(skin().rest.astype(np.float64))
    # The components move the mean's vertices at most this far, and subdivision only averages neighbours.
    reach = np.linalg.norm(known.vertices(model) - known.place(model.mean), axis=1).max()
    assert np.linalg.norm(positions - placed, axis=1).max() <= reach + 1e-5


def test_skin_attributes_are_shares(known_solids):
    count = len(arrays(known_solids.body)[0])
    for name in ("scalp", "openness"):
        values = getattr(skin(), name)
        assert values.shape == (count,)
        assert values.dtype == np.float32
        assert values.min() >= 0
        assert values.max() <= 1


def test_hair_grows_on_the_skull_and_neither_on_face_nor_ears(model):
    rest, scalp = skin().rest, skin().scalp
    assert (scalp[rest[:, 1] > 0.2] == 1).all()  # the crown
    eyes, mouth = (model.landmarks(model.mean)[place] for place in ([33, 263], [0, 17]))
    face = (rest[:, 2] > 0.1) & (rest[:, 1] < eyes[:, 1].max()) & (rest[:, 1] > mouth[:, 1].min())
    assert face.sum() > 1000
    assert (scalp[face] == 0).all()
    # The ears stand out farthest to the sides.
    ears = np.abs(rest[:, 0]) > 0.97 * np.abs(rest[rest[:, 1] > eyes[:, 1].min() - 0.1, 0]).max()
    assert ears.any()
    assert scalp[ears].max() < 0.05


def test_openness_is_low_in_nostrils_and_high_on_the_cheeks(model):
    rest, openness = skin().rest, skin().openness
    landmarks = model.landmarks(model.mean)
    cheeks = np.linalg.norm(rest[:, None] - landmarks[[50, 280]], axis=2).min(axis=1) < 0.01
    inside_mouth = np.linalg.norm(rest - (landmarks[13] - [0, 0, 0.04]), axis=1) < 0.02
    assert cheeks.any()
    assert openness[cheeks].min() > 0.8
    if inside_mouth.any():
        assert openness[inside_mouth].max() < 0.5


def test_caps_close_the_loops_of_the_open_body():
    topology = solid_topology()
    body = load_pack().group("body")
    open_edges = unpaired_edges(body)
    assert sum(len(loop) for loop in topology.caps) == len(open_edges) > 0
    edges = {(int(a), int(b)) for loop in topology.caps for a, b in zip(loop, np.roll(loop, -1), strict=True)}
    assert edges == set(open_edges)


@pytest.mark.parametrize("place", ["mouth", "left eye", "right eye"])
def test_pockets_are_inside_the_union_though_not_inside_the_body(model, known, known_solids, inside, place):
    """The middle of a pocket's own plug, or of an eyeball: outside of the skin that surrounds it, inside the union."""
    landmarks = known.place(model.landmarks(model.vertices(known.coefficients)))
    opening = {"mouth": [13, 14], "left eye": [386, 374], "right eye": [159, 145]}[place]
    target = landmarks[opening].mean(axis=0)
    pocket = min(known_solids.inner, key=lambda part: np.linalg.norm(arrays(part)[0].mean(axis=0) - target))
    middle = arrays(pocket)[0].mean(axis=0)[None]
    assert np.linalg.norm(middle - target) < 0.15  # the mouth is 6 cm deep
    assert not inside(known_solids.body, middle)[0]
    assert any(inside(part, middle)[0] for part in known_solids.inner)
