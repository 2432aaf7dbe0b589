"""The videos of a blind sheet: what would tell the sides apart, and runs whose videos can be compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.made_films import numbered, write_film
from tests.helpers.made_run import make_run, street_config
from tests.helpers.scripts import run_script
from trainer.errors import ConfigError
from vid2vid.preference.videos import check_alike


def film(path: Path, height: int = 48, frames: int = 4, fps: int = 25, title: str | None = None) -> Path:
    write_film(path, frames=[numbered(n, height) for n in range(frames)], fps=fps)
    if title is None:
        return path
    import av

    told = path.with_name(f"told-{path.name}")
    with av.open(str(path)) as source, av.open(str(told), "w") as target:
        target.metadata["title"] = title
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    return told


def test_nothing_but_the_pictures_tells_sides_apart(tmp_path: Path) -> None:
    a = {"x": film(tmp_path / "a.mp4")}
    check_alike(a, {"x": film(tmp_path / "b.mp4")})
    for number, (other, word) in enumerate(
        (
            ({"height": 64}, r"shape \(width / height 1.333 and 1.000\)"),
            ({"fps": 17}, r"rate \(25 and 17 frames/s\)"),
            ({"frames": 6}, r"length \(4 and 6 frames\)"),
            ({"title": "runs/ours"}, r"say of themselves \(title\).*-map_metadata -1"),
        )
    ):
        with pytest.raises(ConfigError, match=word):
            check_alike(a, {"x": film(tmp_path / f"{number}.mp4", **other)})  # type: ignore[arg-type]


def test_runs_that_show_other_streets_or_draw_styles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "one", street_config())
    elsewhere = street_config()
    elsewhere.data.world_seed = 9
    make_run(tmp_path / "elsewhere", elsewhere)
    styled = street_config()
    styled.model.style_channels = 3
    make_run(tmp_path / "styled", styled)
    for other, words in (("elsewhere", "data.world_seed=9"), ("styled", "fit_styles.py")):
        sides = (f"a={tmp_path / 'one'}", f"b={tmp_path / other}")
        assert run_script("ab_sheet", *sides, f"out={tmp_path / 'ab'}", "clips=1", "frames=2") == 2
        assert words in capsys.readouterr().err
        assert not (tmp_path / "ab").exists()
