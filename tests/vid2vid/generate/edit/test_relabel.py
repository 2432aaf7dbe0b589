"""Relabelling: what can be asked for, and the edges of the scene that comes out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from trainer.errors import ConfigError
from vid2vid.config import DataConfig, ModelConfig, SourceKind
from vid2vid.encoding import SourceEncoder, instance_edges
from vid2vid.generate.edit.edits import Edits
from vid2vid.generate.edit.file import read_edits
from vid2vid.generate.edit.relabel import Relabel, parse_remap


def test_remap_is_read():
    assert parse_remap("11:21, 26:24") == {11: 21, 26: 24}


@pytest.mark.parametrize("text", ["11", "11:", "a:b", "", "11:21:3", "11:21,11:22"])
def test_a_remap_that_cannot_be_read(text: str):
    with pytest.raises(ConfigError, match="remap"):
        parse_remap(text)


def test_remap_needs_labels_and_channels():
    with pytest.raises(ConfigError, match=r"remap to 99(?s:.*)0\.\.34"):
        Relabel({11: 99}, ModelConfig())
    with pytest.raises(ConfigError, match="21"):
        Relabel({11: 21}, ModelConfig(label_ids=[11, 7]))
    with pytest.raises(ConfigError, match="source=image"):
        Relabel({11: 21}, ModelConfig(source=SourceKind.image))


def test_labels_change_all_at_once_and_the_input_stays():
    labels = torch.tensor([[11, 21, 7]], dtype=torch.int16)
    relabel = Relabel({11: 21, 21: 11, 5: 6}, ModelConfig())
    frame = {"labels": labels}
    assert relabel(frame)["labels"].tolist() == [[21, 11, 7]] and labels.tolist() == [[11, 21, 7]]
    assert relabel.unseen == {5}


def test_edges_are_those_of_the_new_scene():
    labels = torch.full((4, 8), 11, dtype=torch.int16)
    labels[:, 3:] = 21
    labels[2:, 6:] = 26
    instances = labels.int().clone()
    instances[2:, 6:] = 26001

    def edges(mapping: dict[int, int], model: ModelConfig | None = None) -> torch.Tensor:
        changed = Relabel(mapping, model or ModelConfig())({"labels": labels, "instances": instances})
        batch = {k: v[None, None] for k, v in changed.items()}
        encoded = SourceEncoder(ModelConfig(), DataConfig()).encode(batch)
        assert torch.equal(encoded[0, 0, -1], instance_edges(changed["instances"]).float())
        return instance_edges(changed["instances"])

    assert edges({7: 8})[0, 2] and edges({7: 8})[2, 6], "nothing changes where nothing is changed"
    joined = edges({11: 21})
    assert not joined[0].any() and joined[2, 6], "building and tree are one region now; the car keeps its outline"
    vanished = edges({11: 21, 26: 21})
    assert not vanished.any(), "a car that became vegetation has no outline"
    assert edges({26: 24})[2, 6], "a person in the car's place has its outline"
    unknown = edges({11: 21, 26: 21}, ModelConfig(num_labels=30))
    assert not unknown[0].any() and unknown[2, 6], "without Cityscapes ids an object stays an object"


def test_remap_among_edits(tmp_path: Path):
    """All at once, for some frames, and on what edits before it have made."""
    path = tmp_path / "edits.yaml"
    path.write_text('edits:\n  - {replace: 7, class: 8}\n  - {remap: "7:11,11:7", frames: [1, null]}\n')
    model = ModelConfig()
    edits = Edits(read_edits(path, model), model, lambda source, clip, span: [])  # type: ignore[arg-type,return-value]
    labels = np.array([[7, 8, 11, 23]], np.int16)
    frame = {"labels": labels, "instances": labels.astype(np.int32)}
    first, second = edits(frame), edits(frame)
    assert first["labels"].tolist() == [[7, 7, 11, 23]]
    assert second["labels"].tolist() == [[11, 11, 7, 23]] == second["instances"].tolist()
    assert edits.unmet() == []
