"""Importing a head in a real Blender: what the scene holds afterwards, compared with the arrays in the folder."""

from __future__ import annotations

import json

import numpy as np
import pytest

METRES_PER_UNIT = 0.01 / 0.02366
CURSOR = (1.0, -2.0, 0.5)


def run(bpy, folder, undo=False, **options):
    """Run the operator as File > Import does, with the 3D cursor away from the origin."""
    bpy.context.scene.cursor.location = CURSOR
    directory = f"{folder}/"
    return bpy.ops.import_scene.headstitch_head("EXEC_DEFAULT", undo, directory=directory, **options)


def read(collection, key, shape, dtype=np.float32):
    """What foreach_get gives, as an array of ``shape``."""
    values = np.empty(int(np.prod(shape)), dtype)
    collection.foreach_get(key, values)
    return values.reshape(shape)


def expected_points(vertices, middle):
    """World (N, 3) to metres around the neck's base: x stays, Z is y, Y is -z. Written out, not the add-on's matrix."""
    x, y, z = (vertices.astype(np.float64) - middle).T
    return np.stack([x, -z, y], axis=1) * METRES_PER_UNIT


@pytest.fixture
def neck(arrays):
    """The middle of the test head's open end: its lowest ring is the ellipse around (0.02, -0.3, -0.05)."""
    return np.array([0.02, -0.3, -0.05])


def test_the_vertices_are_the_arrays_in_metres_around_the_neck(bpy, write_head, arrays, neck):
    assert run(bpy, write_head()) == {"FINISHED"}
    mesh = bpy.context.active_object.data
    points = read(mesh.vertices, "co", (len(mesh.vertices), 3))
    np.testing.assert_allclose(points, expected_points(arrays["vertices"], neck), atol=1e-6)
    assert points[:, 2].min() == pytest.approx(0, abs=1e-6)
    assert 0.2 < np.ptp(points[:, 2]) < 0.3


def test_the_mesh_stays_welded_with_its_faces_and_a_uv_for_each_corner(bpy, write_head, arrays):
    run(bpy, write_head())
    mesh = bpy.context.active_object.data
    count = len(arrays["faces"])
    assert len(mesh.vertices) == len(arrays["vertices"])
    np.testing.assert_array_equal(read(mesh.loops, "vertex_index", (count, 3), np.int32), arrays["faces"])
    assert [layer.name for layer in mesh.uv_layers] == ["UVMap"]
    assert mesh.uv_layers.active.active_render
    np.testing.assert_array_equal(read(mesh.uv_layers[0].uv, "vector", (count, 3, 2)), arrays["corner_uvs"])
    assert read(mesh.polygons, "use_smooth", count, bool).all()
    assert not mesh.has_custom_normals
    assert not mesh.validate()


def test_faces_look_outwards(bpy, write_head):
    run(bpy, write_head())
    mesh = bpy.context.active_object.data
    normals = read(mesh.polygons, "normal", (len(mesh.polygons), 3))
    centres = read(mesh.polygons, "center", (len(mesh.polygons), 3))
    assert (np.sum(normals[:, :2] * centres[:, :2], axis=1) > 0).mean() > 0.98


def test_the_head_stands_at_the_cursor_facing_the_front_view(bpy, write_head, arrays):
    run(bpy, write_head("ada"))
    head = bpy.context.active_object
    assert tuple(head.location) == pytest.approx(CURSOR)
    assert tuple(head.scale) == (1, 1, 1)
    assert head.rotation_mode == "XYZ"
    assert tuple(head.rotation_euler) == (0, 0, 0)
    nose = int(arrays["vertices"][:, 2].argmax())
    ear = int(arrays["vertices"][:, 0].argmax())
    points = read(head.data.vertices, "co", (len(head.data.vertices), 3))
    assert points[:, 1].argmin() == nose
    assert points[:, 0].argmax() == ear


def test_the_head_stands_at_the_worlds_origin_when_asked(bpy, write_head):
    run(bpy, write_head(), place="WORLD")
    assert tuple(bpy.context.active_object.location) == (0, 0, 0)


