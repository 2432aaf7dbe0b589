"""docs/play.py makes of an exported step, without torch, what generate.py makes of the run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.helpers.made_films import numbered
from tests.helpers.made_run import make_run, street_config
from tests.helpers.paths import ROOT
from train import SCHEMAS
from trainer.export import Format
from vid2vid.config import DataKind, FirstFrame, SourceKind, Vid2VidConfig
from vid2vid.export import command as export
from vid2vid.generate import command as generate

PLAYER = ROOT / "docs" / "play.py"
BOUND = 1  # of 255: where both lie beside the middle of two values
FRAMES = 12


def on_labels() -> Vid2VidConfig:
    config = street_config((16, 32))
    config.model.label_ids = [7, 11, 23, 26]
    return config


def on_edges() -> Vid2VidConfig:
    config = street_config((16, 32))
    config.data.kind = DataKind.video
    config.model.source, config.model.source_channels, config.model.instance_edges = SourceKind.image, 1, False
    config.model.first_frame = FirstFrame.zeros
    return config


def label_map(number: int) -> np.ndarray:
    ids = np.full((16, 32), 23, np.uint8)
    ids[8:] = 7
    ids[2:6, 20 - number : 28 - number] = 11
    ids[7:12, number : number + 8] = 26
    return ids


def played(model: Path, source: Path, out: Path) -> list[np.ndarray]:
    """In a process of its own, which has not imported torch in the end."""
    code = (
        f"import runpy, sys; sys.argv = {['play.py', str(model), str(source), str(out)]!r};"
        f"runpy.run_path({str(PLAYER)!r}, run_name='__main__');"
        "assert not {'torch', 'trainer', 'vid2vid'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=out.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return read(out)


def read(folder: Path) -> list[np.ndarray]:
    found = [cv2.imread(str(path)) for path in sorted(folder.glob("*.png"))]
    return [picture for picture in found if picture is not None]


@pytest.mark.parametrize("kind", ["labels", pytest.param("edges", marks=pytest.mark.slow)])
def test_the_player_makes_what_generate_makes(kind: str, tmp_path: Path) -> None:
    run, source = tmp_path / "run", tmp_path / "source"
    make_run(run, on_labels() if kind == "labels" else on_edges())
    source.mkdir()
    for number in range(FRAMES):
        if kind == "labels":  # as prepare.py writes them, numbered as cameras do, among what systems leave
            ids = Image.fromarray(label_map(number), "P")
            ids.putpalette([(37 * value) % 256 for value in range(768)])
            ids.save(source / f"frame {number}.png")
        else:
            cv2.imwrite(str(source / f"{number:03d}.png"), numbered(number * 9, 40, 80))  # to be reduced
    for name in (".DS_Store", "Thumbs.db"):
        (source / name).write_bytes(b"no picture")
    said: list[str] = []
    generate.run(generate.Arguments(str(run), str(source), str(tmp_path / "made")), SCHEMAS, said.append)
    exported = export.Arguments(str(run), str(tmp_path / "step.onnx"), format=Format.onnx)
    export.run(exported, SCHEMAS, said.append)
    assert any("largest difference from the model in a loop of 6 frames of 1x16x32" in line for line in said)
    expected, found = read(tmp_path / "made"), played(tmp_path / "step.onnx", source, tmp_path / "played")
    assert len(expected) == len(found) == FRAMES
    difference = np.abs(np.stack(found).astype(int) - np.stack(expected).astype(int))
    assert np.stack(expected).std() > 5 and np.abs(np.diff(np.stack(expected).astype(int), axis=0)).max() > 10
    assert difference.max() <= BOUND


def test_the_player_in_the_guide_is_the_file() -> None:
    text = (ROOT / "docs" / "deploying.md").read_text(encoding="utf-8")
    assert f"```python\n{PLAYER.read_text(encoding='utf-8')}```" in text


def test_the_player_refuses_what_it_cannot_feed(tmp_path: Path) -> None:
    (tmp_path / "both.onnx.json").write_text('{"condition": "labels and pictures"}')
    words = [sys.executable, str(PLAYER), str(tmp_path / "both.onnx"), str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "label maps and pictures together" in done.stderr and "Trace" not in done.stderr
