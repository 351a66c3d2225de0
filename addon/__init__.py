"""The add-on: everything that imports bpy. Runs inside Blender and needs no package that Blender lacks."""

from __future__ import annotations


def register() -> None:
    """Add what the extension adds to Blender; called when the extension is switched on."""
    from . import import_operators

    import_operators.register()


def unregister() -> None:
    """Take all of it away again."""
    from . import import_operators

    import_operators.unregister()
