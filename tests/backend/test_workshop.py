"""What the server has done for it, without the server: real jobs with the toy model, and what stays loaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from headstitch.backend import workshop as module
from headstitch.backend.models import bundle as bundles
from headstitch.backend.options import Options
from headstitch.backend.protocol import Rebake, Reconstruct
from headstitch.backend.reconstruct import memory_needed
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


OPTIONS = Options(model=str(TOY))
NEEDED = memory_needed(OPTIONS, bundles.load_bundle(TOY))
ALL = bundles.load_bundle(TOY).parameters_bytes  # more than the other encoder


@pytest.fixture
def free(monkeypatch):
    """``free(bytes)``: what the system is to tell of its memory."""

    def tell(number):
        monkeypatch.setattr(module, "available_memory", lambda: None if number is None else (number, "this machine"))

    return tell


def test_a_model_stays_loaded_until_another_one_is_asked_for(workshop, free, monkeypatch):
    free(None)
    first = workshop._loaded(OPTIONS)
    assert first.kept == {}
    generator = first.generator()
    assert workshop._loaded(OPTIONS).generator() is generator
    other = bundles.load_bundle(TOY)
    object.__setattr__(other, "sha256", "ab" * 32)
    monkeypatch.setattr(bundles, "load_bundle", lambda _: other)
    assert workshop._loaded(OPTIONS).sha256 == "ab" * 32
    assert workshop._loaded(OPTIONS).generator() is not generator


@pytest.mark.parametrize(("room", "kept"), [(NEEDED + ALL - 1, None), (NEEDED + ALL + 1, {}), (None, {})])
def test_networks_stay_loaded_only_where_all_fit_beside_a_job(free, room, kept):
    free(room)
    assert Workshop()._loaded(OPTIONS).kept == kept


def test_what_is_kept_makes_room_for_a_job_that_would_else_be_refused(free):
    workshop = Workshop()
    free(NEEDED + ALL + 1)
    loaded = workshop._loaded(OPTIONS)
    loaded.generator()
    free(NEEDED)
    assert workshop._loaded(OPTIONS).kept
    free(NEEDED - 1)
    assert workshop._loaded(OPTIONS).kept == {}


def test_a_rebake_makes_room_likewise(workshop, job, free, tmp_path):
    free(None)
    kept = workshop._loaded(OPTIONS)
    kept.generator()
    free(1)
    message = Rebake(job[0].head, str(tmp_path / "again"))
    workshop.rebake(message, lambda _: None, lambda png, shows: None)
    assert kept.kept == {}
