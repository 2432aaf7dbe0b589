"""What the page asks a classifier: answers as predict.py gives them, maps as analysis has them, patches taken away."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.made_classifier import make_run, mu_config
from tests.helpers.made_pictures import write_noise
from tests.helpers.scripts import run_script
from trainer.errors import DataError
from vit.analysis.attention.measures import Rollout
from vit.analysis.attention.taps import Taps
from vit.analysis.occlusion.dropping import Fill
from vit.page.classifier import Classifier, cells
from vit.predict.predictor import load_predictor


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "made"
    make_run(folder, mu_config())
    return folder


@pytest.fixture(scope="module")
def made(folder: Path) -> Classifier:
    return Classifier(load_predictor(run=str(folder)), "made")


def predicted(run: Path, source: Path, out: Path) -> list[tuple[str, float]]:
    """The five likeliest classes by scripts/predict.py."""
    assert run_script("predict", f"run={run}", f"source={source}", f"out={out}") == 0
    with out.open() as file:
        row = next(csv.DictReader(file))
    return [(row[f"label_{n}"], float(row[f"probability_{n}"])) for n in range(1, 6)]


@pytest.mark.parametrize("form", ["plain.png", "turned.png", "deep.png", "lossy.jpg"])
def test_answers_as_predict_does(form: str, folder: Path, made: Classifier, tmp_path: Path) -> None:
    kind = np.uint16 if form == "deep.png" else np.uint8
    source = write_noise(tmp_path / form, kind=kind, exif=6 if form == "turned.png" else 1)
    best = made.best(made.probabilities(made.read(source, form)), 5)
    told = [(name, float(f"{value:.6g}")) for name, value in best]  # as many digits as the file has
    assert told == predicted(folder, source, tmp_path / "out.csv")


def test_turned_pictures_are_upright(made: Classifier, tmp_path: Path) -> None:
    turned = made.read(write_noise(tmp_path / "a.png", exif=6, size=(16, 16)), "a.png").pixels
    plain = made.read(write_noise(tmp_path / "b.png", size=(16, 16)), "b.png").pixels
    assert torch.equal(turned, plain.rot90(-1, (1, 2)))


def test_what_is_no_picture_is_named(made: Classifier, tmp_path: Path) -> None:
    path = tmp_path / "secret" / "notes.png"
    path.parent.mkdir()
    path.write_text("no picture")
    with pytest.raises(DataError, match=r"^notes\.png: ") as caught:
        made.read(path, "notes.png")
    assert "secret" not in str(caught.value)


def test_rollout_and_heads_are_of_the_networks_attention(made: Classifier, tmp_path: Path) -> None:
    sample = made.read(write_noise(tmp_path / "a.png"), "a.png")
    taps, seen, rollout = Taps(made.predictor.model, "made"), [], Rollout()
    with taps.open(lambda block, weights: seen.append(weights), range(taps.depth)):
        made.predictor.probabilities(sample.pixels[None])
    for weights in seen:
        rollout.add(weights)
    tokens, maps = taps.tokens(sample.size), made.maps(sample)
    assert tokens.cls == 0 and rollout.product is not None
    wanted = rollout.product[0, 0, tokens.prefix :].view(tokens.grid)
    torch.testing.assert_close(maps["rollout"], wanted)
    for block, weights in enumerate(seen, start=1):
        for head in range(weights.shape[1]):
            wanted = weights[0, head, 0, tokens.prefix :].view(tokens.grid)
            torch.testing.assert_close(maps[f"block {block} head {head}"], wanted)
    assert len(maps) == 1 + taps.depth * (1 + seen[0].shape[1])


def test_nothing_hidden_is_the_picture(made: Classifier, tmp_path: Path) -> None:
    sample = made.read(write_noise(tmp_path / "a.png"), "a.png")
    none = cells([], made.grid(sample.size))
    assert np.array_equal(made.probabilities(sample, none), made.probabilities(sample))


@pytest.mark.parametrize("fill", Fill)
def test_hidden_cells_are_replaced_and_no_others(fill: Fill, made: Classifier, tmp_path: Path) -> None:
    sample = made.read(write_noise(tmp_path / "a.png"), "a.png")
    grid = made.grid(sample.size)
    assert grid == (4, 4)  # 16 pixels by patches of 4
    pixels = made.without(sample, cells([1, 6], grid), fill)
    hidden = torch.zeros(16, 16, dtype=torch.bool)
    hidden[:4, 4:8], hidden[4:8, 8:12] = True, True
    assert torch.equal(pixels[:, ~hidden], sample.pixels[:, ~hidden])
    mean = (255 * torch.tensor(made.predictor.mean)).round().byte()
    if fill is Fill.noise:
        assert pixels[:, hidden].float().std() > 50
        assert torch.equal(pixels, made.without(sample, cells([1, 6], grid), fill))
    else:
        wanted = mean if fill is Fill.mean else torch.zeros_like(mean)
        assert torch.equal(pixels[:, hidden], wanted[:, None].expand(-1, 32))


def test_answers_follow_what_is_hidden(made: Classifier, tmp_path: Path) -> None:
    sample = made.read(write_noise(tmp_path / "a.png"), "a.png")
    hidden = cells([0, 5], made.grid(sample.size))
    found = made.probabilities(sample, hidden, Fill.zero)
    shown = sample.pixels.clone()
    shown[:, :4, :4] = 0
    shown[:, 4:8, 4:8] = 0
    assert np.array_equal(found, made.predictor.probabilities(shown[None])[0].numpy())
    assert not np.allclose(found, made.probabilities(sample))


def test_an_occlusion_map_is_what_each_cell_alone_takes(made: Classifier, tmp_path: Path) -> None:
    sample = made.read(write_noise(tmp_path / "a.png"), "a.png")
    whole, done = made.probabilities(sample), []
    seen = int(whole.argmax())
    falls = made.occlusion_map(sample, 2, Fill.mean, seen, done.append)
    assert falls.shape == (2, 2) and done == [0.0]
    for number in range(4):
        alone = made.probabilities(sample, cells([number], (2, 2)), Fill.mean)
        assert falls.flatten()[number].item() == pytest.approx(whole[seen] - alone[seen], abs=1e-6)


def test_cells_that_are_not_there_are_refused() -> None:
    with pytest.raises(DataError, match=r"cells \[-1, 3\].*4x4.*0 to 15"):
        cells([3, -1], (4, 4))
