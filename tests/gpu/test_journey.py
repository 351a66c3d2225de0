"""The toy model's head on a GPU: the same bytes twice, and the head of the CPU."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from headstitch.backend.options import Options
from headstitch.backend.reconstruct import reconstruct

ROOT = Path(__file__).parents[2]
PHOTO = ROOT / "examples" / "portrait.jpg"
OPTIONS = Options(
    model=str(ROOT / "tests" / "data" / "toy_model"), resolution=96, faces=8000, texture_size=512, quality=False
)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
def test_a_head_is_the_same_twice_on_cuda_and_near_that_of_the_cpu():
    first, second, cpu = (
        reconstruct(PHOTO, options=replace(OPTIONS, device=device)) for device in ("cuda", "cuda", "cpu")
    )
    for name, array in first.latent.items():
        np.testing.assert_array_equal(second.latent[name], array, err_msg=name)
    np.testing.assert_array_equal(second.mesh.mesh.vertices, first.mesh.mesh.vertices)
    np.testing.assert_array_equal(second.mesh.mesh.faces, first.mesh.mesh.faces)
    np.testing.assert_array_equal(second.mesh.albedo, first.mesh.albedo)
    difference = first.latent["trigrid"].astype(np.float32) - cpu.latent["trigrid"]
    assert np.abs(difference).mean() < 1e-3 * np.abs(cpu.latent["trigrid"].astype(np.float32)).mean()
