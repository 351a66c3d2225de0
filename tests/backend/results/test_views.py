import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from headstitch.backend.camera import Camera
from headstitch.backend.errors import ResultsError
from headstitch.backend.meshing.mesh import Mesh, TexturedMesh
from headstitch.backend.results import views
from headstitch.backend.results.views import Viewer, orbit, sample, vertex_normals


def ring(camera, size):
    """The silhouette of a ball of radius 0.2 at the origin in closed form: (size, size) bool."""
    at = (np.arange(size) + 0.5) / size - 0.5
    focal, distance = camera.intrinsics[0, 0], np.linalg.norm(camera.position)
    return np.hypot(*np.meshgrid(at, at)) < focal * 0.2 / np.sqrt(distance**2 - 0.2**2)


@pytest.mark.parametrize(("yaw", "pitch"), [(0.0, 0.0), (1.0, 0.4), (np.pi, 0.0), (0.0, np.pi / 2)])
def test_ball_is_seen_where_and_as_far_as_geometry_says(ball, yaw, pitch):
    camera = Camera.from_angles(yaw, pitch)
    view = Viewer(ball).render(camera, size=128)
    assert np.mean((view.mask > 0.5) != ring(camera, 128)) < 0.02
    assert view.depth[64, 64] == pytest.approx(2.5, abs=0.004)
    assert np.isinf(view.depth[0, 0])
    assert np.array_equal(np.isfinite(view.depth), view.mask > 0)


def test_view_agrees_with_the_cameras_own_projection(ball):
    camera = Camera.from_angles(0.5, 0.2, 0.3)
    moved = Camera(
        camera.cam2world + np.array([[0, 0, 0, 0.1], [0, 0, 0, -0.05], [0, 0, 0, 0], [0, 0, 0, 0]]), camera.intrinsics
    )
    view = Viewer(ball).render(moved, size=200)
    column, row, _ = moved.project(np.zeros((1, 3)))[0] * 200
    rows, columns = np.nonzero(view.mask > 0.5)
    assert (columns.mean() + 0.5, rows.mean() + 0.5) == pytest.approx((column, row), abs=1.0)


def test_texture_stands_upright_and_is_not_mirrored(ball):
    # Red grows with u, which grows to the viewer's right; green grows downwards.
    image = Viewer(ball).render(Camera.from_angles(), 129, "albedo", supersample=1).image.astype(int)
    assert image[64, 90, 0] > image[64, 64, 0] > image[64, 40, 0]
    assert image[90, 64, 1] > image[64, 64, 1] > image[40, 64, 1]
    assert image[64, 64, 2] == 90
    u = 0.5 + 0.9 * np.arcsin((90 - 64) / 129 / 4.2647 * 2.53 / 0.2) / (2 * np.pi)
    assert image[64, 90, 0] == pytest.approx(u * 256 - 1, abs=6)


def test_seam_does_not_show_from_behind(ball):
    flat = replace(ball, albedo=np.full((64, 128, 3), (10, 200, 30), np.uint8))
    view = Viewer(flat).render(Camera.from_angles(np.pi), 128, "albedo", background=(10, 200, 30))
    assert (view.image == (10, 200, 30)).all()


def test_what_lies_behind_is_hidden(ball):
    behind = ball.mesh.vertices + np.float32([0, 0, -0.5])
    two = Mesh(
        np.concatenate([ball.mesh.vertices, behind]),
        np.concatenate([ball.mesh.faces, ball.mesh.faces + len(behind)]),
    )
    uvs = np.concatenate([np.full_like(ball.corner_uvs, 0.25), np.full_like(ball.corner_uvs, 0.75)])
    albedo = np.zeros((4, 4, 3), np.uint8)
    albedo[:2] = 255  # the upper half, where v is 0.75
    viewer = Viewer(TexturedMesh(two, uvs, albedo))
    assert viewer.render(Camera.from_angles(), 65, "albedo").image[32, 32].tolist() == [0, 0, 0]
    assert viewer.render(Camera.from_angles(np.pi), 65, "albedo").image[32, 32].tolist() == [255, 255, 255]


def test_edges_are_smooth_and_the_background_is_the_one_given(ball):
    view = Viewer(ball).render(Camera.from_angles(), 64, background=(1, 2, 3))
    assert view.image[0, 0].tolist() == [1, 2, 3]
    assert ((view.mask > 0) & (view.mask < 1)).sum() > 20
    assert view.image.shape == (64, 64, 3)
    assert view.mask.dtype == view.depth.dtype == np.float32


def test_all_looks_share_one_silhouette_and_differ_in_colour(ball):
    views = Viewer(ball).render_looks(Camera.from_angles(), ["albedo", "lit", "clay", "normals"], 64)
    assert all(np.array_equal(view.mask, views[0].mask) for view in views)
    assert len({view.image.tobytes() for view in views}) == 4
    assert views[3].image[32, 32] == pytest.approx([128, 128, 255], abs=6)


def test_clay_is_brighter_where_the_light_comes_from(ball):
    image = Viewer(ball).render(Camera.from_angles(1.0), 128, "clay").image.astype(int)
    assert image[44, 48].sum() > image[84, 80].sum() + 60


def test_inside_of_an_open_mesh_is_lit_too(ball):
    half = Mesh(ball.mesh.vertices, ball.mesh.faces[ball.mesh.vertices[ball.mesh.faces][..., 2].max(1) <= 1e-6])
    image = Viewer(half).render(Camera.from_angles(), 64, "clay").image
    assert image[32, 32].min() > 100


