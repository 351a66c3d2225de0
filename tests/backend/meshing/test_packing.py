import numpy as np
import pytest
from headstitch.backend.meshing.packing import pack
from scipy.spatial import KDTree


def polygon(random, size):
    """A star-shaped polygon (B, 2) about ``size`` wide, not around the origin."""
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    reach = size * random.uniform(0.4, 1, 24)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1) * reach[:, None] * [1, 0.6] + random.normal(size=2)


def area(corners):
    x, y = corners.T
    return (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2


def along(corners, step):
    """Points along a polygon's sides, at most ``step`` apart."""
    count = int(np.ceil(np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1).max() / step))
    share = np.linspace(0, 1, count, endpoint=False)[:, None, None]
    return (corners * (1 - share) + np.roll(corners, -1, axis=0) * share).reshape(-1, 2)


def inside(point, corners):
    """Whether a ray from ``point`` (2,) to the right leaves the polygon."""
    x, y = (corners - point).T
    x_next, y_next = np.roll(x, -1), np.roll(y, -1)
    rises = (y > 0) != (y_next > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return bool((rises & (x - y * (x_next - x) / (y_next - y) > 0)).sum() % 2)


def check(outlines, upright, gutter):
    placings = pack(outlines, upright, gutter)
    placed = [placing(outline) for placing, outline in zip(placings, outlines, strict=True)]
    for placing, fixed in zip(placings, upright, strict=True):
        np.testing.assert_allclose(placing.turn @ placing.turn.T, np.eye(2), atol=1e-9)
        assert np.linalg.det(placing.turn) > 0
        assert placing.scale == placings[0].scale > 0
        assert not fixed or (placing.turn == np.eye(2)).all()
    step = 5e-4
    rims = [along(corners, step) for corners in placed]
    for number, corners in enumerate(placed):
        assert corners.min() >= gutter - 1e-9
        assert corners.max() <= 1 - gutter + 1e-9
        for other in range(number):
            assert KDTree(rims[number]).query(rims[other])[0].min() >= gutter - step
            assert not inside(corners[0], placed[other])
            assert not inside(placed[other][0], corners)
    return placed


@pytest.mark.parametrize("gutter", [6 / 256, 6 / 2048, 0.0])
def test_charts_keep_the_gutter_from_each_other_and_from_the_sides(gutter):
    random = np.random.default_rng(3)
    outlines = [polygon(random, size) for size in (1, 1.2, 0.3, 0.1, 0.9, 0.05, 0.02)]
    check(outlines, [True] + [False] * 6, gutter)


def test_the_square_is_used_well():
    """Four equal rectangles fill it but for the gutters and the rounding to cells; a long one is laid along a side."""
    rectangle = np.array([[0, 0], [2, 0], [2, 1], [0, 1]], float)
    placed = check([rectangle] * 2, [False] * 2, 6 / 2048)
    assert sum(map(area, placed)) > 0.94
    turned = rectangle @ np.array([[0.8, 0.6], [-0.6, 0.8]])
    placed = check([turned] * 8, [False] * 8, 6 / 2048)
    assert sum(map(area, placed)) > 0.9


def test_upright_charts_come_first_and_unturned():
    tall = np.array([[0, 0], [1, 0], [1, 3], [0, 3]], float)
    placed = check([tall * 2, tall], [False, True], 0.01)
    np.testing.assert_allclose(placed[1].min(axis=0), 0.01, atol=0.01)


def test_where_many_charts_leave_no_room_the_gutter_gives_way():
    random = np.random.default_rng(0)
    outlines = [polygon(random, 1) for _ in range(40)]
    placed = [placing(outline) for placing, outline in zip(pack(outlines, [False] * 40, 0.1), outlines, strict=True)]
    centres = np.stack([corners.mean(axis=0) for corners in placed])
    assert KDTree(centres).query(centres, k=2)[0][:, 1].min() > 0
    assert min(map(area, placed)) > 0
    assert np.concatenate(placed).min() >= 0
    assert np.concatenate(placed).max() <= 1


def test_a_chart_without_area_is_placed_too():
    line = np.array([[0, 0], [1, 0], [2, 0]], float)
    check([line, np.array([[0, 0], [1, 0], [0, 1]], float)], [False, False], 0.01)
    for placing in pack([line, np.zeros((3, 2))], [False, False], 0.01):
        assert np.isfinite(placing(line)).all()


def test_the_same_charts_get_the_same_places():
    random = np.random.default_rng(5)
    outlines = [polygon(random, size) for size in (1, 0.5, 0.5, 0.2)]
    for one, two in zip(pack(outlines, [False] * 4, 0.01), pack(outlines, [False] * 4, 0.01), strict=True):
        assert (one.turn == two.turn).all()
        assert (one.shift == two.shift).all()
        assert one.scale == two.scale
