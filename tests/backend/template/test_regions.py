import numpy as np
import torch
from headstitch.backend.template.regions import scalp_mask, strand_shade


def test_hair_grows_upwards_of_the_hairline_and_is_half_there_on_it():
    """Along every vertical line the mask rises from 0 to 1 and never falls."""
    height = np.linspace(-0.4, 0.35, 400)
    for depth in np.linspace(-0.3, 0.2, 21):
        mask = scalp_mask(np.stack([np.zeros(400), height, np.full(400, depth)], axis=1))
        assert mask[0] == 0
        assert mask[-1] == 1
        assert (np.diff(mask) >= 0).all()
        assert (np.abs(mask - 0.5) < 0.1).any()


def test_hairline_is_low_at_the_nape_and_high_at_the_forehead():
    nape, forehead = np.array([[0, -0.05, -0.2]]), np.array([[0, 0.1, 0.16]])
    assert scalp_mask(nape) == 1
    assert scalp_mask(forehead) == 0


def ball(count, seed=0):
    directions = np.random.default_rng(seed).standard_normal((count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return torch.tensor(0.2 * directions + [0, 0.06, -0.09], dtype=torch.float32)


def test_strands_neither_lighten_nor_darken_the_hair_as_a_whole():
    """The noise has mean 0 and deviation 1; on a ball each direction has another weight, so to a tenth."""
    shade = strand_shade(ball(20000)).numpy()
    assert abs(shade.mean()) < 0.1
    assert 0.85 < shade.std() < 1.15


def test_strands_are_the_same_every_time():
    np.testing.assert_array_equal(strand_shade(ball(100)), strand_shade(ball(100)))


def test_strands_meet_at_the_seam_down_the_back():
    """Two columns a hair's breadth apart differ by no more there than such columns differ elsewhere."""
    height = np.linspace(-0.1, 0.2, 200)

    def step(angle):
        """How much the shade changes over 0.002 radians about a meridian, for each height."""
        columns = []
        for turn in (angle - 0.001, angle + 0.001):
            where = np.stack([0.2 * np.sin(turn) + 0 * height, height, -0.09 + 0.2 * np.cos(turn) + 0 * height], axis=1)
            columns.append(strand_shade(torch.tensor(where, dtype=torch.float32)).numpy())
        return np.abs(columns[1] - columns[0]).mean()

    elsewhere = np.mean([step(angle) for angle in np.linspace(0.5, 2.5, 21)])
    assert step(np.pi) < 3 * elsewhere
