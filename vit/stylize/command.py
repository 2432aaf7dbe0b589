"""``scripts/stylize.py``: its arguments checked, and what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from trainer.cli import compose
from trainer.config.fields import TrainerConfig
from trainer.config.schema import Schemas, show
from trainer.data.pictures.files import BadFileError, reason_of
from trainer.data.video.files import VIDEO_EXTENSIONS
from trainer.errors import ConfigError, DataError, refuse
from trainer.files import check_folder
from trainer.validate import at_least
from vit.stylize import Statistics, Transform
from vit.stylize.arguments import Arguments

_ALPHA = {Transform.adain: 1.0, Transform.wct: 0.6, Transform.ot: 0.6}  # of the papers' figures


def run(arguments: Arguments, schemas: Schemas, say: Callable[[str], None]) -> None:
    """Redraw what ``arguments`` ask for.

    Args:
        schemas: of all tasks.
        say: takes a line for the user.

    Raises:
        UserError: arguments, weights or pictures that cannot be used.
    """
    refuse(_problems(arguments))
    out = Path(arguments.out).expanduser()
    check_folder("out", out, out.parent)

    from trainer.device.compute import choose_compute
    from vit.config import VitConfig
    from vit.stylize import work
    from vit.stylize.levels import Stylizer
    from vit.stylize.trained import load_stylizer
    from vit.stylize.vgg import load_vgg

    drawn = None
    if arguments.content is None:
        drawn = compose(["model=vit_base", *arguments.overrides], schemas)
        assert isinstance(drawn, VitConfig)
    if arguments.run is not None:
        network, line = load_stylizer(arguments.run, schemas, arguments.checkpoint)
        say(line)
    else:
        assert arguments.encoder is not None
        network = load_vgg(arguments.encoder, arguments.decoders)
        say(f"VGG-19 of {arguments.encoder}, decoders of levels {', '.join(map(str, network.levels))}")
    alpha = _ALPHA[arguments.transform] if arguments.alpha is None else arguments.alpha
    levels = _levels(arguments, list(network.levels))
    device = choose_compute(TrainerConfig() if drawn is None else drawn.trainer, foreign=True).device
    stylizer = Stylizer(network.to(device), arguments.transform.value, levels, alpha, arguments.regularise)
    say(f"{arguments.transform.value}, alpha {alpha:g}, levels {', '.join(map(str, levels))}, on {device}")
    job = work.Job(arguments, stylizer, out, say)
    try:
        if drawn is not None:
            job.samples(drawn)
        elif _is_film(arguments):
            job.film()
        else:
            job.files()
    except BadFileError as error:
        raise DataError(reason_of(error)) from error


def _is_film(arguments: Arguments) -> bool:
    """The content is a film, or is to become one."""
    content = Path(arguments.content or "").expanduser()
    film = content.suffix.lower() in VIDEO_EXTENSIONS and content.is_file()
    return film or Path(arguments.out).suffix.lower() in VIDEO_EXTENSIONS


def _levels(arguments: Arguments, there: list[int]) -> list[int]:
    if arguments.levels:
        wrong = [level for level in arguments.levels if level not in there]
        if wrong:
            raise ConfigError(
                f"levels={show(arguments.levels)}: there is no decoder of level {wrong[0]}; levels are {show(there)}"
            )
        return list(arguments.levels)
    deepest_first = sorted(there, reverse=True)
    if arguments.transform is Transform.adain:
        return [next((level for level in deepest_first if level <= 4), deepest_first[0])]  # as published: relu4_1
    return deepest_first


def _problems(arguments: Arguments) -> list[str]:
    found = []
    if (arguments.run is None) == (arguments.encoder is None):
        found.append(
            "give run=runs/stylizer (python train.py experiment=vit/stylizer name=stylizer makes it), or encoder= and "
            "decoders= of a VGG-19, one of both"
        )
    if (arguments.encoder is None) != (not arguments.decoders):
        found.append("encoder= and decoders= belong together: give both, or run= alone")
    if arguments.content is None and not any(word.startswith("data=") for word in arguments.overrides):
        found.append("content=... is missing: a data set's folder, a picture or a film; or data=shapes draws pictures")
    if arguments.content is not None and arguments.overrides:
        found.append(f"{arguments.overrides[0]} is of a data set that is drawn: leave it out, or leave content= out")
    if arguments.alpha is not None and not 0.0 <= arguments.alpha <= 1.0:
        found.append(f"alpha={arguments.alpha:g}: must lie between 0 and 1")
    if not 0.0 <= arguments.regularise < 1.0:
        found.append(f"regularise={arguments.regularise:g}: a share, at least 0 and below 1, like 1e-6")
    found += _unread(arguments)
    if arguments.window < 1 or arguments.window % 2 == 0:
        found.append(f"window={arguments.window}: an odd number of frames, with each in the middle of its own, like 15")
    if arguments.fps is not None and arguments.fps <= 0:
        found.append(f"fps={arguments.fps:g}: must be more than 0, like 25")
    for name in ("size", "style_size"):
        found += at_least(name, getattr(arguments, name), 1)
    return found


def _unread(arguments: Arguments) -> list[str]:
    """What was given and would not be looked at."""
    found, usual = [], {item.name: item.default for item in fields(Arguments)}
    changed = [name for name in ("statistics", "window", "fps") if getattr(arguments, name) != usual[name]]
    film = any(Path(place or "").suffix.lower() in VIDEO_EXTENSIONS for place in (arguments.content, arguments.out))
    for name in () if film else changed:
        found.append(
            f"{name}={show(getattr(arguments, name))} is of a film: leave it out, or give a film as content= or out="
        )
    if film and "window" in changed and arguments.statistics is not Statistics.window:
        found.append(f"window={arguments.window} is of statistics=window: give that too, or leave it out")
    if arguments.regularise and arguments.transform is Transform.adain:
        found.append(f"regularise={arguments.regularise:g} is of transform=wct and ot: leave it out")
    if arguments.checkpoint is not None and arguments.run is None:
        found.append(f"checkpoint={arguments.checkpoint} is of run=: leave it out")
    return found
