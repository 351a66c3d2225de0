"""The operators as scripts call them: without a window they run to the end, and errors are exceptions."""

from __future__ import annotations

import errno
import importlib
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

EXTENSION = "bl_ext.user_default.headstitch"


def test_generate_runs_to_the_end_and_the_head_is_there(addon, bpy, tmp_path):
    photo = addon.photo("ada")
    assert bpy.ops.headstitch.generate(filepath=str(photo), heads=str(tmp_path / "elsewhere")) == {"FINISHED"}
    assert bpy.context.view_layer.objects.active.name == "ada"
    assert (tmp_path / "elsewhere" / "ada" / "head.npz").is_file()
    assert addon.session.tasks == []


def test_generate_takes_the_panels_photo_and_another_model(addon, bpy):
    bpy.context.window_manager.headstitch.photo = str(addon.photo("ben"))
    assert bpy.ops.headstitch.generate_from_panel() == {"FINISHED"}
    assert bpy.ops.headstitch.generate(model="panohead") == {"FINISHED"}
    assert sorted(path.name for path in addon.heads.iterdir()) == ["ben", "ben-2"]


@pytest.mark.parametrize(
    ("photo", "said"),
    [
        ("faceless", "No face was found in faceless.png; give a photo with a face"),
        ("damaged", "is damaged: it is not a file of arrays"),
        ("killed", "The backend was killed"),
    ],
)
def test_what_goes_wrong_is_an_exception_with_its_sentence(addon, bpy, photo, said):
    with pytest.raises(RuntimeError, match=said):
        bpy.ops.headstitch.generate(filepath=str(addon.photo(photo)))
    assert addon.session.tasks == []


def test_a_photo_that_is_not_there_and_none_at_all(addon, bpy, tmp_path):
    with pytest.raises(RuntimeError, match=r'There is no photo ".*nobody.png"; choose another'):
        bpy.ops.headstitch.generate(filepath=str(tmp_path / "nobody.png"))
    with pytest.raises(RuntimeError, match="Choose a photo first"):
        bpy.ops.headstitch.generate()
    with pytest.raises(RuntimeError, match="Choose a photo first"):
        bpy.ops.import_scene.headstitch_photo()


def test_the_import_menu_takes_several_photos_and_lists_those_that_failed(addon, bpy):
    files = [{"name": addon.photo(name).name} for name in ("ada", "ben")]
    assert bpy.ops.import_scene.headstitch_photo(directory=str(addon.tmp_path), files=files) == {"FINISHED"}
    assert {"ada", "ben"} <= set(bpy.data.objects.keys())
    files = [{"name": addon.photo(name).name} for name in ("faceless", "cleo")] + [{"name": "nobody.png"}]
    with pytest.raises(RuntimeError) as failed:
        bpy.ops.import_scene.headstitch_photo(directory=str(addon.tmp_path), files=files)
    assert "No face was found" in str(failed.value)
    assert "nobody.png" in str(failed.value)
    assert "cleo" in bpy.data.objects


def test_the_import_menu_has_our_entry(addon, bpy):
    conftest = importlib.import_module(type(addon).__module__)
    layout = conftest.Layout(bpy)
    menu = type("Menu", (), {"layout": layout})()
    addon.operators.draw_import_entry(menu, bpy.context)
    assert layout.operators() == ["import_scene.headstitch_photo"]
    assert [call.text for call in layout.calls] == ["Headstitch head from photo"]


def test_choosing_a_photo_takes_it_into_the_panel(addon, bpy):
    settings = bpy.context.window_manager.headstitch
    settings.source = "IMAGE"
    bpy.ops.headstitch.choose_photo(filepath=str(addon.photo("ada")))
    assert (settings.source, Path(settings.photo).name) == ("FILE", "ada.png")


def test_what_is_gone_cannot_be_opened(addon, bpy, tmp_path):
    with pytest.raises(RuntimeError, match="is not there any more"):
        bpy.ops.headstitch.open_file(path=str(tmp_path / "gone"))


# --- the photo of an Image Editor ------------------------------------------------------------------------------------


@pytest.fixture
def editor(addon, bpy):
    """An area that shows images."""
    area = bpy.context.window_manager.windows[0].screen.areas[0]
    area.type = "IMAGE_EDITOR"
    bpy.context.window_manager.headstitch.source = "IMAGE"
    return area.spaces.active


def generated(bpy, colour=(0.2, 0.4, 0.6, 1.0), name="painted", **how):
    image = bpy.data.images.new(name, 8, 4, **how)
    image.pixels[:] = [*colour] * 32
    return image


def chosen(addon):
    """The photo, when it is written."""
    path, writing = addon.queueing.chosen_photo()
    if writing is not None:
        end = time.monotonic() + 10
        while writing.tick() and time.monotonic() < end:
            time.sleep(0.005)
        assert not writing.error
    return path


def pixel(bpy, path):
    image = bpy.data.images.load(str(path))
    return tuple(image.size), [round(x * 255) for x in image.pixels[:3]]


def test_without_an_image_the_reason_is_said(addon, bpy, editor):
    assert not bpy.ops.headstitch.generate_from_panel.poll()
    with pytest.raises(RuntimeError, match="Open an image in an Image Editor first"):
        bpy.ops.headstitch.generate()


