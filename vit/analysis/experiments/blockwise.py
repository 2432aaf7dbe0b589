"""After which block does it know the class? Its head, or ridge regression, on every block (appendix, Figure 15)

Naseer et al., "Intriguing Properties of Vision Transformers", 2021, give the head the class token of each block,
through the last norm, as if the network ended there. What a head that was trained for the last block cannot read may
still be there: ridge regression on the same vectors tells. Stages of a CNN, which no head fits, have that alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from torch import Tensor

from trainer.errors import ConfigError
from trainer.records.intervals import wilson
from trainer.records.progress import Progress
from vit.analysis.charts import Chart, Curve
from vit.analysis.features.block_features import Piece, Tokens, chosen_blocks, depth, head_on_blocks, is_vit, pieces
from vit.analysis.features.feature_bank import Bank, banks
from vit.analysis.features.figures import Figures
from vit.analysis.features.scatter import scatter
from vit.analysis.once import OncePerBatch
from vit.analysis.outcome import Outcome
from vit.analysis.passes import Condition, Pictures
from vit.analysis.study import Study
from vit.analysis.subjects import Subject
from vit.evaluate.linear import accuracy, ridge
from vit.evaluate.plots import spread_over

FEATURES = True
PANELS = 4  # blocks whose features are drawn


class Readout(Enum):
    head = "head"  # the network's own, as if the block were the last
    ridge = "ridge"  # least squares on the training split's vectors of the block, for each block its own


@dataclass
class Settings:
    blocks: str = "all"  # all last last4 9-12 12
    readouts: list[Readout] = field(default_factory=lambda: list(Readout))  # what reads a block


def run(study: Study, settings: Settings) -> Outcome:
    """Top-1 accuracy by block: a record for each block and readout, a curve for each subject and readout."""
    if not settings.readouts:
        raise ConfigError("readouts=[]: give head, ridge, or both")
    blocks = {each.label: chosen_blocks(settings.blocks, each.model, each.label) for each in study.subjects}
    outcome, found = Outcome(), dict[tuple[str, Readout], dict[int, tuple[float, int]]]()
    if Readout.head in settings.readouts:
        for subject in study.subjects:
            line = _head_problem(subject)
            if line and len(settings.readouts) == 1:
                raise ConfigError(line)
            outcome.lines += [line] if line else []
        for label, shares in _by_head(study, blocks).items():
            found[label, Readout.head] = shares
    if Readout.ridge in settings.readouts:
        wanted = {
            each.label: pieces(Tokens.pooled, blocks[each.label], True, each.model, each.label)
            for each in study.subjects
        }
        train, test = banks(study, "train", wanted), banks(study, study.split, wanted)
        for label, shares in _by_ridge(study, wanted, train, test).items():
            found[label, Readout.ridge] = shares
        outcome.pictures["blockwise_features"] = _panels(study, test, wanted)
    _report(outcome, study, found)
    return outcome


def _head_problem(subject: Subject) -> str:
    """Why its head reads no block; empty where it does."""
    if not is_vit(subject.model):
        return f"{subject.label}: a head reads one width, stages of a CNN have several; readouts=[ridge] measures them"
    return f"{subject.label}: {subject.problem}. readouts=[ridge] does without the head" if subject.problem else ""


def _by_head(study: Study, blocks: dict[str, list[int]]) -> dict[str, dict[int, tuple[float, int]]]:
    """(accuracy, pictures judged) by subject and block."""
    conditions = {
        each.label: [] if _head_problem(each) else [Condition({"block": number}) for number in blocks[each.label]]
        for each in study.subjects
    }

    def said(subject: Subject, pictures: Pictures) -> dict[int, Tensor]:
        with subject.loaded.compute.amp():
            prepared = subject.loaded.prepare(pictures.pixels)
            return head_on_blocks(subject.model, prepared, blocks[subject.label])

    after = OncePerBatch(said)
    answers = study.answers(
        conditions, lambda subject, pictures, c: after(subject, pictures)[c.values["block"]], "blockwise"
    )
    return {
        label: {c.values["block"]: (own[c.key].accuracy, own[c.key].judged) for c in conditions[label]}
        for label, own in answers.items()
        if own
    }


def _by_ridge(
    study: Study, wanted: dict[str, list[Piece]], train: dict[str, Bank], test: dict[str, Bank]
) -> dict[str, dict[int, tuple[float, int]]]:
    figures, found = Figures(study.folder / "answers" / "blockwise_ridge.json"), dict[str, dict]()
    with Progress("block", sum(map(len, wanted.values())), "ridge") as progress:
        done = 0
        for label, own in wanted.items():
            found[label] = {}
            for piece in own:

                def solved(label: str = label, piece: Piece = piece) -> dict[str, float]:
                    known, asked = (bank[label].features([piece]).to(study.compute.device) for bank in (train, test))
                    return {"top1": accuracy(ridge(known, len(study.classes))(asked.x), asked.y)}

                top1 = figures.of(f"{train[label].identity} {test[label].identity} {piece}", solved)["top1"]
                found[label][piece.block] = (top1, len(test[label].y))
                done += 1
                progress.show(done)
    return found


def _panels(study: Study, test: dict[str, Bank], wanted: dict[str, list[Piece]]) -> Tensor:
    """How classes come apart with depth: vectors of a few blocks of the first subject."""
    own, word = wanted[study.first.label], _word(study.first)
    bank = test[study.first.label]
    panels = {
        f"{study.first.label}, {word} {own[k].block}": bank.features([own[k]]) for k in spread_over(len(own), PANELS)
    }
    return scatter(panels, study.classes)


def _word(subject: Subject) -> str:
    return "block" if is_vit(subject.model) else "stage"


def _report(outcome: Outcome, study: Study, found: dict[tuple[str, Readout], dict[int, tuple[float, int]]]) -> None:
    depths = {each.label: depth(each.model) for each in study.subjects}
    alike = len({(depths[each.label], is_vit(each.model)) for each in study.subjects}) == 1
    curves = []
    for (label, readout), shares in found.items():
        x = [number if alike else number / depths[label] for number in shares]
        halves = []
        for number, (top1, count) in shares.items():
            low, high = wilson(round(top1 * count), count)
            halves.append((high - low) / 2)
            outcome.values[f"{label}/{readout.value}_{number}"] = top1
            outcome.records.append(
                {"model": label, "block": number, "of": depths[label], "readout": readout.value}
                | {"top1": top1, "low": low, "high": high, "pictures": count}
            )
        name = readout.value if len(depths) == 1 else f"{label} {readout.value}"
        curves.append(Curve(name, x, [top1 for top1, _ in shares.values()], halves))
    across = f"{_word(study.first)} that is read" if alike else "depth that is read, as a share of the network"
    outcome.charts["blockwise"] = Chart(
        "What is known after each block", across, "top-1 accuracy", curves, 1 / len(study.classes)
    )
