import numpy as np
from headstitch.backend.meshing.mesh import Mesh, vertex_normals


def tetrahedron():
    vertices = np.float32([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    return Mesh(vertices, np.int32([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]]))


def test_normals_of_a_regular_solid_point_away_from_its_middle():
    mesh = tetrahedron()
    normals = vertex_normals(mesh)
    assert normals.dtype == np.float32
    np.testing.assert_allclose(normals, mesh.vertices / np.sqrt(3), atol=1e-6)


def test_normals_are_weighted_by_area():
    """At the shared corner a triangle of area 1/2 faces z and one of area 2 faces x: the sum is (4, 0, 1)."""
    vertices = np.float32([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 2, 0], [0, 0, 2]])
    normals = vertex_normals(Mesh(vertices, np.int32([[0, 1, 2], [0, 3, 4]])))
    np.testing.assert_allclose(normals[0], np.array([4, 0, 1]) / np.sqrt(17), atol=1e-6)


def test_a_vertex_without_area_gets_up():
    vertices = np.float32([[0, 0, 0], [1, 0, 0], [2, 0, 0], [5, 5, 5]])
    np.testing.assert_array_equal(vertex_normals(Mesh(vertices, np.int32([[0, 1, 2]]))), np.tile([0, 1, 0], (4, 1)))
