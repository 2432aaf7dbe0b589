"""Which class of a head a folder of a natural set stands for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.helpers.made_classifier import mu_config
from trainer.device.compute import CPU
from trainer.errors import ConfigError, UserError
from trainer.records.media import write_png
from vit.analysis.natural_sets import NaturalSet, opened, parsed
from vit.analysis.subjects import Subject
from vit.data import describe
from vit.data.class_map import LabelLists
from vit.evaluate.loaded import Loaded
from vit.weights.classes import imagenet_ids


def subject(classes: list[str] | None = None, count: int = 1000, *words: str) -> Subject:
    config = mu_config(*words)
    loaded = Loaded(torch.nn.Identity(), config, describe(config), classes, [0.5] * 3, [0.5] * 3, count, CPU, "")
    return Subject("net", loaded, None, [])


def folders(root: Path, *names: str) -> str:
    for name in names:
        (root / name).mkdir(parents=True)
        write_png(root / name / "ILSVRC2012_val_00000001.png", torch.zeros(16, 16, 3, dtype=torch.uint8))
    return str(root)


def standing(found) -> dict[int, str]:
    """By number of the head: the folder that it stands for."""
    assert found.heads is not None
    return {k: found.subject.loaded.info.classes[c] for k, c in enumerate(found.heads.tolist()) if c >= 0}


@pytest.mark.parametrize("order", ["natural", "ascii"])
def test_numbers_are_the_head_s_in_whatever_order(tmp_path: Path, order: str) -> None:
    """Sorted as text 10 comes before 2: torchvision's ImageFolder would take 10 for class 0 or 1."""
    v2 = NaturalSet("v2", folders(tmp_path, "2", "10", "999"))
    found = opened(subject(None, 1000, f"data.class_order={order}"), v2, True)
    assert standing(found) == {2: "2", 10: "10", 999: "999"} and found.answers == 3
    classes = found.subject.loaded.info.classes
    assert dict(zip(classes, found.names, strict=False))["2"] == "great white shark"
    assert dict(zip(classes, found.names, strict=False))["10"] == "brambling"


def test_wordnet_ids_find_a_head_in_any_order(tmp_path: Path) -> None:
    ids = imagenet_ids()
    a = NaturalSet("a", folders(tmp_path, ids[6], ids[301]))
    assert standing(opened(subject(), a, True)) == {6: ids[6], 301: ids[301]}
    turned = opened(subject([f"{name} word, other" for name in reversed(ids)]), a, True)
    assert standing(turned) == {993: ids[6], 698: ids[301]} and turned.names[0] == "stingray"
    logits = torch.zeros(1, 1000)
    logits[0, 0], logits[0, 698] = 9.0, 1.0
    assert turned.subject.classes(logits).argmax().item() == 1, "among the two"
    assert opened(subject(), a, False).subject.classes(logits).argmax().item() == 2, "another class than both"


def test_folders_by_a_file_of_the_user(tmp_path: Path) -> None:
    root = folders(tmp_path / "objectnet", "Chair", "Lamp", "Tongs")
    (tmp_path / "map.json").write_text(json.dumps({"423": "Chair", "559": "Chair", "846": "Lamp"}))
    found = opened(subject(), NaturalSet("objectnet", root, map=str(tmp_path / "map.json")), True)
    assert standing(found) == {423: "Chair", 559: "Chair", 846: "Lamp"}
    assert found.covered().tolist() == [True, True, False], "no picture of tongs is judged"
    assert found.covered(torch.arange(1000) == 846).tolist() == [False, True, False]


def test_labels_of_real_are_in_imagenet_s_order(tmp_path: Path) -> None:
    ids = imagenet_ids()
    root = folders(tmp_path / "val", ids[3])
    (tmp_path / "real.json").write_text("[[3, 8], []]")
    real = NaturalSet("real", root, labels=str(tmp_path / "real.json"))
    plain, turned = opened(subject(), real, True), opened(subject([*reversed(ids)]), real, True)
    assert plain.order is None and turned.order is not None and turned.order.tolist() == list(range(999, -1, -1))
    assert isinstance(turned.subject.judge, LabelLists) and turned.names[3] == "tiger shark"
    (tmp_path / "map.json").write_text(json.dumps({ids[3]: ids[3]}))
    with pytest.raises(ConfigError, match=r"map\.json: is no list of lists"):
        opened(subject(), NaturalSet("real", root, labels=str(tmp_path / "map.json")), True)


def test_folders_that_nothing_tells(tmp_path: Path) -> None:
    other = NaturalSet("r", folders(tmp_path / "a", "cat", "n01440764"))
    with pytest.raises(ConfigError, match=r"r=.*2 class folders 1 \(cat\).*0 to 999.*maps=\[r=FILE\]"):
        opened(subject(), other, True)
    beyond = NaturalSet("v2", folders(tmp_path / "b", "1", "10"))
    with pytest.raises(ConfigError, match=r"2 \(1, 10\) are called.*no names, nor by their numbers 0 to 9"):
        opened(subject(None, 10), beyond, True)


def test_what_is_asked_for(tmp_path: Path) -> None:
    root, real = folders(tmp_path / "pictures", "x"), tmp_path / "real.json"
    real.write_text("[]")
    found = parsed([f"a={root}", f"real={real}", f"val={root}"], ["a=map.txt"])
    assert [one.name for one in found] == ["val", "a", "real"], "ordinary validation first"
    assert found[1].map == "map.txt" and (found[2].path, found[2].labels) == (root, str(real))
    for sets, maps, problem in (
        ([], [], "sets= is missing"),
        ([root], [], "not of the form NAME=PATH"),
        ([f"a={root}", f"a={root}"], [], "a is given twice"),
        ([f"a={root}/none"], [], "no such file or folder"),
        ([f"real={real}"], [], rf"sets=\[val=PATH,real={real}\]"),
        ([f"a={root}"], ["r=map.txt"], "r is none of sets=a"),
        ([f"a={root}/x/ILSVRC2012_val_00000001.png"], [], "is a file; give the folder"),
    ):
        with pytest.raises(UserError, match=problem):
            parsed(sets, maps)
