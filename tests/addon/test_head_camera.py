"""The photo's camera in a real Blender: the photo behind the head, in the viewport and in renders."""

from __future__ import annotations

import numpy as np
import pytest

SIDE = 64


@pytest.fixture
def photo():
    """(64, 64, 3) uint8 with four colours: a flip or a turn would be seen."""
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    half = SIDE // 2
    picture[:half, :half], picture[:half, half:] = (200, 40, 40), (40, 200, 40)
    picture[half:, :half], picture[half:, half:] = (40, 40, 200), (200, 200, 40)
    return picture


@pytest.fixture
def with_photo(write_head, write_png, photo):
    """A head folder that holds photo.png."""

    def write(name="ada", **changes):
        folder = write_head(name, **changes)
        write_png(folder / "photo.png", photo)
        return folder

    return write


def add(bpy, folder, **options):
    bpy.ops.import_scene.headstitch_head("EXEC_DEFAULT", False, directory=f"{folder}/", **options)
    return bpy.context.active_object


def test_the_camera_shows_the_packed_photo_behind_the_scene(bpy, with_photo):
    folder = with_photo()
    add(bpy, folder)
    data = bpy.data.objects["ada Camera"].data
    assert data.show_background_images
    (background,) = data.background_images
    assert background.image.name == "ada Photo"
    assert background.image.packed_file.data == (folder / "photo.png").read_bytes()
    assert background.display_depth == "BACK"
    assert background.frame_method == "FIT"
    assert background.alpha == pytest.approx(0.5)


def test_a_folder_without_a_photo_gives_a_camera_without_one(bpy, write_head):
    add(bpy, write_head(), photo_view=True)
    assert len(bpy.data.objects["ada Camera"].data.background_images) == 0
    assert "ada Backdrop" not in bpy.data.objects


def test_the_camera_moves_along_with_the_head(bpy, with_photo, arrays, camera):
    from bpy_extras.object_utils import world_to_camera_view

    scene = bpy.context.scene
    scene.render.resolution_x = scene.render.resolution_y = 512
    head = add(bpy, with_photo())
    head.location, head.rotation_euler, head.scale = (3, 4, 5), (0.3, 0.2, 1.0), (2, 2, 2)
    bpy.context.view_layer.update()
    eye = bpy.data.objects["ada Camera"]
    seen = np.array([world_to_camera_view(scene, eye, head.matrix_world @ v.co) for v in head.data.vertices])
    picture = camera.project(arrays["vertices"])
    np.testing.assert_allclose(seen[:, 0], picture[:, 0], atol=1e-4)
    np.testing.assert_allclose(1 - seen[:, 1], picture[:, 1], atol=1e-4)


def render(bpy, path, side):
    """The picture (side, side, 4) through the scene's camera by Cycles, row 0 at the top."""
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.samples = 4
    scene.cycles.use_denoising = False
    scene.render.resolution_x = scene.render.resolution_y = side
    scene.render.filepath = str(path)
    scene.view_settings.view_transform = "Standard"
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(str(path))
    values = np.empty(side * side * 4, np.float32)
    image.pixels.foreach_get(values)
    return values.reshape(side, side, 4)[::-1]


@pytest.mark.parametrize("film_transparent", [False, True])
def test_the_photo_view_renders_the_photo_behind_the_head(bpy, with_photo, photo, tmp_path, film_transparent):
    bpy.data.objects["Cube"].hide_render = True
    world = bpy.context.scene.world
    head = add(bpy, with_photo(), photo_view=True)
    assert bpy.context.scene.world == world
    head.hide_render = True
    bpy.context.scene.render.film_transparent = film_transparent
    seen = render(bpy, tmp_path / "render.png", SIDE)
    wrong = np.abs(seen[..., :3] * 255 - photo).max(axis=-1) > 4
    assert wrong.mean() < 0.1  # along the edges between the colours, pixels mix
    assert not wrong[4:24, 4:24].any()
    assert (seen[..., 3] > 0.99).all()
    head.hide_render = False
    covered = np.abs(render(bpy, tmp_path / "head.png", SIDE)[..., :3] - seen[..., :3]).max(axis=-1) > 0.05
    assert 0.1 < covered.mean() < 0.9


def test_the_backdrop_is_for_renders_alone_and_lights_nothing(bpy, with_photo):
    add(bpy, with_photo(), photo_view=True)
    plane = bpy.data.objects["ada Backdrop"]
    assert plane.parent == bpy.data.objects["ada Camera"]
    assert plane.hide_viewport
    assert not plane.hide_render
    assert not any((plane.visible_diffuse, plane.visible_glossy, plane.visible_shadow))
    assert [c.name for c in plane.users_collection] == ["ada"]


def test_rebuilding_matches_the_camera_anew_and_shows_the_new_photo(bpy, with_photo, write_png, camera):
    from headstitch.backend.camera import Camera

    head = add(bpy, with_photo())
    eye = bpy.data.objects["ada Camera"]
    before = tuple(eye.location)
    other = Camera.from_angles(yaw=-0.3, pitch=0.1, roll=0.0)
    folder = with_photo("again", cam2world=other.cam2world, intrinsics=other.intrinsics)
    write_png(folder / "photo.png", np.full((SIDE, SIDE, 3), 77, np.uint8))
    add(bpy, folder, replace="ada", photo_view=True)
    assert tuple(eye.location) != pytest.approx(before, abs=1e-3)
    assert eye.data.shift_x == pytest.approx(0)
    (background,) = eye.data.background_images
    assert background.image.packed_file.data == (folder / "photo.png").read_bytes()
    assert bpy.data.objects["ada Backdrop"].active_material.node_tree.nodes["Image Texture"].image == background.image
    add(bpy, folder, replace="ada")
    assert [thing.name for thing in eye.children] == ["ada Backdrop"]
    assert head.children == (eye,)


def test_rebuilding_leaves_a_camera_alone_that_a_person_moved(bpy, with_photo):
    add(bpy, with_photo())
    eye = bpy.data.objects["ada Camera"]
    eye.location.x += 1
    moved = tuple(eye.location)
    add(bpy, with_photo("again"), replace="ada")
    assert tuple(eye.location) == moved
    assert len(bpy.data.cameras) == 2


def test_a_photo_that_is_no_picture_is_refused_and_nothing_is_left(bpy, with_photo):
    folder = with_photo()
    (folder / "photo.png").write_bytes(b"no picture")
    before = [len(kind) for kind in (bpy.data.objects, bpy.data.images, bpy.data.meshes, bpy.data.collections)]
    with pytest.raises(RuntimeError, match=r"photo.png. is damaged: it is not a picture"):
        add(bpy, folder)
    assert before == [len(k) for k in (bpy.data.objects, bpy.data.images, bpy.data.meshes, bpy.data.collections)]
