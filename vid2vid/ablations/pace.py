"""How many updates each variant makes in equal CPU time, found by training all of them in turn.

The length of a run must be known at its beginning, for the learning rate falls with the run's progress; and a machine's
speed drifts, between two runs more than within a minute. So all variants are timed together, a clip each by turns, and
what fits into the time is laid out beforehand: load that comes and goes meets all of them alike, and every seed of a
variant makes equally many updates. CPU time is that of this process, on one thread, without workers that read data.

Penalties that are drawn for few segments (``model.penalty_every``) meet a dozen clips more or less often than a whole
run. A variant with them is timed without any and with all of them, and is given the share that it has on average.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, redirect_stdout
from copy import deepcopy
from dataclasses import replace
from io import StringIO
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

from trainer.benchmark.rounds import in_turn
from trainer.errors import ConfigError
from trainer.files import write_json
from trainer.loop import Trainer
from trainer.records.progress import Progress
from trainer.task import Task
from trainer.untrusted import plain_json
from vid2vid.ablations.check import PACE, stored
from vid2vid.config import Vid2VidConfig, Vid2VidStage, penalised
from vid2vid.task import Vid2VidTask

Build = Callable[[Vid2VidConfig], Task]

ROUNDS = 12  # clips of each variant, after one that is not counted
_ALWAYS = ", always penalised"  # behind the name of a variant: the same with all its penalties
_ROUNDS_APART = 4  # of which one times those, of whose time a small share counts


def cpu_seconds(
    configs: Mapping[str, Vid2VidConfig],
    rounds: int = ROUNDS,
    progress: Callable[[int], object] = lambda done: None,
    build: Build = Vid2VidTask,
) -> dict[str, float]:
    """CPU seconds of one batch of clips, all its updates, by variant: means over the rounds.

    Args:
        configs: by name of the variant; of one stage each.
        rounds: batches of each that count.
        progress: is given the number of batches so far.
        build: makes the task of a configuration, as ``train.py`` makes it.

    Raises:
        ConfigError: a curriculum of several stages, whose lengths a pace does not tell.
    """
    parts = {part: config for name, config in configs.items() for part, config in _parts(name, config).items()}
    taken: dict[str, list[float]] = {name: [] for name in parts}
    with ExitStack() as stack, redirect_stdout(StringIO()):
        folder = Path(stack.enter_context(TemporaryDirectory()))
        trainers: dict[str, Trainer] = {}
        for number, (name, config) in enumerate(parts.items()):
            trainers[name] = trainer = _trainer(config, folder / str(number), build)
            stages = trainer.curriculum.stages
            if len(stages) > 1:
                raise ConfigError(
                    f"a curriculum of {len(stages)} stages: budget_cpu_s times one; "
                    "give curriculum=single, or budget=TIME in its place"
                )
            stack.enter_context(trainer.session())
            trainer.shown = trainer.hinted = True  # their pace is nobody's run
            setattr(trainer.logger, "progress", lambda *given, **named: None)  # noqa: B010
            trainer.begin()
            trainer.enter(trainer.curriculum.at(0), announce=False)
        batches = {name: trainer.next_batch() for name, trainer in trainers.items()}
        for done, name in enumerate(turns(configs, rounds), 1):
            begin = time.process_time()
            trainers[name].train_batch(dict(batches[name]))
            if done > len(trainers):
                taken[name].append(time.process_time() - begin)
            progress(done)
            for trainer in trainers.values():  # the last has the signals
                trainer.stop.heed()
        for trainer in trainers.values():
            trainer.guard.settle()
    found = {}
    for name, config in configs.items():
        found[name] = fmean(taken[name])
        if name + _ALWAYS in taken:
            found[name] += (fmean(taken[name + _ALWAYS]) - found[name]) / config.model.penalty_every
    return found


def turns(configs: Mapping[str, Vid2VidConfig], rounds: int = ROUNDS) -> list[str]:
    """What is timed, batch by batch; the first of each does not count."""
    names = [part for name, config in configs.items() for part in _parts(name, config)]
    seen, found = dict.fromkeys(names, 0), list(names)
    for name in in_turn(names, rounds):
        if not name.endswith(_ALWAYS) or seen[name] % _ROUNDS_APART == 0:
            found.append(name)
        seen[name] += 1
    return found


def _parts(name: str, config: Vid2VidConfig) -> dict[str, Vid2VidConfig]:
    """What is timed of a variant: itself, or without its penalties and with all of them."""
    model = config.model
    if model.penalty_every == 1 or not penalised(model):
        return {name: config}
    without = replace(config, model=replace(model, r1_gamma=0.0, r2_gamma=0.0, segmenting_gamma=None, gamma_ramp=None))
    return {name: without, name + _ALWAYS: replace(config, model=replace(model, penalty_every=1))}


def _trainer(config: Vid2VidConfig, folder: Path, build: Build) -> Trainer:
    config = deepcopy(config)
    config.data.workers = 0  # a batch is read once
    config.logger.tensorboard = False
    config.trainer.log_every = 10**9
    return Trainer(config, lambda: build(config), folder)


def timed(
    configs: Mapping[str, Vid2VidConfig],
    reference: str,
    folder: Path,
    say: Callable[[str], None],
    build: Build = Vid2VidTask,
) -> dict[str, float]:
    """CPU seconds of a batch by variant, kept in the folder; rows that come later are timed beside the reference.

    Args:
        configs: by name of the variant.
        reference: the row whose pace was taken at first.
        folder: of the table.
        build: as of `cpu_seconds`.

    Raises:
        ConfigError: as `cpu_seconds`; what was kept is damaged.
    """
    path = folder / PACE
    kept: dict[str, float] = stored(path) if path.is_file() else {}
    if not _are_seconds(kept):
        raise ConfigError(f"{path} is damaged (no table of variants and seconds): delete it, and all are timed anew")
    missing = {name: config for name, config in configs.items() if name not in kept}
    if missing:
        new = {reference: configs[reference], **missing}
        say(f"timing {ROUNDS} clips of {', '.join(new)} in turn ...")
        with Progress("clip", len(turns(new)), "timing") as progress:
            found = cpu_seconds(new, progress=progress.show, build=build)
        drift = kept.get(reference, found[reference]) / found[reference]  # of the machine since then
        kept |= {name: found[name] * drift for name in missing}
        write_json(path, kept)
    return kept


def read_pace(path: Path, names: Iterable[str]) -> dict[str, float]:
    """CPU seconds of a batch by variant, of a file that `timed` wrote, here or on another machine.

    Args:
        names: of the variants that are asked for.

    Raises:
        ConfigError: no such file, not of this kind, or without one of the variants.
    """
    if not path.is_file():
        raise ConfigError(f"pace={path}: no such file; a table in CPU time writes pace.json into its folder")
    try:
        found = plain_json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"pace={path}: {error}; give the pace.json of a table in CPU time") from error
    if not isinstance(found, dict) or not _are_seconds(found):
        raise ConfigError(
            f"pace={path}: is no table of variants and seconds; give the pace.json of a table in CPU time"
        )
    missing = [name for name in names if name not in found]
    if missing:
        raise ConfigError(
            f"pace={path}: has no row {missing[0]}; it has {', '.join(found)}. Begin a table with this row where its "
            "time counts: its folder keeps what was timed"
        )
    return {name: float(value) for name, value in found.items()}


def _are_seconds(found: Mapping[str, object]) -> bool:
    return all(
        isinstance(value, int | float) and type(value) is not bool and 0 < value < float("inf")
        for value in found.values()
    )


def laid_out(
    cpu_s: float, configs: Mapping[str, Vid2VidConfig], paces: Mapping[str, float], say: Callable[[str], None]
) -> dict[str, int]:
    """Samples of each variant.

    Args:
        cpu_s: of each training.
        configs: by name of the variant.
        paces: likewise, CPU seconds of a batch.

    Raises:
        ConfigError: as `samples_within`.
    """
    samples = {}
    for name, config in configs.items():
        stage = next(iter(config.curriculum.stages.values()), Vid2VidStage())
        samples[name] = samples_within(cpu_s, name, paces[name], stage.batch_size)
    told = ", ".join(f"{name} {samples[name]} ({paces[name]:.3g} s a batch)" for name in samples)
    say(f"clips that fit into {cpu_s:g} s of CPU time: {told}")
    return samples


def samples_within(cpu_s: float, name: str, pace: float, batch_size: int) -> int:
    """Clips that a variant is trained on in ``cpu_s`` seconds, in whole batches.

    Args:
        name: of the variant.
        pace: CPU seconds of a batch.

    Raises:
        ConfigError: not even one batch fits.
    """
    if pace > cpu_s:
        raise ConfigError(f"budget_cpu_s={cpu_s:g}: a single batch of {name} takes {pace:.3g} s of CPU time; raise it")
    return int(cpu_s / pace) * batch_size
