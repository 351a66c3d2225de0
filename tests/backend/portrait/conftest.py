"""The two pictures of examples/ and what the portrait floor makes of them, once for the whole session."""

from pathlib import Path

import numpy as np
import pytest
from headstitch.backend.options import Options
from headstitch.backend.portrait.make import make_portrait
from PIL import Image

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """(512, 512, 3); the face is about 92 pixels wide, at (226, 104)."""
    return np.asarray(Image.open(EXAMPLES / "astronaut.png").convert("RGB"))


@pytest.fixture(scope="session")
def synthetic() -> np.ndarray:
    """(1024, 1024, 3) of a person who does not exist, turned by 13 degrees."""
    return np.asarray(Image.open(EXAMPLES / "portrait.jpg").convert("RGB"))


@pytest.fixture(scope="session")
def portrait(astronaut):
    return make_portrait(astronaut, Options())
