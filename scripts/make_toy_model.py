"""Make the toy model of the tests: a generator and two encoders of the official kind, tiny, of a CC0 head with hair.

    python scripts/make_toy_model.py OUT

It stands where nobody has official weights, so that the whole journey can be run. A direction of w is how light the
skin is, one how light the hair, one how large the head. A tri-grid that is linear in the three is fitted to such heads,
the backbone is taught to make it, and both are trained on; colours are the first three features, and super-resolution
adds nothing to them. The visible encoder learns from pictures of these heads what w they have, and to correct a
tri-grid by what its pictures lack. The occluded encoder is the same but for a constant offset to lighter hair on a
larger head, so that it can be seen which parts are whose, and corrects nothing. Nothing but the CC0 pack is used. The
same machine makes the same numbers, on one core in nine minutes.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import fit_trigrid
import torch
import torch.nn.functional as F
from fit_trigrid import HeadWithHair, make_head
from headstitch.backend.camera import Camera
from headstitch.backend.models.bundle import write_bundle
from headstitch.backend.networks.config import PLANES, EncoderConfig, GeneratorConfig
from headstitch.backend.networks.encoder import Encoder, mirror_camera
from headstitch.backend.networks.generator import Generator
from headstitch.backend.networks.layers import SynthesisLayer
from headstitch.kernels.trigrid import to_rows
from torch import nn

CONFIG = GeneratorConfig(
    z_dim=32,
    w_dim=32,
    channel_base=2048,
    channel_max=24,
    trigrid_size=64,
    image_size=128,
    superresolution="2X",
)
ENCODER = EncoderConfig(
    image_size=128,
    widths=(8, 8, 16, 16),
    blocks=(1, 1, 1, 1),
    num_ws=CONFIG.num_ws,
    w_dim=CONFIG.w_dim,
    style_width=8,
    plane_size=64,
    hidden=8,
)
SKIN, HAIR = ((0.40, 0.25, 0.18), (0.97, 0.80, 0.70)), ((0.08, 0.06, 0.05), (0.62, 0.44, 0.26))  # darkest, lightest
GROWTH = 0.012  # world units that a head of factor 1 is larger on all sides
FACTORS = 3
OFFSET = (0.0, 0.7, 0.5)  # of the occluded encoder's factors
FACE_SHARE = 5  # how often a point of the face stands in the head's points: eyes and mouth are small
STEEPER = 3.0  # times the fitted density: opaque sooner
LICENCE = "CC0-1.0: made by scripts/make_toy_model.py of the CC0 head data pack alone. For tests, not for heads."
Tell = Callable[[str], None]


def make_base() -> tuple[HeadWithHair, torch.Tensor]:
    """The head in the middle of the family, and which of its points are hair, bool (P,)."""
    head = make_head(nodes=161, points=200_000)
    x, y, z = head.points.unbind(1)
    face = (z > 0.08) & (x.abs() < 0.13) & (y > -0.22) & (y < 0.12)
    chosen = torch.cat([torch.arange(len(head.points)), face.nonzero()[:, 0].repeat(FACE_SHARE - 1)])
    head = replace(head, points=head.points[chosen], normals=head.normals[chosen], colors=head.colors[chosen])
    light = 0.9 + 0.1 * head.normals[:, 1:2]
    return head, (head.colors / light - torch.tensor(fit_trigrid._HAIR)).abs().amax(1) < 0.02


def change(head: HeadWithHair, hair: torch.Tensor, factors: torch.Tensor) -> HeadWithHair:
    """The head of the factors (3,) in [-1, 1]: lightness of the skin and of the hair, size."""
    skin, strands = (
        torch.tensor(ends[0]).lerp(torch.tensor(ends[1]), (factor + 1) / 2)
        for ends, factor in zip((SKIN, HAIR), factors[:2], strict=True)
    )
    skin, strands = skin / torch.tensor(fit_trigrid._SKIN), strands / torch.tensor(fit_trigrid._HAIR)
    growth = GROWTH * float(factors[2])
    return HeadWithHair(
        distance=head.distance - growth,
        points=head.points + growth * head.normals,
        normals=head.normals,
        colors=(head.colors * torch.where(hair[:, None], strands, skin)).clamp(0, 1),
    )


def draw(random: torch.Generator, count: int = 1) -> torch.Tensor:
    """(count, 3) factors in [-1, 1], the ends oftener than what lies between."""
    return (2.4 * torch.rand(count, FACTORS, generator=random) - 1.2).clamp(-1, 1)


def mix(parts: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Tri-grid (3, 96, R, R) of the factors (3,): the first of the parts (4, 3, 96, R, R), and shares of the others."""
    return parts[0] + torch.einsum("f,fpcij->pcij", factors, parts[1:])


def w_of(generator: Generator, factors: torch.Tensor) -> torch.Tensor:
    """Factors (B, 3) to w+ (B, num_ws, w_dim), all rows alike."""
    axes = torch.linalg.qr(torch.randn(CONFIG.w_dim, FACTORS, generator=torch.Generator().manual_seed(1)))[0].T * 2
    w = generator.backbone.mapping.w_avg + factors @ axes
    return w[:, None].expand(-1, CONFIG.num_ws, -1)


