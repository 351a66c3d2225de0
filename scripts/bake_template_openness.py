"""Bakes how open each place of the template's mean head is to the sky: backend/template/data/openness.npz.

    python scripts/bake_template_openness.py

The openness of a vertex is the cosine-weighted share of its hemisphere that no other part of the head hides.
"""

from __future__ import annotations

import numpy as np
import open3d as o3d
from headstitch.backend.template.morphable import load_morphable
from headstitch.backend.template.solid import OPENNESS_PATH, closed_body

RAYS = 256
OFFSET = 1e-3  # world units off the surface, where rays start
FAR = 0.25  # world units; what is farther away does not darken
SHOULDERS = -0.45  # world height under which the body is left out: heads end at the neck


def main() -> None:
    body = closed_body(load_morphable().mean).compute_vertex_normals()
    points, normals = body.vertex.positions.numpy(), body.vertex.normals.numpy()
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(body)
    generator = np.random.default_rng(0)
    open_rays = np.zeros(len(points))
    for _ in range(RAYS):
        # normal + a point of the unit sphere is distributed as the cosine over the hemisphere
        sphere = generator.standard_normal(points.shape)
        direction = normals + sphere / np.linalg.norm(sphere, axis=1, keepdims=True)
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        rays = np.concatenate([points + OFFSET * normals, direction], axis=1).astype(np.float32)
        answer = scene.test_occlusions(o3d.core.Tensor(rays), tfar=FAR)
        open_rays += ~answer.numpy()
    openness = open_rays / RAYS
    openness[points[:, 1] < SHOULDERS] = 1.0
    np.savez_compressed(OPENNESS_PATH, openness=np.round(openness * 255).astype(np.uint8))
    print(f"{OPENNESS_PATH}: {len(openness)} vertices, mean {openness.mean():.3f}")


if __name__ == "__main__":
    main()
