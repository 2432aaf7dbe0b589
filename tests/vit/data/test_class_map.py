"""Model classes against data classes: mappings, and several right answers per picture."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from trainer.errors import DataError
from vit.config import VitConfig
from vit.data.class_map import ClassMap, LabelLists, MeanClassMap, class_map

MODEL = ["n01 tench", "n02 goldfish", "n03 shark", "n04 ray"]
DATA = ["n03", "n01"]


def read(tmp_path: Path, text: str, name: str = "map.txt", data: list[str] = DATA, model: list[str] | int = MODEL):
    (tmp_path / name).write_text(text)
    config = VitConfig()
    config.data.class_map = str(tmp_path / name)
    return class_map(config, data, model)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("n03\nn01\n", "a.txt"),
        ("# selection\nn01 n01\n\nn03 0  # by index\n", "a.txt"),
        ("2,n03\n0,n01", "a.txt"),
        ('{"n03": 0, "0": "n01"}', "a.json"),
        ('["n03", "n01 tench"]', "a.json"),
    ],
)
def test_mappings(tmp_path: Path, text: str, name: str) -> None:
    if "n01 tench" in text:
        found = read(tmp_path, text, name, ["n03", "n01 tench"])
    else:
        found = read(tmp_path, text, name)
    assert isinstance(found, ClassMap) and found.target.tolist() == [1, -1, 0, -1] and found.classes == 2


def test_predictions_are_made_among_the_named_classes(tmp_path: Path) -> None:
    found = read(tmp_path, "n01 n01\nn03 n03\nn04 n03\n")
    assert isinstance(found, ClassMap)
    scores = found.scores(torch.tensor([[1.0, 9.0, 0.0, 2.0], [3.0, 9.0, 1.0, 2.0]]))
    assert scores.tolist() == [[2.0, 1.0], [2.0, 3.0]] and scores.argmax(1).tolist() == [0, 1]
    lonely = ClassMap(torch.tensor([0, -1]), 2).scores(torch.zeros(1, 2))
    assert lonely.tolist() == [[0.0, float("-inf")]]


def test_none_without_a_file() -> None:
    assert class_map(VitConfig(), DATA, MODEL) is None


def test_a_model_without_names(tmp_path: Path) -> None:
    found = read(tmp_path, "6 n03\n11 n01", model=1000)
    assert isinstance(found, ClassMap) and found.target[6] == 0 and found.target[11] == 1 and len(found.target) == 1000


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("n09 n01", "'n09' is no class of the model: neither a name"),
        ("n01 n02", r"'n02' \(for 'n01'\) is no class of the data"),
        ("7 n01", "index from 0 to 3"),
        ("n01 n01 n01", "entry 1: two words"),
        ("{", "not valid JSON"),
        ('"n01"', "two words|must be"),
        ("# nothing", "names no class"),
        ("[[0], [4]]", r"list 2: \[4\] holds other than classes 0\.\.3"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, text: str, problem: str) -> None:
    name = "m.json" if text.startswith('"') else "m.txt"
    with pytest.raises(DataError, match=problem):
        read(tmp_path, text, name)


def test_what_several_classes_are_called_means_none_of_them(tmp_path: Path) -> None:
    """The last of them was taken: ImageNet has two cranes, and folders may be golden retriever and golden eagle."""
    model = ["golden eagle", "golden retriever", "crane", "crane", "crane fly"]
    for key, problem in (
        ("golden", "'golden' is no class of the model alone: 2 are called so .0 golden eagle, 1 golden retriever"),
        ("crane", "'crane' is no class of the model alone: 2 are called so .2 crane, 3 crane"),
    ):
        with pytest.raises(DataError, match=problem):
            read(tmp_path, json.dumps({key: 0}), "a.json", model=model)
    text = json.dumps({"golden eagle": "bird", "2": "bird", "3": "thing", "crane fly": "fly small"})
    found = read(tmp_path, text, "a.json", ["bird", "thing", "fly small", "fly large"], model)
    assert isinstance(found, ClassMap) and found.target.tolist() == [0, -1, 0, 1, 2]
    with pytest.raises(DataError, match=r"'fly' .for 'crane fly'. is no class of the data alone"):
        read(tmp_path, '{"crane fly": "fly"}', "a.json", ["fly small", "fly large"], model)


def test_a_file_that_is_not_there() -> None:
    config = VitConfig()
    config.data.class_map = "nowhere.json"
    with pytest.raises(DataError, match=r"data\.class_map=nowhere\.json: cannot be read"):
        class_map(config, DATA, MODEL)


def test_several_right_answers(tmp_path: Path) -> None:
    found = read(tmp_path, json.dumps([[0, 2], [], [1]]), "real.json")
    assert isinstance(found, LabelLists)
    names = [f"val/n01/ILSVRC2012_val_0000000{i}.JPEG" for i in (3, 1, 2)]
    assert found.targets(names, 4).int().tolist() == [[0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
    for name in ("val/4.JPEG", "val/x.JPEG", "val/0.JPEG"):
        with pytest.raises(DataError, match="number from 1 to 3"):
            found.targets([name], 4)


def test_the_files_that_timm_brings() -> None:
    """ImageNet-A's selection and ReaL's lists lie in timm's package and can be given as they are."""
    timm_data = pytest.importorskip("timm.data.imagenet_info")
    folder = Path(timm_data.__file__).parent / "_info"
    ids = (folder / "imagenet_synsets.txt").read_text().split()
    chosen = (folder / "imagenet_a_synsets.txt").read_text().split()
    config = VitConfig()
    config.data.class_map = str(folder / "imagenet_a_synsets.txt")
    found = class_map(config, chosen, ids)
    assert isinstance(found, ClassMap) and int((found.target >= 0).sum()) == len(chosen) == 200
    config.data.class_map = str(folder / "imagenet_real_labels.json")
    lists = class_map(config, ids, ids)
    assert isinstance(lists, LabelLists) and len(lists.lists) == 50_000


def test_mean_probabilities_of_the_members() -> None:
    """Softmax of logits ln(1), ln(2), ln(3), ln(4): 0.1, 0.2, 0.3, 0.4; class 0 has 0.1 and 0.4, class 2 has none."""
    judge = MeanClassMap(torch.tensor([0, 1, -1, 0]), 3)
    found = judge.scores(torch.tensor([[1.0, 2.0, 3.0, 4.0]]).log())
    torch.testing.assert_close(found.exp(), torch.tensor([[0.25, 0.2, 0.0]]))
    far = judge.scores(torch.tensor([[-500.0, -400.0, 0.0, -600.0]]))
    assert int(far.argmax()) == 1 and bool(torch.isfinite(far[0, :2]).all()), "also of what underflows"
