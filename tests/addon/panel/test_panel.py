"""What the panels show in every state, and what each button says when it cannot be pressed."""

from __future__ import annotations

import importlib
import sys
import threading

import pytest

EXTENSION = "bl_ext.user_default.headstitch"


def module(name):
    return importlib.import_module(f"{EXTENSION}.addon.{name}")


def not_ready(addon, monkeypatch, state="absent", sentence="The backend's environment is not there yet; press Make"):
    status = module("environment").Status(state, sentence)
    monkeypatch.setattr(addon.heartbeat.upkeep(), "status", status)
    return sentence


def reason(addon, operator="headstitch.generate_from_panel"):
    """What Blender shows over a button that cannot be pressed; empty where it can."""
    said = []
    kind = next(kind for kind in addon.operators.CLASSES if kind.bl_idname == operator)

    class Asked(kind):
        @classmethod
        def poll_message_set(cls, message, *rest):
            said.append(message)

    can = Asked.poll(addon.bpy.context)
    assert can == (not said)
    return "".join(said)


class Disk:
    """Notes what touches the disk or starts a process while it is entered."""

    WATCHED = ("open", "os.", "shutil.", "subprocess.", "tempfile.", "glob.", "socket.")

    def __init__(self):
        self.seen, self.thread = [], None
        sys.addaudithook(self.hear)  # it stays, and sleeps

    def hear(self, event, arguments):
        if self.thread == threading.get_ident() and event.startswith(self.WATCHED):
            self.seen.append(event)

    def __enter__(self):
        self.thread = threading.get_ident()

    def __exit__(self, *error):
        self.thread = None


@pytest.fixture(scope="module")
def disk():
    return Disk()


@pytest.fixture
def settings(addon, bpy):
    return bpy.context.window_manager.headstitch


# --- before ----------------------------------------------------------------------------------------------------------


def test_a_fresh_panel_asks_for_a_photo(addon, draw, settings):
    drawn = draw(addon.panel.MainPanel)
    assert {"source", "photo", "model", "preset", "place", "rebuild"} == set(drawn.props())
    assert "headstitch.generate_from_panel" in drawn.operators()
    assert "headstitch.cancel" not in drawn.operators()
    assert reason(addon) == "Choose a photo first"
    settings.photo = str(addon.photo("ada"))
    assert reason(addon) == ""


def test_without_an_environment_the_panel_leads_to_the_preferences(addon, draw, settings, monkeypatch):
    settings.photo = str(addon.photo("ada"))
    sentence = not_ready(addon, monkeypatch)
    drawn = draw(addon.panel.MainPanel)
    assert sentence in drawn.texts()
    assert "headstitch.show_preferences" in drawn.operators()
    assert reason(addon) == sentence
    assert reason(addon, "headstitch.refresh_models") == sentence
    tasks, refused = addon.queueing.add(addon.bpy.context, [addon.photo("ada")])
    assert (tasks, refused) == ([], [sentence])


def test_the_environment_of_another_version_is_told_of(addon, draw, monkeypatch):
    sentence = not_ready(addon, monkeypatch, "outdated", "The backend's environment was made for 0.0.1; press Make")
    assert sentence in draw(addon.panel.MainPanel).texts()


def test_a_backend_of_another_version_is_told_of(addon, draw, monkeypatch):
    monkeypatch.setattr(addon.heartbeat, "VERSION", "9.9.9")
    (task,) = addon.add("ada")
    addon.finish(task)
    text = draw(addon.panel.MainPanel).texts()
    assert "and the add-on 9.9.9; update the backend in the extension's preferences" in text


def test_the_picture_of_the_photo_is_shown_without_reading_it(addon, draw, settings, monkeypatch):
    monkeypatch.setattr(addon.pictures, "want", lambda path: 42 if path else 0)
    settings.photo = str(addon.photo("ada"))
    icons = [call.icon_value for call in draw(addon.panel.MainPanel).calls if call.name == "template_icon"]
    assert icons == [42]


def test_the_details_follow_the_preset_and_name_a_custom_one(addon, draw, settings):
    settings.preset = "HIGH"
    assert (settings.resolution, settings.faces, settings.texture_size) == (384, 100_000, 4096)
    settings.faces = 5000
    assert settings.preset == "CUSTOM"
    settings.preset = "CUSTOM"
    assert settings.faces == 5000
    settings.use_angles = settings.use_crop = True
    props = draw(addon.panel.DetailsPanel).props()
    assert {"faces", "neck", "seed", "device", "debug_images", "angles", "crop_centre", "crop_side"} <= set(props)


def test_every_setting_of_the_panel_is_drawn_somewhere(addon, draw, settings):
    settings.use_angles = settings.use_crop = True
    panels = (addon.panel.MainPanel, addon.panel.DetailsPanel, addon.panel.ScenePanel)
    drawn = {name for panel in panels for name in draw(panel).props()}
    assert drawn == set(settings.bl_rna.properties.keys()) - {"rna_type", "name"}


