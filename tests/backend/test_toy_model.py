"""The toy model of ``tests/data``: whole, free, and a head where its mean is."""

from pathlib import Path

import pytest
import torch
from headstitch.backend.camera import Camera
from headstitch.backend.models.bundle import load_bundle

TOY = Path(__file__).parents[1] / "data" / "toy_model"


@pytest.fixture(scope="module")
def bundle():
    return load_bundle(TOY)


def test_it_is_whole_small_and_free(bundle):
    bundle.verify()
    assert bundle.name == "toy"
    assert bundle.licence.startswith("CC0-1.0")
    assert sum(path.stat().st_size for path in TOY.iterdir()) < 2_100_000


@torch.inference_mode()
def test_its_mean_is_a_head_in_the_middle_of_the_picture_with_nothing_beside_it(bundle):
    generator, w_plus = bundle.generator(), bundle.encoder("visible").latent_avg[None]
    camera = torch.from_numpy(Camera.from_angles().label)[None]
    _, mask = generator.depth(generator.trigrid(w_plus), camera, size=32)
    head = mask[0, 0] > 0.5
    assert head[10:22, 12:20].all()
    assert not head[:4, :4].any()
    assert not head[:4, -4:].any()
