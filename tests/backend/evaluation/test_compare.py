"""A perfect head gets the floor everywhere; a head spoiled in one way is caught by the metric that is for it."""

from dataclasses import replace

import numpy as np
import pytest
from headstitch.backend.camera import Camera
from headstitch.backend.evaluation import compare
from headstitch.backend.evaluation.truth import Part
from headstitch.backend.meshing.mesh import Mesh, TexturedMesh

SKIN, HAIR = (200, 150, 120), (60, 40, 30)


def colored(mesh, hair_from):
    """Skin before and hair from the face of that number on."""
    albedo = np.empty((8, 16, 3), np.uint8)
    albedo[:, :8], albedo[:, 8:] = SKIN, HAIR
    u = np.where(np.arange(len(mesh.faces)) < hair_from, 0.25, 0.75)
    uvs = np.stack([u, np.full_like(u, 0.5)], axis=-1)[:, None].repeat(3, axis=1)
    return TexturedMesh(mesh, uvs.astype(np.float32), albedo)


@pytest.fixture(scope="module")
def right(known):
    """The truth itself as a prediction: only what is outside is kept, as in a mesh of one piece."""
    whole = compare.solid(known)
    middle = whole.vertices[whole.faces].mean(axis=1)
    of_hair = np.arange(len(whole.faces)) >= len(known.body.faces)
    inside = np.where(of_hair, np.linalg.norm(middle, axis=1) < 0.2485, False)
    inside |= ~of_hair & (np.linalg.norm(middle - [0, 0.05, -0.08], axis=1) < 0.2385)
    return colored(Mesh(whole.vertices, whole.faces[~inside]), int((~inside & ~of_hair).sum()))


@pytest.fixture(scope="module")
def finder(known, front):
    """Finds the true landmarks in every picture."""
    return lambda image: front.project(known.landmarks) * len(image)


@pytest.fixture(scope="module")
def best(right, known, front, finder):
    return compare.measure_head(right, known, front, finder)


def moved(head, change):
    return replace(head, mesh=Mesh(change(head.mesh.vertices).astype(np.float32), head.mesh.faces))


def test_a_perfect_head_gets_the_floor(best):
    assert best["chamfer"] < 1.3 * best["chamfer_floor"]
    for name in ("face_distance", "hair_distance", "hair_distance_seen", "hair_distance_hidden"):
        assert best[name] < 0.1, name
    assert best["face_normals"] < 0.5
    assert best["color"] < 0.5
    assert best["landmarks"] < 1e-3
    assert best["silhouette_iou"] > 0.99
    for name in ("hair_iou", "hair_iou_hidden", "hair_iou_90", "hair_iou_-90", "hair_iou_180"):
        assert best[name] > 0.95, name


def test_every_metric_of_the_table_is_measured(best):
    names = [metric.name for metric in compare.METRICS]
    names += [f"{name}_{half}" for name in compare.HALVES for half in ("seen", "hidden")]
    assert all(best[name] is not None for name in names)


def test_a_larger_head_is_off_by_its_growth(right, known, front, finder):
    got = compare.measure_head(moved(right, lambda v: v * 1.08), known, front, finder)
    assert got["face_distance"] == pytest.approx(100 * 0.08 * 0.25 / 0.5, rel=0.05)
    assert got["chamfer"] > 3
    assert got["silhouette_iou"] < 0.92


def test_a_head_without_its_hair_is_wrong_behind_and_not_in_the_face(known, front, finder, best):
    bald = colored(known.body, len(known.body.faces))
    got = compare.measure_head(bald, known, front, finder)
    assert got["face_distance"] == pytest.approx(best["face_distance"], abs=0.02)
    hair = known.points[(known.labels == Part.HAIR) & (known.points[:, 1] > compare.neck_height(known))]
    true = 100 * (np.linalg.norm(hair, axis=1) - 0.25).mean() / 0.5  # a ball's distance in closed form
    assert got["hair_distance"] == pytest.approx(true, rel=0.03)
    assert got["hair_iou"] == got["hair_iou_90"] == 0
    assert got["hair_distance_hidden"] > 2 * got["hair_distance_seen"] > 0
    assert got["color_hidden"] > 30 > 15 > got["color_seen"]


def test_a_dent_in_the_face_turns_its_normals(right, known, front, finder, best):
    def ripple(vertices):
        wave = 0.004 * np.sin(vertices[:, 0] * 120) * (vertices[:, 2] > 0.05)
        return vertices * (1 + wave[:, None] / 0.25)

    got = compare.measure_head(moved(right, ripple), known, front, finder)
    assert got["face_normals"] > best["face_normals"] + 5
    assert got["hair_distance_hidden"] == pytest.approx(best["hair_distance_hidden"], abs=0.05)


def test_wrong_colours_are_wrong_colours_only(right, known, front, finder, best):
    got = compare.measure_head(replace(right, albedo=255 - right.albedo), known, front, finder)
    assert got["color_seen"] > 40
    assert got["color_hidden"] > 40
    assert {name: value for name, value in got.items() if not name.startswith("color")} == {
        name: value for name, value in best.items() if not name.startswith("color")
    }


def test_a_head_without_a_face_has_no_landmark_error_and_says_so(right, known, front, finder):
    assert compare.measure_head(right, known, front, lambda image: None)["landmarks"] is None
    shifted = compare.measure_head(right, known, front, lambda image: finder(image) + 0.02 * len(image))
    wide = 0.4 * float(front.intrinsics[0, 0]) / front.project(known.landmarks)[:, 2].mean()
    assert shifted["landmarks"] == pytest.approx(100 * 0.02 * np.sqrt(2) / wide, rel=1e-3)


def test_the_bald_have_no_hair_to_measure(known, front, finder):
    skin = known.labels == Part.SKIN
    fields = {name: getattr(known, name)[skin] for name in ("points", "normals", "colors", "labels")}
    bald = replace(known, hair=None, **fields)
    got = compare.measure_head(colored(known.body, 10**6), bald, front, finder)
    assert all(value is None for name, value in got.items() if name.startswith("hair"))


def test_the_photo_sees_the_half_that_is_turned_to_it(shapes):
    ball, _, directions = shapes
    camera = Camera.from_angles(yaw=0.7)
    points = directions(2000) * 0.25
    seen = compare.is_seen(points, ball(), camera)
    towards = points @ camera.position / (0.25 * np.linalg.norm(camera.position))
    horizon = 0.25 / 2.7  # the cosine where the line of sight touches the ball
    clear = np.abs(towards - horizon) > 0.12
    assert np.array_equal(seen[clear], (towards > horizon)[clear])


def test_the_face_is_within_its_landmarks_and_neither_behind_nor_hair(known):
    face = compare.face_region(known)
    assert face.sum() > 100
    assert np.all(known.labels[face] == Part.SKIN)
    assert np.all(known.points[face, 2] > 0)
    assert np.all(np.linalg.norm(known.points[face, :2], axis=1) <= 0.2 + 1e-6)


def test_what_lies_in_a_pocket_is_not_measured(shapes):
    ball, _, directions = shapes
    points = np.concatenate([directions(500) * 0.25, directions(300) * 0.2])
    assert np.array_equal(compare.is_outer(points, ball()), np.arange(800) < 500)
