"""What do all of them say? Runs the experiments chosen, and writes one page with every figure, table and setting

``report.html`` needs nothing beside it; each experiment's own files lie in a folder of its name. An experiment that
these classifiers or data do not allow is named on the page with the reason.
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, make_dataclass, replace
from typing import Any

from trainer.benchmark.machine import machine
from trainer.config.schema import show
from trainer.config.suggestions import did_you_mean
from trainer.errors import ConfigError, UserError, user_message
from trainer.files import write_text
from vit.analysis.alone import alone
from vit.analysis.found import experiment, questions
from vit.analysis.outcome import Outcome, write
from vit.analysis.page import Section, by_model, page
from vit.analysis.study import Study, judged_by
from vit.analysis.subjects import Subject, any_classes

USUAL = (
    "patchdrop", "shuffle", "shape_bias", "attention", "embeddings", "corruptions", "attack", "tokens",
)  # fmt: skip


@dataclass
class _Chosen:
    chosen: list[str] = field(default_factory=list)  # experiments; []: those that need no further files or training


_OTHERS = {name: experiment(name) for name in questions() if name != "report"}
Settings = make_dataclass(
    "Settings",
    [(name, module.Settings, field(default_factory=module.Settings)) for name, module in _OTHERS.items()],
    bases=(_Chosen,),
)
Settings.__doc__ = "The experiments chosen, and the settings of each: ``patchdrop.runs=3``."


judged = any_classes  # each experiment judges them in its own way


def run(study: Study, settings: Any) -> Outcome:
    """Values of all under ``EXPERIMENT/...``; files of each in a folder of its name; the page ``report.html``."""
    names = list(dict.fromkeys(settings.chosen or [name for name in USUAL if name in _OTHERS]))
    for name in names:
        if name not in _OTHERS:
            hint = did_you_mean(name, _OTHERS) or ";"
            raise ConfigError(f"chosen: there is no experiment '{name}'{hint} there are {', '.join(_OTHERS)}")
    outcome, sections = Outcome(), []
    path = study.folder / "report.html"
    for number, name in enumerate(names, 1):
        study.say(f"{name} ({number} of {len(names)}): {questions()[name]}")
        section = _section(study, name, getattr(settings, name))
        sections.append(section)
        if section.outcome is None:
            study.say(f"{name}: not done: {section.problem}")
        else:
            outcome.values |= {f"{name}/{key}": value for key, value in section.outcome.values.items()}
            outcome.records += [{"experiment": name, **row} for row in by_model(section.outcome.values)]
        # After every experiment: what is done can be looked at while the others run, and outlives an interruption.
        write_text(path, _page(study, settings, sections))
    lacking = [section.name for section in sections if section.outcome is None]
    if (settings.chosen and lacking) or len(lacking) == len(sections):
        raise UserError(
            f"not done: {', '.join(lacking)} (the reasons are above and on the page); what is done is on {path}"
        )
    outcome.lines.append(f"{path}: {len(sections) - len(lacking)} experiments; open it in a browser")
    return outcome


def _section(study: Study, name: str, settings: Any) -> Section:
    own = replace(study, folder=study.folder / name)
    begun, outcome, problem = time.monotonic(), None, ""
    try:
        own.subjects, without = _fitting(own, _OTHERS[name])
        with alone(own.folder):
            outcome = _OTHERS[name].run(own, settings)
            outcome.lines += without
            write(own.folder, name, outcome, own.facts(settings))
    except UserError as error:
        outcome, problem = None, _reason(error)
    seconds, words = time.monotonic() - begun, _command(name, settings)
    return Section(name, questions()[name], own.facts(settings)["settings"], words, seconds, outcome, problem)


def _fitting(study: Study, module: Any) -> tuple[list[Subject], list[str]]:
    """The classifiers that an experiment can look at, judged as it has it, and what is to be said of the others.

    Raises:
        UserError: it can look at none.
    """
    fitting, without = [], []
    for each in study.subjects:
        try:
            subject = judged_by(module)(each.label, each.loaded)
            getattr(module, "fits", lambda subject: None)(subject)
            fitting.append(subject)
        except UserError as error:
            without.append(_reason(error))
    if not fitting:
        raise UserError("; ".join(without))
    return fitting, [f"left out: {reason}" for reason in without]


def _reason(error: UserError) -> str:
    return "; ".join(error.problems) if isinstance(error, ConfigError) else user_message(error)


def _command(name: str, settings: Any) -> list[str]:
    """What does this experiment alone: the words of this process, with its own settings in place of all."""
    left_out = {"analysis", "chosen", "out", *_OTHERS}
    words = [word for word in sys.argv[1:] if word.partition("=")[0].partition(".")[0] not in left_out]
    out = next((word for word in sys.argv[1:] if word.startswith("out=")), None)
    words += [f"{out}/{name}"] if out else []  # where its answers are kept
    default = type(settings)()
    changed = {
        item.name: getattr(settings, item.name)
        for item in fields(settings)
        if getattr(settings, item.name) != getattr(default, item.name)
    }
    return [
        "python",
        "scripts/analyze.py",
        f"analysis={name}",
        *words,
        *(f"{key}={show(value)}" for key, value in changed.items()),
    ]


def _page(study: Study, settings: Any, sections: list[Section]) -> str:
    facts: Mapping[str, Any] = study.facts(settings)
    where = {
        "classes": str(len(study.classes)),
        "seed": str(study.seed),
        "machine": machine(study.compute.device, "timm"),
        "command": shlex.join(["python", "scripts/analyze.py", *sys.argv[1:]]),
    }
    return page(" and ".join(subject.label for subject in study.subjects), facts, where, sections)
