"""The drift curves of a run: which clips, and what the figures are of."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from vid2vid.config import FirstFrame
from vid2vid.data import open_source
from vid2vid.data.labels.trained_colours import check_colours
from vid2vid.data.street import StreetSequence
from vid2vid.drift.measure import Curve, flow_method, measure_clip
from vid2vid.drift.summary import whole
from vid2vid.generate.rollout import Rollout
from vid2vid.generate.styling import build_styles
from vid2vid.styles.request import StyleRequest
from vid2vid.trained import LoadedRun

STREET = "street"


@dataclass(frozen=True)
class Measured:
    """Curves of a run.

    Attributes:
        values: (clips, frames, 10), see `Curve`.
        facts: what they are of, flat.
        left_out: a line for each clip that is too short.
    """

    values: Tensor
    facts: dict[str, str | int | float]
    left_out: list[str] = field(default_factory=list)


def measure_run(
    run: LoadedRun,
    run_dir: Path,
    source: str,
    *,
    clips: int,
    frames: int,
    first_frame: FirstFrame | None = None,
    progress: Callable[[int], object] = lambda done: None,
) -> Measured:
    """Generate long clips of a source and measure every frame.

    Args:
        run_dir: where a run with a feature encoder has its fitted styles; of them each clip draws one a track.
        source: see `vid2vid.data.open_source`; "street": its held-out scenes.
        clips: so many, the first ones of ``frames`` frames without a cut.
        first_frame: None: the run's own ``model.first_frame``.
        progress: is given the number of frames done.

    Raises:
        DataError: nothing usable there, or no clip is long enough.
        ConfigError: ``first_frame=image``, for which there is no picture.
    """
    config = deepcopy(run.config)
    config.data.val_clips = clips  # the street has as many scenes as one asks for
    start = run.config.model.first_frame if first_frame is None else first_frame
    method = flow_method(config.data, source == STREET)
    curves: list[Curve] = []
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        progress(done)

    for sequence in open_source(source, config, frames):
        if sum(curve.ended is None for curve in curves) == clips:
            break
        if isinstance(sequence, StreetSequence):
            sequence.with_flow = True
        check_colours(run.colours, [getattr(sequence, "sequence", None)])
        styles = build_styles(StyleRequest(), run, run_dir, sequence, frames)
        rollout = Rollout(run.generator, run.encoder, run.compute, start, None, run.scales, styles)
        before = done
        curve = measure_clip(rollout, sequence, frames, method, config.data.flow_weights, step)
        curves.append(curve)
        if curve.ended is not None:
            done = before  # its frames do not count
    values = whole(curves, frames)
    height, width = config.resolution
    facts: dict[str, str | int | float] = {
        "step": run.step,
        "samples_seen": run.samples_seen,
        "checkpoint": str(run.checkpoint),
        "source": source,
        **({"world_seed": config.data.world_seed} if source == STREET else {}),
        "clips": len(values),
        "frames": frames,
        "first_frame": start.name,
        "resolution": f"{height}x{width}",
        "weights": "EMA" if run.averaged else "raw",
        "flow": method.name,
    }
    left_out = [f"{curve.name} is left out: {curve.ended}" for curve in curves if curve.ended is not None]
    return Measured(values, facts, left_out)
