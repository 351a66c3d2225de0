import numpy as np
import pytest
import torch
from headstitch.backend.errors import HeadstitchError
from headstitch.backend.meshing.mesh import Mesh
from headstitch.backend.meshing.surface import (
    decimate,
    extract_surface,
    keep_head,
    report_surface,
    signed_volume,
    smoothen,
    split_nonmanifold,
)
from headstitch.backend.options import Options

RAW = Options(resolution=64, smoothing=0, faces=0)
STEP = 1 / 63  # between nodes of RAW in a box of side 1
TETRAHEDRON = np.int32([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]])
CORNERS = np.float32([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])


def edge_uses(mesh):
    """How many triangles share each edge."""
    edges = np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]])
    return np.unique(np.sort(edges, axis=1), axis=0, return_counts=True)


def areas(mesh):
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def cube(lid=True):
    """A cube of side 1; without its lid (y = 1) it is an open box."""
    vertices = np.float32([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (0, 2, 6, 4), (1, 5, 7, 3)] + ([(2, 3, 7, 6)] if lid else [])
    return Mesh(vertices, np.int32([tri for a, b, c, d in quads for tri in ((a, b, c), (a, c, d))]))


def joined(*meshes):
    offsets = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes[:-1]])
    faces = [mesh.faces + offset for mesh, offset in zip(meshes, offsets, strict=True)]
    return Mesh(np.concatenate([mesh.vertices for mesh in meshes]), np.concatenate(faces).astype(np.int32))


# --- marching cubes


@pytest.mark.parametrize("knows", [True, False])
def test_vertices_lie_on_the_ball(balls, knows):
    """Along an edge the distance is convex with a second derivative of at most 1 / r, and what linear interpolation
    errs by is an eighth of that times the edge's square: 1 / 200 of a voxel here."""
    field = balls([((0.01, 0.02, -0.03), 0.35, 1)], knows=knows)
    mesh, report = extract_surface(field, RAW)
    assert np.abs(field.distance(mesh.vertices)).max() < STEP**2 / 8 / (0.35 - STEP) + 1e-6
    assert (report.components, report.holes, report.watertight, report.removed_components) == (1, 0, True, 0)
    assert report.euler_number == 2
    assert (report.vertices, report.faces) == (len(mesh.vertices), len(mesh.faces))
    assert mesh.vertices.dtype == np.float32
    assert mesh.faces.dtype == np.int32


def test_faces_look_outward_and_enclose_the_balls_volume(balls):
    """An inscribed surface lacks about (step / r)^2 / 4 of the volume; far less than a hundredth here."""
    mesh, _ = extract_surface(balls([((0, 0, 0), 0.35, 1)]), RAW)
    middle = mesh.vertices[mesh.faces].mean(axis=1)
    normal = areas(mesh)
    clear = np.linalg.norm(normal, axis=1) > 1e-3 * STEP**2  # slivers have no direction worth the name
    assert ((normal * middle).sum(axis=1)[clear] > 0).all()
    assert signed_volume(mesh) == pytest.approx(4 / 3 * np.pi * 0.35**3, rel=0.01)
    assert signed_volume(Mesh(mesh.vertices, mesh.faces[:, ::-1])) == pytest.approx(-signed_volume(mesh))


def test_volume_does_not_depend_on_the_place():
    far = Mesh(CORNERS + np.float32(50), TETRAHEDRON)
    assert signed_volume(far) == pytest.approx(8 / 3, rel=1e-5)
    assert signed_volume(cube()) == pytest.approx(1, rel=1e-6)


def test_a_body_that_leaves_the_box_is_closed_flat_at_its_sides(balls):
    """The closing faces stand half a cell outside the outermost nodes, all of a side in one plane.

    Only at their rims, where a node's density is within a thousandth of the level, a vertex may lie in between.
    """
    field = balls([((0, 0, 0), 0.6, 1)])
    mesh, report = extract_surface(field, RAW)
    assert report.watertight
    assert report.holes == 0
    assert signed_volume(mesh) > 0
    beyond = 0.5 + STEP / 2
    assert np.abs(mesh.vertices).max() == pytest.approx(beyond, abs=1e-6)
    outside = (np.abs(mesh.vertices) > 0.5 + 1e-6).any(axis=1)
    # A ball of 0.6 meets a side of the box at 0.5 in a disc of radius sqrt(0.11).
    for axis in range(3):
        for sign in (-1, 1):
            flat = mesh.vertices[np.abs(mesh.vertices[:, axis] - sign * beyond) < 1e-6]
            assert np.linalg.norm(np.delete(flat, axis, axis=1), axis=1).max() == pytest.approx(0.11**0.5, abs=STEP)
            outside &= np.abs(mesh.vertices[:, axis] - sign * beyond) > 1e-6
    assert outside.sum() < 0.01 * 6 * len(flat)


