"""Rebuilding a head in a real Blender: what a person did to it stays, and what it was can come back."""

from __future__ import annotations

import json

import numpy as np
import pytest


def add(bpy, folder, **options):
    """Import and return the head."""
    bpy.ops.import_scene.headstitch_head("EXEC_DEFAULT", False, directory=f"{folder}/", **options)
    return bpy.context.active_object


def rebuild(bpy, obj, folder, undo=False, **options):
    return bpy.ops.import_scene.headstitch_head(
        "EXEC_DEFAULT", undo, directory=f"{folder}/", replace=obj.name, **options
    )


def points(mesh):
    values = np.empty(3 * len(mesh.vertices), np.float32)
    mesh.vertices.foreach_get("co", values)
    return values.reshape(-1, 3)


def image_node(obj):
    return next(node for node in obj.active_material.node_tree.nodes if node.type == "TEX_IMAGE")


@pytest.fixture
def taller(write_head, arrays):
    """A second head folder: the same head, a tenth taller, with the faces in another order, and another record."""
    vertices = arrays["vertices"] * np.float32([1, 1.1, 1])
    folder = write_head("taller", vertices=vertices, faces=arrays["faces"][::-1], corner_uvs=arrays["corner_uvs"][::-1])
    record = json.loads((folder / "head.json").read_text(encoding="utf-8"))
    record["photo"] |= {"name": "second.jpg", "sha256": "cd" * 32}
    record["version"] = "0.2.0"
    (folder / "head.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


def test_what_a_person_did_to_the_head_stays(bpy, write_head, taller):
    head = add(bpy, write_head("ada"), place="WORLD")
    cube, scene = bpy.data.objects["Cube"], bpy.context.scene
    shelf = bpy.data.collections.new("Shelf")
    scene.collection.children.link(shelf)
    shelf.objects.link(head)
    head.parent = cube
    head.location, head.rotation_euler, head.scale = (1, 2, 3), (0.1, 0.2, 0.3), (2, 2, 2)
    head.modifiers.new("Subdivision", "SUBSURF").levels = 1
    head.constraints.new("COPY_LOCATION").target = cube
    head["mine"] = "kept"
    material = head.active_material
    shader = next(node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED")
    shader.inputs["Roughness"].default_value = 0.2
    bump = material.node_tree.nodes.new("ShaderNodeBump")
    material.node_tree.links.new(bump.outputs["Normal"], shader.inputs["Normal"])
    shine = bpy.data.materials.new("Shine")
    head.data.materials.append(shine)
    albedo = image_node(head).image
    old = head.data

    assert rebuild(bpy, head, taller) == {"FINISHED"}

    assert head.data != old
    assert np.ptp(points(head.data)[:, 2]) == pytest.approx(1.1 * np.ptp(points(old)[:, 2]), rel=1e-5)
    assert head.name == "ada"
    assert head.parent == cube
    assert tuple(head.location) == (1, 2, 3)
    assert tuple(head.rotation_euler) == pytest.approx((0.1, 0.2, 0.3))
    assert tuple(head.scale) == (2, 2, 2)
    assert sorted(collection.name for collection in head.users_collection) == ["Shelf", "ada"]
    assert [(modifier.name, modifier.levels) for modifier in head.modifiers] == [("Subdivision", 1)]
    assert head.constraints[0].target == cube
    assert head["mine"] == "kept"
    assert [slot.material for slot in head.material_slots] == [material, shine]
    assert shader.inputs["Roughness"].default_value == pytest.approx(0.2)
    assert shader.inputs["Normal"].is_linked
    new = image_node(head).image
    assert new != albedo
    assert new.packed_file.data == (taller / "albedo.png").read_bytes()
    assert shader.inputs["Base Color"].links[0].from_node.image == new
    assert head["headstitch_photo_name"] == "second.jpg"
    assert json.loads(head["headstitch"])["version"] == head["headstitch_version"] == "0.2.0"
    assert len([thing for thing in bpy.data.objects if thing.type == "MESH"]) == 2
    assert len([thing for thing in bpy.data.objects if thing.type == "CAMERA"]) == 2


def test_the_older_mesh_and_its_albedo_survive_saving_and_come_back(bpy, write_head, taller, tmp_path):
    head = add(bpy, write_head("ada"))
    first, albedo = points(head.data), image_node(head).image.name
    rebuild(bpy, head, taller)
    second = points(head.data)
    assert [mesh.name for mesh in head["headstitch_versions"]] == ["ada Version 1"]
    assert head.data.name == "ada Version 2"
    assert bpy.data.meshes["ada Version 1"].use_fake_user
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "saved.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "saved.blend"))

    head = bpy.data.objects["ada"]
    assert bpy.ops.headstitch.restore_version() == {"FINISHED"}
    np.testing.assert_array_equal(points(head.data), first)
    assert image_node(head).image.name == albedo
    assert head["headstitch_photo_name"] == "Zoë – 頭.jpg"
    assert not head.data.use_fake_user
    assert [mesh.name for mesh in head["headstitch_versions"]] == ["ada Version 2"]
    assert bpy.data.meshes["ada Version 2"].use_fake_user

    assert bpy.ops.headstitch.restore_version(version="ada Version 2") == {"FINISHED"}
    np.testing.assert_array_equal(points(head.data), second)
    assert image_node(head).image.name != albedo
    assert head["headstitch_photo_name"] == "second.jpg"


def test_a_restored_version_has_its_own_licence_and_the_camera_of_another_photo_is_told_of(
    bpy, write_head, taller, capfd
):
    head = add(bpy, write_head("ada"))
    described = head.asset_data.description
    rebuild(bpy, head, taller)
    assert "second.jpg" in head.asset_data.description
    capfd.readouterr()
    assert bpy.ops.headstitch.restore_version() == {"FINISHED"}
    assert head.asset_data.description == described
    assert 'made from another photo, and "ada Camera" still sees' in capfd.readouterr().out


def test_a_mesh_that_a_person_put_in_is_a_version_like_the_others(bpy, write_head, taller):
    head = add(bpy, write_head("ada"))
    rebuild(bpy, head, taller)
    own = bpy.data.meshes["Cube"].copy()
    own["headstitch_albedo"] = head.data["headstitch_albedo"]
    head.data = own
    assert bpy.ops.headstitch.restore_version() == {"FINISHED"}
    assert own in list(head["headstitch_versions"])


def test_versions_are_numbered_in_the_order_in_which_they_came(bpy, write_head, taller):
    head = add(bpy, write_head("ada"))
    rebuild(bpy, head, taller)
    bpy.ops.headstitch.restore_version(version="ada Version 1")
    rebuild(bpy, head, taller)
    assert head.data.name == "ada Version 3"
    assert [mesh.name for mesh in head["headstitch_versions"]] == ["ada Version 2", "ada Version 1"]


def test_paint_that_was_not_saved_stays_with_the_version_it_was_painted_on(bpy, write_head, taller, tmp_path):
    head = add(bpy, write_head("ada"))
    image = image_node(head).image
    image.pixels[:4] = 1.0, 0.0, 1.0, 1.0
    assert image.is_dirty
    rebuild(bpy, head, taller)
    assert image_node(head).image != image
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "saved.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "saved.blend"))
    bpy.ops.headstitch.restore_version()
    restored = image_node(bpy.data.objects["ada"]).image
    assert tuple(restored.pixels[:4]) == pytest.approx((1.0, 0.0, 1.0, 1.0))
    assert tuple(restored.size) == (8, 16)


def test_faces_keep_the_slots_that_a_person_gave_them_in_that_version(bpy, write_head, taller):
    head = add(bpy, write_head("ada"))
    shine = bpy.data.materials.new("Shine")
    head.data.materials.append(shine)
    head.data.materials[0], head.data.materials[1] = shine, head.data.materials[0]
    slots = np.arange(len(head.data.polygons), dtype=np.int32) % 2
    head.data.polygons.foreach_set("material_index", slots)
    rebuild(bpy, head, taller)
    assert {polygon.material_index for polygon in head.data.polygons} == {1}  # the one that shows the albedo
    bpy.ops.headstitch.restore_version()
    np.testing.assert_array_equal([polygon.material_index for polygon in head.data.polygons], slots)


def test_vertex_groups_move_to_the_nearest_vertices(bpy, write_head, taller):
    head = add(bpy, write_head("ada"))
    upper = [int(index) for index in np.flatnonzero(points(head.data)[:, 2] > 0.12)]
    head.vertex_groups.new(name="Crown").add(upper, 0.75, "REPLACE")
    mask = head.modifiers.new("Mask", "MASK")
    mask.vertex_group = "Crown"
    rebuild(bpy, head, taller)
    assert [group.name for group in head.vertex_groups] == ["Crown"]
    assert mask.vertex_group == "Crown"
    weighted = {
        vertex.index: group.weight for vertex in head.data.vertices for group in vertex.groups if group.group == 0
    }
    assert set(weighted.values()) == {0.75}
    heights = points(head.data)[:, 2]
    assert {int(i) for i in np.flatnonzero(heights > 0.15)} <= set(weighted)
    assert not {int(i) for i in np.flatnonzero(heights < 0.09)} & set(weighted)


def test_a_copy_that_shares_the_material_keeps_its_look(bpy, write_head, taller):
    head = add(bpy, write_head("ada"))
    material, albedo, mesh = head.active_material, image_node(head).image, head.data
    linked, copied = head.copy(), head.copy()
    copied.data = mesh.copy()
    for twin in (linked, copied):
        bpy.context.scene.collection.objects.link(twin)
    rebuild(bpy, head, taller)
    assert linked.data == mesh
    assert linked.active_material == copied.active_material == material
    assert image_node(linked).image == albedo
    assert head.active_material != material
    assert image_node(head).image != albedo
    bpy.ops.headstitch.restore_version()  # the old mesh is the other one's: a copy of it comes back
    assert head.data != mesh
    np.testing.assert_array_equal(points(head.data), points(mesh))
    assert linked.active_material == material
    assert image_node(linked).image == albedo


def test_one_undo_brings_the_older_head_back(bpy, write_head, taller):
    head = add(bpy, write_head("ada"))
    first = points(head.data)
    bpy.ops.ed.undo_push(message="before")
    rebuild(bpy, head, taller, undo=True)
    second = points(bpy.data.objects["ada"].data)
    assert not np.array_equal(first, second)
    bpy.ops.ed.undo()
    np.testing.assert_array_equal(points(bpy.data.objects["ada"].data), first)
    assert bpy.data.objects["ada"].get("headstitch_versions") is None
    bpy.ops.ed.redo()
    np.testing.assert_array_equal(points(bpy.data.objects["ada"].data), second)


def test_selection_and_active_object_stay(bpy, write_head, taller):
    head = add(bpy, write_head("ada"))
    cube = bpy.data.objects["Cube"]
    head.select_set(False)
    cube.select_set(True)
    bpy.context.view_layer.objects.active = cube
    rebuild(bpy, head, taller)
    assert bpy.context.active_object == cube
    assert list(bpy.context.selected_objects) == [cube]


def test_a_head_in_edit_mode_is_rebuilt_and_its_edits_stay_in_the_version(bpy, write_head, taller):
    import bmesh

    head = add(bpy, write_head("ada"))
    old = head.data
    count = len(old.vertices)
    bpy.ops.object.mode_set(mode="EDIT")
    bmesh.from_edit_mesh(old).verts.new((0, 0, 1))
    rebuild(bpy, head, taller)
    assert head.mode == "OBJECT"
    assert head.data != old
    assert len(old.vertices) == count + 1


def test_a_material_without_the_texture_is_left_alone_and_it_is_said(bpy, write_head, taller, capfd):
    head = add(bpy, write_head("ada"))
    tree = head.active_material.node_tree
    tree.nodes.remove(image_node(head))
    rebuild(bpy, head, taller)
    assert not [node for node in tree.nodes if node.type == "TEX_IMAGE"]
    kept = head.data["headstitch_albedo"]
    assert kept.use_fake_user
    assert f'choose "{kept.name}" in an image node' in capfd.readouterr().out


def test_shape_keys_stay_with_the_older_mesh_and_it_is_said(bpy, write_head, taller, capfd):
    head = add(bpy, write_head("ada"))
    head.shape_key_add(name="Basis")
    head.shape_key_add(name="Smile")
    rebuild(bpy, head, taller)
    assert head.data.shape_keys is None
    assert [key.name for key in bpy.data.meshes["ada Version 1"].shape_keys.key_blocks] == ["Basis", "Smile"]
    assert 'stay with it, in "ada Version 1"' in capfd.readouterr().out
    bpy.ops.headstitch.restore_version()
    assert [key.name for key in head.data.shape_keys.key_blocks] == ["Basis", "Smile"]


@pytest.mark.parametrize("name", ["nobody", "Cube"])
def test_what_is_no_head_is_not_rebuilt(bpy, taller, name):
    before = len(bpy.data.meshes), len(bpy.data.images)
    with pytest.raises(RuntimeError, match=f'"{name}" is no head of this file that Headstitch made; choose one'):
        bpy.ops.import_scene.headstitch_head(directory=f"{taller}/", replace=name)
    assert (len(bpy.data.meshes), len(bpy.data.images)) == before


def test_a_damaged_picture_leaves_the_head_as_it_was(bpy, write_head, taller):
    head = add(bpy, write_head("ada"))
    mesh, image = head.data, image_node(head).image
    before = sorted(thing.name for thing in [*bpy.data.meshes, *bpy.data.images])
    (taller / "albedo.png").write_bytes(b"no picture")
    with pytest.raises(RuntimeError, match="is damaged: it is not a picture"):
        rebuild(bpy, head, taller)
    assert head.data == mesh
    assert image_node(head).image == image
    assert sorted(thing.name for thing in [*bpy.data.meshes, *bpy.data.images]) == before


@pytest.mark.parametrize(("module", "step"), [("head_import", "keep_picture"), ("head_versions", "write_provenance")])
def test_a_failure_half_way_leaves_the_head_as_it_was(bpy, write_head, taller, monkeypatch, module, step):
    import importlib

    def fail(*_):
        raise MemoryError("no memory left")

    head = add(bpy, write_head("ada"))
    shown, image, counts = head.data, image_node(head).image, (len(bpy.data.meshes), len(bpy.data.images))
    monkeypatch.setattr(importlib.import_module(f"bl_ext.user_default.headstitch.addon.{module}"), step, fail)
    with pytest.raises(RuntimeError, match="The head could not be built"):
        rebuild(bpy, head, taller)
    assert head.data == shown
    assert image_node(head).image == image
    assert (len(bpy.data.meshes), len(bpy.data.images)) == counts
    assert "headstitch_albedo" in shown


def test_restoring_needs_a_head_with_a_version(bpy, write_head, taller):
    assert not bpy.ops.headstitch.restore_version.poll()
    head = add(bpy, write_head("ada"))
    assert not bpy.ops.headstitch.restore_version.poll()
    rebuild(bpy, head, taller)
    with pytest.raises(RuntimeError, match='"nothing" is no version of "ada"; choose one of its versions'):
        bpy.ops.headstitch.restore_version(version="nothing")


def test_a_version_that_was_deleted_is_offered_no_more(bpy, write_head, taller):
    head = add(bpy, write_head("ada"))
    rebuild(bpy, head, taller)
    bpy.data.meshes.remove(bpy.data.meshes["ada Version 1"])
    assert not bpy.ops.headstitch.restore_version.poll()
    rebuild(bpy, head, taller)
    assert [mesh.name for mesh in head["headstitch_versions"]] == ["ada Version 2"]
