"""What is wrong with a label predictor's configuration is told before anything is built, with a remedy."""

from pathlib import Path

import pytest

from tests.helpers.composed import problems_of


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["model.past_frames=0"], "model.past_frames=0: must be at least 1"),
        (["model.lambda_flow=-1"], "model.lambda_flow=-1.0: must be at least 0"),
        (["model.lambda_cross_entropy=0"], "nothing would say which class"),
        (["model.label_ids=[7,7]"], "model.label_ids=[7,7]: [7] stands there more than once; name each once"),
        (["data.flow=none"], "data.flow=none, but model.lambda_flow, model.lambda_flow_warp need reference flow"),
        (["data.val_frames=4"], "model.past_frames=4 of them are real: give at least 5"),
        (["resolution=[60,128]"], "height 60 must be a multiple of 8"),
        (["curriculum.stages.all.frames=6"], "frames=6 must be a multiple of segment_frames=4"),
        (["data.kind=video", "data.flow=dis", "data.root=/"], "label maps are predicted from label maps of ids"),
    ],
)
def test_problems(words: list[str], told: str) -> None:
    (problem,) = problems_of(["model=label_predictor", *words])
    assert told in problem


def test_the_presets_are_right(tmp_path: Path) -> None:
    assert problems_of(["model=label_predictor"]) == []
    assert problems_of(["experiment=vid2vid/demo_future"]) == []
    without = ["data.flow=none", "model.lambda_flow=0", "model.lambda_flow_warp=0"]
    assert problems_of(["model=label_predictor", "data=folders", f"data.root={tmp_path}", *without]) == []
