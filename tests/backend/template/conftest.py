"""A known head of the model and everything that the template floor makes of it, once for the whole session."""

import numpy as np
import pytest
from headstitch.backend.template.distance import measure_grid
from headstitch.backend.template.field import TemplateField
from headstitch.backend.template.fit import TemplateFit
from headstitch.backend.template.morphable import load_morphable
from headstitch.backend.template.palette import Palette
from headstitch.backend.template.solid import make_solids


@pytest.fixture(scope="session")
def model():
    return load_morphable()


@pytest.fixture(scope="session")
def known(model) -> TemplateFit:
    """A head that is no mean: each number about as far from 0 as its prior expects."""
    coefficients = 0.7 * np.random.default_rng(3).standard_normal(len(model.components))
    return TemplateFit(coefficients, np.array([0.03, -0.05, 0.02]), np.array([0.01, -0.015, 0.02]), 0.03, 0.0)


@pytest.fixture(scope="session")
def known_vertices(model, known):
    return known.vertices(model)


@pytest.fixture(scope="session")
def known_solids(known_vertices):
    return make_solids(known_vertices)


@pytest.fixture(scope="session")
def known_grid(known_solids):
    return measure_grid(known_solids)


@pytest.fixture(scope="session")
def two_colors() -> Palette:
    """Skin and hair that no blend of light and shade can mix up: their channels are in opposite order."""
    return Palette(skin=(0.8, 0.6, 0.4), hair=(0.1, 0.2, 0.4), hair_unevenness=0.0)


@pytest.fixture(scope="session")
def known_field(known_grid, two_colors) -> TemplateField:
    return TemplateField(known_grid, two_colors)


@pytest.fixture(scope="session")
def inside():
    """Function of a closed Open3D mesh and points (N, 3): bool (N,), by the winding number."""

    def answer(mesh, points):
        triangles = _triangles(mesh)
        winding = [_solid_angles(triangles - point).sum() / (4 * np.pi) for point in points]
        return np.array(winding) > 0.5

    return answer


@pytest.fixture(scope="session")
def measured(inside):
    """Function of a closed Open3D mesh and points (N, 3): signed distance (N,), with nothing of Open3D in it."""

    def answer(mesh, points):
        triangles = _triangles(mesh)
        middle = triangles.mean(axis=1)
        radius = np.linalg.norm(triangles - middle[:, None], axis=2).max(axis=1)
        distance = np.empty(len(points))
        for number, point in enumerate(points):
            way = np.linalg.norm(middle - point, axis=1)
            distance[number] = _to_triangles(point, triangles[way - radius <= way.min()]).min()
        return np.where(inside(mesh, points), -distance, distance)

    return answer


def _triangles(mesh):
    return mesh.vertex.positions.numpy().astype(np.float64)[mesh.triangle.indices.numpy()]


def _solid_angles(triangles):
    """(F,) signed solid angles of triangles (F, 3, 3) seen from the origin (Van Oosterom and Strackee 1983)."""
    a, b, c = triangles[:, 0], triangles[:, 1], triangles[:, 2]
    one, two, three = (np.linalg.norm(corner, axis=1) for corner in (a, b, c))
    above = np.einsum("fc,fc->f", a, np.cross(b, c))
    below = one * two * three
    below += (a * b).sum(axis=1) * three + (b * c).sum(axis=1) * one + (c * a).sum(axis=1) * two
    return 2 * np.arctan2(above, below)


def _to_triangles(point, triangles):
    """(F,) distances of a point to triangles (F, 3, 3): to the plane where it falls inside, else to an edge."""
    start, side = triangles, np.roll(triangles, -1, axis=1) - triangles
    along = ((point - start) * side).sum(axis=2) / np.maximum((side**2).sum(axis=2), 1e-30)
    edges = np.linalg.norm(start + along.clip(0, 1)[..., None] * side - point, axis=2).min(axis=1)
    normal = np.cross(side[:, 0], side[:, 1])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-30)
    falls_in = ((np.cross(side, point - start) * normal[:, None]).sum(axis=2) >= 0).all(axis=1)
    plane = np.abs(((point - start[:, 0]) * normal).sum(axis=1))
    return np.where(falls_in, np.minimum(plane, edges), edges)