def test_real_size_holds_in_a_scene_measured_in_centimetres(bpy, write_head, arrays, neck, camera):
    bpy.context.scene.unit_settings.scale_length = 0.01
    run(bpy, write_head())
    mesh = bpy.context.active_object.data
    points = read(mesh.vertices, "co", (len(mesh.vertices), 3))
    np.testing.assert_allclose(points, 100 * expected_points(arrays["vertices"], neck), atol=1e-4)
    assert bpy.context.active_object.scale[:] == (1, 1, 1)
    bpy.context.view_layer.update()
    eye = bpy.data.objects["ada Camera"]
    wanted = 100 * expected_points(camera.position[None], neck)[0] + CURSOR
    np.testing.assert_allclose(eye.matrix_world.translation, wanted, rtol=1e-5)
    assert eye.data.clip_start < np.linalg.norm(wanted) < eye.data.clip_end


def test_one_principled_material_with_the_albedo_packed_and_ready_to_paint(bpy, write_head, pixels):
    folder = write_head()
    run(bpy, folder)
    head = bpy.context.active_object
    (material,) = head.data.materials
    tree = material.node_tree
    assert sorted(node.type for node in tree.nodes) == ["BSDF_PRINCIPLED", "OUTPUT_MATERIAL", "TEX_IMAGE"]
    shader = next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED")
    assert shader.inputs["Roughness"].default_value == 0.5
    assert shader.inputs["Metallic"].default_value == 0.0
    texture = shader.inputs["Base Color"].links[0].from_node
    assert tree.nodes.active == texture
    assert next(n for n in tree.nodes if n.type == "OUTPUT_MATERIAL").inputs["Surface"].links[0].from_node == shader
    image = texture.image
    assert image.colorspace_settings.name == "sRGB"
    assert image.packed_file.data == (folder / "albedo.png").read_bytes()
    np.testing.assert_array_equal(np.rint(stored_pixels(image)[::-1, :, :3] * 255), pixels)
    bpy.ops.object.mode_set(mode="TEXTURE_PAINT")
    assert [slot.name for slot in material.texture_paint_images] == [image.name]
    assert material.texture_paint_images[material.paint_active_slot] == image


def stored_pixels(image):
    values = np.empty(image.size[0] * image.size[1] * 4, np.float32)
    image.pixels.foreach_get(values)
    return values.reshape(image.size[1], image.size[0], 4)


def test_one_collection_holds_the_head_and_its_camera_and_nothing_else_changes(bpy, write_head):
    def state():
        return {
            name: (
                [tuple(row) for row in bpy.data.objects[name].matrix_world],
                bpy.data.objects[name].data.name,
                [collection.name for collection in bpy.data.objects[name].users_collection],
            )
            for name in ("Cube", "Light", "Camera")
        }

    before = state()
    scene = bpy.context.scene
    settings = (scene.camera.name, scene.render.resolution_x, scene.render.resolution_y, scene.render.engine)
    run(bpy, write_head("ada"))
    assert state() == before
    assert (scene.camera.name, scene.render.resolution_x, scene.render.resolution_y, scene.render.engine) == settings
    assert sorted(thing.name for thing in bpy.data.collections["ada"].objects) == ["ada", "ada Camera"]
    assert "ada" in scene.collection.children
    assert [c.name for c in bpy.data.objects["ada"].users_collection] == ["ada"]
    assert len(bpy.data.objects) == 5
    assert bpy.context.active_object == bpy.data.objects["ada"]
    assert list(bpy.context.selected_objects) == [bpy.data.objects["ada"]]


def test_two_imports_share_nothing(bpy, write_head):
    folder = write_head("ada")
    run(bpy, folder)
    run(bpy, folder)
    first, second = bpy.data.objects["ada"], bpy.data.objects["ada.001"]
    assert first.data != second.data
    assert first.active_material != second.active_material
    assert first.users_collection != second.users_collection
    assert [image.name for image in bpy.data.images if image.packed_file] == ["ada Albedo", "ada Albedo.001"]


def test_no_camera_comes_when_none_is_asked_for(bpy, write_head):
    run(bpy, write_head(), with_camera=False)
    assert [camera.name for camera in bpy.data.cameras] == ["Camera"]


