"""Colours of a table are whole numbers; what is none is told, and not cut down to one."""

import json
from pathlib import Path

import pytest

from trainer.data.labels.colour_tables import colour_table
from trainer.errors import UserError


@pytest.mark.parametrize("colour", ["[0.5, 0.25, 0.5]", "[-Infinity, 1, 128]", "[NaN, 1, 128]", f"[{'9' * 400}, 1, 2]"])
def test_fractions_and_what_is_no_number_are_refused(tmp_path: Path, colour: str) -> None:
    path = tmp_path / "colours.json"
    path.write_text(f'[{{"name": "road", "id": 7, "color": {colour}}}]')
    with pytest.raises(UserError, match=r"colour|whole number"):
        colour_table(str(path))


def test_whole_floats_are_colours(tmp_path: Path) -> None:
    path = tmp_path / "colours.json"
    path.write_text(json.dumps([{"name": "road", "id": 7.0, "color": [128.0, 64, 128]}]))
    assert colour_table(str(path)).ids == {(128, 64, 128): 7}
