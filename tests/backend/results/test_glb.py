import io
import json
import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pygltflib
import pytest
from headstitch.backend.meshing.mesh import Mesh, TexturedMesh
from headstitch.backend.results.glb import METRES_PER_UNIT, split_seams, write_glb
from headstitch.backend.results.pictures import encode_png
from headstitch.backend.results.views import vertex_normals
from PIL import Image

CHECKER = Path(__file__).with_name("gltf")


def document(glb):
    length = struct.unpack_from("<I", glb, 12)[0]
    return json.loads(glb[20 : 20 + length])


def validate(glb, tmp_path):
    """The Khronos validator's report."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed, so the Khronos glTF validator cannot run")
    if not (CHECKER / "node_modules" / "gltf-validator").is_dir():
        pytest.skip("the Khronos glTF validator is not installed: run npm install in tests/backend/results/gltf")
    file = tmp_path / "head.glb"
    file.write_bytes(glb)
    done = subprocess.run(["node", "validate.cjs", file], cwd=CHECKER, capture_output=True, check=True, text=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("which", ["painted", "ball", "open ball", "large"])
def test_khronos_validator_finds_nothing_to_say(which, request, tmp_path):
    if which == "large":  # more vertices than 16 bits can count
        side = 260
        at = np.linspace(-0.2, 0.2, side, dtype=np.float32)
        vertices = np.stack([*np.meshgrid(at, at), np.zeros((side, side), np.float32)], -1).reshape(-1, 3)
        grid = np.arange(side * side).reshape(side, side)
        a, b, c = grid[:-1, :-1].ravel(), grid[:-1, 1:].ravel(), grid[1:, 1:].ravel()
        faces = np.stack([a, b, c], 1).astype(np.int32)
        head = TexturedMesh(Mesh(vertices, faces), vertices[faces][..., :2] + 0.5, np.zeros((8, 8, 3), np.uint8))
    else:
        head = request.getfixturevalue(which.split()[-1])
    if which == "open ball":
        head = replace(head, mesh=Mesh(head.mesh.vertices, head.mesh.faces[32:]), corner_uvs=head.corner_uvs[32:])
    report = validate(write_glb(head, watertight=which in ("painted", "ball")), tmp_path)
    assert report["issues"]["messages"] == []
    assert report["info"]["totalTriangleCount"] == len(head.mesh.faces)


def test_validator_of_the_test_does_see_errors(ball, tmp_path):
    glb = bytearray(write_glb(ball, watertight=True))
    length = struct.unpack_from("<I", glb, 12)[0]
    struct.pack_into("<f", glb, 20 + length + 8, 99.0)  # a position beyond the accessor's maximum
    assert validate(bytes(glb), tmp_path)["issues"]["numErrors"] > 0


def test_trimesh_reads_back_every_corner_and_texel(painted):
    trimesh = pytest.importorskip("trimesh")
    glb = write_glb(painted, watertight=True)
    mesh = trimesh.load(io.BytesIO(glb), file_type="glb", force="mesh", process=False)
    expected = painted.mesh.vertices[painted.mesh.faces] * METRES_PER_UNIT
    assert np.allclose(mesh.vertices[mesh.faces], expected, atol=1e-7)
    assert np.allclose(mesh.visual.uv[mesh.faces], painted.corner_uvs, atol=1e-6)
    assert np.array_equal(np.asarray(mesh.visual.material.baseColorTexture), painted.albedo)


def test_normals_are_those_of_the_welded_mesh(painted):
    glb = write_glb(painted, watertight=True)
    said, blob = document(glb), pygltflib.GLTF2.load_from_bytes(glb).binary_blob()

    def read(accessor, kind, columns):
        view = said["bufferViews"][said["accessors"][accessor]["bufferView"]]
        part = blob[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
        return np.frombuffer(part, kind).reshape(-1, columns)

    normals, triangles = read(1, "<f4", 3), read(3, "<u2", 3)
    assert np.array_equal(normals[triangles], vertex_normals(painted.mesh)[painted.mesh.faces])


def test_head_is_of_human_size_upright_and_faces_forward(painted):
    positions, normals, _, triangles = split_seams(painted)
    low, high = positions.min(0), positions.max(0)
    assert 0.2 < high[1] - low[1] < 0.45  # metres, with the neck
    nose = positions[positions[:, 2].argmax()]
    assert nose[2] > 0.05
    assert abs(nose[0]) < 0.01
    a, b, c = (positions[triangles[:, corner]] for corner in range(3))
    faces = np.cross(b - a, c - a)
    assert ((faces * normals[triangles].mean(1)).sum(1) > 0).mean() > 0.99, "front faces are counter-clockwise"


def test_vertices_are_split_only_at_the_seam(ball):
    positions, _, uvs, triangles = split_seams(ball)
    seam = 15  # rings of the ball, each with one vertex on the seam
    poles = 2 * (32 - 1)  # the longitude of a pole is that of its triangle
    assert len(positions) == len(ball.mesh.vertices) + seam + poles
    assert len(np.unique(np.column_stack([positions, uvs]), axis=0)) == len(positions)
    assert np.array_equal(triangles.shape, ball.mesh.faces.shape)


def test_seam_does_not_show_in_the_normals(ball):
    positions, normals, _, _ = split_seams(ball)
    _, group = np.unique(positions, axis=0, return_inverse=True)
    for member in range(group.max() + 1):
        assert np.ptp(normals[group.ravel() == member], axis=0).max() == 0


def test_collapsed_triangles_are_left_out(ball):
    faces = np.concatenate([ball.mesh.faces, [[3, 3, 4]]]).astype(np.int32)
    uvs = np.concatenate([ball.corner_uvs, ball.corner_uvs[:1]])
    assert np.array_equal(
        split_seams(TexturedMesh(Mesh(ball.mesh.vertices, faces), uvs, ball.albedo))[3], split_seams(ball)[3]
    )


def test_same_head_same_bytes(painted):
    extras = {"photo": {"sha256": "ab", "name": "x"}, "model": {"name": "m"}}
    turned = {"model": {"name": "m"}, "photo": {"name": "x", "sha256": "ab"}}
    assert write_glb(painted, watertight=True, extras=extras) == write_glb(painted, watertight=True, extras=turned)


def test_provenance_material_and_texture_are_inside(ball):
    png = encode_png(ball.albedo)
    glb = write_glb(ball, watertight=True, png=png, extras={"version": "9"})
    said = document(glb)
    assert said["asset"]["version"] == "2.0"
    assert said["asset"]["extras"]["digital_source_type"] == "compositeSynthetic"
    assert said["asset"]["extras"]["generated_content"].startswith("Generated content")
    assert said["asset"]["extras"]["version"] == "9"
    material = said["materials"][0]
    assert material["pbrMetallicRoughness"]["metallicFactor"] == 0
    assert material["doubleSided"] is False
    assert document(write_glb(ball, watertight=False))["materials"][0]["doubleSided"] is True
    view = said["bufferViews"][said["images"][0]["bufferView"]]
    blob = pygltflib.GLTF2.load_from_bytes(glb).binary_blob()
    assert blob[view["byteOffset"] : view["byteOffset"] + view["byteLength"]] == png
    assert Image.open(io.BytesIO(png)).size == (128, 64)


def test_bounds_of_the_accessors_are_those_of_the_numbers(ball):
    said = document(write_glb(ball, watertight=True))
    positions, _, uvs, _ = split_seams(ball)
    assert said["accessors"][0]["min"] == positions.min(0).tolist()
    assert said["accessors"][0]["max"] == positions.max(0).tolist()
    assert said["accessors"][2]["max"] == uvs.max(0).tolist()
