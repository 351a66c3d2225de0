"""The add-on: everything that imports bpy. Runs inside Blender and needs no package that Blender lacks."""
# pyright: reportAttributeAccessIssue=false, reportMissingImports=false
# (the bpy package carries no types)

from __future__ import annotations


def register() -> None:
    """Add what the extension adds to Blender; called when the extension is switched on."""
    import bpy

    from . import heartbeat, import_operators, operators, pictures, properties

    import_operators.register()
    pictures.register()
    properties.register()
    for kind in _classes():
        bpy.utils.register_class(kind)
    bpy.types.TOPBAR_MT_file_import.append(operators.draw_import_entry)
    heartbeat.start()


def unregister() -> None:
    """End whatever runs, within 2 seconds, and take all of it away again."""
    import bpy

    from . import heartbeat, import_operators, operators, pictures, properties

    heartbeat.stop()
    bpy.types.TOPBAR_MT_file_import.remove(operators.draw_import_entry)
    for kind in reversed(_classes()):
        bpy.utils.unregister_class(kind)
    properties.unregister()
    pictures.unregister()
    import_operators.unregister()


def _classes() -> list[type]:
    from . import environment_operators, file_handler, operators, panel, preferences

    return [
        preferences.Preferences,
        *environment_operators.CLASSES,
        *operators.CLASSES,
        *panel.CLASSES,
        *file_handler.CLASSES,
    ]
