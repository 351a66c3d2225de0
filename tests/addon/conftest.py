"""A real Blender (the bpy package) with this checkout as its extension, and small head folders to import."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from headstitch.backend.camera import Camera

CHECKOUT = Path(__file__).parents[2]
EXTENSION = "bl_ext.user_default.headstitch"
PIXELS = np.random.default_rng(1).integers(0, 256, (16, 8, 3), np.uint8)  # row 0 at the top
RECORD = {
    "schema": 1,
    "product": "headstitch",
    "version": "0.1.0",
    "generated_content": True,
    "photo": {"name": "Zoë – 頭.jpg", "sha256": "ab" * 32, "width": 1024},
    "quality": [{"name": "holes", "value": 1}],
}


@pytest.fixture(scope="session")
def extension() -> Iterator[ModuleType]:
    """The bpy module of a Blender in which this checkout is linked as an extension and switched on."""
    try:
        import bpy
    except ImportError as error:
        pytest.skip(f"no Blender: the bpy package cannot be imported ({error})")
    import addon_utils

    home = Path(os.environ["BLENDER_USER_RESOURCES"]) / "extensions" / "user_default"
    home.mkdir(parents=True, exist_ok=True)
    link = home / "headstitch"
    if not link.exists():
        link.symlink_to(CHECKOUT, target_is_directory=True)
    assert addon_utils.enable(EXTENSION, default_set=False) is not None, "the extension could not be switched on"
    yield bpy
    addon_utils.disable(EXTENSION, default_set=False)  # what stays registered can hang bpy at exit


@pytest.fixture
def bpy(extension: ModuleType) -> ModuleType:
    """Blender with its factory scene: Cube (active), Light and Camera."""
    extension.ops.wm.read_homefile(use_factory_startup=True, use_empty=False)
    return extension


@pytest.fixture
def camera() -> Camera:
    """From the right, above and rolled, with a principal point off the middle: no two axes may be swapped unseen."""
    seen = Camera.from_angles(yaw=0.45, pitch=0.2, roll=0.15)
    intrinsics = seen.intrinsics.copy()
    intrinsics[:2, 2] = 0.54, 0.47
    return Camera(seen.cam2world, intrinsics)


@pytest.fixture
def arrays(camera: Camera) -> dict[str, np.ndarray]:
    """What head.npz holds: a lopsided head with a nose (+z) and one ear (+x), open at the neck."""
    vertices, faces, corner_uvs = lopsided_head()
    return {
        "vertices": vertices,
        "faces": faces,
        "corner_uvs": corner_uvs,
        "cam2world": camera.cam2world,
        "intrinsics": camera.intrinsics,
    }


@pytest.fixture
def write_head(tmp_path: Path, arrays: dict[str, np.ndarray]) -> Callable[..., Path]:
    """Writes a head folder and returns it: ``write_head(name, vertices=..., faces=None)``, None leaves an array out."""

    def write(name: str = "ada", **changes: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        kept = {key: array for key, array in (arrays | changes).items() if array is not None}
        np.savez(folder / "head.npz", **kept)
        (folder / "albedo.png").write_bytes(png(PIXELS))
        (folder / "head.json").write_text(json.dumps(RECORD, ensure_ascii=False), encoding="utf-8")
        return folder

    return write


@pytest.fixture
def write_png() -> Callable[[Path, np.ndarray], int]:
    """``write_png(path, picture)`` writes (H, W, 3) uint8."""
    return lambda path, picture: path.write_bytes(png(picture))


@pytest.fixture
def pixels() -> np.ndarray:
    """(16, 8, 3) uint8 sRGB, row 0 at the top: what albedo.png holds."""
    return PIXELS


@pytest.fixture
def record() -> dict[str, Any]:
    """What head.json holds."""
    return RECORD


def lopsided_head(rings: int = 24, columns: int = 32) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (V, 3), triangles (F, 3), corner UVs (F, 3, 2); welded at the UV seam, one vertex at the crown."""
    up = np.linspace(0, 1, rings, endpoint=False)
    radius = np.where(up < 0.3, 0.09, 0.09 + 0.06 * np.sqrt(np.clip((up - 0.3) * (1.05 - up) * 7.1, 0, 1)))
    turn = 2 * np.pi * np.arange(columns) / columns
    x = 0.02 + radius[:, None] * np.sin(turn)
    z = -0.05 + 1.2 * radius[:, None] * np.cos(turn)
    y = np.broadcast_to(-0.3 + 0.55 * up[:, None], x.shape)
    points = np.stack([x, y, z], axis=-1)
    points[14, 0, 2] += 0.06  # nose
    points[13, columns // 4, 0] += 0.05  # ear
    vertices = np.concatenate([points.reshape(-1, 3), [[0.02, 0.26, -0.05]]]).astype(np.float32)
    faces, uvs = [], []
    for ring in range(rings):
        for column in range(columns):
            low, high = ring / rings, (ring + 1) / rings
            left, right = column / columns, (column + 1) / columns
            a, b = ring * columns + column, ring * columns + (column + 1) % columns
            if ring == rings - 1:
                faces.append([a, b, rings * columns])
                uvs.append([[left, low], [right, low], [left, high]])
                continue
            faces += [[a, b, b + columns], [a, b + columns, a + columns]]
            uvs += [
                [[left, low], [right, low], [right, high]],
                [[left, low], [right, high], [left, high]],
            ]
    return vertices, np.array(faces, np.int32), np.array(uvs, np.float32)


def png(image: np.ndarray) -> bytes:
    """(H, W, 3) uint8 as a PNG, by hand: what is compared comes from no library under test."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width, _ = image.shape
    rows = b"".join(b"\0" + row.tobytes() for row in image)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
