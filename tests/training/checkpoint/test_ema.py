"""The running mean of the weights: its values, and that looking through it leaves no trace."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from training.checkpoint.ema import Ema


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def learn(net: nn.Sequential) -> None:
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter))
        net(torch.randn(5, 3))  # moves the buffers


def test_parameters_are_averaged_and_buffers_copied() -> None:
    net = network()
    ema = Ema(net, 0.9)
    expected = {name: p.detach().double() for name, p in net.named_parameters()}
    for step in range(120):
        learn(net)
        ema.update(net, step)
        decay = min(0.9, (1 + step) / (10 + step))
        for name, parameter in net.named_parameters():
            expected[name] = decay * expected[name] + (1 - decay) * parameter.detach().double()
    assert ema.state.keys() == net.state_dict().keys()
    for name, value in expected.items():
        torch.testing.assert_close(ema.state[name].double(), value, rtol=1e-5, atol=1e-5)
        assert not torch.equal(ema.state[name], net.state_dict()[name])
    for name, buffer in net.named_buffers():
        assert torch.equal(ema.state[name], buffer)
    assert int(ema.state["1.num_batches_tracked"]) == 120


def test_decay_warms_up_to_its_value() -> None:
    ema = Ema(network(), 0.99)
    decays = [ema.decay_at(step) for step in range(2000)]
    assert decays[0] == 0.1
    assert decays == sorted(decays)
    assert decays[800] < 0.99
    assert decays[-1] == 0.99


def test_same_weights_same_mean() -> None:
    states = []
    for _ in range(2):
        net = network(3)
        ema = Ema(net, 0.99)
        for step in range(5):
            learn(net)
            ema.update(net, step)
        states.append(ema.state)
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_copy_to_swaps_in_and_back_bit_for_bit() -> None:
    net = network()
    ema = Ema(net, 0.9)
    learn(net)
    ema.update(net, 0)
    with torch.no_grad():
        net[0].weight[0, 0] = float("nan")
        net[0].weight[1, 1] = -0.0
    addresses = [p.data_ptr() for p in net.parameters()]
    own = {
        name: tensor.clone().contiguous().view(torch.uint8) for name, tensor in net.state_dict().items() if tensor.dim()
    }

    def check_back() -> None:
        assert own.keys() == {name for name, tensor in net.state_dict().items() if tensor.dim()}
        assert all(torch.equal(net.state_dict()[name].view(torch.uint8), bits) for name, bits in own.items())
        assert addresses == [p.data_ptr() for p in net.parameters()]

    with ema.copy_to(net):
        assert all(torch.equal(tensor, ema.state[name]) for name, tensor in net.state_dict().items())
        net(torch.randn(5, 3))  # an evaluation that moves buffers takes no effect after it
    check_back()
    with pytest.raises(KeyboardInterrupt), ema.copy_to(net):
        raise KeyboardInterrupt
    check_back()


def test_the_mean_is_no_view_of_the_network() -> None:
    net = network()
    ema = Ema(net, 0.9)
    before = {name: tensor.clone() for name, tensor in ema.state.items()}
    learn(net)
    assert all(torch.equal(before[name], tensor) for name, tensor in ema.state.items())


@pytest.mark.parametrize("decay", [0.0, 1.0, -1.0, float("nan")])
def test_decay_outside_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match="use a value between 0 and 1"):
        Ema(network(), decay)