@pytest.mark.parametrize(("wide", "high"), [(1920, 1080), (600, 800), (512, 512)])
def test_the_camera_sees_each_vertex_where_the_photo_does(bpy, write_head, arrays, camera, wide, high):
    from bpy_extras.object_utils import world_to_camera_view

    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = wide, high
    run(bpy, write_head())
    bpy.context.view_layer.update()
    head, eye = bpy.context.active_object, bpy.data.objects["ada Camera"]
    assert eye.rotation_mode == "XYZ"
    assert tuple(eye.scale) == (1, 1, 1)
    assert eye.data.lens == pytest.approx(camera.intrinsics[0, 0] * eye.data.sensor_width)
    picture = camera.project(arrays["vertices"])
    seen = np.array([world_to_camera_view(scene, eye, head.matrix_world @ v.co) for v in head.data.vertices])
    side = min(wide, high)  # the photo's square fills the shorter side, in the middle
    np.testing.assert_allclose((seen[:, 0] * wide - wide / 2) / side + 0.5, picture[:, 0], atol=1e-4)
    np.testing.assert_allclose((high / 2 - seen[:, 1] * high) / side + 0.5, picture[:, 1], atol=1e-4)
    np.testing.assert_allclose(seen[:, 2], picture[:, 2] * METRES_PER_UNIT, atol=1e-5)


def test_a_cycles_render_through_the_photos_camera_covers_the_projected_mesh(bpy, write_head, arrays, camera, tmp_path):
    size = 256
    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = size, size // 2
    bpy.data.objects["Cube"].hide_render = True
    run(bpy, write_head(), photo_view=True)
    assert scene.camera == bpy.data.objects["ada Camera"]
    assert (scene.render.resolution_x, scene.render.resolution_y) == (size, size)
    scene.render.engine = "CYCLES"
    scene.cycles.samples = 4
    scene.cycles.use_denoising = False
    scene.render.film_transparent = True
    scene.render.filepath = str(tmp_path / "render.png")
    bpy.ops.render.render(write_still=True)
    rendered = stored_pixels(bpy.data.images.load(scene.render.filepath))[::-1, :, 3] > 0.5
    wanted = silhouette(camera.project(arrays["vertices"])[:, :2] * size, arrays["faces"], size)
    assert 0.1 < wanted.mean() < 0.9
    assert (rendered & wanted).sum() / (rendered | wanted).sum() >= 0.95
    assert (rendered & wanted[:, ::-1]).sum() / (rendered | wanted[:, ::-1]).sum() < 0.9  # a mirrored one would be seen


def silhouette(points, faces, size):
    """The pixels (size, size) whose centres lie in any triangle of ``points`` (N, 2), in pixels, row 0 at the top."""
    mask = np.zeros((size, size), bool)
    for corners in points[faces]:
        low = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, size)
        high = np.clip(np.ceil(corners.max(axis=0)).astype(int), 0, size)
        x, y = np.meshgrid(np.arange(low[0], high[0]) + 0.5, np.arange(low[1], high[1]) + 0.5)
        sides = [
            (b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])
            for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True)
        ]
        inside = np.all(np.stack(sides) >= 0, axis=0) | np.all(np.stack(sides) <= 0, axis=0)
        mask[low[1] : high[1], low[0] : high[0]] |= inside
    return mask


def test_the_provenance_and_the_packed_albedo_survive_saving_without_the_folder(bpy, write_head, record, tmp_path):
    folder = write_head()
    run(bpy, folder)
    albedo = (folder / "albedo.png").read_bytes()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "saved.blend"))
    for file in folder.iterdir():
        file.unlink()
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "saved.blend"))
    head = bpy.data.objects["ada"]
    assert json.loads(head["headstitch"]) == record
    assert head["headstitch_version"] == "0.1.0"
    assert head["headstitch_generated_content"] is True
    assert head["headstitch_photo_name"] == record["photo"]["name"]
    assert head["headstitch_photo_sha256"] == "ab" * 32
    image = bpy.data.images["ada Albedo"]
    assert image.packed_file.data == albedo
    assert tuple(image.size) == (8, 16)


