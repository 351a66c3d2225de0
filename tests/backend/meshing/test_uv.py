import numpy as np
import pytest
from headstitch.backend.meshing.surface import extract_surface
from headstitch.backend.meshing.uv import unwrap
from headstitch.backend.options import Options
from headstitch.backend.template.morphable import load_morphable
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def charts(mesh, uvs):
    """(F,) the chart of each triangle: triangles that share an edge with the same UVs on both sides."""
    corner = np.arange(mesh.faces.size).reshape(-1, 3)
    start, end = corner.ravel(), np.roll(corner, -1, axis=1).ravel()
    ids = mesh.faces.ravel()
    swap = ids[start] > ids[end]
    low, high = np.where(swap, end, start), np.where(swap, start, end)
    flat = np.round(uvs.reshape(-1, 2).astype(np.float64) * 2**20).astype(np.int64)
    key = np.concatenate([ids[low, None], ids[high, None], flat[low], flat[high]], axis=1)
    _, edge = np.unique(key, axis=0, return_inverse=True)
    triangle = np.repeat(np.arange(len(mesh.faces)), 3)
    size = len(mesh.faces)
    order = np.argsort(edge.ravel(), kind="stable")
    same = edge.ravel()[order][1:] == edge.ravel()[order][:-1]
    ends = triangle[order][:-1][same], triangle[order][1:][same]
    return connected_components(coo_array((np.ones(same.sum()), ends), shape=(size, size)), directed=False)[1]


def owners(uvs, size):
    """(size, size, 2) int: how many triangles hold each texel's centre strictly inside, and the last of them."""
    found = np.zeros((size, size, 2), np.int64)
    for number, corners in enumerate(uvs.astype(np.float64) * size - 0.5):
        low = np.ceil(corners.min(axis=0)).astype(int)
        high = np.floor(corners.max(axis=0)).astype(int) + 1
        x, y = np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1]))
        sides = []
        for one, two in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            sides.append((two[0] - one[0]) * (y - one[1]) - (two[1] - one[1]) * (x - one[0]))
        inside = (np.min(sides, axis=0) > 1e-9) | (np.max(sides, axis=0) < -1e-9)
        found[y[inside], x[inside]] += [1, 0]
        found[y[inside], x[inside], 1] = number
    return found


def areas(corners):
    """(F,) of triangles (F, 3, 2 or 3)."""
    one, two = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    if corners.shape[2] == 2:
        return (one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0]) / 2
    return np.linalg.norm(np.cross(one, two), axis=1) / 2


def check_atlas(mesh, uvs, size):
    assert uvs.shape == (len(mesh.faces), 3, 2)
    assert uvs.dtype == np.float32
    assert np.isfinite(uvs).all()
    assert uvs.min() >= 0
    assert uvs.max() <= 1
    assert (owners(uvs, size)[..., 0] > 1).sum() == 0


def test_head_has_an_atlas_without_overlaps(head_mesh, head_uvs):
    check_atlas(head_mesh[0], head_uvs, 512)


def test_charts_are_not_mirrored(head_mesh, head_uvs):
    """Seen from outside, so that text on the skin would read the right way; slivers may have lost their area."""
    signed = areas(head_uvs.astype(np.float64))
    assert signed[signed < 0].sum() > -1e-6 * signed.sum()


def test_head_has_few_charts(head_mesh, head_uvs):
    assert charts(head_mesh[0], head_uvs).max() + 1 <= 12


def test_the_whole_face_lies_in_one_chart(head_mesh, head_uvs):
    """All triangles around the landmarks from brows to mouth and between the outer corners of the eyes."""
    model = load_morphable()
    landmarks = model.landmarks(model.mean)
    brows, mouth, left, right = landmarks[105, 1], landmarks[17, 1], landmarks[263, 0], landmarks[33, 0]
    middle = head_mesh[0].vertices[head_mesh[0].faces].mean(axis=1)
    face = (middle[:, 1] < brows) & (middle[:, 1] > mouth) & (middle[:, 0] < left) & (middle[:, 0] > right)
    face &= middle[:, 2] > 0.08
    assert face.sum() > 200
    assert len(np.unique(charts(head_mesh[0], head_uvs)[face])) == 1


def test_the_face_gets_at_least_the_texels_of_the_back(head_mesh, head_uvs):
    mesh = head_mesh[0]
    middle = mesh.vertices[mesh.faces].mean(axis=1)
    normal = np.cross(*(mesh.vertices[mesh.faces[:, k]] - mesh.vertices[mesh.faces[:, 0]] for k in (1, 2)))
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    upper = np.abs(middle[:, 1]) < 0.2
    skin, texels = areas(mesh.vertices[mesh.faces].astype(np.float64)), np.abs(areas(head_uvs.astype(np.float64)))
    face, back = (
        texels[part].sum() / skin[part].sum() for part in (upper & (normal[:, 2] > 0.5), upper & (normal[:, 2] < -0.5))
    )
    assert face >= back


def test_the_face_stands_upright(head_mesh, head_uvs):
    mesh = head_mesh[0]
    middle, uv = mesh.vertices[mesh.faces].mean(axis=1), head_uvs.mean(axis=1)
    face = (middle[:, 2] > 0.12) & (np.abs(middle[:, 1]) < 0.15)
    slope = np.linalg.lstsq(np.c_[middle[face][:, :2], np.ones(face.sum())], uv[face], rcond=None)[0]
    assert slope[1, 1] > abs(slope[1, 0])  # up on the head is up in the texture
    assert slope[0, 0] > abs(slope[0, 1])  # and right is right


def test_charts_keep_their_distance(head_mesh, head_uvs):
    """No two charts come within three texels of each other, so that bilinear look-up at a seam meets its own gutter."""
    found = owners(head_uvs, 512)
    chart = np.where(found[..., 0] > 0, charts(head_mesh[0], head_uvs)[found[..., 1]] + 1, 0)
    chart = np.pad(chart, 3)  # what leaves the texture on one side does not come back on the other
    for rows in range(-3, 4):
        for columns in range(4):
            other = np.roll(chart, (rows, columns), (0, 1))
            assert ((other != chart) & (other > 0) & (chart > 0)).sum() == 0


def test_the_same_mesh_gets_the_same_atlas(head_mesh, head_uvs):
    np.testing.assert_array_equal(unwrap(head_mesh[0], 512), head_uvs)


@pytest.mark.parametrize(("neck", "faces"), [("open", 4000), ("closed", 500), ("open", 500)])
def test_open_and_small_heads_get_an_atlas_too(head_field, neck, faces):
    mesh, _ = extract_surface(head_field, Options(resolution=64, faces=faces, neck=neck))
    uvs = unwrap(mesh, 256)
    check_atlas(mesh, uvs, 256)
    assert charts(mesh, uvs).max() + 1 <= 12


def test_what_is_no_head_gets_an_atlas_too(balls):
    """A ball and two balls that touch nothing: the interface promises no face."""
    for parts in ([((0, 0, 0), 0.3, 1)], [((-0.2, 0, 0), 0.25, 1), ((0.3, 0.1, 0), 0.15, 1)]):
        mesh, _ = extract_surface(balls(parts), Options(resolution=48, faces=1000))
        check_atlas(mesh, unwrap(mesh, 256), 256)
