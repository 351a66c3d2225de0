"""Pictures of synthetic heads by Cycles, beside the fast ones of ``views.py``: same poses, lights and damage.

Imports no bpy: writes a scene into a folder, has ``blender.py``'s process draw it, and reads the passes.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np

from ..camera import Camera
from ..disk import FULL
from ..errors import ResourceError
from ..meshing.mesh import Mesh
from .blender import Blender
from .body import Label, Solid
from .colors import mask_at, paint
from .draw import Picture
from .exr import read_layers
from .glasses import GLASSES, Glasses
from .head import SyntheticHead
from .lights import Lamp, Light
from .stage import at_middles_too, halved, linear
from .vectors import smooth
from .views import View, plan_views, take

_DETAIL = 2  # of ``addon/cycles_heads/work.py``
_KINDS = {Label.SKIN: "skin", Label.EYE: "eye", Label.MOUTH: "mouth"}
_STRANDS = (Label.HAIR, Label.BROW)
_ROUGHNESS = 0.3  # of hair
_GRAIN = 0.38  # of the noise in hair that is left in
_FAR = 4.0  # world units from the head's centre to a lamp
_ROOM = 64 << 20  # bytes on the disk below which a failure to write is the disk's


def draw_realistic_views(
    head: SyntheticHead,
    photos: int,
    around: int,
    size: int = 256,
    *,
    blender_python: str | Path | None = None,
    samples: int = 8,
) -> list[View]:
    """The views that ``draw_views`` takes of a head, by Cycles; for many heads keep a ``RealisticRenderer``.

    Raises:
        OptionError, ResourceError: as ``RealisticRenderer`` and its ``draw_views`` do.
    """
    with RealisticRenderer(blender_python, samples=samples) as renderer:
        return renderer.draw_views(head, photos, around, size)


class RealisticRenderer:
    """Draws many heads with one Blender, which takes seconds to start. To be used in a ``with``.

    Args:
        program: Blender, or a Python that has bpy; None looks for one as ``blender.find_blender`` does.
        samples: rays a pixel, before denoising.
        device: "cpu", or "auto" for a graphics device where Cycles finds one.
        threads: of the CPU; 0 takes all.
        limit: seconds that a view may take.

    Raises:
        OptionError: ``program`` is no program.
        ResourceError: there is no Blender, or it does not start.
    """

    def __init__(
        self,
        program: str | Path | None = None,
        *,
        samples: int = 8,
        device: str = "auto",
        threads: int = 0,
        limit: float = 600.0,
    ):
        self._settings = {"samples": samples, "device": device, "threads": threads}
        self._blender = Blender(program, limit=limit)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the Blender."""
        self._blender.close()

    def draw_views(self, head: SyntheticHead, photos: int, around: int, size: int = 256) -> list[View]:
        """The views of ``views.draw_views``: same poses, lenses, lights, backgrounds and damage; photos first.

        Raises:
            ResourceError: as ``draw`` does.
        """
        shots = [
            replace(shot, attributes={**shot.attributes, "renderer": "cycles"})
            for shot in plan_views(head, photos, around)
        ]
        pictures = self.draw(head, [(shot.lens, shot.light) for shot in shots], size)
        return [take(shot, picture) for shot, picture in zip(shots, pictures, strict=True)]

    def draw(self, head: SyntheticHead, sights: Sequence[_Sight], size: int) -> list[Picture]:
        """What each camera sees of the head in its light, ``size`` pixels wide; colours have no view transform.

        Raises:
            ResourceError: Blender died, hung or failed, or the disk for temporary files is full.
        """
        folder = Path(tempfile.mkdtemp(prefix="headstitch-cycles-"))
        try:
            _write_scene(folder, head, sights, {**self._settings, "size": size, "seed": head.number})
            self._blender.draw(folder)
            return [_read_picture(folder, number) for number in range(len(sights))]
        except (OSError, ValueError, ResourceError) as error:
            if _is_full(error, folder):
                raise ResourceError(
                    f"The disk of {folder.parent} is full, and Blender's pictures go through it; free some space, or "
                    "name a folder on another disk in TMPDIR."
                ) from error
            if isinstance(error, ValueError):
                raise ResourceError(f"Blender's picture cannot be read: {error}.") from error
            raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _is_full(error: Exception, folder: Path) -> bool:
    if isinstance(error, OSError):
        return error.errno in FULL
    return shutil.disk_usage(folder).free < _ROOM or os.strerror(errno.ENOSPC) in str(error)