def make_generator() -> Generator:
    """Untrained. Its colours are the first three features, and super-resolution passes them through."""
    torch.manual_seed(0)
    generator = Generator(CONFIG)
    with torch.no_grad():
        for name, value in generator.named_buffers():
            if name.endswith("noise_const"):
                value.zero_()
        values = dict(generator.named_parameters())
        for name, value in values.items():
            if name.endswith("torgb.weight") and not name.startswith("backbone"):
                value.zero_()
        values["bcg_synthesis.b4.torgb.bias"][:3] = torch.tensor([0.1, 0.2, 0.3])  # a wall
        values["torgb.weight"][range(3), range(3)] = 1.0
        values["torgb.affine.weight"].zero_()
        values["torgb.affine.bias"].fill_(math.sqrt(CONFIG.features))
        generator.backbone.mapping.w_avg.normal_(generator=torch.Generator().manual_seed(2))
    return generator


def fit_parts(generator: Generator, head: HeadWithHair, hair: torch.Tensor, steps: tuple[int, ...], tell: Tell):
    """Fit tri-grids (4, 3, 96, R, R) to the family, linear in the factors, and train the decoder with them."""
    random = torch.Generator().manual_seed(3)
    cells = CONFIG.trigrid_size >> (len(steps) - 1)
    parts = torch.randn(1 + FACTORS, PLANES, CONFIG.plane_channels, cells, cells, generator=random)
    parts *= torch.tensor([0.1, 0, 0, 0]).view(-1, 1, 1, 1, 1)
    for level, count in enumerate(steps):
        if level:
            parts = F.interpolate(parts.flatten(0, 1), scale_factor=2, mode="bilinear").unflatten(0, (-1, PLANES))
        parts = parts.detach().clone().requires_grad_()
        rates = [{"params": [parts], "lr": 0.02}, {"params": generator.decoder.parameters(), "lr": 0.01}]
        optimizer = torch.optim.Adam(rates, betas=(0.9, 0.99), fused=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, count, eta_min=0.002)
        for step in range(count):
            factors = draw(random)[0]
            rows = to_rows(mix(parts, factors)[None])
            loss = fit_trigrid._loss(change(head, hair, factors), rows, generator.decoder_weights(), 12288, random)
            optimize(loss, optimizer, schedule)
            if step % 50 == 49:
                tell(f"planes of {parts.shape[-1]} cells, step {step + 1} of {count}: loss {loss.item():.4f}")
    return parts.detach()


