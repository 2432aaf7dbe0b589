"""The street world: determinism, disjoint splits, exact flow, ids, any size, endless and in constant memory."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest

from trainer.data.street.camera import View
from trainer.data.street.canvas import SIZE
from trainer.data.street.materials import Material
from trainer.data.street.textures import LEVELS, atlas, decimation
from trainer.data.street.world import StreetWorld, mirror

BASIC = {7, 8, 11, 21, 23, 24, 26}
DETAIL = BASIC | {17, 20, 22}
ARRAYS = ("labels", "instances", "images", "flow", "confidence")


def sample_at(picture: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Bilinear (C, H, W) ``picture`` at p + flow, flow (2, H, W) in pixels; written apart from the renderer."""
    height, width = flow.shape[1:]
    y, x = np.mgrid[:height, :width].astype(np.float64)
    x, y = np.clip(x + flow[0], 0, width - 1), np.clip(y + flow[1], 0, height - 1)
    left, top = np.minimum(x.astype(int), width - 2), np.minimum(y.astype(int), height - 2)
    fx, fy = x - left, y - top
    upper = picture[:, top, left] * (1 - fx) + picture[:, top, left + 1] * fx
    lower = picture[:, top + 1, left] * (1 - fx) + picture[:, top + 1, left + 1] * fx
    return upper * (1 - fy) + lower * fy


def warp_errors(clip: dict) -> tuple[float, float, float]:
    """Mean |x_t - warp(x_{t-1})| (0..1), the same without motion, and the share of labels that agree; all trusted."""
    images = clip["images"].astype(np.float64) / 255
    flow = clip["flow"].astype(np.float64)
    moved, still, agree = [], [], []
    for t in range(1, len(images)):
        trusted = clip["confidence"][t, 0] > 0
        moved.append(np.abs(images[t] - sample_at(images[t - 1], flow[t])).mean(0)[trusted].mean())
        still.append(np.abs(images[t] - images[t - 1]).mean(0)[trusted].mean())
        height, width = trusted.shape
        y, x = np.mgrid[:height, :width]
        x = np.clip(np.rint(x + flow[t, 0]), 0, width - 1).astype(int)
        y = np.clip(np.rint(y + flow[t, 1]), 0, height - 1).astype(int)
        agree.append((clip["labels"][t - 1][y, x] == clip["labels"][t])[trusted].mean())
    return float(np.mean(moved)), float(np.mean(still)), float(np.mean(agree))


def test_the_same_frame_however_it_is_reached() -> None:
    """A frame depends on (seed, split, clip, index) only, not on what was rendered before."""
    wanderer = StreetWorld(3, 1, "train")
    for frame in (900, 0, 411):
        wanderer.render(frame, (32, 64))
    again, fresh = wanderer.render(40, (32, 64)), StreetWorld(3, 1, "train").render(40, (32, 64))
    for key in ("labels", "instances", "image", "depth"):
        assert np.array_equal(again[key], fresh[key])
    clip = StreetWorld(3, 1, "train").render_clip(36, 3, 2, (32, 64))
    assert np.array_equal(clip["images"][2], fresh["image"])


def test_no_two_scenes_are_the_same() -> None:
    """Other split, clip or seed: another street."""
    frames = {
        (seed, split, clip): StreetWorld(seed, clip, split).render(0, (32, 64))["image"].tobytes()
        for seed in (0, 1)
        for split in ("train", "val", "test")
        for clip in range(3)
    }
    assert len(set(frames.values())) == len(frames)
    with pytest.raises(ValueError, match="dev"):
        StreetWorld(0, 0, "dev")


@pytest.mark.parametrize("step", [1, 3])
def test_flow_carries_the_previous_frame_onto_this_one(step: int) -> None:
    """On trusted pixels the warped previous frame is this frame, with the same labels; without motion it is not."""
    clips = [StreetWorld(0, clip, "val").render_clip(20, 6, step, (64, 128)) for clip in range(4)]
    moved, still, agree = (float(np.mean(column)) for column in zip(*map(warp_errors, clips), strict=True))
    trusted = np.mean([clip["confidence"][1:].mean() for clip in clips])
    print(f"step {step}: warped {moved:.4f}, still {still:.4f}, labels {agree:.4f}, trusted {trusted:.3f}")
    assert moved < 0.013 * step
    assert moved < 0.6 * still
    assert agree > 0.97
    assert trusted > 0.6
    for clip in clips:
        assert not clip["flow"][0].any() and not clip["confidence"][0].any()
        assert np.isfinite(clip["flow"]).all()


