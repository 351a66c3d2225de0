"""The head as a GLB file: binary glTF 2.0 with the texture inside.

Written with pygltflib, whose objects are glTF's own JSON one to one: extras, samplers, accessors stand as we put them.
(trimesh hides them behind its scene graph, and merges or splits vertices on its own.)
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pygltflib as gltf

from ..camera import CENTIMETRE
from ..meshing.mesh import TexturedMesh
from .pictures import encode_png
from .provenance import DIGITAL_SOURCE_TYPE, SENTENCE
from .views import vertex_normals

METRES_PER_UNIT = 0.01 / CENTIMETRE
ROUGHNESS = 0.5  # of skin, roughly


def write_glb(
    head: TexturedMesh, *, watertight: bool, png: bytes | None = None, extras: dict[str, Any] | None = None
) -> bytes:
    """The GLB file's bytes; the same for the same head.

    Metres, y up, facing +z (glTF's forward), origin at the head's centre. Vertices are split only where the atlas is
    (two corners of one vertex with different UVs); normals are those of the welded mesh, so no seam shows in them.

    Args:
        head: what to write.
        watertight: an open mesh is marked as two-sided, because its inside can be seen.
        png: the albedo as PNG, where it is encoded already.
        extras: provenance beside our own mark in ``asset.extras``.
    """
    positions, normals, uvs, triangles = split_seams(head)
    picture = png if png is not None else encode_png(head.albedo)
    blobs = [positions, normals, uvs, triangles.astype(np.uint16 if len(positions) < 65535 else np.uint32)]
    views, offset, parts = [], 0, []
    for blob, target in zip(
        [*(blob.tobytes() for blob in blobs), picture],
        [gltf.ARRAY_BUFFER, gltf.ARRAY_BUFFER, gltf.ARRAY_BUFFER, gltf.ELEMENT_ARRAY_BUFFER, None],
        strict=True,
    ):
        views.append(gltf.BufferView(buffer=0, byteOffset=offset, byteLength=len(blob), target=target))
        parts.append(blob + b"\0" * (-len(blob) % 4))
        offset += len(parts[-1])
    kinds = [gltf.VEC3, gltf.VEC3, gltf.VEC2, gltf.SCALAR]
    accessors = [_accessor(view, blob, kind) for view, (blob, kind) in enumerate(zip(blobs, kinds, strict=True))]
    origin = {"generated_content": SENTENCE, "digital_source_type": DIGITAL_SOURCE_TYPE, **(extras or {})}
    document = gltf.GLTF2(
        # Through JSON so that the keys are sorted at every depth: same head, same bytes.
        asset=gltf.Asset(version="2.0", generator="Headstitch", extras=json.loads(json.dumps(origin, sort_keys=True))),
        scene=0,
        scenes=[gltf.Scene(name="Head", nodes=[0])],
        nodes=[gltf.Node(name="Head", mesh=0)],
        meshes=[
            gltf.Mesh(
                name="Head",
                primitives=[
                    gltf.Primitive(
                        attributes=gltf.Attributes(POSITION=0, NORMAL=1, TEXCOORD_0=2),
                        indices=3,
                        material=0,
                        mode=gltf.TRIANGLES,
                    )
                ],
            )
        ],
        materials=[
            gltf.Material(
                name="Head",
                doubleSided=not watertight,
                alphaMode=gltf.OPAQUE,
                alphaCutoff=None,
                pbrMetallicRoughness=gltf.PbrMetallicRoughness(
                    baseColorTexture=gltf.TextureInfo(index=0), metallicFactor=0.0, roughnessFactor=ROUGHNESS
                ),
            )
        ],
        textures=[gltf.Texture(name="albedo", source=0, sampler=0)],
        images=[gltf.Image(name="albedo", mimeType="image/png", bufferView=4)],
        samplers=[
            gltf.Sampler(
                magFilter=gltf.LINEAR,
                minFilter=gltf.LINEAR_MIPMAP_LINEAR,
                wrapS=gltf.CLAMP_TO_EDGE,
                wrapT=gltf.CLAMP_TO_EDGE,
            )
        ],
        accessors=accessors,
        bufferViews=views,
        buffers=[gltf.Buffer(byteLength=offset)],
    )
    document.set_binary_blob(b"".join(parts))
    return b"".join(document.save_to_bytes())


def split_seams(head: TexturedMesh) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """One vertex for every pair of a welded vertex and a UV, in glTF's axes and units.

    Returns:
        positions (N, 3) float32 in metres, normals (N, 3) float32, uvs (N, 2) float32 with the origin at the texture's
        top left corner, triangles (F, 3) int64. Triangles with two equal corners, which have no area, are left out.
    """
    faces = head.mesh.faces
    whole = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    vertex = faces[whole].ravel()
    uvs = np.ascontiguousarray(head.corner_uvs[whole].reshape(-1, 2), np.float32) + np.float32(0)  # -0 becomes 0
    order = np.lexsort((uvs[:, 1], uvs[:, 0], vertex))
    sorted_vertex, sorted_uvs = vertex[order], uvs[order]
    fresh = np.ones(len(order), bool)
    fresh[1:] = (sorted_vertex[1:] != sorted_vertex[:-1]) | (sorted_uvs[1:] != sorted_uvs[:-1]).any(axis=1)
    corner = np.empty(len(order), np.int64)
    corner[order] = np.cumsum(fresh) - 1
    kept, uvs = sorted_vertex[fresh], sorted_uvs[fresh]
    positions = (head.mesh.vertices[kept].astype(np.float64) * METRES_PER_UNIT).astype(np.float32)
    uvs = np.stack([uvs[:, 0], np.float32(1) - uvs[:, 1]], axis=1)
    return positions, vertex_normals(head.mesh)[kept], uvs, corner.reshape(-1, 3)


def _accessor(view: int, blob: np.ndarray, kind: str) -> gltf.Accessor:
    component = {"float32": gltf.FLOAT, "uint16": gltf.UNSIGNED_SHORT, "uint32": gltf.UNSIGNED_INT}[blob.dtype.name]
    columns = blob.reshape(-1, blob.shape[-1] if kind != gltf.SCALAR else 1)
    return gltf.Accessor(
        bufferView=view,
        byteOffset=0,
        componentType=component,
        count=len(columns),
        type=kind,
        min=columns.min(axis=0).tolist(),
        max=columns.max(axis=0).tolist(),
    )
