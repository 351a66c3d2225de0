"""The generator and the renderer against every array of the reference (tests/data/README.md), at all three sizes.

Each check names the arrays that it compares and those that it takes as given, and gets a reference that tells when it
reads another one; the last tests hold that no array is left over. All of it takes about 45 s of one core, 30 s of them
at full size.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

import mcubes
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from headstitch.backend.networks.generator import Generator, Rendering, moved
from headstitch.backend.rendering import camera_rays, coarse_depths, inside, render_rays, sample_rays
from headstitch.kernels import lattice_density as kernel
from headstitch.kernels.lattice_density import lattice_density
from headstitch.kernels.ray_march import march
from headstitch.kernels.trigrid import DEPTH, HEIGHT, WIDTH, look_up, sample_trigrid, to_rows

DATA = Path(__file__).resolve().parents[2] / "data"
SIZES = ("tiny", "small", "fullsize")
NOT_COMPARED = {  # the reference says so: other marching cubes make other triangles of the same surface
    "sharp_mesh_samples_counts",
    "sharp_mesh_videos_counts",
}


@dataclass(frozen=True)
class Check:
    tolerances: dict[str, float]  # absolute, by pattern of array names
    given: tuple[str, ...]  # patterns of the arrays that are inputs: latents, cameras, points, positions of probes
    run: Callable[[Model, Given], dict[str, object]]

    def compared(self, reference: dict[str, np.ndarray]) -> dict[str, float]:
        """The tolerance of every array that it compares."""
        return {
            name: atol for name in reference for pattern, atol in self.tolerances.items() if fnmatchcase(name, pattern)
        }


class Given(dict):
    """The arrays that a check may read; keeps which it did read, and the names of those it is asked for."""

    def __init__(self, reference: dict[str, np.ndarray], what: Check) -> None:
        super().__init__({n: v for n, v in reference.items() if any(fnmatchcase(n, p) for p in what.given)})
        self.asked = set(what.compared(reference))
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> np.ndarray:
        self.read.add(name)
        return super().__getitem__(name)

    def tensor(self, name: str) -> torch.Tensor:
        return torch.from_numpy(self[name])


CHECKS: dict[str, Check] = {}


def check(tolerances: dict[str, float], *given: str) -> Callable:
    """Registers a function that makes, from the given arrays alone, the arrays that the patterns name."""

    def register(run: Callable) -> Callable:
        assert run.__name__ not in CHECKS
        CHECKS[run.__name__] = Check(tolerances, given, run)
        return run

    return register


class Model:
    """A seeded generator and what several checks need of it, each made once."""

    def __init__(self, seeding, size: str) -> None:
        self.seeding = seeding
        self.size = size
        self.config = seeding.CONFIGS[size]
        with np.load(DATA / f"panohead_{size}.npz") as arrays:
            self.reference = dict(arrays)
        self.state = seeding.generator_state(self.config)
        self.generator = seeding.from_state(self.config, self.state)

    @cached_property
    def w_plus(self) -> torch.Tensor:
        return self.generator.map(torch.from_numpy(self.reference["z"]), torch.from_numpy(self.reference["c_cond"]))[:1]

    @cached_property
    def trigrid(self) -> torch.Tensor:
        return self.generator.trigrid(self.w_plus)

    @cached_property
    def without_noise(self) -> tuple[torch.Tensor, dict]:
        """The planes without noise, and what every block of backbone and background gave on the way."""
        with recorded(self.generator, "backbone.synthesis.b", "bcg_synthesis.b") as probes:
            planes = self.generator.trigrid(self.w_plus, noise="none").flatten(1, 2)
            self.generator.background(self.w_plus, 64, noise="none")
        return planes, probes

    @cached_property
    def rendering(self):
        """The rendering, and what every block of the super-resolution gave on the way."""
        with recorded(self.generator, "superresolution.block") as probes:
            made = self.generator.render(self.trigrid, self.w_plus, torch.from_numpy(self.reference["c_render"]))
        return made, probes

    @cached_property
    def sharp(self):
        return self.seeding.from_state(self.config, self.seeding.sharpened(self.state))


class recorded:  # noqa: N801 - reads as a word
    """While open, keeps what the blocks whose names start so give: {name: (x, image)}."""

    def __init__(self, generator, *starts: str) -> None:
        self.blocks = {
            name: module
            for name, module in generator.named_modules()
            if any(name.startswith(start) and "." not in name.removeprefix(start) for start in starts)
        }
        self.kept: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def __enter__(self) -> dict:
        def keep(name: str) -> Callable:
            return lambda module, inputs, output: self.kept.__setitem__(name, output)

        self.handles = [module.register_forward_hook(keep(name)) for name, module in self.blocks.items()]
        return self.kept

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()


@pytest.fixture(scope="module", params=SIZES)
def model(request, seeding) -> Model:
    return Model(seeding, request.param)


# --- weights, cameras, rays ------------------------------------------------------------------------------------------


@check({"seed_first4": 0}, "seed_names")
def weights(m: Model, given: Given) -> dict:
    first = [m.state[name].flatten()[:4].numpy() for name in given["seed_names"]]
    return {"seed_first4": np.stack([np.resize(values, 4) for values in first])}


def look_at_label(h: float, v: float, target: np.ndarray, radius: float, focal: float = 4.2647) -> np.ndarray:
    """The official scripts' camera: on a sphere around the origin, v bent by an arccos that is v only at pi / 2."""
    v = np.clip(v, 1e-5, math.pi - 1e-5)
    phi = np.arccos(1 - 2 * v / math.pi)
    theta = math.pi - h
    position = radius * np.array([np.sin(phi) * np.cos(theta), np.cos(phi), np.sin(phi) * np.sin(theta)])
    forward = (target - position) / np.linalg.norm(target - position)
    right = -np.cross([0.0, 1.0, 0.0], forward)
    right /= np.linalg.norm(right)
    cam2world = np.eye(4)
    cam2world[:3] = np.stack([right, np.cross(forward, right), forward, position], axis=1)
    intrinsics = np.array([[focal, 0, 0.5], [0, focal, 0.5], [0, 0, 1]])
    return np.concatenate([cam2world.ravel(), intrinsics.ravel()])