NECK = [((0, -0.4, 0), 0.35, 1)]  # the ball's lower part is cut off by the floor


def test_a_closed_neck_ends_in_a_flat_cut(balls):
    mesh, report = extract_surface(balls(NECK), RAW)
    assert (report.holes, report.watertight, report.euler_number) == (0, True, 2)
    lowest = mesh.vertices[:, 1].min()
    assert lowest == pytest.approx(-0.5 - STEP / 2, abs=1e-6)
    cut = mesh.vertices[:, 1] < -0.5 - 1e-6
    np.testing.assert_allclose(mesh.vertices[cut, 1], lowest, atol=1e-6)
    downward = areas(mesh)[cut[mesh.faces].all(axis=1)].sum(axis=0)
    assert -downward[1] / 2 == pytest.approx(np.pi * (0.35**2 - 0.1**2), rel=0.05)  # the area of the cut's disc


@pytest.mark.parametrize("smoothing", [0, 5])
def test_an_open_neck_ends_in_one_loop_at_the_boxs_floor(balls, smoothing):
    mesh, report = extract_surface(balls(NECK), Options(resolution=64, smoothing=smoothing, faces=0, neck="open"))
    assert (report.holes, report.watertight, report.euler_number) == (1, False, 1)
    edges, uses = edge_uses(mesh)
    rim = np.unique(edges[uses == 1])
    assert len(rim) > 50
    np.testing.assert_allclose(mesh.vertices[rim, 1], -0.5, atol=1e-6)
    assert mesh.vertices[:, 1].min() >= -0.5 - 1e-6
    outward = (areas(mesh) * (mesh.vertices[mesh.faces].mean(axis=1) - np.float32([0, -0.4, 0]))).sum()
    assert outward > 0


def test_a_decimated_open_neck_keeps_its_loop(balls):
    mesh, report = extract_surface(balls(NECK), Options(resolution=64, faces=1500, neck="open"))
    edges, uses = edge_uses(mesh)
    assert (report.holes, report.components) == (1, 1)
    assert np.abs(mesh.vertices[np.unique(edges[uses == 1]), 1] + 0.5).max() < STEP


@pytest.mark.parametrize("radius", [0.001, -1.0])
def test_a_field_without_surface_says_so(balls, radius):
    with pytest.raises(HeadstitchError, match=r"(?s)^[A-Z].*empty.*\.$"):
        extract_surface(balls([((0.004, 0.003, 0.002), radius, 1)]), Options(resolution=32))


# --- what belongs to the head


def test_floaters_go_and_are_counted(balls):
    head = [((0, 0, 0), 0.3, 1)]
    dust = [((0.41, 0.4, 0.42), 0.035, 1), ((-0.4, 0.3, -0.4), 0.03, 1), ((0, 0.45, 0), 0.02, 1)]
    clean, _ = extract_surface(balls(head), RAW)
    mesh, report = extract_surface(balls(head + dust), RAW)
    assert (report.components, report.removed_components, report.watertight) == (1, 3, True)
    np.testing.assert_array_equal(mesh.vertices, clean.vertices)
    np.testing.assert_array_equal(mesh.faces, clean.faces)


def test_inner_shells_go_and_are_counted(balls):
    """A hollow with a core in it: neither the hollow's wall nor the core can be seen."""
    hollow = [((0, 0, 0), 0.42, 1), ((0.03, 0, 0), 0.3, -1), ((0.03, 0, 0), 0.2, 1)]
    mesh, report = extract_surface(balls(hollow), RAW)
    assert (report.components, report.removed_components, report.watertight) == (1, 2, True)
    assert np.linalg.norm(mesh.vertices, axis=1).min() > 0.41


def test_inner_shells_go_from_a_head_with_an_open_neck_too(balls):
    """The hole in the neck must not make the inside look like the outside, wherever the hollow lies."""
    for middle in ((0, -0.35, 0), (0.1, -0.25, 0.1), (-0.1, -0.2, -0.1)):
        field = balls([((0, -0.3, 0), 0.45, 1), (middle, 0.12, -1)])
        _, report = extract_surface(field, Options(resolution=64, smoothing=0, faces=0, neck="open"))
        assert (report.components, report.removed_components, report.holes) == (1, 1, 1)


def test_a_large_second_body_stays(balls):
    field = balls([((-0.2, 0, 0), 0.25, 1), ((0.3, 0.1, 0), 0.15, 1)])
    mesh, report = extract_surface(field, RAW)
    assert (report.components, report.removed_components, report.euler_number) == (2, 0, 4)
    assert (np.linalg.norm(mesh.vertices - np.float32([0.3, 0.1, 0]), axis=1) < 0.16).any()


