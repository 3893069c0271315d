"""Deep Frank-Wolfe against the problem that each of its steps solves, and as an optimiser."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import nn

from tools.train.dfw import DFW

Vectors = arrays.arrays(np.float64, 3, elements=st.floats(-3, 3).map(lambda x: round(x, 3)))


def stepped(weights: np.ndarray, gradient: np.ndarray, loss: float, **options: float) -> tuple[np.ndarray, DFW]:
    parameter = nn.Parameter(torch.from_numpy(weights.copy()))
    parameter.grad = torch.from_numpy(gradient.copy())
    optimiser = DFW([parameter], **options)
    optimiser.step(loss)
    return parameter.detach().numpy(), optimiser


class TestClosedForm:
    @settings(deadline=None, max_examples=60)
    @given(Vectors, Vectors, st.floats(0, 5), st.floats(0.01, 1), st.floats(0, 0.5))
    def test_step_is_the_optimum_of_the_proximal_problem(self, weights, gradient, loss, eta, decay):
        found, _ = stepped(weights, gradient, loss, eta=eta, momentum=0.0, weight_decay=decay, eps=1e-12)

        def objective(w: np.ndarray) -> float:
            away = w - weights
            linear = loss + gradient @ away
            return away @ away / (2 * eta) + decay * weights @ away + max(0.0, float(linear))

        # Of a convex function the optimum is where no direction leads down; and no dual value lies above it.
        best = objective(found)
        for direction in np.concatenate([np.eye(3), -np.eye(3), gradient[None], -gradient[None]]):
            for length in (1e-2, 1e-1, 1.0):
                assert objective(found + length * direction) >= best - 1e-8
        gammas = np.linspace(0, 1, 1001)[:, None]
        moves = decay * weights + gammas * gradient
        dual = gammas[:, 0] * loss - eta / 2 * (moves**2).sum(1)
        assert dual.max() == pytest.approx(best, abs=1e-4)

    def test_gamma_follows_the_loss(self):
        weights, gradient = np.array([1.0, -2.0, 0.0]), np.array([2.0, 0.0, 1.0])
        _, optimiser = stepped(weights, gradient, 0.25, eta=0.5, weight_decay=0.1)
        assert optimiser.gamma == pytest.approx((0.25 - 0.5 * 0.1 * 2.0) / (0.5 * 5.0 + 1e-5))

    def test_gamma_is_clipped(self):
        weights, gradient = np.ones(3), np.full(3, 0.1)
        assert stepped(weights, gradient, 100.0)[1].gamma == 1.0
        assert stepped(weights, gradient, 0.0, weight_decay=0.5)[1].gamma == 0.0

    def test_vanished_gradient_leaves_only_decay(self):
        found, optimiser = stepped(np.ones(3), np.zeros(3), 0.0, eta=0.1, weight_decay=0.5)
        assert optimiser.gamma == 0.0
        assert found == pytest.approx(np.full(3, 0.95))

    def test_momentum_adds_the_former_steps(self):
        weights, gradients, losses = np.array([1.0, 2.0, 3.0]), np.eye(3), (0.02, 3.0, 0.01)
        eta, momentum, decay, eps = 0.2, 0.9, 0.1, 1e-5
        parameter = nn.Parameter(torch.from_numpy(weights.copy()))
        optimiser = DFW([parameter], eta, momentum, decay, eps)
        buffer = np.zeros(3)
        for gradient, loss in zip(gradients, losses, strict=True):
            parameter.grad = torch.from_numpy(gradient)
            optimiser.step(loss)
            r = decay * weights
            gamma = np.clip((loss - eta * gradient @ r) / (eta * gradient @ gradient + eps), 0, 1)
            weights = weights - eta * (r + gamma * gradient)
            buffer = momentum * buffer - eta * gamma * (gradient + r)
            weights = weights + momentum * buffer
        assert parameter.detach().numpy() == pytest.approx(weights, abs=1e-12)

    def test_gamma_is_one_for_all_groups(self):
        first, second = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
        first.grad, second.grad = torch.ones(2), 2 * torch.ones(2)
        optimiser = DFW([{"params": [first], "eta": 0.5}, {"params": [second], "weight_decay": 0.0}], momentum=0.0)
        optimiser.step(0.5)
        gamma = (0.5 - 0.5 * 1e-4 * 2) / (0.5 * 2 + 0.1 * 8 + 1e-5)
        assert optimiser.gamma == pytest.approx(gamma)
        assert first.detach().numpy() == pytest.approx(np.full(2, 1 - 0.5 * (1e-4 + gamma)), abs=1e-6)
        assert second.detach().numpy() == pytest.approx(np.full(2, 1 - 0.1 * 2 * gamma), abs=1e-6)


class TestOptimiser:
    def test_parameter_without_gradient_stays(self):
        idle, used = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
        used.grad = torch.ones(3)
        optimiser = DFW([idle, used], weight_decay=0.5)
        optimiser.step(1.0)
        assert torch.equal(idle, torch.ones(3))
        assert not torch.equal(used, torch.ones(3))
        assert idle not in optimiser.state

    def test_no_gradient_at_all(self):
        idle = nn.Parameter(torch.ones(3))
        assert DFW([idle]).step(1.0) == 1.0
        assert torch.equal(idle, torch.ones(3))

    def test_closure_computes_loss_and_gradients(self):
        parameter = nn.Parameter(torch.tensor([3.0]))
        optimiser = DFW([parameter], weight_decay=0.0)

        def closure() -> torch.Tensor:
            optimiser.zero_grad()
            loss = parameter.square().sum()
            loss.backward()
            return loss

        losses = [optimiser.step(closure) for _ in range(100)]
        assert losses[0] == 9.0
        assert losses[-1] < 1e-3

    def test_classifier_converges(self):
        torch.manual_seed(1)
        points, scenes = torch.randn(60, 8), torch.arange(60) % 3
        points[range(60), scenes] += 4
        network = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
        optimiser = DFW(network.parameters())
        for _ in range(60):
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(network(points), scenes)
            loss.backward()
            optimiser.step(loss)
        assert (network(points).argmax(1) == scenes).all()
        assert optimiser.gamma <= 1

    def test_state_dict_round_trip(self):
        torch.manual_seed(2)
        first = nn.Linear(4, 2)
        ours = DFW(first.parameters(), eta=0.3)
        inputs = torch.randn(5, 8, 4)

        def steps(network: nn.Linear, optimiser: DFW, batches: torch.Tensor) -> None:
            for batch in batches:
                optimiser.zero_grad()
                loss = network(batch).square().mean()
                loss.backward()
                optimiser.step(loss)

        steps(first, ours, inputs[:3])
        second = copy.deepcopy(first)
        theirs = DFW(second.parameters(), eta=0.7)
        theirs.load_state_dict(copy.deepcopy(ours.state_dict()))  # as through a file
        steps(first, ours, inputs[3:])
        steps(second, theirs, inputs[3:])
        assert torch.equal(first.weight, second.weight)
        assert theirs.param_groups[0]["eta"] == 0.3

    def test_nan_changes_nothing(self):
        parameter = nn.Parameter(torch.ones(2))
        parameter.grad = torch.ones(2)
        for loss in (float("nan"), float("inf"), -1.0):
            with pytest.raises(ValueError, match="finite loss"):
                DFW([parameter]).step(loss)
        assert torch.equal(parameter, torch.ones(2))

    @pytest.mark.parametrize("options", [{"eta": 0}, {"momentum": 1}, {"weight_decay": -1}, {"eps": 0}])
    def test_settings_out_of_range(self, options):
        with pytest.raises(ValueError, match=next(iter(options))):
            DFW([nn.Parameter(torch.ones(1))], **options)