def test_drawing_opens_no_file_and_starts_nothing(addon, bpy, draw, settings, disk):
    preferences = bpy.context.preferences.addons[EXTENSION].preferences
    settings.photo, settings.use_angles, settings.use_crop = str(addon.photo("ada")), True, True

    def draw_all():
        with disk:
            for panel in addon.panel.CLASSES:
                if not hasattr(panel, "poll") or panel.poll(bpy.context):
                    draw(panel)
            draw(module("preferences").Preferences, preferences)

    draw_all()
    tasks = addon.add("short", "faceless", "damaged", "ada")
    addon.reach(tasks[0])
    draw_all()
    addon.finish(*tasks)
    draw_all()
    bpy.ops.headstitch.environment_plan()
    draw_all()
    assert disk.seen == []
    with disk:
        (addon.tmp_path / "ada.png").read_bytes()
    assert disk.seen == ["open"]


# --- models ----------------------------------------------------------------------------------------------------------


def test_the_models_come_with_licence_and_what_is_wrong(addon, bpy, draw, settings):
    settings.photo = str(addon.photo("ada"))
    assert settings.model == "template"
    assert bpy.ops.headstitch.refresh_models() == {"FINISHED"}
    items = {item[0]: item for item in addon.properties._list_models(None, None)}
    assert list(items) == ["template", "panohead", "broken"]
    assert items["broken"][2:4] == ("generator.safetensors is missing.", "ERROR")
    settings.model = "panohead"
    assert "Licence: for research only" in draw(addon.panel.MainPanel).texts()
    assert reason(addon) == ""
    settings.debug_images = True
    assert addon.properties.options()["debug_images"] is True
    settings.model = "broken"
    assert "generator.safetensors is missing." in draw(addon.panel.MainPanel).texts()
    assert reason(addon) == "generator.safetensors is missing."
    settings.model = "template"
    assert addon.properties.options()["debug_images"] is False


def test_the_first_look_at_the_panel_asks_for_the_models_once(addon, draw):
    draw(addon.panel.MainPanel)
    assert addon.heartbeat.existing()[0] is None  # drawing itself starts nothing
    addon.beat_until(lambda: addon.session.models_known)
    assert [model.name for model in addon.session.models] == ["template", "panohead", "broken"]
    draw(addon.panel.MainPanel)
    assert not addon.session.busy


def test_without_an_environment_nobody_is_asked(addon, draw, monkeypatch, bpy):
    not_ready(addon, monkeypatch)
    draw(addon.panel.MainPanel)
    assert not bpy.app.timers.is_registered(addon.heartbeat._beat)


# --- meanwhile -------------------------------------------------------------------------------------------------------


def test_generate_becomes_cancel_with_stage_time_and_preview(addon, draw, monkeypatch):
    monkeypatch.setattr(addon.pictures, "want", lambda path: 42 if path else 0)
    running, waiting = addon.add("slow", "ben")
    drawn = draw(addon.panel.MainPanel)
    assert "headstitch.cancel" in drawn.operators()
    assert "headstitch.generate_from_panel" not in drawn.operators()
    assert [call.text for call in drawn.calls if call.name == "progress"] == ["Starting"]
    addon.reach(running)
    drawn = draw(addon.panel.MainPanel)
    (bar,) = [call for call in drawn.calls if call.name == "progress"]
    assert (bar.factor, bar.text) == (0.5, "Extracting the surface, about 10 s left")
    assert "1 more to come" in drawn.texts()
    assert [call.icon_value for call in drawn.calls if call.name == "template_icon"] == [42]
    addon.session.cancel()
    assert "Cancelling" in draw(addon.panel.MainPanel).texts()
    addon.beat_until(lambda: not addon.session.waiting)
    assert "headstitch.generate_from_panel" in draw(addon.panel.MainPanel).operators()
    assert (running.state, waiting.state) == ("cancelled", "cancelled")


# --- afterwards ------------------------------------------------------------------------------------------------------


def test_a_result_has_its_name_its_warnings_and_its_folder(addon, bpy, draw):
    assert not addon.panel.ResultsPanel.poll(bpy.context)
    (task,) = addon.add("ada")
    addon.finish(task)
    assert addon.panel.ResultsPanel.poll(bpy.context)
    drawn = draw(addon.panel.ResultsPanel)
    assert task.object_name in drawn.texts()
    assert "The silhouette of the head differs from the photo; tie the hair back." in drawn.texts()
    assert drawn.of("headstitch.open_file").path == str(task.out)
    assert "headstitch.import_again" not in drawn.operators()


