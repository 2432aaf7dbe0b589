"""A plain ViT with everything resolved: what the network is built from. No torch here."""

from __future__ import annotations

from dataclasses import dataclass, fields

from trainer.errors import UserError, refuse
from vit.config import (
    AttentionKind,
    DropPathShape,
    Fit,
    Gelu,
    Init,
    ModelConfig,
    Pool,
    PosEmbed,
    PosInterp,
    QkNorm,
    SpaceTime,
)
from vit.model.variants import VARIANTS, parse_variant

Size = tuple[int, int]


@dataclass(frozen=True)
class Architecture:
    """All that shapes a ``VisionTransformer``; made by ``architecture``. Pairs are (height, width).

    Attributes:
        variant: name that the sizes started from.
        width, depth, mlp, heads: D, blocks, MLP width, attention heads.
        patch: side of a patch in pixels.
        image_size: pixels of the run's final resolution; the learned position table has its grid.
        in_channels: of a picture.
        num_classes: 0 leaves the head out.
        class_token: whether there is one.
        head_bias: initial value of the head's bias.
        head_std: standard deviation of the head's first weights; None: what ``init`` says.
        drop_path: its rate per block follows ``drop_path_rates``.
        init_grid: grid at which learned positions are drawn before they are resampled to ``grid``: that of the
            coarsest stage of the curriculum, so that the table is smooth there too.
        tubelet, temporal_depth: 1 and 0 where there is no time, and the second in all but a factorised encoder.
        others: as in ``ModelConfig``.
    """

    variant: str
    width: int
    depth: int
    mlp: int
    heads: int
    patch: int
    image_size: Size
    in_channels: int
    num_classes: int
    init_grid: Size
    pool: Pool = Pool.cls
    pool_first: bool = False
    pos_embed: PosEmbed = PosEmbed.learned
    class_token: bool = True
    class_position: bool = True
    registers: int = 0
    distilled: bool = False
    layer_scale: float | None = None
    drop_path: float = 0.0
    drop_path_shape: DropPathShape = DropPathShape.ramp
    dropout: float = 0.0
    attention_dropout: float = 0.0
    patch_dropout: float = 0.0
    qk_norm: QkNorm = QkNorm.none
    qkv_bias: bool = True
    gelu: Gelu = Gelu.exact
    norm_eps: float = 1e-6
    representation: int = 0
    probe_norm: bool = False
    init: Init = Init.jax
    head_bias: float = 0.0
    head_std: float | None = None
    attention: AttentionKind = AttentionKind.auto
    checkpointing: bool = False
    fit: Fit = Fit.error
    pos_interp: PosInterp = PosInterp.bicubic
    frames: int = 1
    tubelet: int = 1
    space_time: SpaceTime = SpaceTime.factorised_attention
    temporal_depth: int = 0

    @property
    def grid(self) -> Size:
        """Rows and columns of patches at ``image_size``."""
        return patch_grid(self.image_size, self.patch, self.fit)

    @property
    def patches(self) -> int:
        return self.grid[0] * self.grid[1]

    @property
    def steps(self) -> int:
        """Steps in time: tubelets behind one another; 1 for pictures."""
        return self.frames // self.tubelet

    @property
    def prefix_tokens(self) -> dict[str, int]:
        """How many tokens of which kind stand before the patches, in their order."""
        return {"class": int(self.class_token), "distillation": int(self.distilled), "register": self.registers}

    @property
    def prefix(self) -> int:
        """Tokens before the patches."""
        return sum(self.prefix_tokens.values())

    @property
    def position_prefix(self) -> int:
        """Rows of the learned position table before those of the patches. Registers have none (DINOv2)."""
        if self.pos_embed is not PosEmbed.learned or not self.class_position:
            return 0
        return self.class_token + self.distilled

    @property
    def pooled_width(self) -> int:
        """Features that pooling gives."""
        return self.width * (2 if self.pool is Pool.cls_gap else 1)

    @property
    def head_width(self) -> int:
        """Features that the head reads."""
        return self.representation or self.pooled_width

    @property
    def drop_path_rates(self) -> list[float]:
        """Probability of dropping a branch, per block."""
        if self.drop_path_shape is DropPathShape.constant:
            return [self.drop_path] * self.depth
        return [self.drop_path * index / max(1, self.depth - 1) for index in range(self.depth)]


def pictures_alone(model: ModelConfig) -> list[str]:
    """Settings that networks of clips do not have, as typed."""
    found = []
    if model.distilled:
        found.append("model.distilled=true")
    if model.patch_dropout:
        found.append(f"model.patch_dropout={model.patch_dropout:g}")
    if model.pool is Pool.none:
        found.append("model.pool=none")
    if model.pool is Pool.cls_gap and model.space_time is SpaceTime.factorised_encoder:
        found.append("model.pool=cls_gap with model.space_time=factorised_encoder")
    return found


