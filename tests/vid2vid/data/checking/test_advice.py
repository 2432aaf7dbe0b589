"""Every advice of check_data is followed, and works: the data are then whole, and a step trains on them."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from scripts.check_data import main
from tests.helpers.made_frames import label_map, picture, save
from tests.helpers.made_labels import CITYSCAPES, encoded, painted
from trainer.cli import compose
from trainer.errors import UserError
from trainer.loop import Trainer
from vid2vid.config import DataConfig, Vid2VidConfig
from vid2vid.data.checking.advice import give_advice
from vid2vid.data.checking.check import check_data, fill_flow_cache, find_sequences
from vid2vid.task import Vid2VidTask
from vid2vid.validate import problems

SCHEMAS = {"vid2vid": Vid2VidConfig}
TINY = [
    "model=vid2vid_tiny", "resolution=[16,32]", "model.blocks=1", "trainer.max_steps=1", "trainer.device=cpu",
    "trainer.precision=fp32", "logger.tensorboard=false", "logger.curves=false", "data=folders", "data.flow_cache=null",
    "curriculum.stages.all.frames=3",
]  # fmt: skip
OWN = {7: (1, 2, 250), 26: (200, 10, 3)}
Change = Callable[[Path], None]


def relabel(change: Callable[[np.ndarray], np.ndarray]) -> Change:
    def apply(root: Path) -> None:
        for path in sorted((root / "labels").rglob("*.png")):
            save(path, change(label_map(int(re.sub(r"\D", "", path.stem)))))

    return apply


def turn_half(root: Path) -> None:
    from PIL import Image

    tags = Image.Exif()
    tags[0x0112] = 3
    for path in (root / "images").rglob("*.png"):
        save(path, picture(), exif=tags)


def single_frames(root: Path) -> None:
    for kind in ("labels", "images"):
        for i in range(1, 4):
            for path in (root / kind).glob(f"*/frame{i}.png"):
                path.unlink()


def with_ending(root: Path) -> None:
    for path in sorted((root / "labels").rglob("*.png")):
        path.rename(path.with_name(path.stem + "_mask.png"))


def damage(root: Path) -> None:
    (root / "labels/s2/frame1.png").write_bytes(b"junk")


def own_colours(root: Path) -> None:
    relabel(lambda ids: painted(OWN, ids))(root)
    (root / "table.csv").write_text("id,name,r,g,b\n7,road,1,2,250\n26,car,200,10,3\n")


MASK = relabel(lambda ids: (ids == 26).astype(np.uint8) * 255)
GREYS = relabel(lambda ids: np.where(ids == 26, 70, 153).astype(np.uint8))
TRAIN_IDS = relabel(lambda ids: np.where(ids == 26, 18, 0).astype(np.uint8))
THREE = relabel(lambda ids: np.where(ids == 26, 26, 3).astype(np.uint8))
SHARED = relabel(lambda ids: painted({7: (192, 128, 128), 26: (128, 0, 0)}, ids))  # colours of VOC and of CamVid
ALL, OFF = "model.label_ids=null", "model.foreground=off"

FOLLOWED: dict[str, tuple[Change, list[str], str]] = {
    "masks": (MASK, [ALL], "data.label_map=255:1"),
    "masks, no foreground": (MASK, [OFF], "data.label_map=255:1"),
    "ids out of range": (relabel(lambda ids: ids + 30), [ALL], "model.num_labels=57"),
    "ids of all": (relabel(lambda ids: ids + 4), [], "model.label_ids=null"),
    "grey colours": (GREYS, [ALL, OFF], "data.label_format=colors:cityscapes"),
    "train ids": (TRAIN_IDS, [ALL, OFF], "model.num_labels=19"),
    "ignored as class": (THREE, [ALL, "data.ignore_label=3"], "data.ignore_label=null"),
    "contradiction": (relabel(lambda ids: ids), ["data.ignore_label=26"], "data.ignore_label=null"),
    "several known tables": (SHARED, [ALL, OFF], "data.label_format=colors:camvid"),
    "ending": (with_ending, [], "data.label_suffix=_mask"),
    "half a turn": (turn_half, [], "data.label_exif=upright"),
    "single frames": (single_frames, [], "curriculum=images"),
    "short clips": (lambda root: None, ["curriculum.stages.all.frames=12"], "curriculum.stages.all.frames=3"),
    "damaged": (damage, [], "data.on_bad_file=skip"),
}


def check(words: list[str]) -> tuple[bool, str]:
    """Whether all can be used, and all that is said: errors too."""
    config = compose(words, SCHEMAS)
    found = problems(config)
    if found:
        return False, "\n".join(found)
    try:
        report = check_data(config, find_sequences(config))
    except UserError as error:
        return False, str(error)
    return report.usable, "\n".join([*report.bad, *report.advice])


def advised(text: str, wanted: str) -> list[str]:
    """The settings of the sentence that has `wanted`: everything of the form key=value, as it stands."""
    sentence = next(line for line in text.splitlines() if wanted in line)
    start = sentence.index(wanted)
    words = []
    for word in sentence[start:].split():
        if not re.match(r"(data|model|curriculum)[\w.]*=", word):
            break
        words.append(word.rstrip(".,;:"))
    return words


@pytest.mark.parametrize("name", FOLLOWED)
def test_advice_works_when_it_is_followed(name, make_folders, tmp_path, caplog):
    change, options, wanted = FOLLOWED[name]
    root = make_folders({"s1": 4, "s2": 4})
    change(root)
    words = [*TINY, f"data.root={root}", *options]
    usable, text = check(words)
    assert wanted in text, text
    more = advised(text, wanted)
    if any(word.startswith("curriculum=") for word in more):
        words = [word for word in words if not word.startswith("curriculum.stages.all.frames")]
    usable, after = check([*words, *more])
    assert usable or name == "damaged", after
    assert wanted not in after or name in ("damaged", "short clips")
    config = compose([*words, *more], SCHEMAS)
    trainer = Trainer(config, lambda: Vid2VidTask(config), tmp_path / "run")
    trainer.fit()
    assert trainer.step >= 1


def test_a_frame_of_another_size_is_named_and_the_rest_is_whole_without_it(make_folders, tmp_path):
    root = make_folders({"s1": 9, "s2": 4})
    for kind in ("labels", "images"):
        save(root / kind / "s1/frame4.png", np.full((20, 40), 7, np.uint8))
    words = [*TINY, f"data.root={root}"]
    usable, text = check(words)
    assert not usable and re.search(
        r"another size \(20x40\).*images/s1/frame4\.png\. Resize them, or take them away", text
    )
    for kind in ("labels", "images"):
        (root / kind / "s1/frame4.png").unlink()
    assert check(words)[0]


def test_a_table_of_ones_own_is_written_and_read(make_folders, tmp_path):
    root = make_folders({"s1": 4, "s2": 4})
    own_colours(root)
    words = [*TINY, f"data.root={root}"]
    (root / "table.csv").rename(tmp_path / "table.csv")
    usable, text = check(words)
    assert not usable and "(1,2,250)" in text and "data.label_format=colors:FILE" in text
    assert check([*words, f"data.label_format=colors:{tmp_path}/table.csv"])[0]


def test_colours_in_no_table_are_counted_over_the_data_set(make_folders):
    root = make_folders({"s1": 4, "s2": 4})
    relabel(lambda ids: painted(CITYSCAPES, ids))(root)
    for i in (1, 2):
        save(root / f"labels/s1/frame{i}.png", painted({7: (9, 9, 8), 26: (0, 0, 142)}, label_map(i)))
    words = [*TINY, f"data.root={root}", "data.label_format=colors:cityscapes"]
    config = compose(words, SCHEMAS)
    report = check_data(config, find_sequences(config))
    assert set(report.colours) == {(9, 9, 8)} and report.coloured.endswith("labels/s1/frame1.png")
    assert not report.usable and not report.bad and report.table == "cityscapes"


def test_the_crop_is_told(make_folders):
    config = compose([*TINY, f"data.root={make_folders({'s1': 4, 's2': 4})}", "resolution=[32,32]"], SCHEMAS)
    sequences = find_sequences(config)
    text = "\n".join(give_advice(config, sequences, check_data(config, sequences)))
    assert "50% of the width is cut off" in text


def test_flow_of_all_steps_is_filled(make_folders, monkeypatch, tmp_path):
    root = make_folders({"s1": 5, "s2": 3})
    shutil.rmtree(root / "images/s2")
    for i in range(3):
        save(root / f"images/s2/frame{i}.png", picture(50 + i))
    words = [*TINY, f"data.root={root}", "data.frame_step=3", "data.flow_cache=" + str(tmp_path / "flow")]
    config = compose(words, SCHEMAS)
    count = fill_flow_cache(find_sequences(config), config, [(16, 32)], "cpu")
    assert count == (4 + 3 + 2) + (2 + 1 + 0) == len(list((tmp_path / "flow").rglob("*.npz")))
    monkeypatch.setattr("vid2vid.data.reference_flow.estimate_pair", None)  # training finds whatever it draws
    from vid2vid.data import build_dataset

    dataset = build_dataset(config, "train", (16, 32), 2)
    for seed in range(12):
        assert "flow" in dataset.sample(0, np.random.default_rng(seed))


def test_the_script_checks_the_settings_first(make_folders, monkeypatch, capsys, tmp_path):
    root = make_folders({"s1": 4, "s2": 4})
    words = ["check_data.py", "data=folders", f"data.root={root}", f"out={tmp_path}/sheet.png"]
    monkeypatch.setattr(sys, "argv", [*words, "data.label_format=colours", "data.range=[3,2]", "data.ignore_label=x"])
    with pytest.raises(SystemExit) as end:
        main()
    text = capsys.readouterr().err
    assert end.value.code == 2
    for key in (
        "data.label_format=colours is not one of",
        "data.range=[3,2]: needs auto",
        "data.ignore_label=x: needs",
    ):
        assert key in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model.label_ids=[0,255]"], "set data.ignore_label=null, or take it out of model.label_ids"),
        (["model.label_ids=[0,7]", "data.ignore_label=[255,0,3]"], "set data.ignore_label=[255,3]"),
        (["data.label_map=7"], "data.label_map=7: neither OLD:NEW pairs"),
        (["data.label_map={7:1,8:x}"], "'8:x' is not OLD:NEW"),
        (["data.label_format=colors:nowhere.txt"], "colors:nowhere.txt: no such file, and no known table"),
        (["data.source_range=7"], "data.source_range=7: needs auto"),
        (["data.label_suffix=*_mask"], "data.label_suffix=*_mask: is the end of names"),
        (
            ["data.labels=rgb", "model.source=image", "data.label_format=ids"],
            "data.labels=rgb takes label maps as pictures",
        ),
    ],
)
def test_settings_that_cannot_be(words, message):
    config = compose(["model=vid2vid_tiny", *words], SCHEMAS)
    assert any(message in line for line in problems(config)), problems(config)


def test_settings_that_can_be():
    words = ["model=vid2vid_tiny", "data.ignore_label=[255,0]", "data.label_map=11:7,8:7", "data.range=[0,4095]"]
    config = compose([*words, "data.label_format=colors:cityscapes", "data.source_range=auto"], SCHEMAS)
    assert problems(config) == [] and config.data.label_map == ["11:7", "8:7"]
    assert problems(compose(["model=vid2vid_tiny", "data.ignore_label=null"], SCHEMAS)) == []
    assert DataConfig().ignore_label == 255
    assert encoded(np.zeros((2, 2), np.uint8)).startswith(b"\x89PNG")