def test_mesh_beside_or_behind_the_camera_leaves_the_background(ball):
    camera = Camera.from_angles()
    away = Camera(camera.cam2world @ np.diag([1.0, -1.0, -1.0, 1.0]), camera.intrinsics)
    beside = Camera(camera.cam2world.copy(), camera.intrinsics)
    beside.cam2world[0, 3] += 9
    for other in (away, beside):
        view = Viewer(ball).render(other, 32, "lit", background=(7, 7, 7))
        assert (view.image == 7).all()
        assert not view.mask.any()


def test_camera_within_the_mesh_sees_it_all_around(ball):
    view = Viewer(ball).render(Camera(np.eye(4), Camera.from_angles().intrinsics), 32, "albedo")
    assert (view.mask == 1).all()


def test_plain_mesh_is_shown_in_clay_and_refused_with_texture(ball):
    viewer = Viewer(ball.mesh)
    assert viewer.render(Camera.from_angles(), 32, "clay").mask.any()
    with pytest.raises(ResultsError, match="no texture"):
        viewer.render(Camera.from_angles(), 32, "lit")


def test_mesh_without_faces_is_refused():
    with pytest.raises(ResultsError, match="no faces"):
        Viewer(Mesh(np.zeros((3, 3), np.float32), np.zeros((0, 3), np.int32)))


def test_same_camera_gives_the_same_pixels(painted):
    first, second = (Viewer(painted).render(Camera.from_angles(0.4), 128).image for _ in range(2))
    assert np.array_equal(first, second)


def test_vertex_normals_of_a_ball_point_outwards(ball):
    normals = vertex_normals(ball.mesh)
    assert normals.dtype == np.float32
    assert np.linalg.norm(normals, axis=1) == pytest.approx(1, abs=1e-6)
    assert (normals * ball.mesh.vertices / 0.2).sum(1).min() > 0.999


def test_vertex_without_area_has_a_unit_normal_all_the_same():
    mesh = Mesh(np.zeros((4, 3), np.float32), np.array([[0, 1, 2]], np.int32))
    assert np.linalg.norm(vertex_normals(mesh), axis=1) == pytest.approx(1)


@pytest.mark.parametrize("pitch", [0.0, 0.6, -0.6])
def test_orbit_keeps_the_whole_mesh_in_the_picture_from_every_yaw(painted, pitch):
    for yaw in np.linspace(0, 2 * np.pi, 9):
        seen = orbit(painted.mesh, yaw, pitch).project(painted.mesh.vertices)
        assert seen[:, :2].min() > 0
        assert seen[:, :2].max() < 1


def test_orbit_turns_as_the_camera_does(painted):
    assert orbit(painted.mesh, 0.7, 0.2).cam2world[:3, :3] == pytest.approx(
        Camera.from_angles(0.7, 0.2).cam2world[:3, :3]
    )


def test_sample_hits_texel_centres_and_blends_between_them():
    albedo = np.arange(4 * 8 * 3, dtype=np.uint8).reshape(4, 8, 3)
    row, column = np.mgrid[:4, :8]
    uvs = np.stack([(column + 0.5) / 8, 1 - (row + 0.5) / 4], -1).reshape(-1, 2)
    assert np.array_equal(sample(albedo, uvs), albedo.reshape(-1, 3))
    assert sample(albedo, np.array([[1 / 8, 1 - 0.5 / 4]])).tolist() == [[2, 3, 4]]  # half way from 0, 1, 2 to 3, 4, 5
    assert sample(albedo, np.zeros((0, 2))).shape == (0, 3)
    many = sample(albedo, np.tile(uvs, (700, 1)))
    assert np.array_equal(many, np.tile(albedo.reshape(-1, 3), (700, 1)))


@pytest.mark.parametrize(("supersample", "yaw", "distance"), [(1, 0.4, None), (2, 2.0, None), (3, 0.0, 0.25)])
def test_a_picture_made_in_bands_has_the_pixels_of_one_made_whole(painted, monkeypatch, supersample, yaw, distance):
    camera = orbit(painted.mesh, yaw, 0.2)
    if distance is not None:  # so near that the head fills the picture and more
        camera = Camera.from_angles(yaw, 0.2, radius=distance, focal=0.7)
    looks = ["albedo", "lit", "clay", "normals"]
    viewer = Viewer(painted)
    monkeypatch.setattr(views, "PROBE", 64)
    monkeypatch.setattr(views, "BAND", 1 << 40)
    whole = viewer.render_looks(camera, looks, 150, supersample=supersample)
    monkeypatch.setattr(views, "BAND", 7 * 150 * supersample**2)
    banded = viewer.render_looks(camera, looks, 150, supersample=supersample)
    for one, other in zip(whole, banded, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.mask, other.mask)
        np.testing.assert_array_equal(one.depth, other.depth)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak that Linux counts")
def test_the_largest_picture_takes_little_memory(ball, tmp_path):
    code = (
        "import resource, sys, numpy as np\n"
        "from headstitch.backend.meshing.mesh import Mesh, TexturedMesh\n"
        "from headstitch.backend.results.views import Viewer, orbit\n"
        "arrays = np.load(sys.argv[1])\n"
        "mesh = Mesh(arrays['vertices'], arrays['faces'])\n"
        "viewer = Viewer(TexturedMesh(mesh, arrays['uvs'], arrays['albedo']))\n"
        "viewer.render(orbit(mesh, 0.0), 64)\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10\n"
        "before = peak()\n"
        "viewer.render(orbit(mesh, 0.0), 2048)\n"
        "print(peak() - before)\n"
    )
    file = tmp_path / "ball.npz"
    np.savez(file, vertices=ball.mesh.vertices, faces=ball.mesh.faces, uvs=ball.corner_uvs, albedo=ball.albedo)
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 300  # MB; made whole it takes 980
