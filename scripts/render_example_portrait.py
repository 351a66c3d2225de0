"""Renders examples/portrait.jpg: a person who does not exist, from the CC0 head pack, with Cycles in the bpy package.

Beside the picture it writes the truth about it (.json): camera and pose of the head. Same seed and size, same picture.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import bpy
import example_portrait_hair as strands
import example_portrait_materials as materials
import numpy as np
from example_portrait_person import Person, build_person, cornea, eyeball, in_collar, shirt, skin_masks
from headstitch.addon.cycles_heads import stage
from headstitch.backend.camera import RADIUS, Camera
from headstitch.backend.template.pack import HEAD_CENTRE, WORLD_PER_DECIMETRE, to_world
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
YAW, PITCH, ROLL = 13.0, 2.0, 1.5  # degrees, as Camera.from_angles takes them
FOCAL = 90 / 36  # focal length in image widths: a 90 mm lens
PRINCIPAL_ROW = 0.455  # where the head's centre stands in the picture, from the top
BACKDROP = ((0.205, 0.225, 0.245), (0.075, 0.086, 0.100))  # linear colour behind the head and at the corners
CLOTH = (0.032, 0.050, 0.080)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument(
        "--out", type=Path, default=ROOT / "examples/portrait.jpg", help="picture; .json goes beside it"
    )
    options.add_argument("--size", type=int, default=1024, help="pixels of a side")
    options.add_argument("--samples", type=int, default=64, help="Cycles samples a pixel")
    options.add_argument("--strands", type=int, default=42_000, help="hairs on the scalp")
    options.add_argument("--seed", type=int, default=7)
    options.add_argument("--no-denoise", action="store_true", help="leave the noise of few samples")
    options.add_argument("--alpha", action="store_true", help="write a PNG with alpha, without the backdrop")
    options.add_argument(
        "--crop", type=float, nargs=4, metavar=("LEFT", "TOP", "RIGHT", "BOTTOM"), help="render a part"
    )
    arguments = options.parse_args()

    camera = portrait_camera()
    who = build_scene(arguments.seed, arguments.strands, camera)
    picture = render(arguments.size, arguments.samples, camera, not arguments.no_denoise, arguments.crop)
    save(picture, arguments.out, arguments.seed, arguments.alpha)
    write_truth(arguments.out.with_suffix(".json"), camera, who, arguments.size, arguments.seed)


def portrait_camera() -> Camera:
    """The camera of the whole picture, in PanoHead's world; its principal point is where the head's centre stands."""
    seen = Camera.from_angles(*np.radians([YAW, PITCH, ROLL]), radius=RADIUS, focal=FOCAL)
    intrinsics = seen.intrinsics.copy()
    intrinsics[1, 2] = PRINCIPAL_ROW
    return Camera(seen.cam2world, intrinsics)


def build_scene(seed: int, count: int, camera: Camera) -> Person:
    """Everything in pack units (1 = 10 cm), y up; returns whom it shows."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    who = build_person(seed, body_turn=np.radians(-9.0))
    skin = strands.Skin(who, np.random.default_rng([seed, 8]))
    masks = skin_masks()

    bare = [
        p for p in who.polygons if who.rest[p, 1].min() > 5.9 or in_collar(who.rest[p]).min() < 1.12
    ]  # what the shirt hides must not show through it
    body = add_mesh("body", who.vertices, bare, materials.skin(seed), who.rest, subdivisions=2)
    stage.set_attribute(body.data, "scalp", strands.scalp_cover(who.rest))
    add_eyes(who, seed, np.array(HEAD_CENTRE) + camera.position / WORLD_PER_DECIMETRE)
    add_shirt(who)

    share = count / 42_000
    head_hair, face_hair = materials.hair("hair"), materials.hair("brow", brightness=0.6, roughness=0.4)
    few = [max(int(n * share), 8) for n in (2500, 18000)]
    stage.add_strands("hair", strands.scalp_hair(who, skin, count, seed), 0.0030 / max(share, 0.05) ** 0.5, [head_hair])
    stage.add_strands("brows", strands.brows(skin, masks[0, ..., 1], few[0], seed), 0.0022, [face_hair], taper=0.85)
    stage.add_strands("stubble", strands.stubble(skin, masks[0, ..., 2], few[1], seed), 0.0008, [face_hair])
    stage.add_strands("lashes", strands.lashes(who, seed), 0.0017, [materials.hair("lash", 0.25)], taper=0.9)
    add_lights()
    return who


