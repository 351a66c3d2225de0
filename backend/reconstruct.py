"""The whole journey on one page: photo, portrait, head field, surface, texture, head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from .meshing.surface import extract_surface
from .meshing.texture import bake_texture
from .meshing.uv import unwrap
from .options import Options
from .portrait.make import make_portrait
from .progress import Listener, StageClock
from .results.folder import check_writable
from .results.head import Head
from .results.pictures import preview
from .results.quality import measure
from .results.record import make_record
from .results.views import Viewer
from .system import check_memory, choose_device, plain_errors
from .template.make import NAME, make_template, template_sha256

# Stages with the seconds that they take on two cores, for the progress bar.
_STAGES = {
    "finding the face": 0.5,
    "fitting the head": 1.0,
    "extracting the surface": 1.3,
    "unwrapping": 1.5,
    "baking the texture": 1.5,
    "drawing the preview": 0.4,
    "measuring the quality": 3.0,
    "writing": 0.5,
}


@torch.inference_mode()
@plain_errors()
def reconstruct(
    photo: str | Path | np.ndarray,
    out: str | Path | None = None,
    *,
    options: Options = Options(),  # noqa: B008 - frozen
    progress: Listener | None = None,
) -> Head:
    """Make a head from one portrait photo.

    Args:
        photo: a JPEG, PNG, WebP or TIFF file, or a uint8 array (H, W), (H, W, 3) or (H, W, 4), sRGB.
        out: the folder to write; an earlier head there is replaced when the new one is complete. None writes nothing.
        options: everything else.
        progress: told of every stage; an exception that it raises ends the job with nothing half-written.

    Raises:
        HeadstitchError: with one sentence that says what to do; nothing was written.
    """
    if out is not None:
        check_writable(Path(out), _disk_needed(options))
    check_memory(_memory_needed(options))
    device = choose_device(options.device)
    torch.manual_seed(options.seed)
    skipped = set() if options.quality else {"measuring the quality"}
    skipped |= set() if out is not None else {"writing"}
    clock = StageClock({name: cost for name, cost in _STAGES.items() if name not in skipped}, progress)

    with clock.stage("finding the face"):
        portrait = make_portrait(photo, options)
    with clock.stage("fitting the head"):
        field, latent = make_template(portrait, device)
    with clock.stage("extracting the surface"):
        mesh, surface = extract_surface(field, options)
    with clock.stage("unwrapping"):
        corner_uvs = unwrap(mesh, options.texture_size, options.uv)
    with clock.stage("baking the texture"):
        bake = bake_texture(mesh, corner_uvs, field, portrait, options.texture_size, options.seed)
    with clock.stage("drawing the preview"):
        viewer = Viewer(bake.textured)
        picture = preview(bake.textured, portrait.camera, portrait.image, viewer)
    quality = None
    if options.quality:
        with clock.stage("measuring the quality"):
            quality = measure(
                bake.textured,
                portrait.camera,
                surface,
                portrait,
                neck=options.neck,
                photo_weight=bake.photo_weight,
                viewer=viewer,
            )
    record = make_record(
        portrait=portrait,
        photo_name="array" if isinstance(photo, np.ndarray) else Path(photo).name,
        options=options,
        model=NAME,
        model_sha256=template_sha256(),
        device=str(device),
        stages=clock.seconds,
    )
    head = Head(bake.textured, portrait.camera, surface, latent, record, picture, quality)
    if out is not None:
        with clock.stage("writing"):
            head = head.save(out)
    clock.finish()
    return head


def _memory_needed(options: Options) -> int:
    """Bytes that a job takes at its peak beyond the bare process, as measured (``benchmarks/``) and rounded up."""
    libraries_and_models = 0.7e9
    lattice = 6 * options.resolution**3 * 0.65  # its nodes, some of them in double precision; the box is no cube
    texels = 120 * options.texture_size**2
    return int(libraries_and_models + lattice + texels)


def _disk_needed(options: Options) -> int:
    """Bytes that a head takes at most: its texture, hardly compressed, is in albedo.png and once more in head.glb."""
    triangles = options.faces or 8 * options.resolution**2  # measured: 5.9 times, before decimation
    latent_and_preview = 4 << 20
    return 2 * 3 * options.texture_size**2 + 80 * triangles + latent_and_preview
