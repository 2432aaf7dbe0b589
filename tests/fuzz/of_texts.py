"""Readers of text: landmarks, tables, shards' labels, edits, styles, configurations, words of the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from tests.fuzz.reader import Reader


def _texts(*contents: str) -> Callable[[Path], list[bytes]]:
    return lambda folder: [content.encode() for content in contents]


def _openpose(folder: Path) -> list[bytes]:
    points = [float(n % 90) for n in range(25 * 3)]
    face = [float(n % 70) for n in range(70 * 3)]
    openpose = {"version": 1.3, "people": [{"pose_keypoints_2d": points, "face_keypoints_2d": face}]}
    coco = [{"image_id": "1.jpg", "keypoints": points[:51], "score": 0.9, "bbox": [1, 2, 3, 4]}]
    return [json.dumps(content).encode() for content in (openpose, coco, [[1.5, 2.5]] * 68)]


def _face_lines(folder: Path) -> list[bytes]:
    return [
        "\n".join(f"{n * 1.5} {n % 40}" for n in range(68)).encode(),
        "\n".join(f"{n},{n}" for n in range(68)).encode(),
    ]


def _people(path: Path) -> None:
    from vid2vid.data.landmarks.read import read_people

    read_people(path.read_bytes(), path)


def _table(folder: Path) -> list[bytes]:
    from tests.helpers.made_pictures import write_picture

    for number in range(4):
        write_picture(folder / "pictures" / f"{number}.png", (number, 0, 0))
    texts = [
        "path,label\n" + "".join(f"pictures/{n}.png,{'cat' if n % 2 else 'dog'}\n" for n in range(4)),
        "path;label\n" + "".join(f"pictures/{n}.png;{n % 2}\n" for n in range(4)),
        "path\tlabel\n" + "".join(f'"pictures/{n}.png"\t[{n % 2}]\n' for n in range(4)),
        "sep=;\npath;label\npictures/0.png;a b\npictures/1.png;b\npictures/2.png;b\npictures/3.png;b\n",
        "path,label,split\npictures/0.png,0,train\npictures/1.png,1,val\n",
    ]
    return [text.encode(encoding) for text in texts for encoding in ("utf-8", "utf-8-sig", "utf-16", "latin-1")]


def _pictures_of(kind: str) -> Callable[[Path], None]:
    def read(path: Path) -> None:
        import numpy as np

        from tests.helpers.made_pictures import folder_config
        from vit.config import DataKind
        from vit.data import build_dataset
        from vit.data.sources.files import forget_scans

        forget_scans()
        config = folder_config(path, DataKind[kind])
        config.data.val_share, config.data.cache_dir = 0.5, str(path.parent / "cache")
        dataset = build_dataset(config, "train", (16, 16))
        dataset.sample(0, np.random.default_rng(0))

    return read


def _shard(folder: Path) -> list[bytes]:
    from tests.helpers.made_shards import picture, write_shard

    members = {
        f"{n:03}.{kind}": data for n in range(3) for kind, data in (("png", picture(n)), ("cls", b"%d" % (n % 2)))
    }
    other = {f"{n}.jpg": picture(n) for n in range(2)} | {
        f"{n}.json": json.dumps({"label": n}).encode() for n in range(2)
    }
    return [write_shard(folder / "made.tar", part).read_bytes() for part in (members, other)]


@cache
def _pose_model() -> Any:
    from vid2vid.config import Vid2VidConfig

    return Vid2VidConfig().model


def _edits(path: Path) -> None:
    from vid2vid.generate.edit.file import read_edits

    read_edits(path, _pose_model())


_EDITS = (
    "edits:\n- {class: 11, replace: 8, frames: [0, 20]}\n- {class: [26, 24], remove: true, box: [10%, 2%, 50%, 60%]}\n",
    "edits:\n- insert: {source: clips, clip: 0, class: 26, at: [10px, 20px], scale: 0.5, order: front}\n"
    "  frames: [3, null]\n"
    "- {class: 7, instance: 26001, replace: 8, box: [1, 2, 30, 40]}\n",
)
_TABLES = (
    '[{"name": "road", "id": 7, "color": [128, 64, 128]}, {"name": "car", "id": 26, "color": "#00008e"}]',
    "7,128,64,128,road\n26,0,0,142,car\n",
    "road 128 64 128\ncar 0 0 142\n",
    '{"road": [128, 64, 128], "car": [0, 0, 142]}',
)


def _colours(path: Path) -> None:
    from trainer.data.labels.colour_tables import colour_table

    colour_table(str(path))


def _label_map(path: Path) -> None:
    from trainer.data.labels.label_map import parse_label_map

    parse_label_map(str(path))


def _styles(path: Path) -> None:
    from vid2vid.styles.mixtures import read_styles

    read_styles(path)


def _vectors(path: Path) -> None:
    from vid2vid.styles.vector_files import read_vectors

    read_vectors(path, [1, 26], 3, None)


def _mixtures(folder: Path) -> list[bytes]:
    from vid2vid.styles.mixtures import ClassStyles, Component, Styles

    eye = [[1.0 if row == column else 0.0 for column in range(3)] for row in range(3)]
    parts = [Component(0.5, 4, [0.1, 0.2, 0.3], eye), Component(0.5, 5, [0.0, 0.0, 0.0], eye)]
    car = ClassStyles(26, "car", True, 9, [0.0, 0.1, 0.2], parts, {"1": 3.0, "2": 2.0})
    Styles(3, {26: car}, {"run": "runs/x", "step": 7}).write(folder / "made.json")
    return [(folder / "made.json").read_bytes()]


def _sheet(folder: Path) -> list[bytes]:
    from dataclasses import asdict

    from vid2vid.preference.sheet import Key, Trial

    trials = (Trial("t1", "clip", "a", "b"), Trial("t2", "clip", "b", "a"))
    return [json.dumps(asdict(Key("sheet", "x", "y", 3, trials))).encode()]


def _votes(path: Path) -> None:
    from vid2vid.preference.votes import read_votes

    read_votes(path)


def _key(path: Path) -> None:
    from vid2vid.preference.sheet import read_key

    read_key(path)


def _class_map(path: Path) -> None:
    from vit.config import VitConfig
    from vit.data.class_map import class_map

    config = VitConfig()
    config.data.class_map = str(path)
    class_map(config, ["cat", "dog"], ["tabby", "beagle", "husky"])


def _clips(path: Path) -> None:
    from vit.data.clips.lists import read_list

    read_list(path, path.parent, ["a/v_1.mp4", "b/v_2.mp4"])


def _run(folder: Path) -> list[bytes]:
    import yaml

    from trainer.config.resolve import plain

    return [yaml.safe_dump(plain(_config(name))).encode() for name in ("vit_mu", "vid2vid_tiny")]


@cache
def _config(model: str) -> Any:
    from train import SCHEMAS
    from trainer.cli import compose

    return compose([f"model={model}"], SCHEMAS)


def _load_run(path: Path) -> None:
    from train import SCHEMAS, TASKS
    from trainer.cli import load_run

    config = load_run(path.parent, SCHEMAS)
    TASKS[config.task].problems(config)


def _words(path: Path) -> None:
    """Overrides, a line each, on a configuration that is there; with the checks across keys."""
    from train import SCHEMAS, TASKS
    from trainer.cli import CONFIGS
    from trainer.config.overrides import apply_overrides
    from trainer.errors import UserError, refuse

    words = [word for word in path.read_bytes().decode("utf-8", "replace").split("\n")[:6] if word]
    problems = []
    for model in ("vit_mu", "vid2vid_tiny"):
        try:
            config = apply_overrides(_config(model), words, CONFIGS, SCHEMAS)
            refuse(TASKS[config.task].problems(config))
        except UserError as error:
            problems.append(error)
    if len(problems) == 2:
        raise problems[0]


_WORDS = (
    "optim.main.lr=1e-3\ntrainer.max_steps=10",
    "optim.g.lr=1e-3\ntrainer.max_samples=10\nresolution=[64,64]",
    "curriculum.stages.all.batch_size=8\nschedule.warmup=0.1",
    "model.mean=[0.5,0.5,0.5]\nseed=3\ndata=shapes",
    "data=folders\ndata.label_map={1:2}\ntrainer.eval_every=5%\ntrainer.budget=2h",
)

READERS = [
    Reader("landmarks, JSON", "people.json", _openpose, _people),
    Reader("landmarks, lines", "people.txt", _face_lines, _people),
    Reader("table, .csv", "labels.csv", _table, _pictures_of("csv")),
    Reader("shard, .tar", "train-000.tar", _shard, _pictures_of("webdataset")),
    Reader("list of edits", "edits.yaml", _texts(*_EDITS), _edits),
    Reader("table of colours", "colours.json", _texts(*_TABLES), _colours),
    Reader("label map", "map.json", _texts('{"1": 2, "7": 0}', "1,2\n7,0\n", "1: 2\n7: 0\n"), _label_map),
    Reader("styles of classes", "styles.json", _mixtures, _styles),
    Reader(
        "style of a video",
        "style.json",
        _texts('{"classes": {"26": [0.1, 0.2, 0.3]}, "tracks": [{"class": 26, "track": 4, "vector": [0, 1, 2]}]}'),
        _vectors,
    ),
    Reader(
        "votes",
        "votes.json",
        _texts(
            '{"sheet": "a", "voter": "b", "votes": [{"trial": "t", "choice": "left"}]}',
            "sheet,voter,trial,choice\na,b,t,left\n",
        ),
        _votes,
    ),
    Reader("key of a sheet", "key.json", _sheet, _key),
    Reader("class map", "map.json", _texts('{"tabby": "cat", "beagle": "dog"}', "[[0], [1, 2]]"), _class_map),
    Reader(
        "list of clips", "list.csv", _texts("a/v_1.mp4 0\nb/v_2.mp4 1\n", "youtube_id,label\nv_1,x\nv_2,y\n"), _clips
    ),
    Reader("config.yaml of a run", "config.yaml", _run, _load_run),
    Reader("words of the command line", "words.txt", _texts(*_WORDS), _words),
]