def snapshot(bpy):
    """All datablocks by kind and name, the selection, the active object and the mode."""
    kinds = ("objects", "meshes", "materials", "images", "cameras", "collections", "lights", "node_groups", "worlds")
    return (
        {kind: sorted(block.name for block in getattr(bpy.data, kind)) for kind in kinds},
        sorted(thing.name for thing in bpy.context.selected_objects),
        bpy.context.active_object and bpy.context.active_object.name,
        bpy.context.mode,
    )


def test_one_undo_takes_all_of_it_away_and_one_redo_brings_it_back(bpy, write_head):
    before = snapshot(bpy)
    bpy.ops.ed.undo_push(message="before")  # without a window, Blender starts its undo history only when told to
    run(bpy, write_head(), undo=True)
    after = snapshot(bpy)
    assert after != before
    bpy.ops.ed.undo()
    assert snapshot(bpy) == before
    bpy.ops.ed.redo()
    assert snapshot(bpy) == after


def test_edit_mode_is_left_and_keeps_what_was_edited(bpy, write_head):
    import bmesh

    bpy.ops.object.mode_set(mode="EDIT")
    cube = bpy.data.objects["Cube"]
    bmesh.from_edit_mesh(cube.data).verts.new((9, 9, 9))
    run(bpy, write_head())
    assert bpy.context.mode == "OBJECT"
    assert len(cube.data.vertices) == 9
    assert bpy.context.active_object.name == "ada"


def test_a_folder_without_a_head_leaves_the_scene_and_its_mode_alone(bpy, tmp_path):
    bpy.ops.object.mode_set(mode="EDIT")
    before = snapshot(bpy)
    with pytest.raises(RuntimeError, match=r"Error: The folder .* has no head\.npz; choose the folder"):
        run(bpy, tmp_path)
    assert snapshot(bpy) == before


@pytest.mark.parametrize("content", [b"", b"not a picture", None])
def test_an_albedo_that_is_no_picture_is_refused_and_nothing_is_left(bpy, write_head, content):
    folder = write_head()
    albedo = folder / "albedo.png"
    albedo.write_bytes(albedo.read_bytes()[:60] if content is None else content)
    before = snapshot(bpy)
    with pytest.raises(RuntimeError, match=r"albedo.png. is damaged: it is not a picture"):
        run(bpy, folder)
    assert snapshot(bpy) == before


def test_a_damaged_archive_is_refused_and_nothing_is_left(bpy, write_head):
    folder = write_head()
    (folder / "head.npz").write_bytes((folder / "head.npz").read_bytes()[:1000])
    before = snapshot(bpy)
    with pytest.raises(RuntimeError, match=r"head.npz. is damaged: it is not a file of arrays"):
        run(bpy, folder)
    assert snapshot(bpy) == before


def test_no_folder_at_all_is_refused(bpy):
    with pytest.raises(RuntimeError, match="Choose the folder that Headstitch made"):
        bpy.ops.import_scene.headstitch_head(directory="")


@pytest.mark.parametrize(
    ("module", "step"),
    [
        ("head_import", "keep_picture"),  # its mesh is there already
        ("head_camera", "lens"),
        ("head_camera", "_shining"),  # the backdrop's mesh is there
        ("head_asset", "describe_asset"),
        ("import_operators", "frame_in_view"),
        ("import_operators", "look_as_the_photo"),
    ],
)
def test_a_failure_half_way_takes_what_was_made_away_again_and_is_one_sentence(
    bpy, write_head, write_png, pixels, monkeypatch, capsys, module, step
):
    import importlib

    def fail(*_):
        raise MemoryError("no memory left")

    folder = write_head()
    write_png(folder / "photo.png", pixels)
    monkeypatch.setattr(importlib.import_module(f"bl_ext.user_default.headstitch.addon.{module}"), step, fail)
    before, camera = snapshot(bpy), bpy.context.scene.camera
    with pytest.raises(RuntimeError) as told:
        run(bpy, folder, photo_view=True, frame_view=True)
    assert str(told.value).splitlines()[0] == (
        "Error: The head could not be built (MemoryError: no memory left), and nothing of it is in the scene; "
        "free memory and try again, or report it"
    )
    assert "Traceback" not in str(told.value)
    assert "MemoryError" in capsys.readouterr().err  # the console has all of it
    assert snapshot(bpy) == before
    assert bpy.context.scene.camera == camera
