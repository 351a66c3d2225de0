"""What the inversion's tests share: a made-up portrait, a model of balls, and one of random weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from headstitch.backend.camera import Camera
from headstitch.backend.inversion.invert import stage_seconds
from headstitch.backend.models.bundle import write_bundle
from headstitch.backend.networks.encoder import Encoder
from headstitch.backend.networks.generator import Generator
from headstitch.backend.portrait.portrait import SIZE, Crop, Portrait
from headstitch.backend.progress import StageClock


@pytest.fixture
def bundle(balls):
    return balls.BallBundle()


@pytest.fixture
def stages():
    """A clock for the inversion's stages; ``stages.seconds`` tells those that ran."""
    return StageClock(stage_seconds())


@pytest.fixture(scope="session")
def portrait():
    """A picture with a gradient, its left half only half in the matte, seen a little from the right."""
    column, row = np.meshgrid(np.arange(SIZE), np.arange(SIZE))
    image = np.stack([column // 2, row // 2, np.full_like(row, 90)], axis=2).astype(np.uint8)
    matte = np.ones((SIZE, SIZE), np.float32)
    matte[:, : SIZE // 2] = 0.5
    matte[:64] = 0.0
    return Portrait(
        photo=image,
        crop=Crop(SIZE / 2, SIZE / 2, SIZE, 0.0),
        image=image,
        matte=matte,
        landmarks=np.full((478, 3), np.nan, np.float32),
        camera=Camera.from_angles(np.radians(20)),
        sha256="0" * 64,
    )


@pytest.fixture(scope="session")
def random_bundle(tmp_path_factory, balls):
    """A real bundle of random weights, small; nothing that it makes looks like anything."""
    torch.manual_seed(1)
    encoders = {which: (Encoder(balls.ENCODER).state_dict(), balls.ENCODER) for which in ("visible", "occluded")}
    return write_bundle(
        tmp_path_factory.mktemp("models") / "random",
        name="random",
        generator=Generator(balls.CONFIG).state_dict(),
        config=replace(balls.CONFIG, level=0.0),
        encoders=encoders,
        licence="CC0-1.0",
    )
