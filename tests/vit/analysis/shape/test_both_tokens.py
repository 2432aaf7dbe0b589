"""The two heads of distilled models, ours and timm's."""

import pytest
import torch

from tests.helpers.made_classifier import mu_config
from trainer.device.compute import CPU
from vit.analysis.shape.both_tokens import Token, is_distilled, opinions
from vit.analysis.subjects import Subject
from vit.data import describe
from vit.evaluate.loaded import Loaded
from vit.model.timm_model import TimmClassifier
from vit.task import VitTask


def subject(model: torch.nn.Module) -> Subject:
    config = mu_config("resolution=[16,16]")
    info = describe(config)
    loaded = Loaded(model.eval(), config, info, info.classes, [0.5] * 3, [0.5] * 3, 10, CPU, "")
    return Subject("net", loaded, None, [])


def ours() -> torch.nn.Module:
    torch.manual_seed(0)
    model = VitTask(mu_config("model.distilled=true", "model.patch=8")).model
    for name in ("head.weight", "head_dist.weight"):
        torch.nn.init.normal_(model.get_parameter(name))
    return model


def timms() -> torch.nn.Module:
    from timm.models.deit import VisionTransformerDistilled

    torch.manual_seed(0)
    return TimmClassifier(VisionTransformerDistilled(img_size=16, patch_size=8, embed_dim=16, depth=1, num_heads=1,
                                                     num_classes=10))  # fmt: skip


@pytest.mark.parametrize("made", [ours, timms])
@torch.inference_mode()
def test_the_mean_of_both_is_what_the_model_says(made):
    asked = subject(made())
    pixels = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    both = opinions(asked, pixels)
    torch.testing.assert_close(both.of(Token.avg), asked.logits(pixels))
    assert not torch.allclose(both.of(Token.cls), both.of(Token.dist))
    torch.testing.assert_close(both.of(Token.cls) + both.of(Token.dist), 2 * asked.logits(pixels))
    assert both.cosine.shape == (4,) and float(both.cosine.abs().max()) < 1


def test_who_has_two_tokens():
    assert is_distilled(ours()) and is_distilled(timms())
    assert not is_distilled(VitTask(mu_config()).model)


def test_two_heads_on_one_mean_are_no_two_tokens():
    """Tokens 0 and 1 of LeViT are the first two patches."""
    from timm.models.levit import LevitDistilled

    net = LevitDistilled(img_size=32, embed_dim=(16, 16), key_dim=8, depth=(1, 1), num_heads=(1, 1), num_classes=10)
    assert hasattr(net, "head_dist") and not is_distilled(TimmClassifier(net))
