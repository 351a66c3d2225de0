import importlib.util
import sys
from pathlib import Path

import pytest
from headstitch.backend.training.dataset import make


def _load():
    spec = importlib.util.spec_from_file_location("pretend_dataset", Path(__file__).with_name("dataset") / "pretend.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["pretend_dataset"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def pretend():
    """``pretend.py``: made-up heads."""
    return _load()


@pytest.fixture
def calls(pretend, monkeypatch):
    """Heads are made up instead of sampled; the numbers of those that were."""
    numbers = []
    monkeypatch.setattr(make, "_record", pretend.instead_of_sampling(calls=numbers))
    monkeypatch.setattr(make, "sampler_version", lambda: "pretended")
    return numbers


@pytest.fixture(scope="session")
def whole(pretend, tmp_path_factory):
    """A finished data set of made-up heads: leave it as it is."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(make, "_record", pretend.instead_of_sampling())
        patch.setattr(make, "sampler_version", lambda: "pretended")
        make.make_dataset(folder, pretend.OPTIONS, workers=0)
    return folder
