"""What comes to light behind a removed object, on maps small enough to fill by hand."""

from __future__ import annotations

import numpy as np

from vid2vid.generate.edit.fill import fill


def filled(rows: list[str], objects: str = "", unknown: str = "") -> list[str]:
    """Letters are classes; ``#`` is the hole, capitals are objects, each with its letter for an id."""
    ids = np.array([[ord(letter) for letter in row] for row in rows])
    hole = ids == ord("#")
    region = ~hole & np.array([[letter.islower() for letter in row] for row in rows])
    free = ~np.isin(ids, [ord(letter) for letter in unknown])
    source = fill(ids, ids, hole, region, free)
    return ["".join(map(chr, row)) for row in ids.flat[source]]


def test_each_row_takes_what_shows_beside_the_hole() -> None:
    """House above, road below: the border between them stays level behind the car."""
    scene = ["hhhhhh", "h####h", "r####r", "rrrrrr"]
    assert filled(scene) == ["hhhhhh", "hhhhhh", "rrrrrr", "rrrrrr"]


def test_two_regions_meet_half_way_and_the_left_one_has_the_middle() -> None:
    assert filled(["s#####r"]) == ["ssssrrr"]
    assert filled(["s##r"]) == ["ssrr"]


def test_an_object_that_shows_on_both_sides_is_behind() -> None:
    assert filled(["hC##Ch", "hhC#hh"]) == ["hCCCCh", "hhChhh"], "one-sided it may end anywhere: the region is taken"
    assert filled(["hC##Dh"]) == ["hChhDh"], "two cars"


def test_a_row_without_regions_takes_the_nearest_row() -> None:
    assert filled(["hhh", "###", "###", "###", "rrr"]) == ["hhh", "hhh", "rrr", "rrr", "rrr"], "as near: the lower"
    assert filled(["C##", "hrr"]) == ["Crr", "hrr"], "the object in the same row stays"


def test_nothing_is_filled_with_what_the_model_does_not_know() -> None:
    assert filled(["x##r"], unknown="x") == ["xrrr"]
    assert filled(["x##x"], unknown="x") == ["x##x"], "no region is left: nothing changes"
