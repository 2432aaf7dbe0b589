"""What are its frozen features worth for other data, from one block or from several? (section 3.5)

Naseer et al., "Intriguing Properties of Vision Transformers", 2021. Class tokens of a set of blocks stand side by side,
if wanted with the mean patch token; a classifier is trained on them with the network frozen. A network that is no ViT
gives the means of its stages' feature maps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from trainer.errors import ConfigError
from trainer.records.intervals import wilson
from trainer.records.progress import Progress
from vit.analysis.charts import Chart, curve
from vit.analysis.features.block_features import Piece, Tokens, chosen_blocks, pieces
from vit.analysis.features.feature_bank import Bank, banks
from vit.analysis.features.figures import Figures
from vit.analysis.features.scatter import scatter
from vit.analysis.outcome import Outcome
from vit.analysis.study import Study
from vit.evaluate.features import nearest_neighbours
from vit.evaluate.linear import Features, Linear, accuracy, logistic, minibatches, ridge

FEATURES = True


class Solver(Enum):
    ridge = "ridge"  # least squares in closed form, its penalty chosen on a part of the training pictures
    lbfgs = "lbfgs"  # logistic regression, its penalty chosen likewise
    adamw = "adamw"  # a linear layer in 10 epochs, as the paper's code
    knn = "knn"  # cosine similarity, weighted votes


SOLVERS: dict[Solver, Callable[[Features, int], Linear]] = {
    Solver.ridge: ridge,
    Solver.lbfgs: logistic,
    Solver.adamw: minibatches,
}


@dataclass
class Settings:
    blocks: list[str] = field(default_factory=lambda: ["last", "last4", "all"])  # each a set: all last last4 9-12 12
    tokens: list[Tokens] = field(default_factory=lambda: [Tokens.pooled])  # what stands for a picture
    solvers: list[Solver] = field(default_factory=lambda: [Solver.ridge, Solver.knn])  # what is trained on it
    neighbours: list[int] = field(default_factory=lambda: [20])  # of knn: how many vote
    norm: bool = True  # cls, patch_mean and both: through the network's last norm, as the paper's code does


class _Set(NamedTuple):
    """Vectors that stand side by side."""

    name: str
    tokens: Tokens
    pieces: dict[str, list[Piece]]  # by subject


def run(study: Study, settings: Settings) -> Outcome:
    """Top-1 accuracy on the split of classifiers trained on the training split: a record for each set and solver."""
    for key in ("blocks", "tokens", "solvers", "neighbours"):
        if not getattr(settings, key):
            raise ConfigError(f"{key}=[]: give at least one")
    if min(settings.neighbours) < 1:
        raise ConfigError(f"neighbours={settings.neighbours}: must be at least 1")
    sets = [_set(text, tokens, settings.norm, study) for tokens in settings.tokens for text in settings.blocks]
    wanted = {subject.label: [piece for each in sets for piece in each.pieces[subject.label]]
              for subject in study.subjects}  # fmt: skip
    train, test = banks(study, "train", wanted), banks(study, study.split, wanted)
    figures, outcome = Figures(study.folder / "answers" / "solved.json"), Outcome()
    heights: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with Progress("classifier", len(sets) * len(study.subjects) * len(settings.solvers), "tokens") as progress:
        done = 0
        for subject in study.subjects:
            label = subject.label
            for each in sets:
                known, asked = (
                    bank[label].features(each.pieces[label]).to(study.compute.device) for bank in (train, test)
                )
                for solver in settings.solvers:
                    key = f"{train[label].identity} {test[label].identity} {each.pieces[label]} {solver} {settings}"
                    solved = _solved(solver, known, asked, settings, len(study.classes))
                    for name, top1 in figures.of(key, solved).items():
                        low, high = wilson(round(top1 * len(asked.y)), len(asked.y))
                        heights.setdefault((label, name), []).append((top1, (high - low) / 2))
                        outcome.values[f"{label}/{each.name}_{name}"] = top1
                        outcome.records.append(
                            {"model": label, "blocks": each.name.partition(" ")[0], "tokens": each.tokens.value}
                            | {"width": known.x.shape[1], "solver": name, "top1": top1, "low": low, "high": high}
                            | {"train_pictures": len(known.y), "pictures": len(asked.y)}
                        )
                    done += 1
                    progress.show(done)
    _draw(outcome, sets, heights, test, study)
    return outcome


def _solved(
    solver: Solver, train: Features, test: Features, settings: Settings, classes: int
) -> Callable[[], dict[str, float]]:
    def compute() -> dict[str, float]:
        if solver is Solver.knn:
            found = nearest_neighbours(train, test, classes, settings.neighbours)
            return {name: value for name, value in found.items() if not name.endswith("_top5")}
        return {solver.value: accuracy(SOLVERS[solver](train, classes)(test.x), test.y)}

    return compute


def _set(text: str, tokens: Tokens, norm: bool, study: Study) -> _Set:
    found = {}
    for subject in study.subjects:
        blocks = chosen_blocks(str(text), subject.model, subject.label)
        found[subject.label] = pieces(tokens, blocks, norm, subject.model, subject.label)
    return _Set(f"{text} {tokens.value}" if tokens is not Tokens.pooled else str(text), tokens, found)


def _draw(
    outcome: Outcome,
    sets: list[_Set],
    heights: dict[tuple[str, str], list[tuple[float, float]]],
    test: dict[str, Bank],
    study: Study,
) -> None:
    several = len(study.subjects) > 1
    curves = [
        curve(f"{label} {name}" if several else name, [(x, *point) for x, point in enumerate(points)])
        for (label, name), points in heights.items()
    ]
    names = [each.name for each in sets]
    chance = 1 / len(study.classes)
    outcome.charts["tokens"] = Chart(
        "Frozen features, by the blocks they are from", "blocks", "top-1 accuracy", curves, chance, categories=names
    )
    last = {label: bank.features(sets[0].pieces[label]) for label, bank in test.items()}
    outcome.pictures["tokens_features"] = scatter(last, study.classes)
