"""What pictures are compared by: LPIPS and IR-SE50 out of files, and our own distance."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from headstitch.backend.errors import ModelError
from headstitch.backend.learning.identity import FaceNet, IdentityDistance, face_of, load_face_net, start_trunk
from headstitch.backend.learning.perceptual import ALEX, GradientDistance, Lpips
from headstitch.backend.networks.irse import Trunk
from safetensors.torch import save_file
from torch import nn

WIDTHS = (4, 6, 8, 8, 5)
SIZES = (11, 5, 3, 3, 3)


def alex_state():
    generator = torch.Generator().manual_seed(2)
    state, inputs = {}, 3
    for (layer, _, _), width, size in zip(ALEX, WIDTHS, SIZES, strict=True):
        state[f"features.{layer}.weight"] = 0.2 * torch.randn(width, inputs, size, size, generator=generator)
        state[f"features.{layer}.bias"] = 0.1 * torch.randn(width, generator=generator)
        inputs = width
    return state


def heads_state():
    generator = torch.Generator().manual_seed(3)
    return {f"lin{n}.model.1.weight": torch.rand(1, width, 1, 1, generator=generator) for n, width in enumerate(WIDTHS)}


def alexnet(state):
    """The layers as torchvision lists them."""
    features = nn.Sequential(
        *(nn.Conv2d(3, 4, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(4, 6, 5, 1, 2), nn.ReLU()),
        *(nn.MaxPool2d(3, 2), nn.Conv2d(6, 8, 3, 1, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU()),
        *(nn.Conv2d(8, 5, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(3, 2)),
    )
    features.load_state_dict({name.removeprefix("features."): value for name, value in state.items()})
    return features


def by_hand(one, other):
    """LPIPS of single pictures, with plain loops over the layers and the channels."""
    features, heads = alexnet(alex_state()), heads_state()
    shift, scale = (torch.tensor(v).view(1, 3, 1, 1) for v in ([-0.030, -0.088, -0.188], [0.458, 0.448, 0.450]))
    total, number = 0.0, 0
    a, b = (one - shift) / scale, (other - shift) / scale
    for place, layer in enumerate(features):
        a, b = layer(a), layer(b)
        if place in (1, 4, 7, 9, 11):
            difference = (F.normalize(a, dim=1) - F.normalize(b, dim=1)).square()
            weight = heads[f"lin{number}.model.1.weight"]
            total += sum(float(weight[0, c, 0, 0] * difference[0, c].mean()) for c in range(a.shape[1]))
            number += 1
    return total


@pytest.fixture
def files(tmp_path):
    torch.save(alex_state(), tmp_path / "alexnet.pth")
    torch.save(heads_state(), tmp_path / "alex.pth")
    return [tmp_path / "alexnet.pth", tmp_path / "alex.pth"]


def pictures(count=2, size=64):
    return torch.rand(2, count, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


@torch.no_grad()
def test_lpips_is_its_formula(files):
    one, other = pictures()
    found = Lpips.from_files(files)(one, other)
    expected = [by_hand(one[n : n + 1], other[n : n + 1]) for n in range(2)]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4)


@torch.no_grad()
def test_one_file_with_the_names_of_the_whole_network_does_too(files, tmp_path):
    whole = {f"net.slice{n + 1}.{name.removeprefix('features.')}": value for n, (layer, _, _) in enumerate(ALEX)
             for name, value in alex_state().items() if name.startswith(f"features.{layer}.")}  # fmt: skip
    save_file(whole | heads_state(), tmp_path / "whole.safetensors")
    one, other = pictures()
    assert torch.equal(
        Lpips.from_files([tmp_path / "whole.safetensors"])(one, other), Lpips.from_files(files)(one, other)
    )


def test_files_that_lack_something_are_named(files, tmp_path):
    with pytest.raises(
        ModelError, match=r"alexnet\.pth lacks lin0\.model\.1\.weight; give AlexNet's weights and those"
    ):
        Lpips.from_files(files[:1])
    with pytest.raises(ModelError, match=r"alex\.pth lacks features\.0\.weight"):
        Lpips.from_files(files[1:])
    spoiled = heads_state() | {"lin2.model.1.weight": torch.rand(1, 3, 1, 1)}
    torch.save(spoiled, tmp_path / "spoiled.pth")
    with pytest.raises(ModelError, match=r"lin2\.model\.1\.weight is \(1, 3, 1, 1\) instead of \(1, 8, 1, 1\)"):
        Lpips.from_files([files[0], tmp_path / "spoiled.pth"])


@pytest.mark.parametrize("which", ["lpips", "own"])
def test_a_distance_is_nothing_for_the_same_picture_and_has_a_gradient(files, which):
    distance = Lpips.from_files(files) if which == "lpips" else GradientDistance()
    one, other = pictures()
    assert distance(one, one).abs().max() < 1e-6
    assert (distance(one, other) > 0.01).all()
    assert not list(distance.parameters())
    moving = one.clone().requires_grad_(True)
    distance(moving, other).sum().backward()
    assert moving.grad.isfinite().all()
    assert moving.grad.abs().sum() > 0


def test_our_distance_minds_a_blur_more_than_a_shift_of_colour_of_the_same_error():
    sharp = F.interpolate(pictures(1, 16)[0], 64) * 0.5
    blurred = F.avg_pool2d(F.pad(sharp, (2, 2, 2, 2), mode="replicate"), 5, 1)
    lighter = sharp + (blurred - sharp).square().mean().sqrt()
    assert F.mse_loss(lighter, sharp).item() == pytest.approx(F.mse_loss(blurred, sharp).item(), rel=1e-4)
    distance = GradientDistance()
    assert distance(blurred, sharp) > 2 * distance(lighter, sharp)


# --- faces -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def face_net():
    torch.manual_seed(4)
    network = FaceNet((8, 16, 24, 32), (1, 1, 2, 1), 10, 7)
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.1)
    return network.eval()


def test_the_recogniser_is_read_from_its_file_by_shapes(face_net, tmp_path):
    torch.save(face_net.state_dict(), tmp_path / "faces.pth")
    found = load_face_net(tmp_path / "faces.pth")
    faces = pictures(2, 112)[0]
    torch.testing.assert_close(found(faces), face_net(faces))
    torch.testing.assert_close(found(faces).norm(dim=1), torch.ones(2))
    assert not any(p.requires_grad for p in found.parameters())


def test_a_file_that_is_no_recogniser_is_refused(face_net, tmp_path):
    state = face_net.state_dict()
    torch.save({name: value for name, value in state.items() if not name.startswith("output")}, tmp_path / "a.pth")
    with pytest.raises(ModelError, match=r"a\.pth is no IR-SE50 for faces of 112 pixels"):
        load_face_net(tmp_path / "a.pth")
    torch.save({name: value for name, value in state.items() if name != "output_layer.4.bias"}, tmp_path / "b.pth")
    with pytest.raises(ModelError, match=r"b\.pth lacks output_layer\.4\.bias"):
        load_face_net(tmp_path / "b.pth")
    with pytest.raises(ModelError):
        load_face_net(tmp_path / "nothing.pth")


def test_the_face_is_cut_out_where_crops_have_it():
    picture = torch.zeros(1, 1, 256, 256)
    picture[..., 35:223, 32:220] = 1
    assert face_of(picture).shape == (1, 1, 112, 112)
    assert face_of(picture).min() == 1
    row = torch.arange(256.0).view(1, 1, 256, 1).expand(1, 1, 256, 256)
    assert face_of(row)[0, 0, 0, 0] == pytest.approx(35.5, abs=0.6)
    assert face_of(row)[0, 0, -1, 0] == pytest.approx(221.5, abs=0.6)


def test_the_distance_of_faces_is_one_minus_the_cosine(face_net):
    distance = IdentityDistance(face_net)
    one, other = pictures(2, 256)
    a, b = face_net(face_of(one)), face_net(face_of(other))
    torch.testing.assert_close(distance(one, other), 1 - F.cosine_similarity(a, b))
    assert distance(one, one).abs().max() < 1e-5


def test_an_encoder_begins_as_the_recogniser_where_sizes_agree(face_net):
    trunk = Trunk(3, (8, 16, 24, 32), (1, 1, 2, 1))
    assert start_trunk(trunk, face_net)
    assert torch.equal(trunk.body[3].res_layer[1].weight, face_net.body[3].res_layer[1].weight)
    assert not start_trunk(Trunk(9, (8, 16, 24, 32), (1, 1, 2, 1)), face_net)