def test_the_inner_shell_of_a_second_body_goes_too(balls):
    bodies = [((-0.2, 0, 0), 0.25, 1), ((0.28, 0.1, 0), 0.18, 1), ((0.28, 0.1, 0), 0.13, -1)]
    _, report = extract_surface(balls(bodies), RAW)
    assert (report.components, report.removed_components) == (2, 1)


def test_kept_meshes_have_no_unused_vertices():
    small = Mesh(CORNERS * np.float32(0.01) + np.float32(5), TETRAHEDRON)
    kept, removed = keep_head(joined(small, cube()))
    assert removed == 1
    np.testing.assert_array_equal(kept.vertices, cube().vertices)
    np.testing.assert_array_equal(kept.faces, cube().faces)


# --- smoothing and decimation


def test_smoothing_evens_out_and_does_not_shrink(balls):
    """Noise of a tenth of a voxel on a ball: smoothing takes most of it away and leaves the radius as it was."""
    mesh, _ = extract_surface(balls([((0, 0, 0), 0.35, 1)]), RAW)
    rng = np.random.default_rng(1)
    noisy = Mesh(
        mesh.vertices * (1 + 0.1 * STEP * rng.standard_normal((len(mesh.vertices), 1))).astype(np.float32), mesh.faces
    )
    smooth = smoothen(noisy, 10)
    before, after = (np.linalg.norm(each.vertices, axis=1) for each in (noisy, smooth))
    assert after.std() < 0.7 * before.std()
    assert after.mean() == pytest.approx(0.35, abs=0.1 * STEP)
    np.testing.assert_array_equal(smooth.faces, mesh.faces)
    assert smoothen(mesh, 0) is mesh


def test_fixed_vertices_stay_where_they_are():
    fixed = np.arange(8) < 3
    smooth = smoothen(cube(), 4, fixed)
    np.testing.assert_array_equal(smooth.vertices[fixed], cube().vertices[fixed])
    assert (smooth.vertices[~fixed] != cube().vertices[~fixed]).any()


@pytest.mark.parametrize("faces", [500, 4000, 12000])
def test_decimation_gives_the_wanted_number_and_stays_near_the_surface(balls, faces):
    """With equal triangles of side a the chord errs by a^2 / (6 r) in their middle, and quadrics shift vertices out by
    about as much; three times that leaves room for unequal triangles."""
    field = balls([((0, 0, 0), 0.4, 1)])
    raw, _ = extract_surface(field, RAW)
    assert len(raw.faces) > 20_000
    mesh = decimate(raw, faces)
    assert faces - 2 <= len(mesh.faces) <= faces
    side_squared = 4 * np.pi * 0.4**2 / faces * 4 / np.sqrt(3)
    bound = 3 * side_squared / (6 * 0.4) + STEP**2 / 8 / 0.4
    assert np.abs(field.distance(mesh.vertices)).max() < bound
    assert np.abs(field.distance(mesh.vertices[mesh.faces].mean(axis=1))).max() < bound
    _, uses = edge_uses(mesh)
    assert (uses == 2).all()
    assert signed_volume(mesh) > 0


@pytest.mark.parametrize("faces", [0, 12, 500])
def test_a_mesh_that_is_small_enough_is_left_alone(faces):
    mesh = cube()
    assert decimate(mesh, faces) is mesh


def test_a_head_is_one_closed_piece_with_the_wanted_faces(head_mesh, head_field):
    mesh, report = head_mesh
    assert (report.components, report.holes, report.watertight, report.euler_number) == (1, 0, True, 2)
    assert 3990 <= len(mesh.faces) <= 4000
    _, uses = edge_uses(mesh)
    assert (uses == 2).all()
    assert signed_volume(mesh) > 0
    above = mesh.vertices[mesh.vertices[:, 1] > head_field.box.low[1] + 0.03]
    distance = head_field._grid.sample_distance(torch.tensor(above)).numpy()
    spacing = max(np.subtract(head_field.box.high, head_field.box.low)) / 95
    assert np.quantile(np.abs(distance), 0.99) < spacing  # ears and lids are finer than this small a head can hold


def test_a_head_comes_out_the_same_every_time(head_mesh, head_field):
    again, report = extract_surface(head_field, Options(resolution=96, faces=4000))
    np.testing.assert_array_equal(again.vertices, head_mesh[0].vertices)
    np.testing.assert_array_equal(again.faces, head_mesh[0].faces)
    assert report == head_mesh[1]


# --- manifold