def add_mesh(name, vertices, faces, material, rest=None, subdivisions=0):
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(np.asarray(vertices, float), [], faces)
    mesh.polygons.foreach_set("use_smooth", np.ones(len(mesh.polygons), bool))
    mesh.materials.append(material)
    if rest is not None:
        attribute = mesh.attributes.new("rest", "FLOAT_VECTOR", "POINT")
        attribute.data.foreach_set("vector", np.ascontiguousarray(rest, np.float32).ravel())
    thing = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(thing)
    if subdivisions:
        modifier = thing.modifiers.new("subdivision", "SUBSURF")
        modifier.levels = modifier.render_levels = subdivisions
    return thing


def add_eyes(who: Person, seed: int, target: np.ndarray) -> None:
    """Both eyes, looking at ``target``."""
    white, film = materials.eyeball(seed), materials.cornea()
    for centre in who.eyes:
        turn = stage.look_along(target - np.mean(who.eyes, axis=0))
        for name, shape, material in (("eye", eyeball(), white), ("cornea", cornea(), film)):
            local, faces, radius = shape
            thing = add_mesh(name, who.eye_radius * local @ turn.T + centre, faces, material, local)
            stage.set_attribute(thing.data, "radius", np.where(local[:, 2] < 0, 1.0, radius))


def add_shirt(who: Person) -> None:
    """The shirt and the ribbed collar around its opening."""
    points, faces, collar = shirt(who)
    fabric = materials.cloth(CLOTH)
    thing = add_mesh("shirt", points, faces, fabric, points)
    thing.modifiers.new("thick", "SOLIDIFY").thickness = 0.02
    smooth = thing.modifiers.new("smooth", "SUBSURF")
    smooth.levels = smooth.render_levels = 1
    add_collar(_resampled(collar, 96), fabric)


def _resampled(loop: np.ndarray, count: int) -> np.ndarray:
    closed = np.concatenate([loop, loop[:1]])
    arc = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    at = np.linspace(0, arc[-1], count, endpoint=False)
    ring = np.stack([np.interp(at, arc, closed[:, k]) for k in range(3)], axis=1)
    for _ in range(6):
        ring = 0.5 * ring + 0.25 * (np.roll(ring, 1, 0) + np.roll(ring, -1, 0))
    return ring


def add_collar(ring: np.ndarray, fabric: bpy.types.Material) -> None:
    """A flat rib that stands on the cut and leans towards the neck."""
    count, turns = len(ring), 14
    middle = ring.mean(axis=0)
    ahead = np.roll(ring, -1, 0) - np.roll(ring, 1, 0)
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    inward = middle - ring
    inward[:, 1] = 0
    inward -= (inward * ahead).sum(1, keepdims=True) * ahead
    inward /= np.linalg.norm(inward, axis=1, keepdims=True)
    up = np.cross(ahead, inward)
    up *= np.sign(up[:, 1:2])
    tall = 0.85 * up + 0.5 * inward
    thick = np.cross(ahead, tall)
    angle = np.linspace(0, 2 * np.pi, turns, endpoint=False)
    shape = (
        ring[:, None]
        + tall[:, None] * (0.082 * np.sin(angle) + 0.036)[:, None]
        + thick[:, None] * (0.030 * np.cos(angle))[:, None]
    )
    faces = [
        [
            i * turns + j,
            ((i + 1) % count) * turns + j,
            ((i + 1) % count) * turns + (j + 1) % turns,
            i * turns + (j + 1) % turns,
        ]
        for i in range(count)
        for j in range(turns)
    ]
    add_mesh("collar", shape.reshape(-1, 3), faces, fabric, shape.reshape(-1, 3), subdivisions=1)


def add_lights() -> None:
    """A large soft key from the picture's left, a small one for the eyes, a weak fill, a rim from behind."""
    head = np.array(HEAD_CENTRE)
    for name, place, size, watts, colour in (
        ("key", (-7.0, 5.2, 8.4), (5.5, 6.0), 2100.0, (1.0, 0.94, 0.86)),
        ("catch", (-2.2, 1.2, 9.8), (2.8, 2.8), 480.0, (1.0, 0.98, 0.95)),
        ("fill", (8.5, 0.5, 8.5), (9.0, 9.0), 370.0, (0.88, 0.94, 1.0)),
        ("rim", (6.0, 5.5, -8.0), (3.0, 6.0), 700.0, (1.0, 0.97, 0.93)),
    ):
        stage.add_area_light(name, head + place, head, size, watts, colour)
    world = bpy.data.worlds.new("studio")
    world.use_nodes = True
    world.node_tree.nodes["Background"].inputs[0].default_value = (0.12, 0.128, 0.14, 1)
    bpy.context.scene.world = world


