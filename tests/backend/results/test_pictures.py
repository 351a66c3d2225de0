import io

import numpy as np
import pytest
from headstitch.backend.camera import Camera
from headstitch.backend.errors import ResultsError
from headstitch.backend.results import provenance
from headstitch.backend.results.pictures import decode_png, encode_png, preview, sheet, write_turntable
from PIL import Image


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_png_keeps_every_pixel_and_is_the_same_each_time():
    image = noise(31, 47)
    data = encode_png(image)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data), formats=["PNG"])), image)
    assert np.array_equal(decode_png(data), image)
    assert encode_png(image) == data


def test_png_says_that_it_was_generated():
    picture = Image.open(io.BytesIO(encode_png(noise(4, 4))), formats=["PNG"])
    picture.load()
    assert picture.info["Description"] == provenance.SENTENCE
    assert "digitalsourcetype/compositeSynthetic" in picture.info["XML:com.adobe.xmp"]


def test_xmp_is_well_formed():
    from xml.etree import ElementTree

    root = ElementTree.fromstring(provenance.xmp().decode("utf-8-sig"))
    assert root.tag == "{adobe:ns:meta/}xmpmeta"


@pytest.mark.parametrize("data", [b"", b"GIF89a", encode_png(noise(9, 9))[:60]])
def test_what_is_no_png_is_refused(data):
    with pytest.raises(ValueError):
        decode_png(data)


def test_sheet_puts_images_row_by_row():
    images = [np.full((2, 3, 3), value, np.uint8) for value in (1, 2, 3)]
    tiled = sheet(images, columns=2, background=(9, 9, 9))
    assert tiled[..., 0].tolist() == [[1, 1, 1, 2, 2, 2]] * 2 + [[3, 3, 3, 9, 9, 9]] * 2
    assert sheet(images).shape == (4, 6, 3)


def test_preview_shows_the_photo_first_and_fits_the_page(painted, tilted):
    photo = np.zeros((512, 512, 3), np.uint8)
    photo[:] = (200, 10, 20)
    image = preview(painted, tilted, photo)
    assert image.shape == (512, 1024, 3)
    assert (image[:256, :256] == (200, 10, 20)).all()
    tiles = image.reshape(2, 256, 4, 256, 3).swapaxes(1, 2).reshape(8, -1)
    assert len({tile.tobytes() for tile in tiles}) == 8
    assert preview(painted, tilted).shape == (512, 768, 3)


def test_preview_shows_the_side_that_the_photo_shows(painted):
    right, left = (preview(painted, Camera.from_angles(yaw)) for yaw in (0.3, -0.3))
    face = np.array([[205, 160, 135]])
    # In the three-quarter view from the viewer's right the hair is in the right half.
    for image, half in ((right, slice(384, 512)), (left, slice(256, 384))):
        dark = (image[:256, 256:512].astype(int).sum(2) < face.sum() / 2).nonzero()[1].mean() + 256
        assert half.start < dark < half.stop


def test_turntable_has_all_frames_loops_and_is_marked(tmp_path):
    path = write_turntable([noise(32, 32, seed) for seed in range(5)], tmp_path / "new" / "turn.webp", fps=25)
    picture = Image.open(path)
    assert (picture.n_frames, picture.info["loop"]) == (5, 0)
    picture.seek(1)
    picture.load()
    assert picture.info["duration"] == 40
    assert b"Generated content" in path.read_bytes()
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_turntable_without_frames_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(ResultsError, match="at least one frame"):
        write_turntable([], tmp_path / "turn.webp")
    assert list(tmp_path.iterdir()) == []


def test_unwritable_place_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultsError, match="a file stands in its way"):
        write_turntable([noise(8, 8)], tmp_path / "file" / "turn.webp")
