"""From a photo to the head in the scene, by a backend that copies a finished head."""

from __future__ import annotations


def test_a_photo_becomes_a_head_in_the_scene(addon):
    (task,) = addon.add("ada")
    assert task.state == "waiting"
    addon.finish(task)
    assert (task.state, task.sentence) == ("imported", "")
    head = addon.bpy.data.objects[task.object_name]
    assert head.type == "MESH"
    assert task.out == addon.heads / "ada"
    assert (task.out / "head.npz").is_file()
    assert task.warnings == ("The silhouette of the head differs from the photo; tie the hair back.",)
    assert addon.heartbeat.beat() == addon.heartbeat.SLOW
