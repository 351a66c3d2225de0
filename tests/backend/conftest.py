"""A journey that takes no time: what the command line and the batch drive in their own tests."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import headstitch
import pytest
from headstitch.backend.errors import FaceError
from headstitch.backend.options import Options
from headstitch.backend.progress import Listener, Progress
from headstitch.backend.results.folder import HEAD_FILES
from headstitch.backend.results.report import QualityReport


@dataclass
class FakeHead:
    folder: Path
    record: dict
    quality: QualityReport | None = None
    warnings: tuple[str, ...] = ()


@dataclass
class FakeJourney:
    """Stands in for ``headstitch.backend.reconstruct``: writes a head folder, or fails as the photo's text says."""

    calls: list[str] = field(default_factory=list)
    warnings: tuple[str, ...] = ()
    quality: QualityReport | None = None
    meanwhile: Callable[[Path], None] | None = None  # called in the middle of every photo
    error: BaseException | None = None
    model_sha256: str = "0" * 64

    def reconstruct(
        self,
        photo: Path,
        out: Path,
        *,
        options: Options = Options(),  # noqa: B008 - frozen
        progress: Listener | None = None,
    ) -> FakeHead:
        self.calls.append(photo.name)
        for stage, fraction in (("portrait", 0.0), ("surface", 0.5)):
            if progress:
                progress(Progress(stage, fraction, None if fraction == 0 else 2.0))
        if self.meanwhile:
            self.meanwhile(photo)
        if self.error:
            raise self.error
        data = photo.read_bytes()
        if data == b"faceless":
            raise FaceError(f"No face was found in {photo.name}; give a photo with a face.")
        if data == b"defect":
            raise KeyError("nobody foresaw this")
        record = {
            "version": headstitch.__version__,
            "photo": {"name": photo.name, "sha256": hashlib.sha256(data).hexdigest()},
            "model": {"name": Path(options.model).name, "sha256": self.model_sha256},
            "options": {**options.to_dict(), "model": Path(options.model).name},
            "product": "headstitch",
            "warnings": list(self.warnings),
        }
        out.mkdir(parents=True, exist_ok=True)
        for name in HEAD_FILES:
            (out / name).write_bytes(json.dumps(record).encode() if name == "head.json" else b"x")
        if progress:
            progress(Progress("done", 1.0, 0.0))
        return FakeHead(out, record, self.quality, self.warnings)


@pytest.fixture(scope="session")
def balls() -> types.ModuleType:
    """``tests/balls.py``: a model whose heads are balls. A fixture, so that only tests that ask for it import torch."""
    spec = importlib.util.spec_from_file_location("balls", Path(__file__).parents[1] / "balls.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["balls"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def journey(monkeypatch) -> FakeJourney:
    """The fake in the place of the real module, for everything that imports it late."""
    fake = FakeJourney()
    module = types.ModuleType("headstitch.backend.reconstruct")
    module.reconstruct = fake.reconstruct  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "headstitch.backend.reconstruct", module)
    return fake
