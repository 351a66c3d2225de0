"""The toy model of ``tests/data``: that it is what its README says, and what the whole journey makes with it.

The file takes 25 s on two cores, half of them for the one journey.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from headstitch.backend.camera import Camera
from headstitch.backend.inversion.color import make_painter
from headstitch.backend.models.bundle import load_bundle
from headstitch.backend.options import Inversion, Options
from headstitch.backend.reconstruct import reconstruct

ROOT = Path(__file__).parents[2]
TOY = ROOT / "tests" / "data" / "toy_model"
WHITE = (1.0, 1.0, 1.0)
# Where w goes with lighter skin, lighter hair and a larger head, as scripts/make_toy_model.py has it.
AXES = torch.linalg.qr(torch.randn(32, 3, generator=torch.Generator().manual_seed(1)))[0].T * 2


@pytest.fixture(scope="module")
def bundle():
    return load_bundle(TOY)


@pytest.fixture(scope="module")
def generator(bundle):
    return bundle.generator()


@pytest.fixture(scope="module")
def visible(bundle):
    return bundle.encoder("visible")


def label(yaw=0.0):
    return torch.from_numpy(Camera.from_angles(yaw).label)[None]


def lightness_on_top(picture, head_mask):
    """Mean colour, sRGB in [0, 1], of the head's part (mask (1, 1, S, S)) of a picture's upper quarter."""
    size = picture.shape[-1]
    mask = F.interpolate(head_mask, size)[0, 0, : size // 4] > 0.95
    return float((picture[0, :, : size // 4] / 2 + 0.5)[:, mask].mean())


def test_it_is_whole_small_and_free(bundle):
    bundle.verify()
    assert bundle.name == "toy"
    assert bundle.licence.startswith("CC0-1.0")
    assert sum(path.stat().st_size for path in TOY.iterdir()) < 1_800_000


def test_super_resolution_passes_the_raw_colors_through(generator, visible):
    w_plus = visible.latent_avg[None]
    picture = generator.render(generator.trigrid(w_plus), w_plus, label(), background=WHITE)
    enlarged = F.interpolate(picture.raw, scale_factor=2, mode="bilinear", align_corners=False)
    # But for the rim, beyond which the filter meets zeros.
    torch.testing.assert_close(picture.image[..., 2:-2, 2:-2], enlarged[..., 2:-2, 2:-2], rtol=0, atol=1e-4)


def test_its_mean_head_has_a_face_and_hair(generator, visible):
    """Opaque in the middle from front and back, nothing in the upper corners; dark on top, reddish below."""
    w_plus = visible.latent_avg[None]
    trigrid = generator.trigrid(w_plus)
    for yaw in (0.0, np.pi):
        _, mask = generator.depth(trigrid, label(yaw), size=32)
        assert mask[0, 0, 10:22, 12:20].min() > 0.95
        assert mask[0, 0, :6, [0, 1, -2, -1]].max() < 0.05
    picture = generator.render(trigrid, w_plus, label(), background=WHITE).raw[0] / 2 + 0.5
    forehead, cheek = picture[:, 10:16, 28:36].mean((1, 2)), picture[:, 38:42, 24:28].mean((1, 2))
    assert (cheek - forehead > 0.1).all()
    assert cheek[0] > cheek[1] > cheek[2]


def test_the_encoder_sees_light_and_dark_hair_in_a_picture(generator, visible):
    """Pictures of two heads that differ in w; the encoder's own heads of them differ likewise."""
    seen, made = [], []
    for hair in (-0.8, 0.8):
        w_plus = visible.latent_avg[None] + hair * AXES[1]
        trigrid = generator.trigrid(w_plus)
        _, mask = generator.depth(trigrid, label(0.2))
        photo = generator.render(trigrid, w_plus, label(0.2), background=WHITE).image
        found = visible.encode_w(photo)
        again = generator.render(generator.trigrid(found), found, label(0.2), background=WHITE).image
        seen.append(lightness_on_top(photo, mask))
        made.append(lightness_on_top(again, mask))
    assert seen[1] - seen[0] > 0.15
    assert 0.6 < (made[1] - made[0]) / (seen[1] - seen[0]) < 1.4


