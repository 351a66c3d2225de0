import numpy as np
import pytest
import torch
from headstitch.backend.template.distance import _COARSE, FLOOR, SPACING

EXACT_BAND = 2 * SPACING


def world(grid, nodes):
    return grid.origin + SPACING * np.asarray(nodes)


@pytest.fixture(scope="module")
def near(known_grid, known_solids, measured):
    """300 random nodes about the surface: grid's values, and distance to the union of all parts measured anew."""
    values = known_grid.distance.numpy()
    nodes = np.argwhere(np.abs(values) < 1.5 * EXACT_BAND)
    nodes = nodes[np.random.default_rng(11).choice(len(nodes), 300, replace=False)]
    points = world(known_grid, nodes).astype(np.float32).astype(np.float64)
    exact = np.min([measured(part, points) for part in (known_solids.body, *known_solids.inner)], axis=0)
    return nodes, values[tuple(nodes.T)], exact


def test_nodes_near_the_surface_hold_the_exact_distance(near):
    """To single precision of coordinates below 1: some 1e-7, and a square root of such differences."""
    _, values, exact = near
    band = np.abs(exact) < EXACT_BAND
    assert band.sum() > 150
    np.testing.assert_allclose(values[band], exact[band], rtol=0, atol=2e-6)


def test_nodes_farther_away_err_less_than_their_distance_to_the_band(near):
    """Interpolated values may be off, but never so far that they claim a surface."""
    _, values, exact = near
    far = np.abs(exact) >= EXACT_BAND
    assert (np.sign(values[far]) == np.sign(exact[far])).all()
    assert (np.abs(values[far]) > EXACT_BAND / 2).all()


def test_distance_changes_by_no_more_than_the_way_gone(known_grid):
    """A single wrong sign would jump by twice the distance. Every coarse node is exact, and all of them in the band."""
    values = known_grid.distance.numpy()
    exact = values[::_COARSE, ::_COARSE, ::_COARSE]
    band = np.abs(values) < EXACT_BAND
    for axis in range(3):
        assert np.abs(np.diff(exact, axis=axis)).max() <= _COARSE * SPACING + 1e-5
        last, first = (np.moveaxis(band, axis, 0)[part] for part in (slice(1, None), slice(None, -1)))
        change = np.moveaxis(np.abs(np.diff(values, axis=axis)), axis, 0)
        assert change[last & first].max() <= SPACING + 1e-5


def test_sign_is_right_far_inside_and_outside(known_grid, known, model):
    skull = known.place(np.array([[0.0, 0.06, -0.09]]))
    landmarks = known.place(model.landmarks(model.vertices(known.coefficients)))
    in_front = landmarks[[4, 152, 10]] + [0, 0, 0.05]
    values = known_grid.sample_distance(torch.tensor(np.concatenate([skull, in_front]), dtype=torch.float32)).numpy()
    assert values[0] < -0.1
    assert (values[1:] > 0.01).all()
    border = known_grid.distance.numpy()
    assert border[:, -1].min() > 0  # above the crown
    above_cut = world(known_grid, np.arange(border.shape[1])[:, None])[:, 1] > FLOOR  # below are the shoulders
    assert border[0, above_cut].min() > 0  # beyond the ears
    assert border[-1, above_cut].min() > 0
    assert border[:, above_cut, -1].min() > 0  # before the nose
    assert world(known_grid, [0, 0, 0])[1] < FLOOR  # the cut of the neck lies inside the grid


def test_sampling_at_a_node_gives_the_node(known_grid):
    """Coordinates of about 0.5 have steps of 6e-8, so nodes are met to 1e-7 and distances change no faster."""
    rng = np.random.default_rng(2)
    nodes = rng.integers(0, known_grid.distance.shape, (500, 3))
    points = torch.tensor(world(known_grid, nodes), dtype=torch.float32)
    place = tuple(torch.tensor(nodes).T)
    np.testing.assert_allclose(known_grid.sample_distance(points), known_grid.distance[place], rtol=0, atol=2e-6)


def test_sampling_between_nodes_is_trilinear(known_grid):
    rng = np.random.default_rng(4)
    nodes = rng.integers(0, np.array(known_grid.distance.shape) - 1, (200, 3))
    share = rng.uniform(0.05, 0.95, (200, 3))
    values = known_grid.distance.numpy()
    expected = np.zeros(200)
    for corner in np.ndindex(2, 2, 2):
        weight = np.where(np.array(corner) == 1, share, 1 - share).prod(axis=1)
        expected += weight * values[tuple((nodes + corner).T)]
    points = torch.tensor(world(known_grid, nodes + share), dtype=torch.float32)
    np.testing.assert_allclose(known_grid.sample_distance(points), expected, rtol=0, atol=2e-6)


def test_points_outside_take_the_borders_value(known_grid):
    rng = np.random.default_rng(6)
    last = np.array(known_grid.distance.shape) - 1
    nodes = rng.uniform(-20, last + 20, (300, 3))
    outside = (nodes < 0).any(axis=1) | (nodes > last).any(axis=1)
    points, clamped = (
        torch.tensor(world(known_grid, each[outside]), dtype=torch.float32) for each in (nodes, nodes.clip(0, last))
    )
    assert outside.sum() > 50
    np.testing.assert_allclose(
        known_grid.sample_distance(points), known_grid.sample_distance(clamped), rtol=0, atol=2e-6
    )


def test_skin_near_a_vertex_is_the_vertex_own(known_grid, known_solids):
    """At a vertex the eight nodes around see skin at most a cell's diagonal and their own distance away."""
    positions = known_solids.body.vertex.positions.numpy().astype(np.float64)
    rest = known_solids.skin.rest
    outer = np.nonzero(positions[:, 1] > FLOOR + 0.05)[0]
    # Only vertices of smooth, open skin: beside a fold the nearest skin may be the other side of the fold.
    outer = outer[known_solids.skin.openness[outer] > 0.8]
    chosen = np.random.default_rng(8).choice(outer, 500, replace=False)
    sampled, scalp, openness = known_grid.sample_skin(torch.tensor(positions[chosen], dtype=torch.float32))
    apart = np.linalg.norm(sampled.numpy() - rest[chosen], axis=1)
    assert apart.max() < 2 * np.sqrt(3) * SPACING
    for values, own in ((scalp, known_solids.skin.scalp), (openness, known_solids.skin.openness)):
        assert values.min() >= -1e-6  # a trilinear mean of values in [0, 1], rounded
        assert values.max() <= 1 + 1e-6
        assert np.median(np.abs(values.numpy() - own[chosen])) < 0.03


def test_a_grid_moves_whole(known_grid):
    moved = known_grid.to(torch.device("cpu"))
    np.testing.assert_array_equal(moved.distance, known_grid.distance)
    np.testing.assert_array_equal(moved.skin, known_grid.skin)
    np.testing.assert_array_equal(moved.origin, known_grid.origin)
