"""EMA: the closed form, copied buffers, a bitwise exchange."""

import pytest
import torch
from torch import nn

from trainer.errors import CheckpointError
from trainer.optim.ema import EMA


def networks() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {"net": nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))}


def test_follows_the_closed_form() -> None:
    nets = networks()
    ema = EMA(nets, 0.5)
    start = nets["net"][0].weight.detach().clone()
    expected, tensors = start.clone(), []
    for step in range(20):
        with torch.no_grad():
            nets["net"][0].weight.add_(torch.randn(3, 3))
        tensors.append(nets["net"][0].weight.detach().clone())
        ema.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * tensors[-1]
    torch.testing.assert_close(ema.state_dict()["net.0.weight"], expected)


def test_after_the_ramp_a_step_halves_by_the_half_life() -> None:
    nets = networks()
    ema = EMA(nets, 0.9)
    with torch.no_grad():
        before = ema.state_dict()["net.0.bias"].clone()
        nets["net"][0].bias.fill_(0.0)
    for step in range(1000, 1007):
        ema.update(step)
    torch.testing.assert_close(ema.state_dict()["net.0.bias"], before * 0.9**7)


def test_buffers_are_copied() -> None:
    nets = networks()
    ema = EMA(nets, 0.9)
    nets["net"](torch.randn(8, 3))
    ema.update(0)
    assert torch.equal(ema.state_dict()["net.1.running_mean"], nets["net"][1].running_mean)
    assert ema.state_dict()["net.1.num_batches_tracked"] == 1


def test_swapped_restores_bitwise_also_after_an_error() -> None:
    nets = networks()
    ema = EMA(nets, 0.9)
    with torch.no_grad():
        nets["net"][0].weight.fill_(float("nan"))  # even this comes back
    before = {k: v.clone() for k, v in nets["net"].state_dict().items()}
    average = ema.state_dict()["net.0.weight"].clone()
    with pytest.raises(KeyError), ema.swapped():
        assert torch.equal(nets["net"][0].weight, average)
        raise KeyError
    after = nets["net"].state_dict()
    assert all(torch.equal(after[k].nan_to_num(7), before[k].nan_to_num(7)) for k in before)
    assert torch.equal(ema.state_dict()["net.0.weight"], average)


def test_refuses_other_names() -> None:
    ema = EMA(networks(), 0.9)
    with pytest.raises(CheckpointError, match=r"missing \['net.0.bias'"):
        ema.load_state_dict({})