def test_depth_at_the_flow_target_and_occlusion() -> None:
    """Static ground: its depth changes by the drive; pixels whose thing was hidden before are not trusted."""
    world = StreetWorld(0, 0, "val")
    before = world.render(30, (64, 128))
    now = world.render(31, (64, 128), previous=before["picture"])
    trusted = now["confidence"][0] > 0
    road = trusted & (now["labels"] == 7)
    gone_back = sample_at(1 / before["depth"][None].astype(float), now["flow"])[0]
    driven = 1 / gone_back[road] - now["depth"][road]
    expected = world.scene.camera(31 / 16)[1] - world.scene.camera(30 / 16)[1]
    assert abs(np.median(driven) - expected) < 0.02
    assert np.mean(np.abs(driven - expected) < 0.15) > 0.9
    # instances tell things apart: a trusted pixel comes from the same thing
    height, width = trusted.shape
    y, x = np.mgrid[:height, :width]
    x, y = np.rint(x + now["flow"][0]).astype(int), np.rint(y + now["flow"][1]).astype(int)
    same = before["instances"][y.clip(0, height - 1), x.clip(0, width - 1)] == now["instances"]
    things = trusted & np.isin(now["labels"], (24, 26))
    assert things.sum() > 50 and same[things].all()
    assert same[trusted].mean() > 0.99  # the seam between road and sidewalk lies within one thing, the ground
    assert 0.01 < 1 - trusted.mean() < 0.4


def test_sky_stays_and_ground_streams_towards_the_viewer() -> None:
    clip = StreetWorld(0, 2, "val").render_clip(5, 2, 1, (64, 128))
    labels, flow, trusted = clip["labels"][1], clip["flow"][1], clip["confidence"][1, 0] > 0
    assert np.abs(flow[:, (labels == 23) & trusted]).max() < 1
    bottom = np.zeros_like(trusted)
    bottom[-12:] = True
    assert (flow[1][(labels == 7) & bottom & trusted] < -0.3).mean() > 0.95


