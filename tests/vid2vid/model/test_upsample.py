"""``model.upsample``: what each kind computes, and that weights of one are not taken for the other's."""

import pytest
import torch
import torch.nn.functional as F

from trainer.errors import CheckpointError
from vid2vid.config import DataConfig, ModelConfig, Norm, Upsample
from vid2vid.model import Generator
from vid2vid.model.blocks import UpLayer
from vid2vid.weights.growing import start_from
from vid2vid.weights.originals import infer_model, to_originals

TINY = {"ngf": 4, "downsamplings": 2, "blocks": 2, "num_labels": 4, "instance_edges": False}


def generator(upsample: Upsample, **settings: int) -> Generator:
    torch.manual_seed(0)
    return Generator(ModelConfig(upsample=upsample, **{**TINY, **settings}), 4)


def test_repeated_pixels_and_a_convolution() -> None:
    torch.manual_seed(0)
    layer = UpLayer(6, 3, Norm.instance, Upsample.nearest).double()
    x = torch.randn(2, 6, 5, 7, dtype=torch.float64)
    assert layer.resize_conv is not None
    large = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    plain = F.conv2d(large, layer.resize_conv.weight, layer.resize_conv.bias, padding=1)
    assert torch.equal(layer(x), F.relu(layer.norm(plain)))
    assert layer(x).shape == (2, 3, 10, 14)


@torch.no_grad()
def test_no_pattern_of_period_two() -> None:
    """Of an even grey, before anything is learnt: a transposed convolution makes columns of it."""
    energy = {}
    for kind in Upsample:
        torch.manual_seed(0)
        layer = UpLayer(8, 4, Norm.none, kind)
        for name, bias in layer.named_parameters():
            if name.endswith("bias"):
                bias.fill_(1.0)  # so that ReLU lets all of it through
        out = layer(torch.rand(1, 8, 1, 1).expand(1, 8, 12, 12))[..., 4:-4, 4:-4]
        energy[kind] = float((out[..., ::2] - out[..., 1::2]).abs().max() / out.abs().max())
    assert energy[Upsample.nearest] < 1e-6 < 0.05 < energy[Upsample.transposed]


def test_half_precision_is_kept() -> None:
    """Autocast would cast the repeated pixels, four times the input, to fp32."""
    seen = []
    layer = UpLayer(4, 2, Norm.instance, Upsample.nearest)
    assert layer.resize_conv is not None
    layer.resize_conv.register_forward_pre_hook(lambda module, args: seen.append(args[0].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        layer(torch.randn(1, 4, 8, 8, dtype=torch.bfloat16))
    assert seen == [torch.bfloat16]


@pytest.mark.parametrize("scales", [1, 2])
def test_all_trunks_of_the_generator_have_it(scales: int) -> None:
    weights = generator(Upsample.nearest, scales=scales).state_dict()
    ups = [name for name in weights if ".ups." in name and name.endswith("conv.weight")]
    assert ups and all(name.endswith(".resize_conv.weight") for name in ups)
    frames = generator(Upsample.nearest, scales=scales)(torch.rand(1, 4, 4, 16, 16)).frames
    assert frames.shape == (1, 2, 3, 16, 16)


def test_weights_say_which_they_are(tmp_path) -> None:
    from safetensors.torch import save_file

    for kind, other in ((Upsample.nearest, Upsample.transposed), (Upsample.transposed, Upsample.nearest)):
        network = generator(kind)
        weights = {f"generator.{name}": x for name, x in network.state_dict().items()}
        assert infer_model(weights)["upsample"] == kind.value
        path = tmp_path / f"{kind.value}.safetensors"
        save_file(weights, path)
        model = ModelConfig(upsample=other, **TINY)
        with pytest.raises(CheckpointError, match=rf"of model\.upsample={kind.value} \(here {other.value}\)"):
            start_from(str(path), {"generator": generator(other)}, model, DataConfig())
        again = generator(kind)
        start_from(str(path), {"generator": again}, ModelConfig(upsample=kind, **TINY), DataConfig())
        assert all(torch.equal(x, again.state_dict()[name]) for name, x in network.state_dict().items())
    weights = {f"generator.{name}": x for name, x in generator(Upsample.nearest).state_dict().items()}
    with pytest.raises(CheckpointError, match=r"model\.upsample=nearest, which the originals do not have"):
        to_originals(weights)
