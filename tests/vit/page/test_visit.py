"""What a visitor is shown: HTML with right figures, names of anybody escaped, and no other visitor's things."""

from __future__ import annotations

import html
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.made_classifier import make_run, mu_config
from tests.helpers.made_pictures import write_noise
from trainer.errors import DataError
from vit.analysis.occlusion.dropping import Fill
from vit.page.classifier import Classifier, Sample, cells
from vit.page.drawing import bars, message, percent
from vit.page.patch_grid import grid_html
from vit.page.shelf import Kind, Shelf, Source
from vit.page.visit import MOST, Visit, heads, layers


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    folder = tmp_path_factory.mktemp("runs") / "made"
    make_run(folder, mu_config("model.depth=2"))
    return Source(Kind.run, folder, "made")


@pytest.fixture(scope="module")
def shelf() -> Shelf:
    return Shelf()


def asked(shelf: Shelf, source: Source, *files: Path) -> tuple[Visit, Classifier]:
    visit = Visit()
    visit.ask(shelf, source, [(file, file.name) for file in files])
    network = visit.network(shelf)
    assert isinstance(network, Classifier)
    return visit, network


def shares(text: str) -> list[tuple[str, float]]:
    """Classes and figures of bars."""
    found = re.findall(r'vp-class">(.*?)</span><span class="vp-share" data-share="(.*?)"', text)
    return [(html.unescape(name), float(share)) for name, share in found]


def test_bars_are_the_networks_answers(shelf: Shelf, source: Source, tmp_path: Path) -> None:
    visit, network = asked(shelf, source, write_noise(tmp_path / "a.png", 1), write_noise(tmp_path / "b.png", 2))
    for number, name in enumerate(("a.png", "b.png")):
        visit.choose(number)
        whole = network.probabilities(network.read(tmp_path / name, name))
        assert shares(visit.bars(network)) == [(k, float(f"{v:.6g}")) for k, v in network.best(whole, 5)]
    first = network.best(visit.wholes[0], 1)[0]
    assert visit.choices(network)[0] == (f"a.png: {first[0]}, {percent(first[1])}", 0)


@pytest.mark.parametrize("fill", [Fill.mean, Fill.zero])
def test_bars_follow_hidden_cells_and_keep_the_first_class(
    fill: Fill, shelf: Shelf, source: Source, tmp_path: Path
) -> None:
    visit, network = asked(shelf, source, write_noise(tmp_path / "a.png"))
    visit.hidden, visit.fill = [0, 1, 2, 3, 4, 5, 6, 7], fill
    assert visit.sample is not None
    now = network.probabilities(visit.sample, cells(visit.hidden, (4, 4)), fill)
    text, classes = visit.bars(network), network.predictor.classes
    assert "with 8 of 16 cells hidden" in text
    found = shares(text)
    assert found[:5] == [(k, float(f"{v:.6g}")) for k, v in network.best(now, 5)]
    first = classes[int(visit.wholes[0].argmax())]
    assert first in dict(found) and f"whole {percent(float(visit.wholes[0].max()))}" in html.unescape(text)


def test_files_that_cannot_be_read_are_named_and_the_others_answered(
    shelf: Shelf, source: Source, tmp_path: Path
) -> None:
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n....")
    visit, network = asked(shelf, source, tmp_path / "torn.png", write_noise(tmp_path / "a.png"))
    assert [sample.name for sample in visit.samples] == ["a.png"]
    assert len(visit.bad) == 1 and visit.bad[0].startswith("torn.png: ")
    assert "Left out: torn.png" in visit.about(network, str)
    before = visit.wholes
    with pytest.raises(DataError, match=r"^torn\.png: "):
        visit.ask(shelf, source, [(tmp_path / "torn.png", "torn.png")])
    with pytest.raises(DataError, match=f"17 pictures at once: give {MOST}"):
        visit.ask(shelf, source, [(tmp_path / "a.png", "a.png")] * 17)
    assert visit.wholes is before  # what was on the tab is still there


