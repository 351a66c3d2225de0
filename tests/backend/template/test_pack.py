import numpy as np
import pytest
from headstitch.backend.errors import ResourceError
from headstitch.backend.template import pack as pack_module
from headstitch.backend.template.pack import HEAD_CENTRE, load_pack, person, to_world


def test_pack_is_read_once_and_cannot_be_changed():
    pack = load_pack()
    assert load_pack() is pack
    for array in (pack.base, pack.faces, pack.uvs, pack.targets["head/head-oval"][1]):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_groups_split_all_faces():
    pack = load_pack()
    assert sum(len(pack.group(name)) for name in pack.group_names) == len(pack.faces)
    assert pack.faces.max() < len(pack.base)
    assert pack.uvs.shape == (len(pack.faces), 3, 2)


def test_body_faces_look_outward():
    pack = load_pack()
    corners = pack.base[pack.group("body")].astype(np.float64)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    skull = corners.mean(axis=1)[:, 1] > 8
    outward = corners.mean(axis=1) - np.array(HEAD_CENTRE)
    assert ((normals * outward).sum(axis=1)[skull] > 0).all()


def test_morph_adds_weighted_displacements_to_the_base():
    pack = load_pack()
    indices, displacements = pack.targets["nose/nose-scale-depth-incr"]
    expected = pack.base.copy()
    expected[indices] += 0.5 * displacements
    np.testing.assert_array_equal(pack.morph({"nose/nose-scale-depth-incr": 0.5}), expected)
    np.testing.assert_array_equal(pack.morph({}), pack.base)


def test_nose_grows_forward_and_nothing_else_moves_much():
    pack = load_pack()
    change = pack.morph({"nose/nose-scale-depth-incr": 1.0}) - pack.base
    moved = np.linalg.norm(change, axis=1) > 0.02
    assert change[moved, 2].max() > 0.05
    assert np.abs(pack.base[moved, 0]).max() < 0.5  # within 5 cm of the middle


@pytest.mark.parametrize("ask", [lambda p: p.morph({"nose/none": 1}), lambda p: p.piece("hair/none", p.base)])
def test_unknown_names_are_named(ask):
    with pytest.raises(KeyError, match="none"):
        ask(load_pack())


def test_person_weights_are_shares():
    weights = person({"asian": 1, "african": 3}, male=0.25, age=0.6, muscle=0.7, weight=0.2)
    shares = {
        kind: sum(v for k, v in weights.items() if f"/{kind}-" in k) for kind in ("asian", "african", "universal")
    }
    np.testing.assert_allclose([shares["asian"], shares["african"]], [0.25, 0.75])
    np.testing.assert_allclose(shares["universal"], 1 - 0.6 * 0.4)  # average strength and size need no target
    np.testing.assert_allclose(sum(v for k, v in weights.items() if "-female-old" in k and "universal" not in k), 0.3)
    assert set(weights) <= set(load_pack().targets)


def test_age_turns_a_child_into_an_adult_with_a_larger_head():
    pack = load_pack()
    child, adult = (pack.morph(person({"caucasian": 1}, male=0.5, age=age)) for age in (0.0, 1 / 3))
    body = np.unique(pack.group("body"))
    assert np.ptp(adult[body], axis=0)[1] > np.ptp(child[body], axis=0)[1]


@pytest.mark.parametrize("name", sorted(load_pack().bindings))
def test_pieces_fit_on_the_head_and_follow_it(name):
    pack = load_pack()
    piece = pack.piece(name, pack.base)
    assert piece.uvs.shape == (len(piece.faces), 3, 2)
    assert piece.faces.max() < len(piece.vertices)
    moved = pack.piece(name, pack.base + np.float32([0.5, -0.25, 0.125]))
    np.testing.assert_allclose(
        moved.vertices - piece.vertices, np.tile([0.5, -0.25, 0.125], (len(piece.vertices), 1)), atol=2e-3
    )


def test_eyes_grow_with_the_head():
    pack = load_pack()
    small, large = (pack.piece("eye/high-poly", size * pack.base).vertices for size in (1.0, 1.5))
    np.testing.assert_allclose(large, 1.5 * small, atol=2e-2)


def test_eye_joints_lie_inside_the_eyes_left_is_positive_x():
    pack = load_pack()
    for side, sign in (("l", 1), ("r", -1)):
        eye = pack.base[np.unique(pack.group(f"helper-{side}-eye"))]
        joint = pack.joint(f"joint-{side}-eye", pack.base)
        assert (eye.min(axis=0) < joint).all()
        assert (joint < eye.max(axis=0)).all()
        assert sign * joint[0] > 0.2


def test_world_puts_the_face_in_front_of_the_origin():
    pack = load_pack()
    np.testing.assert_allclose(to_world(np.array([HEAD_CENTRE])), 0, atol=1e-9)
    nose = to_world(pack.base[np.unique(pack.group("body"))])
    assert 0.1 < nose[:, 2].max() < 0.3


def test_a_missing_file_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(pack_module, "PACK_PATH", tmp_path / "gone.npz")
    load_pack.cache_clear()
    with pytest.raises(ResourceError, match="install Headstitch again"):
        load_pack()
    load_pack.cache_clear()
