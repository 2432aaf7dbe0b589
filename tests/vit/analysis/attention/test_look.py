"""Maps that answer a question, of networks whose attention is known."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.helpers.tiny_nets import make, randomise
from trainer.errors import ConfigError
from vit.analysis.attention.look import Look, Question, figures
from vit.analysis.attention.measures import Fusion, Rollout
from vit.analysis.attention.taps import Taps
from vit.config import Pool

SIZE = (16, 24)  # two rows of three patches
PICTURES = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(0))


def look(question: dict[str, Any], **changes: Any) -> tuple[Look, dict[str, Tensor]]:
    model = make(**changes).eval()
    randomise(model)
    whole: dict[str, Any] = {"blocks": [2], "heads": [], "fusion": Fusion.mean, "query": "auto", "rollout": False,
                             "discard": 0.0}  # fmt: skip
    found = Look(Taps(model, "net"), SIZE, Question(**whole | question))
    with torch.inference_mode():
        return found, found.maps(lambda: model(PICTURES))


def test_maps_are_rows_of_the_attention() -> None:
    found, maps = look({"blocks": [1, 2], "heads": [3], "query": "auto"}, registers=1)
    model: Any = found.taps.model
    with torch.inference_mode():
        first, second = model.attention_maps(PICTURES)
    assert list(maps) == ["block 1 mean", "block 2 mean", "block 1 head 3", "block 2 head 3"] and found.query == "cls"
    torch.testing.assert_close(maps["block 2 head 3"], second[:, 3, 0, 2:].view(2, 2, 3))
    torch.testing.assert_close(maps["block 1 mean"], first.mean(dim=1)[:, 0, 2:].view(2, 2, 3))
    found, maps = look({"query": "1x2", "fusion": Fusion.max}, registers=1)
    torch.testing.assert_close(maps["block 2 max"], second.amax(dim=1)[:, 2 + 5, 2:].view(2, 2, 3))
    assert found.place == (1, 2)


def test_the_rollout_goes_through_all_blocks() -> None:
    found, maps = look({"rollout": True})
    model: Any = found.taps.model
    rollout = Rollout()
    with torch.inference_mode():
        for weights in model.attention_maps(PICTURES):
            rollout.add(weights)
    assert rollout.product is not None
    torch.testing.assert_close(maps["rollout"], rollout.product[:, 0, 1:].view(2, 2, 3))


def test_what_the_head_reads_is_asked_by_default() -> None:
    assert look({}, pool=Pool.gap, class_token=False)[0].query == "mean"
    found, maps = look({"rollout": True, "heads": [0]}, pool=Pool.map, class_token=False)
    assert found.query == "pool" and list(maps) == ["pooling mean", "rollout", "pooling head 0"]
    for name in maps:
        torch.testing.assert_close(maps[name].sum(dim=(1, 2)), torch.ones(2))
    with pytest.raises(ConfigError, match="query=pool: net has no attention pooling"):
        look({"query": "pool"})
    with pytest.raises(ConfigError, match="net has 4 heads, 0 to 3, no 4"):
        look({"heads": [4]})


def test_figures_of_heads_that_look_at_all_alike() -> None:
    """Without queries and keys every weight is 1 / T: T = 1 + 1 + 6 tokens."""
    model = make(registers=1).eval()
    randomise(model)
    for block in model.blocks:
        block.attn.qkv.weight.data.zero_()
        block.attn.qkv.bias.data.zero_()
    with torch.inference_mode():
        found = figures(Taps(model, "net"), SIZE, lambda: model(PICTURES))
    assert {name: tuple(values.shape) for name, values in found.items()} == dict.fromkeys(found, (2, 2, 4))
    torch.testing.assert_close(found["to_prefix"], torch.full((2, 2, 4), 2 / 8))
    torch.testing.assert_close(found["entropy"], torch.full((2, 2, 4), 8.0).log())
    near, far = 8.0, (8.0**2 + 8.0**2) ** 0.5
    corner = (0 + near + 16 + near + far + (8.0**2 + 16.0**2) ** 0.5) / 6
    middle = (0 + near + near + near + far + far) / 6
    torch.testing.assert_close(found["distance"], torch.full((2, 2, 4), (4 * corner + 2 * middle) / 6))
