"""A pickle that would touch a file, in every place that takes a file: it touches nothing, and the error is readable."""

from __future__ import annotations

import io
import json
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trainer.checkpoint import contents, tensors, trained, weights
from trainer.config.resolve import load_yaml
from trainer.data.labels.colour_tables import colour_table
from trainer.data.labels.label_map import parse_label_map
from trainer.data.pictures.decode import decode
from trainer.data.video.decode import OpenVideo
from trainer.errors import UserError
from trainer.nonfinite.dump import load_dump
from trainer.records import compare
from vid2vid.config import Vid2VidConfig
from vid2vid.data.landmarks.read import read_people
from vid2vid.evaluate.video_features import load_video_network
from vid2vid.flow import estimate
from vid2vid.generate.edit.file import read_edits
from vid2vid.losses.perceptual import build_perceptual
from vid2vid.preference.votes import read_votes
from vid2vid.prepare import networks
from vid2vid.segmenter.file import load_segmenter
from vid2vid.styles.mixtures import read_styles
from vid2vid.styles.vector_files import read_vectors
from vid2vid.weights.originals import read_originals
from vit.analysis.adversarial.patch_files import read_patch
from vit.data.clips.lists import read_list
from vit.data.sources.shard_index import scan_shard
from vit.data.sources.text import read_rows, read_text
from vit.weights.files import open_content

CPU = torch.device("cpu")


