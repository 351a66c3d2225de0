"""Official files into a bundle: read as data, checked against the networks that we would build, then written whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ..networks.config import EncoderConfig
from ..system import ELSEWHERE, check_memory
from . import disk
from .bundle import Bundle, Source, Which, write_bundle
from .encoders import build_config, read_mean, read_stages, shape_mean, state_of
from .panohead import PanoHead, read_panohead
from .store import folder_of
from .weights import Weights, listed, numbers

LICENCE = (
    "Imported from files of others, under the terms that came with them. The official PanoHead model and the encoders "
    "made with it are for non-commercial use only (CC BY-NC-SA 4.0 and NVIDIA Source Code License)."
)
IMPORTING = 256 << 20  # bytes of memory that it takes beside the files; official ones take half of that
MEAN_OF_BACKBONE = "backbone.mapping.w_avg"


@dataclass(frozen=True, eq=False)
class Files:
    """What a model is made of."""

    generator: Path  # the PanoHead pickle
    visible: Sequence[Path]  # the encoder of what the photo shows: one file, or one for each stage
    occluded: Sequence[Path]  # the other one
    latent_avg: Path | None = None  # the mean w+ of both, when it is in no encoder's file

    def all(self) -> list[Path]:
        """Every file once, in order."""
        mean = [self.latent_avg] if self.latent_avg else []
        return list(dict.fromkeys([self.generator, *self.visible, *self.occluded, *mean]))


def import_model(
    files: Files,
    name: str,
    *,
    licence: str | None = None,
    half: bool = False,
    replace: bool = False,
    tell: Callable[[str], None] = print,
) -> Bundle:
    """Import official files as the model ``name`` of the models folder.

    Nothing in the files is executed. They are mapped; beside them one tensor after another is in memory.

    Args:
        files: what to import.
        name: of the model.
        licence: its terms; by default a note on those of the official files.
        half: keep the weights of layers in half precision, which halves the size.
        replace: take the place of a model of that name.
        tell: told of what was read, line by line.

    Raises:
        ModelError: a file is not what it should be, the parts do not fit each other, the name is taken or cannot be,
            or the disk refuses. Nothing is written then.
        ResourceError: there is too little memory.
    """
    folder = folder_of(name)
    with disk.told(folder, "written"):
        disk.recover(folder)
        disk.refuse(folder, replace=replace)
    check_memory(IMPORTING, mapped=_size(files), otherwise=ELSEWHERE)
    panohead = read_panohead(files.generator)
    config = panohead.config
    tell(
        f"{files.generator}: PanoHead, {len(panohead.weights)} tensors, tri-grid 3 x {config.plane_channels} x "
        f"{config.trigrid_size} x {config.trigrid_size}, {config.render_size} rays a side, {config.image_size} pixels"
    )
    if panohead.unknown:
        tell(
            f"Warning: nothing here knows the settings {listed(panohead.unknown)} of {files.generator}; "
            "if they change what the model makes, its heads come out wrong."
        )
    encoders = _read_encoders(files, panohead, tell)
    sources = [_source(path) for path in files.all()]
    bundle = write_bundle(
        folder,
        name=name,
        generator=panohead.weights,
        config=config,
        encoders=encoders,
        licence=licence or LICENCE,
        sources=sources,
        half=half,
        replace=replace,
    )
    tell(f"Licence: {bundle.licence}")
    return bundle


def _read_encoders(
    files: Files, panohead: PanoHead, tell: Callable[[str], None]
) -> dict[Which, tuple[Weights, EncoderConfig]]:
    paths: dict[Which, Sequence[Path]] = {"visible": files.visible, "occluded": files.occluded}
    stages = {which: read_stages(paths[which], which) for which in paths}
    configs = {which: build_config(stages[which], panohead.config, which) for which in paths}
    given = None if files.latent_avg is None else read_mean(files.latent_avg)
    encoders: dict[Which, tuple[Weights, EncoderConfig]] = {}
    for which in paths:
        config = configs[which]
        other: Which = "occluded" if which == "visible" else "visible"
        for line in stages[which].read:
            tell(f"{which} encoder: {line}")
        tell(f"{which} encoder: {_said(config)}")
        if given is not None:
            mean = shape_mean(given, config, str(files.latent_avg))
        elif (own := stages[which].mean) is not None:
            mean = shape_mean(own, config, f"the {which} encoder's file")
        elif (others := stages[other].mean) is not None:
            mean = shape_mean(others, config, f"the {other} encoder's file")
        else:
            tell(
                f"Warning: no mean w+ for the {which} encoder, so the generator's own is taken ({MEAN_OF_BACKBONE}); "
                "if there is a latent_avg.npy, give it with --latent-avg, else heads may come out wrong."
            )
            mean = _backbone_mean(panohead, config)
        encoders[which] = state_of(stages[which], mean), config
    if list(files.visible) == list(files.occluded):
        tell("Warning: both encoders are the same file, so what the photo hides is as the visible encoder has it.")
    return encoders


def _size(files: Files) -> int:
    """Bytes of all files that are mapped at once."""
    size = 0
    for path in files.all():
        with disk.told(path, "read"):
            size += path.stat().st_size
    return size


def _source(path: Path) -> Source:
    with disk.told(path, "read"):
        return Source(path.name, disk.sha256_of(path))


def _backbone_mean(panohead: PanoHead, config: EncoderConfig) -> torch.Tensor:
    return shape_mean(numbers(panohead.weights[MEAN_OF_BACKBONE]), config, MEAN_OF_BACKBONE)


def _said(config: EncoderConfig) -> str:
    return (
        f"{config.image_size} pixels, {config.num_ws} rows of w+, planes of {config.plane_channels} channels, "
        f"variant {config.variant}, {config.hidden} channels in the head"
    )
