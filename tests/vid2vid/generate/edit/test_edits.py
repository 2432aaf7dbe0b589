"""Edits of small scenes, each compared with the map that a hand would draw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers.made_clip import Clip
from trainer.errors import DataError
from vid2vid.config import ModelConfig
from vid2vid.data.augment import Crop
from vid2vid.encoding import instance_edges
from vid2vid.generate.edit.edits import Edits
from vid2vid.generate.edit.file import Edit, Insertion, Order, Span, read_edits
from vid2vid.generate.edit.objects import NEW_IDS
from vid2vid.generate.edit.places import Place

ROAD, HOUSE, TREE, SKY, PERSON, CAR = 7, 11, 21, 23, 24, 26
LABELS = np.array([[11, 11, 11, 11, 11, 11], [11, 26, 26, 26, 26, 11], [7, 26, 26, 26, 26, 7], [7] * 6], np.int16)
IDS = LABELS.astype(np.int32)
IDS[1:3, 1:3], IDS[1:3, 3:5] = 26001, 26002


def scene() -> dict[str, Any]:
    return {"labels": LABELS.copy(), "instances": IDS.copy()}


def edits(*asked: Edit, track: list[dict[str, Any]] | None = None, model: ModelConfig | None = None) -> Edits:
    return Edits(asked, model or ModelConfig(), lambda *clip: Clip(track or []), ignored=255)


def edited(*asked: Edit, **options: Any) -> dict[str, Any]:
    return edits(*asked, **options)(scene())


def test_a_class_or_an_object_is_replaced_and_keeps_its_id() -> None:
    made = edited(Edit("e", instances=(26002,), replace=PERSON))
    assert made["labels"].tolist() == [[11] * 6, [11, 26, 26, 24, 24, 11], [7, 26, 26, 24, 24, 7], [7] * 6]
    assert np.array_equal(made["instances"], IDS) and made["labels"].dtype == np.int16
    made = edited(Edit("e", labels=(CAR,), replace=TREE))
    assert (made["instances"][1:3, 1:5] == TREE).all(), "one region"


def test_a_box_cuts_and_what_becomes_an_object_has_a_new_id_in_every_frame() -> None:
    """Half of each car, and some of the road below: three people; their ids are no others' and do not change."""
    change = edits(Edit("e", box=Place((0, 2, 6, 4)), labels=(CAR, ROAD), replace=PERSON))
    for _ in range(2):
        made = change(scene())
        assert (made["labels"][2:] == PERSON).all() and np.array_equal(made["labels"][:2], LABELS[:2])
        lower = made["instances"][2:]
        assert np.unique(lower).tolist() == [NEW_IDS, NEW_IDS + 1, NEW_IDS + 2]
        assert lower.tolist() == [[NEW_IDS, NEW_IDS + 1, NEW_IDS + 1, NEW_IDS + 2, NEW_IDS + 2, NEW_IDS], [NEW_IDS] * 6]
        assert np.array_equal(made["instances"][:2], IDS[:2])


def test_edges_follow() -> None:
    """A removed car has no outline: what is left are the other car's and the border of house and road."""
    made = edited(Edit("e", instances=(26002,)))
    assert made["labels"].tolist() == [[11] * 6, [11, 26, 26, 11, 11, 11], [7, 26, 26, 7, 7, 7], [7] * 6]
    edges = instance_edges(torch.from_numpy(made["instances"]))
    assert not edges[0, 4] and edges[1, 4] and edges[2, 4] and not edges[3, 4], "the border"
    assert edges[1, 2] and edges[1, 3], "the other car's side"


def test_shares_of_the_frame_and_pixels_of_the_source() -> None:
    shares = edited(Edit("e", box=Place((0.5, 0, 1, 1), shares=True), labels=(HOUSE,), replace=TREE))
    assert shares["labels"][0].tolist() == [11, 11, 11, 21, 21, 21]
    crop = Crop(source=(8, 20), top=0, left=4, height=8, width=12, size=(4, 6))
    of_source = edits(Edit("e", box=Place((10, 0, 20, 2)), replace=TREE))(scene(), crop)
    assert of_source["labels"][0].tolist() == [11, 11, 11, 21, 21, 21], "column 10 of 20 is column 3 of the crop's 6"
    assert np.array_equal(of_source["labels"][1:], LABELS[1:])