def test_ids() -> None:
    """Classes as promised, and instance ids class * 1000 + k for people and cars, the class for everything else."""
    basic, detail = set(), set()
    for clip in range(4):
        for frame in (0, 150, 300):
            for found, detailed in ((basic, False), (detail, True)):
                picture = StreetWorld(0, clip, "train", detailed).render(frame, (64, 128))
                labels, instances = picture["labels"], picture["instances"]
                assert labels.dtype == np.int16 and instances.dtype == np.int32
                things = np.isin(labels, (24, 26))
                assert np.array_equal(instances[~things], labels[~things])
                assert np.array_equal(instances[things] // 1000, labels[things])
                found |= set(np.unique(labels).tolist())
    assert basic == BASIC
    assert detail == DETAIL


def test_a_street_has_its_parts_in_their_places() -> None:
    """Over many frames: sky on top, road at the bottom, every class seen, no class everywhere."""
    shares = dict.fromkeys(BASIC, 0.0)
    frames = [StreetWorld(1, clip, "val").render(40 * clip, (32, 64))["labels"] for clip in range(16)]
    for labels in frames:
        for label in BASIC:
            shares[label] += float((labels == label).mean()) / len(frames)
    assert min(shares.values()) > 0.002, shares
    assert max(shares.values()) < 0.5, shares
    stack = np.stack(frames)
    assert (stack[:, :2, 24:40] == 23).mean() > 0.6
    assert (stack[:, -2:, 24:40] == 7).mean() > 0.8


@pytest.mark.parametrize("resolution", [(16, 16), (33, 57), (48, 200), (96, 64)])
def test_any_resolution(resolution: tuple[int, int]) -> None:
    clip = StreetWorld(0, 0, "val").render_clip(0, 2, 1, resolution)
    assert clip["images"].shape == (2, 3, *resolution)
    assert clip["flow"].shape == (2, 2, *resolution)
    assert np.isin(clip["labels"], list(BASIC)).all()


def test_the_picture_does_not_depend_on_the_resolution() -> None:
    """Half the size shows the same street: its labels are those of the larger picture."""
    world = StreetWorld(0, 4, "val")
    small, large = world.render(10, (64, 128)), world.render(10, (192, 384))
    assert (small["labels"] == large["labels"][1::3, 1::3]).mean() > 0.98
    averaged = large["image"].reshape(3, 64, 3, 128, 3).mean((2, 4))
    assert np.abs(averaged - small["image"]).mean() < 10


def test_supersampling_smooths_and_keeps_labels_and_flow() -> None:
    plain = StreetWorld(0, 1, "val").render_clip(0, 4, 1, (64, 128))
    smooth = StreetWorld(0, 1, "val").render_clip(0, 4, 1, (64, 128), supersample=2)
    for key in ("labels", "instances", "flow", "confidence"):
        assert np.array_equal(plain[key], smooth[key])
    assert 0 < np.abs(plain["images"].astype(int) - smooth["images"]).mean() < 12
    assert warp_errors(smooth)[0] < warp_errors(plain)[0]


def test_zoomed_view_is_a_crop_of_a_larger_picture() -> None:
    world = StreetWorld(0, 5, "val")
    whole = world.render(0, (64, 128))
    crop = world.render(0, (32, 64), view=View.of(32, 64, zoom=2.0, shift=(1.0, 0.0)))
    assert np.array_equal(crop["labels"], whole["labels"][32:, :64])
    assert np.abs(crop["image"].astype(int) - whole["image"][:, 32:, :64]).mean() < 1


def test_an_endless_drive_in_constant_memory() -> None:
    """Frame 3,000 and later exist, the road has gone on, and nothing piles up."""
    world = StreetWorld(0, 7, "val")
    for frame in range(0, 300, 10):
        world.render(frame, (16, 32))
    tracemalloc.start()
    base = tracemalloc.get_traced_memory()[0]
    for frame in range(300, 6000, 60):
        last = world.render(frame, (16, 32))
    grown = tracemalloc.get_traced_memory()[0] - base
    tracemalloc.stop()
    assert grown < 2**20, f"{grown / 2**20:.1f} MiB more"
    assert len(np.unique(last["labels"])) >= 4
    far = world.render_clip(3000, 3, 1, (64, 128))
    assert warp_errors(far)[0] < 0.02
    assert not np.array_equal(far["labels"][0], world.render(0, (64, 128))["labels"])


def test_neighbours_differ_in_instance() -> None:
    """At one moment every walker and car has an id of its own."""
    scene = StreetWorld(0, 3, "train").scene
    for t in (0.0, 40.0, 200.0):
        rows = scene.surfaces(t)
        things = rows[np.isin(rows[:, 21], (24, 26))]
        # parts of one thing share depth and motion; two things with one id would differ in them
        identity = {tuple(row) for row in things[:, [22, 25, 14, 16]].tolist()}
        depths = {(row[22], row[25], row[14], row[16], row[26]) for row in things}
        assert len(identity) == len(depths)


def test_mirrored_clip_is_consistent() -> None:
    """Flipping twice gives the clip back; the flipped flow warps the flipped frames as well as before."""
    clip = StreetWorld(0, 0, "train").render_clip(0, 3, 1, (64, 128))
    flipped = mirror(clip)
    for key in ARRAYS:
        assert np.array_equal(mirror(flipped)[key], clip[key])
    assert np.array_equal(flipped["labels"], clip["labels"][..., ::-1])
    assert abs(warp_errors(flipped)[0] - warp_errors(clip)[0]) < 1e-6
    wrong = {**flipped, "flow": clip["flow"][..., ::-1]}
    assert warp_errors(wrong)[0] > 1.2 * warp_errors(clip)[0]


def test_textures_are_tiles_without_aliases() -> None:
    """Coarse levels keep the mean of a texture and lose its contrast."""
    textures = atlas()
    assert (textures.base >= 0).all() and len(textures.base) == len(Material) * LEVELS**2

    def level(material: Material, la: int, lb: int) -> np.ndarray:
        rows, columns = SIZE >> decimation(lb), SIZE >> decimation(la)
        start = textures.base[(material * LEVELS + la) * LEVELS + lb]
        words = textures.texels[start : start + rows * columns]
        return words.view(np.uint8).reshape(rows, columns, 4).astype(float)

    for material in Material:
        fine, coarse = level(material, 0, 0), level(material, LEVELS - 1, LEVELS - 1)
        assert np.abs(fine.mean((0, 1)) - coarse.mean((0, 1))).max() < 4
        assert (coarse.std((0, 1)) <= fine.std((0, 1)) + 1).all()
    stripes = level(Material.zebra, 3, 0)[..., 0]  # blurred across its stripes only
    assert stripes.std() < level(Material.zebra, 0, 0)[..., 0].std()


def test_speed_is_reported() -> None:
    """Printed (pytest -s); the bound only catches a renderer that has become many times slower."""
    for resolution in ((64, 128), (128, 256)):
        rates = []
        for clip in range(3):
            world, start = StreetWorld(0, clip, "train"), time.process_time()
            world.render_clip(0, 24, 1, resolution)
            rates.append(24 / (time.process_time() - start))
        print(f"{resolution}: {np.median(rates):.0f} frames/s")
        assert max(rates) > 15
