"""The whole journey on one page: photo, portrait, head field, surface, texture, head."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from .camera import Camera
from .errors import SurfaceError
from .field import HeadField
from .inversion.color import VIEWS
from .inversion.debug import PICTURES, draw_debug
from .inversion.invert import invert, picture_seconds, stage_seconds
from .inversion.latent import Latent, to_uint8
from .meshing.surface import extract_surface
from .meshing.texture import bake_texture
from .meshing.uv import unwrap
from .models.bundle import Bundle, load_bundle
from .networks.config import PLANES
from .options import TEMPLATE, Options
from .portrait.crop import warp
from .portrait.make import make_portrait
from .portrait.portrait import Portrait
from .progress import Listener, StageClock
from .results.folder import check_writable
from .results.head import Head
from .results.pictures import preview, sheet
from .results.quality import measure
from .results.record import make_record
from .results.views import Viewer
from .system import check_memory, choose_device, plain_errors, repeatable
from .template.make import LICENCE, make_template, template_sha256

Show = Callable[[np.ndarray, str], None]
"""Takes a picture (H, W, 3) uint8 sRGB, and what it shows: "portrait" or "head"."""

# Stages with the seconds that they take on two cores, for the progress bar.
_PORTRAIT = {"finding the face": 0.5}
_TEMPLATE = {"fitting the head": 1.0}
_DEBUG = "drawing the debug images"
_HEAD = {
    "extracting the surface": 1.3,
    "unwrapping": 1.5,
    "baking the texture": 1.5,
    "drawing the preview": 0.4,
    "measuring the quality": 3.0,
}
_WRITING = {"writing": 0.5}
SMALLER = "--resolution or --texture-size"  # options that make a job take less memory
_PHOTO = 1024  # pixels that photo.png is wide at most


@dataclass(frozen=True, eq=False)
class Source:
    """What a head is made of: everything that is not the same for all models."""

    model: str
    sha256: str
    licence: str | None
    field: HeadField
    latent: dict[str, np.ndarray]
    debug: np.ndarray | None = None  # (H, W, 3) uint8 sRGB


@torch.inference_mode()
@plain_errors()
@repeatable()
def reconstruct(
    photo: str | Path | np.ndarray,
    out: str | Path | None = None,
    *,
    options: Options = Options(),  # noqa: B008 - frozen
    progress: Listener | None = None,
    show: Show | None = None,
    bundle: Bundle | None = None,
) -> Head:
    """Make a head from one portrait photo.

    Args:
        photo: a JPEG, PNG, WebP or TIFF file, or a uint8 array (H, W), (H, W, 3) or (H, W, 4), sRGB.
        out: the folder to write; an earlier head there is replaced when the new one is complete. None writes nothing.
        options: everything else.
        progress: told of every stage; an exception that it raises ends the job with nothing half-written.
        show: given pictures (H, W, 3) uint8 sRGB on the way: "portrait", the aligned crop; "head", what becomes of it.
        bundle: the model of ``options``, where it is loaded already.

    Raises:
        HeadstitchError: with one sentence that says what to do; nothing was written.
    """
    if bundle is None and options.model != TEMPLATE:
        bundle = load_bundle(options.model)
    show = show or _show_nobody
    if out is not None:
        check_writable(Path(out), disk_needed(options, bundle))
    check_memory(memory_needed(options, bundle), SMALLER if bundle is None else f"{SMALLER}, or take --model template")
    device = choose_device(options.device)
    torch.manual_seed(options.seed)
    making = {**_PORTRAIT, **source_stages(options, bundle)}
    clock = StageClock(stages(making, options, bundle, out), progress)

    with clock.stage("finding the face"):
        portrait = make_portrait(photo, options)
    show(portrait.image, "portrait")
    source = make_source(portrait, bundle, options, device, clock, show)
    head = make_head(source, portrait.camera, portrait, options, clock, show)
    record = make_record(
        portrait=portrait,
        photo_name="array" if isinstance(photo, np.ndarray) else Path(photo).name,
        options=options,
        model=source.model,
        model_sha256=source.sha256,
        licence=source.licence,
        device=str(device),
        stages=clock.seconds,
    )
    return keep(replace(head, record=record), out, clock)


def make_source(
    portrait: Portrait,
    bundle: Bundle | None,
    options: Options,
    device: torch.device,
    clock: StageClock,
    show: Show | None = None,
) -> Source:
    """From the portrait to the field: by the model, or without one the template.

    Raises:
        HeadstitchError: with one sentence.
    """
    if bundle is None:
        return _fit(portrait, device, clock)
    return _invert(portrait, bundle, options, device, clock, show or _show_nobody)


def _fit(portrait: Portrait, device: torch.device, clock: StageClock) -> Source:
    """The template, fitted to the photo's landmarks."""
    with clock.stage("fitting the head"):
        field, latent = make_template(portrait, device)
    return Source(TEMPLATE, template_sha256(), LICENCE, field, latent)


def _invert(
    portrait: Portrait, bundle: Bundle, options: Options, device: torch.device, clock: StageClock, show: Show
) -> Source:
    """The photo in a model's latent space, by two encoders."""
    inverted = invert(portrait, bundle, options.inversion, device, clock.stage)
    show(to_uint8(inverted.visible.render), "head")
    debug = None
    if options.debug_images:
        with clock.stage(_DEBUG):
            debug = sheet(*draw_debug(inverted, portrait.camera, options.inversion))
    # The head is made of what is kept of it, so that it can be made again.
    latent = Latent.of(inverted, portrait.camera, bundle)
    generator = inverted.generator
    del inverted
    field = latent.field(generator, options.inversion, device)
    return Source(bundle.name, bundle.sha256, bundle.licence, field, latent.to_arrays(), debug)


