import numpy as np
import torch
from headstitch.backend.field import Box
from headstitch.backend.template.distance import FLOOR, SPACING
from headstitch.backend.template.field import BETA, TemplateField
from headstitch.backend.template.palette import Palette
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats


def uniform(box, count, seed=0):
    points = np.random.default_rng(seed).uniform(box.low, box.high, (count, 3))
    return torch.tensor(points, dtype=torch.float32)


def test_density_is_the_laplace_distributions_cumulative_function(known_field, known_grid):
    """VolSDF's density with alpha = 1 / beta, to single precision."""
    points = uniform(known_field.box, 5000)
    distance = known_grid.sample_distance(points).numpy().astype(np.float64)
    expected = stats.laplace.cdf(-distance, scale=BETA) / BETA
    density = known_field.density(points)
    assert density.dtype == torch.float32
    np.testing.assert_allclose(density.numpy(), expected, rtol=1e-5, atol=1e-5 / BETA)


def test_density_at_distance_0_is_the_level(known_field, known_grid):
    """Points brought onto the zero of the interpolated distance by bisection: |density - level| <= |d| / (2 beta^2)."""
    points = uniform(known_field.box, 4000)
    values = known_grid.sample_distance(points)
    inner, outer = points[values < -0.01][:100], points[values > 0.01][:100]
    count = min(len(inner), len(outer))
    inner, outer = inner[:count].double(), outer[:count].double()
    for _ in range(30):
        middle = (inner + outer) / 2
        inside = (known_grid.sample_distance(middle.float()) < 0)[:, None]
        inner, outer = torch.where(inside, middle, inner), torch.where(inside, outer, middle)
    density = known_field.density(inner.float()).numpy()
    assert count > 50
    assert known_field.level == 0.5 / BETA
    np.testing.assert_allclose(density, known_field.level, rtol=1e-3)


def test_density_falls_with_distance(known_field, known_grid):
    points = uniform(known_field.box, 5000, seed=1)
    order = torch.argsort(known_grid.sample_distance(points))
    assert (torch.diff(known_field.density(points)[order]) <= 0).all()
    assert (known_field.density(points) >= 0).all()


def test_box_holds_the_head_and_ends_at_the_necks_cut(known_field, known_solids):
    positions = known_solids.body.vertex.positions.numpy()
    head = positions[positions[:, 1] > FLOOR]
    head = head[(np.abs(head[:, [0, 2]]) < 0.5).all(axis=1)]
    low, high = np.array(known_field.box.low), np.array(known_field.box.high)
    assert low[1] == np.float64(np.float32(FLOOR)) or low[1] == FLOOR
    assert (head >= low - 1e-6).all()
    assert (head <= high + 1e-6).all()


def both_sides(field, low, high, rng, count=2000):
    points = torch.tensor(rng.uniform(low, high, (count, 3)), dtype=torch.float32)
    dense = field.density(points) > field.level
    return bool(dense.any() and not dense.all())


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    side=st.floats(0.003, 0.2),
    stretch=st.tuples(*[st.floats(0.3, 1.0)] * 3),
    middle=st.tuples(*[st.floats(-0.15, 1.15)] * 3),
    near_surface=st.booleans(),
)
def test_boxes_with_both_sides_are_never_denied(known_field, seed, side, stretch, middle, near_surface):
    """Boxes anywhere, partly outside of the field too, in batches with others of all sizes, as a lattice may ask."""
    rng = np.random.default_rng(seed)
    low, high = np.array(known_field.box.low), np.array(known_field.box.high)
    middles = low + (high - low) * np.concatenate([[middle], rng.uniform(-0.1, 1.1, (7, 3))])
    if near_surface:
        points = uniform(known_field.box, 4000, seed % 97)
        close = torch.argsort((known_field.density(points) - known_field.level).abs())[:8]
        middles = points[close].numpy().astype(np.float64)
    sides = np.concatenate([[side * np.array(stretch)], rng.uniform(0.003, 0.2, (7, 1)) * rng.uniform(0.3, 1, (7, 3))])
    lows, highs = (torch.tensor(middles + sign * sides / 2, dtype=torch.float32).double().numpy() for sign in (-1, 1))
    held = known_field.may_hold_surface(*(torch.tensor(each, dtype=torch.float32) for each in (lows, highs)))
    assert held.shape == (8,)
    for one, other, answer in zip(lows, highs, held.tolist(), strict=True):
        assert answer or not both_sides(known_field, one, other, rng)


