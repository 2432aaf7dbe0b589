"""Chance as a function of seed and picture."""

import torch

from vit.analysis.chance import normal, permutation, uniform


def test_splitmix64():
    """The first words of SplitMix64 from the state 0, as its authors' C code prints them, in 53 bits."""
    from vit.analysis.chance import _mixed, _signed

    gamma = _signed(0x9E3779B97F4A7C15)
    words = _mixed(torch.arange(1, 4) * gamma)
    assert [int(word) % 2**64 for word in words] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_the_same_whatever_the_batch():
    index = torch.arange(100)
    whole = uniform(3, index, 7)
    assert torch.equal(torch.cat([uniform(3, part, 7) for part in index.split(13)]), whole)
    assert torch.equal(uniform(3, index.flip(0), 7).flip(0), whole)
    assert torch.equal(uniform(3, index, 9)[:, :7], whole), "further numbers do not change the first"


def test_even_and_independent():
    draws = uniform(0, torch.arange(2000), 50)
    assert float(draws.min()) >= 0 and float(draws.max()) < 1
    assert abs(float(draws.mean()) - 0.5) < 0.004 and abs(float(draws.var()) - 1 / 12) < 0.002
    for other in (uniform(1, torch.arange(2000), 50), uniform(0, torch.arange(1, 2001), 50), draws.roll(1, 1)):
        both = torch.stack([draws.flatten(), other.flatten()])
        assert abs(float(torch.corrcoef(both)[0, 1])) < 0.015
    bell = normal(0, torch.arange(2000), 50)
    assert abs(float(bell.mean())) < 0.015 and abs(float(bell.std()) - 1) < 0.01


def test_orders():
    orders = permutation(0, torch.arange(600), 4)
    assert torch.equal(orders.sort(dim=1).values, torch.arange(4).expand(600, 4))
    counts = torch.stack([(orders[:, place] == cell).sum() for place in range(4) for cell in range(4)])
    assert int(counts.min()) > 110 and int(counts.max()) < 190, "each cell as often in each place: 150"
