from __future__ import annotations

import math

import pytest
import torch
from headstitch.kernels import lattice_density as kernel
from headstitch.kernels.lattice_density import BLOCK, lattice_density
from headstitch.kernels.trigrid import AXES, DecoderWeights, sample_trigrid, to_rows
from hypothesis import given, settings
from hypothesis import strategies as st

PLANES = ((0, 1), (0, 2), (1, 2))  # the world axes that are a plane's width and height
CUBE = ((-0.5, -0.5, -0.5), 1 / 31, (32, 32, 32))  # origin, spacing, shape
LATTICES = {
    "the cube": CUBE,
    "sides that differ, no whole blocks": ((-0.41, -0.5, -0.37), 0.031, (27, 33, 22)),
    "off the middle": ((0.113, -0.087, 0.031), 0.0071, (40, 19, 35)),
    "beyond the planes on all sides": ((-0.9, -0.8, -0.7), 0.05, (37, 33, 29)),
    "one node thick": ((-0.5, 0.03, -0.5), 1 / 40, (41, 1, 41)),
}


def example(seed: int = 0, *, depth: int = 3, size: int = 16, features: int = 8, hidden: int = 12, scale: float = 1.0):
    """A tri-grid (3, F * depth, R, R) of noise, and a decoder whose hidden vector has both of softplus's ends."""
    draw = torch.Generator().manual_seed(seed)
    trigrid = scale * torch.randn(3, features * depth, size, size, generator=draw)
    shapes = ((hidden, features), (hidden,), (3, hidden), (3,))
    return trigrid, DecoderWeights(*(2 * torch.randn(shape, generator=draw) for shape in shapes))


def adder(gain: float = 100.0, offset: float = 0.0) -> DecoderWeights:
    """A decoder whose density is ``gain`` times the sum of the planes' only feature, plus ``offset``."""
    # Of x and -x softplus differs by x itself.
    weight0 = torch.tensor([[3.0], [-3.0]])
    return DecoderWeights(weight0, torch.zeros(2), torch.tensor([[gain, -gain]]), torch.tensor([offset]))


def asked_directly(trigrid, weights, origin, spacing, shape, *, depth=3, box_warp=1.0):
    """The density (X, Y, Z) that the look-up gives at the nodes."""
    axes = [start + spacing * torch.arange(count) for start, count in zip(torch.tensor(origin), shape, strict=True)]
    points = torch.cartesian_prod(*axes)[None]
    return sample_trigrid(trigrid[None], points, weights, depth=depth, box_warp=box_warp)[0].view(shape)


def crossing(inside: torch.Tensor) -> torch.Tensor:
    """The nodes (X, Y, Z) in which an edge ends that has its other end on the other side."""
    found = torch.zeros_like(inside)
    for axis in range(3):
        count = inside.shape[axis]
        differs = inside.narrow(axis, 0, count - 1) != inside.narrow(axis, 1, count - 1)
        found.narrow(axis, 0, count - 1).logical_or_(differs)
        found.narrow(axis, 1, count - 1).logical_or_(differs)
    return found


def hold(values: torch.Tensor, expected: torch.Tensor, level: float) -> None:
    """What the kernel promises of its values."""
    close = (values - expected).abs() < 2e-5 * expected.abs().max().clamp_min(1)
    same_side = (values > level) == (expected > level)
    # Where the density is the level itself, rounding alone tells the side.
    assert (same_side | (close & ((expected - level).abs() < 1e-3))).all()
    assert close[crossing(values > level)].all()


@pytest.fixture
def always_blocks(monkeypatch):
    """Never gives up on blocks, however many are left; tells how many nodes were evaluated."""
    monkeypatch.setattr(kernel, "_DENSE_SHARE", 2.0)
    evaluate, asked = kernel._evaluate, []

    def counted(maps, blocks):
        asked.append(blocks)
        return evaluate(maps, blocks)

    monkeypatch.setattr(kernel, "_evaluate", counted)
    return asked


@pytest.mark.parametrize("depth", [1, 3, 4])
@pytest.mark.parametrize("lattice", LATTICES.values(), ids=LATTICES)
def test_every_node_has_the_density_of_the_look_up(lattice, depth):
    trigrid, weights = example(depth=depth)
    values, share = lattice_density(trigrid, weights, *lattice, level=0.0, depth=depth, box_warp=1.1, skip=False)
    expected = asked_directly(trigrid, weights, *lattice, depth=depth, box_warp=1.1)
    torch.testing.assert_close(values, expected, atol=1e-4, rtol=0)  # of densities up to some 50
    assert share == 1