@check({"cam_c": 1e-6}, "cam_args")
def cameras(m: Model, given: Given) -> dict:
    return {"cam_c": np.stack([look_at_label(a[0], a[1], a[2:5], a[5]) for a in given["cam_args"].astype(float)])}


@check({"c_render": 0}, "cam_c")
def camera_of_the_renderings(m: Model, given: Given) -> dict:
    return {"c_render": given["cam_c"][1:2]}


@check({"fov_focal": 1e-6}, "fov_deg")
def focal_lengths(m: Model, given: Given) -> dict:
    return {"fov_focal": 1 / (np.tan(given["fov_deg"].astype(float) * 3.14159 / 360) * 1.414)}


@check({"ray_origin": 1e-6, "ray_dirs": 1e-6}, "c_render")
def rays(m: Model, given: Given) -> dict:
    origins, directions = camera_rays(given.tensor("c_render"), 64)
    return {"ray_origin": origins[0], "ray_dirs": directions[0]}


# --- mapping ---------------------------------------------------------------------------------------------------------


@check({"num_ws": 0, "w_psi*": 1e-5}, "z", "c_cond")
def mapping(m: Model, given: Given) -> dict:
    z, camera = given.tensor("z"), given.tensor("c_cond")
    plain = m.generator.map(z, camera)
    drawn = m.generator.map(z, camera, truncation=0.7, cutoff=14)
    partly = m.generator.map(z, camera, truncation=0.7, cutoff=5)
    for rows in (plain, drawn):
        assert (rows == rows[:, :1]).all()
    return {
        "num_ws": [plain.shape[1]],
        "w_psi1": plain[:, 0],
        "w_psi07": drawn[:, 0],
        "w_psi07_cutoff5_layer4": partly[:, 4],
        "w_psi07_cutoff5_layer5": partly[:, 5],
    }


@check({"delta_c": 1e-6, "delta_c_psi07": 1e-6, "c_cond_plus_delta": 1e-6}, "z", "c_cond")
def camera_offset(m: Model, given: Given) -> dict:
    z, camera = given.tensor("z"), given.tensor("c_cond")
    offset = m.generator.camera_offset(z, camera)
    drawn = m.generator.camera_offset(z, camera, truncation=0.7, cutoff=14)
    return {"delta_c": offset, "delta_c_psi07": drawn, "c_cond_plus_delta": moved(camera, offset)}


