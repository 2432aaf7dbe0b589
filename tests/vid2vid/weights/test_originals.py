"""The originals' checkpoints: names, files on disk, running statistics, and what is refused."""

import logging
import os
import runpy
import sys
from pathlib import Path

import pytest
import torch

from tests.helpers.paths import ROOT
from trainer.checkpoint.weights import save_weights
from trainer.errors import CheckpointError
from vid2vid.config import ForegroundKind, ModelConfig
from vid2vid.losses.distillation import Projections
from vid2vid.model import Generator, MultiscaleDiscriminator, VideoDiscriminators
from vid2vid.model.segmenting import SegmentingDiscriminator
from vid2vid.weights.originals import (
    convert,
    from_originals,
    infer_model,
    read_originals,
    to_originals,
    write_originals,
)


def our_weights(**changes):
    torch.manual_seed(0)
    model = ModelConfig(ngf=8, blocks=9, scales=3, foreground=ForegroundKind.override, **changes)
    networks = {
        "generator": Generator(model, 6),
        "d_image": MultiscaleDiscriminator(9, 8, 2, 3),
        "d_video": VideoDiscriminators(3, 8, 2, 3, temporal_scales=2),
    }
    return {f"{name}.{key}": x for name, network in networks.items() for key, x in network.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_the_originals_names():
    """Names in the released checkpoints, at both ends of every index range."""
    states = to_originals(our_weights())
    assert set(states) == {"G0", "G1", "G2", "D", "D_T0", "D_T1"}
    g0 = {f"model_down_seg.{i}.weight" for i in (1, 2, 4, 5, 7, 8, 10, 11)}
    g0 |= {f"model_down_img.{r}.conv_block.{i}.bias" for r in (13, 17) for i in (1, 2, 5, 6)}
    g0 |= {f"model_res_{x}.{r}.conv_block.5.weight" for x in ("img", "flow") for r in (0, 3)}
    g0 |= {f"model_up_{x}.{i}.weight" for x in ("img", "flow") for i in (0, 1, 3, 4, 6, 7)}
    g0 |= {f"model_final_{x}.1.weight" for x in ("img", "flow", "w")}
    g0 |= {"indv_down.10.weight", "indv_res.8.conv_block.6.weight", "indv_up.6.weight", "indv_final.1.bias"}
    assert g0 <= states["G0"].keys()
    g1 = {"model_down_seg.4.weight", "model_up_img.2.conv_block.1.weight", "model_up_flow.3.weight", "indv_up.4.bias"}
    assert g1 <= states["G1"].keys()
    assert not any("_res_" in key for key in states["G1"])
    assert {"scale0_layer0.0.weight", "scale1_layer3.1.bias", "scale1_layer4.0.bias"} <= states["D"].keys()
    assert states["G0"]["model_final_w.1.weight"].shape == (1, 8, 7, 7)


def test_there_and_back():
    weights = our_weights()
    assert same(from_originals(to_originals(weights)), weights)


def test_files_there_and_back(tmp_path):
    weights = our_weights()
    write_originals(tmp_path / "a", to_originals(weights))
    lines = convert(tmp_path / "a", tmp_path / "ours.safetensors")
    assert "model.ngf=8" in lines[1] and "model.foreground=override" in lines[1]
    convert(tmp_path / "ours.safetensors", tmp_path / "b")
    before, after = read_originals(tmp_path / "a"), read_originals(tmp_path / "b")
    assert before.keys() == after.keys() and all(same(before[key], after[key]) for key in before)
    assert same(from_originals(after), weights)


def test_discriminators_of_regions_are_left_out_and_it_is_said(tmp_path):
    weights = {"d_image.scale0.layers.0.conv.bias": torch.ones(4)}
    save_weights(tmp_path / "ours.safetensors", weights | {"d_region.face.scale0.layers.0.conv.bias": torch.ones(4)})
    wrote, left_out = convert(tmp_path / "ours.safetensors", tmp_path / "theirs")
    assert wrote.endswith("latest_net_D.pth") and left_out.startswith("left out d_region")
    assert same(from_originals(read_originals(tmp_path / "theirs")), weights)


def test_a_discriminator_that_segments_is_left_out(tmp_path: Path) -> None:
    weights = {name: x for name, x in our_weights().items() if name.startswith("generator.")}
    segmenting = {f"d_image.{name}": x for name, x in SegmentingDiscriminator(3, 4, 2).state_dict().items()}
    save_weights(tmp_path / "ours.safetensors", weights | segmenting)
    *wrote, left_out = convert(tmp_path / "ours.safetensors", tmp_path / "folder")
    assert all("_net_G" in line for line in wrote) and left_out.startswith("left out d_image: it segments")


def test_a_student_is_written_without_what_its_training_had(tmp_path: Path) -> None:
    weights = our_weights()
    projections = {f"projections.{name}": x for name, x in Projections(8, 16, flow=True).state_dict().items()}
    save_weights(tmp_path / "ours.safetensors", weights | projections)
    *_, left_out = convert(tmp_path / "ours.safetensors", tmp_path / "folder")
    assert left_out.startswith("left out projections: a student's training")
    assert same(from_originals(read_originals(tmp_path / "folder")), weights)


def test_one_file_and_the_latest_of_several_labels(tmp_path):
    state = to_originals(our_weights())["G0"]
    write_originals(tmp_path, {"G0": state}, label="5")
    write_originals(tmp_path, {"G0": {key: x + 1 for key, x in state.items()}}, label="latest")
    assert torch.equal(read_originals(tmp_path)["G0"]["indv_final.1.bias"], state["indv_final.1.bias"] + 1)
    assert torch.equal(read_originals(tmp_path / "5_net_G0.pth")["G0"]["indv_final.1.bias"], state["indv_final.1.bias"])


def test_running_statistics_and_prefixes_are_tolerated(caplog):
    weights = our_weights()
    states = to_originals(weights)
    states["G0"]["model_down_seg.2.running_mean"] = torch.zeros(8)
    states["G0"]["model_down_seg.2.num_batches_tracked"] = torch.tensor(3)
    states["D"] = {f"module.{key}": x for key, x in states["D"].items()}
    with caplog.at_level(logging.INFO):
        assert same(from_originals(states), weights)
    assert "left out 2 running statistics" in caplog.text


def test_other_depths(tmp_path):
    torch.manual_seed(0)
    model = ModelConfig(ngf=4, downsamplings=2, blocks=3, local_blocks=2, scales=2)
    weights = {f"generator.{key}": x for key, x in Generator(model, 5).state_dict().items()}
    states = to_originals(weights)
    assert "model_down_seg.10.conv_block.1.weight" in states["G0"]  # two halvings: blocks begin at 4 + 3 * 2
    assert same(from_originals(states), weights)
    seen = infer_model(weights)
    assert (seen["downsamplings"], seen["blocks"], seen["local_blocks"], seen["scales"]) == (2, 3, 2, 2)
    assert seen["source_channels"] == 5 and "ndf" not in seen


def test_what_is_refused(tmp_path):
    weights = our_weights()
    with pytest.raises(CheckpointError, match=r"has a parameter 'surprise\.weight'"):
        from_originals({"G0": {**to_originals(weights)["G0"], "surprise.weight": torch.zeros(1)}})
    with pytest.raises(CheckpointError, match="'E' is no network"):
        from_originals({"E": {}})
    with pytest.raises(CheckpointError, match="belongs to none of"):
        to_originals({"encoder.weight": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="no counterpart"):
        to_originals({**weights, "generator.scale0.labels.extra.0.weight.x": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="does not exist"):
        read_originals(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="no network of the originals"):
        read_originals(tmp_path / "empty")
    (tmp_path / "latest_net_G0.pth").write_bytes(b"no state dict")
    with pytest.raises(CheckpointError, match=r"latest_net_G0\.pth"):
        read_originals(tmp_path)
    write_originals(tmp_path / "good", to_originals(weights))
    with pytest.raises(CheckpointError, match=r"must end in \.safetensors"):
        convert(tmp_path / "good", tmp_path / "out")
    assert not (tmp_path / "out").exists()


class Payload:
    def __reduce__(self):
        return os.system, ("touch /tmp/vivid-executed",)


def test_pickled_code_is_never_executed(tmp_path):
    torch.save({"model_down_seg.1.weight": Payload()}, tmp_path / "latest_net_G0.pth")
    Path("/tmp/vivid-executed").unlink(missing_ok=True)
    with pytest.raises(CheckpointError):
        read_originals(tmp_path)
    assert not Path("/tmp/vivid-executed").exists()


def test_the_command(tmp_path, monkeypatch, capsys):
    write_originals(tmp_path / "theirs", to_originals(our_weights()))

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["convert.py", *words])
        runpy.run_path(str(ROOT / "scripts" / "convert.py"), run_name="__main__")

    run(f"src={tmp_path / 'theirs'}", f"dst={tmp_path / 'ours.safetensors'}", "format=vid2vid")
    assert "ours.safetensors" in capsys.readouterr().out and (tmp_path / "ours.safetensors").exists()
    with pytest.raises(SystemExit) as end:
        run(f"src={tmp_path / 'nowhere'}", "dst=x.safetensors", "format=vid2vid")
    assert end.value.code == 2 and "nowhere does not exist" in capsys.readouterr().err
