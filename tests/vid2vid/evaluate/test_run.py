"""Held-out clips generated freely: what is counted, how parts add up, the table and eval.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.helpers.live_tensors import LiveTensors
from tests.helpers.made_run import make_run, street_config
from tests.helpers.scripts import run_script
from trainer.data.loader import make_eval_loader
from trainer.device.compute import CPU
from trainer.errors import ConfigError, DataError
from vid2vid.config import FirstFrame, FlowMethod, ModelConfig, Vid2VidConfig
from vid2vid.data import build_dataset
from vid2vid.encoding import SourceEncoder, float_to_images, images_to_float, prepend_context
from vid2vid.evaluate import metrics
from vid2vid.evaluate.measure import evaluate_clips
from vid2vid.evaluate.run import Evaluation, evaluate_run, format_table
from vid2vid.generate.clip import MADE, generate_clip
from vid2vid.generate.rollout import Rollout
from vid2vid.model import Generator, GeneratorOutput
from vid2vid.trained import load_generator


def loader(config: Vid2VidConfig, batch_size: int = 1, **options: Any) -> Any:
    dataset = build_dataset(config, "val", (32, 64), config.data.val_frames)
    return make_eval_loader(dataset, batch_size=batch_size, **options)


def network(config: Vid2VidConfig) -> tuple[Generator, SourceEncoder]:
    torch.manual_seed(0)
    encoder = SourceEncoder(config.model, config.data)
    return Generator(config.model, encoder.channels).eval(), encoder


class Playback(nn.Module):
    """Stands in for a generator: plays given frames, whatever the labels; hallucinates them with another contrast."""

    def __init__(self, frames: Tensor, mask: float = 0.25, contrast: float = 1.0) -> None:
        super().__init__()
        self.frames, self.mask, self.contrast, self.position = frames, mask, contrast, 0

    def past_from_images(self, images: Tensor, scales: int | None = None) -> list[Tensor]:
        return [images]

    def forward(self, source: Tensor, past: Any, foreground: Any, scales: Any, first: bool) -> GeneratorOutput:
        count = source.shape[1] - 2
        if first:
            self.position = 0
        frames = self.frames[None, self.position : self.position + count]
        self.position += count
        mask = torch.full((1, count, 1, *frames.shape[-2:]), self.mask)
        if first:
            mask[:, 0] = 1
        return GeneratorOutput(frames, frames * self.contrast, frames[:, :, :2] * 0, mask, [frames[:, -2:]])


@pytest.mark.parametrize("first_frame", list(FirstFrame))
def test_segments_change_nothing(first_frame: FirstFrame):
    config = street_config()
    config.data.val_frames = 7
    generator, encoder = network(config)
    batch = {k: v for k, v in next(iter(loader(config))).items() if isinstance(v, Tensor)}
    options = {"keep": MADE, "first_frame": first_frame}
    at_once = generate_clip(generator, encoder, batch, segment=100, **options)
    assert set(at_once) == set(MADE)
    for segment in (1, 3):
        parts = generate_clip(generator, encoder, batch, segment=segment, **options)
        for name, value in at_once.items():
            torch.testing.assert_close(parts[name], value, atol=1e-4, rtol=0)
    assert at_once["frames"].shape == (1, 7, 3, 32, 64)
    if first_frame is FirstFrame.model:
        with torch.no_grad():
            direct = generator(prepend_context(encoder.encode(batch), 2)).frames
        torch.testing.assert_close(at_once["frames"], direct, atol=1e-5, rtol=0)


@pytest.mark.parametrize("first_frame", list(FirstFrame))
def test_what_is_measured_is_what_is_generated(first_frame: FirstFrame):
    """From the same start evaluation and generation make the same frames, the first one included."""
    config = street_config()
    config.data.val_frames = 4
    generator, encoder = network(config)
    batch = {k: v for k, v in next(iter(loader(config))).items() if isinstance(v, Tensor)}
    picture = batch["images"][0, -1]
    measured = generate_clip(generator, encoder, batch, first_frame=first_frame)["frames"][0]
    rollout = Rollout(generator, encoder, CPU, first_frame=first_frame, image=picture)
    inputs = {"labels": "labels", "instances": "instances", "image": "images"}
    made = [rollout.step({k: batch[name][0, t] for k, name in inputs.items()})[1]["frame"] for t in range(4)]
    torch.testing.assert_close(torch.stack(made), measured, atol=1e-4, rtol=0)


def test_a_perfect_generator_gets_perfect_marks():
    config = street_config()
    batch = next(iter(loader(config)))
    playback = Playback(images_to_float(batch["images"][0]), contrast=0.5)
    pairs = evaluate_clips(playback, SourceEncoder(config.model, config.data), [batch], compute=CPU)  # type: ignore[arg-type]
    values = {name: total / weight for name, (total, weight) in pairs.items()}
    assert values["sharpness_hallucination"] == pytest.approx(0.5, abs=0.01)
    assert values["period_2"] == values["period_2_real"] > 0
    assert values["psnr"] == 100 and values["ssim"] == pytest.approx(1) and values["l1"] == 0
    assert values["sharpness"] == values["sharpness_all"] == pytest.approx(1)
    assert values["warp_error"] == values["warp_error_real"] > 0
    assert values["mask_mean"] == pytest.approx(0.25), "the first frame, which has no past, is left out"
    real = batch["images"][0].float() / 255
    total, weight = metrics.warping_error(real, batch["flow"][0].float(), batch["confidence"][0])
    assert pairs["warp_error_real"] == (pytest.approx(total.item()), weight.item())


def test_real_start_measures_only_what_was_generated():
    config = street_config()
    batch = next(iter(loader(config)))
    wrong = torch.zeros(4, 3, 32, 64)
    playback, encoder = Playback(wrong), SourceEncoder(config.model, config.data)
    pairs = evaluate_clips(playback, encoder, [batch], compute=CPU, first_frame=FirstFrame.real)  # type: ignore[arg-type]
    generated = float_to_images(wrong[:2]).float() / 255
    expected = metrics.psnr(generated, batch["images"][0, 2:].float() / 255)
    assert pairs["psnr"] == (pytest.approx(expected[0].item()), 2.0)
    assert pairs["frames_per_s"][0] == 2
    short = {k: v[:, :2] if isinstance(v, Tensor) and v.ndim > 1 else v for k, v in batch.items()}
    with pytest.raises(DataError, match="val_frames"):
        evaluate_clips(playback, encoder, [short], compute=CPU, first_frame=FirstFrame.real)  # type: ignore[arg-type]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length_of_a_clip():
    """It was 57 MiB a frame for SSIM alone."""
    config = street_config()
    config.model.label_ids = [7]  # else the one-hot labels of a segment are most of it
    encoder, size = SourceEncoder(config.model, config.data), (256, 512)

    def peak(frames: int) -> float:
        images = torch.randint(0, 256, (1, frames, 3, *size), dtype=torch.uint8)
        batch = {
            "images": images,
            "labels": torch.full((1, frames, *size), 7, dtype=torch.int16),
            "flow": torch.zeros(1, frames, 2, *size, dtype=torch.float16),
            "confidence": torch.ones(1, frames, 1, *size, dtype=torch.uint8),
        }
        playback = Playback(images_to_float(images[0, :1]).expand(frames, -1, -1, -1))
        with LiveTensors(spared=[*batch.values(), playback.frames]) as live:
            pairs = evaluate_clips(playback, encoder, [batch], compute=CPU)  # type: ignore[arg-type]
        assert pairs["psnr"][1] == pairs["ssim"][1] == frames
        return live.peak / 2**20

    segment, long = peak(8), peak(100)
    assert 10 < peak(4) <= segment < 130
    assert long < 1.1 * segment, f"{segment:.0f} MiB for 8 frames, {long:.0f} MiB for 100"


def test_long_clips_are_measured_as_the_sum_of_their_frames():
    """20 frames are three calls of the generator; pairs across their borders count too."""
    config = street_config()
    config.data.val_frames = 20
    batch = next(iter(loader(config)))
    made = torch.rand(20, 3, 32, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    encoder = SourceEncoder(config.model, config.data)
    for first, skip in ((FirstFrame.model, 0), (FirstFrame.real, 2)):
        playback = Playback(made)
        pairs = evaluate_clips(playback, encoder, [batch], compute=CPU, first_frame=first)  # type: ignore[arg-type]
        real = batch["images"][0].float() / 255
        frames = torch.cat([real[:skip], float_to_images(made[: 20 - skip]).float() / 255])
        confidence = batch["confidence"][0].clone()
        confidence[:skip] = 0
        expected = {
            "psnr": metrics.psnr(frames[skip:], real[skip:]),
            "ssim": metrics.ssim(frames[skip:], real[skip:]),
            "l1": metrics.l1(frames[skip:], real[skip:]),
            "sharpness": metrics.sharpness(frames[-1:], real[-1:]),
            "sharpness_all": metrics.sharpness(frames[skip:], real[skip:]),
            "warp_error": metrics.warping_error(frames, batch["flow"][0].float(), confidence),
            "warp_error_real": metrics.warping_error(real, batch["flow"][0].float(), confidence),
        }
        for name, pair in expected.items():
            assert pairs[name] == pytest.approx([x.item() for x in pair], rel=1e-12), name


def test_shares_of_processes_add_up_to_the_whole():
    config = street_config()
    config.data.val_clips = 3
    generator, encoder = network(config)

    def measure(**options: Any) -> dict[str, tuple[float, float]]:
        return evaluate_clips(generator, encoder, loader(config, **options), compute=CPU)

    whole = measure()
    shares = [measure(rank=rank, world=2) for rank in range(2)]  # 3 clips on 2 processes: one is padding
    batches = measure(batch_size=2)
    for name in set(whole) - {"frames_per_s"}:
        for k in range(2):
            assert sum(share[name][k] for share in shares) == pytest.approx(whole[name][k], rel=1e-6)
            assert batches[name][k] == pytest.approx(whole[name][k], rel=1e-3)
    assert whole["psnr"][1] == 3 * 4


def test_metrics_that_the_data_or_model_cannot_have_are_absent():
    config = street_config()
    config.data.flow = FlowMethod.none
    config.model = ModelConfig(ngf=4, blocks=2, downsamplings=2, past_frames=0, flow=False)
    generator, encoder = network(config)
    pairs = evaluate_clips(generator, encoder, loader(config), compute=CPU)
    others = {"sharpness_drift", "colour_drift", "period_2", "period_2_real"}
    assert set(pairs) == {"psnr", "ssim", "l1", "sharpness", "sharpness_all", "frames_per_s"} | others
    batch = next(iter(loader(config)))
    del batch["images"]
    with pytest.raises(DataError, match="real images"):
        evaluate_clips(generator, encoder, [batch], compute=CPU)


def test_a_request_to_stop_ends_it_between_clips():
    config = street_config()
    generator, encoder = network(config)
    asked = iter([False, True, True])
    pairs = evaluate_clips(generator, encoder, loader(config), compute=CPU, should_stop=lambda: next(asked))
    assert pairs["psnr"][1] == 4


def test_every_counted_clip_reaches_the_image_metrics(tmp_path: Path):
    class Collect:
        name = "count"

        def __init__(self) -> None:
            self.shapes: list[Any] = []

        def update(self, generated: Tensor, real: Tensor) -> None:
            assert generated.dtype == real.dtype == torch.uint8
            self.shapes.append((generated.shape, real.shape))

        def compute(self) -> float:
            return float(len(self.shapes))

    make_run(tmp_path, street_config())
    metric = Collect()
    result = evaluate_run(load_generator(street_config(), tmp_path), image_metrics=[metric], frames=3)
    assert result.values["count"] == 2 and metric.shapes == [((3, 3, 32, 64),) * 2] * 2
    assert (result.clips, result.frames) == (2, 6)
    for wrong in ({"clips": 0}, {"frames": 0}):
        with pytest.raises(ConfigError):
            evaluate_run(load_generator(street_config(), tmp_path), **wrong)  # type: ignore[arg-type]


def test_table_shows_generated_and_real_side_by_side():
    values = {"psnr": 18.3, "warp_error": 0.015, "warp_error_real": 0.0132, "sharpness": 0.84}
    lines = format_table(Evaluation(values, 8, 192, "generated freely from no real frame")).splitlines()
    assert lines[0] == "8 clips, 192 frames, generated freely from no real frame"
    assert lines[1].split() == ["generated", "real"]
    assert any(line.split()[-2:] == ["0.0150", "0.0132"] for line in lines)
    assert any(line.split()[-2:] == ["0.8400", "1.0000"] for line in lines)


def test_script_prints_a_table_and_writes_eval_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    config = street_config()
    config.data.val_clips = 1
    make_run(tmp_path, config, step=9)
    assert run_script("evaluate", f"run={tmp_path}") == 0
    shown = capsys.readouterr().out
    written = json.loads((tmp_path / "eval.json").read_text())
    assert written["step"] == 9 and written["samples_seen"] == 18
    facts = {"split", "data", "first_frame", "resolution", "weights", "flow", "checkpoint"}
    assert all(isinstance(value, str if name in facts else int | float) for name, value in written.items())
    for name in ("psnr", "ssim", "warp_error", "warp_error_real", "sharpness", "frames_per_s", "mask_mean"):
        assert name in written
    assert f"{written['psnr']:.2f}" in shown or f"{written['psnr']:.4f}" in shown
    assert "1 clips, 4 frames" in shown and "averaged (EMA)" in shown
    assert "pt_inception-2015-12-05-6726825d.pth" in shown and "alexnet-owt-7be5be79.pth" in shown
    assert "fid" not in written and "lpips" not in written
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoints", "config.yaml", "eval.json"]


def test_script_names_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    make_run(tmp_path, street_config())
    for argument, word in (("split=vall", "split"), ("clips=0", "clips=0"), ("first_frame=modle", "first_frame")):
        assert run_script("evaluate", f"run={tmp_path}", argument) == 2
        assert word in capsys.readouterr().err
    assert not (tmp_path / "eval.json").exists()


def test_script_measures_what_it_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    config = street_config((16, 32))
    config.model.label_ids = [7, 8, 11, 21, 23, 24, 26]
    config.data.val_clips = 1
    make_run(tmp_path / "run", config)
    segmenter = tmp_path / "s.safetensors"
    assert run_script("train_segmenter", f"run={tmp_path / 'run'}", f"out={segmenter}", "steps=1", "batch_size=1") == 0
    assert run_script("evaluate", f"run={tmp_path / 'run'}", f"segmenter={segmenter}", "tof=run") == 0
    shown, written = capsys.readouterr().out, json.loads((tmp_path / "run" / "eval.json").read_text())
    assert f"{written['miou']:.4f}" in shown and f"{written['miou_real']:.4f}" in shown
    assert written["tof"] > 0 and written["tof_flow"] == "dis" and str(segmenter) in written["segmenter"]
    assert "not asked for: VFD, FVD, JEDi" in shown and "tOF (tof=run)" not in shown
    assert f"read by {segmenter}: mIoU" in shown and "road" in shown
    assert run_script("evaluate", f"run={tmp_path / 'run'}", "segmenter=absent") == 2
    assert "train_segmenter" in capsys.readouterr().err
