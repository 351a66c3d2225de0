"""The optimiser, against its formulas written out in plain numbers."""

import math

import numpy as np
import pytest
import torch
from headstitch.backend.learning.average import averaged, follow
from headstitch.backend.learning.order import Order
from headstitch.backend.learning.ranger import Ranger

LR, BETA1, BETA2, EPS = 0.01, 0.95, 0.999, 1e-5


def by_hand(start, gradients):
    """RAdam (Liu et al. 2020, algorithm 2) with Lookahead of 6 and 0.5, on one vector of float64."""
    fast, slow = start.copy(), start.copy()
    first, second = np.zeros_like(start), np.zeros_like(start)
    longest = 2 / (1 - BETA2) - 1
    plain = 0
    for t, g in enumerate(gradients, 1):
        first = BETA1 * first + (1 - BETA1) * g
        second = BETA2 * second + (1 - BETA2) * g * g
        unbiased = first / (1 - BETA1**t)
        length = longest - 2 * t * BETA2**t / (1 - BETA2**t)
        if length > 5:
            known = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
            fast = fast - LR * math.sqrt(known * (1 - BETA2**t)) * unbiased / (np.sqrt(second) + EPS)
        else:
            plain += 1
            fast = fast - LR * unbiased
        if t % 6 == 0:
            slow = slow + 0.5 * (fast - slow)
            fast = slow.copy()
    return fast, plain


def test_twenty_steps_are_those_of_the_formulas():
    dice = np.random.default_rng(0)
    start, gradients = dice.standard_normal(5), dice.standard_normal((20, 5))
    weight = torch.nn.Parameter(torch.from_numpy(start.copy()))
    optimizer = Ranger([weight], lr=LR)
    for gradient in gradients:
        weight.grad = torch.from_numpy(gradient.copy())
        optimizer.step()
    expected, plain = by_hand(start, gradients)
    assert plain == 5  # the threshold lies within the twenty steps
    np.testing.assert_allclose(weight.detach().numpy(), expected, rtol=1e-10)


def test_gradients_of_more_than_one_axis_lose_their_means():
    matrix, vector = (torch.nn.Parameter(torch.zeros(shape)) for shape in ((2, 3), (3,)))
    matrix.grad, vector.grad = torch.tensor([[1.0, 2.0, 6.0], [0.0, 0.0, 3.0]]), torch.tensor([1.0, 2.0, 6.0])
    Ranger([matrix, vector], lr=1.0).step()
    torch.testing.assert_close(matrix.detach(), torch.tensor([[2.0, 1.0, -3.0], [1.0, 1.0, -2.0]]))
    torch.testing.assert_close(vector.detach(), torch.tensor([-1.0, -2.0, -6.0]))


def test_a_weight_that_comes_later_has_its_own_steps():
    early, late = (torch.nn.Parameter(torch.ones(1)) for _ in range(2))
    optimizer = Ranger([early, late], lr=0.1)
    for number in range(7):
        early.grad = torch.ones(1)
        late.grad = torch.ones(1) if number >= 3 else None
        optimizer.step()
    assert int(optimizer.state[late]["step"]) == 4
    assert optimizer.state[late]["slow"].item() == 1
    assert optimizer.state[early]["slow"].item() < 1


def test_a_moving_average_moves_by_its_share_and_copies_what_is_counted():
    net = torch.nn.BatchNorm1d(2)
    average = averaged(net)
    net.weight.data.fill_(3.0)
    net(torch.randn(4, 2))
    follow(average, net, 0.75)
    assert average.weight.tolist() == [1.5, 1.5]
    assert torch.equal(average.running_mean, net.running_mean)
    assert not average.weight.requires_grad


def test_every_round_of_an_order_holds_each_sample_as_often_as_told():
    order = Order(3, [1, 0, 2, 1])
    rounds = [[order[4 * number + place] for place in range(4)] for number in range(30)]
    assert all(sorted(one) == [0, 2, 2, 3] for one in rounds)
    assert len({tuple(one) for one in rounds}) > 5
    assert [order[at] for at in (5, 77, 5)] == [Order(3, [1, 0, 2, 1])[at] for at in (5, 77, 5)]
    with pytest.raises(ValueError, match="no sample"):
        Order(3, [0, 0])
