"""What a command line asks of a video's styles, checked before anything is loaded. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trainer.errors import ConfigError
from vid2vid.config import ModelConfig, StyleTracks

_KINDS = "sample (drawn by seed=), mean, image:PATH (how a picture looks) or file:PATH (vectors that save_style= wrote)"


@dataclass(frozen=True)
class StyleRequest:
    """What a command line asks for; the fields are its arguments."""

    style: str | None = None
    style_labels: str | None = None
    seed: int | None = None
    interpolate: str | None = None
    style_tracks: StyleTracks = StyleTracks.auto
    save_style: str | None = None

    def check(self, model: ModelConfig) -> None:
        """Raises ConfigError for what cannot be, before anything is loaded."""
        given = {
            name: value for name in ("style", "style_labels", "interpolate", "save_style")
            if (value := getattr(self, name)) is not None
        }  # fmt: skip
        for name, value in given.items():
            require_encoder(model, f"{name}={value}")
        kind, _, path = (self.style or "sample").partition(":")
        if kind not in ("sample", "mean", "image", "file") or (kind in ("image", "file")) != bool(path):
            raise ConfigError(f"style={self.style}: must be {_KINDS}")
        if self.style_labels is not None and kind != "image":
            raise ConfigError(f"style_labels={self.style_labels} is the label map of style=image:PATH: give both")
        if self.interpolate is not None:
            if self.style not in (None, "sample"):
                raise ConfigError(f"interpolate={self.interpolate} has styles of its own: leave style={self.style} out")
            if self.save_style is not None:
                raise ConfigError(f"save_style={self.save_style}: vectors that move are not kept; leave one out")
            interpolation_ends(self.interpolate)
        if model.style_channels and self.seed is not None and self.seed < 0:
            raise ConfigError(f"seed={self.seed}: must be at least 0")


def interpolation_ends(text: str) -> list[int | Path]:
    """``3,7`` or ``a.json,b.json``: two seeds or files."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2 or not all(parts):
        raise ConfigError(
            f"interpolate={text}: needs two, A,B, each a seed (0, 1, ...) or a file that save_style= wrote"
        )
    return [int(part) if part.isdecimal() else Path(part) for part in parts]


def require_encoder(model: ModelConfig, key: str) -> None:
    """Raises ConfigError, which names ``key`` with its value, for a run without a feature encoder."""
    if model.style_channels == 0:
        raise ConfigError(
            f"{key}: this run has no feature encoder (model.style_channels=0), so its instances have no styles: leave "
            f"{key.partition('=')[0]} out, or train a run with model.style_channels=3 (experiment=vid2vid/styles)"
        )