@pytest.mark.parametrize("depth", [1, 3, 4])
@pytest.mark.parametrize("lattice", LATTICES.values(), ids=LATTICES)
def test_blocks_give_the_density_of_the_look_up_where_a_surface_is(lattice, depth, always_blocks):
    trigrid, weights = example(depth=depth)
    expected = asked_directly(trigrid, weights, *lattice, depth=depth, box_warp=1.1)
    for level in torch.quantile(expected.flatten(), torch.tensor([0.02, 0.5, 0.999])).tolist():
        values, _ = lattice_density(trigrid, weights, *lattice, level=level, depth=depth, box_warp=1.1)
        hold(values, expected, level)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    size=st.sampled_from([2, 5, 16, 40]),
    depth=st.integers(1, 4),
    scale=st.sampled_from([0.02, 0.3, 2.0, 30.0]),
    rank=st.floats(0, 1),
    origin=st.tuples(*[st.floats(-0.8, 0.4)] * 3),
    spacing=st.floats(0.002, 0.06),
    shape=st.tuples(*[st.integers(1, 36)] * 3),
)
def test_nothing_is_missed_whatever_the_field(seed, size, depth, scale, rank, origin, spacing, shape):
    trigrid, weights = example(seed, size=size, depth=depth, scale=scale)
    expected = asked_directly(trigrid, weights, origin, spacing, shape, depth=depth)
    level = torch.quantile(expected.flatten(), rank).item()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel, "_DENSE_SHARE", 2.0)
        values, share = lattice_density(trigrid, weights, origin, spacing, shape, level=level, depth=depth)
    hold(values, expected, level)
    assert 0 <= share <= 1


def bump(at: tuple[int, int, int], size: int = 32) -> torch.Tensor:
    """A tri-grid of 1 feature and 1 slice, 1 in each plane's cell that the place ``at`` is in, else 0."""
    trigrid = torch.zeros(3, 1, size, size)
    for plane, (width, height) in enumerate(PLANES):
        trigrid[plane, 0, at[height], at[width]] = 1
    return trigrid


@pytest.mark.parametrize("at", [(9, 9, 9), (15, 16, 15), (16, 16, 16), (0, 31, 0), (8, 15, 24), (3, 4, 7)])
def test_a_floater_of_a_single_node_is_found(at, always_blocks):
    """It is densest where the cells of all three planes meet. Nodes are the cells' middles."""
    lattice = ((-31 / 64,) * 3, 1 / 32, (32, 32, 32))
    trigrid, weights = bump(at), adder(offset=-250.0)
    expected = asked_directly(trigrid, weights, *lattice, depth=1)
    level = float(expected.flatten().topk(2).values.mean())
    assert (expected > level).nonzero().tolist() == [list(at)]
    values, share = lattice_density(trigrid, weights, *lattice, level=level, depth=1)
    hold(values, expected, level)
    assert share <= 8 * BLOCK**3 / 32**3 + 1e-9


def walls(axis: int, nodes: tuple[int, ...], size: int = 32) -> torch.Tensor:
    """1 feature, 1 slice: 1 at the cells ``nodes`` along a world axis, 0 elsewhere."""
    trigrid = torch.zeros(3, 1, size, size)
    for plane, (width, height) in enumerate(PLANES):
        if axis == width:
            trigrid[plane, 0, :, list(nodes)] = 1
        elif axis == height:
            trigrid[plane, 0, list(nodes), :] = 1
    return trigrid


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("node", [5, 7, 8, 15, 16, 30, 31])
def test_a_sheet_one_node_thick_is_found(axis, node, always_blocks):
    lattice = ((-31 / 64,) * 3, 1 / 32, (32, 32, 32))
    trigrid, weights = walls(axis, (node,)), adder()
    expected = asked_directly(trigrid, weights, *lattice, depth=1)
    values, share = lattice_density(trigrid, weights, *lattice, level=40.0, depth=1)
    hold(values, expected, 40.0)
    assert (expected > 40).any()
    assert share <= 3 * BLOCK / 32


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("node", [3, 8, 11, 16])
def test_a_surface_between_two_blocks_is_found(axis, node, always_blocks):
    """Each block alone is far from the level on its own side."""
    lattice = ((-31 / 64,) * 3, 1 / 32, (32, 32, 32))
    trigrid, weights = walls(axis, tuple(range(node))), adder(offset=-50.0)
    expected = asked_directly(trigrid, weights, *lattice, depth=1)
    values, share = lattice_density(trigrid, weights, *lattice, level=10.0, depth=1)
    hold(values, expected, 10.0)
    assert share <= 2 * BLOCK / 32