def test_several_results_can_be_dismissed_one_by_one_and_together(addon, bpy, draw):
    first, second, third = addon.add("ada", "ben", "cleo")
    addon.finish(first, second, third)
    assert draw(addon.panel.ResultsPanel).operators().count("headstitch.dismiss") == 4
    bpy.ops.headstitch.dismiss(index=1)
    assert addon.session.finished == (third, first)
    bpy.ops.headstitch.dismiss(index=7)
    assert addon.session.finished == (third, first)
    bpy.ops.headstitch.dismiss()
    assert addon.session.finished == ()


def test_the_active_head_has_its_origin_its_versions_and_a_turntable(addon, bpy, draw, settings):
    panel = addon.panel.HeadPanel
    assert not panel.poll(bpy.context)
    (task,) = addon.add("ada")
    addon.finish(task)
    assert panel.poll(bpy.context)
    drawn = draw(panel)
    assert "Photo: Zoë – 頭.jpg" in drawn.texts()
    assert drawn.operators() == ["headstitch.turntable"]
    (task,), _ = addon.queueing.add(addon.bpy.context, [addon.photo("ben")], rebuild=True)
    addon.finish(task)
    assert task.object_name == "ada"
    assert "ben" not in bpy.data.objects
    drawn = draw(panel)
    assert drawn.operators() == ["headstitch.restore_version", "headstitch.turntable"]
    version = drawn.of("headstitch.restore_version").version
    assert bpy.ops.headstitch.restore_version(version=version) == {"FINISHED"}
    assert bpy.data.objects["ada"].data.name == version


def test_rebuilding_needs_an_active_head(addon, bpy, settings):
    settings.photo, settings.rebuild = str(addon.photo("ada")), True
    assert reason(addon) == "Make a head of Headstitch the active object, or switch off Rebuild Active Head"


def test_the_backends_state_and_its_log(addon, draw):
    drawn = draw(addon.panel.BackendPanel)
    assert "Not running" in drawn.texts()
    assert reason(addon, "headstitch.free_memory") == "The backend is not running"
    assert reason(addon, "headstitch.cancel") == "Nothing is running"
    (task,) = addon.add("ada")
    addon.finish(task)
    drawn = draw(addon.panel.BackendPanel)
    assert "Running, its models are warm" in drawn.texts()
    assert drawn.of("headstitch.open_file").path == str(addon.session.client.log)
    assert reason(addon, "headstitch.free_memory") == ""


def test_long_sentences_are_broken_at_the_width_of_the_region(bpy, addon):
    layouts = module("layouts")
    conftest = importlib.import_module(type(addon).__module__)
    layout = conftest.Layout(bpy)
    sentence = "The backend was killed, most likely because the memory ran out; close other programs"
    layouts.paragraph(layout, sentence, 300, icon="ERROR")
    labels = [call for call in layout.calls if call.name == "label"]
    assert len(labels) >= 2
    assert all(len(call.text) <= 300 / 7 for call in labels)
    assert [call.icon for call in labels] == ["ERROR"] + ["BLANK1"] * (len(labels) - 1)
    assert " ".join(call.text for call in labels) == sentence


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (3, "a few seconds left"),
        (12, "about 10 s left"),
        (58, "about 60 s left"),
        (95, "about 2 min left"),
        (400, "about 7 min left"),
    ],
)
def test_time_in_words(addon, seconds, said):
    assert module("layouts").time_in_words(seconds) == said


def test_a_dropped_photo_is_taken_only_where_the_tab_is_in_sight(addon, bpy):
    from types import SimpleNamespace

    drop = module("file_handler").PhotoDrop
    assert drop.bl_import_operator == "import_scene.headstitch_photo"
    assert set(drop.bl_file_extensions.split(";")) == {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff"}

    def poll(area="VIEW_3D", open=True, tab="Headstitch"):
        region = SimpleNamespace(type="UI", active_panel_category=tab)
        space = SimpleNamespace(show_region_ui=open)
        area = SimpleNamespace(type=area, regions=[region], spaces=SimpleNamespace(active=space))
        return drop.poll_drop(SimpleNamespace(area=area))

    assert poll()
    assert not poll(area="IMAGE_EDITOR")
    assert not poll(open=False)
    assert not poll(tab="Item")
    assert not drop.poll_drop(SimpleNamespace(area=None))


def test_dropped_photos_become_heads_without_a_file_browser(addon, bpy):
    """As Blender drops files: the handler's operator is invoked with a directory and names, and asks for nothing."""
    drop = bpy.types.HEADSTITCH_FH_photo
    group, _, operator = drop.bl_import_operator.partition(".")
    files = [{"name": addon.photo(name).name} for name in ("ada", "ben")]
    dropped = getattr(getattr(bpy.ops, group), operator)
    assert dropped("INVOKE_DEFAULT", directory=f"{addon.tmp_path}/", files=files) == {"FINISHED"}
    assert {"ada", "ben"} <= set(bpy.data.objects.keys())
