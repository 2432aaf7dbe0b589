"""Frame by frame gives what the whole clip at once gives, from every kind of start."""

from __future__ import annotations

import pytest
import torch

from trainer.device.compute import CPU, Compute
from trainer.errors import ConfigError, DataError
from vid2vid.config import DataConfig, FirstFrame, ForegroundKind, ModelConfig
from vid2vid.encoding import SourceEncoder, float_to_images, images_to_float, prepend_context
from vid2vid.generate.rollout import Rollout
from vid2vid.model import Generator

T, H, W = 5, 32, 64

# A random network with flows of many pixels is chaotic: rounding grows tenfold a frame. Small flows keep it comparable.
TINY = dict(num_labels=5, ngf=4, blocks=2, downsamplings=2, flow_init=0.1)
MODELS = {
    "one scale": ModelConfig(**TINY),
    "two scales": ModelConfig(**TINY, scales=2),
    "foreground": ModelConfig(**TINY, foreground=ForegroundKind.override, foreground_labels=[1, 2]),
    "no flow": ModelConfig(**TINY, flow=False),
    "three past frames": ModelConfig(**TINY, past_frames=3),
    "frame by frame": ModelConfig(**TINY, past_frames=0, flow=False),
}


def build(model: ModelConfig) -> tuple[Generator, SourceEncoder]:
    torch.manual_seed(0)
    encoder = SourceEncoder(model, DataConfig())
    return Generator(model, encoder.channels).eval(), encoder


def clip() -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    labels = torch.randint(0, 5, (T, H // 8, W // 8), generator=random, dtype=torch.int16)
    labels = labels.repeat_interleave(8, 1).repeat_interleave(8, 2)
    images = torch.randint(0, 256, (T, 3, H, W), generator=random, dtype=torch.uint8)
    return {"labels": labels, "instances": (labels * 3).int(), "images": images}


def frame(data: dict[str, torch.Tensor], t: int) -> dict[str, torch.Tensor]:
    return {"labels": data["labels"][t], "instances": data["instances"][t], "image": data["images"][t]}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("first_frame", [FirstFrame.model, FirstFrame.zeros, FirstFrame.image])
def test_streaming_equals_the_whole_clip_at_once(name: str, first_frame: FirstFrame):
    model = MODELS[name]
    if not model.past_frames and first_frame is FirstFrame.image:
        pytest.skip("no past frames")
    generator, encoder = build(model)
    data = clip()
    picture = data["images"][-1]
    rollout = Rollout(generator, encoder, CPU, first_frame=first_frame, image=picture)
    streamed = [rollout.step(frame(data, t)) for t in range(T)]

    batch = {k: v[None] for k, v in data.items()}
    past = None
    if first_frame is not FirstFrame.model and model.past_frames:
        start = images_to_float(picture) if first_frame is FirstFrame.image else torch.zeros(3, H, W)
        past = generator.past_from_images(start.expand(1, model.past_frames, 3, H, W))
    with torch.no_grad():
        whole = generator(
            prepend_context(encoder.encode(batch), model.past_frames),
            past=past,
            foreground=encoder.foreground_mask(batch),
            first=first_frame is not FirstFrame.image,
        )
    frames = torch.stack([extras["frame"] for _, extras in streamed])
    assert (frames[1:] - frames[:-1]).abs().mean() > 1e-2, "a still video proves nothing"
    torch.testing.assert_close(frames, whole.frames[0], atol=1e-5, rtol=0)
    assert torch.equal(torch.stack([image for image, _ in streamed]), float_to_images(frames))
    if whole.mask is not None:
        torch.testing.assert_close(torch.stack([e["mask"] for _, e in streamed]), whole.mask[0], atol=1e-5, rtol=0)


def test_real_frames_are_echoed_then_continued():
    generator, encoder = build(MODELS["two scales"])
    data = clip()
    rollout = Rollout(generator, encoder, CPU, first_frame=FirstFrame.real)
    images = [rollout.step(frame(data, t))[0] for t in range(T)]
    assert all(torch.equal(images[t], data["images"][t]) for t in range(2))

    source = encoder.encode({k: v[None] for k, v in data.items()})
    past = generator.past_from_images(images_to_float(data["images"][None, :2]))
    with torch.no_grad():
        expected = float_to_images(generator(source, past=past).frames[0])
    assert expected.shape[0] == T - 2
    # Rounding to bytes may go either way at 1e-5.
    assert (torch.stack(images[2:]).int() - expected.int()).abs().max() <= 1


def test_real_frames_that_do_not_exist():
    generator, encoder = build(MODELS["one scale"])
    rollout = Rollout(generator, encoder, CPU, first_frame=FirstFrame.real)
    with pytest.raises(DataError, match="first_frame=real"):
        rollout.step({"labels": clip()["labels"][0]})


def test_a_picture_is_needed_and_must_fit():
    generator, encoder = build(MODELS["one scale"])
    with pytest.raises(ConfigError, match="image=PATH"):
        Rollout(generator, encoder, CPU, first_frame=FirstFrame.image)
    rollout = Rollout(generator, encoder, CPU, first_frame=FirstFrame.image, image=torch.zeros(3, 8, 8))
    with pytest.raises(DataError, match="8x8"):
        rollout.step(frame(clip(), 0))
    generator, encoder = build(MODELS["frame by frame"])
    with pytest.raises(ConfigError, match="past frames"):
        Rollout(generator, encoder, CPU, first_frame=FirstFrame.image, image=torch.zeros(3, H, W))


def test_reset_starts_anew_and_the_past_matters():
    generator, encoder = build(MODELS["one scale"])
    data = clip()
    rollout = Rollout(generator, encoder, CPU)
    first = [rollout.step(frame(data, t))[1]["frame"] for t in range(3)]
    carried = rollout.step(frame(data, 0))[1]["frame"]
    rollout.reset()
    again = [rollout.step(frame(data, t))[1]["frame"] for t in range(3)]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.allclose(carried, first[0], atol=1e-4)


def test_fewer_scales_generate_at_the_coarser_resolution():
    generator, encoder = build(MODELS["two scales"])
    image, _ = Rollout(generator, encoder, CPU, scales=1).step(frame(clip(), 0))
    assert image.shape == (3, H, W) and image.dtype == torch.uint8


def test_nothing_grows_with_length():
    generator, encoder = build(MODELS["one scale"])
    data = clip()
    rollout = Rollout(generator, encoder, CPU)
    for t in range(12):
        rollout.step(frame(data, t % T))
    assert len(rollout._sources) == 3 and rollout.past is not None
    assert [tuple(x.shape) for x in rollout.past] == [(1, 2, 3, H, W)]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_a_card_in_bf16():
    generator, encoder = build(MODELS["foreground"])
    data = clip()
    reference = Rollout(generator, encoder, CPU)
    expected = torch.stack([reference.step(frame(data, t))[1]["frame"] for t in range(T)])
    device = torch.device("cuda")
    rollout = Rollout(generator.to(device), encoder, Compute(device, lambda: torch.autocast("cuda", torch.bfloat16)))
    steps = [rollout.step(frame(data, t)) for t in range(T)]
    assert all(image.device.type == "cuda" and image.dtype == torch.uint8 for image, _ in steps)
    made = torch.stack([extras["frame"] for _, extras in steps]).cpu()
    assert made.dtype == torch.float32 and (made - expected).abs().mean() < 0.05
