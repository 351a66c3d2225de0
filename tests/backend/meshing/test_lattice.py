import numpy as np
import pytest
import torch
from headstitch.backend.field import Box
from headstitch.backend.meshing.lattice import BLOCK, sample_lattice
from headstitch.backend.meshing.surface import march

HEADS = {
    "ball": [((0, 0, 0), 0.4, 1)],
    "off the middle": [((0.031, -0.017, 0.023), 0.333, 1)],
    "shell with a core": [((0, 0, 0), 0.42, 1), ((0, 0, 0), 0.3, -1), ((0.02, 0, 0), 0.12, 1)],
    "with floaters": [((0, 0, 0), 0.3, 1), ((0.41, 0.4, 0.42), 0.03, 1), ((-0.4, 0.3, -0.4), 0.05, 1)],
    "beyond the box": [((0, -0.3, 0), 0.55, 1)],
}


@pytest.mark.parametrize("resolution", [41, 64, 75])
@pytest.mark.parametrize("parts", HEADS.values(), ids=HEADS)
def test_skipping_changes_nothing_of_the_surface(balls, parts, resolution):
    """Every node beside the surface has its own density, so marching cubes cannot tell the two lattices apart."""
    field = balls(parts)
    meshes = [march(sample_lattice(field, resolution, skip=skip), field.level, closed_neck=True) for skip in (1, 0)]
    np.testing.assert_array_equal(meshes[0].faces, meshes[1].faces)
    np.testing.assert_array_equal(meshes[0].vertices, meshes[1].vertices)


def test_skipping_changes_nothing_of_a_heads_surface(head_field):
    meshes = [
        march(sample_lattice(head_field, 72, skip=skip), head_field.level, closed_neck=True) for skip in (True, False)
    ]
    np.testing.assert_array_equal(meshes[0].faces, meshes[1].faces)
    np.testing.assert_array_equal(meshes[0].vertices, meshes[1].vertices)


def test_skipped_nodes_lie_on_the_right_side(balls):
    field = balls(HEADS["shell with a core"])
    sparse, dense = (sample_lattice(field, 64, skip=skip).values for skip in (True, False))
    np.testing.assert_array_equal(sparse > field.level, dense > field.level)


def test_a_field_that_knows_its_surface_is_asked_less(balls):
    knowing, ignorant = balls(HEADS["ball"]), balls(HEADS["ball"], knows=False)
    few, all_nodes = sample_lattice(knowing, 96), sample_lattice(ignorant, 96)
    np.testing.assert_array_equal(all_nodes.values, sample_lattice(knowing, 96, skip=False).values)
    assert all_nodes.evaluated == 1
    assert few.evaluated < 0.6
    assert knowing.asked < 0.8 * ignorant.asked + 96**3


def test_asking_in_blocks_is_bounded_by_what_is_evaluated(balls):
    """The field is asked about the blocks that may hold surface, and one point of each other block."""
    field = balls(HEADS["ball"])
    lattice = sample_lattice(field, 64)
    blocks = 8**3
    held = round(lattice.evaluated * blocks)
    assert field.asked == held * BLOCK**3 + blocks - held


def test_nodes_hold_the_density_of_their_own_place(balls):
    """In a box whose sides differ and whose nodes do not end at a whole block. Densities in single precision, and
    places rounded to it: 6e-8 of a slope of 6."""
    field = balls([((0, 0.05, 0.02), 0.15, 1)], box=Box((-0.2, -0.3, -0.25), (0.21, 0.37, 0.24)))
    lattice = sample_lattice(field, 43, skip=False)
    assert lattice.spacing == pytest.approx(0.67 / 42)
    assert max(lattice.values.shape) == 43
    np.testing.assert_allclose(lattice.origin, field.box.low)
    nodes = np.argwhere(np.ones(lattice.values.shape, bool))
    expected = field.density(torch.tensor(lattice.to_world(nodes), dtype=torch.float32))
    np.testing.assert_allclose(lattice.values.ravel(), expected, rtol=0, atol=2e-6)
    last = lattice.to_world(np.array(lattice.values.shape) - 1)
    assert (last <= np.array(field.box.high) + 1e-9).all()
    assert (last > np.array(field.box.high) - lattice.spacing).all()


class OwnSampler:
    """A field that must not be asked point by point."""

    def __init__(self, box):
        self.box, self.level, self.device, self.asked = box, 3.0, torch.device("cpu"), []

    def density(self, points):
        raise AssertionError("the field has a faster way")

    color = may_hold_surface = density

    def sample_lattice(self, origin, spacing, shape):
        self.asked.append((origin, spacing, shape))
        return torch.arange(float(np.prod(shape))).view(shape), 0.25


def test_a_field_that_samples_lattices_itself_is_asked_for_the_whole():
    field = OwnSampler(Box((-0.2, -0.3, -0.25), (0.21, 0.37, 0.24)))
    lattice = sample_lattice(field, 43)
    [(origin, spacing, shape)] = field.asked
    assert origin == field.box.low
    assert spacing == lattice.spacing == pytest.approx(0.67 / 42)
    assert shape == lattice.values.shape == (26, 43, 31)
    assert lattice.evaluated == 0.25
    assert lattice.values[0, 1, 0] == 31
    np.testing.assert_allclose(lattice.origin, origin)
