import numpy as np
import pytest
from headstitch.backend.meshing.atlas import fill_gaps, rasterise


def fan(count=7, size=64):
    """A disc of triangles about the middle of the atlas: faces (F, 3) and corner UVs (F, 3, 2)."""
    turn = np.linspace(0, 2 * np.pi, count, endpoint=False) + 0.3
    rim = 0.5 + 0.43 * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    points = np.concatenate([[[0.5, 0.5]], rim])
    at = np.arange(count)
    faces = np.stack([np.zeros(count, int), 1 + at, 1 + (at + 1) % count], axis=1)
    return faces.astype(np.int32), points[faces].astype(np.float32)


def centres(texels, size):
    """(N, 2) UVs of the texels' centres, the bottom left corner of the texture being (0, 0)."""
    return np.stack([(texels.column + 0.5) / size, 1 - (texels.row + 0.5) / size], axis=1)


def sides(corners, point):
    """The three signed distances of a point to a triangle's sides, positive inside."""
    signed = []
    turn = np.sign(np.cross(corners[1] - corners[0], corners[2] - corners[0]))
    for one, two in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        signed.append(turn * np.cross(two - one, point - one) / np.linalg.norm(two - one))
    return np.array(signed)


@pytest.mark.parametrize("size", [64, 100])
def test_places_at_texels_are_those_of_a_direct_solution(size):
    """Each texel's centre, solved for its barycentric weights in its own face, in double precision."""
    faces, uvs = fan()
    places = np.random.default_rng(0).standard_normal((faces.max() + 1, 3)).astype(np.float32)
    texels = rasterise(faces, uvs, size)
    gathered = texels.gather(places)
    assert gathered.shape == (len(texels.row), 3)
    assert gathered.dtype == np.float32
    face = {tuple(corners): number for number, corners in enumerate(faces.tolist())}
    for where, corners, found in zip(centres(texels, size), texels.corners.tolist(), gathered, strict=True):
        triangle = uvs[face[tuple(corners)]].astype(np.float64)
        weights = np.linalg.solve(np.c_[triangle, np.ones(3)].T, [*where, 1.0])
        if (np.abs(weights - 0.5) < 0.9).all():  # a hair outside of slivers the weights are clipped
            np.testing.assert_allclose(found, weights @ places[corners], rtol=0, atol=1e-4)


def test_every_texel_in_a_face_is_found_once_and_none_far_from_all():
    """A texel's centre inside of the charts is covered; one covered is inside or at most a texel's diagonal away."""
    size = 96
    faces, uvs = fan()
    texels = rasterise(faces, uvs, size)
    covered = np.zeros((size, size), int)
    np.add.at(covered, (texels.row, texels.column), 1)
    assert covered.max() == 1
    for row in range(0, size, 3):
        for column in range(0, size, 3):
            where = np.array([(column + 0.5) / size, 1 - (row + 0.5) / size])
            inside = max(sides(each.astype(np.float64), where).min() for each in uvs)
            if inside > 0.1 / size:
                assert covered[row, column] == 1
            if covered[row, column]:
                assert inside > -np.sqrt(2) / size


def test_row_0_is_the_top_of_the_texture():
    uvs = np.float32([[[0.1, 0.7], [0.4, 0.7], [0.1, 0.95]]])
    texels = rasterise(np.int32([[0, 1, 2]]), uvs, 100)
    assert 4 <= texels.row.min() <= 6
    assert 29 <= texels.row.max() <= 31
    assert 9 <= texels.column.min() <= 11


def test_weights_sum_to_one_also_on_slivers():
    """A face without area takes its middle; none makes numbers that are no numbers."""
    faces = np.int32([[0, 1, 2], [0, 1, 3]])
    uvs = np.float32([[[0.2, 0.2], [0.8, 0.2], [0.5, 0.2]], [[0.2, 0.5], [0.8, 0.5], [0.5, 0.5 + 1e-6]]])
    texels = rasterise(faces, uvs, 64)
    assert len(texels.row) > 0
    assert np.isfinite(texels.weights).all()
    np.testing.assert_allclose(texels.weights.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("share", [0.001, 0.1, 0.9])
@pytest.mark.parametrize("size", [64, 256])
def test_gaps_are_filled_and_covered_texels_untouched(share, size):
    """What fills the gaps is a mean of covered colours, so it stays between them."""
    rng = np.random.default_rng(5)
    covered = rng.random((size, size)) < share
    covered[size // 3, size // 2] = True
    texture = rng.uniform(0.3, 0.6, (size, size, 3)).astype(np.float32)
    texture[~covered] = -7
    filled = fill_gaps(texture.copy(), covered)
    assert filled.shape == texture.shape
    np.testing.assert_array_equal(filled[covered], texture[covered])
    assert filled[~covered].min() >= 0.3 - 1e-4
    assert filled[~covered].max() <= 0.6 + 1e-4


def test_gaps_take_the_nearest_charts_color():
    """Left half red, right half blue, a gap between: each side of the gap goes on with its own chart's colour."""
    size = 128
    covered = np.zeros((size, size), bool)
    covered[:, :40] = covered[:, 88:] = True
    texture = np.zeros((size, size, 3), np.float32)
    texture[:, :40, 0] = 1
    texture[:, 88:, 2] = 1
    filled = fill_gaps(texture, covered)
    np.testing.assert_allclose(filled[:, 40:43], np.broadcast_to([1, 0, 0], (size, 3, 3)), atol=0.2)
    np.testing.assert_allclose(filled[:, 85:88], np.broadcast_to([0, 0, 1], (size, 3, 3)), atol=0.2)


def test_full_and_empty_textures_stay_as_they_are():
    texture = np.random.default_rng(1).random((32, 32, 3)).astype(np.float32)
    np.testing.assert_array_equal(fill_gaps(texture.copy(), np.ones((32, 32), bool)), texture)
    np.testing.assert_array_equal(fill_gaps(texture, np.zeros((32, 32), bool)), np.zeros_like(texture))


def test_one_covered_texel_gives_the_whole_texture_its_color():
    covered = np.zeros((64, 64), bool)
    covered[10, 20] = True
    filled = fill_gaps(np.where(covered[..., None], np.float32([0.2, 0.4, 0.8]), np.float32(0)), covered)
    np.testing.assert_allclose(filled, np.broadcast_to(np.float32([0.2, 0.4, 0.8]), (64, 64, 3)), atol=1e-5)