def test_most_empty_boxes_are_denied(known_field, known_grid):
    """Skipping pays only if what is clearly empty is known to be: farther away than the box's diagonal and the cells
    about it whose values count (4 nodes)."""
    for side in (0.01, 0.03):
        middle = uniform(known_field.box, 4000, seed=3)
        away = np.sqrt(3) * (side / 2 + 4 * SPACING)
        empty = known_grid.sample_distance(middle).abs() > 1.2 * away
        held = known_field.may_hold_surface(middle[empty] - side / 2, middle[empty] + side / 2)
        assert empty.sum() > 500
        assert held.float().mean() < 0.01


def test_asking_about_no_box_is_answered(known_field):
    none = torch.zeros(0, 3)
    assert known_field.may_hold_surface(none, none).shape == (0,)
    assert known_field.color(none).shape == (0, 3)
    assert known_field.density(none).shape == (0,)


def surface_points(known_solids):
    positions = known_solids.body.vertex.positions.numpy()
    return torch.tensor(positions[positions[:, 1] > FLOOR + 0.02], dtype=torch.float32)


def test_colors_stay_in_range_however_uneven_the_hair(known_grid, known_solids):
    wild = TemplateField(known_grid, Palette((1.0, 0.5, 0.0), (0.95, 0.9, 1.0), 0.5))
    color = wild.color(surface_points(known_solids))
    assert color.dtype == torch.float32
    assert color.min() >= 0
    assert color.max() <= 1


def test_hair_on_the_back_of_the_skull_and_skin_on_the_cheek(known_field, two_colors, known, model):
    """Cheeks lie in the open, so nothing but a little ambient shade is between them and skin's colour."""
    landmarks = known.place(model.landmarks(model.vertices(known.coefficients)))
    cheeks = known_field.color(torch.tensor(landmarks[[50, 280]], dtype=torch.float32)).numpy()
    np.testing.assert_allclose(cheeks, np.tile(two_colors.skin, (2, 1)), rtol=0.1)
    np.testing.assert_allclose(cheeks / cheeks[:, :1], np.tile(two_colors.skin, (2, 1)) / two_colors.skin[0], rtol=1e-4)
    skull = known.place(np.array([[0.0, 0.06, -0.09]]))[0]
    step = torch.linspace(0, 0.4, 400)[:, None] * torch.tensor([0.0, 0.1, -1.0]) + torch.tensor(skull).float()
    density = known_field.density(step)
    back = step[torch.argmin((density - known_field.level).abs())][None]
    np.testing.assert_allclose(known_field.color(back)[0], two_colors.hair, atol=1e-5)


def test_folds_are_darker_than_open_skin_but_not_another_color(known_field, two_colors, known_solids):
    skin = known_solids.skin
    positions = torch.tensor(known_solids.body.vertex.positions.numpy(), dtype=torch.float32)
    bare = (skin.scalp == 0) & (skin.rest[:, 1] > -0.2) & (skin.rest[:, 2] > 0)
    folds, open_skin = (
        known_field.color(positions[bare & part]).numpy().mean(axis=0)
        for part in ((skin.openness > 0.2) & (skin.openness < 0.4), skin.openness > 0.95)
    )
    assert (folds < 0.9 * open_skin).all()
    np.testing.assert_allclose(folds / folds[0], np.array(two_colors.skin) / two_colors.skin[0], rtol=0.02)


def test_two_fields_of_one_head_are_the_same(known_grid, two_colors, known_field):
    again = TemplateField(known_grid, two_colors)
    points = uniform(known_field.box, 1000, seed=9)
    assert isinstance(again.box, Box)
    assert again.box == known_field.box
    np.testing.assert_array_equal(again.density(points), known_field.density(points))
    np.testing.assert_array_equal(again.color(points), known_field.color(points))
