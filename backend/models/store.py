"""Where models live: the models folder, and the names in it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import platformdirs

from ..errors import ModelError

VARIABLE = "HEADSTITCH_MODELS"
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9_-])?")
TAKEN = ("template", "starter")  # names of what comes with the package


def models_folder() -> Path:
    """The folder of all models: what HEADSTITCH_MODELS names, else the place for a user's data on this system."""
    named = os.environ.get(VARIABLE)
    return Path(named).expanduser() if named else platformdirs.user_data_path("headstitch", appauthor=False) / "models"


def folder_of(name: str) -> Path:
    """The folder of the model of that name, there or not.

    Raises:
        ModelError: no model can have this name.
    """
    if not NAME.fullmatch(name):
        raise ModelError(
            f"A model cannot be named {name[:80]!r}; give letters, digits, points, hyphens and underscores, at most 64."
        )
    if name.lower() in TAKEN:
        raise ModelError(f"The name {name} is taken by what comes with Headstitch; give another --name.")
    return models_folder() / name


def find_model(name_or_path: str | Path) -> Path:
    """The folder of a model, by its name in the models folder or by its path.

    Raises:
        ModelError: there is none.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, str) and NAME.fullmatch(text) and text.lower() not in TAKEN:
        folder = folder_of(text)
        if folder.is_dir():
            return folder
    path = Path(name_or_path).expanduser()
    if text and path.is_dir():
        return path.absolute()
    raise ModelError(
        f"There is no model {text[:200]!r}, neither in {models_folder()} nor as a folder; headstitch models list shows "
        "what is there, headstitch models import brings in another."
    )
