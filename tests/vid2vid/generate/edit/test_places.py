"""Pixels and shares of a file of edits are told apart."""

from __future__ import annotations

from typing import Any

import pytest

from vid2vid.generate.edit.places import Place, parse_place


@pytest.mark.parametrize(
    ("value", "pixels"),
    [
        ([40, 60], (40, 60)),
        ([-20, 0], (-20, 0)),  # enters from the left: pixels, as [20, 0] is
        ([40.5, 60], (40.5, 60)),
        ([0, 0], (0, 0)),
        ([0.4, 0.9], (80, 90)),
        ([-0.1, 1], (-20, 100)),
        (["40%", "90%"], (80, 90)),
        (["120%", "-.5%"], (240, -0.5)),
        (["0.5px", "4 px"], (0.5, 4)),
        (["1px", "0px"], (1, 0)),
    ],
)
def test_pixels_of_a_source_of_100_x_200(value: list[Any], pixels: tuple[float, float]) -> None:
    assert parse_place(value, 2).pixels((100, 200)) == pytest.approx(pixels)


def test_a_box_in_shares() -> None:
    assert parse_place([0.5, 0, 1, 0.6], 4) == Place((0.5, 0, 1, 0.6), shares=True)
    assert Place((0.5, 0, 1, 0.6), shares=True).pixels((100, 200)) == (100, 0, 200, 60)


@pytest.mark.parametrize("value", [["9" * 400 + "px", "1px"], [1, 10**400], [float("inf"), 1], [float("nan"), 1]])
def test_what_no_float_holds_is_refused_in_a_few_words(value: list[object]) -> None:
    with pytest.raises(ValueError, match="must be 2 numbers") as raised:
        parse_place(value, 2)
    assert len(str(raised.value)) < 400
