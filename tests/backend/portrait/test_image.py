import hashlib
import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from headstitch.backend.errors import PhotoError
from headstitch.backend.portrait import image
from headstitch.backend.portrait.image import load_photo
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

ROWS, COLUMNS = np.mgrid[:48, :64]
PIXELS = np.stack([ROWS * 5, COLUMNS * 4, (ROWS + COLUMNS) * 2], axis=-1).astype(np.uint8)
ALPHA = np.where(COLUMNS < 20, 0, np.where(COLUMNS < 40, 128, 255)).astype(np.uint8)


def saved(tmp_path, picture, name, **options):
    path = tmp_path / name
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(path, **options)
    return path


def sentence(source) -> str:
    with pytest.raises(PhotoError) as caught:
        load_photo(source)
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")
    return text


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif"])
def test_lossless_files_come_back_exactly(tmp_path, name):
    path = saved(tmp_path, PIXELS, name, **({"lossless": True} if name == "a.webp" else {}))
    photo = load_photo(path)
    np.testing.assert_array_equal(photo.pixels, PIXELS)
    assert photo.alpha is None
    assert photo.scale == 1
    assert photo.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_jpeg_comes_back_closely(tmp_path):
    photo = load_photo(saved(tmp_path, PIXELS, "a.jpg", quality=95))
    assert np.abs(photo.pixels.astype(int) - PIXELS).mean() < 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_makes_it_upright(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = load_photo(saved(tmp_path, PIXELS, "a.png", exif=exif)).pixels
    stored = Image.fromarray(PIXELS)
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # Pillow's transpositions
    expected = stored if orientation == 1 else stored.transpose(Image.Transpose(undo[orientation]))
    np.testing.assert_array_equal(upright, np.asarray(expected))


def test_damaged_exif_is_a_warning(tmp_path):
    data = io.BytesIO()
    Image.fromarray(PIXELS).save(data, "JPEG", exif=b"Exif\0\0MM\0\x2a\xff\xff\xff\xff garbage")
    (tmp_path / "a.jpg").write_bytes(data.getvalue())
    assert load_photo(tmp_path / "a.jpg").pixels.shape == (48, 64, 3)


def test_grey_becomes_three_equal_channels(tmp_path):
    pixels = load_photo(saved(tmp_path, PIXELS[..., 0], "a.png")).pixels
    np.testing.assert_array_equal(pixels, np.repeat(PIXELS[..., :1], 3, axis=2))


def test_one_bit_becomes_black_and_white(tmp_path):
    pixels = load_photo(saved(tmp_path, Image.fromarray(PIXELS[..., 0] > 100), "a.png")).pixels
    np.testing.assert_array_equal(pixels[..., 1], np.where(PIXELS[..., 0] > 100, 255, 0))


def test_cmyk_becomes_rgb(tmp_path):
    pixels = load_photo(saved(tmp_path, Image.fromarray(PIXELS).convert("CMYK"), "a.tif")).pixels
    np.testing.assert_allclose(pixels.astype(int), PIXELS, atol=2)


def test_a_palette_is_looked_up(tmp_path):
    indexed = Image.fromarray(PIXELS).quantize(32)
    pixels = load_photo(saved(tmp_path, indexed, "a.png")).pixels
    np.testing.assert_array_equal(pixels, np.asarray(indexed.convert("RGB")))


@pytest.mark.parametrize("extension", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bits_are_scaled_not_clipped(tmp_path, extension, channels):
    deep = (np.stack([ROWS * 1365, COLUMNS * 1024, (ROWS + COLUMNS) * 500], -1)).astype(np.uint16)
    stored = {1: deep[..., 0], 3: deep[..., ::-1], 4: np.dstack([deep[..., ::-1], np.full_like(ROWS, 65535)])}[channels]
    path = tmp_path / f"a{extension}"
    assert cv2.imwrite(str(path), stored.astype(np.uint16))
    expected = np.repeat(deep[..., :1], 3, axis=2) if channels == 1 else deep
    np.testing.assert_allclose(load_photo(path).pixels, expected / 257, atol=1)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_alpha_shows_grey_beneath_and_is_kept(tmp_path, mode):
    rgba = np.dstack([np.repeat(PIXELS[..., :1], 3, axis=2), ALPHA])
    picture = Image.fromarray(rgba)
    if mode == "P":
        rgba[..., :3] = np.where(ALPHA[..., None] < 255, 0, 200)
        rgba[..., 3] = np.where(ALPHA < 255, 0, 255)
        picture = Image.fromarray(rgba).quantize(4)
    elif mode == "LA":
        picture = picture.convert("LA")
    photo = load_photo(saved(tmp_path, picture, "a.png"))
    weight = rgba[..., 3:] / 255
    np.testing.assert_allclose(photo.pixels, rgba[..., :3] * weight + 128 * (1 - weight), atol=1)
    np.testing.assert_array_equal(photo.alpha, rgba[..., 3])


def test_an_opaque_alpha_is_no_alpha(tmp_path):
    photo = load_photo(saved(tmp_path, np.dstack([PIXELS, np.full_like(ALPHA, 255)]), "a.png"))
    assert photo.alpha is None
    np.testing.assert_array_equal(photo.pixels, PIXELS)


def test_an_embedded_profile_is_converted_to_srgb(tmp_path):
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    swapped = _with_swapped_primaries(lab.tobytes())
    converted = load_photo(saved(tmp_path, PIXELS, "a.png", icc_profile=swapped))
    assert converted.warnings == ()
    # red and blue primaries changed places: so do the channels
    np.testing.assert_allclose(converted.pixels.astype(int), PIXELS[..., ::-1], atol=6)


def _with_swapped_primaries(profile: bytes) -> bytes:
    """An RGB profile whose red and blue primaries changed places, under another name."""
    profile = bytearray(profile.replace(b"s\0R\0G\0B", b"o\0d\0d\0 ").replace(b"sRGB", b"odd "))
    for at in range(132, 132 + 12 * struct.unpack(">I", profile[128:132])[0], 12):
        tag = bytes(profile[at : at + 4])
        profile[at : at + 4] = {b"rXYZ": b"bXYZ", b"bXYZ": b"rXYZ"}.get(tag, tag)
    profile[16:20] = b"RGB "
    profile[36:40] = b"acsp"
    return bytes(profile)


def test_a_broken_profile_is_a_warning(tmp_path):
    photo = load_photo(saved(tmp_path, PIXELS, "a.png", icc_profile=b"not a profile" * 20))
    np.testing.assert_array_equal(photo.pixels, PIXELS)
    assert "colour profile" in photo.warnings[0]


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_a_large_photo_is_reduced_and_says_by_how_much(tmp_path, monkeypatch, name):
    monkeypatch.setattr(image, "MAX_SIDE", 100)
    big = cv2.resize(PIXELS, (640, 480), interpolation=cv2.INTER_CUBIC)
    photo = load_photo(saved(tmp_path, big, name))
    assert photo.pixels.shape == (75, 100, 3)
    assert photo.scale == pytest.approx(100 / 640)
    expected = cv2.resize(big, (100, 75), interpolation=cv2.INTER_AREA)
    assert np.abs(photo.pixels.astype(int) - expected).mean() < 3


def test_arrays_are_taken_and_left_alone():
    rgba = np.dstack([PIXELS, ALPHA])
    for array in (PIXELS, PIXELS[..., 0], rgba):
        before = array.copy()
        photo = load_photo(array)
        assert photo.pixels.shape == PIXELS.shape
        assert not np.shares_memory(photo.pixels, array)
        np.testing.assert_array_equal(array, before)
    np.testing.assert_array_equal(load_photo(PIXELS).pixels, PIXELS)
    assert load_photo(PIXELS).sha256 != load_photo(PIXELS[::-1]).sha256


@pytest.mark.parametrize(
    "array",
    [
        PIXELS.astype(np.float32),
        PIXELS[0],
        PIXELS[..., :2],
        np.zeros((0, 0, 3), np.uint8),
        np.zeros((9, 9, 3), np.uint8),
    ],
)
def test_arrays_of_other_kinds_are_refused(array):
    assert "give uint8" in sentence(array) or "only" in sentence(array)


def test_what_is_no_photo_is_refused_with_what_to_do(tmp_path):
    assert "There is no file" in sentence(tmp_path / "missing.jpg")
    assert "is a folder" in sentence(tmp_path)
    assert "cannot be read" in sentence("a\0b.jpg")
    (tmp_path / "empty.jpg").touch()
    assert "is empty" in sentence(tmp_path / "empty.jpg")
    (tmp_path / "text.jpg").write_text("a text that calls itself a photo\n" * 9)
    assert "is not an image" in sentence(tmp_path / "text.jpg")
    assert "is a GIF" in sentence(saved(tmp_path, PIXELS, "a.gif"))
    (tmp_path / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    assert "HEIC" in sentence(tmp_path / "phone.heic")
    assert "floating" in sentence(saved(tmp_path, PIXELS[..., 0].astype(np.float32), "float.tif"))
    cv2.imwrite(str(tmp_path / "float3.tif"), PIXELS.astype(np.float32))
    assert "floating" in sentence(tmp_path / "float3.tif")
    assert "only 8x6 pixels" in sentence(saved(tmp_path, PIXELS[:6, :8], "tiny.png"))


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
def test_a_truncated_file_is_refused(tmp_path, name):
    path = saved(tmp_path, np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8), name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    assert "damaged or cut short" in sentence(path) or "not an image" in sentence(path) or "TIFF" in sentence(path)


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    for width, height in ((20_000, 10_000), (12_500, 12_500), (60_000, 60_000)):
        header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        bomb = (
            b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", header)
            + chunk(b"IDAT", zlib.compress(bytes(999)))
            + chunk(b"IEND", b"")
        )
        (tmp_path / "bomb.png").write_bytes(bomb)
        assert "million we decode" in sentence(tmp_path / "bomb.png")


def test_a_file_of_too_many_bytes_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(image, "MAX_BYTES", 1000)
    path = saved(tmp_path, PIXELS, "a.tif")
    assert "MB" in sentence(path)


def test_nothing_of_the_files_metadata_is_kept(tmp_path):
    exif = Image.Exif()
    exif.get_ifd(0x8825)[2] = (48.0, 51.0, 29.6)  # GPS latitude
    photo = load_photo(saved(tmp_path, PIXELS, "a.jpg", exif=exif))
    assert set(vars(photo)) == {"pixels", "alpha", "scale", "sha256", "warnings"}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF"]), seed=st.integers(0, 2**32 - 1), spots=st.integers(1, 12))
def test_spoiled_files_give_a_photo_or_a_sentence(tmp_path, kind, seed, spots):
    data = io.BytesIO()
    options = {"compression": "tiff_lzw"} if kind == "TIFF" else {}
    Image.fromarray(PIXELS).save(data, kind, exif=Image.Exif(), **options)
    random = np.random.default_rng(seed)
    spoiled = np.frombuffer(data.getvalue(), np.uint8).copy()
    # the first bytes decide the most
    places = (len(spoiled) * random.random(spots) ** 3).astype(int)
    spoiled[places] = random.integers(0, 256, spots)
    path = tmp_path / "spoiled"
    path.write_bytes(spoiled.tobytes()[: len(spoiled) - int(random.integers(0, 3)) * 20])
    try:
        photo = load_photo(path)
    except PhotoError as error:
        assert "\n" not in str(error)  # noqa: PT017 - both outcomes are right
    else:
        assert photo.pixels.dtype == np.uint8
        assert photo.pixels.shape[2] == 3