# --- backbone --------------------------------------------------------------------------------------------------------


@check({"planes_shape": 0, "planes_*val": 2e-5, "planes_ch_*": 2e-5}, "planes_idx")
def planes(m: Model, given: Given) -> dict:
    planes, silent = m.trigrid.flatten(1, 2), m.without_noise[0]
    channel, row, column = given["planes_idx"].T.astype(int)
    return {
        "planes_shape": planes.shape,
        "planes_val": planes[0, channel, row, column],
        "planes_ch_mean": planes[0].mean((1, 2)),
        "planes_ch_std": planes[0].std((1, 2)),
        "planes_nonoise_val": silent[0, channel, row, column],
    }


def probes(kept: dict, given: Given) -> dict:
    found = {}
    for name in given.asked:
        _, block, which, what = name.split("__")
        value = kept[block][0 if which == "x" else 1]
        if what == "shape":
            found[name] = value.shape
        elif what == "val":
            found[name] = value.flatten()[given[name.removesuffix("val") + "idx"]]
        else:
            found[name] = torch.stack([value.mean(), value.std()])
    return found


@check({f"block__b*__{part}": 1e-4 for part in ("shape", "val", "meanstd")}, "block__b*__idx")
def blocks(m: Model, given: Given) -> dict:
    return probes(m.without_noise[1], given)


@check({f"block__superresolution.*__{part}": 1e-4 for part in ("shape", "val", "meanstd")}, "block__superres*__idx")
def superresolution_blocks(m: Model, given: Given) -> dict:
    return probes(m.rendering[1], given)


# --- tri-grid and decoder --------------------------------------------------------------------------------------------


@check({f"pts_{what}": 2e-5 for what in ("proj_first16", "feat_first50", "sigma", "rgb")}, "pts")
def points(m: Model, given: Given) -> dict:
    points = given.tensor("pts")
    sigma, features = sample_trigrid(m.trigrid, points[None], m.generator.decoder_weights())
    return {
        "pts_proj_first16": torch.stack([points[:16, axes] for axes in zip(WIDTH, HEIGHT, DEPTH, strict=True)]),
        "pts_feat_first50": look_up(m.trigrid, points[None, :50])[0],
        "pts_sigma": sigma[0],
        "pts_rgb": features[0],
    }


def skewed_lattice(count: int) -> torch.Tensor:
    """The official scripts' lattice (count^3, 3): x and y by a division that forgets to round down."""
    index = torch.arange(count**3)
    z, y, x = index % count, index / count % count, index / count / count % count
    return torch.stack([x, y, z], 1) / (count - 1) - 0.5


def density(m: Model, generator, lattice: torch.Tensor) -> np.ndarray:
    rows, decoder = to_rows(m.trigrid), generator.decoder_weights().density_only()
    parts = [sample_trigrid(rows, part[None], decoder)[0][0] for part in lattice.split(1 << 17)]
    return torch.cat(parts).view([round(len(lattice) ** (1 / 3))] * 3).numpy()  # [x, y, z]


@check({"grid64_coord_first300": 1e-6, "grid64_coord_probe": 1e-6}, "grid64_coord_probe_idx")
def skewed_lattice_coordinates(m: Model, given: Given) -> dict:
    lattice = skewed_lattice(64)
    return {
        "grid64_coord_first300": lattice[:300],
        "grid64_coord_probe": lattice[given["grid64_coord_probe_idx"]],
    }


@check({"grid64_sigma": 2e-5, "grid64_exact_sigma_corner32": 2e-5})
def lattices(m: Model, given: Given) -> dict:
    """The skewed lattice point by point, the regular one by the lattice's own kernel."""
    regular = (-0.5,) * 3, 1 / 63, (32,) * 3
    weights = m.generator.decoder_weights()
    return {
        "grid64_sigma": density(m, m.generator, skewed_lattice(64)),
        "grid64_exact_sigma_corner32": lattice_density(m.trigrid[0], weights, *regular, level=10.0, skip=False)[0],
    }


# --- rendering -------------------------------------------------------------------------------------------------------


@check({"render_features": 1e-4, "render_depth": 2e-5, "render_weight_sum": 2e-5}, "c_render")
def rendered(m: Model, given: Given) -> dict:
    decoder, sampling = m.generator.decoder_weights(), m.generator.sampling()
    found = render_rays(m.trigrid, decoder, given.tensor("c_render"), size=64, sampling=sampling)
    return {
        "render_features": found.features[0],
        "render_depth": found.depth[0, 0],
        "render_weight_sum": found.weight_sum[0, 0],
    }