def make_head(
    source: Source,
    camera: Camera,
    portrait: Portrait | None,
    options: Options,
    clock: StageClock,
    show: Show | None = None,
) -> Head:
    """From the field on: surface, texture, preview, quality. The head has no record yet.

    Args:
        source: the field and what it was made from.
        camera: the photo's.
        portrait: of the photo; without it the texture is the field's own colour.
        options: of the job.
        clock: told of the stages of ``stages``.
        show: given the preview.

    Raises:
        HeadstitchError: with one sentence; the field may hold no surface.
    """
    with clock.stage("extracting the surface"):
        try:
            mesh, surface = extract_surface(source.field, options)
        except SurfaceError as error:
            if source.model == TEMPLATE:
                raise
            raise SurfaceError(
                f"The head that the model {source.model} made came out empty: nothing in it is dense enough to be a "
                "surface. Try another photo, or another --model."
            ) from error
    with clock.stage("unwrapping"):
        corner_uvs = unwrap(mesh, options.texture_size, options.uv)
    with clock.stage("baking the texture"):
        bake = bake_texture(mesh, corner_uvs, source.field, portrait, options.texture_size, options.seed)
    with clock.stage("drawing the preview"):
        viewer = Viewer(bake.textured)
        picture = preview(bake.textured, camera, None if portrait is None else portrait.image, viewer)
    (show or _show_nobody)(picture, "head")
    quality = None
    if options.quality:
        with clock.stage("measuring the quality"):
            quality = measure(
                bake.textured,
                camera,
                surface,
                portrait,
                neck=options.neck,
                photo_weight=bake.photo_weight,
                viewer=viewer,
            )
    photo = None if portrait is None else _photo_of(portrait)
    return Head(bake.textured, camera, surface, source.latent, {}, picture, quality, photo, source.debug)


def _photo_of(portrait: Portrait) -> np.ndarray:
    """The crop (S, S, 3) uint8 sRGB, as fine as the photo has it, but no smaller than the encoders see it."""
    size = int(np.clip(portrait.crop.side, portrait.image.shape[0], _PHOTO))
    return portrait.image if size == portrait.image.shape[0] else warp(portrait.photo, portrait.crop, size)


def _show_nobody(picture: np.ndarray, what: str) -> None:
    """Where nobody watches."""


def keep(head: Head, out: str | Path | None, clock: StageClock) -> Head:
    """Write the head where it shall go, and end the job."""
    if out is not None:
        with clock.stage("writing"):
            head = head.save(out)
    clock.finish()
    return head


def source_stages(options: Options, bundle: Bundle | None) -> dict[str, float]:
    """The stages of ``make_source`` with the seconds that they take."""
    if bundle is None:
        return dict(_TEMPLATE)
    drawing = {_DEBUG: PICTURES * picture_seconds(bundle.parameters_bytes)} if options.debug_images else {}
    return {**stage_seconds(bundle.parameters_bytes), **drawing}


def stages(
    making: Mapping[str, float], options: Options, bundle: Bundle | None, out: str | Path | None
) -> dict[str, float]:
    """The stages of a job with the seconds that they take: those of ``making`` the field, and those after it."""
    after = dict(_HEAD)
    if bundle is not None:
        after["baking the texture"] += len(VIEWS) * picture_seconds(bundle.parameters_bytes)
    if not options.quality:
        del after["measuring the quality"]
    return {**making, **after, **(_WRITING if out is not None else {})}


def memory_needed(options: Options, bundle: Bundle | None = None, *, encoders: bool = True) -> int:
    """Bytes that a job takes at its peak beyond the bare process, as measured (``benchmarks/``) and rounded up.

    Args:
        options: of the job.
        bundle: the model; without one it is the template.
        encoders: whether the photo is inverted, or the tri-grid is there.
    """
    libraries = 0.7e9
    lattice = 6 * options.resolution**3 * 0.65  # its nodes, some of them in double precision; the box is no cube
    texels = 120 * options.texture_size**2
    if bundle is None:
        return int(libraries + lattice + texels)
    trigrid = 4 * PLANES * bundle.config.plane_channels * bundle.config.trigrid_size**2
    inverting = bundle.parameters_bytes + 0.3e9 + 8 * trigrid  # an encoder with its pictures, or with rays
    meshing = 0.35e9 + 5 * trigrid + lattice + texels  # with the generator and the views that give the colour
    return int(libraries + max(inverting if encoders else 0, meshing))


def disk_needed(options: Options, bundle: Bundle | None = None) -> int:
    """Bytes that a head takes at most: its texture, hardly compressed, is in albedo.png and once more in head.glb."""
    triangles = options.faces or 8 * options.resolution**2  # measured: 5.9 times, before decimation
    latent_and_pictures = 7 << 20  # the photo has 3 MB at most
    if bundle is not None:  # two bytes for each number of the tri-grid, one for each cell of the mask
        config = bundle.config
        cells = PLANES * config.trigrid_size**2
        latent_and_pictures += cells * (2 * config.plane_channels + config.trigrid_depth)
        latent_and_pictures += (6 << 20) * options.debug_images
    return 2 * 3 * options.texture_size**2 + 80 * triangles + latent_and_pictures
