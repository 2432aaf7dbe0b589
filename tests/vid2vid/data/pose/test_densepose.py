"""DensePose maps: the scale of the parts, what is dropped, and files that are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from trainer.errors import DataError
from vid2vid.data.folders.file_kinds import FileKind
from vid2vid.data.folders.layout import collect
from vid2vid.data.pose.densepose import check_iuv, draw_iuv, dropped_parts
from vid2vid.data.sources.kinds import KINDS


def iuv() -> torch.Tensor:
    parts = torch.tensor([[0, 1, 12], [23, 24, 12]], dtype=torch.uint8)
    return torch.stack([parts * 3, parts * 5, parts])


def test_parts_are_spread_over_all_values() -> None:
    drawn = draw_iuv(iuv())
    # 1 * 255 / 24 = 10.6; 12 -> 127.5, rounded to even; 23 -> 244.4
    assert drawn[2].tolist() == [[0, 11, 128], [244, 255, 128]]
    assert torch.equal(drawn[:2], iuv()[:2]) and drawn.dtype == torch.uint8


def test_a_dropped_part_is_background_in_all_channels() -> None:
    drawn = draw_iuv(iuv(), {12, 24})
    assert drawn[2].tolist() == [[0, 11, 0], [244, 0, 0]]
    assert drawn[0].tolist() == [[0, 3, 0], [69, 0, 0]]


def test_parts_are_dropped_each_with_its_probability_and_never_the_background() -> None:
    rng = np.random.default_rng(0)
    drawn = [dropped_parts(rng, 0.05) for _ in range(4000)]
    assert all(0.033 < sum(part in parts for parts in drawn) / 4000 < 0.067 for part in range(1, 25))
    assert not any(0 in parts or 25 in parts for parts in drawn)


def test_other_pictures_are_refused_with_what_helps() -> None:
    check_iuv(iuv(), Path("a.png"))
    with pytest.raises(DataError, match=r"b\.png.*exchange the first and the third"):
        check_iuv(torch.stack([iuv()[2], iuv()[0], iuv()[1] + 100]), Path("b.png"))
    with pytest.raises(DataError, match=r"c\.png.*up to 200.*0\.\.24; write the part as it is"):
        check_iuv(
            torch.stack([torch.full((2, 2), value, dtype=torch.uint8) for value in (200, 199, 200)]), Path("c.png")
        )
    check_iuv(torch.zeros(3, 2, 2, dtype=torch.uint8), Path("nobody.png"))
    who = (torch.arange(4, dtype=torch.uint8) // 2).expand(3, 4, 4)
    with pytest.raises(DataError, match=r"d_INDS\.png.*it is grey.*Keep its _IUV files"):
        check_iuv(who, Path("d_INDS.png"))


def test_a_map_may_end_in_iuv_beside_files_of_who_is_who(tmp_path: Path) -> None:
    for name in ("0_IUV", "0_INDS", "1_IUV", "1_INDS", "2_iuv"):
        (tmp_path / f"{name}.png").touch()
    kind = KINDS["densepose"]
    found = collect(FileKind("densepose:a", tmp_path, "data.sources", kind.extensions, endings=kind.endings))["."]
    assert {key: path.name for key, path in found.items()} == {
        "0": "0_IUV.png", "0_INDS": "0_INDS.png", "1": "1_IUV.png", "1_INDS": "1_INDS.png", "2": "2_iuv.png",
    }  # fmt: skip
