"""A classifier of timm as a network of this package: what training and evaluation ask of a ViT, asked of it.

Letters: B pictures, C x H x W pixels each, K classes, R features that the last layer reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatch
from typing import Any

from torch import Tensor, nn


class TimmClassifier(nn.Module):
    """A timm model with the methods of ``VisionTransformer`` that training and evaluation use.

    It adds no level of names: parameters, buffers and state dict are those of the timm model itself, so that its
    weights go to timm and back as they are. ``net`` is therefore no submodule; both share their children.

    Args:
        net: the timm model.
        options: what it was built with besides classes, channels and size; plain data.
    """

    net: nn.Module

    def __init__(self, net: nn.Module, options: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.options = dict(options or {})
        object.__setattr__(self, "net", net)
        for name in ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"):
            object.__setattr__(self, name, getattr(net, name))

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (B, C, H, W), normalised, to logits (B, K)."""
        return self.net(x)

    def representation(self, x: Tensor) -> Tensor:
        """What the last layer reads: pictures to (B, R)."""
        return self.net.forward_head(self.net.forward_features(x), pre_logits=True)  # type: ignore[operator]

    def train(self, mode: bool = True) -> TimmClassifier:
        super().train(mode)
        self.net.training = mode  # its children are ours and know already
        return self

    def no_weight_decay(self) -> set[str]:
        """Parameters that the model's authors spare from weight decay (position tables, tokens)."""
        listed: Any = getattr(self.net, "no_weight_decay", set)
        patterns = set(listed())
        return {name for name, _ in self.named_parameters() if any(fnmatch(name, p) for p in patterns)}

    def layer_ids(self) -> dict[str, int]:
        """Depth of every parameter, 0 for the stem, as timm groups them; the head is last."""
        from timm.models._manipulate import group_parameters
        from timm.optim._param_groups import auto_group_layers

        matcher = getattr(self.net, "group_matcher", None)
        if callable(matcher):
            return dict(group_parameters(self.net, matcher(coarse=False), reverse=True))
        return dict(auto_group_layers(self.net))


def bare(model: nn.Module) -> nn.Module:
    """timm's own model where it is one of timm's, else the network as it is."""
    return model.net if isinstance(model, TimmClassifier) else model
