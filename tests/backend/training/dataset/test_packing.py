import io

import numpy as np
import pytest
from headstitch.backend.training.dataset import packing
from PIL import Image


def directions(count=200_000):
    normals = np.random.default_rng(0).normal(size=(count, 3))
    axes = np.concatenate([np.eye(3), -np.eye(3)])
    corners = np.stack(np.meshgrid(*[[-1, 1]] * 3), -1).reshape(-1, 3)
    normals = np.concatenate([normals, axes, corners])
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


def test_normals_are_off_by_less_than_a_degree_and_axes_by_nothing():
    normals = directions()
    back = packing.unpack_normals(packing.pack_normals(normals))
    angle = np.degrees(2 * np.arcsin(np.linalg.norm(back - normals, axis=1) / 2))
    assert angle.max() < 0.96
    assert angle.mean() < 0.34
    np.testing.assert_allclose(back[-14:-8], normals[-14:-8], atol=1e-7)
    np.testing.assert_allclose(np.linalg.norm(back, axis=1), 1, atol=1e-6)


def test_no_normal_stays_none():
    normals = np.array([[0, 0, 0], [0, 0, 3.0], [0, 0, 0]])
    np.testing.assert_array_equal(
        packing.unpack_normals(packing.pack_normals(normals)), [[0, 0, 0], [0, 0, 1], [0, 0, 0]]
    )


def test_places_distances_and_depth_keep_their_bounds():
    random = np.random.default_rng(1)
    places = np.concatenate([random.uniform(-0.5, 0.5, (1000, 3)), [[0.5, -0.5, 0]]])
    assert np.abs(packing.unpack_places(packing.pack_places(places)) - places).max() < 7.7e-6
    distances = random.uniform(-1, 1, 1000)
    assert np.abs(packing.unpack_distances(packing.pack_distances(distances)) - distances).max() < 1.54e-5
    depth = random.uniform(0.6, 60.0, (32, 32)).astype(np.float32)
    depth[3] = np.inf
    back = packing.unpack_depth(packing.pack_depth(depth))
    assert np.isinf(back[3]).all()
    assert np.abs(np.delete(back, 3, 0) - np.delete(depth, 3, 0)).max() < 4.9e-4


@pytest.mark.parametrize("value", [0.51, -0.6, np.nan, np.inf])
def test_what_has_no_room_is_refused(value):
    with pytest.raises(ValueError, match="within"):
        packing.pack_places(np.array([[0, value, 0]]))


@pytest.mark.parametrize("value", [64.1, -0.1, np.nan, -np.inf])
def test_what_is_no_depth_is_refused(value):
    with pytest.raises(ValueError, match="depth"):
        packing.pack_depth(np.array([[2.0, value]]))


def test_planes_come_back_to_the_bit_and_photos_nearly():
    random = np.random.default_rng(2)
    for kind, most in ((np.uint8, 256), (np.uint16, 65536)):
        plane = random.integers(0, most, (24, 12)).astype(kind)
        np.testing.assert_array_equal(packing.decode_picture(packing.encode_plane(plane), plane.shape, kind), plane)
    row, column = np.mgrid[:64, :64]
    image = np.stack([row * 3, column * 3, 255 - row - column], axis=-1).astype(np.uint8)
    back = packing.decode_picture(packing.encode_jpeg(image), image.shape, np.uint8)
    assert np.abs(back.astype(int) - image).mean() < 2
    assert back[0, -1].tolist() == pytest.approx([0, 189, 192], abs=8)  # red first


def test_a_picture_of_another_size_or_kind_is_refused_before_it_is_unpacked():
    plane = np.zeros((8, 8), np.uint8)
    stream = io.BytesIO()
    Image.new("1", (30000, 30000)).save(stream, "PNG")
    for data in (packing.encode_plane(plane), stream.getvalue(), packing.encode_jpeg(np.zeros((8, 8, 3), np.uint8))):
        with pytest.raises(ValueError):
            packing.decode_picture(data, (16, 16), np.uint8)
    with pytest.raises(ValueError, match="I;16"):
        packing.decode_picture(packing.encode_plane(plane), (8, 8), np.uint16)


@pytest.mark.parametrize("cut", [0, 10, 60])
def test_a_picture_cut_short_is_refused(cut):
    data = packing.encode_plane(np.random.default_rng(0).integers(0, 255, (16, 16)).astype(np.uint8))
    with pytest.raises(ValueError, match="PNG"):
        packing.decode_picture(data[:cut], (16, 16), np.uint8)
