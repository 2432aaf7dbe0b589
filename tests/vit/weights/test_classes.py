"""A head's classes against those of the data, by name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.helpers.made_classifier import QUIET, SCHEMAS
from trainer.cli import compose
from trainer.errors import CheckpointError, ConfigError, DataError
from trainer.loop import Trainer
from vit.config import ClassOrder, VitConfig
from vit.data import DataInfo, describe
from vit.data.sources.files import forget_scans
from vit.evaluate.loaded import load_file, load_published, load_trained
from vit.evaluate.metrics import SingleLabel
from vit.evaluate.run import evaluate
from vit.task import VitTask
from vit.trained import load_run_model, load_weights_model
from vit.weights.classes import match
from vit.weights.reading import read
from vit.weights.writing import write

INFO = DataInfo(["c0", "c1", "c2"], 3, False, 9, order=ClassOrder.natural)
COLOURS = [(250, 30, 30), (30, 250, 30), (30, 30, 250), (240, 240, 240)]


def colours(root: Path, names: list[str], count: int = 6) -> Path:
    """A folder per name, its pictures of the name's own colour (by its last letter)."""
    for name in names:
        (root / name).mkdir(parents=True)
        for number in range(count):
            colour = tuple(max(0, min(255, c + 3 * number - 6)) for c in COLOURS[ord(name[-1]) - ord("a")])
            Image.new("RGB", (16, 16), colour).save(root / name / f"{number}.png")
    forget_scans()
    return root


def config_of(root: Path, *words: str) -> VitConfig:
    config = compose(
        [
            "model=vit_mu",
            *QUIET,
            "resolution=[16,16]",
            "data=imagefolder",
            f"data.root={root}",
            "data.val_share=0.3",
            "trainer.eval_every=0",
            "optim.main.lr=0.003",
            *words,
        ],
        SCHEMAS,
    )
    assert isinstance(config, VitConfig)
    return config


def train(root: Path, run_dir: Path, *words: str) -> Trainer:
    config = config_of(root, "trainer.max_samples=320", *words)
    trainer = Trainer(config, lambda: VitTask(config), run_dir)
    trainer.fit()
    return trainer


def score(run_dir: Path, root: Path, *words: str) -> tuple[float, list[str]]:
    loaded = load_trained(run_dir, overrides=["data.root=null", f"data.val_root={root}", *words])
    result = evaluate(loaded)
    return result.values["top1"], [*loaded.info.notes, *result.lines]


def test_names_against_names() -> None:
    assert match(["c0", "c1", "c2"], INFO, True) == match(None, INFO, False)
    found = match(["c2", "c0", "c1"], INFO, False)
    assert found.order is not None and found.order.tolist() == [1, 2, 0] and "matched by name" in found.note
    assert "gone cat; new c2" in match(["c0", "c1", "cat"], INFO, False).problem
    assert match(["x", "y", "z"], INFO, True).problem
    warned = match(["x", "y", "z"], INFO, False)
    assert not warned.problem and "data.class_map" in warned.note and "model.head=reset" in warned.note
    assert not match(["LABEL_0", "LABEL_1", "LABEL_2"], INFO, False).problem


def test_names_of_imagenet() -> None:
    info = replace(INFO, classes=["n01440764 tench, Tinca tinca", "n01443537 goldfish, Carassius auratus"])
    assert match(["n01440764", "n01443537"], info, False).order is None
    assert match(["n01440764", "n01443537"], info, False).note == ""
    assert match(["tench, Tinca tinca", "goldfish, Carassius auratus"], info, True).problem == ""
    found = match(["n01443537 goldfish", "n01440764 tench"], info, False)
    assert found.order is not None and found.order.tolist() == [1, 0]


def test_a_head_without_names_is_warned_of_only_where_the_orders_differ() -> None:
    assert match(None, INFO, False).note == ""
    info = replace(INFO, classes=[str(i) for i in range(1, 13)])
    note = match(None, info, False).note
    assert "natural order (1, 2, 3, 4, 5, ... 12)" in note and "ascii order they are 1, 10, 11, 12, 2" in note
    assert "data.class_order=ascii" in note
    other = replace(info, classes=sorted(info.classes), order=ClassOrder.ascii)
    assert "data.class_order=natural" in match(None, other, False).note
    assert match(None, replace(info, order=None), False).note == ""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    base = tmp_path_factory.mktemp("heads")
    names = ["10a", "9b", "2c"]  # natural: 2c 9b 10a; by code points: 10a 2c 9b
    train(colours(base / "data", names), base / "run")
    return base / "data", base / "run"


