"""Checks of a stylizer's configuration across its fields, before anything is built. Loads no torch."""

from __future__ import annotations

from trainer.config.schema import show
from trainer.schedule.stage_table import sizes
from trainer.validate import at_least, run_problems
from vit.config import Decode
from vit.stylize.config import PHASES, AutoEncoderConfig, StylizerConfig, as_vit
from vit.validate import labelled_alone, picture_problems

_MOST = 5  # levels: VGG-19 has so many


def problems(config: StylizerConfig) -> list[str]:
    """Every problem of a configuration, one line each: key, value, remedy."""
    found = run_problems(config, PHASES)
    found += _model_problems(config.model)
    found += picture_problems(as_vit(config))
    data = config.data
    if data.channels not in (None, 3):
        found.append(f"data.channels={data.channels}: styles are of colours: leave it out, or give 3")
    if data.decode is Decode.gpu:
        found.append("data.decode=gpu is for classifiers: set data.decode=cpu")
    found += labelled_alone(config.augment, "makes no picture to be encoded")
    return found or _size_problems(config)


def _size_problems(config: StylizerConfig) -> list[str]:
    """Every stage's resolution against the levels."""
    levels, found = len(config.model.widths), []
    step = 2 ** (levels - 1)
    for name, size in sizes(config).items():
        if any(side % step or side < 2 * step for side in size):
            found.append(
                f"resolution={show(list(size))} (stage {name}) with {levels} levels (model.widths): sides must be "
                f"multiples of {step} from {2 * step} on, like {show([max(2 * step, 64)] * 2)}"
            )
    return found


def _model_problems(model: AutoEncoderConfig) -> list[str]:
    found = []
    if not 1 <= len(model.widths) <= _MOST or min(model.widths, default=0) < 1:
        found.append(f"model.widths={show(model.widths)}: channels of 1 to {_MOST} stages, like [16,32,64]")
    if len(model.repeats) != len(model.widths) - 1 or min(model.repeats, default=1) < 1:
        found.append(
            f"model.repeats={show(model.repeats)}: a number from 1 on for each stage but the last, "
            f"{len(model.widths) - 1} here"
        )
    for name in (name for name in vars(model) if name.startswith("lambda_")):
        found += at_least(f"model.{name}", getattr(model, name), 0.0)
    if model.lambda_pixel == 0:
        found.append("model.lambda_pixel=0: nothing would say what the decoders are to draw; for example 1")
    return found