def patch_grid(size: Size, patch: int, fit: Fit) -> Size:
    """Rows and columns of patches of a picture of ``size`` pixels, after ``fit``.

    Raises:
        UserError: the patch does not divide a side and ``fit`` is ``error``, or nothing is left after cropping.
    """
    if fit is Fit.error and (size[0] % patch or size[1] % patch):
        near = sorted({nearest(size, patch, up=False), nearest(size, patch, up=True)})
        options = " or ".join(f"{h}x{w}" for h, w in near)
        raise UserError(
            f"a picture of {size[0]}x{size[1]} pixels does not divide into patches of {patch}x{patch}: "
            f"use resolution {options}, or model.fit=pad, crop or resize"
        )
    if fit is Fit.pad:
        return -(-size[0] // patch), -(-size[1] // patch)
    if fit is Fit.resize:
        return max(1, round(size[0] / patch)), max(1, round(size[1] / patch))
    if min(size) < patch:
        raise UserError(
            f"a picture of {size[0]}x{size[1]} pixels has no whole patch of {patch}x{patch}: use model.fit=pad"
        )
    return size[0] // patch, size[1] // patch


def kept_patches(patches: int, rate: float) -> int:
    """How many of a picture's patches patch dropout keeps: at least one."""
    return max(1, int(patches * (1 - rate)))


def nearest(size: Size, patch: int, up: bool) -> Size:
    """The next size below (at least one patch) or above that the patch divides; sides that fit stay."""
    h, w = (max(patch, (side + (patch - 1 if up else 0)) // patch * patch) for side in size)
    return h, w


def architecture(
    model: ModelConfig,
    num_classes: int,
    in_channels: int,
    image_size: Size,
    init_size: Size | None = None,
) -> Architecture:
    """Resolves a configuration.

    Args:
        model: as configured; a ``head_bias`` of None is taken as 0 (whoever knows the loss puts -ln K there).
        num_classes: outputs of the head; 0 for none.
        in_channels: of a picture.
        image_size: (height, width) in pixels at the final resolution.
        init_size: resolution of the coarsest stage; None: ``image_size``.

    Raises:
        ConfigError: with every combination found that cannot be built.
        UserError: the patch does not divide ``image_size`` and ``model.fit`` is ``error``.
    """
    name, patch = parse_variant(model.variant, model.patch)
    sizes = VARIANTS[name]
    width, heads = model.width or sizes.width, model.heads or sizes.heads
    class_token = model.class_token
    if class_token is None:
        class_token = model.pool in (Pool.cls, Pool.cls_gap, Pool.none)
    problems = []
    if width % heads:
        problems.append(f"model.width={width} is not divisible by model.heads={heads}")
    if model.pos_embed in (PosEmbed.sincos2d, PosEmbed.sincos2d_mae) and (width % 4 or width < 8):
        problems.append(f"model.pos_embed={model.pos_embed.value} needs a width divisible by 4, not {width}")
    if model.pool in (Pool.cls, Pool.cls_gap) and not class_token:
        problems.append(f"model.pool={model.pool.value} needs model.class_token=true")
    if model.distilled and model.pool is not Pool.cls:
        problems.append(f"model.distilled=true needs model.pool=cls, not {model.pool.value}")
    if model.probe_norm and model.pool is Pool.none:
        problems.append("model.probe_norm=true normalises pooled features: model.pool=none has none")
    if model.frames > 1 and model.frames % model.tubelet:
        problems.append(f"model.tubelet={model.tubelet} does not divide model.frames={model.frames}")
    if model.frames > 1:
        problems += [
            f"{words}: networks of clips (model.frames={model.frames}) have none" for words in pictures_alone(model)
        ]
    refuse(problems)
    encoder = model.frames > model.tubelet and model.space_time is SpaceTime.factorised_encoder
    own = {field.name: getattr(model, field.name) for field in fields(Architecture) if hasattr(model, field.name)}
    resolved = {
        "variant": name,
        "width": width,
        "depth": model.depth or sizes.depth,
        "mlp": model.mlp or sizes.mlp,
        "heads": heads,
        "patch": patch,
        "image_size": image_size,
        "in_channels": in_channels,
        "num_classes": num_classes,
        "init_grid": patch_grid(init_size or image_size, patch, model.fit),
        "pool_first": model.pool_first and model.pool is Pool.gap,
        "class_token": class_token,
        "head_bias": model.head_bias or 0.0,
        "tubelet": model.tubelet if model.frames > 1 else 1,
        "temporal_depth": model.temporal_depth if encoder else 0,
    }
    return Architecture(**{**own, **resolved})