def _write_scene(
    folder: Path, head: SyntheticHead, sights: Sequence[tuple[Camera, Light]], settings: dict[str, Any]
) -> None:
    """``scene.json`` and ``arrays.npz``, as ``addon/cycles_heads/work.py`` reads them."""
    arrays: dict[str, np.ndarray] = {}
    meshes, strands = [], []
    solids = [
        _part(head, solid, head.body.clothes if number == 0 else None) for number, solid in enumerate(head.body.solids)
    ]
    for number, (parts, values) in enumerate([*solids, *_glasses(head.glasses)]):
        meshes.append(parts)
        arrays.update({f"mesh{number}_{name}": value for name, value in values.items()})
    for number, kind in enumerate(head.strands):
        strands.append({"kind": "hair", "label": int(kind.label), "settings": {"roughness": _ROUGHNESS}})
        values = {"points": kind.points, "radius": kind.radius, "tint": _hair_tint(kind.colors)}
        arrays.update({f"strands{number}_{name}": value for name, value in values.items()})
    scene = {**settings, "meshes": meshes, "strands": strands, "views": [_view(*sight) for sight in sights]}
    (folder / "scene.json").write_text(json.dumps(scene), "utf-8")
    np.savez(folder / "arrays.npz", **arrays)  # pyright: ignore[reportArgumentType]


def _hair_tint(colors: np.ndarray) -> np.ndarray:
    """(S, 3) what Cycles' hair has to be told so that it looks as strands of sRGB colours (S, 3) do in fast pictures.

    Light goes through our strands, thicker and fewer than hairs, more often than through a real head of hair: dark hair
    would shine ginger. Powers of linear colour, found by comparing both renderers on five heads.
    """
    color = linear(colors)
    return color ** (2 - 0.8 * smooth(0.1, 0.5, color.mean(axis=1, keepdims=True)))


_Sight = tuple[Camera, Light]
_Part = tuple[list[dict[str, Any]], dict[str, np.ndarray]]  # materials of a mesh, and its arrays


def _glasses(pair: Glasses | None) -> list[_Part]:
    if pair is None:
        return []
    tint = np.broadcast_to(linear(pair.color), pair.frame.vertices.shape)
    settings = {"tint": pair.tint.tolist(), "middle": pair.middle.tolist()}
    return [
        ([{"kind": "solid", "label": GLASSES}], {**_geometry(pair.frame), "tint": tint}),
        ([{"kind": "lens", "label": GLASSES, "settings": settings}], _geometry(pair.lenses)),
    ]


def _geometry(mesh: Mesh) -> dict[str, np.ndarray]:
    return {"vertices": mesh.vertices, "faces": mesh.faces}


def _part(head: SyntheticHead, solid: Solid, clothes: np.ndarray | None) -> _Part:
    """A solid's materials, and its arrays. The body is made finer, so that its paint is about a millimetre fine."""
    vertices, faces, rest = solid.mesh.vertices, solid.mesh.faces, solid.rest
    parts: list[dict[str, Any]] = [{"kind": _KINDS[solid.label], "label": int(solid.label)}]
    arrays = {}
    if clothes is not None:
        edges, faces = halved(faces, len(vertices))
        joined = at_middles_too(np.column_stack([vertices, rest, clothes]), edges)
        vertices, rest, clothes = joined[:, :3], joined[:, 3:6], joined[:, 6]
        parts.append({"kind": "cloth", "label": int(Label.CLOTHES)})
        arrays["slot"] = (clothes[faces].mean(axis=1) > 0.5).astype(np.uint8)
    if solid.label == Label.SKIN:
        parts[0]["settings"] = {"years": head.who.years, "gloss": _gloss(head)}
        arrays["lips"] = mask_at("lips", rest).astype(np.float32)
    tint = linear(paint(head.colors, solid.label, rest, clothes))
    return parts, {**arrays, "vertices": vertices, "faces": faces, "rest": rest, "tint": tint}


def _gloss(head: SyntheticHead) -> float:
    """How oily the skin is, 0 .. 1; the same for all pictures of the head."""
    return float(np.random.default_rng([head.seed, head.number, 97]).beta(2, 2))