def render(size: int, samples: int, camera: Camera, denoise: bool, crop: list[float] | None) -> np.ndarray:
    """(size, size, 4) float32: linear colour, premultiplied, and alpha; rows from the top."""
    scene = bpy.context.scene
    pose = camera.cam2world.copy()
    pose[:3, 3] = np.array(HEAD_CENTRE) + camera.position / WORLD_PER_DECIMETRE
    stage.place_camera(scene, pose, camera.intrinsics, clip=(0.1, 200.0))

    scene.render.engine = "CYCLES"
    scene.render.resolution_x = scene.render.resolution_y = size
    scene.render.resolution_percentage = 100
    scene.render.film_transparent = True
    scene.cycles_curves.shape = "RIBBONS"
    cycles = scene.cycles
    cycles.device, cycles.samples, cycles.seed = "CPU", samples, 0
    cycles.use_adaptive_sampling, cycles.adaptive_threshold, cycles.adaptive_min_samples = True, 0.02, 12
    cycles.use_denoising = denoise
    cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces, cycles.transparent_max_bounces = 8, 3, 3, 16
    cycles.transmission_bounces = 6
    cycles.sample_clamp_indirect = 4.0
    cycles.pixel_filter_type, cycles.filter_width = "BLACKMAN_HARRIS", 1.5
    if crop:
        scene.render.use_border = True
        left, top, right, bottom = crop
        scene.render.border_min_x, scene.render.border_max_x = left, right
        scene.render.border_min_y, scene.render.border_max_y = 1 - bottom, 1 - top
    with tempfile.TemporaryDirectory() as folder:
        scene.render.filepath = os.path.join(folder, "picture.exr")  # noqa: PTH118
        scene.render.image_settings.file_format = "OPEN_EXR"
        scene.render.image_settings.color_mode = "RGBA"
        scene.render.image_settings.color_depth = "32"
        bpy.ops.render.render(write_still=True)
        image = bpy.data.images.load(scene.render.filepath)
        pixels = np.empty(size * size * 4, np.float32)
        image.pixels.foreach_get(pixels)
    return pixels.reshape(size, size, 4)[::-1].copy()


def save(picture: np.ndarray, path: Path, seed: int, alpha: bool) -> None:
    """Develop the picture: backdrop, film curve, grain; JPEG at quality 95 or PNG, without metadata."""
    size = len(picture)
    cover = np.clip(picture[..., 3:], 0, 1)
    if alpha:
        straight = picture[..., :3] / np.maximum(cover, 1e-4)
        developed = np.concatenate([_film(straight), cover], axis=2)
        Image.fromarray((developed * 255 + 0.5).astype(np.uint8)).save(path.with_suffix(".png"))
        return
    at = (np.arange(size) + 0.5) / size
    away = np.hypot(at[None, :] - 0.56, 0.9 * (at[:, None] - 0.42))[..., None]
    glow = np.exp(-((away / 0.42) ** 2))
    backdrop = np.array(BACKDROP[0]) * glow + np.array(BACKDROP[1]) * (1 - glow)
    developed = _film(picture[..., :3] + backdrop * (1 - cover))
    random = np.random.default_rng([seed, 9])
    developed = developed + random.normal(0, 0.006, (size, size, 1)) + random.normal(0, 0.0025, developed.shape)
    image = Image.fromarray((np.clip(developed, 0, 1) * 255 + 0.5).astype(np.uint8))
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() in (".jpg", ".jpeg"):
        image.save(path, quality=95, subsampling=0, optimize=True)
    else:
        image.save(path, optimize=True)


def _film(linear: np.ndarray) -> np.ndarray:
    """Linear light to display values in [0, 1]: a soft shoulder above middle grey, then the sRGB curve."""
    light = np.maximum(linear, 0)
    knee = 0.45
    bent = np.where(light < knee, light, knee + (1 - knee) * (1 - np.exp(-(light - knee) / (1 - knee))))
    return np.where(bent < 0.0031308, 12.92 * bent, 1.055 * np.maximum(bent, 1e-9) ** (1 / 2.4) - 0.055)


def write_truth(path: Path, camera: Camera, who: Person, size: int, seed: int) -> None:
    """Pose of the head, camera, and where the face's landmarks and the eyes are in the picture (image widths)."""
    yaw, pitch, roll = (round(float(a), 4) for a in np.degrees(camera.angles))
    truth = {
        "size": size,
        "seed": seed,
        "licence": "CC0-1.0",
        "yaw": yaw,
        "pitch": pitch,
        "roll": roll,
        "camera": [round(float(x), 6) for x in camera.label],
        "eyes": camera.project(to_world(np.array(who.eyes)))[:, :2].round(5).tolist(),
        "landmarks": camera.project(to_world(who.landmarks))[:, :2].round(5).tolist(),
    }
    lines = (f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in truth.items())
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # bpy may hang or crash while it takes itself down; the picture is written