def test_a_run_is_evaluated_by_name(trained: tuple[Path, Path], tmp_path: Path) -> None:
    data, run_dir = trained
    assert score(run_dir, data)[0] == 1.0
    top1, lines = score(run_dir, data, "data.class_order=ascii")
    assert top1 == 1.0 and any("matched by name: the head has them in another order" in line for line in lines)
    some = colours(tmp_path / "some", ["9b"])
    top1, lines = score(run_dir, some)
    assert top1 == 1.0 and any("the data have 1 (9b) of the head's 3, which predicts among all" in x for x in lines)
    wrong = colours(tmp_path / "wrong", ["x9a"])
    (wrong / "x9a").rename(wrong / "9b")  # pictures of another class: among one class alone all would be right
    assert score(run_dir, wrong)[0] == 0.0


def test_a_score_says_where_another_split_stands_for_the_one_asked_for(trained: tuple[Path, Path]) -> None:
    """Validation pictures that were looked at all along are no test set."""
    loaded = load_trained(trained[1])
    assert any("no test split: the validation split" in line for line in evaluate(loaded, "test").lines)
    for split in ("val", "train"):
        assert not any("split" in line for line in evaluate(loaded, split).lines)


def test_a_run_is_not_evaluated_on_other_classes(trained: tuple[Path, Path], tmp_path: Path) -> None:
    other = colours(tmp_path / "other", ["10a", "2c", "x9b"])
    with pytest.raises(ConfigError, match=r"gone 9b; new x9b.*data\.class_map"):
        score(trained[1], other)


def test_a_file_is_evaluated_by_name(trained: tuple[Path, Path], tmp_path: Path) -> None:
    """Tables and pictures speak of the classes that they count, in whatever order head and data have them."""
    _, run_dir = trained
    model, _, meta = load_run_model(run_dir)
    told = {name: meta[name] for name in ("mean", "std", "crop", "crop_ratio", "interpolation")}
    counts = {"a": 3, "b": 4, "c": 5}
    for heads, folders in (
        (["2c", "9b", "10a"], ["10a", "2c", "9b"]),  # one order of names, another of code points
        (["n00000003 c", "n00000002 b", "n00000001 a"], ["n00000001", "n00000002", "n00000003"]),
    ):
        letters = {name: name[-1] if name[-1] in "abc" else "abc"[int(name[-1]) - 1] for name in folders}
        data = tmp_path / folders[0]
        for name, letter in letters.items():
            (colours(data, [f"x{letter}"], counts[letter]) / f"x{letter}").rename(data / name)
        write(model.state_dict(), model.arch, tmp_path / "w.safetensors", "safetensors", classes=heads, **told)
        for order in ClassOrder:
            words = ["data.root=null", f"data.val_root={data}", f"data.class_order={order.name}"]
            loaded = load_file(str(tmp_path / "w.safetensors"), config_of(data, *words))
            result = evaluate(loaded)
            counted = result.counted
            assert isinstance(counted, SingleLabel) and result.values["top1"] == 1.0
            seen = dict(zip(loaded.info.classes, counted.class_counts().tolist(), strict=True))
            assert {name[-1]: count for name, count in seen.items()} == counts
        assert any("matched by name" in note for note in loaded.info.notes)


@pytest.mark.parametrize("key", ["class_to_idx", "idx_to_class", "classes", "class_names", "id2label"])
def test_names_beside_a_strangers_tensors(key: str, trained: tuple[Path, Path], tmp_path: Path) -> None:
    """ImageFolder's class_to_idx and the like: the head was said to have no names, and met another order unchanged."""
    data, run_dir = trained
    model, _, _ = load_run_model(run_dir)
    heads = ["2c", "9b", "10a"]
    told = {
        "class_to_idx": {name: number for number, name in enumerate(heads)},
        "idx_to_class": dict(enumerate(heads)),
        "id2label": {str(number): name for number, name in enumerate(heads)},
    }.get(key, heads)
    torch.save({"epoch": 3, "model_state_dict": model.state_dict(), key: told}, tmp_path / "w.pth")
    assert read(tmp_path / "w.pth").classes == heads
    for order in ClassOrder:
        words = ["data.root=null", f"data.val_root={data}", f"data.class_order={order.name}", "resolution=[16,16]"]
        loaded = load_file(str(tmp_path / "w.pth"), config_of(data, *words), ["resolution"])
        assert evaluate(loaded).values["top1"] == 1.0
    task = VitTask(config_of(data, f"model.weights={tmp_path / 'w.pth'}", "data.class_order=ascii"))
    assert any("matched by name" in note for note in task.notes())
    torch.save({"model_state_dict": model.state_dict(), key: told, "classes": 3}, tmp_path / "w.pth")  # their number
    assert read(tmp_path / "w.pth").classes == (None if key == "classes" else heads)
    torch.save({"model_state_dict": model.state_dict(), "labels": heads * 2}, tmp_path / "w.pth")  # those of pictures
    assert read(tmp_path / "w.pth").classes is None


