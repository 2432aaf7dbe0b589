"""Who looks into the network sees all tokens: hooks anywhere, torchvision's feature extraction, timm's way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vit.config import AttentionKind, ModelConfig
from vit.model.architecture import architecture
from vit.model.transformer import VisionTransformer

WHOLE = (2, 17, 32)


def network(**options: Any) -> VisionTransformer:
    torch.manual_seed(0)
    config = ModelConfig(width=32, depth=2, mlp=64, heads=2, patch=8, **options)
    model = VisionTransformer(architecture(config, 5, 3, (32, 32))).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


def pictures() -> Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("where", ["norm", "blocks.1", "blocks.1.mlp", "blocks.1.attn.proj"])
@pytest.mark.parametrize("kind", ["forward", "pre", "backward"])
def test_a_hook_sees_all_tokens_and_changes_nothing(where: str, kind: str) -> None:
    model, seen = network(), []
    expected = model(pictures())

    def look(_: nn.Module, *values: Any) -> None:
        value = values[-1]
        seen.append(tuple((value[0] if isinstance(value, tuple) else value).shape))

    part = model.get_submodule(where)
    register: dict[str, Callable[[Any], Any]] = {
        "forward": part.register_forward_hook,
        "pre": part.register_forward_pre_hook,
        "backward": part.register_full_backward_hook,
    }
    handle = register[kind](look)
    out = model(pictures())
    out.sum().backward()
    assert seen == [WHOLE]
    torch.testing.assert_close(out, expected)
    handle.remove()
    assert model._tokens_read(pictures()) == 1  # nobody looks any more: the class token alone


def test_a_global_hook_sees_all_tokens() -> None:
    model, seen = network(), {}

    def look(module: nn.Module, _: Any, output: Any) -> None:
        seen[id(module)] = tuple(output.shape)

    handle = nn.modules.module.register_module_forward_hook(look)
    try:
        model(pictures())
    finally:
        handle.remove()
    assert seen[id(model.blocks[-1])] == seen[id(model.norm)] == WHOLE


@pytest.mark.parametrize(
    "options", [{}, {"attention": AttentionKind.explicit}, {"registers": 2}, {"representation": 8}]
)
def test_torchvisions_feature_extraction(options: dict[str, Any]) -> None:
    feature_extraction = pytest.importorskip("torchvision.models.feature_extraction")
    model = network(**options)
    nodes = {"blocks.0.mlp.fc1": "inner", "norm": "tokens", "head": "logits"}
    train_nodes, eval_nodes = feature_extraction.get_graph_node_names(model)
    assert any(name.startswith("blocks.1.attn") for name in eval_nodes) and train_nodes
    shapes = {key: name for key, name in nodes.items() if any(node.startswith(key) for node in eval_nodes)}
    traced = feature_extraction.create_feature_extractor(model, shapes)
    with torch.no_grad():
        found, tokens = traced(pictures()), model.forward_features(pictures())
        torch.testing.assert_close(found["tokens"], tokens)
        torch.testing.assert_close(found["logits"], model(pictures()))
    assert found["inner"].shape == (*tokens.shape[:2], 64)


@pytest.mark.parametrize("options", [{}, {"norm": True}, {"output_fmt": "NLC"}, {"return_prefix_tokens": True}])
@pytest.mark.parametrize("indices", [None, 1, [0, -1]])
def test_intermediates_are_timms(options: dict[str, Any], indices: Any) -> None:
    timm = pytest.importorskip("timm")
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2, "mlp_ratio": 2.0}
    theirs = timm.models.vision_transformer.VisionTransformer(**sizes, num_classes=5).eval()
    model = network()
    theirs.load_state_dict(model.state_dict())
    with torch.no_grad():
        expected = theirs.forward_intermediates(pictures(), indices, **options)
        found = model.forward_intermediates(pictures(), indices, **options)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
        only = model.forward_intermediates(pictures(), indices, intermediates_only=True, stop_early=True, **options)
        torch.testing.assert_close(only, expected[1], atol=1e-5, rtol=0)
    with pytest.raises(IndexError):
        model.forward_intermediates(pictures(), [2])
    with pytest.raises(ValueError, match="NCHW or NLC"):
        model.forward_intermediates(pictures(), output_fmt="NHWC")
