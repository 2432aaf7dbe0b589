"""The contrast of styles of a generator that paints the vectors themselves, with a known flicker."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from trainer.device.compute import Compute
from vid2vid.config import DataConfig, FirstFrame, ModelConfig
from vid2vid.encoding import SourceEncoder
from vid2vid.evaluate.style_contrast import style_contrast
from vid2vid.styles.assigned import AssignedStyles
from vid2vid.styles.sources import Given

ENCODER = SourceEncoder(ModelConfig(label_ids=[7, 26], style_channels=3, past_frames=2), DataConfig())
FLICKER = 8 / 127.5  # 8 levels of 255, up and down


def signs(frames: int) -> Tensor:
    return torch.tensor([1.0, -1.0] * 8)[:frames].view(1, -1, 1, 1, 1)


def painter(source: Tensor, **_: Any) -> Any:
    frames = source[:, 2:, -3:] + FLICKER * signs(source.shape[1] - 2)
    return SimpleNamespace(frames=frames, hallucination=None, flow=None, mask=None, past=[])


def washer(source: Tensor, **_: Any) -> Any:
    """Colours that pale and come back."""
    frames = source[:, 2:, -3:] * (1 + 0.1 * signs(source.shape[1] - 2))
    return SimpleNamespace(frames=frames, hallucination=None, flow=None, mask=None, past=[])


def turner(source: Tensor, **_: Any) -> Any:
    """The second colour takes a fifth of the first, up and down."""
    frames = source[:, 2:, -3:].clone()
    frames[:, :, 1] += 0.2 * source[:, 2:, -3] * signs(frames.shape[1])[:, :, 0]
    return SimpleNamespace(frames=frames, hallucination=None, flow=None, mask=None, past=[])


def clip(small: bool = False) -> dict[str, Tensor]:
    """Road with a car of 16 pixels of 256, or of none, and one of 32 in the last two of four frames."""
    labels = torch.full((1, 4, 16, 16), 7, dtype=torch.int16)
    instances = labels.int()
    labels[:, :, :4, :4] = 7 if small else 26
    instances[:, :, :4, :4] = 7 if small else 26001
    labels[:, 2:, 8:10], instances[:, 2:, 8:10] = 26, 26002
    return {"labels": labels, "instances": instances, "images": torch.zeros(1, 4, 3, 16, 16, dtype=torch.uint8)}


def styling(car: list[float], road: float) -> AssignedStyles:
    vectors = {7: np.full(3, road, np.float32), 26: np.array(car, np.float32)}
    return AssignedStyles(Given(vectors), ENCODER, {26})


def measured(
    *clips: dict[str, Tensor], start: FirstFrame = FirstFrame.model, generator: Any = painter
) -> dict[str, float]:
    # 40, 0, -30 levels apart: 50; the road, which is no thing, by far more
    pair = styling([0.0, 0.2, 0.4], -0.5), styling([40 / 127.5, 0.2, 0.4 - 30 / 127.5], 0.5)
    generator.past_from_images = lambda images, scales: images
    found = style_contrast(generator, ENCODER, clips, pair, compute=Compute(torch.device("cpu")), first_frame=start)
    assert set(found.rows()) == set(found.values())
    return found.values()


def test_colours_between_styles_and_over_frames() -> None:
    """The car that is there in two frames only does not count."""
    found = measured(clip())
    assert found["style_difference_26"] == pytest.approx(50, abs=1)  # pixels are rounded
    assert found["style_variation_26"] == pytest.approx(8 * 3**0.5, abs=0.5)
    assert found["style_contrast_26"] == pytest.approx(50 / (8 * 3**0.5), rel=0.05)


def test_what_both_videos_have_alike_is_no_drift() -> None:
    assert measured(clip())["style_drift_26"] == pytest.approx(0, abs=0.01)
    paling = measured(clip(), generator=washer)
    assert paling["style_drift_26"] == pytest.approx(0, abs=0.01)
    assert paling["style_difference_26"] == pytest.approx(50, abs=1)


def test_a_difference_that_turns_is_drift() -> None:
    """40, 8 and -30 levels, then 40, -8 and -30."""
    turning = measured(clip(), generator=turner)
    assert turning["style_drift_26"] == pytest.approx(8 / 50 / 2**0.5, abs=0.01)
    assert turning["style_difference_26"] == pytest.approx(50, abs=1)


def test_the_real_frames_variation_stands_beside() -> None:
    flickering = clip()
    flickering["images"][:, ::2, 1, :4, :4] = 20  # 10 above and below the mean
    assert measured(flickering)["style_variation_real_26"] == pytest.approx(10)
    assert measured(clip())["style_variation_real_26"] == 0


def test_real_frames_before_the_clip_have_no_style() -> None:
    """Two real frames of six, black and the same in both videos: nothing of them is measured."""
    longer = {name: torch.cat([value, value[:, :2]], dim=1) for name, value in clip().items()}
    longer["labels"][:, 2:] = longer["labels"][:, :1]
    longer["instances"][:, 2:] = longer["instances"][:, :1]
    found = measured(longer, start=FirstFrame.real)
    assert found["style_difference_26"] == pytest.approx(50, abs=1)
    assert found["style_variation_26"] == pytest.approx(8 * 3**0.5, abs=0.5)


def test_without_instances_large_enough_there_is_nothing_to_say() -> None:
    assert measured(clip(small=True)) == {}
    assert measured({**clip(), "readable": torch.zeros(1)}) == {}