@check({"probe_depth_*": 2e-5, "probe_sigma_*": 2e-5, "probe_weights_coarse": 2e-5}, "c_render", "probe_rays")
def probe_rays(m: Model, given: Given) -> dict:
    origins, directions = camera_rays(given.tensor("c_render"), 64)
    directions = directions[0, given.tensor("probe_rays").long()]
    rows, decoder = to_rows(m.trigrid), m.generator.decoder_weights()
    depths, sigma, features = sample_rays(rows, decoder, origins[0], directions, m.generator.sampling())
    coarse = depths[:, :48]
    points = origins[0] + coarse[..., None] * directions[:, None]
    weights = march(coarse[None], sigma[None, :, :48], features[None, :, :48])[3]
    return {
        "probe_depth_coarse": coarse,
        "probe_sigma_coarse": sample_trigrid(rows, points.view(1, -1, 3), decoder)[0].view(8, 48),
        "probe_sigma_coarse_cropped": sigma[:, :48],
        "probe_weights_coarse": weights[0],
        "probe_depth_fine": depths[:, 48:],
    }


@check({"coarse_cropped_fraction": 1e-6}, "c_render")
def cropped(m: Model, given: Given) -> dict:
    origins, directions = camera_rays(given.tensor("c_render"), 64)
    depths = coarse_depths(m.generator.sampling(), torch.full((48,), 0.5))
    points = origins[0] + depths[:, None] * directions[0][:, None]
    return {"coarse_cropped_fraction": [1 - inside(points, 1.0, "official").double().mean()]}


@check({"bcg_num_ws": 0, "bcg_shape": 0, "bcg_val": 1e-4, "bcg64_val": 1e-4}, "bcg_idx", "bcg64_idx")
def background(m: Model, given: Given) -> dict:
    made = m.generator.bcg_synthesis(m.w_plus)
    return {
        "bcg_num_ws": [m.generator.bcg_synthesis.num_ws],
        "bcg_shape": made.shape,
        "bcg_val": made.flatten()[given["bcg_idx"]],
        "bcg64_val": m.generator.background(m.w_plus, 64).flatten()[given["bcg64_idx"]],
    }


