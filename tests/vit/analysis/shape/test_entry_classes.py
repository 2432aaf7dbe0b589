"""ImageNet's classes behind the 16 entry classes."""

import torch

from vit.analysis.shape.entry_classes import ENTRY_CLASSES, entry_map, members
from vit.data.sources.flat import with_words
from vit.weights.classes import imagenet_ids


def test_as_many_classes_as_published():
    """207 in all (Geirhos et al., 2018), no class twice; 109 dogs, 49 birds."""
    counts = {name: len(members(name)) for name in ENTRY_CLASSES}
    assert len(counts) == 16 and sum(counts.values()) == 207
    assert (counts["dog"], counts["bird"], counts["truck"], counts["cat"], counts["bear"]) == (109, 49, 8, 6, 4)
    assert len({member for name in ENTRY_CLASSES for member in members(name)}) == 207


def test_members_are_what_they_are_called():
    """Some by their WordNet ids, as the authors' mapping has them; all cars and boats by name."""
    ids = imagenet_ids()
    assert [ids[k] for k in members("knife")] == ["n03041632"]  # cleaver
    assert [ids[k] for k in members("oven")] == ["n04111531"]  # rotisserie
    assert [ids[k] for k in members("elephant")] == ["n02504013", "n02504458"]
    assert [ids[k] for k in members("chair")] == ["n02791124", "n03376595", "n04099969", "n04429376"]
    words = with_words(ids)
    assert all("car" in words[k] or "convertible" in words[k] or "wagon" in words[k] for k in members("car"))
    dogs = {ids[k] for k in members("dog")}
    assert min(dogs) == "n02085782" and max(dogs) == "n02113978"


def test_outputs_become_entry_classes_in_any_order_of_the_head():
    ids = imagenet_ids()
    turned = [f"{name} words" for name in reversed(ids)]
    plain, other = entry_map(ids), entry_map(turned)
    assert plain is not None and other is not None
    logits = torch.randn(3, 1000, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(other.scores(logits.flip(1)), plain.scores(logits))
    expected = logits.softmax(dim=1)[:, members("clock")].mean(dim=1)
    torch.testing.assert_close(plain.scores(logits)[:, ENTRY_CLASSES.index("clock")].exp(), expected)
    assert entry_map(ids[:-200]) is None
