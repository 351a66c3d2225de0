"""What the tests of the trainings share: a tiny generator, in a bundle too, and a folder of labelled pictures."""

import json

import cv2
import numpy as np
import pytest
import torch
from headstitch.backend.camera import Camera
from headstitch.backend.learning.config import load_config
from headstitch.backend.learning.dual import encoder_config
from headstitch.backend.models.bundle import write_bundle
from headstitch.backend.networks.config import GeneratorConfig
from headstitch.backend.networks.encoder import Encoder
from headstitch.backend.networks.generator import Generator

CONFIG = GeneratorConfig(
    z_dim=8,
    w_dim=8,
    channel_base=256,
    channel_max=8,
    trigrid_size=32,
    features=4,
    decoder_hidden=8,
    image_size=128,
    superresolution="2X",
    render_size=16,
    coarse_samples=6,
    fine_samples=6,
)
YAWS = (0.0, 0.1, -0.1, 0.2, 0.6, 0.0, -0.2, 0.1, 0.3, 0.0)


@pytest.fixture(scope="session")
def tiny_state():
    """Random weights whose densities are such that a head stops about half of the rays."""
    torch.manual_seed(5)
    state = Generator(CONFIG).state_dict()
    state["decoder.net.2.weight"][0] *= 30
    state["decoder.net.2.bias"][0] = 5.0
    return state


@pytest.fixture
def tiny_generator(tiny_state):
    """A fresh one each time: tests look for gradients in it."""
    generator = Generator(CONFIG)
    generator.load_state_dict(tiny_state)
    return generator.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def tiny_bundle(tiny_state, tmp_path_factory):
    sizes = encoder_config(load_config("tiny"), CONFIG)
    torch.manual_seed(1)
    encoders = {which: (Encoder(sizes).state_dict(), sizes) for which in ("visible", "occluded")}
    folder = tmp_path_factory.mktemp("models") / "tiny"
    return write_bundle(folder, name="tiny", generator=tiny_state, config=CONFIG, encoders=encoders, licence="CC0-1.0")


def write_photos(folder, count=10, side=48):
    """Pictures of a disc with transparency around it, and their labels as PanoHead's tools write them: strings."""
    folder.mkdir(parents=True, exist_ok=True)
    dice = np.random.default_rng(0)
    column, row = np.meshgrid(*[np.linspace(-1, 1, side)] * 2)
    labels = []
    for number in range(count):
        picture = np.full((side, side, 4), 255, np.uint8)
        picture[..., :3] = dice.integers(30, 220, 3)
        picture[..., 3] = 255 * (column**2 + row**2 < 0.6)
        assert cv2.imwrite(str(folder / f"{number}.png"), picture)
        label = Camera.from_angles(YAWS[number % len(YAWS)]).label
        labels.append([f"{number}.png", [f"{value:.6f}" for value in label]])
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))
    return folder


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos"))
