"""The fit of a tri-grid to a CC0 head, at a size that takes seconds."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path

import pytest
import torch
from headstitch.kernels.trigrid import sample_trigrid

PATH = Path(__file__).parents[2] / "scripts" / "fit_trigrid.py"
SIZE = 24


@pytest.fixture(scope="module")
def script() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("fit_trigrid", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fit_trigrid"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def head(script):
    return script.make_head(nodes=65, points=20_000)


@pytest.fixture(scope="module")
def fitted(script, head):
    return script.fit(head, SIZE, steps=(100, 80), batch=4096)


def ask(fitted, points):
    sigma, features = sample_trigrid(fitted.trigrid[None], points[None], fitted.weights)
    return sigma[0], features[0]


def test_the_head_has_hair_above_and_skin_in_its_face(head):
    assert head.sample(torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 0.45]])).sign().tolist() == [-1, 1]
    assert head.sample(head.points).abs().max() < 1e-3
    outward = head.sample(head.points + 0.004 * head.normals) - head.sample(head.points - 0.004 * head.normals)
    assert (outward > 0).float().mean() > 0.99
    top = head.colors[head.points[:, 1] > 0.2]
    cheeks = (head.points - torch.tensor([0.06, -0.07, 0.15])).norm(dim=1) < 0.03
    assert top.mean() < 0.3
    assert head.colors[cheeks].mean() > 0.5


def test_the_density_is_on_the_right_side_of_the_level(script, head, fitted):
    points = (torch.rand(20_000, 3, generator=torch.Generator().manual_seed(1)) * 2 - 1) * 0.5
    cells = head.sample(points) * SIZE
    sigma, _ = ask(fitted, points)
    clear = cells.abs() > 1
    agree = (sigma > script.LEVEL) == (cells < 0)
    assert agree[clear].float().mean() > 0.98
    assert (cells[clear] < 0).float().mean() < 0.5


def test_the_first_features_are_the_colour(head, fitted):
    _, features = ask(fitted, head.points)
    off = ((features[:, :3] + 1) / 2 - head.colors).abs().mean(1)
    assert off.median() < 0.05


def test_the_tri_grid_survives_its_file(script, fitted, tmp_path):
    script.save(tmp_path / "head.safetensors", fitted)
    again = script.load(tmp_path / "head.safetensors")
    torch.testing.assert_close(again.trigrid, fitted.trigrid, atol=0, rtol=0)
    for one, other in zip(again.weights[:4], fitted.weights[:4], strict=True):
        torch.testing.assert_close(one, other, atol=0, rtol=0)
    assert again.trigrid.shape == (3, 96, SIZE, SIZE)


def test_a_seed_gives_a_fit(script, head):
    one, other, third = (script.fit(head, 8, steps=(3, 3), batch=512, seed=seed) for seed in (4, 4, 5))
    assert torch.equal(one.trigrid, other.trigrid)
    assert torch.equal(one.weights.weight1, other.weights.weight1)
    assert not torch.equal(one.trigrid, third.trigrid)
