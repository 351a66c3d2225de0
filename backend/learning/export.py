"""Two trained encoders become a model that ``reconstruct`` takes: the last step of the paper's trainings."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import torch

from ..errors import ModelError
from ..models.bundle import Bundle, Source, Which, load_bundle, write_bundle
from ..models.disk import sha256_of
from ..models.store import folder_of
from ..networks.config import EncoderConfig
from ..networks.encoder import Encoder
from .checkpoint import checkpoints, load_network, read_checkpoint
from .config import DualConfig
from .dual import encoder_config


def export_model(
    visible: Path, occluded: Path, model: str, name: str, *, half: bool = False, replace: bool = False
) -> Bundle:
    """Write the model ``name``: the generator of ``model`` and two encoders that were trained for it.

    Args:
        visible: the folder of encoder 1's run, whose last checkpoint is taken, or a checkpoint.
        occluded: likewise of encoder 2.
        model: name or folder of the model that both were trained with.
        name: of the new model, in the models folder.
        half: keep weights in half precision.
        replace: take the place of a model of that name.

    Raises:
        ModelError: a checkpoint is missing, damaged, of the other training or for another model; see ``write_bundle``.
    """
    bundle = load_bundle(model)
    folder = folder_of(name)
    parts: dict[Which, tuple[dict[str, torch.Tensor], EncoderConfig]] = {}
    sources = list(bundle.sources)
    given: tuple[tuple[Which, Path], ...] = (("visible", visible), ("occluded", occluded))
    for which, place in given:
        path = _checkpoint(place)
        parts[which] = _encoder(path, which, bundle)
        sources.append(Source(f"{which}/{path.name}", sha256_of(path)))
    return write_bundle(
        folder,
        name=name,
        generator=bundle.generator().state_dict(),
        config=bundle.config,
        encoders=parts,
        licence=f"{bundle.licence} The encoders were trained anew: what their photos allow counts too.",
        sources=sources,
        half=half,
        replace=replace,
    )


def _encoder(path: Path, which: Which, bundle: Bundle) -> tuple[dict[str, torch.Tensor], EncoderConfig]:
    config = read_checkpoint(path).config
    if config.get("training") != which:
        raise ModelError(
            f"{path} is of the training {config.get('training')}, not {which}; give the folder of a run of "
            f"headstitch train {which}."
        )
    if config.get("model") != bundle.sha256:
        raise ModelError(f"{path} was trained with another model than {bundle.name}; give that one with --model.")
    known = {each.name for each in fields(DualConfig)}
    settings = DualConfig(**{name: value for name, value in config.items() if name in known - {"losses", "adversary"}})
    sizes = encoder_config(settings, bundle.config)
    encoder = Encoder(sizes)
    load_network(path, "encoder", encoder)
    return encoder.state_dict(), sizes


def _checkpoint(place: Path) -> Path:
    if place.is_dir():
        there = checkpoints(place)
        if not there:
            raise ModelError(f"{place} holds no checkpoint; give the folder of a run of headstitch train.")
        return there[-1]
    return place
