"""The painter on a hollow ball of known colours, whose generator passes the raw colour through its super-resolution."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from headstitch.backend.inversion.color import TOLERANCE, VIEWS, make_painter
from headstitch.backend.networks.config import GeneratorConfig
from headstitch.backend.networks.generator import Generator
from headstitch.backend.options import Inversion

OUTER, INNER = 0.25, 0.15  # radii of the shell
SIZE = 64
SHIFT = 0.1  # what super-resolution adds to every colour, in sRGB: that tells a view's colour from a point's own
DEEP = 0.016  # world units; a pixel of a view shows what lies up to this far below the level
CPU = torch.device("cpu")
CONFIG = GeneratorConfig(
    z_dim=8,
    w_dim=8,
    channel_base=256,
    channel_max=8,
    trigrid_size=SIZE,
    image_size=128,
    superresolution="2X",
    render_size=48,
    coarse_samples=32,
    fine_samples=24,
    ray_start=2.4,
    ray_end=3.0,
)
W_PLUS = torch.zeros(1, CONFIG.num_ws, CONFIG.w_dim)


class CountingGenerator(Generator):
    """Counts its pictures, and adds a tint of its own (a number) to each of them."""

    pictures = 0
    tints = (0.0,) * len(VIEWS)

    def render(self, *arguments, **options):
        rendering = super().render(*arguments, **options)
        tint = 2 * self.tints[self.pictures % len(self.tints)]
        self.pictures += 1
        return replace(rendering, image=rendering.image + tint)


def color_at(points):
    """sRGB of the field: rises by 0.8 for each world unit along each axis."""
    return 0.5 + 0.8 * points


def passing_generator():
    """Decodes the tri-grid of ``shell``: density from r^2, colour from the place itself."""
    torch.manual_seed(0)
    made = CountingGenerator(CONFIG).eval().requires_grad_(False)
    first, last = made.decoder.net[0], made.decoder.net[2]
    for layer in (first, last, made.torgb, made.torgb.affine):
        layer.weight.zero_()
        layer.bias.zero_()
    # softplus(t + 20) is t + 20 for the small t here, and softplus(t) with a steep t is max(t, 0).
    middle, half = (OUTER**2 + INNER**2) / 2, (OUTER**2 - INNER**2) / 2
    steep = 1e4
    first.weight[0, 0], first.bias[0] = steep, -steep * middle  # max(r^2 - middle, 0)
    first.weight[1, 0], first.bias[1] = 1, 20 - middle  # r^2 - middle
    for axis in range(3):
        first.weight[2 + axis, 1 + axis], first.bias[2 + axis] = 1, 20
        last.weight[1 + axis, 2 + axis], last.bias[1 + axis] = 1, -20
    first.weight.mul_(math.sqrt(CONFIG.features) * 3)  # effective values; a look-up is the mean of three planes
    slope = 2e4  # density for each unit of r^2: opaque within a few thousandths of a unit
    last.weight[0, 0], last.weight[0, 1] = -2 * slope / steep, slope  # level + slope * (half - |r^2 - middle|)
    last.bias[0] = CONFIG.level + slope * (half - 20)
    last.weight.mul_(math.sqrt(CONFIG.decoder_hidden))
    made.torgb.affine.bias.fill_(math.sqrt(CONFIG.features))
    for axis in range(3):
        made.torgb.weight[axis, axis] = 1.6  # in [-1, 1]
    for block in (made.superresolution.block0, made.superresolution.block1):
        block.torgb.weight.zero_()
        block.torgb.bias.zero_()
    made.superresolution.block0.torgb.bias.fill_(2 * SHIFT)
    return made


@pytest.fixture(scope="module")
def shell():
    """(1, 3, 96, R, R): feature 0 adds up to r^2 over the planes, 1 to 3 to x, y and z."""
    at = (torch.arange(SIZE) + 0.5) / SIZE - 0.5
    row, column = torch.meshgrid(at, at, indexing="ij")
    planes = torch.zeros(3, 32, SIZE, SIZE)
    planes[0, 0], planes[0, 1], planes[0, 2] = row**2 + column**2, column, row  # x across, y up
    planes[1, 0], planes[1, 3] = row**2, row  # x across, z up
    return planes.repeat_interleave(3, 1)[None]


@pytest.fixture
def generator():
    return passing_generator()


@pytest.fixture(scope="module")
def painter(shell):
    """Rendered once for all tests that leave it as it is."""
    return make_painter(passing_generator(), shell, W_PLUS, Inversion(), CPU)


def ball(count, radius, seed=0):
    points = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(points, dim=1) * radius


def test_the_views_colors_come_back_where_views_see(painter):
    """But for the underside, which one view alone looks at, and at a slant."""
    points = ball(4000, OUTER)
    points = points[points[:, 1] > -0.5 * OUTER]
    color = painter(points)
    np.testing.assert_allclose(color, color_at(points) + SHIFT, rtol=0, atol=0.8 * DEEP)


def test_what_no_view_sees_has_its_own_color(painter):
    """The wall of the hollow within is hidden; nothing of the super-resolved views may reach it."""
    points = ball(1000, INNER)
    np.testing.assert_allclose(painter(points), color_at(points), rtol=0, atol=1e-4)


def test_depth_decides_within_the_stated_tolerance(painter):
    """Below the surface seen face on: up to the tolerance the view's colour, beyond twice as much the point's own."""
    front = torch.tensor([[0.0, 0.0, 1.0]])
    shallow, deep = front * (OUTER - 0.8 * TOLERANCE), front * (OUTER - 2.2 * TOLERANCE)
    np.testing.assert_allclose(painter(shallow), color_at(front * OUTER) + SHIFT, rtol=0, atol=0.8 * DEEP)
    np.testing.assert_allclose(painter(deep), color_at(deep), rtol=0, atol=1e-4)


@pytest.mark.parametrize("background", ["white", "grey", "black", "learned"])
def test_nothing_of_the_background_bleeds_in(generator, shell, background):
    """Behind the head stands anything from black to white, or noise: no colour changes."""
    options = Inversion(background=background)
    painter = make_painter(generator, shell, W_PLUS, options, CPU, views=[(0, 0), (75, 0)])
    points = ball(4000, OUTER)
    color = painter(points)
    truth = color_at(points)
    # Between the point's own colour and the view's, by trust.
    share = ((color - truth) / SHIFT).mean(1, keepdim=True).clamp(0, 1)
    assert (share == 0).any()
    assert (share > 0.9).any()
    np.testing.assert_allclose(color, truth + share * SHIFT, rtol=0, atol=0.8 * DEEP)


def test_each_point_is_painted_by_itself(painter):
    points = torch.cat([ball(300, OUTER), ball(100, INNER)])
    whole = painter(points)
    order = torch.randperm(len(points), generator=torch.Generator().manual_seed(1))
    np.testing.assert_allclose(painter(points[order]), whole[order], rtol=0, atol=2e-6)
    np.testing.assert_allclose(torch.cat([painter(p) for p in points.split(7)]), whole, rtol=0, atol=2e-6)


def test_views_are_rendered_once_and_only_when_asked_for(generator, shell):
    painter = make_painter(generator, shell, W_PLUS, Inversion(), CPU, views=[(0, 0), (180, 0)])
    assert generator.pictures == 0
    painter(ball(10, OUTER))
    painter(ball(10, OUTER, seed=1))
    assert generator.pictures == 2


def test_no_points_give_no_colors(painter):
    assert painter(torch.zeros(0, 3)).shape == (0, 3)


def test_views_that_disagree_meet_without_a_seam(generator, shell):
    """Every other view has a tint of 0.2; along circles around the ball, in steps of a quarter of a degree (a
    thousandth of a unit, half a millimetre) the colour changes by no more than a twentieth of all that it can."""
    generator.tints = tuple(0.2 * (number % 2) for number in range(len(VIEWS)))
    painter = make_painter(generator, shell, W_PLUS, Inversion(), CPU, views=[*VIEWS[:6], (0, 50)])
    turn = torch.linspace(0, 2 * math.pi, 1441)
    for tilt in (0.0, 0.5, 1.0, 1.57):
        points = OUTER * torch.stack([turn.cos(), math.sin(tilt) * turn.sin(), math.cos(tilt) * turn.sin()], 1)
        color = painter(points)
        steps = (color[1:] - color[:-1] - (color_at(points[1:]) - color_at(points[:-1]))).abs()
        assert color.amax() - color_at(points).amax() > 0.15  # the tints are there
        assert steps.max() < (0.2 + SHIFT) / 20
