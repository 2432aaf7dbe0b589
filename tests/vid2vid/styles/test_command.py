"""scripts/fit_styles.py on an untrained run of the street, and generate.py with what it wrote."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.made_run import make_run, street_config
from train import SCHEMAS
from trainer.errors import ConfigError, DataError, UserError
from vid2vid.config import StyleTracks, Vid2VidConfig
from vid2vid.generate.command import Arguments as Generate
from vid2vid.generate.command import run as generate
from vid2vid.styles.command import Arguments, run
from vid2vid.styles.gather import gather
from vid2vid.styles.mixtures import read_styles
from vid2vid.styles.pooling import own_styles
from vid2vid.trained import load_generator

pytest.importorskip("sklearn")


def styled(label_ids: tuple[int, ...] = (7, 8, 11, 21, 23, 24, 26)) -> Vid2VidConfig:
    config = street_config()
    config.model.label_ids = list(label_ids)
    config.model.style_channels, config.model.nef, config.model.style_downsamplings = 3, 4, 2
    config.data.clips, config.data.val_frames = 3, 3
    return config


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp("runs") / "styles"
    make_run(folder, styled())
    said: list[str] = []
    run(Arguments(str(folder), min_area=0.004, min_count=2), SCHEMAS, said.append)
    return folder, said


def test_a_mixture_for_every_class_of_the_training_data(fitted: tuple[Path, list[str]]) -> None:
    folder, said = fitted
    styles = read_styles(folder / "styles.json")
    assert styles.things == {24, 26} and {7, 8, 23} <= set(styles.classes) and styles.classes[26].name == "car"
    facts = {name: styles.facts[name] for name in ("step", "clips", "frames", "resolution", "min_area")}
    assert facts == {"step": 7, "clips": 3, "frames": 9, "resolution": "32x64", "min_area": 0.004}
    assert styles.classes[7].count == 3 and "3 clips, 9 frames" in said[1]
    assert all(part.count >= 2 for each in styles.classes.values() for part in each.components if each.count >= 2)
    assert (folder / "styles.png").stat().st_size > 10_000


def test_small_instances_do_not_count_and_the_largest_is_the_example(fitted: tuple[Path, list[str]]) -> None:
    """Three cars of 2, 8 and 16 pixels of 2048, the last one in one frame only, against E's own vectors."""
    labels = torch.full((1, 2, 32, 64), 7, dtype=torch.int16)
    instances = labels.int()
    for number, (rows, columns) in enumerate(((1, 2), (2, 4), (4, 4))):
        place = (0, slice(0, 2 if number < 2 else 1), slice(8 * number, 8 * number + rows), slice(columns))
        labels[place], instances[place] = 26, 26000 + number
    images = torch.randint(0, 256, (1, 2, 3, 32, 64), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    batch = {"labels": labels, "instances": instances, "images": images}
    loaded = load_generator(styled(), fitted[0])
    found, clips, frames = gather(loaded, [batch, {**batch, "readable": torch.zeros(1)}])
    cars = found[26]
    assert (clips, frames) == (1, 2) and set(found) == {7, 26} and cars.things and not found[7].things
    assert sorted(cars.areas) == pytest.approx([2 / 2048, 8 / 2048, 16 / 2048])
    assert [len(cars.large(least)) for least in (0, 3 / 2048, 9 / 2048, 0.5)] == [3, 2, 1, 3]  # none so large: all
    assert cars.example is not None and cars.example.instance == 26002
    assert torch.equal(cars.example.frame["images"], images[0, 0])
    assert loaded.style is not None
    own = own_styles(loaded.style, loaded.encoder, batch).maps(torch.tensor([0]))[0, 0]
    assert np.allclose(cars.large(9 / 2048)[0], own[:, 17, 1], atol=1e-6)


def test_one_look_for_another_seed(fitted: tuple[Path, list[str]], tmp_path: Path) -> None:
    """The same seed gives the same file of vectors; the street stays the same, which seed= chooses for other runs."""
    folder, _ = fitted
    written = []
    for name, seed in (("a", 1), ("b", 2), ("c", 1)):
        arguments = Generate(
            str(folder), "street", str(tmp_path / f"{name}.gif"), frames=2, seed=seed, png=True,
            save_style=str(tmp_path / f"{name}.json"),
        )  # fmt: skip
        generate(arguments, SCHEMAS, lambda line: None)
        written.append((tmp_path / f"{name}.json").read_text())
    assert written[0] == written[2] != written[1]
    frames = [sorted((tmp_path / f"{name}_frames").iterdir()) for name in "abc"]
    same = [a.read_bytes() == c.read_bytes() for a, c in zip(frames[0], frames[2], strict=True)]
    assert same == [True, True] and frames[0][1].read_bytes() != frames[1][1].read_bytes()
    again = Generate(str(folder), "street", str(tmp_path / "d.gif"), frames=2, png=True,
                     style=f"file:{tmp_path / 'a.json'}")  # fmt: skip
    generate(again, SCHEMAS, lambda line: None)
    found = [path.read_bytes() for path in sorted((tmp_path / "d_frames").iterdir())]
    assert found == [path.read_bytes() for path in frames[0]]
    with pytest.raises(ConfigError, match="were told apart by ids"):
        again.style_tracks = StyleTracks.overlap
        generate(again, SCHEMAS, lambda line: None)


def test_every_place_is_checked_before_the_first_frame(fitted: tuple[Path, list[str]], tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "a_frames").mkdir()
    (tmp_path / "a_frames" / "notes.txt").write_text("mine")
    out = str(tmp_path / "a.gif")
    for words, told in (
        ({"save_style": str(tmp_path / "folder")}, "save_style=.*folder: is a folder; give the name of a file in it"),
        ({"save_style": out}, "save_style=.*: is out= too; give a name of its own"),
        ({"png": True}, "a_frames is in the way"),
    ):
        with pytest.raises(UserError, match=told):
            generate(Generate(str(fitted[0]), "street", out, frames=2, **words), SCHEMAS, lambda line: None)
    make_run(tmp_path / "folder", styled())
    for places in (f"{tmp_path}/folder/styles.json", f"{tmp_path}/folder/styles.png"):
        Path(places).mkdir()
        with pytest.raises(ConfigError, match=f"run={tmp_path}/folder: {places} is a folder"):
            run(Arguments(str(tmp_path / "folder")), SCHEMAS, lambda line: None)
        Path(places).rmdir()
    assert not (tmp_path / "a.gif").exists()


def test_what_is_missing_names_the_command(tmp_path: Path) -> None:
    make_run(tmp_path / "run", styled())
    with pytest.raises(DataError, match=r"does not exist: python scripts/fit_styles\.py run="):
        generate(Generate(str(tmp_path / "run"), "street", str(tmp_path / "a.gif")), SCHEMAS, lambda line: None)


def test_a_run_without_encoder_is_told(tmp_path: Path) -> None:
    make_run(tmp_path / "run", street_config())
    with pytest.raises(ConfigError, match=r"no feature encoder \(model\.style_channels=0\)"):
        run(Arguments(str(tmp_path / "run")), SCHEMAS, lambda line: None)
    with pytest.raises(ConfigError, match=r"style=mean: this run has no feature encoder"):
        arguments = Generate(str(tmp_path / "run"), "street", str(tmp_path / "a.gif"), style="mean")
        generate(arguments, SCHEMAS, lambda line: None)


def test_styles_of_another_run_with_the_same_classes_are_refused(
    fitted: tuple[Path, list[str]], tmp_path: Path
) -> None:
    other = styled()
    other.model.nef = 8  # another encoder
    make_run(tmp_path / "run", other)
    (tmp_path / "run" / "styles.json").write_bytes((fitted[0] / "styles.json").read_bytes())
    asked = Generate(str(tmp_path / "run"), "street", str(tmp_path / "a.gif"), frames=1)
    with pytest.raises(DataError, match=r"feature encoder of another run \(styles, step 7\)"):
        generate(asked, SCHEMAS, lambda line: None)
    known = json.loads((tmp_path / "run" / "styles.json").read_text())
    (tmp_path / "run" / "styles.json").write_text(json.dumps({**known, "encoder": None}))
    generate(asked, SCHEMAS, lambda line: None)
    assert (tmp_path / "a.gif").is_file()


def test_styles_of_other_classes_are_refused(fitted: tuple[Path, list[str]], tmp_path: Path) -> None:
    make_run(tmp_path / "run", styled((7, 8, 11, 21, 23, 24)))
    (tmp_path / "run" / "styles.json").write_bytes((fitted[0] / "styles.json").read_bytes())
    with pytest.raises(DataError, match="26 it does not know"):
        generate(Generate(str(tmp_path / "run"), "street", str(tmp_path / "a.gif")), SCHEMAS, lambda line: None)
