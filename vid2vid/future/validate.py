"""Checks of a label predictor's configuration across its fields, before anything is built. Loads no torch."""

from __future__ import annotations

from trainer.config.schema import show
from trainer.validate import at_least, run_problems
from vid2vid.config import DataKind, LabelFormat
from vid2vid.data.settings import reading_problems
from vid2vid.future.config import PHASES, LabelPredictorConfig, PredictorConfig, as_vid2vid
from vid2vid.validate import agreement_problems
from vid2vid.validate.data import data_problems
from vid2vid.validate.model import label_problems
from vid2vid.validate.stages import stage_problems


def problems(config: LabelPredictorConfig) -> list[str]:
    """Every problem of a configuration, one line each: key, value, remedy."""
    footage = as_vid2vid(config)
    found = run_problems(config, PHASES)
    found += _model_problems(config.model)
    found += label_problems(footage.model)
    found += data_problems(config.data)
    if config.data.kind is DataKind.video or config.data.labels is LabelFormat.rgb:
        found.append(
            f"data={show(config.data.kind)} with data.labels={show(config.data.labels)}: label maps are predicted from "
            "label maps of ids: give data=street, folders or cityscapes, and data.labels=ids"
        )
        return found
    found += reading_problems(config.data, footage.model)
    found += agreement_problems(footage)
    found += stage_problems(footage)
    return found


def _model_problems(model: PredictorConfig) -> list[str]:
    found = []
    for name in ("num_labels", "past_frames", "ngf", "downsamplings", "blocks"):
        found += at_least(f"model.{name}", getattr(model, name), 1)
    for name in (name for name in vars(model) if name.startswith("lambda_")):
        found += at_least(f"model.{name}", getattr(model, name), 0.0)
    found += at_least("model.flow_multiplier", model.flow_multiplier, 0.0, exclusive=True)
    if model.lambda_cross_entropy == 0:
        found.append("model.lambda_cross_entropy=0: nothing would say which class a pixel has; for example 1")
    return found
