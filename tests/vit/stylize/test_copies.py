"""Stylised copies of data sets by the command itself: names, labels, tags, going on, and what cannot be used."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.made_stylizer import make_stylizer_run, noise_picture
from tests.helpers.scripts import run_script
from vit.config import DataKind, VitConfig
from vit.data import build_dataset, describe
from vit.stylize.copies import Styles, beside


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, three styles, and a data set of two classes in two splits."""
    folder = tmp_path_factory.mktemp("stylize")
    make_stylizer_run(folder / "run")
    for number in range(3):
        noise_picture(folder / "styles" / f"{number}.png", (16, 16), seed=10 + number)
    for number, name in enumerate(
        ("train/cat/a.png", "train/cat/b.bmp", "train/dog/c.jpg", "val/cat/d.png", "val/dog/e.png")
    ):
        noise_picture(folder / "data" / name, (15 + number, 21), seed=number)
    return folder


def stylise(made: Path, out: Path, *words: str, content: str | None = "data") -> int:
    given = [] if content is None else [f"content={made / content}"]
    return run_script("stylize", f"run={made / 'run'}", f"style={made / 'styles'}", f"out={out}", *given, *words)


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def table(path: Path) -> dict[str, str]:
    with path.open(newline="") as file:
        return {row["file"]: row["style"] for row in csv.DictReader(file)}


