"""The button beside a result: mesh and texture made again with other details, in the head that stands in the scene."""

from __future__ import annotations

import shutil

import pytest


def remade(addon, bpy, index=0):
    """The head of one photo, and the task that makes it again."""
    (made,) = addon.add("ada")
    addon.finish(made)
    bpy.ops.ed.undo_push(message="before")
    settings = bpy.context.window_manager.headstitch
    settings.neck, settings.faces, settings.model = "open", 700, "panohead"
    return made, addon.queueing.add_rebake(bpy.context, addon.session.finished[index])


def test_the_head_in_the_scene_gets_the_new_mesh_and_keeps_the_old_one_as_a_version(addon, bpy):
    (made,) = addon.add("ada")
    addon.finish(made)
    head = bpy.data.objects[made.object_name]
    faces, head.location = len(head.data.polygons), (1, 2, 3)
    head.name = "renamed"
    task = addon.queueing.add_rebake(bpy.context, made)
    addon.finish(task)
    assert (task.state, task.object_name) == ("imported", "renamed"), task.sentence
    assert len(head.data.polygons) == faces // 2
    assert tuple(head.location) == (1, 2, 3)
    assert [len(mesh.polygons) for mesh in addon.head_versions.versions(head)] == [faces]
    assert (task.out.name, made.out.is_dir()) == ("ada-2", True)


def test_the_backend_is_asked_with_the_photo_and_only_with_what_may_differ(addon, bpy):
    made, task = remade(addon, bpy)
    addon.finish(task)
    asked = task.job.result.record
    assert asked["photo"] == str(made.photo)
    assert (asked["options"]["neck"], asked["options"]["faces"]) == ("open", 700)
    assert not {"model", "face", "angles", "crop", "debug_images"} & set(asked["options"])


def test_one_undo_brings_the_mesh_back_and_one_redo_the_new_one(addon, bpy):
    made, task = remade(addon, bpy)
    before = len(bpy.data.objects[made.object_name].data.polygons)
    addon.finish(task)
    after = len(bpy.data.objects[made.object_name].data.polygons)
    assert after < before
    bpy.ops.ed.undo()
    assert len(bpy.data.objects[made.object_name].data.polygons) == before
    bpy.ops.ed.redo()
    assert len(bpy.data.objects[made.object_name].data.polygons) == after


def test_where_the_head_is_gone_a_new_one_comes(addon, bpy):
    (made,) = addon.add("ada")
    addon.finish(made)
    bpy.data.objects.remove(bpy.data.objects[made.object_name])
    task = addon.queueing.add_rebake(bpy.context, made)
    addon.finish(task)
    assert task.state == "imported"
    assert bpy.data.objects[task.object_name].location == bpy.context.scene.cursor.location


def test_without_a_window_the_button_waits_for_its_head(addon, bpy):
    (made,) = addon.add("ada")
    addon.finish(made)
    faces = len(bpy.data.objects[made.object_name].data.polygons)
    assert bpy.ops.headstitch.rebake(index=0) == {"FINISHED"}
    assert len(bpy.data.objects[made.object_name].data.polygons) == faces // 2
    assert addon.session.finished == (made,)


def test_the_button_stands_beside_a_head_that_came_and_beside_no_other(addon, bpy, draw):
    bad, good = addon.add("faceless", "ada")
    addon.finish(bad, good)
    drawn = draw(addon.panel.ResultsPanel)
    assert drawn.operators().count("headstitch.rebake") == 1
    assert drawn.of("headstitch.rebake").index == 0
    with pytest.raises(RuntimeError, match="Generate a head first"):
        bpy.ops.headstitch.rebake(index=1)


def test_without_a_head_or_an_environment_it_says_what_is_missing(addon, bpy, monkeypatch):
    def reason():
        said = []

        class Asked(addon.operators.Rebake):
            @classmethod
            def poll_message_set(cls, message, *rest):
                said.append(message)

        assert Asked.poll(bpy.context) == (not said)
        return "".join(said)

    assert reason().startswith("Generate a head first")
    (made,) = addon.add("ada")
    addon.finish(made)
    assert reason() == ""
    absent = addon.environment.Status("absent", "The backend's environment is not there yet; press Make")
    monkeypatch.setattr(addon.heartbeat.upkeep(), "status", absent)
    assert reason() == absent.sentence


def test_what_it_needs_and_is_gone_is_a_sentence(addon, bpy):
    (made,) = addon.add("ada")
    addon.finish(made)
    kept = made.photo.rename(made.photo.with_name("moved.png"))
    with pytest.raises(RuntimeError, match=r'The photo ".*ada.png" is not there any more; put it back, or generate'):
        bpy.ops.headstitch.rebake(index=0)
    kept.rename(made.photo)
    shutil.rmtree(made.out)
    with pytest.raises(RuntimeError, match=r'The folder ".*ada" is not there any more; generate the head anew'):
        bpy.ops.headstitch.rebake(index=0)
    assert addon.session.finished == (made,)


def test_another_photo_of_that_name_is_told_in_the_panels_words(addon):
    said = "a.png is not the photo that the head was made from, by its hash; give that one, or leave --photo out."
    heard = addon.wording.in_panel_words(said)
    assert heard.endswith("by its hash; put that one back, or generate the head anew.")
