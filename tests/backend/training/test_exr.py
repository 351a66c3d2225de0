"""Reading Blender's passes out of OpenEXR files, against one that is put together here by the layout's own words."""

import struct

import numpy as np
import pytest
from headstitch.backend.training.exr import read_layers

WIDTH, HEIGHT = 5, 3


def picture(compression: int = 0, kinds: tuple[int, ...] = (2, 1)) -> tuple[bytes, dict[str, np.ndarray]]:
    """A file of channels ``A.Z`` and ``B.X``, of the kinds (1 half, 2 float), whose rows are stored last row first."""
    random = np.random.default_rng(1)
    types = {1: "<f2", 2: "<f4", 7: "<f4"}
    names = ("A.Z", "B.X")
    values = {
        name: random.normal(size=(HEIGHT, WIDTH)).astype(types[kind]) for name, kind in zip(names, kinds, strict=True)
    }

    def attribute(name: str, kind: str, data: bytes) -> bytes:
        return name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<I", len(data)) + data

    listed = b"".join(
        name.encode() + b"\0" + struct.pack("<iIii", kind, 0, 1, 1) for name, kind in zip(names, kinds, strict=True)
    )
    window = struct.pack("<4i", 2, 10, 2 + WIDTH - 1, 10 + HEIGHT - 1)
    header = struct.pack("<II", 20000630, 2)
    header += attribute("channels", "chlist", listed + b"\0")
    header += attribute("compression", "compression", bytes([compression]))
    header += attribute("dataWindow", "box2i", window) + b"\0"
    rows = [b"".join(values[name][row].tobytes() for name in names) for row in range(HEIGHT)]
    start, long = len(header) + 8 * HEIGHT, 8 + len(rows[0])
    offsets = [start + long * (HEIGHT - 1 - row) for row in range(HEIGHT)]
    blocks = [struct.pack("<ii", 10 + row, len(rows[row])) + rows[row] for row in reversed(range(HEIGHT))]
    return header + struct.pack(f"<{HEIGHT}Q", *offsets) + b"".join(blocks), values


def test_channels_come_with_their_rows_from_the_top(tmp_path):
    content, values = picture()
    (tmp_path / "a.exr").write_bytes(content)
    layers = read_layers(tmp_path / "a.exr")
    assert set(layers) == {"A.Z", "B.X"}
    for name, value in values.items():
        assert layers[name].dtype == np.float32
        np.testing.assert_array_equal(layers[name], value.astype(np.float32))


def test_a_file_that_ends_too_early_is_refused_wherever_it_is_cut(tmp_path):
    content, _ = picture()
    for length in range(len(content)):
        (tmp_path / "a.exr").write_bytes(content[:length])
        with pytest.raises(ValueError):
            read_layers(tmp_path / "a.exr")


def test_what_is_not_such_a_picture_is_refused(tmp_path):
    path = tmp_path / "a.exr"
    for content, said in (
        (b"\x89PNG" + bytes(40), "no OpenEXR"),
        (picture(compression=3)[0], "compressed"),
        (picture(kinds=(7, 2))[0], "unknown kind"),
        (picture()[0].replace(struct.pack("<4i", 2, 10, 6, 12), struct.pack("<4i", 2, 10, 1 << 20, 12)), "pixels"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=said):
            read_layers(path)
