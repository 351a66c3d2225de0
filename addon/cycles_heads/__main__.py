"""The door of the drawing process: ``python __main__.py``, or ``blender --background --python __main__.py``.

Run as a file it belongs to no package, so it makes one of its folder; what it does stands in ``work.py``.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path

_PACKAGE = "headstitch_cycles"


def main() -> None:
    """Load the folder as a package and work until stdin closes."""
    folder = Path(__file__).resolve().parent
    spec = importlib.util.spec_from_file_location(
        _PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[_PACKAGE] = package
    spec.loader.exec_module(package)
    importlib.import_module(f"{_PACKAGE}.work").main()


if __name__ == "__main__":
    main()
    sys.stderr.flush()
    os._exit(0)  # bpy may hang or crash while it takes itself down; the pictures are written