def test_an_image_file_is_taken_as_it_is(addon, bpy, editor):
    photo = addon.photo("ada")
    editor.image = bpy.data.images.load(str(photo))
    assert chosen(addon) == photo


def test_what_was_painted_is_what_is_taken(addon, bpy, editor):
    editor.image = generated(bpy)
    path = chosen(addon)
    assert path.name == "painted.png"
    assert pixel(bpy, path) == ((8, 4), [51, 102, 153])
    assert (editor.image.source, editor.image.filepath) == ("GENERATED", "")


def test_a_float_image_comes_as_it_looks(addon, bpy, editor):
    editor.image = generated(bpy, colour=(0.2, 0.002, 2.0, 1.0), float_buffer=True)
    assert pixel(bpy, chosen(addon))[1] == [124, 7, 255]


def test_the_picture_is_not_upside_down(addon, bpy, editor):
    image = generated(bpy)
    values = list(image.pixels)
    values[:4] = [1.0, 0.0, 0.0, 1.0]  # the lower left corner
    image.pixels[:] = values
    editor.image = image
    path = chosen(addon)
    again = bpy.data.images.load(str(path))
    assert [round(x, 2) for x in again.pixels] == [round(x, 2) for x in values]


def test_a_file_that_was_painted_over_is_not_overwritten(addon, bpy, editor):
    photo = addon.photo("ada")
    before = photo.read_bytes()
    editor.image = bpy.data.images.load(str(photo))
    editor.image.pixels[:] = [0.2, 0.4, 0.6, 1.0] * (len(editor.image.pixels) // 4)
    path = chosen(addon)
    assert path != photo
    assert path.name == "ada.png"
    assert pixel(bpy, path)[1] == [51, 102, 153]
    assert photo.read_bytes() == before
    assert editor.image.filepath == str(photo)
    assert editor.image.is_dirty


def test_a_packed_image_is_taken_out_byte_by_byte(addon, bpy, editor):
    photo = addon.photo("ada")
    editor.image = bpy.data.images.load(str(photo))
    editor.image.pack()
    before = photo.read_bytes()
    photo.unlink()
    path = chosen(addon)
    assert path.read_bytes() == before
    assert path.name == "ada.png"


def test_an_image_without_pixels_says_so(addon, bpy, editor, tmp_path):
    image = bpy.data.images.load(str(addon.photo("ada")))
    image.filepath = str(tmp_path / "gone.exr")
    editor.image = image
    with pytest.raises(RuntimeError, match=r'The image "ada.png" cannot be written .* save it as PNG'):
        bpy.ops.headstitch.generate()


def test_what_was_painted_becomes_a_head_when_it_is_written(addon, bpy, editor):
    editor.image = generated(bpy, name="painted")
    assert bpy.ops.headstitch.generate() == {"FINISHED"}
    assert "painted" in bpy.data.objects


def test_a_disk_that_is_full_meanwhile_is_said(addon, bpy, editor, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    editor.image = generated(bpy)
    monkeypatch.setattr(addon.pictures, "png_pieces", full)
    with pytest.raises(RuntimeError, match=r'The image "painted" cannot be written .*No space left on device'):
        bpy.ops.headstitch.generate()
    end = time.monotonic() + 2
    while any(addon.heads.iterdir()) and time.monotonic() < end:
        time.sleep(0.01)
    assert not any(addon.heads.iterdir())


@pytest.mark.parametrize("change", ["removed", "resized"])
def test_an_image_that_is_gone_before_it_is_copied_is_a_sentence(addon, bpy, editor, change):
    editor.image = image = generated(bpy)
    _, writing = addon.queueing.chosen_photo()
    if change == "removed":
        bpy.data.images.remove(image)
    else:
        image.scale(2, 2)
    end = time.monotonic() + 10
    while writing.tick() and time.monotonic() < end:
        time.sleep(0.005)
    assert '"painted" cannot be written for Headstitch (it was removed or resized meanwhile)' in writing.error


def test_what_is_still_being_written_can_be_cancelled(addon, bpy, editor):
    still = SimpleNamespace(tick=lambda: True, error="")
    (task,), _ = addon.queueing.add(bpy.context, [addon.tmp_path / "later.png"], still)
    addon.heartbeat.beat()
    assert (task.state, task.job) == ("waiting", None)
    addon.session.cancel()
    assert (task.state, addon.session.tasks) == ("cancelled", [])
    end = time.monotonic() + 2
    while any(addon.heads.iterdir()) and time.monotonic() < end:
        time.sleep(0.01)
    assert not any(addon.heads.iterdir())


def test_the_panel_shows_the_image_editors_image(addon, bpy, editor, draw):
    assert "No Image Editor shows an image" in draw(addon.panel.MainPanel).texts()
    editor.image = generated(bpy)
    assert "painted" in draw(addon.panel.MainPanel).texts()


def test_temporary_files_go_with_the_add_on(addon, bpy, editor):
    editor.image = generated(bpy)
    path = chosen(addon)
    addon.pictures.unregister()
    addon.pictures.register()
    assert not path.exists()
