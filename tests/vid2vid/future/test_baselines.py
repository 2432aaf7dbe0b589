"""The rivals of a prediction do what they are called."""

import torch

from vid2vid.config import DataConfig, FlowMethod
from vid2vid.future.baselines import FlowExtrapolation, last_flow


def test_the_last_motion_goes_on() -> None:
    image = torch.zeros(3, 2, 8, dtype=torch.uint8)
    image[:, :, 1] = 200
    labels = torch.zeros(2, 8, dtype=torch.int16)
    labels[:, 1] = 26
    flow = torch.zeros(2, 2, 8)
    flow[0] = -1.5  # it came from 1.5 pixels further left
    constant = FlowExtrapolation(image, labels, flow)
    first, _ = constant.step()
    assert first[0, 0].tolist() == [0, 0, 100, 100, 0, 0, 0, 0]
    second, second_labels = constant.step()
    assert second[0, 0].tolist() == [0, 0, 0, 0, 200, 0, 0, 0], "composed, not resampled twice"
    assert second_labels[0].tolist() == [0, 0, 0, 0, 26, 0, 0, 0]


def test_the_last_flow_is_seen_in_the_last_two_pictures() -> None:
    """Noise that jumps by 9 pixels and then by 3, under data whose exact flow nobody knows beforehand."""
    torch.manual_seed(0)
    coarse = torch.rand(1, 3, 16, 32)
    picture = torch.nn.functional.interpolate(coarse, scale_factor=4, mode="bilinear")[0].mul(255).to(torch.uint8)
    images = torch.stack([picture, picture.roll(9, 2), picture.roll(12, 2)])
    flow = last_flow(images, DataConfig(flow=FlowMethod.exact))
    middle = flow[:, 16:48, 40:100]
    assert abs(middle[0].median().item() + 3) < 0.2 and abs(middle[1].median().item()) < 0.2