def teach_backbone(generator: Generator, parts: torch.Tensor, steps: int, tell: Tell) -> None:
    """Teach the backbone to make the fitted tri-grids of w; its constant noise becomes what it knows of places."""
    random = torch.Generator().manual_seed(4)
    for layer in generator.backbone.synthesis.modules():
        if isinstance(layer, SynthesisLayer):
            shape = layer.noise_const.shape
            del layer.noise_const
            layer.noise_const = nn.Parameter(torch.randn(shape, generator=random))
            layer.noise_strength.data.fill_(0.1)
    optimizer = torch.optim.Adam(generator.backbone.synthesis.parameters(), betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        factors = draw(random)
        wanted = mix(parts, factors[0])
        loss = F.mse_loss(generator.trigrid(w_of(generator, factors))[0], wanted) / wanted.var()
        optimize(loss, optimizer, schedule)
        if step % 250 == 249:
            tell(f"backbone, step {step + 1} of {steps}: {100 * loss.item():.2f} % of the variance left")


def train_generator(generator: Generator, head: HeadWithHair, hair: torch.Tensor, steps: int, tell: Tell) -> None:
    """Train backbone and decoder on together on the family's points, then make the density steeper."""
    random = torch.Generator().manual_seed(5)
    trained = [*generator.backbone.synthesis.parameters(), *generator.decoder.parameters()]
    optimizer = torch.optim.Adam(trained, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.004, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        factors = draw(random)
        rows = to_rows(generator.trigrid(w_of(generator, factors)))
        loss = fit_trigrid._loss(change(head, hair, factors[0]), rows, generator.decoder_weights(), 12288, random)
        optimize(loss, optimizer, schedule)
        if step % 50 == 49:
            tell(f"generator, step {step + 1} of {steps}: loss {loss.item():.4f}")
    with torch.no_grad():
        values = dict(generator.decoder.named_parameters())
        values["net.2.weight"][0] *= STEEPER
        values["net.2.bias"][0] += (STEEPER - 1) * (values["net.2.bias"][0] - CONFIG.level)


def optimize(loss: torch.Tensor, optimizer: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LRScheduler):
    """One step."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()


@torch.no_grad()
def photograph(generator: Generator, w_plus: torch.Tensor, camera: torch.Tensor) -> torch.Tensor:
    """(1, 3, 128, 128) of one head, before white."""
    picture = generator.render(generator.trigrid(w_plus), w_plus, camera, background=(1.0, 1.0, 1.0)).image
    return picture.contiguous()  # laid out as it comes, torch 2.13's backward on a CPU breaks its memory


def train_encoder(generator: Generator, photos: int, steps: tuple[int, int], tell: Tell) -> Encoder:
    """The visible encoder: what w a picture has, then how to correct a tri-grid that is of another w."""
    random = torch.Generator().manual_seed(6)
    torch.manual_seed(7)
    encoder = Encoder(ENCODER)
    with torch.no_grad():  # the correction starts from nothing, and from the pictures alone
        values = dict(encoder.trigrid.named_parameters())
        values["final_head_two.0.weight"][:, : ENCODER.plane_channels].zero_()
        values["final_head_two.4.weight"].zero_()
        values["final_head_two.4.bias"].zero_()
    encoder.latent_avg.copy_(generator.backbone.mapping.w_avg.expand(CONFIG.num_ws, -1))
    angles = torch.rand(photos, 2, generator=random) * torch.tensor([1.2, 0.5]) - torch.tensor([0.6, 0.25])
    cameras = torch.stack([torch.from_numpy(Camera.from_angles(*angle.tolist()).label) for angle in angles])
    factors = draw(random, photos)
    wrong = draw(random, photos) * torch.tensor([0.5, 0.5, 0.0])  # what the correction learns to mend: colours
    wanted, coarse = w_of(generator, factors), w_of(generator, factors + wrong)
    taken = []
    for number, camera in enumerate(cameras[:, None]):
        one = slice(number, number + 1)
        mirrored = mirror_camera(camera)
        views = ((wanted, camera), (coarse, camera), (coarse, mirrored))
        taken.append(torch.cat([photograph(generator, w[one], at) for w, at in views]))
    photo, render, mirrored_render = torch.stack(taken, 1)
    with torch.no_grad():  # in half precision: 300 MB
        given, target = (torch.cat([generator.trigrid(w[None]).half() for w in ws]) for ws in (coarse, wanted))
    tell(f"{3 * photos} pictures are taken")

    encoder.train()
    for part, count in zip((encoder.w_plus, encoder.trigrid), steps, strict=True):
        optimizer = torch.optim.Adam(part.parameters())
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=count, pct_start=0.1)
        for step in range(count):
            some = torch.randperm(photos, generator=random)[:8]
            # Photos have other light, and grain.
            seen = photo[some] + 0.05 * torch.randn(photo[some].shape, generator=random)
            if part is encoder.w_plus:
                loss = F.mse_loss(encoder.encode_w(seen), wanted[some])
            else:
                before, after = given[some].float(), target[some].float()
                made = encoder.refine(before, seen, render[some], mirrored_render[some])
                loss = F.mse_loss(made, after) / F.mse_loss(before, after)
            optimize(loss, optimizer, schedule)
            if step % 50 == 49:
                tell(f"encoder, step {step + 1} of {count}: loss {loss.item():.4f}")
    return encoder.eval()


@torch.no_grad()
def make_occluded(generator: Generator, visible: Encoder) -> Encoder:
    """The other encoder: the same w and an offset, and no correction."""
    encoder = Encoder(ENCODER)
    encoder.load_state_dict(visible.state_dict())
    offset = w_of(generator, torch.tensor([OFFSET])) - w_of(generator, torch.zeros(1, FACTORS))
    values = dict(encoder.named_parameters())
    for row in range(CONFIG.num_ws):
        values[f"w_plus.styles.{row}.linear.bias"].add_(offset[0, row])
    for name in ("weight", "bias"):
        values[f"trigrid.final_head_two.4.{name}"].zero_()
    return encoder


def main() -> None:
    """Make the model and write it as a bundle."""
    parser = argparse.ArgumentParser(description="Make the toy model of the tests.")
    parser.add_argument("out", type=Path, help="folder of the bundle; an older one is replaced")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # the numbers must not depend on the number of cores
    start = time.perf_counter()

    def tell(line: str) -> None:
        print(f"{time.perf_counter() - start:6.1f} s   {line}", flush=True)

    head, hair = make_base()
    tell(f"the head: {len(head.points)} points")
    generator = make_generator()
    parts = fit_parts(generator, head, hair, (100, 150, 450), tell)
    teach_backbone(generator, parts, 2000, tell)
    train_generator(generator, head, hair, 300, tell)
    generator.eval().requires_grad_(False)
    visible = train_encoder(generator, 64, (300, 300), tell)
    bundle = write_bundle(
        arguments.out,
        name="toy",
        generator=generator.state_dict(),
        config=CONFIG,
        encoders={
            "visible": (visible.state_dict(), ENCODER),
            "occluded": (make_occluded(generator, visible).state_dict(), ENCODER),
        },
        licence=LICENCE,
        half=True,
        replace=True,
    )
    tell(f"written: {sum(size for _, size in bundle.files.values()) / 1e6:.2f} MB in {bundle.folder}")


if __name__ == "__main__":
    main()