@pytest.mark.parametrize("skin", [-0.5, 0.5])
def test_the_visible_encoder_corrects_a_tri_grid_by_what_its_pictures_lack(generator, visible, skin):
    """The head of the mean w, shown a picture of another skin: tri-grid and picture get closer to that head's."""
    mean, other = visible.latent_avg[None], visible.latent_avg[None] + skin * AXES[0]
    given, wanted = generator.trigrid(mean), generator.trigrid(other)
    render, photo = (generator.render(trigrid, mean, label(), background=WHITE).image for trigrid in (given, wanted))
    corrected = visible.refine(given, photo, render, render)  # from the front, the mirrored camera is the same
    assert F.mse_loss(corrected, wanted) < 0.6 * F.mse_loss(given, wanted)
    again = generator.render(corrected, mean, label(), background=WHITE).image
    assert F.mse_loss(again, photo) < 0.6 * F.mse_loss(render, photo)


def test_the_encoders_differ_as_the_readme_says(bundle, generator, visible):
    occluded = bundle.encoder("occluded")
    photo = generator.render(generator.trigrid(visible.latent_avg[None]), visible.latent_avg[None], label()).image
    one, two = visible.encode_w(photo), occluded.encode_w(photo)
    torch.testing.assert_close(two - one, (0.7 * AXES[1] + 0.5 * AXES[2]).expand(1, 10, -1), rtol=0, atol=1e-4)
    coarse = generator.trigrid(two)
    torch.testing.assert_close(occluded.refine(coarse, photo, photo, photo), coarse, rtol=0, atol=0)


def test_its_head_is_painted_as_it_looks(generator, visible):
    """Front and back, the painter's colours are those of the field at the surface, within 0.1."""
    w_plus = visible.latent_avg[None]
    trigrid = generator.trigrid(w_plus)
    painter = make_painter(generator, trigrid, w_plus, Inversion(), torch.device("cpu"), views=[(0, 0), (180, 0)])
    for yaw in (0.0, np.pi):
        camera = Camera.from_angles(yaw)
        picture = generator.render(trigrid, w_plus, torch.from_numpy(camera.label)[None], background=WHITE)
        rays = torch.from_numpy(camera.rays(64))[16:40, 24:40].reshape(-1, 6)
        depth = picture.depth[0, 0, 16:40, 24:40].reshape(-1, 1)
        shown = (picture.raw[0, :, 16:40, 24:40].flatten(1).T / 2 + 0.5).clamp(0, 1)
        painted = painter(rays[:, :3] + (depth - 0.01) * rays[:, 3:])
        assert (painted - shown).abs().mean() < 0.02
        assert (painted - shown).abs().max() < 0.1


@pytest.fixture(scope="module")
def head():
    options = Options(model=str(TOY), resolution=96, faces=8000, texture_size=512)
    return reconstruct(ROOT / "examples" / "portrait.jpg", options=options)


def test_the_journey_makes_a_sound_head_of_a_photo(head):
    """The person's face where the photo has it, on one closed piece; only the lumps of its coarse planes may show."""
    assert {measurement.name for measurement in head.quality.failed} <= {"back_roughness"}
    assert head.quality["landmark_error"].value < 1.5
    assert head.surface.watertight
    size = np.ptp(head.mesh.mesh.vertices, axis=0)
    assert (size > [0.35, 0.6, 0.35]).all()


def test_what_the_photo_hides_is_the_occluded_encoders(head):
    """Its hair is lighter than the visible encoder's: so is the back of the stitched head."""
    bundle = load_bundle(TOY)
    generator = bundle.generator()
    trigrids = {}
    for which in ("visible", "occluded"):
        trigrids[which] = generator.trigrid(torch.from_numpy(head.latent[f"w_plus.{which}"]).view(1, 10, 32))
    trigrids["stitched"] = torch.from_numpy(head.latent["trigrid"]).float().view(1, 3, 96, 64, 64)
    w = torch.from_numpy(head.latent["w"]).view(1, 10, 32)
    back = {
        which: generator.render(trigrid, w, label(np.pi), background=WHITE).raw[0, :, 16:32, 28:36].mean()
        for which, trigrid in trigrids.items()
    }
    assert back["occluded"] - back["visible"] > 0.1
    assert abs(back["stitched"] - back["occluded"]) < 0.35 * (back["occluded"] - back["visible"])