class Evil:
    """Touches a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def plain(path: Path, evil: Evil) -> None:
    path.write_bytes(pickle.dumps({"model": evil}))


def oldest(path: Path, evil: Evil) -> None:
    path.write_bytes(pickle.dumps({"model": evil}, protocol=0))


def torch_zip(path: Path, evil: Evil) -> None:
    torch.save({"model": {"weight": torch.zeros(2), "other": evil}}, path)


def torch_stream(path: Path, evil: Evil) -> None:
    torch.save({"model": evil}, path, _use_new_zipfile_serialization=False)


def npz(path: Path, evil: Evil) -> None:
    with path.open("wb") as file:
        np.savez(file, flow=np.array([evil], object), about=np.array(evil, object))


def npy(path: Path, evil: Evil) -> None:
    with path.open("wb") as file:
        np.save(file, np.array([evil], object), allow_pickle=True)


def zipped(path: Path, evil: Evil) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(evil))
        archive.writestr("weights.npy", b"\x93NUMPY" + pickle.dumps(evil))


def tar(path: Path, evil: Evil) -> None:
    content = pickle.dumps(evil)
    with tarfile.open(path, "w") as archive:
        for name in ("a.cls", "a.png", "pickle", "storages"):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def safetensors(path: Path, evil: Evil) -> None:
    content = pickle.dumps(evil)
    head = json.dumps({"__metadata__": {"vivid": content.hex()}, "a": {"dtype": "F32", "shape": [1]}}).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head + content)


FORMS = [plain, oldest, torch_zip, torch_stream, npz, npy, zipped, tar, safetensors]


def within(name: str) -> Callable[[Path], Path]:
    """The file once more under the name that a folder of its kind has."""

    def moved(path: Path) -> Path:
        folder = path.parent / "folder"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(path.read_bytes())
        return folder

    return moved


def state_of(path: Path) -> None:
    folder = within(".metadata")(path)
    (folder / tensors.TREE).write_text('{"a": {"$tensor": "a"}}')
    tensors.load_state(folder)


def weights_in_a_checkpoint(path: Path) -> None:
    folder = within(contents.WEIGHTS)(path)
    size = (folder / contents.WEIGHTS).stat().st_size
    (folder / contents.META).write_text(json.dumps({"step": 1, "files": {contents.WEIGHTS: size}}))
    trained.load_weights(folder)


def opened_film(path: Path) -> None:
    with OpenVideo(path) as video:
        list(video.pictures())


PLACES: dict[str, Callable[[Path], Any]] = {
    "weights= (pth)": weights.read_pth,
    "weights= (safetensors)": weights.read_safetensors,
    "checkpoint=": trained.load_weights,
    "a checkpoint's weights": weights_in_a_checkpoint,
    "a checkpoint's state": state_of,
    "a checkpoint's meta.json": lambda path: contents.read_meta(within(contents.META)(path)),
    "model.weights=": open_content,
    "a folder of weights": lambda path: open_content(within("pytorch_model.bin")(path)),
    "trainer.replay=": lambda path: load_dump(within("rank0.pt")(path), 0, CPU),
    "run= (config.yaml)": lambda path: load_yaml(within("config.yaml")(path) / "config.yaml"),
    "compare RUN": lambda path: compare.find_runs([within("config.yaml")(path)], print),
    "a picture": lambda path: decode(path.read_bytes(), path),
    "a film": opened_film,
    "a table": lambda path: read_rows(read_text(path)[0], path, ",") and bad(f"{path}: has no column of files"),
    "a shard": lambda path: scan_shard(str(path)),
    "data.clip_list=": lambda path: read_list(path, path.parent, []).files or bad(f"{path}: names nothing"),
    "data.label_map=": lambda path: parse_label_map(str(path)),
    "data.label_format=colors:": lambda path: colour_table(str(path)),
    "landmarks": lambda path: read_people(path.read_bytes(), path),
    "flow .npz": lambda path: estimate.read_flow(path.rename(path.with_suffix(".npz"))),
    "flow .flo": lambda path: estimate.read_flow(path.rename(path.with_suffix(".flo"))),
    "flow .png": lambda path: estimate.read_flow(path.rename(path.with_suffix(".png"))),
    "data.flow_weights=": lambda path: estimate._raft(str(path), "cpu"),
    "loss.perceptual weights": lambda path: build_perceptual(str(path)),
    "video_features=r2plus1d_18:": lambda path: load_video_network(f"r2plus1d_18:{path}", CPU),
    "video_features=torchscript:": lambda path: load_video_network(f"torchscript:{path}", CPU),
    "segmenter=": lambda path: load_segmenter(path, CPU),
    "prepare.py model=": lambda path: networks.load_segmenter(str(path), CPU),
    "style=file:": lambda path: read_vectors(path, [1], 3, None),
    "styles.json": read_styles,
    "edit=": lambda path: read_edits(path, Vid2VidConfig().model),
    "votes=": read_votes,
    "patch= (.npy)": lambda path: read_patch(path.rename(path.with_suffix(".npy")), "patch", 3),
    "patch= (.png)": lambda path: read_patch(path.rename(path.with_suffix(".png")), "patch", 3),
    "convert.py src= of the released code": lambda path: read_originals(within("latest_net_G0.pth")(path)),
}


def bad(reason: str) -> None:
    raise UserError(reason)


COMMON = (torch_zip, npz)  # what people have most; the others take longer than they tell
SOME = [pytest.param(form, id=form.__name__, marks=() if form in COMMON else pytest.mark.slow) for form in FORMS]


@pytest.mark.parametrize("form", SOME)
@pytest.mark.parametrize("place", PLACES)
def test_nothing_is_unpickled(place: str, form: Callable[[Path, Evil], None], tmp_path: Path) -> None:
    mark, path = tmp_path / "touched", tmp_path / "file.bin"
    form(path, Evil(mark))
    with pytest.raises(UserError) as caught:
        PLACES[place](path)
    assert not mark.exists()
    said = str(caught.value)
    assert 10 < len(said) < 1500 and "Traceback" not in said and "weights_only=False" not in said
    assert str(tmp_path) in said or place in ("a film",)


def test_the_pickle_is_a_real_one(tmp_path: Path) -> None:
    plain(tmp_path / "a", Evil(tmp_path / "touched"))
    pickle.loads((tmp_path / "a").read_bytes())
    assert (tmp_path / "touched").is_dir()
