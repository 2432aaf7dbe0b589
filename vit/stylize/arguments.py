"""The arguments of ``scripts/stylize.py``. Importing this loads no torch."""

from __future__ import annotations

from dataclasses import dataclass, field

from vit.stylize import Statistics, Transform


@dataclass
class Arguments:
    """a stylizer"""

    style: str  # a picture, or a folder of them: each picture of the content gets one, drawn by seed and name
    out: str  # the folder of copies, or the picture or film to write
    content: str | None = None  # a data set's folder, a picture or a film; null: data=NAME draws the pictures
    run: str | None = None  # run directory of experiment=vit/stylizer; or encoder= and decoders=
    checkpoint: str | None = None  # best, or the name of another checkpoint of the run, or a path; null: the newest
    encoder: str | None = None  # without a run: VGG-19, torchvision's file or vgg_normalised.pth
    decoders: list[str] = field(default_factory=list)  # its decoders: files, one for each level, or their folder
    transform: Transform = Transform.wct  # which statistics are given, and how
    alpha: float | None = None  # 0: as it was, 1: the style's statistics; null: 0.6, of adain 1
    levels: list[int] = field(default_factory=list)  # like [4,3,2,1]; none: all, deepest first, of adain the fourth
    regularise: float = 0.0  # of wct and ot: share of the trace added to the content's covariance, like 1e-6
    size: int | None = None  # pixels of the longer side of what is drawn, at most; null: as the content
    style_size: int = 512  # pixels of the longer side at which a style is read, at most
    style_seed: int = 0  # which picture gets which style
    statistics: Statistics = Statistics.film  # of a film
    window: int = 15  # frames, an odd number; of statistics=window
    fps: float | None = None  # of a film that is a folder of pictures; null: 25, or as the film says
    overrides: list[str] = field(default_factory=list)