def test_names_beside_a_timm_models_tensors(tmp_path: Path) -> None:
    import timm

    net = timm.create_model("test_vit", num_classes=3)
    torch.save({"state_dict": net.state_dict(), "class_to_idx": {"b": 0, "a": 1, "c": 2}}, tmp_path / "w.pth")
    _, meta = load_weights_model(str(tmp_path / "w.pth"), "test_vit")
    assert meta["classes"] == ["b", "a", "c"]


def test_a_name_of_two_classes_tells_neither(tmp_path: Path) -> None:
    """ImageNet's words have two cranes: a folder of that name is none of them for sure."""
    data = colours(tmp_path / "data", ["crane a", "egret b"])
    (data / "crane a").rename(data / "crane")
    config = config_of(data)
    assert describe(config, ["crane", "egret b", "crane"]).classes == ["crane", "egret b"]
    assert describe(config, ["crane", "egret b", "x"]).classes == ["crane", "egret b", "x"]


def test_a_permuted_head_is_fine_tuned_by_name(trained: tuple[Path, Path], tmp_path: Path) -> None:
    data, run_dir = trained
    words = [f"model.weights={run_dir}", "data.class_order=ascii"]
    loaded = load_published(config_of(data, *words), ["data.class_order"])
    assert loaded.info.classes == ["10a", "2c", "9b"] and evaluate(loaded).values["top1"] == 1.0
    assert any("matched by name" in note for note in loaded.notes)
    task = VitTask(config_of(data, *words))
    assert any("matched by name" in note for note in task.notes())
    plain = VitTask(config_of(data, f"model.weights={run_dir}"))
    rows = [plain.classes.index(name) for name in task.classes]
    state, other = task.model.state_dict(), plain.model.state_dict()
    assert torch.equal(state["head.weight"], other["head.weight"][rows])
    assert torch.equal(state["head.bias"], other["head.bias"][rows])


def test_a_head_of_other_classes_is_not_fine_tuned(trained: tuple[Path, Path], tmp_path: Path) -> None:
    other = colours(tmp_path / "other", ["10a", "2c", "x9b"])
    with pytest.raises(CheckpointError, match=r"gone 9b; new x9b\. model\.head=reset"):
        VitTask(config_of(other, f"model.weights={trained[1]}"))
    VitTask(config_of(other, f"model.weights={trained[1]}", "model.head=reset"))


def test_a_run_of_one_class_is_refused(tmp_path: Path) -> None:
    root = colours(tmp_path / "one", ["a"])
    with pytest.raises(ConfigError, match="one class, 'a'"):
        VitTask(config_of(root))


def test_hugging_faces_names(trained: tuple[Path, Path], tmp_path: Path) -> None:
    """Folders 2c, 9b, 10a; the head's id2label has them otherwise."""
    pytest.importorskip("transformers")
    from vit.weights.conversion import convert

    data, run_dir = trained
    list(convert(str(run_dir), str(tmp_path / "hf"), "hf"))
    path = tmp_path / "hf/config.json"
    facts = json.loads(path.read_text())
    assert list(facts["id2label"].values()) == ["2c", "9b", "10a"]
    from safetensors.torch import load_file, save_file

    weights = load_file(tmp_path / "hf/model.safetensors")
    order = [2, 0, 1]
    for name in ("classifier.weight", "classifier.bias"):
        weights[name] = weights[name][order].contiguous()
    save_file(weights, tmp_path / "hf/model.safetensors", {"format": "pt"})
    names = [["2c", "9b", "10a"][i] for i in order]
    facts["id2label"], facts["label2id"] = dict(enumerate(names)), {name: i for i, name in enumerate(names)}
    path.write_text(json.dumps(facts))
    loaded = load_published(config_of(data, f"model.weights={tmp_path / 'hf'}"))
    assert evaluate(loaded).values["top1"] == 1.0


