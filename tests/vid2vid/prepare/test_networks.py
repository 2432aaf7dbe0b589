"""Networks of transformers and torchvision, tiny and with random weights: what prepare.py makes of their answers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from tests.helpers.made_films import numbered, write_film
from tests.helpers.scripts import run_script
from trainer.data.labels.colour_tables import colour_table
from trainer.errors import CheckpointError
from vid2vid.config import DataConfig
from vid2vid.data.labels.label_range import LabelRange
from vid2vid.data.labels.recognise import label_reading
from vid2vid.prepare.networks import load_segmenter

FRAMES = 3
NAMES = ("road", "sky", "car", "tree", "person")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frames = [numbered(index) for index in range(FRAMES)]
    return write_film(tmp_path_factory.mktemp("film") / "walk.mkv", "ffv1", frames, fps=10, pix_fmt="bgr0")


def _run(what: str, film: Path, out: Path, model: Path) -> int:
    settings = ("data.video_cache=null", "data.cut_threshold=null")
    return run_script("prepare", what, f"source={film}", f"out={out}", f"model={model}", *settings)


@pytest.fixture(scope="module")
def segformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessor

    torch.manual_seed(0)
    two = {"depths": [1, 1], "sr_ratios": [2, 1], "hidden_sizes": [8, 8], "num_attention_heads": [1, 1]}
    config = SegformerConfig(
        num_encoder_blocks=2, patch_sizes=[7, 3], strides=[4, 2], mlp_ratios=[1, 1], decoder_hidden_size=8,
        id2label=dict(enumerate(NAMES)), **two,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("models") / "segformer"
    SegformerForSemanticSegmentation(config).save_pretrained(folder)
    SegformerImageProcessor(size={"height": 32, "width": 64}).save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_labels_of_transformers(
    film: Path, segformer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import SegformerForSemanticSegmentation

    out = tmp_path / "out"
    assert _run("labels", film, out, segformer) == 0
    assert "5 classes, their names and colours in" in capsys.readouterr().out
    network = SegformerForSemanticSegmentation.from_pretrained(segformer).eval()
    files = sorted((out / "labels" / "walk").iterdir())
    assert len(files) == FRAMES
    reading = label_reading(DataConfig(), files, LabelRange(5, None, 255), [out])
    seen = set()
    for path in files:
        # By hand: pictures of 32x64 in ImageNet's normalisation, scores enlarged, the best class.
        with Image.open(out / "images" / "walk" / path.name) as image:
            small = torch.from_numpy(np.array(image.resize((64, 32), Image.Resampling.BILINEAR))).permute(2, 0, 1)
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        pixels = (small / 255 - mean[:, None, None]) / std[:, None, None]
        with torch.no_grad():
            scores = F.interpolate(network(pixel_values=pixels[None]).logits, (48, 64), mode="bilinear")
        labels, _ = reading.decode(path.read_bytes(), path)
        assert (labels == scores[0].argmax(0)).float().mean() > 0.97  # resizing rounds otherwise here and there
        seen |= set(labels.unique().tolist())
    assert len(seen) > 1
    table = colour_table(str(out / "classes.json"))
    assert dict(table.names) == dict(enumerate(NAMES)) and len(table.ids) == 5
    with Image.open(files[0]) as image:
        assert image.mode == "P"
        colours = np.asarray(image.convert("RGB"))
    by_colour = np.vectorize(lambda r, g, b: table.ids[r, g, b])(*np.moveaxis(colours.astype(int), -1, 0))
    assert np.array_equal(by_colour, reading.decode(files[0].read_bytes(), files[0])[0].numpy())


@pytest.mark.slow
def test_depth_of_transformers(film: Path, tmp_path: Path) -> None:
    from transformers import GLPNConfig, GLPNForDepthEstimation, GLPNImageProcessor

    torch.manual_seed(1)
    ones = {"depths": [1] * 4, "hidden_sizes": [8] * 4, "num_attention_heads": [1] * 4, "mlp_ratios": [1] * 4}
    folder, out = tmp_path / "glpn", tmp_path / "out"
    GLPNForDepthEstimation(GLPNConfig(decoder_hidden_size=8, **ones)).save_pretrained(folder)
    GLPNImageProcessor(size_divisor=32).save_pretrained(folder)
    assert _run("depth", film, out, folder) == 0
    scale = json.loads((out / "depth" / "range.json").read_text())
    network = GLPNForDepthEstimation.from_pretrained(folder).eval()
    with Image.open(out / "images" / "walk" / "000001.png") as image:
        small = torch.from_numpy(np.array(image.resize((64, 32), Image.Resampling.BILINEAR))).permute(2, 0, 1)
    with torch.no_grad():
        depth = network(pixel_values=small[None] / 255).predicted_depth
    with Image.open(out / "depth" / "walk" / "000001.png") as image:
        stored = np.asarray(image)
    assert stored.dtype == np.uint16 and stored.shape == (48, 64)
    found = scale["black"] + stored / 65535 * (scale["white"] - scale["black"])
    expected = F.interpolate(depth[None], (48, 64), mode="bicubic")[0, 0].numpy()
    assert np.abs(found - expected).mean() < 0.02 * (scale["white"] - scale["black"])
    before = (out / "depth" / "range.json").stat().st_mtime_ns
    (out / "depth" / "walk" / "000002.png").unlink()
    assert _run("depth", film, out, folder) == 0  # goes on with the same range
    assert (out / "depth" / "range.json").stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_model_of_another_kind(segformer: Path, film: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert _run("depth", film, tmp_path / "out", segformer) == 2
    assert f"model={segformer}: cannot be read as a transformers model that gives depth" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert _run("labels", film, tmp_path / "out", tmp_path / "empty") == 2
    assert "Give the weights of torchvision's DeepLabV3" in capsys.readouterr().err


@pytest.mark.slow
def test_deeplab_is_told_by_its_weights(tmp_path: Path) -> None:
    from torchvision.models.segmentation import deeplabv3_mobilenet_v3_large

    torch.manual_seed(0)
    network = deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=21, aux_loss=True).eval()
    path = tmp_path / "deeplab.pth"
    torch.save(network.state_dict(), path)
    segmenter = load_segmenter(str(path), torch.device("cpu"))
    assert segmenter.names[:3] == ("background", "aeroplane", "bicycle") and len(segmenter.names) == 21
    pixels = np.random.default_rng(0).integers(0, 255, (520, 520, 3), np.uint8)[:, :260]
    found = segmenter.ids(pixels)
    normal = (torch.from_numpy(pixels).permute(2, 0, 1) / 255 - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / (
        torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    )
    with torch.no_grad():  # the shorter side becomes 520 pixels
        large = F.interpolate(normal[None], (1040, 520), mode="bilinear", antialias=True)
        expected = F.interpolate(network(large)["out"], (520, 260), mode="bilinear")[0].argmax(0)
    assert found.shape == (520, 260) and (found == expected).float().mean() > 0.98
    torch.save({"layer.weight": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match=r"its tensors \(layer.weight\) are not those of torchvision's DeepLabV3"):
        load_segmenter(str(path), torch.device("cpu"))
