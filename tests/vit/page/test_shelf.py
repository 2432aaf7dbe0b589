"""Networks that the page loads: runs, uploaded weights and segmentations; kept, loaded anew, and refused in words."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers.made_classifier import make_run, mu_config
from tests.helpers.made_masks import train_small
from tests.helpers.made_pictures import write_noise
from tests.helpers.scripts import run_script
from trainer.errors import CheckpointError, DataError
from vit.page.classifier import Classifier, cells
from vit.page.segmented import Segmentation
from vit.page.shelf import Kind, Shelf, Source, weights_in


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    make_run(folder / "made", mu_config())
    return folder


def exported(runs: Path, name: str) -> Path:
    out = runs / name
    assert run_script("convert", f"src={runs / 'made'}", f"dst={out}", f"format={out.suffix[1:]}") == 0
    return out


# npz is Google's format, which takes another form of GELU for granted
@pytest.mark.parametrize(("form", "near"), [("safetensors", 1e-6), ("npz", 1e-3)])
def test_weights_answer_as_their_run(form: str, near: float, runs: Path, tmp_path: Path) -> None:
    path = exported(runs, f"alone.{form}")
    assert path in weights_in(runs)
    shelf = Shelf()
    run = shelf.get(Source(Kind.run, runs / "made", "made"))
    alone = shelf.get(Source(Kind.weights, path, path.name))
    assert isinstance(run, Classifier) and isinstance(alone, Classifier)
    file = write_noise(tmp_path / "a.png")
    found = [network.best(network.probabilities(network.read(file, "a.png")), 5) for network in (run, alone)]
    assert [name for name, _ in found[0]] == [name for name, _ in found[1]]
    assert [share for _, share in found[0]] == pytest.approx([share for _, share in found[1]], abs=near)


def test_a_network_is_loaded_once_until_its_run_trains_on(tmp_path: Path) -> None:
    make_run(tmp_path / "run", mu_config())
    shelf, source = Shelf(), Source(Kind.run, tmp_path / "run", "run")
    first = shelf.get(source)
    assert shelf.get(source) is first
    steps = tmp_path / "run" / "checkpoints"
    shutil.copytree(steps / "step-00000007", steps / "step-00000009")
    (steps / "latest").write_text("step-00000009")
    assert shelf.get(source) is not first


def test_the_least_used_is_put_away(runs: Path, tmp_path: Path) -> None:
    shelf = Shelf(kept=2)
    sources = [Source(Kind.run, runs / "made", name) for name in "abc"]
    a, b = shelf.get(sources[0]), shelf.get(sources[1])
    assert shelf.get(sources[0]) is a
    shelf.get(sources[2])
    assert shelf.get(sources[0]) is a and shelf.get(sources[1]) is not b


def test_pickles_and_what_is_no_weights_are_refused_without_their_place(tmp_path: Path) -> None:
    hidden = tmp_path / "private"
    hidden.mkdir()
    torch.save({"a.weight": torch.zeros(2)}, hidden / "pickled.npz")
    (hidden / "torn.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{broken}")
    for name, words in (("pickled.npz", "pickle"), ("torn.safetensors", "torn.safetensors")):
        with pytest.raises(CheckpointError, match=words) as caught:
            Shelf().get(Source(Kind.weights, hidden / name, name))
        assert "private" not in str(caught.value)
    with pytest.raises(CheckpointError, match="upload it again"):
        Shelf().get(Source(Kind.weights, hidden / "gone.npz", "gone.npz"))


def test_an_exported_video_model_is_no_classifier(tmp_path: Path) -> None:
    for name, facts in (("street", {"vivid": {"task": "vid2vid"}}), ("theirs", {"architecture": "vit"}), ("odd", [1])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(facts))
        (tmp_path / name / "model.safetensors").write_bytes(b"")
    assert [found.name for found in weights_in(tmp_path)] == ["odd", "theirs"]


def test_links_that_lead_out_are_no_weights_of_the_folder(runs: Path, tmp_path: Path) -> None:
    path = exported(runs, "alone.safetensors")
    other = tmp_path / "runs"
    other.mkdir()
    (other / "linked.safetensors").symlink_to(path)
    shutil.copy(path, other / "own.safetensors")
    assert [found.name for found in weights_in(other)] == ["own.safetensors"]


def test_a_segmentation_is_what_predict_writes(tmp_path: Path) -> None:
    train_small(tmp_path / "street")
    file = write_noise(tmp_path / "a.png", size=(24, 40))
    network = Shelf().get(Source(Kind.segmentation, tmp_path / "street", "street"))
    assert isinstance(network, Segmentation)
    seen = network.read(file, "a.png")
    assert run_script("predict", f"run={tmp_path / 'street'}", f"source={file}", f"out={tmp_path / 'out'}") == 0
    mask = np.asarray(Image.open(tmp_path / "out" / "masks" / "a.png"))
    assert np.array_equal(seen.found.numpy(), mask)
    overlay = np.asarray(Image.open(tmp_path / "out" / "overlays" / "a.png"))
    assert np.array_equal(network.overlaid(seen).numpy(), overlay)
    shares = network.shares(seen)
    assert sum(share for _, _, share in shares) == pytest.approx(1)
    name, _, share = shares[0]
    assert share == pytest.approx((mask == network.loaded.classes.names.index(name)).mean())
    (tmp_path / "b.png").write_bytes(b"none")
    with pytest.raises(DataError, match=r"^b\.png"):
        network.read(tmp_path / "b.png", "b.png")


def test_clips_lose_a_patch_in_every_frame(tmp_path: Path) -> None:
    make_run(tmp_path / "clips", mu_config("data=moving_shapes", "model.frames=4", "model.patch=8"))
    folder = tmp_path / "film"
    folder.mkdir()
    for number in range(12):
        write_noise(folder / f"{number:03}.png", number)
    network = Shelf().get(Source(Kind.run, tmp_path / "clips", "clips"))
    assert isinstance(network, Classifier) and network.clips and "clips of 4 frames" in network.no_maps
    sample = network.read(folder, "film")
    frames = sample.pixels.reshape(-1, 3, 16, 16)
    assert len(frames) >= 4 and torch.equal(sample.picture, sample.pixels.reshape(-1, 4, 3, 16, 16)[0, 2])
    from vit.analysis.occlusion.dropping import Fill

    hidden = cells([0], (2, 2))
    lost = network.without(sample, hidden, Fill.zero).reshape(-1, 3, 16, 16)
    assert not lost[:, :, :8, :8].any() and torch.equal(lost[:, :, 8:], frames[:, :, 8:])
    assert not np.allclose(network.probabilities(sample, hidden, Fill.zero), network.probabilities(sample))
