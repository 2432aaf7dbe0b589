"""A clip followed frame by frame: figures known by hand, and what ends a clip."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.helpers.made_clip import Clip
from tests.helpers.made_run import street_config
from trainer.data.street.world import StreetWorld
from vid2vid.config import DataConfig, FlowMethod
from vid2vid.data.street import open_street
from vid2vid.drift.measure import flow_method, measure_clip

SIZE = (24, 24)


class Shown:
    """In place of a rollout: shows what each frame holds as ``shown``."""

    def step(self, frame: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        return frame["shown"], {}


ROLLOUT: Any = Shown()


def flat(red: int, green: int, blue: int) -> Tensor:
    return torch.tensor([red, green, blue], dtype=torch.uint8).view(3, 1, 1).expand(3, *SIZE).contiguous()


def frame(shown: Tensor, real: Tensor | None = None, **more: Any) -> dict[str, Any]:
    still = {"flow": torch.zeros(2, *SIZE), "confidence": torch.ones(1, *SIZE, dtype=torch.uint8)}
    return {"shown": shown, "image": real, **still, **more}


def test_figures_of_flat_frames() -> None:
    """Grey 51 to grey 102 of 255 at rest: a warping error of 0.2; the real video stays as it is."""
    real = flat(255, 0, 51)
    clip = Clip([frame(flat(51, 51, 51), real), frame(flat(102, 102, 102), real)])
    curve = measure_clip(ROLLOUT, clip, 2, FlowMethod.exact)
    assert curve.ended is None and curve.values.shape == (2, 10)
    assert curve.values[0, :4].tolist() == pytest.approx([0, 0.2, 0.2, 0.2], abs=1e-6)
    assert curve.values[1, :4].tolist() == pytest.approx([0, 0.4, 0.4, 0.4], abs=1e-6)
    assert curve.values[1, 4].item() == pytest.approx(0.2, abs=1e-6) and torch.isnan(curve.values[0, 4])
    assert curve.values[1, 5:].tolist() == pytest.approx([0, 1, 0, 0.2, 0], abs=1e-6)


def test_gradient_of_a_ramp_and_no_trust_no_error() -> None:
    ramp = torch.arange(24, dtype=torch.uint8).mul(5).expand(3, *SIZE).contiguous()
    none = {"confidence": torch.zeros(1, *SIZE, dtype=torch.uint8)}
    curve = measure_clip(ROLLOUT, Clip([frame(ramp, ramp, **none)] * 2), 2, FlowMethod.exact)
    assert curve.values[:, 0].tolist() == pytest.approx([5 / 255] * 2) and torch.isnan(curve.values[:, 4]).all()


def test_what_ends_a_clip() -> None:
    grey = flat(9, 9, 9)
    cut = Clip([frame(grey), frame(grey), frame(grey, begins=True)])
    curve = measure_clip(ROLLOUT, cut, 3, FlowMethod.dis)
    assert curve.ended == "another scene begins at frame 2" and len(curve.values) == 2
    assert torch.isnan(curve.values[:, 5:]).all(), "there is no real video"
    short = measure_clip(ROLLOUT, Clip([frame(grey)]), 3, FlowMethod.dis)
    assert short.ended == "it has 1 frames"


def test_with_pictures_alone_the_flow_is_estimated() -> None:
    """A picture that moves by 2 pixels: what does not move along has an error, what does has none."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 12, 14, generator=generator)
    wide = torch.nn.functional.interpolate(coarse, scale_factor=8, mode="bilinear")[0].mul(255).to(torch.uint8)
    first, second = wide[:, :, :96].contiguous(), wide[:, :, 2:98].contiguous()
    moving = [{"shown": first, "image": first}, {"shown": second, "image": second}]
    still = [{"shown": first, "image": first}, {"shown": first, "image": second}]
    along, stays = (measure_clip(ROLLOUT, Clip(c), 2, FlowMethod.dis).values[1] for c in (moving, still))
    assert along[4] == along[9] and along[4] < 0.01 and stays[4] > 2 * stays[9]


def test_which_flow() -> None:
    assert flow_method(DataConfig(flow=FlowMethod.none), True) is FlowMethod.exact
    assert flow_method(DataConfig(flow=FlowMethod.farneback), False) is FlowMethod.farneback
    assert flow_method(DataConfig(flow=FlowMethod.exact), False) is FlowMethod.dis
    assert flow_method(DataConfig(flow=FlowMethod.precomputed), False) is FlowMethod.dis


def test_the_street_tells_its_flow_when_asked() -> None:
    config = street_config((32, 64))
    street = open_street(config, "test", 0, 3)
    assert all("flow" not in one for one in street)
    street.with_flow = True
    frames = list(street)
    sample = StreetWorld(config.data.world_seed, 0, "test").render_clip(0, 3, 1, (32, 64))
    assert "flow" not in frames[0]
    for k in (1, 2):
        assert abs(frames[k]["flow"] - sample["flow"][k]).max() < 0.01
        assert (frames[k]["confidence"] == sample["confidence"][k]).all()
