"""The auto-encoder against a sequence of torch's layers with the same weights, as ports of AdaIN have it."""

import torch
from torch import nn

from tests.helpers.made_stylizer import small_network
from vit.stylize.network import AutoEncoder, Decoder, Encoder


def convs(module: nn.Module) -> list[nn.Conv2d]:
    return [each for each in module.modules() if isinstance(each, nn.Conv2d)]


def padded(weights: nn.Conv2d) -> list[nn.Module]:
    conv = nn.Conv2d(weights.in_channels, weights.out_channels, 3)
    conv.load_state_dict(weights.state_dict())
    return [nn.ReflectionPad2d(1), conv]


def test_the_encoder_ends_behind_the_first_convolution_of_a_stage() -> None:
    encoder = Encoder([4, 6, 8], [2, 1])
    first, a, b, c, d = convs(encoder)
    relu, pool = nn.ReLU(), nn.MaxPool2d(2)
    one = nn.Sequential(first, *padded(a), relu)
    two = nn.Sequential(*padded(b), relu, pool, *padded(c), relu)
    three = nn.Sequential(pool, *padded(d), relu)
    images = torch.rand(2, 3, 16, 12)
    found = encoder(images, 3)
    expected = [one(images)]
    expected += [two(expected[0])]
    expected += [three(expected[1])]
    assert [each.shape[1:] for each in found] == [(4, 16, 12), (6, 8, 6), (8, 4, 3)]
    assert all(torch.allclose(x, y, atol=1e-6) for x, y in zip(found, expected, strict=True))


def test_vggs_decoders_are_its_encoder_mirrored() -> None:
    """Its convolutions, here with an eighth of the channels: nine from relu4_1."""
    decoder = Decoder(Encoder((8, 16, 32, 64, 64), (2, 2, 4, 4)), 4)
    pairs = [(conv.in_channels, conv.out_channels) for conv in convs(decoder)]
    assert pairs == [(64, 32), *[(32, 32)] * 3, (32, 16), (16, 16), (16, 8), (8, 8), (8, 3)]


def test_a_decoder_draws_at_the_size_that_was_encoded_and_may_leave_the_range() -> None:
    network = small_network(3)
    last = convs(network.decoders["3"])[-1]
    assert last.bias is not None
    last.bias.fill_(7.0)
    drawn = network.decode(network.encode(torch.rand(1, 3, 24, 16), 3), 3)
    assert drawn.shape == (1, 3, 24, 16) and drawn.max() > 1  # the last convolution has no ReLU, nothing is cut off


def test_the_input_is_normalised_and_stays_so() -> None:
    network = AutoEncoder([4], [], [1])
    images = torch.rand(1, 3, 4, 4)
    assert torch.allclose(network.encoder.input(images), (images - 0.5) / 0.25, atol=1e-6)
    assert not any(value.requires_grad for value in network.encoder.input.parameters())
