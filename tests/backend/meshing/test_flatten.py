import numpy as np
import pytest
from headstitch.backend.meshing.flatten import _borders, _Edges, _mend, crossings, flatten


def grid(rows, columns, height=lambda x, y: 0 * x):
    """Vertices (V, 3) and faces (F, 3) of the height field over a square of 1 by 1."""
    y, x = (axis.ravel() for axis in np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, columns), indexing="ij"))
    corner = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    lower = np.stack([corner, corner + 1, corner + columns], axis=1)
    upper = np.stack([corner + 1, corner + columns + 1, corner + columns], axis=1)
    return np.stack([x, y, height(x, y)], axis=1), np.concatenate([lower, upper])


def tube(around, along):
    """An open cylinder."""
    angle = np.linspace(0, 2 * np.pi, around, endpoint=False)
    step, height = np.meshgrid(np.arange(around), np.arange(along))
    vertices = np.stack([np.cos(angle)[step], np.sin(angle)[step], 0.2 * height], axis=2).reshape(-1, 3)
    one = (np.arange(along - 1)[:, None] * around + np.arange(around)).ravel()
    two = (np.arange(along - 1)[:, None] * around + (np.arange(around) + 1) % around).ravel()
    return vertices, np.concatenate(
        [np.stack([one, two, one + around], 1), np.stack([two, two + around, one + around], 1)]
    )


def signed(points, faces):
    one, two = points[faces[:, 1]] - points[faces[:, 0]], points[faces[:, 2]] - points[faces[:, 0]]
    return (one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0]) / 2


def lengths(points, faces):
    return np.linalg.norm(points[faces] - points[np.roll(faces, -1, axis=1)], axis=2)


def used(vertices, faces):
    """Without the vertices that no triangle uses."""
    names, faces = np.unique(faces, return_inverse=True)
    return vertices[names], faces.reshape(-1, 3)


def test_what_can_be_unrolled_keeps_its_lengths():
    """Half of a cylinder that stands askew: developable, so that nothing need stretch."""
    vertices, faces = grid(20, 40)
    angle = np.pi * vertices[:, 0]
    rolled = np.stack([np.cos(angle), vertices[:, 1] * 2, np.sin(angle)], axis=1)
    askew = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    disc = flatten(rolled @ (askew * np.linalg.det(askew)), faces[:, ::-1])
    np.testing.assert_allclose(lengths(disc.points, faces), lengths(rolled, faces), rtol=0.02)


def test_what_is_flat_stays_as_it_is():
    vertices, faces = grid(6, 9)
    disc = flatten(vertices, faces)
    np.testing.assert_allclose(lengths(disc.points, faces), lengths(vertices, faces), rtol=1e-9)
    assert sorted(disc.border) == [k for k in range(54) if k < 9 or k >= 45 or k % 9 in (0, 8)]


@pytest.mark.parametrize("height", [0.5, 2.0])
def test_bumps_neither_flip_nor_overlap(height):
    """Two bumps, the higher one four times as steep as wide: as an ear is to the side of a head."""
    vertices, faces = grid(
        40,
        40,
        lambda x, y: (
            height * (np.exp(-60 * ((x - 0.3) ** 2 + (y - 0.5) ** 2)) - np.exp(-60 * ((x - 0.7) ** 2 + (y - 0.4) ** 2)))
        ),
    )
    disc = flatten(vertices, faces)
    assert (signed(disc.points, faces) > 0).all()
    assert len(crossings(disc.points[disc.border])) == 0


def test_mending_a_straight_border_leaves_its_ears_an_area():
    """A triangle with all corners on the border, where it is mended: on a straight line it would have none."""
    vertices, faces = grid(12, 12)
    ear = np.append(vertices, [[0.5, -0.02, 0]], axis=0)
    bottom = np.nonzero((vertices[:, 1] == 0) & (np.abs(vertices[:, 0] - 0.5) < 0.05))[0]
    faces = np.append(faces, [[len(vertices), bottom[1], bottom[0]]], axis=0)
    edges = _Edges.of(ear, faces)
    border = _borders(faces, len(ear))[0]
    image = ear[:, 0] + 1j * ear[:, 1]
    image[len(vertices)] += 0.05j  # the ear is folded in
    assert (signed(np.stack([image.real, image.imag], 1), faces) < 0).any()
    mended = _mend(image, edges, border)
    assert (signed(np.stack([mended.real, mended.imag], 1), faces) > 1e-7).all()


def test_mending_leaves_no_dent():
    """One vertex of an uneven flat grid thrown over its neighbours comes back to where it was, or nearly."""
    random = np.random.default_rng(0)
    vertices, faces = grid(9, 9)
    inner = ((vertices > 0) & (vertices < 1))[:, :2].all(axis=1)
    vertices[inner, :2] += random.uniform(-0.04, 0.04, (inner.sum(), 2))
    image = vertices[:, 0] + 1j * vertices[:, 1]
    thrown = image.copy()
    thrown[40] += 0.2
    mended = _mend(thrown, _Edges.of(vertices, faces), _borders(faces, len(vertices))[0])
    assert np.abs(mended - image).max() < 0.002


def test_a_small_hole_does_not_matter_but_stays_free():
    """A hole is not covered by the triangles around it."""
    vertices, faces = grid(21, 21)
    middle = vertices[faces].mean(axis=1)[:, :2]
    vertices, faces = used(vertices, faces[np.linalg.norm(middle - 0.5, axis=1) > 0.1])
    disc = flatten(vertices, faces)
    assert signed(disc.points, faces).sum() == pytest.approx(signed(vertices[:, :2], faces).sum(), rel=1e-3)


def test_one_triangle_is_laid_out_even_without_area():
    for corners in ([[0, 0, 0], [1, 0, 0], [0.2, 0.3, 0.4]], [[0, 0, 0], [1, 1, 1], [2, 2, 2]], np.zeros((3, 3))):
        vertices = np.array(corners, float)
        disc = flatten(vertices, np.array([[0, 1, 2]]))
        np.testing.assert_allclose(
            lengths(disc.points, np.array([[0, 1, 2]])), lengths(vertices, np.array([[0, 1, 2]]))
        )


def test_what_is_no_disc_is_refused():
    ball = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], float)
    closed = np.array([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]])
    assert flatten(ball, closed) is None
    assert flatten(*tube(24, 12)) is None


def test_a_disc_that_no_patch_can_mend_is_refused_and_no_error():
    """So small and rough that the patches reach around the whole border."""
    random = np.random.default_rng(0)
    for _ in range(200):
        vertices, faces = grid(3, 3)
        vertices += random.normal(size=vertices.shape) * 0.6
        disc = flatten(vertices, faces)
        assert disc is None or (signed(disc.points, faces) > 0).all()


def test_the_same_disc_is_flattened_to_the_same_bits():
    vertices, faces = grid(30, 30, lambda x, y: np.sin(7 * x) * np.cos(6 * y))
    np.testing.assert_array_equal(flatten(vertices, faces).points, flatten(vertices, faces).points)


def test_crossings_are_named_and_neighbours_are_none():
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)
    assert len(crossings(square)) == 0
    np.testing.assert_array_equal(crossings(square[[0, 1, 3, 2]]), [1, 3])  # a bow tie
    notch = np.array([[0, 0], [2, 0], [2, 1], [1, 0], [0, 1]], float)  # touches its own side
    np.testing.assert_array_equal(crossings(notch), [0, 2, 3])
