"""The checkout as an extension of a real Blender: switched on and off again."""

from __future__ import annotations

import sys

EXTENSION = "bl_ext.user_default.headstitch"


def every_subclass(kind):
    below = kind.__subclasses__()
    return [*below, *(deeper for each in below for deeper in every_subclass(each))]


def registered(bpy):
    """Everything of ours that Blender knows: classes, menu entries, handlers, properties on its own types."""
    handlers = [
        function
        for name in dir(bpy.app.handlers)
        if isinstance(functions := getattr(bpy.app.handlers, name), list)
        for function in functions
    ]
    bases = ("Operator", "Panel", "AddonPreferences", "PropertyGroup", "FileHandler")
    classes = [kind for base in bases for kind in every_subclass(getattr(bpy.types, base))]
    entries = getattr(bpy.types.TOPBAR_MT_file_import.draw, "_draw_funcs", [])
    ours = [thing for thing in [*handlers, *classes, *entries] if thing.__module__.startswith(EXTENSION)]
    names = [name for name in dir(bpy.types) if "headstitch" in name.lower()]
    names += [name for name in dir(bpy.types.WindowManager) if "headstitch" in name.lower()]
    return sorted({thing.__qualname__ for thing in ours if getattr(thing, "is_registered", True)}), names


def test_the_menu_entry_and_the_operator_are_there(bpy):
    ours, names = registered(bpy)
    assert {"ImportHead", "RestoreVersion", "Turntable", "_draw_import_entry"} <= set(ours)
    assert {"IMPORT_SCENE_OT_headstitch_head", "HEADSTITCH_OT_restore_version", "HEADSTITCH_OT_turntable"} <= set(names)
    assert {"MainPanel", "ResultsPanel", "Preferences", "PhotoDrop", "_file_opened", "draw_import_entry"} <= set(ours)
    assert {"HEADSTITCH_OT_generate", "IMPORT_SCENE_OT_headstitch_photo", "HEADSTITCH_PT_main"} <= set(names)
    assert bpy.ops.import_scene.headstitch_head.poll()
    assert bpy.ops.import_scene.headstitch_head.get_rna_type().name == "Import Headstitch Head"


def test_switching_off_leaves_nothing_behind_and_switching_on_again_works(bpy):
    import addon_utils

    before = registered(bpy)
    addon_utils.disable(EXTENSION, default_set=False)
    try:
        assert registered(bpy) == ([], [])
        assert EXTENSION not in bpy.context.preferences.addons
    finally:
        assert addon_utils.enable(EXTENSION, default_set=False) is not None
    assert registered(bpy) == before


def test_blender_sees_no_policy_violation(bpy):
    import addon_utils

    addon_utils._extensions_warnings_get._is_first = True  # Blender asks once a session; what was imported since counts
    assert addon_utils._extensions_warnings_get() == {}
    assert EXTENSION in sys.modules


def test_the_extension_brings_nothing_that_blender_lacks(bpy):
    loaded = [name for name in sys.modules if name.startswith(f"{EXTENSION}.")]
    assert loaded
    strange = [name for name in loaded if not name.startswith(f"{EXTENSION}.addon")]
    assert set(strange) <= {f"{EXTENSION}.backend", f"{EXTENSION}.backend.protocol"}  # standard library only
