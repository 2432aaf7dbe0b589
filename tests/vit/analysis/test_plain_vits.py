"""Tokens zeroed and left out, and what heads read, beside the same done by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.helpers.made_vits import made
from vit.analysis.experiments.patchdrop import pearson, zeroed
from vit.analysis.plain_vits import HeadInput, plain_vit, with_tokens
from vit.model.layers import keep_patches
from vit.model.timm_model import TimmClassifier

KEPT = torch.tensor([[0, 3, 5], [1, 2, 15]])


def images() -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
@pytest.mark.parametrize("options", [{}, {"pool": "gap"}, {"registers": 2}], ids=str)
def test_tokens_left_out_of_ours(options: dict[str, object]) -> None:
    from vit.config import Pool

    options = {name: Pool[value] if isinstance(value, str) else value for name, value in options.items()}
    model, _ = made(**options)  # type: ignore[arg-type]
    vit = plain_vit(model, (64, 64))
    assert vit is not None and vit.grid == (4, 4) and vit.prefix == model.arch.prefix
    x = model.embed(images())
    rows = [torch.cat([torch.arange(vit.prefix), kept + vit.prefix]) for kept in KEPT]
    x = torch.stack([tokens[row] for tokens, row in zip(x, rows, strict=True)])
    for block in model.blocks:
        x = block(x)
    assert model.head is not None
    features = model.pool(model.norm(x))
    with HeadInput(model) as tap, with_tokens(vit.blocks[0], lambda tokens: keep_patches(tokens, KEPT, vit.prefix)):
        logits = model(images())
        assert torch.allclose(tap.features(), features, atol=1e-5)
    assert torch.allclose(logits, model.head(features), atol=1e-5)
    assert not torch.allclose(model(images()), logits, atol=1e-3), "and the hooks are gone"


@torch.inference_mode()
def test_all_tokens_left_in_change_nothing() -> None:
    model, _ = made()
    vit, every = plain_vit(model, (64, 64)), torch.arange(16).expand(2, -1)
    assert vit is not None
    with with_tokens(vit.blocks[0], lambda tokens: keep_patches(tokens, every, 1)):
        assert torch.equal(model(images()), model(images()))
    tokens = torch.randn(2, 17, 8)
    dropped = torch.zeros(2, 16, dtype=torch.bool)
    dropped[1, 4] = True
    lesion = zeroed(tokens, dropped, 1)
    assert (lesion[1, 5] == 0).all() and int((lesion != tokens).any(dim=-1).sum()) == 1


@torch.inference_mode()
def test_timms() -> None:
    import timm

    options = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2, "num_classes": 5}
    net = timm.create_model("vit_tiny_patch16_224", **options).eval()
    model = TimmClassifier(net)
    vit = plain_vit(model, (32, 32))
    assert vit is not None and vit.grid == (4, 4) and vit.prefix == 1 and len(vit.blocks) == 2
    pictures = images()[..., :32, :32]
    kept = KEPT + 1
    x = net._pos_embed(net.patch_embed(pictures))  # type: ignore[operator]
    x = torch.stack([tokens[torch.cat([torch.zeros(1).long(), row])] for tokens, row in zip(x, kept, strict=True)])
    expected = net.forward_head(net.norm(net.blocks(x)))  # type: ignore[operator]
    with with_tokens(vit.blocks[0], lambda tokens: keep_patches(tokens, KEPT, vit.prefix)):
        assert torch.allclose(model(pictures), expected, atol=1e-5)
    cnn = TimmClassifier(timm.create_model("test_resnet.r160_in1k", num_classes=5).eval())
    assert plain_vit(cnn, (32, 32)) is None
    with HeadInput(cnn) as tap:
        cnn(pictures)
        assert torch.allclose(tap.features(), cnn.representation(pictures), atol=1e-5)


def test_correlation_is_numpys() -> None:
    import numpy as np

    a, b = torch.randn(2, 3, 7, generator=torch.Generator().manual_seed(0))
    b[0], b[1] = 2 * a[0] + 1, -a[1]
    b[2] = 4.0
    found = pearson(a, b).tolist()
    assert found == pytest.approx([1, -1, 0], abs=1e-6)
    c = torch.randn(3, 7, generator=torch.Generator().manual_seed(1))
    assert pearson(a, c).tolist() == pytest.approx([np.corrcoef(a[k], c[k])[0, 1] for k in range(3)], abs=1e-5)


@torch.inference_mode()
def test_the_patches_of_timms_are_those_of_the_pictures() -> None:
    """Not of the positions, which a network may resample as it goes."""
    from timm.models.vision_transformer import VisionTransformer

    net = VisionTransformer(img_size=64, patch_size=16, embed_dim=8, depth=1, num_heads=1, dynamic_img_size=True).eval()
    vit = plain_vit(TimmClassifier(net), (32, 96))
    assert vit is not None and vit.grid == (2, 6)
    oblong, counted = torch.zeros(1, 3, 32, 96), []
    with with_tokens(vit.blocks[0], lambda tokens: counted.append(tokens.shape[1]) or tokens):
        net(oblong)
    assert counted == [vit.prefix + 2 * 6]


@torch.inference_mode()
def test_the_first_of_several_heads() -> None:
    """CrossViT has one for each of its two sizes of patches, in a list, which nothing goes through itself."""
    from timm.models.crossvit import CrossVit

    net = CrossVit(img_size=48, img_scale=(1.0, 1.0), patch_size=(12, 16), num_classes=5, embed_dim=(8, 8),
                   depth=((1, 1, 0),), num_heads=(1, 1), mlp_ratio=(1.0, 1.0, 1.0)).eval()  # fmt: skip
    with HeadInput(TimmClassifier(net)) as tap:
        net(torch.zeros(2, 3, 48, 48))
        assert torch.equal(tap.features(), net.forward_features(torch.zeros(2, 3, 48, 48))[0][:, 0])
