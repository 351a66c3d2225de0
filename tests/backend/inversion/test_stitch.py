import torch
from headstitch.backend.inversion.stitch import stitch

FEATURES, SLICES, SIDE = 4, 3, 5


def grids():
    source = torch.Generator().manual_seed(0)
    return torch.randn(2, 1, 3, FEATURES * SLICES, SIDE, SIDE, generator=source).unbind(0)


def test_where_everything_is_seen_the_first_comes_back_to_the_bit():
    visible, occluded = grids()
    assert torch.equal(stitch(visible, occluded, torch.ones(3, SLICES, SIDE, SIDE)), visible)


def test_where_nothing_is_seen_the_second_comes_back_to_the_bit():
    visible, occluded = grids()
    assert torch.equal(stitch(visible, occluded, torch.zeros(3, SLICES, SIDE, SIDE)), occluded)


def test_two_that_are_the_same_stay_as_they_are_under_any_mask():
    visible, _ = grids()
    mask = torch.rand(3, SLICES, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    assert torch.equal(stitch(visible, visible.clone(), mask), visible)


def test_each_slice_has_its_own_mask_and_shares_it_over_the_features():
    visible, occluded = grids()
    mask = torch.zeros(3, SLICES, SIDE, SIDE)
    mask[1, 2, 3, 4] = 1.0  # plane 1, slice 2
    stitched = stitch(visible, occluded, mask)
    changed = torch.nonzero(stitched != occluded).tolist()
    assert changed == [[0, 1, feature * SLICES + 2, 3, 4] for feature in range(FEATURES)]
    assert torch.equal(stitched[0, 1, 2::SLICES, 3, 4], visible[0, 1, 2::SLICES, 3, 4])


def test_between_the_two_it_is_their_weighted_mean():
    visible, occluded = grids()
    mask = torch.rand(3, SLICES, SIDE, SIDE, generator=torch.Generator().manual_seed(2))
    weight = mask.repeat(1, FEATURES, 1, 1)[None]  # channel = feature * slices + slice
    torch.testing.assert_close(stitch(visible, occluded, mask), weight * visible + (1 - weight) * occluded)
