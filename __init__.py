"""Headstitch: one portrait photo in, one textured 360-degree head in the Blender scene out.

The door of the Blender extension (``register``, ``unregister``) and the face of the Python package: importing it
loads neither bpy nor torch; what it offers is fetched from ``backend/`` when first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .backend.errors import HeadstitchError
    from .backend.options import Inversion, Options
    from .backend.reconstruct import reconstruct
    from .backend.remesh import remesh
    from .backend.results.head import Head

__version__ = "0.1.0"
__all__ = ["Head", "HeadstitchError", "Inversion", "Options", "__version__", "reconstruct", "remesh"]

_HOMES = {
    "Head": ".backend.results.head",
    "HeadstitchError": ".backend.errors",
    "Inversion": ".backend.options",
    "Options": ".backend.options",
    "reconstruct": ".backend.reconstruct",
    "remesh": ".backend.remesh",
}


def __getattr__(name: str) -> object:
    """Fetch a public name from its module on first use (PEP 562), so that importing the package stays cheap."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    from .backend.system import plain_errors

    with plain_errors():  # a missing system library becomes a sentence
        value = getattr(import_module(_HOMES[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


def register() -> None:
    """Called by Blender when the extension is switched on."""
    from . import addon

    addon.register()


def unregister() -> None:
    """Called by Blender when the extension is switched off."""
    from . import addon

    addon.unregister()