def test_masks_one_for_all_or_one_for_each_frame(tmp_path: Path) -> None:
    def mask(name: str, column: int, size: tuple[int, int] = (4, 6)) -> Path:
        pixels = np.zeros(size, np.uint8)
        pixels[:, column] = 255
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / name)
        return tmp_path / name

    one = edits(Edit("e", mask=mask("one.png", 5), replace=TREE))
    assert [np.unique(np.nonzero(one(scene())["labels"] == TREE)[1]).tolist() for _ in range(2)] == [[5], [5]]
    mask("each/2.png", 1), mask("each/10.png", 2)
    each = edits(Edit("e", mask=tmp_path / "each", frames=Span(1), replace=TREE))
    found = [np.unique(np.nonzero(each(scene())["labels"] == TREE)[1]).tolist() for _ in range(4)]
    assert found == [[], [1], [2], []], "the span begins with the first picture, in the order of people"
    with pytest.raises(DataError, match=r"edit 3: mask: .*wide.png is 4x9 .* frames are 4x6"):
        edits(Edit("edit 3", mask=mask("wide.png", 1, (4, 9)), replace=TREE))(scene())


def test_a_mask_selects_what_is_not_black_however_it_is_stored(tmp_path: Path) -> None:
    """The first instance of 16 bits, a dark colour of a palette, what is painted on a transparent layer."""
    path, ids = tmp_path / "mask.png", np.zeros((4, 6), np.uint16)
    ids[1, 2], ids[2, 3] = 1, 400
    layer = np.full((4, 6, 4), (255, 255, 255, 0), np.uint8)
    layer[ids > 0] = (0, 0, 9, 255)
    colours = Image.fromarray((ids > 0).astype(np.uint8))
    colours.putpalette([0, 0, 0, 0, 0, 1, *[0] * 762])
    for picture in (Image.fromarray(ids), colours, Image.fromarray(layer)):
        picture.save(path)
        made = edited(Edit("e", mask=path, replace=TREE))
        assert np.argwhere(made["labels"] == TREE).tolist() == [[1, 2], [2, 3]]


def test_the_noise_of_a_lossy_mask_is_not_selected(tmp_path: Path) -> None:
    marked = np.zeros((4, 6), np.uint8)
    marked[1:3, 2:4] = 255
    for name in ("mask.jpg", "mask.webp"):
        Image.fromarray(np.repeat(marked[..., None], 3, -1)).save(tmp_path / name, quality=60)
        made = edited(Edit("e", mask=tmp_path / name, replace=TREE))
        assert np.array_equal(np.asarray(made["labels"]) == TREE, marked > 0), name


def test_a_span_of_frames_and_one_edit_after_the_other() -> None:
    change = edits(Edit("e", frames=Span(1, 2), labels=(CAR,), replace=TREE), Edit("e", labels=(TREE,), replace=PERSON))
    assert [int(change(scene())["labels"][1, 1]) for _ in range(3)] == [CAR, PERSON, CAR]