def test_a_smooth_field_is_evaluated_near_its_surface_only(always_blocks):
    """A ball, x^2 + y^2 + z^2 from three planes."""
    size = 64
    place = (torch.arange(size) + 0.5) / size - 0.5
    square = place[:, None] ** 2 + place[None] ** 2
    trigrid, weights = (-square / 2).expand(3, 1, size, size).contiguous(), adder(1000.0, 80.0)
    lattice = ((-0.5,) * 3, 1 / 95, (96, 96, 96))
    # One slice fades towards the sides; three equal ones do not, in the middle.
    trigrid = trigrid.repeat_interleave(5, dim=1)
    values, share = lattice_density(trigrid, weights, *lattice, level=10.0, depth=5)
    expected = asked_directly(trigrid, weights, *lattice, depth=5)
    hold(values, expected, 10.0)
    assert share < 0.2


@pytest.mark.parametrize("lattice", LATTICES.values(), ids=LATTICES)
def test_the_share_is_of_the_nodes_that_were_evaluated(lattice, always_blocks):
    trigrid, weights = example(scale=0.1)
    expected = asked_directly(trigrid, weights, *lattice)
    level = torch.quantile(expected.flatten(), 0.9).item()
    values, share = lattice_density(trigrid, weights, *lattice, level=level)
    shape = torch.tensor(lattice[2])
    blocks = torch.cat(always_blocks)
    assert len(blocks.unique(dim=0)) == len(blocks)
    nodes = int((shape - blocks * BLOCK).clamp(0, BLOCK).prod(1).sum())
    assert share == pytest.approx(nodes / math.prod(lattice[2]))
    exact = (values - expected).abs() < 1e-4
    assert exact.sum() >= nodes


@pytest.mark.parametrize(("level", "side"), [(1e4, False), (-1e4, True)])
def test_a_level_that_nothing_reaches_needs_no_evaluation(level, side):
    trigrid, weights = example()
    values, share = lattice_density(trigrid, weights, *CUBE, level=level)
    assert share == 0
    assert ((values > level) == side).all()


def test_far_from_the_planes_there_is_the_decoders_constant():
    trigrid, weights = example()
    constant = sample_trigrid(trigrid[None], torch.full((1, 1, 3), 9.0), weights)[0]
    lattice = ((2.0, -3.0, 2.0), 0.01, (20, 20, 20))
    values, share = lattice_density(trigrid, weights, *lattice, level=constant.item() + 1)
    assert share == 0
    assert (values < constant + 1).all()
    values, _ = lattice_density(trigrid, weights, *lattice, level=0.0, skip=False)
    torch.testing.assert_close(values, constant.expand_as(values).squeeze(), atol=1e-4, rtol=0)


def test_noise_everywhere_is_evaluated_everywhere():
    trigrid, weights = example(size=32)
    expected = asked_directly(trigrid, weights, *CUBE)
    values, share = lattice_density(trigrid, weights, *CUBE, level=expected.median().item())
    assert share == 1
    torch.testing.assert_close(values, expected, atol=1e-4, rtol=0)


def test_what_is_no_number_is_not_skipped(always_blocks):
    trigrid, weights = example(scale=0.01)
    trigrid[0, :, 3, 4] = torch.nan
    expected = asked_directly(trigrid, weights, *CUBE)
    values, _ = lattice_density(trigrid, weights, *CUBE, level=1e4)
    torch.testing.assert_close(values.isnan(), expected.isnan())


def test_rows_are_as_good_as_the_tri_grid():
    trigrid, weights = example(depth=2)
    one = lattice_density(trigrid, weights, *CUBE, level=1.0, depth=2)
    other = lattice_density(to_rows(trigrid[None], depth=2), weights, *CUBE, level=1.0)
    assert one[1] == other[1]
    torch.testing.assert_close(one[0], other[0], atol=0, rtol=0)


def test_the_same_question_has_the_same_answer_to_the_bit(always_blocks):
    trigrid, weights = example(scale=0.1)
    one, other = (lattice_density(trigrid, weights, *CUBE, level=0.0)[0] for _ in range(2))
    assert torch.equal(one, other)


def test_planes_span_the_axes_that_the_look_up_says():
    assert tuple(axes[:2] for axes in AXES) == PLANES
    assert all({*axes} == {0, 1, 2} for axes in AXES)
