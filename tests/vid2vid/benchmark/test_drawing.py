"""How fast sources are drawn: what is drawn is what training sees, and the table names all of it."""

from __future__ import annotations

import torch

from vid2vid.benchmark import drawing


def test_what_is_timed_is_drawn():
    made = {name: draw() for name, draw in drawing.drawn_sources(64).items()}
    assert {name: tuple(picture.shape) for name, picture in made.items()} == {
        "face, curves and distances": (15, 64, 64),
        "face, curves": (1, 64, 64),
        "pose, with hands and face": (3, 64, 64),
        "edges": (1, 64, 64),
    }
    assert all(int((picture[0] > 127).sum()) > 50 for picture in made.values())


def test_the_table_has_frames_a_second_of_one_core(monkeypatch):
    clock = iter(range(1000))  # a second for every round of 20 frames
    monkeypatch.setattr(drawing, "SIZE", 64)
    monkeypatch.setattr(drawing.time, "process_time", lambda: float(next(clock)))
    threads = torch.get_num_threads()
    lines = list(drawing.suite(1, "typed"))
    assert lines[0].startswith("`typed`: ")
    names = ("face, curves and distances", "face, curves", "pose, with hands and face", "edges")
    assert lines[3:] == [f"| {name} | 20 |" for name in names]
    assert torch.get_num_threads() == threads
