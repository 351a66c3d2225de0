"""A head that is there, meshed and baked again from its latent.safetensors: no encoder, and no photo unless given.
Stands on the journey.
"""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import torch

from .errors import OptionError, PhotoError, ResultsError
from .inversion.latent import Latent, is_of_model
from .options import TEMPLATE, Inversion, Options
from .portrait.make import make_portrait
from .portrait.portrait import Portrait
from .progress import Listener, StageClock
from .reconstruct import Show, Source, disk_needed, keep, make_head, memory_needed, stages
from .results.folder import check_writable
from .results.head import Head, Origin, read_record
from .results.record import recorded_options, remake_record
from .system import check_memory, choose_device, plain_errors, repeatable
from .template.make import LICENCE, remake_template, template_sha256

# Stages with the seconds that they take on two cores, for the progress bar.
_READING = {"reading the head": 1.0}
_PORTRAIT = {"finding the face": 0.5}
_OF_PICTURES = ("crop", "background")  # of the inversion's options, those that meshing and colouring still ask for


@torch.inference_mode()
@plain_errors()
@repeatable()
def remesh(
    head: str | Path,
    out: str | Path | None = None,
    *,
    photo: str | Path | np.ndarray | None = None,
    model: str | None = None,
    options: Options | None = None,
    progress: Listener | None = None,
    show: Show | None = None,
) -> Head:
    """Make a head again from what it was made from. With the same options its mesh is the same to the bit.

    Args:
        head: the folder of the head that is there, or nothing but its latent.safetensors.
        out: the folder to write, which may be the same; None writes nothing.
        photo: the photo that the head was made from, to bake it in again; without it the texture is the model's alone.
        model: name or folder of the model, where it is not known here by the name that it had.
        options: everything else; by default those that the head was made with (``options_of``). What decides how the
            photo becomes a tri-grid must be as it was.
        progress: told of every stage; an exception that it raises ends the job with nothing half-written.
        show: given the preview, see ``reconstruct``.

    Raises:
        HeadstitchError: with one sentence that says what to do; nothing was written.
    """
    old = Origin.load(head)
    made_with = recorded_options(old.record)
    options = options or made_with
    _refuse_what_is_done(options, made_with)
    latent = Latent.from_arrays(old.latent) if is_of_model(old.latent) else None
    bundle = None if latent is None else latent.find_model(model)
    if out is not None:
        check_writable(Path(out), disk_needed(options, bundle))
    check_memory(memory_needed(options, bundle, encoders=False))
    device = choose_device(options.device)
    torch.manual_seed(options.seed)
    making = {**_READING, **({} if photo is None else _PORTRAIT)}
    clock = StageClock(stages(making, options, bundle, out), progress)

    with clock.stage("reading the head"):
        if latent is None or bundle is None:
            source = _of_template(old, device)
        else:
            field = latent.field(bundle.generator(device), options.inversion, device)
            source = Source(bundle.name, bundle.sha256, bundle.licence, field, old.latent)
    portrait = None
    if photo is not None:
        with clock.stage("finding the face"):
            portrait = _same_portrait(photo, old, options)
    new = make_head(source, old.camera, portrait, options, clock, show)
    record = remake_record(
        old.record, options=options, device=str(device), photo=portrait is not None, stages=clock.seconds
    )
    pictures = {"photo": old.photo if portrait is None else new.photo, "debug": old.debug}
    return keep(replace(new, record=record, **pictures), out, clock)


def options_of(head: str | Path) -> Options:
    """The options that the head in a folder was made with.

    Raises:
        ResultsError: there is no head, or another version wrote options that this one does not know.
    """
    path = Path(head)
    return recorded_options(Origin.load(path).record if path.is_file() else read_record(path))


def _refuse_what_is_done(options: Options, made_with: Options) -> None:
    """The portrait and the tri-grid are there: what decides on them can no more be changed."""
    changed = [
        name for name in ("model", "face", "angles", "crop") if getattr(options, name) != getattr(made_with, name)
    ]
    if options.debug_images and not made_with.debug_images:
        changed.append("debug_images")
    changed += [
        f"inversion.{each.name}"
        for each in fields(Inversion)
        if each.name not in _OF_PICTURES
        and getattr(options.inversion, each.name) != getattr(made_with.inversion, each.name)
    ]
    if changed:
        raise OptionError(
            f"--{changed[0].replace('_', '-')} is not what this head was made with, and a head that is meshed again "
            "keeps its tri-grid; leave it as it was (options_of tells), or make the head anew with headstitch "
            "reconstruct."
        )


def _of_template(head: Origin, device: torch.device) -> Source:
    made_with, here = head.record["model"]["sha256"], template_sha256()
    if made_with != here:
        raise ResultsError(
            f"The head in {head.path} was made with another version of the template ({made_with[:12]}, and this is "
            f"{here[:12]}); make it anew with headstitch reconstruct."
        )
    return Source(TEMPLATE, here, LICENCE, remake_template(head.latent, device), head.latent)


def _same_portrait(photo: str | Path | np.ndarray, head: Origin, options: Options) -> Portrait:
    """The portrait that the head was made from."""
    portrait = make_portrait(photo, options)
    if portrait.sha256 != head.record["photo"]["sha256"]:
        name = "The array" if isinstance(photo, np.ndarray) else str(photo)
        raise PhotoError(
            f"{name} is not the photo that the head in {head.path} was made from, by its hash; "
            "give that one, or leave --photo out."
        )
    return portrait
