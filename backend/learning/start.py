"""From what a person gives to a run: files are read, networks made, and the loop begins. Under the train commands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from ..errors import OptionError, PhotoError
from ..inversion.color import COLORS
from ..models.bundle import Which, load_bundle
from ..models.disk import sha256_of
from ..progress import Listener
from .config import DualConfig, load_config
from .dual import OccludedTask, VisibleTask
from .identity import FaceNet, IdentityDistance, load_face_net, start_trunk
from .perceptual import GradientDistance, Lpips
from .photos import Labelled, Photos, find_photos
from .run import Outcome, Schedule, run
from .workers import joined


@dataclass(frozen=True)
class DualRequest:
    """One of the paper's trainings, as a person asks for it."""

    which: Which
    config: str
    folders: tuple[Path, ...]
    model: str
    """The bundle whose generator is inverted into."""
    out: Path
    lpips: tuple[Path, ...] = ()
    identity: Path | None = None
    own_losses: bool = False
    """No networks out of files: our own perceptual distance, no identity term."""
    device: str = "cpu"
    steps: int | None = None
    minutes: float | None = None
    keep: int = 3
    seed: int = 0
    clip: float | None = None
    precision: Literal["auto", "float32", "bfloat16"] = "auto"


def train_dual(
    request: DualRequest, *, progress: Listener | None = None, tell: Callable[[str], None] = lambda line: None
) -> Outcome:
    """Train encoder 1 (visible) or encoder 2 (occluded), or go on with it; see ``run`` for what is written.

    Raises:
        OptionError: the configuration cannot be, or wants files that are not given.
        TrainingError: the data cannot be used; see ``find_photos`` and ``run``.
        ModelError: a model or a file of weights is damaged, or does not go with the configuration.
    """
    config = load_config(request.config)
    if request.own_losses:
        config = replace(config, perceptual="own", losses=replace(config.losses, identity=0.0))
    _check_files(request, config)
    with joined(torch.device(request.device)) as (workers, device):
        workers.share(config.batch)
        tell = tell if workers.first else (lambda line: None)
        bundle = load_bundle(request.model)
        found = find_photos(request.folders)
        if found.unlabelled:
            tell(f"{len(found.unlabelled)} photos have no label and are left out, the first: {found.unlabelled[0]}")
        learnt, apart = found.split(config.kept_out)
        color = COLORS[config.background]
        assert isinstance(color, tuple)
        photos = Photos(
            learnt,
            size=config.image_size,
            background=color,
            seed=request.seed,
            repeats=learnt.repeats(config.rebalance, config.most_repeats),
            mirror=config.mirror,
            tell=tell,
        )
        torch.manual_seed(request.seed)
        faces = load_face_net(request.identity) if request.identity is not None else None
        perceptual = Lpips.from_files(request.lpips) if config.perceptual == "lpips" else GradientDistance()
        kind = VisibleTask if request.which == "visible" else OccludedTask
        task = kind(
            bundle.generator(device),
            photos,
            config,
            perceptual=perceptual.to(device),
            identity=IdentityDistance(faces).to(device) if faces is not None and config.losses.identity else None,
            kept_out=_read_apart(apart, photos, tell) if workers.first else (),
        )
        _start(task, faces, tell)
        record = {
            "training": request.which,
            **config.to_dict(),
            "model": bundle.sha256,
            "photos": found.sha256,
            "lpips": [sha256_of(path) for path in request.lpips] if config.perceptual == "lpips" else [],
            "face_net": sha256_of(request.identity) if request.identity is not None else None,
        }
        # How long it goes on may change from one start to the next.
        record = {name: value for name, value in record.items() if not name.endswith("_every") and name != "steps"}
        schedule = Schedule(
            steps=request.steps or config.steps,
            minutes=request.minutes,
            checkpoint_every=config.checkpoint_every,
            keep=request.keep,
            sheet_every=config.sheet_every,
            log_every=config.log_every,
            seed=request.seed,
            clip=request.clip,
            precision=request.precision,
        )
        outcome = run(
            task,
            record,
            request.out,
            schedule,
            device=device,
            workers=workers,
            progress=progress if workers.first else None,
            tell=tell,
        )
        why = "All steps are done" if outcome.why == "done" else "The time is up"
        tell(f"{why}; step {outcome.step} is in {outcome.checkpoint}")
        if outcome.best is not None:
            tell(f"The best is {outcome.best}")
        return outcome


def _check_files(request: DualRequest, config: DualConfig) -> None:
    """Raise an OptionError for a configuration that wants files which are not there."""
    otherwise = "or --own-losses to train without such files"
    if config.perceptual == "lpips" and not request.lpips:
        raise OptionError(
            f"The configuration {request.config} compares pictures with LPIPS; give --lpips and the files of AlexNet "
            f"and of LPIPS (alex), {otherwise}."
        )
    if config.losses.identity and request.identity is None:
        raise OptionError(
            f"The configuration {request.config} compares faces; give --identity and the file of IR-SE50, {otherwise}."
        )


def _read_apart(
    found: Labelled, photos: Photos, tell: Callable[[str], None]
) -> Sequence[tuple[torch.Tensor, torch.Tensor]]:
    apart = []
    for path, label in zip(found.paths, found.labels, strict=True):
        try:
            apart.append((photos.read(path), torch.from_numpy(label)))
        except PhotoError as error:
            tell(f"{path} is passed over: {error}")
    return apart


def _start(task: VisibleTask, faces: FaceNet | None, tell: Callable[[str], None]) -> None:
    """The W+ stage's trunk begins as the recogniser, as pSp's does."""
    if faces is not None and not start_trunk(task.encoder.w_plus, faces):
        tell("The face recogniser has other sizes than the encoder, whose trunk begins at random instead.")