def test_every_map_that_can_be_chosen_is_drawn(shelf: Shelf, source: Source, tmp_path: Path) -> None:
    visit, network = asked(shelf, source, write_noise(tmp_path / "a.png"))
    found = visit.maps(network)
    assert [name for _, name in layers(found)] == ["rollout", "block 1", "block 2"]
    assert [name for _, name in heads(found, "block 2")] == ["mean", "all", "head 0", "head 1"]
    drawn = set()
    for _, layer in layers(found):
        for _, head in heads(found, layer):
            drawn.add(visit.attention(network, layer, head))
    assert len(drawn) == 9 and all("data:image/png;base64," in text for text in drawn)
    one = visit.attention(network, "block 2", "head 1")
    values = found["block 2 head 1"]
    assert f"<span>{float(values.min()):.2g}</span>" in one and f"<span>{float(values.max()):.2g}</span>" in one
    with pytest.raises(DataError, match="no map 'block 9'"):
        visit.attention(network, "block 9", "mean")


def test_falls_name_the_class_and_the_largest_change(shelf: Shelf, source: Source, tmp_path: Path) -> None:
    visit, network = asked(shelf, source, write_noise(tmp_path / "a.png"))
    visit.choose(0, 2)
    assert visit.sample is not None
    seen = int(visit.wholes[0].argmax())
    values = network.occlusion_map(visit.sample, 2, Fill.mean, seen)
    text = visit.falls(network, lambda share: None)
    assert f"+{100 * float(values.abs().max()):.2g} points" in text and "(2x2 cells)" in text
    assert network.predictor.classes[seen] in text


def test_what_is_chosen_meanwhile_changes_no_answer(
    shelf: Shelf, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events of one visitor run beside each other: an answer is wholly of the picture that was asked about."""
    visit, network = asked(shelf, source, write_noise(tmp_path / "a.png", 1), write_noise(tmp_path / "b.png", 2))
    expected = visit.falls(network, lambda share: None)
    assert visit.falls(network, lambda share: visit.choose(1)) == expected
    of_second = visit.maps(network)
    visit.choose(0)
    take = network.maps

    def slowly(sample: Sample) -> dict[str, torch.Tensor]:
        found = take(sample)
        visit.choose(1)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(network, "maps", slowly)
        visit.maps(network)
    again = visit.maps(network)
    assert all(torch.equal(again[name], values) for name, values in of_second.items())


def test_visitors_do_not_mix(shelf: Shelf, source: Source, tmp_path: Path) -> None:
    one, network = asked(shelf, source, write_noise(tmp_path / "a.png", 1))
    two, same = asked(shelf, source, write_noise(tmp_path / "b.png", 2))
    assert network is same
    before = one.bars(network)
    two.hidden = [0, 1]
    two.bars(network)
    assert one.bars(network) == before and not np.array_equal(one.wholes[0], two.wholes[0])


def test_names_of_anybody_are_escaped() -> None:
    evil = "<img src=x onerror=alert(1)>\x1b[2J`${alert(2)}`"
    for text in (bars([(evil, 0.5, None)], evil), message(evil)):
        assert "<img" not in text and "\x1b" not in text and "&lt;img" in text


def test_the_grid_has_a_cell_for_each_patch(shelf: Shelf, source: Source, tmp_path: Path) -> None:
    visit, network = asked(shelf, source, write_noise(tmp_path / "a.png"))
    assert visit.grid(network).count('role="gridcell"') == 16
    visit.choose(0, 2)
    assert visit.grid(network).count('role="gridcell"') == 4 and f'data-serial="{visit.serial}"' in visit.grid(network)
    uneven = grid_html(visit.samples[0].picture[:, :, :15], (4, 4), 1, "a")  # 15 pixels: cells of 4, 4, 4 and 3
    assert "grid-template-columns:4fr 4fr 4fr 3fr" in uneven


def test_shares_above_nothing_are_not_shown_as_nothing() -> None:
    assert [percent(share) for share in (0.0, 1e-6, 0.1234, 1.0)] == ["0.0 %", "< 0.1 %", "12.3 %", "100.0 %"]