@pytest.fixture(scope="module")
def weights(trained: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's weights in a file that names its classes, which is no run."""
    from vit.weights.conversion import convert

    path = tmp_path_factory.mktemp("weights") / "a.safetensors"
    list(convert(str(trained[1]), str(path), "safetensors"))
    return path


@pytest.mark.parametrize("model", [False, True])
def test_a_files_names_do_where_the_data_have_some_of_its_classes(
    model: bool, weights: Path, trained: tuple[Path, Path], tmp_path: Path
) -> None:
    """Case 44 with weights that are no run: no training data, pictures of one class."""

    def scored(root: Path, *words: str) -> tuple[float, list[str]]:
        config = config_of(root, "data.root=null", f"data.test_root={root}", *words)
        config.model.weights = str(weights)
        loaded = load_published(config) if model else load_file(str(weights), config)
        assert loaded.classes == loaded.info.classes and sorted(loaded.info.classes) == ["10a", "2c", "9b"]
        result = evaluate(loaded, split="test")
        return result.values["top1"], [*loaded.notes, *loaded.info.notes, *result.lines]

    top1, lines = scored(colours(tmp_path / "some", ["9b"]))
    assert top1 == 1.0 and any("the data have 1 (9b) of the head's 3, which predicts among all" in x for x in lines)
    wrong = colours(tmp_path / "wrong", ["x9a"])
    (wrong / "x9a").rename(wrong / "9b")
    assert scored(wrong)[0] == 0.0
    top1, lines = scored(trained[0], "data.class_order=ascii")
    assert top1 == 1.0 and sum("matched by name: the head has them in another order" in line for line in lines) == 1


def test_a_file_without_names_asks_for_a_map(weights: Path, tmp_path: Path) -> None:
    from vit.weights.reading import read
    from vit.weights.writing import write

    found = read(weights)
    write(found.state, found.arch, tmp_path / "a.safetensors", "safetensors")
    some = colours(tmp_path / "some", ["9b"])
    loaded = load_file(str(tmp_path / "a.safetensors"), config_of(some, "data.root=null", f"data.test_root={some}"))
    with pytest.raises(ConfigError, match=r"the head has 3 classes, the data have 1 \(9b\).*data\.class_map"):
        evaluate(loaded, split="test")


@pytest.mark.parametrize("names", ["none", "words"])
def test_a_part_of_imagenet_by_wordnet_ids(names: str, tmp_path: Path) -> None:
    """Imagenette and its like under any head of ImageNet-1k: folders n01440764 and so on, 1000 outputs."""
    from timm.data.imagenet_info import ImageNetInfo

    from vit.model.transformer import VisionTransformer, architecture
    from vit.weights.writing import write

    info = ImageNetInfo("imagenet-1k")
    ids = list(info.label_names())
    model = VisionTransformer(architecture(config_of(tmp_path).model, 1000, 3, (16, 16)))
    assert model.head is not None
    with torch.no_grad():
        model.head.bias[ids.index("n01443537")] = 5.0
    words = None if names == "none" else list(info.label_descriptions())
    write(model.state_dict(), model.arch, tmp_path / "a.safetensors", "safetensors", classes=words)
    root = colours(tmp_path / "data", ["a"], 1)
    colours(root, ["b"], 3)
    (root / "a").rename(root / "n01440764")
    (root / "b").rename(root / "n01443537")
    config = config_of(root, "data.root=null", f"data.val_root={root}", f"model.weights={tmp_path / 'a.safetensors'}")
    for loaded in (load_published(config), load_file(str(tmp_path / "a.safetensors"), config)):
        assert evaluate(loaded).values["top1"] == 0.75
        assert any("ImageNet-1k's in the order of their WordNet ids" in x for x in loaded.notes)


def test_test_pictures_alone_say_which_split(weights: Path, trained: tuple[Path, Path], tmp_path: Path) -> None:
    loaded = load_file(str(weights), config_of(trained[0], "data.root=null", f"data.test_root={trained[0]}"))
    with pytest.raises(DataError, match=r"no val pictures.*data\.test_root has test pictures: evaluate\.py split=test"):
        evaluate(loaded)
    flat = trained[0] / "9b"
    with pytest.raises(DataError, match=rf"no class folders.*scripts/predict\.py .*source={flat}"):
        load_file(str(weights), config_of(flat, "data.root=null", f"data.test_root={flat}"))
