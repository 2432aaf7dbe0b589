"""Reference flow against motion that is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from trainer.errors import ConfigError, DataError
from vid2vid.config import FlowMethod
from vid2vid.flow.estimate import (
    compose_confidence,
    compose_flow,
    estimate_clip,
    estimate_pair,
    inside,
    photometric_confidence,
    read_flow,
)
from vid2vid.model.warp import warp


def texture(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Noise of many scales, uint8 (3, height, width)."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3), np.float32)
    for size in (3, 6, 12, 24):
        noise = rng.standard_normal((height // size + 2, width // size + 2, 3)).astype(np.float32)
        total += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC) * size**0.5
    total = (total - total.min()) / (total.max() - total.min()) * 255
    return torch.from_numpy(total.astype(np.uint8)).permute(2, 0, 1).contiguous()


def translated(shift: tuple[int, int], height: int = 64, width: int = 128) -> tuple[torch.Tensor, torch.Tensor]:
    """(current, previous) with current(p) = previous(p + shift)."""
    big = texture(height + 40, width + 40)
    x, y = 20 + shift[0], 20 + shift[1]
    return big[:, y : y + height, x : x + width], big[:, 20 : 20 + height, 20 : 20 + width]


@pytest.mark.parametrize("shift", [(0, 0), (3, -2), (-7, 5)])
@pytest.mark.parametrize("method, bound", [(FlowMethod.dis, 0.5), (FlowMethod.farneback, 1.5)])
def test_translation_is_found(method, bound, shift):
    flow, confidence = estimate_pair(*translated(shift), method)
    assert flow.shape == (2, 64, 128) and flow.dtype == torch.float16
    assert confidence.shape == (1, 64, 128) and confidence.dtype == torch.uint8
    error = (flow.float() - torch.tensor(shift).view(2, 1, 1)).norm(dim=0)
    assert error[confidence[0] > 0].mean() < bound / 4 and error.mean() < bound
    assert confidence.float().mean() > 0.8


def test_warping_by_the_flow_gives_the_current_frame():
    current, previous = translated((5, 3))
    flow, confidence = estimate_pair(current, previous)
    error = (warp(previous[None].float(), flow[None].float()) - current[None]).abs().mean(1, keepdim=True)
    assert error[confidence[None] > 0].mean() < 3


def test_vectors_that_leave_the_frame_are_not_trusted():
    _, confidence = estimate_pair(*translated((9, 0)))
    assert confidence[0, :, -8:].sum() == 0 and confidence[0, 8:-8, 20:100].float().mean() > 0.95
    assert torch.equal(inside(torch.full((1, 2, 4, 8), 3.0))[0, 0, 0], torch.arange(8) < 5)


def test_occlusion_is_found():
    """A textured square moves over a still ground: what it uncovers was not visible before."""
    ground, square = texture(96, 160), texture(40, 40, seed=5)
    previous, current = ground.clone(), ground.clone()
    previous[:, 30:70, 50:90] = square
    current[:, 30:70, 60:100] = square
    flow, confidence = estimate_pair(current, previous)
    uncovered = confidence[0, 32:68, 50:59].float().mean()
    assert uncovered < 0.3
    assert confidence[0, 35:65, 65:95].float().mean() > 0.9  # the square itself moved by -10
    assert (flow[0, 35:65, 65:95].float() + 10).abs().mean() < 0.5
    assert confidence[0, :, 110:150].float().mean() > 0.9


def test_a_clip_begins_with_zeros():
    big = texture(64, 160)
    images = torch.stack([big[:, :, 3 * t : 3 * t + 128] for t in range(4)])
    flow, confidence = estimate_clip(images, FlowMethod.dis)
    assert flow.shape == (4, 2, 64, 128) and confidence.shape == (4, 1, 64, 128)
    assert not flow[0].any() and not confidence[0].any()
    assert (flow[1:, 0].float()[confidence[1:, 0] > 0] - 3).abs().mean() < 0.2
    assert estimate_clip(images[:1])[0].shape == (1, 2, 64, 128)


def test_photometric_confidence_is_the_originals():
    current = torch.zeros(1, 3, 4, 8)
    previous = torch.zeros(1, 3, 4, 8)
    previous[..., 4:] = 0.08  # 3 * 0.0064 = 0.0192
    previous[..., 6:] = 0.083  # 3 * 0.0069 = 0.0207
    trusted = photometric_confidence(current, previous, torch.zeros(1, 2, 4, 8))
    assert trusted[0, 0, 0].tolist() == [True] * 6 + [False] * 2
    assert photometric_confidence(current, previous, torch.zeros(1, 2, 4, 8), 0.5).all()


def test_composition_of_known_motion():
    """Where a and b move by constants the sum is exact; elsewhere the second flow is read at the moved place."""
    ab = torch.tensor([3.0, -1.0]).view(1, 1, 2, 1, 1).expand(1, 2, 2, 16, 24)
    bc = torch.tensor([-2.0, 4.0]).view(1, 1, 2, 1, 1).expand(1, 2, 2, 16, 24).to(torch.float16)
    both = compose_flow(ab, bc)
    assert both.dtype == torch.float32 and both.shape == ab.shape
    assert torch.allclose(both, torch.tensor([1.0, 3.0]).view(1, 1, 2, 1, 1).expand_as(both))
    ramp = torch.arange(24.0).expand(1, 16, 24)
    varying = torch.stack([ramp, torch.zeros_like(ramp)], 1)
    moved = compose_flow(ab[0, :1], varying)
    assert torch.allclose(moved[0, 0, 8, :21], 3 + ramp[0, 8, 3:]), "read three pixels to the right"


def test_composed_confidence_needs_both_steps():
    flow = torch.zeros(1, 2, 8, 16)
    flow[:, 0] = 4
    first, second = torch.ones(1, 1, 8, 16, dtype=torch.uint8), torch.ones(1, 1, 8, 16, dtype=torch.uint8)
    first[..., 2] = 0
    second[..., 9] = 0
    row = compose_confidence(first, second, flow)[0, 0, 3]
    assert row.dtype == torch.uint8 and row.tolist() == [1, 1, 0, 1, 1, 0] + [1] * 6 + [0] * 4


def test_composition_agrees_with_direct_estimation():
    big = texture(64, 160)
    a, b, c = (big[:, :, 4 * (2 - t) : 4 * (2 - t) + 128] for t in (2, 1, 0))
    ab, trusted_ab = estimate_pair(a, b)
    bc, trusted_bc = estimate_pair(b, c)
    ac, trusted_ac = estimate_pair(a, c)
    trusted = (compose_confidence(trusted_ab, trusted_bc, ab) > 0) & (trusted_ac > 0)
    assert trusted.float().mean() > 0.8
    assert ((compose_flow(ab, bc) - ac.float()).norm(dim=0)[trusted[0]]).mean() < 0.2


def test_what_cannot_be_estimated_says_why():
    frame = torch.zeros(3, 8, 8, dtype=torch.uint8)
    with pytest.raises(DataError, match=r"at least 12 pixels.*8x8"):
        estimate_pair(frame, frame)
    with pytest.raises(ConfigError, match=r"data\.flow=exact.*dis, farneback, raft"):
        estimate_pair(frame, frame, FlowMethod.exact)
    with pytest.raises(ValueError, match="different shapes"):
        estimate_pair(frame, frame[:, :4])


def test_raft_names_what_it_lacks(tmp_path):
    frame = torch.zeros(3, 128, 128, dtype=torch.uint8)
    with pytest.raises(ConfigError, match=r"data\.flow_weights is not set.*raft_large"):
        estimate_pair(frame, frame, FlowMethod.raft)
    with pytest.raises(ConfigError, match=r"none\.pth: no such file"):
        estimate_pair(frame, frame, FlowMethod.raft, str(tmp_path / "none.pth"))
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ConfigError, match=r"other\.pth: not weights of raft_large"):
        estimate_pair(frame, frame, FlowMethod.raft, str(tmp_path / "other.pth"))
    with pytest.raises(DataError, match="at least 128 pixels"):
        estimate_pair(frame[:, :64], frame[:, :64], FlowMethod.raft, str(tmp_path / "other.pth"))


@pytest.mark.slow
def test_raft_runs_with_local_weights(tmp_path):
    from torchvision.models.optical_flow import raft_large

    torch.manual_seed(0)
    torch.save(raft_large().state_dict(), tmp_path / "raft.pth")
    frame = texture(130, 140)  # not divisible by 8
    flow, confidence = estimate_pair(frame, frame, FlowMethod.raft, str(tmp_path / "raft.pth"))
    assert flow.shape == (2, 130, 140) and flow.isfinite().all() and confidence.shape == (1, 130, 140)


FLOW = np.random.default_rng(0).normal(0, 5, (2, 6, 9)).astype(np.float32)


def test_flo_files(tmp_path):
    cv2.writeOpticalFlow(str(tmp_path / "a.flo"), np.ascontiguousarray(FLOW.transpose(1, 2, 0)))
    flow, valid = read_flow(tmp_path / "a.flo")
    assert np.array_equal(flow.numpy(), FLOW) and valid.shape == (1, 6, 9) and valid.all()
    data = (tmp_path / "a.flo").read_bytes()
    (tmp_path / "a.flo").write_bytes(data[:-8])
    with pytest.raises(DataError, match=r"a\.flo: damaged: its header says 9x6"):
        read_flow(tmp_path / "a.flo")
    (tmp_path / "a.flo").write_bytes(b"JUNK" + data[4:])
    with pytest.raises(DataError, match="does not begin with PIEH"):
        read_flow(tmp_path / "a.flo")


def test_kitti_files(tmp_path):
    coded = np.zeros((6, 9, 3), np.uint16)  # as OpenCV writes: valid, v, u
    coded[..., 1:] = np.round(FLOW[::-1].transpose(1, 2, 0) * 64 + 32768)
    coded[..., 0] = 1
    coded[2, 3] = 0
    cv2.imwrite(str(tmp_path / "a.png"), coded)
    flow, valid = read_flow(tmp_path / "a.png")
    assert valid[0, 2, 3] == 0 and valid.sum() == 53 and (flow[:, 2, 3] == 0).all()
    good = valid[0].numpy() > 0
    assert np.abs(flow.numpy() - FLOW)[:, good].max() <= 0.5 / 64 + 1e-4
    cv2.imwrite(str(tmp_path / "b.png"), coded.astype(np.uint8))
    with pytest.raises(DataError, match=r"b\.png: KITTI flow is a 16-bit PNG"):
        read_flow(tmp_path / "b.png")


def test_npz_files(tmp_path):
    confidence = np.ones((6, 9), np.uint8)
    confidence[1] = 0
    np.savez(tmp_path / "a.npz", flow=FLOW.transpose(1, 2, 0), confidence=confidence)
    flow, valid = read_flow(tmp_path / "a.npz")
    assert np.array_equal(flow.numpy()[:, 0], FLOW[:, 0]) and valid.sum() == 45
    np.savez(tmp_path / "b.npz", other=FLOW)
    with pytest.raises(DataError, match=r"b\.npz: needs an array named flow, has other"):
        read_flow(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", flow=FLOW[0])
    with pytest.raises(DataError, match=r"c\.npz: flow must be"):
        read_flow(tmp_path / "c.npz")
    (tmp_path / "d.npz").write_bytes(b"junk")
    with pytest.raises(DataError, match=r"d\.npz: cannot be read as flow"):
        read_flow(tmp_path / "d.npz")
    with pytest.raises(DataError, match=r"e\.npz: no such flow file"):
        read_flow(tmp_path / "e.npz")
    with pytest.raises(DataError, match=r"e\.txt: flow files are one of"):
        read_flow(tmp_path / "e.txt")
