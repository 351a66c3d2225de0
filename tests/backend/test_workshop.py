"""What the server has done for it, without the server: real jobs with the toy model, and what stays loaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from headstitch.backend import workshop as module
from headstitch.backend.models import bundle as bundles
from headstitch.backend.protocol import Rebake, Reconstruct
from headstitch.backend.results.head import Head
from headstitch.backend.results.pictures import decode_png
from headstitch.backend.workshop import Workshop

ROOT = Path(__file__).parents[2]
TOY = ROOT / "tests" / "data" / "toy_model"
PHOTO = ROOT / "examples" / "portrait.jpg"
SMALL = {"resolution": 48, "faces": 1000, "texture_size": 256, "quality": False}


@pytest.fixture(scope="module")
def workshop():
    return Workshop()


@pytest.fixture(scope="module")
def job(workshop, tmp_path_factory):
    """A finished job: its answer, and what was shown."""
    shown = []
    message = Reconstruct(str(PHOTO), str(tmp_path_factory.mktemp("heads") / "head"), SMALL)
    finished = workshop.reconstruct(message, lambda _: None, lambda png, shows: shown.append((shows, png())))
    return finished, shown


def test_a_job_shows_pictures_as_png_and_ends_with_the_head(job):
    finished, shown = job
    head = Head.load(finished.head)
    assert [shows for shows, _ in shown] == ["portrait", "head"]
    assert decode_png(shown[0][1]).shape == (512, 512, 3)
    np.testing.assert_array_equal(decode_png(shown[1][1]), head.preview)
    assert finished.record["photo"]["name"] == "portrait.jpg"
    assert finished.quality is None
    assert finished.seconds > 0


def test_a_head_is_made_again_with_what_shall_differ(workshop, job, tmp_path):
    shown = []
    message = Rebake(job[0].head, str(tmp_path / "again"), options={"neck": "open"})
    finished = workshop.rebake(message, lambda _: None, lambda png, shows: shown.append(shows))
    assert finished.record["options"]["neck"] == "open"
    assert not Head.load(finished.head).surface.watertight
    assert shown == ["head"]


def test_a_model_stays_loaded_until_another_one_is_asked_for(workshop, monkeypatch):
    first = workshop._loaded(str(TOY))
    assert first.kept == {}
    generator = first.generator()
    assert workshop._loaded(str(TOY)).generator() is generator
    other = bundles.load_bundle(TOY)
    object.__setattr__(other, "sha256", "ab" * 32)
    monkeypatch.setattr(bundles, "load_bundle", lambda _: other)
    assert workshop._loaded("other").sha256 == "ab" * 32
    assert workshop._loaded("other").generator() is not generator


def test_with_little_memory_nothing_stays_loaded(monkeypatch):
    needed = bundles.load_bundle(TOY).parameters_bytes
    for factor, kept in ((2.9, None), (3.1, {})):
        monkeypatch.setattr(module, "available_memory", lambda factor=factor: (int(factor * needed), "this machine"))
        assert Workshop()._loaded(str(TOY)).kept == kept
    monkeypatch.setattr(module, "available_memory", lambda: None)
    assert Workshop()._loaded(str(TOY)).kept == {}