def check_split(mesh, split):
    np.testing.assert_array_equal(split.vertices[split.faces], mesh.vertices[mesh.faces])
    _, uses = edge_uses(split)
    assert uses.max() <= 2
    assert split.faces.dtype == np.int32
    assert len(np.unique(split.faces)) == len(split.vertices)


@pytest.mark.parametrize("mesh", [Mesh(CORNERS, TETRAHEDRON), cube(), cube(lid=False)], ids=["solid", "cube", "box"])
def test_a_manifold_mesh_comes_back_as_it_is(mesh):
    assert split_nonmanifold(mesh) is mesh


def test_a_bow_tie_gets_two_vertices():
    """Two tetrahedra that touch in one corner."""
    tie = Mesh(
        np.concatenate([CORNERS, 2 - CORNERS[1:]]),
        np.concatenate([TETRAHEDRON, [[0, 5, 4], [0, 4, 6], [0, 6, 5], [4, 5, 6]]]).astype(np.int32),
    )
    split = split_nonmanifold(tie)
    check_split(tie, split)
    assert len(split.vertices) == 8
    assert report_surface(split, 0).components == 2
    assert report_surface(split, 0).watertight


def test_an_edge_with_three_wings_joins_none_of_them():
    vertices = np.float32([[0, 0, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0], [-1, -1, 0]])
    wings = Mesh(vertices, np.int32([[0, 1, 2], [0, 1, 3], [0, 1, 4]]))
    split = split_nonmanifold(wings)
    check_split(wings, split)
    assert len(split.vertices) == 9


def test_two_solids_that_share_an_edge_come_apart_there():
    vertices = np.float32([[0, 0, 0], [0, 0, 1], [1, 0, 0], [1, 1, 0], [-1, 0, 0], [-1, -1, 0]])
    solids = [(0, 1, 2, 3), (0, 1, 4, 5)]
    faces = [tri for a, b, c, d in solids for tri in ((a, c, b), (a, b, d), (a, d, c), (b, c, d))]
    shared = Mesh(vertices, np.int32(faces))
    assert edge_uses(shared)[1].max() == 4
    split = split_nonmanifold(shared)
    check_split(shared, split)


def test_triangles_that_face_against_each_other_are_parted():
    """An edge that both triangles run along in the same direction has an inside on both of its sides."""
    vertices = np.float32([[0, 0, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0]])
    folded = Mesh(vertices, np.int32([[0, 1, 2], [0, 1, 3]]))
    split = split_nonmanifold(folded)
    check_split(folded, split)
    assert len(split.vertices) == 6


def test_unused_vertices_go():
    lonely = Mesh(np.concatenate([CORNERS, [[9, 9, 9]]]).astype(np.float32), TETRAHEDRON)
    check_split(lonely, split_nonmanifold(lonely))


# --- the report


def torus(rings=12, sides=8):
    a, b = np.meshgrid(np.arange(rings), np.arange(sides), indexing="ij")
    around, across = 2 * np.pi * a / rings, 2 * np.pi * b / sides
    radius = 1 + 0.3 * np.cos(across)
    vertices = np.stack([radius * np.cos(around), 0.3 * np.sin(across), radius * np.sin(around)], axis=-1)
    at = a * sides + b
    right, up = np.roll(at, -1, axis=0), np.roll(at, -1, axis=1)
    both = np.roll(right, -1, axis=1)
    faces = np.stack([at, up, both, at, both, right], axis=-1).reshape(-1, 3)
    return Mesh(vertices.reshape(-1, 3).astype(np.float32), faces.astype(np.int32))


@pytest.mark.parametrize(
    ("mesh", "components", "holes", "watertight", "euler"),
    [
        (Mesh(CORNERS, TETRAHEDRON), 1, 0, True, 2),
        (Mesh(CORNERS, TETRAHEDRON[:2]), 1, 1, False, 1),
        (cube(), 1, 0, True, 2),
        (cube(lid=False), 1, 1, False, 1),
        (torus(), 1, 0, True, 0),
        (joined(cube(), Mesh(CORNERS + np.float32(9), TETRAHEDRON)), 2, 0, True, 4),
        (joined(cube(lid=False), cube(lid=False)), 2, 2, False, 2),
    ],
    ids=["tetrahedron", "two sides", "cube", "open box", "torus", "two solids", "two boxes"],
)
def test_report_counts(mesh, components, holes, watertight, euler):
    report = report_surface(mesh, 7)
    assert (report.vertices, report.faces) == (len(mesh.vertices), len(mesh.faces))
    assert (report.components, report.watertight, report.removed_components) == (components, watertight, 7)
    assert (report.holes, report.euler_number) == (holes, euler)