def _view(lens: Camera, light: Light) -> dict[str, Any]:
    ground, horizon, zenith = np.asarray(light.sky, float).tolist()
    return {
        "cam2world": lens.cam2world.tolist(),
        "intrinsics": lens.intrinsics.tolist(),
        "lights": [_lamp(lamp) for lamp in light.lamps if np.max(lamp.color) > 0],
        "world": {"ground": ground, "horizon": horizon, "zenith": zenith},
    }


def _lamp(lamp: Lamp) -> dict[str, Any]:
    """An area light of P watts at the distance d makes P / (pi d)^2 of a white surface that faces it."""
    brightest = float(np.max(lamp.color))
    side = 2 * _FAR * float(np.tan(np.clip(lamp.width, 0.02, 2.0) / 2))
    return {
        "place": (_FAR * np.asarray(lamp.towards, float)).tolist(),
        "aim": [0.0, 0.0, 0.0],
        "size": [side, side],
        "watts": brightest * (np.pi * _FAR) ** 2,
        "color": (np.asarray(lamp.color, float) / brightest).tolist(),
    }


def _read_picture(folder: Path, number: int) -> Picture:
    layers = read_layers(folder / f"picture-{number}.exr")
    color, noisy = (_layer(layers, name, channels="RGBA") for name in ("Combined", "Noisy Image"))
    data = read_layers(folder / f"data-{number}.exr")
    size, alpha = len(color), np.clip(color[..., 3], 0, 1)
    kind = np.round(_layer(data, "IndexMA", "Material Index", channels="X")[..., 0]).astype(int)
    depth = np.where(kind > 0, _layer(data, "Depth", channels="Z")[..., 0], np.inf)

    def each(values: np.ndarray) -> np.ndarray:
        blocks = values.reshape(size, _DETAIL, size, _DETAIL, -1)
        return blocks.transpose(0, 2, 1, 3, 4).reshape(size, size, _DETAIL**2, -1)

    pick = each(depth).argmin(axis=2)[:, :, None]
    depth, labels, normals = (
        np.take_along_axis(each(values), pick, axis=2)[:, :, 0]
        for values in (depth, kind - 1, _layer(data, "Normal", channels="XYZ"))
    )
    hit = np.isfinite(depth)
    color = color[..., :3] * (alpha[..., None] > 0)  # the denoiser leaves traces beside the head
    shown = _settled(color, noisy[..., :3], alpha, np.isin(labels[..., 0], _STRANDS) & hit[..., 0])
    return Picture(
        linear=shown[..., :3],
        alpha=shown[..., 3],
        depth=depth[..., 0].astype(np.float32),
        normals=np.where(hit, normals, 0).astype(np.float32),
        label=np.where(hit, labels, 255)[..., 0].astype(np.uint8),
    )


def _settled(color: np.ndarray, noisy: np.ndarray, alpha: np.ndarray, strands: np.ndarray) -> np.ndarray:
    """(S, S, 4) colour and alpha with hair as it wants to look after few samples.

    The denoiser takes single hairs for noise: a part of that noise comes back. It leaves alpha as it is, grains of dust
    where loose hairs are: there both are blurred by less than a pixel.
    """
    inner = cv2.blur(strands.astype(np.float32), (3, 3))[..., None]
    clean = color.mean(axis=2, keepdims=True) + 1e-4
    grain = np.clip(noisy.mean(axis=2, keepdims=True) / clean, 0, 2) - 1
    picture = np.concatenate([color * (1 + _GRAIN * inner * grain), alpha[..., None]], axis=2).astype(np.float32)
    soft = cv2.GaussianBlur(alpha, (0, 0), 1.2)
    rim = np.clip(6 * soft * (1 - soft), 0, 1) * cv2.dilate(strands.astype(np.uint8), np.ones((5, 5), np.uint8))
    return picture + rim[..., None] * (cv2.GaussianBlur(picture, (0, 0), 0.65) - picture)


def _layer(layers: dict[str, np.ndarray], *names: str, channels: str) -> np.ndarray:
    """(H, W, C) of the pass that goes by one of ``names`` (Blender 5 renamed some); its view layer's comes before."""
    found = {key.rpartition(".")[2]: value for key, value in layers.items() if key.split(".")[-2] in names}
    if not set(channels) <= set(found):
        raise ValueError(f"there is no pass {names[0]} among {', '.join(layers)}")
    return np.stack([found[channel] for channel in channels], axis=-1)
