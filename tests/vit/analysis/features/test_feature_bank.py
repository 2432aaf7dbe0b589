"""Features that are kept: the same whatever the batch, computed once, added to, and never those of other weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.helpers.made_classifier import SCHEMAS, make_run, mu_config
from trainer.errors import UserError
from vit.analysis.features import feature_bank
from vit.analysis.features.block_features import Piece
from vit.analysis.features.feature_bank import Bank, banks
from vit.analysis.study import Study
from vit.analysis.subjects import Subject, load_subjects
from vit.evaluate.run import split_samples

CLS, MEAN = Piece("cls", 1), Piece("patch_mean", 1)


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    run = tmp_path_factory.mktemp("bank") / "run"
    make_run(run, mu_config())
    return load_subjects(str(run), None, None, None, None, [], [], SCHEMAS)[0]


def kept(subject: Subject, folder: Path, pieces: list[Piece], batch: int = 8, samples: int | None = None) -> Bank:
    study = Study([subject], "val", samples, batch, 0, folder, lambda line: None)
    return banks(study, "val", {subject.label: pieces})[subject.label]


@torch.no_grad()
def test_rows_are_those_of_the_data_set_in_its_order(subject: Subject, tmp_path: Path) -> None:
    found = kept(subject, tmp_path, [CLS, MEAN], samples=12)
    samples = split_samples(subject.loaded, "val", None)
    assert len(found.y) == 12 and (found.index.diff() > 0).all()
    for row, index in enumerate(found.index.tolist()):
        sample = samples.sample(index, np.random.default_rng(0))
        tokens = subject.model.forward_features(subject.loaded.prepare(sample["image"][None]))  # type: ignore[operator]
        vector = torch.cat([tokens[:, 0], tokens[:, 1:].mean(1)], dim=1)[0]
        torch.testing.assert_close(found.features([CLS, MEAN]).x[row], vector)
        assert int(found.y[row]) == int(sample["label"])


def test_the_same_whatever_the_batch(subject: Subject, tmp_path: Path) -> None:
    one, two = (kept(subject, tmp_path / str(batch), [CLS], batch, 13) for batch in (3, 20))
    assert torch.equal(one.index, two.index) and torch.equal(one.y, two.y)
    torch.testing.assert_close(one.features([CLS]).x, two.features([CLS]).x)


def test_an_interrupted_pass_goes_on_and_others_are_added(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, list[Piece]]] = []
    original = feature_bank.features

    def counted(model: Any, x: Tensor, wanted: Any) -> Any:
        if len(asked) == 2:
            raise KeyboardInterrupt
        asked.append((len(x), list(wanted)))
        return original(model, x, wanted)

    monkeypatch.setattr(feature_bank, "features", counted)
    with pytest.raises(KeyboardInterrupt):
        kept(subject, tmp_path, [CLS])
    assert asked == [(8, [CLS]), (8, [CLS])]
    asked.clear()
    found = kept(subject, tmp_path, [CLS])
    assert asked == [(4, [CLS])], "of 20 pictures the last four"
    torch.testing.assert_close(found.features([CLS]).x, kept(subject, tmp_path / "new", [CLS], 20).features([CLS]).x)
    asked.clear()
    kept(subject, tmp_path, [CLS, MEAN], 20)
    kept(subject, tmp_path, [CLS, MEAN], 20)
    assert asked == [(20, [MEAN])]


def test_others_are_not_taken_for_them(subject: Subject, tmp_path: Path) -> None:
    kept(subject, tmp_path, [CLS], samples=12)
    assert len(kept(subject, tmp_path, [CLS]).y) == 20
    before = kept(subject, tmp_path, [CLS]).features([CLS]).x
    parameter = subject.model.get_parameter("patch_embed.proj.weight")
    with torch.no_grad():
        parameter.mul_(2.0)
    try:
        assert not torch.equal(before, kept(subject, tmp_path, [CLS]).features([CLS]).x)
    finally:
        with torch.no_grad():
            parameter.div_(2.0)


def test_damaged_files_are_named(subject: Subject, tmp_path: Path) -> None:
    kept(subject, tmp_path, [CLS])
    folder = tmp_path / "features/run-val"
    (folder / "cls-1.npy").write_bytes(b"x")
    with pytest.raises(UserError, match=r"cls-1.npy: cannot be read .*delete .*run-val, and it is computed anew"):
        kept(subject, tmp_path, [CLS])
    (folder / "about.json").write_text("{")
    with pytest.raises(UserError, match=r"about.json: cannot be read"):
        kept(subject, tmp_path, [CLS])


def test_rows_that_others_began_to_write_over_are_nobodys(tmp_path: Path) -> None:
    """A process that is killed tells nothing of how far it came; those before it must not find their rows whole."""
    batch = {"label": torch.tensor([3, 4]), "index": torch.tensor([0, 1])}
    for identity, value in (("weights of yesterday", 1.0), ("weights of today", 2.0)):
        own = feature_bank._Kept(tmp_path / "run-val", identity, 4)
        own.add(slice(0, 2), {CLS: torch.full((2, 3), value)}, batch, 2)
        if value == 1.0:
            own.save()
    for identity in ("weights of yesterday", "weights of today"):
        assert feature_bank._Kept(tmp_path / "run-val", identity, 4).lacking([CLS], 2) == [CLS]
