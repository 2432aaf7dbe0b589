"""A classifier as a script's arguments ask for it: of a run, of a weights file, or of a described model."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.cli import compose
from trainer.config.schema import Schemas
from trainer.errors import ConfigError, UserError, refuse
from vit.config import VitConfig
from vit.evaluate.loaded import Loaded, load_file, load_published, load_trained
from vit.validate import checkpoint_problems, problems


def load_asked(
    run: str | None,
    weights: str | None,
    name: str | None,
    model: str | None,
    checkpoint: str | None,
    overrides: Sequence[str],
    schemas: Schemas,
) -> Loaded:
    """The classifier of a run, or of weights alone.

    Args:
        run: run directory; or else ``weights``.
        weights: a file, a folder, a checkpoint or timm:NAME.
        name: timm's name of the model in the weights file.
        model: as train.py's ``model=``, in place of what the weights tell.
        checkpoint: of the run.
        overrides: changes to the configuration.
        schemas: of all tasks.

    Raises:
        UserError: none is asked for, or two are, or it cannot be loaded.
    """
    if run is not None:
        if model or weights:
            raise ConfigError("run= is given, so are model= or weights=: a run has both (checkpoint= picks another)")
        return load_trained(run, checkpoint, overrides)
    requested = [word.partition("=")[0] for word in overrides]
    config = _composed(weights, name, model, overrides, schemas)
    if model is not None:
        return load_published(config, requested)
    return load_file(str(weights), config, requested, name)


def _composed(
    weights: str | None, name: str | None, model: str | None, overrides: Sequence[str], schemas: Schemas
) -> VitConfig:
    if weights is None:
        raise UserError("give run=runs/NAME, or weights=PATH|timm:NAME (see --help)")
    if model is not None and name is not None:
        raise ConfigError("model= and name= are given: name= is for weights without model= (there: model.name=)")
    odd = [word for word in overrides if word.startswith("model.") and model is None]
    if odd:
        raise ConfigError(f"{odd[0]}: the weights tell the model; to say otherwise give model=NAME too, like vit_b16")
    config = compose([f"model={model or 'vit_b16'}", *overrides], schemas)
    if not isinstance(config, VitConfig):
        raise ConfigError(f"model={model} is no classifier; it is evaluated from its run: run=runs/NAME")
    refuse(checkpoint_problems("weights", weights))
    if model is not None:
        config.model.weights = weights  # not as a word of Hydra's: a file's name may have = and , in it
        refuse(problems(config))
    return config
