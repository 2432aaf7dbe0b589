"""Files that a table names lie below its folder or one that was given, unless a key allows others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.made_pictures import write_picture
from trainer.cli import compose
from trainer.errors import DataError
from trainer.untrusted.places import check_below, outside
from vit.config import VitConfig
from vit.data import build_dataset
from vit.data.sources.unlabelled import list_pictures


@pytest.mark.parametrize(
    ("path", "below"),
    [
        ("/data/a.png", True),
        ("/data/x/../a.png", True),
        ("/data/../data/a.png", True),
        ("/data/../etc/passwd", False),
        ("/data2/a.png", False),
        ("/data", False),
        ("/etc/passwd", False),
    ],
)
def test_below(path: str, below: bool) -> None:
    expected = [] if below else [path]
    assert outside([path], ["/data"]) == expected
    assert outside([path], ["/data/"]) == expected and outside([path], ["/elsewhere", "/data"]) == expected


@pytest.mark.parametrize(
    ("address", "below"),
    [
        ("s3://b/set/a.png", True),
        ("s3://b/set/x/../a.png", True),
        ("s3://b/set/../other/a.png", False),
        ("s3://b/set2/a.png", False),
        ("gs://b/set/a.png", False),
        ("file:///etc/passwd", False),
    ],
)
def test_an_address_is_no_path_below_the_working_folder(
    address: str, below: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert outside([address], [tmp_path, "."]) == [address]
    assert outside([address], ["s3://b/set"]) == outside([address], [tmp_path, "s3://b/set/"])
    assert outside([address], ["s3://b/set"]) == ([] if below else [address])
    assert outside([tmp_path / "s3:" / "b" / "set" / "a.png"], ["s3://b/set"]) != []


def test_the_error_names_files_and_key() -> None:
    with pytest.raises(DataError, match=r"names 2 files outside of /data: /a.png, /b.png.*trust\.paths_outside=true"):
        check_below(["/a.png", "/data/c.png", "/b.png"], ["/data"], False, "t.csv")
    check_below(["/a.png"], ["/data"], True, "t.csv")


def table(tmp_path: Path) -> Path:
    """A table beside one picture, and a folder of others elsewhere, to which links lead."""
    inside, outside = tmp_path / "set", tmp_path / "private"
    inside.mkdir()
    outside.mkdir()
    for folder, name in ((inside, "a"), *((outside, name) for name in "bcde")):
        write_picture(folder / f"{name}.png")
    (inside / "link.png").symlink_to(outside / "b.png")
    (inside / "linked").symlink_to(outside)
    return inside / "train.csv"


def opened(path: Path, *words: str) -> int:
    config: VitConfig = compose(["model=vit_mu", "data=csv", f"data.root={path}", *words], {"vit": VitConfig})
    return len(build_dataset(config, "train", (8, 8)))


def test_a_table_names_files_below_its_folder(tmp_path: Path) -> None:
    folder = table(tmp_path).parent
    own = ["a.png,x", "link.png,y", "linked/c.png,x", f"{folder}/a.png,y"]
    cases = [own, [*own, "../private/b.png,y"], [*own, f"{tmp_path}/private/b.png,y"]]
    for number, rows in enumerate(cases):
        path = folder / f"{number}.csv"  # scans are kept by place
        path.write_text("\n".join(["path,label", *rows]))
        words = ["data.val_share=0.5"]
        if number:
            with pytest.raises(
                DataError, match=r"names 1 files outside of .*/set.*: .*b\.png.*trust\.paths_outside=true"
            ):
                opened(path, *words)
            words.append("trust.paths_outside=true")
        assert opened(path, *words) >= 2
    path = folder / "elsewhere.csv"
    path.write_text("path,label\nb.png,x\nc.png,y\nd.png,x\ne.png,y\n")
    assert (
        opened(path, "data.val_share=0.5", f"data.csv_folder={tmp_path}/private") == 2
    )  # a folder that the user named


def test_a_table_to_be_predicted(tmp_path: Path) -> None:
    """There is no run whose key would allow it: the folder that the files lie in does."""
    path = table(tmp_path).parent / "test.csv"
    path.write_text(f"path\na.png\n{tmp_path}/private/b.png\n")
    with pytest.raises(
        DataError, match=r"names 1 files outside of .*/set.*private/b\.png.*put it into a folder above them"
    ):
        list_pictures(path)
    path.write_text(f"path\n{tmp_path}/set/a.png\n{tmp_path}/private/b.png\n")
    assert len(list_pictures(path, folder=str(tmp_path)).files) == 2
    assert len(list_pictures(path.rename(tmp_path / "test.csv")).files) == 2