def walker() -> list[dict[str, Any]]:
    """A person of 1x2 pixels who walks a pixel to the right in each of three frames, beside a car."""
    frames = []
    for t in range(3):
        ids = np.full((4, 6), ROAD, np.int32)
        ids[0, 4:] = 26005
        ids[1:3, 1 + t] = 24003
        frames.append({"labels": np.where(ids > 1000, ids // 1000, ids).astype(np.int16), "instances": ids})
    return frames


def test_an_object_comes_from_another_clip_and_goes_with_it() -> None:
    insert = Insertion("x", instance=24003, frames=Span(1), at=Place((0.5, 4)), order=Order.front)
    change = edits(Edit("e", frames=Span(1), insert=insert), track=walker())
    made = [change(scene()) for _ in range(4)]
    assert [np.argwhere(m["instances"] == NEW_IDS).tolist() for m in made] == [
        [],
        [[2, 0], [3, 0]],
        [[2, 1], [3, 1]],
        [],
    ]
    assert (made[2]["labels"] == PERSON).sum() == 2 and change.unmet() == []


def test_of_a_class_the_largest_object_is_taken_that_the_frame_does_not_cut() -> None:
    ids = np.full((4, 6), ROAD, np.int32)
    ids[0:3, 0], ids[1, 2], ids[1:3, 4] = 26001, 26002, 26003
    frame = {"labels": np.where(ids > 1000, CAR, ids).astype(np.int16), "instances": ids}
    made = edits(Edit("e", insert=Insertion("x", label=CAR, order=Order.front)), track=[frame])(scene())
    assert np.argwhere(made["instances"] == NEW_IDS).tolist() == [[1, 4], [2, 4]]


def test_a_larger_object_stands_on_the_same_place() -> None:
    insert = Insertion("x", label=PERSON, at=Place((3, 4)), scale=2, order=Order.front)
    made = edits(Edit("e", insert=insert), track=walker())(scene())
    assert np.argwhere(made["instances"] == NEW_IDS).tolist() == [[y, x] for y in range(4) for x in (2, 3)]


def test_who_stands_lower_is_in_front() -> None:
    """The cars' wheels are in row 2: a person with the feet in row 1 is behind them, one in row 3 in front."""

    def shown(at: tuple[float, float], order: Any = Order.ground) -> list[list[int]]:
        insert = Insertion("x", instance=24003, at=Place(at), order=order)
        return np.argwhere(edited(Edit("e", insert=insert), track=walker())["labels"] == PERSON).tolist()

    assert shown((1.5, 2)) == [[0, 1]] and shown((1.5, 4)) == [[2, 1], [3, 1]]
    assert shown((1.5, 2), Order.front) == [[0, 1], [1, 1]] and shown((1.5, 4), (CAR,)) == [[3, 1]]


def test_what_changes_nothing_is_told() -> None:
    change = edits(
        Edit("a", labels=(SKY,), replace=TREE),
        Edit("b", labels=(SKY,)),
        Edit("c", insert=Insertion("x", instance=26999)),
        Edit("d", insert=Insertion("x", instance=24003, at=Place((100, 2)))),
        track=walker(),
    )
    change(scene())
    told = change.unmet()
    assert told[0].startswith("a: no pixel") and told[1].startswith("b: no pixel")
    assert "made shows no instance 26999" in told[2] and "24003 of class 24 (person)" in told[2]
    assert "outside of the frame" in told[3]
    everything = edits(Edit("e", box=Place((0, 0, 6, 4))))
    assert np.array_equal(everything(scene())["labels"], LABELS)
    assert everything.unmet() == ["e: no region was left to fill with"]


def test_labels_alone_suffice_but_for_what_needs_objects() -> None:
    alone = {"labels": torch.from_numpy(LABELS)}
    made = edits(Edit("e", labels=(CAR,)))(alone)
    assert made["labels"].tolist() == [[11] * 6] * 2 + [[7] * 6] * 2 and "instances" not in made
    with pytest.raises(DataError, match="e: instance: the source has no instance maps"):
        edits(Edit("e", instances=(26001,)))(alone)
    with pytest.raises(DataError, match="order: front"):
        edits(Edit("e", insert=Insertion("x", instance=24003)), track=walker())(alone)


def test_classes_that_are_not_cityscapes() -> None:
    """An object is what has an id that is not its class; a former region takes its new class for an id."""
    made = edited(Edit("e", labels=(HOUSE, CAR), replace=3), model=ModelConfig(num_labels=30))
    assert made["instances"][0].tolist() == [3] * 6 and made["instances"][1].tolist() == [
        3,
        26001,
        26001,
        26002,
        26002,
        3,
    ]


def test_the_file_of_the_documentation_is_read(tmp_path: Path) -> None:
    path = tmp_path / "edit.yaml"
    path.write_text("""
edits:
  - {replace: vegetation, class: building, box: [0.5, 0, 1, 0.6]}
  - {remove: true, instance: [26007, 26008], frames: [0, 48]}
  - {insert: {source: street, clip: 3, instance: 26999, at: [40, 60], scale: 1.5, order: [person]}, frames: [4, null]}
""")
    first, second, third = read_edits(path, ModelConfig())
    assert first == Edit(f"{path}: edit 1", labels=(11,), box=Place((0.5, 0, 1, 0.6), shares=True), replace=21)
    assert second == Edit(f"{path}: edit 2", Span(0, 48), instances=(26007, 26008))
    wanted = Insertion("street", 3, 26999, None, Span(), Place((40.0, 60.0), shares=False), 1.5, (24,))
    assert third == Edit(f"{path}: edit 3", Span(4), insert=wanted)
