"""Files of a generator's step: what they make, what they tell of themselves, and that a wrong one does not stay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.made_step import VARIANTS, made
from trainer.errors import ConfigError, UserError
from trainer.export import Format
from trainer.export.graph import METADATA, SUFFIX, open_graph
from vid2vid.export import graph
from vid2vid.export.graph import export_step
from vid2vid.export.loop import by_model, made_condition, play
from vid2vid.export.step import Step

SMALL: dict[str, Any] = {"downsamplings": 1, "blocks": 1, "label_ids": [7, 8, 11]}


def test_onnx_plays_as_the_generator_does(tmp_path: Path) -> None:
    import onnx

    generator, encoder = made(**SMALL)
    path = tmp_path / "new" / "step.onnx"
    written = export_step(generator, encoder, path, Format.onnx, size=(16, 32), about={"first_frame": "model"})
    assert list(written.differences) == ["1x16x32"] and max(written.differences["1x16x32"].values()) < 1e-3
    step = Step(generator, encoder)
    condition = made_condition(step, encoder, 1, 10, (16, 32))
    found = play(open_graph(path, Format.onnx, step.inputs, step.outputs), step, condition)
    expected = by_model(step, encoder, condition)
    assert expected["frame"].std() > 0.02
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=graph.TOLERANCES[name])
    told = {item.key: item.value for item in onnx.load(path).metadata_props}
    beside = json.loads(written.sidecar.read_text())
    assert [entry["name"] for entry in json.loads(told["inputs"])] == step.inputs and told["first_frame"] == "model"
    assert beside["inputs"][0] | {"values": ""} == {
        "name": "labels",
        "type": "int32",
        "shape": [1, 3, 16, 32],
        "example_shape": [1, 3, 16, 32],
        "values": "",
    }
    assert [entry["name"] for entry in beside["outputs"]] == step.outputs and beside["past_frames"] == 2
    assert "in a loop of 6 frames of 1x16x32 (BxHxW): frame " in "\n".join(written.lines())


@pytest.mark.slow
def test_torch_export_gives_the_same_again(tmp_path: Path) -> None:
    generator, encoder = made(**SMALL, scales=2)
    path = tmp_path / "step.pt2"
    export_step(generator, encoder, path, Format.torch_export, size=(16, 32))
    step = Step(generator, encoder)
    condition = made_condition(step, encoder, 1, 10, (16, 32))
    found = play(open_graph(path, Format.torch_export, step.inputs, step.outputs), step, condition)
    for name, value in by_model(step, encoder, condition).items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-4)
    extra = {METADATA: ""}
    torch.export.load(path, extra_files=extra)
    assert json.loads(extra[METADATA])["scales"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(SUFFIX))
@pytest.mark.parametrize("name", ["plain", "two scales"])
def test_one_file_for_sizes_and_batches_that_differ(name: str, kind: Format, tmp_path: Path) -> None:
    generator, encoder = made(**VARIANTS[name])
    path = tmp_path / f"step{SUFFIX[kind]}"
    written = export_step(generator, encoder, path, kind, size=(16, 32), batch=None, dynamic=True)
    assert len(written.differences) == 4
    step = Step(generator, encoder)
    run = open_graph(path, kind, step.inputs, step.outputs)
    for count, size in ((1, (24, 32)), (3, (32, 64))):
        condition = made_condition(step, encoder, count, 4, size)
        found, expected = play(run, step, condition), by_model(step, encoder, condition)
        assert found["frame"].shape == (count, 4, 3, *size)
        torch.testing.assert_close(found["frame"], expected["frame"], rtol=0, atol=2e-3)
    shapes = {entry["name"]: entry["shape"] for entry in json.loads(written.sidecar.read_text())["inputs"]}
    assert shapes["labels"] == ["batch", 3, "H", "W"] and shapes["past_known"] == ["batch"]
    assert shapes["past_0"] == ["batch", 2, 3, *(["H/2", "W/2"] if name == "two scales" else ["H", "W"])]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "plain"])
def test_every_kind_of_generator_becomes_onnx(name: str, tmp_path: Path) -> None:
    generator, encoder = made(**VARIANTS[name])
    written = export_step(generator, encoder, tmp_path / "step.onnx", Format.onnx, size=(32, 32))
    assert max(written.differences["1x32x32"].values()) < 5e-3


@pytest.mark.parametrize("kind", list(SUFFIX))
def test_a_file_that_makes_other_frames_does_not_stay(
    kind: Format, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error appears after the first frames: only the loop shows it."""
    generator, encoder = made(**SMALL)
    path = tmp_path / f"step{SUFFIX[kind]}"
    path.write_text("an older one")
    monkeypatch.setattr(graph, "write_graph", lambda *given: None)
    step = Step(generator, encoder)

    def drifting(*given: Any) -> Any:
        def run(inputs: Any) -> dict[str, torch.Tensor]:
            out = dict(zip(step.outputs, step(*inputs.values()), strict=True))
            return out | {"next_past_0": out["next_past_0"] + 0.2}

        return run

    monkeypatch.setattr(graph, "open_graph", drifting)
    with pytest.raises(UserError, match=r"its \w+ differs from the model's by .* of 1x16x32 .*; the file was removed"):
        export_step(generator, encoder, path, kind, size=(16, 32))
    assert list(tmp_path.iterdir()) == [path] and path.read_text() == "an older one"


def test_a_network_that_enlarges_rounding_is_judged_frame_by_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator, encoder = made(**SMALL)
    monkeypatch.setattr(graph, "TOLERANCES", dict.fromkeys(graph.TOLERANCES, -1.0))
    written = export_step(generator, encoder, tmp_path / "step.pt2", Format.torch_export, size=(16, 32))
    assert {"frame", "flow", "next_past_0"} <= set(written.single["1x16x32"])
    assert "enlarges rounding from frame to frame; frame by frame of 1x16x32" in "\n".join(written.lines())
    monkeypatch.setattr(graph, "SINGLE", dict.fromkeys(graph.SINGLE, -1.0))
    with pytest.raises(UserError, match="the file was removed"):
        export_step(generator, encoder, tmp_path / "other.pt2", Format.torch_export, size=(16, 32))


def test_frames_that_are_no_numbers_are_a_difference() -> None:
    value = torch.zeros(1, 1, 3, 4, 4)
    found = graph._differences({"frame": value * float("nan")}, {"frame": value})
    assert found == {"frame": float("inf")}


def test_another_suffix_and_too_small_a_size_are_refused(tmp_path: Path) -> None:
    generator, encoder = made()
    with pytest.raises(ConfigError, match=rf"format=onnx writes \.onnx files: out={tmp_path}/step\.onnx"):
        export_step(generator, encoder, tmp_path / "step.pt2", Format.onnx, size=(16, 32))
    with pytest.raises(ConfigError, match=r"resolution=\[4,32\]: .* must be at least 8"):
        export_step(generator, encoder, tmp_path / "step.onnx", Format.onnx, size=(4, 32))