def pictures(m: Model, made: Rendering, prefix: str, given: Given) -> dict:
    """What the reference holds of a rendering."""
    image = made.image[0]
    middle = (image.shape[-1] - 64) // 2
    crop = slice(middle, middle + 64)
    found = {
        "image_raw": made.raw[0],
        "image_mask": made.mask[0, 0],
        "image_depth": made.depth[0, 0],
        "image_down": F.avg_pool2d(image, image.shape[-1] // 128),
        "image_crop64": image[:, crop, crop],
        "image_meanstd": torch.stack([image.mean(), image.std()]),
    }
    return {prefix + name: value for name, value in found.items() if prefix + name in given.asked}


def tolerances(prefix: str, atol: float, exact: float) -> dict[str, float]:
    found = {f"{prefix}image_{what}": atol for what in ("raw", "down", "crop64", "meanstd")}
    return found | {f"{prefix}image_{what}": exact for what in ("mask", "depth")}


@check(tolerances("", 1e-4, 2e-5))
def final_picture(m: Model, given: Given) -> dict:
    return pictures(m, m.rendering[0], "", given)


@check(tolerances("nr128_", 1e-4, 2e-5), "c_render")
def picture_from_128_rays(m: Model, given: Given) -> dict:
    made = m.generator.render(m.trigrid, m.w_plus, given.tensor("c_render"), size=128)
    return pictures(m, made, "nr128_", given)


@check(tolerances("fwd07_", 1e-4, 2e-5), "z", "c_render")
def plain_call(m: Model, given: Given) -> dict:
    made = m.generator(given.tensor("z")[:1], given.tensor("c_render"), truncation=0.7, cutoff=14)
    return pictures(m, made, "fwd07_", given)


# --- the sharp variant -----------------------------------------------------------------------------------------------


@check(tolerances("sharp_", 5e-4, 5e-4), "c_render")
def sharp_picture(m: Model, given: Given) -> dict:
    return pictures(m, m.sharp.render(m.trigrid, m.w_plus, given.tensor("c_render")), "sharp_", given)


@check({"sharp_mesh_*_vert_min_max_mean": 0.1, "sharp_mesh_*_signed_volume": 0})
def sharp_meshes(m: Model, given: Given) -> dict:
    """The official meshes in voxels: skewed lattice, first axis flipped, a border painted over, transposed."""
    values = density(m, m.sharp, skewed_lattice(64))[::-1]
    found = {}
    for script, outside, top in (("samples", -1000, 7), ("videos", 0, 9)):
        painted = np.full_like(values, outside)
        kept = (slice(7, -7), slice(7, -top), slice(7, -7))
        painted[kept] = values[kept]
        vertices, faces = mcubes.marching_cubes(painted.transpose(2, 1, 0), 10)
        a, b, c = vertices[faces].transpose(1, 0, 2)
        volume = np.einsum("ij,ij->", np.cross(a, b), c) / 6
        found[f"sharp_mesh_{script}_vert_min_max_mean"] = [vertices.min(0), vertices.max(0), vertices.mean(0)]
        found[f"sharp_mesh_{script}_signed_volume"] = [-abs(volume)]  # PyMCubes has a winding of its own
    return found


# --- all of them -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHECKS)
def test_agrees_with_the_reference(model, name):
    what = CHECKS[name]
    compared = what.compared(model.reference)
    if not compared:
        pytest.skip(f"the {model.size} reference has no such arrays")
    given = Given(model.reference, what)
    with torch.no_grad():
        found = what.run(model, given)
    assert set(found) == set(compared)
    assert given.read == set(given), "a check reads what it says it reads"
    for array, atol in compared.items():
        ours, theirs = np.asarray(found[array], np.float64), model.reference[array].astype(np.float64)
        rtol = 0.005 if array.endswith("_volume") else 0
        assert ours.shape == theirs.shape, array
        np.testing.assert_allclose(ours, theirs, atol=atol, rtol=rtol, err_msg=array)


def test_blocks_that_are_skipped_leave_the_sharp_head_as_it_is(model, monkeypatch):
    """Every vertex is where the dense lattice has it, to a tenth of a voxel, and every triangle is there. A lattice so
    fine that even in this noise some blocks hold no surface.
    """
    monkeypatch.setattr(kernel, "_DENSE_SHARE", 2.0)  # else so rough a field is evaluated everywhere
    weights, lattice = model.sharp.decoder_weights(), ((-0.1,) * 3, 1 / 1023, (64,) * 3)
    meshes = []
    for skip in (True, False):
        values, share = lattice_density(model.trigrid[0], weights, *lattice, level=10.0, skip=skip)
        assert (share < 1) is skip
        meshes.append(mcubes.marching_cubes(values.numpy(), 10))
    (ours, triangles), (vertices, expected) = meshes
    np.testing.assert_array_equal(triangles, expected)
    np.testing.assert_allclose(ours, vertices, rtol=0, atol=0.1)


@pytest.mark.parametrize("size", SIZES)
def test_no_array_of_the_reference_is_left_over(size):
    with np.load(DATA / f"panohead_{size}.npz") as arrays:
        reference = dict(arrays)
    by = [set(what.compared(reference)) for what in CHECKS.values()]
    compared = set().union(*by)
    assert sum(map(len, by)) == len(compared), "an array has one check"
    given = set().union(*(set(Given(reference, what)) for what in CHECKS.values()))
    assert set(reference) == compared | given | NOT_COMPARED
    assert not compared & NOT_COMPARED


@pytest.mark.parametrize("size", SIZES)
def test_tensors_have_the_official_names_shapes_and_order(seeding, size):
    suffix = "" if size == "fullsize" else f"_{size}"
    official = json.loads((DATA / f"panohead_params{suffix}.json").read_text("utf-8"))
    with torch.device("meta"):
        made = Generator(seeding.CONFIGS[size])
    assert [(name, list(value.shape)) for name, value in made.state_dict().items()] == [
        (tensor["name"], tensor["shape"]) for tensor in official["tensors"]
    ]
    parameters = {tensor["name"] for tensor in official["tensors"] if tensor["kind"] == "parameter"}
    assert {name for name, _ in made.named_parameters()} == parameters
