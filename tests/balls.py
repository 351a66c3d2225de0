"""A model whose heads are balls, for tests: its encoders paint them red or green, so that one sees whose what is.

Nothing in it is learned; it stands in for a bundle where only the way of the data matters.
"""

import math

import torch
from headstitch.backend.networks.config import EncoderConfig, GeneratorConfig
from headstitch.backend.networks.generator import Generator

RADIUS = 0.25
PLANE = 64  # cells along a plane
CONFIG = GeneratorConfig(
    z_dim=8,
    w_dim=8,
    channel_base=256,
    channel_max=8,
    trigrid_size=PLANE,
    image_size=128,
    superresolution="2X",
    render_size=32,
    coarse_samples=12,
    fine_samples=8,
    ray_start=2.4,
    ray_end=2.95,
)
ENCODER = EncoderConfig(
    image_size=64,
    widths=(8, 8, 8, 8),
    blocks=(1, 1, 1, 1),
    num_ws=CONFIG.num_ws,
    w_dim=CONFIG.w_dim,
    style_width=8,
    plane_size=PLANE,
    hidden=8,
)
COLORS = {"visible": (0.8, -0.8, -0.8), "occluded": (-0.8, 0.8, -0.8)}  # red and green in [-1, 1]


def ball_planes(color):
    """(1, 3, 96, R, R): feature 0 adds up to r^2 over the planes, 1 to 3 to the colour, in all slices alike."""
    at = (torch.arange(PLANE) + 0.5) / PLANE - 0.5
    row, column = torch.meshgrid(at, at, indexing="ij")
    planes = torch.zeros(3, 32, PLANE, PLANE)
    planes[0, 0], planes[1, 0] = row**2 + column**2, row**2  # x and y; z
    planes[:, 1:4] = torch.tensor(color).view(3, 1, 1) / 3
    return planes.repeat_interleave(3, 1)[None]


class BallGenerator(Generator):
    """Draws what ``ball_planes`` holds, whatever w+ is; w+ decides only which tri-grid there is before refinement."""

    def trigrid(self, w_plus, **_):
        return ball_planes((0.0, 0.0, 0.0)) + w_plus.mean()


def make_generator():
    """Its pictures are the decoded colour as it is; density falls by 20000 for a unit of r^2."""
    torch.manual_seed(0)
    made = BallGenerator(CONFIG).eval().requires_grad_(False)
    first, last = made.decoder.net[0], made.decoder.net[2]
    for layer in (first, last, made.torgb, made.torgb.affine):
        layer.weight.zero_()
        layer.bias.zero_()
    # softplus(t + 20) is t + 20 for the small t here.
    for unit in range(4):
        first.weight[unit, unit], first.bias[unit] = math.sqrt(CONFIG.features) * 3, 20
    slope = 20_000
    last.weight[0, 0], last.bias[0] = -slope * 8, CONFIG.level + slope * (RADIUS**2 + 20)
    for channel in range(3):
        last.weight[1 + channel, 1 + channel], last.bias[1 + channel] = 8, -20
    made.torgb.affine.bias.fill_(math.sqrt(CONFIG.features))
    for channel in range(3):
        made.torgb.weight[channel, channel] = 1.0
    for block in (made.superresolution.block0, made.superresolution.block1):
        block.torgb.weight.zero_()
        block.torgb.bias.zero_()
    return made


class BallEncoder:
    """Remembers what it was shown, and paints the ball in its own colour."""

    def __init__(self, which, shown):
        self.which, self.shown = which, shown

    def encode_w(self, image):
        self.shown[self.which] = {"image": image.clone()}
        return torch.full((1, CONFIG.num_ws, CONFIG.w_dim), {"visible": 1e-3, "occluded": 2e-3}[self.which])

    def refine(self, trigrid, image, render, mirrored_render):
        self.shown[self.which] |= {
            "trigrid": trigrid.clone(),
            "photo": image.clone(),
            "render": render.clone(),
            "mirrored": mirrored_render.clone(),
        }
        return ball_planes(COLORS[self.which])


class BallBundle:
    """Stands in for a bundle; ``shown`` is what its encoders were shown."""

    name, sha256, licence = "balls", "ab" * 32, "CC0-1.0"
    config, folder, parameters_bytes = CONFIG, "models/balls", 1 << 20

    def __init__(self):
        self.shown = {}

    def generator(self, _device):
        return make_generator()

    def encoder(self, which, _device):
        return BallEncoder(which, self.shown)
