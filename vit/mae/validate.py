"""Checks of a masked autoencoder's configuration across its fields, before anything is built. Loads no torch."""

from __future__ import annotations

from trainer.validate import at_least
from vit.config import PosEmbed
from vit.mae.config import MaeConfig, MaskConfig, as_vit
from vit.validate import labelled_alone
from vit.validate import problems as vit_problems


def problems(config: MaeConfig) -> list[str]:
    """Every problem of a configuration, one line each: key, value, remedy."""
    model = config.model
    found = vit_problems(as_vit(config))
    found += _mask_problems(config.mask)
    if model.name is not None:
        found.append(f"model.name={model.name}: the encoder is one of our ViTs: leave it out, and give model.variant")
    if model.frames > 1:
        found.append(f"model.frames={model.frames}: masked autoencoders are of pictures here: set model.frames=1")
    if model.pool_first:
        found.append("model.pool_first=true leaves the encoder without its last norm: set it in fine-tuning alone")
    if model.patch_dropout:
        found.append(f"model.patch_dropout={model.patch_dropout}: mask.ratio says what is dropped: set it to 0")
    if model.pos_embed is PosEmbed.none:
        found.append("model.pos_embed=none: what is masked is told by its position; MAE's is sincos2d_mae")
    return found + labelled_alone(config.augment, "is for labelled pictures")


def _mask_problems(mask: MaskConfig) -> list[str]:
    found = []
    if not 0.0 < mask.ratio < 1.0:
        found.append(f"mask.ratio={mask.ratio}: must lie between 0 and 1, like 0.75")
    for name in ("decoder_width", "decoder_depth", "decoder_heads"):
        found += at_least(f"mask.{name}", getattr(mask, name), 1)
    if mask.decoder_heads > 0 and mask.decoder_width % mask.decoder_heads:
        found.append(f"mask.decoder_heads={mask.decoder_heads} does not divide mask.decoder_width={mask.decoder_width}")
    if mask.decoder_width % 4 or mask.decoder_width < 8:
        found.append(f"mask.decoder_width={mask.decoder_width}: its positions need at least 8, divisible by 4")
    return found