def test_copies_keep_names_sizes_and_labels_and_are_data(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "copies"
    assert stylise(made, out) == 0
    names = {path.relative_to(made / "data").as_posix() for path in (made / "data").rglob("*.*")}
    assert {path.relative_to(out).as_posix() for path in out.rglob("*.*")} == names
    for name in names:
        with Image.open(out / name) as copy, Image.open(made / "data" / name) as own:
            assert (copy.size, copy.format, copy.mode) == (own.size, own.format, "RGB")
            assert np.abs(np.asarray(copy, float) - np.asarray(own, float)).mean() > 2
    given = table(tmp_path / "copies-styles.csv")
    assert given.keys() == names and set(given.values()) <= {"0.png", "1.png", "2.png"}
    config = VitConfig(resolution=[16, 16])
    config.data.kind, config.data.root = DataKind.imagefolder, str(out)
    info = describe(config)
    assert info.classes == ["cat", "dog"] and info.train_samples == 3
    sample = build_dataset(config, "train", (16, 16)).sample(2, np.random.default_rng(0))
    assert sample["label"] == 1 and sample["image"].shape == (3, 16, 16)
    assert size_of(tmp_path / "copies-sheet.png")[0] > 300


def test_the_same_command_goes_on_where_it_was(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "copies"
    assert stylise(made, out) == 0
    kept, lost = out / "train/cat/a.png", out / "val/dog/e.png"
    before, expected = kept.stat().st_mtime_ns, lost.read_bytes()
    lost.unlink()
    capsys.readouterr()
    assert stylise(made, out) == 0
    assert "4 are done" in capsys.readouterr().out
    assert kept.stat().st_mtime_ns == before and lost.read_bytes() == expected
    assert stylise(made, out, "alpha=0.3") == 2
    assert "made with alpha=0.6, now 0.3: give another out=" in capsys.readouterr().err


def test_a_pictures_style_is_a_matter_of_its_name_alone() -> None:
    styles = Styles([f"{number}.png" for number in range(5)], [], 512)
    drawn = [styles.drawn(f"cat/{number}.png", 0) for number in range(500)]
    assert drawn[7] == styles.drawn("cat/7.png", 0)
    counts = np.bincount(drawn, minlength=5)
    assert counts.min() > 70 and counts.max() < 130
    assert drawn != [styles.drawn(f"cat/{number}.png", 1) for number in range(500)]


def test_tags_and_transparency_stay_and_pictures_are_upright(made: Path, tmp_path: Path) -> None:
    content = tmp_path / "content"
    with Image.open(noise_picture(content / "turned.png", (16, 24))) as image:
        source = image.copy()
    (content / "turned.png").unlink()
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a maker"  # turned by 90 degrees; who made the camera
    source.save(content / "turned.jpg", exif=exif, icc_profile=b"a profile")
    clear = source.convert("RGBA")
    alpha = np.zeros((16, 24), np.uint8)
    alpha[:, 12:] = 255
    clear.putalpha(Image.fromarray(alpha))
    clear.save(content / "clear.png")
    Image.fromarray(np.arange(384, dtype=np.uint16).reshape(16, 24) * 100).save(content / "deep.png")
    noise_picture(content / "grey.gif", (16, 24))
    assert stylise(made, tmp_path / "out", content=str(content)) == 0
    with Image.open(tmp_path / "out/turned.jpg") as copy:
        assert copy.size == (16, 24) and copy.getexif().get(0x010F) == "a maker" and 0x0112 not in copy.getexif()
        assert copy.info["icc_profile"] == b"a profile"
    with Image.open(tmp_path / "out/clear.png") as copy:
        assert np.array_equal(np.asarray(copy)[..., 3], alpha)
    with Image.open(tmp_path / "out/deep.png") as copy:
        assert copy.mode == "RGB" and copy.size == (24, 16)


def test_what_cannot_be_read_is_listed_and_the_others_are_drawn(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = tmp_path / "content"
    noise_picture(content / "cat/good.png")
    (content / "cat/bad.png").write_bytes(b"\x89PNG no more")
    assert stylise(made, tmp_path / "out", content=str(content)) == 0
    said = capsys.readouterr().out
    assert "cannot be used: cat/bad.png" in said and "on_bad_file" not in said
    with (tmp_path / "out-unreadable.csv").open(newline="") as file:
        assert [row["file"] for row in csv.DictReader(file)] == ["cat/bad.png"]
    assert [path.name for path in (tmp_path / "out").rglob("*.*")] == ["good.png"]


def test_pictures_that_are_drawn_get_folders_by_class(made: Path, tmp_path: Path) -> None:
    words = ["data=shapes", "data.shapes_samples=12", "data.shapes_val_samples=10", "resolution=24"]
    assert stylise(made, tmp_path / "out", *words, content=None) == 0
    config = VitConfig(resolution=[24, 24])
    config.data.kind, config.data.root = DataKind.imagefolder, str(tmp_path / "out")
    info = describe(config)
    shapes = VitConfig(resolution=[24, 24])
    assert sorted(info.classes) == sorted(describe(shapes).classes) and info.train_samples == 12
    assert len(build_dataset(config, "val", (24, 24))) == 10


def test_a_folders_name_may_have_a_point() -> None:
    assert beside(Path("sets/v1.2"), "styles.csv") == Path("sets/v1.2-styles.csv")
    assert beside(Path("film.mp4"), "sheet.png") == Path("film-sheet.png")


def test_tables_of_labels_come_along(made: Path, tmp_path: Path) -> None:
    content = tmp_path / "content"
    rows = [f"pictures/{number}.png,{'cat' if number % 2 else 'dog'}" for number in range(4)]
    for number in range(4):
        noise_picture(content / f"pictures/{number}.png", seed=number)
    (content / "labels.csv").write_text("\n".join(["path,label", *rows]))
    (content / ".hidden").mkdir()
    (content / ".hidden/notes.csv").write_text("mine")
    assert stylise(made, tmp_path / "out", content=str(content)) == 0
    assert not (tmp_path / "out/.hidden").exists()
    config = VitConfig(resolution=[16, 16])
    config.data.kind, config.data.root = DataKind.csv, str(tmp_path / "out/labels.csv")
    config.data.val_share = 0.5
    assert describe(config).classes == ["cat", "dog"]


def test_one_picture_and_the_size_of_the_copy(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = noise_picture(tmp_path / "wide.png", (20, 40))
    out = tmp_path / "drawn.webp"
    assert stylise(made, out, "size=10", "transform=adain", content=str(source)) == 0
    assert "the decoders are of another encoder, or not trained yet" in capsys.readouterr().out
    assert size_of(out) == (10, 5)


def test_a_film_becomes_one_of_the_same_length(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(4):
        noise_picture(tmp_path / "frames" / f"{number}.png", (17, 24), seed=number)
    first = tmp_path / "first.mp4"
    assert stylise(made, first, "fps=12", content=str(tmp_path / "frames")) == 0
    assert "flicker" in capsys.readouterr().out
    assert stylise(made, tmp_path / "second", "statistics=window", "window=3", content=str(first)) == 0
    frames = sorted((tmp_path / "second").glob("*.png"))
    assert len(frames) == 4 and size_of(frames[0]) == (24, 18)  # H.264 has even sides
    assert (tmp_path / "first-sheet.png").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["alpha=1.5"], "alpha=1.5: must lie between 0 and 1"),
        (["levels=[3]"], "there is no decoder of level 3; levels are [1,2]"),
        (["window=4"], "window=4: an odd number"),
        (["statistics=frame"], "statistics=frame is of a film: leave it out"),
        (["fps=12"], "fps=12.0 is of a film"),
        (["window=3", "out=a.mp4"], "window=3 is of statistics=window: give that too"),
        (["transform=adain", "regularise=0.1"], "regularise=0.1 is of transform=wct and ot"),
        (["encoder=a.pth"], "one of both"),
        (["data=shapes"], "leave it out, or leave content= out"),
        (["style=nowhere"], "style=nowhere: there is no such file or folder"),
        (["out=copies.png"], "out=copies.png names one picture, the content has many"),
        (["content=nowhere"], "content=nowhere: there is no such file or folder"),
    ],
)
def test_mistakes_end_with_a_remedy(
    made: Path, tmp_path: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stylise(made, tmp_path / "out", *words) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_places_that_hold_other_things_are_left_alone(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/letter.txt").write_text("dear")
    assert stylise(made, tmp_path / "taken") == 2
    assert "holds other things already" in capsys.readouterr().err
    assert stylise(made, made / "data/copies") == 2
    assert "lies in content=" in capsys.readouterr().err


def test_the_record_says_what_decided_the_copies(made: Path, tmp_path: Path) -> None:
    assert stylise(made, tmp_path / "out", "transform=ot") == 0
    told = json.loads((tmp_path / "out-stylize.json").read_text())
    assert (told["transform"], told["alpha"], told["levels"]) == ("ot", 0.6, "2,1")
    assert told["styles"].startswith("3 (")


def test_a_pattern_is_many_pictures(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "copies"
    assert stylise(made, out, content="data/train/*/*.png") == 0
    assert [path.relative_to(out).as_posix() for path in out.rglob("*.*")] == ["cat/a.png"]
    assert stylise(made, out, content="data/*/cat/*.*") == 2  # another content
    noise_picture(tmp_path / "in/a.png")
    for _ in range(2):  # copies are no content
        assert stylise(made, tmp_path / "in/copies", content=str(tmp_path / "in/**/*.png")) == 0
        assert [path.name for path in (tmp_path / "in/copies").rglob("*.*")] == ["a.png"]


def test_what_is_read_is_not_written_over(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = noise_picture(tmp_path / "own.png")
    before = own.read_bytes()
    assert stylise(made, own, content=str(own)) == 2
    assert f"out={own} is content={own} itself" in capsys.readouterr().err and own.read_bytes() == before
    (tmp_path / "names.txt").write_text(f"{own}\n")
    assert stylise(made, tmp_path / "copies", content=str(tmp_path / "names.txt")) == 2
    assert "copies are called as below a folder" in capsys.readouterr().err


def test_copies_of_tiffs_are_in_colour_whatever_these_are(made: Path, tmp_path: Path) -> None:
    """A TIFF's tags describe its pixels, and these are others in the copy; what tells of the picture is kept."""
    colour = Image.open(noise_picture(tmp_path / "noise.png"))
    grey = np.asarray(colour.convert("L"))
    of_mode = {
        "grey": colour.convert("L"),
        "deep": Image.fromarray(grey.astype(np.uint16) * 257),
        "float": Image.fromarray(grey.astype(np.float32) / 255),
        "ink": colour.convert("CMYK"),
        "palette": colour.quantize(16),
        "black": colour.convert("1"),
    }
    (tmp_path / "in").mkdir()
    for name, image in of_mode.items():
        image.save(tmp_path / "in" / f"{name}.tif", tiffinfo={315: "the artist"})
    assert stylise(made, tmp_path / "out", content=str(tmp_path / "in")) == 0
    for name in of_mode:
        with Image.open(tmp_path / "out" / f"{name}.tif") as copy:
            copy.load()
            assert (copy.mode, copy.size, copy.getexif()[315]) == ("RGB", colour.size, "the artist"), name
