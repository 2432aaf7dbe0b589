"""Mistakes in a file of edits: the file, the number of the edit, the key and a remedy, all of them at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer.errors import ConfigError, UserError
from vid2vid.config import ModelConfig, SourceKind
from vid2vid.generate.edit.file import Span, read_edits


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("remove", ["is 'remove'", "{remove: true, class: car}"]),
        ("{class: 11}", ["no action", "replace, remove, insert"]),
        ("{replace: 21, remove: true, class: 11}", ["replace and remove"]),
        ("{replace: 21}", ["of what", "class, instance, box, mask"]),
        ("{replace: 21, clas: 11}", ["'clas'", "did you mean 'class'"]),
        ("{replace: tree, class: 11}", ["'tree'", "vegetation"]),
        ("{replace: 33, class: 11}", ["no class 33 (bicycle)", "11 (building)"]),
        ("{remove: 26}", ["remove: 26 must be true"]),
        ("{remove: true, instance: car}", ["instance: 'car'", "whole number"]),
        ("{remove: true, box: [0, 0, 5]}", ["box: [0, 0, 5]", "4 numbers"]),
        ("{remove: true, box: [5, 0, 3, 9]}", ["box: [5, 0, 3, 9]", "x0 < x1"]),
        ("{insert: {source: street, class: car, at: [.nan, 3]}}", ["at: [nan, 3]", "2 numbers"]),
        ("{replace: 21, box: }", ["box: is empty, which would select everything"]),
        ("{remove: true, class: 26, mask: }", ["mask: is empty"]),
        ("{remove: true, instance: []}", ["instance: is empty"]),
        ("{remove: true, class: }", ["class: is empty"]),
        ("{insert: {source: street, class: car, at: [1.2, 0.9]}}", ["at: [1.2, 0.9]", "[1.2px, 0.9px]", "[120%, 90%]"]),
        ("{insert: {source: street, class: car, at: [1, 0]}}", ["[1px, 0px] for pixels, [100%, 0%] for shares"]),
        ("{remove: true, box: [0%, 0, 50%, 1]}", ["the same unit (px or %) or all without"]),
        ("{remove: true, box: [0%, 0px, 50%, 1px]}", ["the same unit (px or %) or all without"]),
        ("{remove: true, class: 26, frames: [9, 3]}", ["frames: [9, 3]", "[FIRST, END]"]),
        ("{remove: true, mask: nowhere.png}", ["mask:", "nowhere.png does not exist"]),
        ("{insert: {clip: 3}}", ["insert: needs keys, source"]),
        ("{insert: {source: street}}", ["which object"]),
        ("{insert: {source: street, class: car, scale: 0}}", ["scale: 0", "above 0"]),
        ("{insert: {source: street, class: car, order: back}}", ["order: 'back'", "ground, front"]),
        ("{insert: {source: street, class: car, clip: -1}}", ["clip: -1"]),
        ("{insert: {source: street, class: car}, class: 3}", ["inside of insert"]),
    ],
)
def test_a_wrong_edit_is_named(entry: str, words: list[str], tmp_path: Path) -> None:
    path = tmp_path / "edit.yaml"
    path.write_text(f"edits:\n  - {{replace: 21, class: 11}}\n  - {entry}\n")
    with pytest.raises(ConfigError) as caught:
        read_edits(path, ModelConfig(label_ids=[7, 11, 21, 26]))
    assert all(word in str(caught.value) for word in [f"{path}: edit 2: ", *words]) and "edit 1" not in str(
        caught.value
    )


def test_all_mistakes_are_told_together(tmp_path: Path) -> None:
    path = tmp_path / "edit.yaml"
    path.write_text("edits: [{replace: 99, class: 11}, {remove: true, frames: 3}]")
    with pytest.raises(ConfigError) as caught:
        read_edits(path, ModelConfig())
    assert len(caught.value.problems) == 3


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_edits(tmp_path / "edit.yaml", ModelConfig())
    for text in ("edits: 3", "edits: []", "replace: 21", "edits: [{remove: true, class: 26}]\nmore: 1"):
        (tmp_path / "edit.yaml").write_text(text)
        with pytest.raises(ConfigError, match="a list of edits under the one key edits"):
            read_edits(tmp_path / "edit.yaml", ModelConfig())
    with pytest.raises(ConfigError, match="source=image"):
        read_edits(tmp_path / "edit.yaml", ModelConfig(source=SourceKind.image))


def test_names_are_those_of_cityscapes_only(tmp_path: Path) -> None:
    (tmp_path / "edit.yaml").write_text("edits: [{replace: car, class: 2}]")
    with pytest.raises(ConfigError, match="give the class by its id"):
        read_edits(tmp_path / "edit.yaml", ModelConfig(num_labels=5))


def test_a_clip_to_insert_from_is_opened_as_far_as_the_video_needs_it() -> None:
    """From its 20th frame on for a video of 10: 30, not 10, which would show nothing."""
    assert [Span(20).needed(10), Span(20, 25).needed(10), Span(20, 40).needed(10)] == [30, 25, 30]
    assert (Span(20).needed(None), Span(20, 25).needed(None)) == (None, 25)
