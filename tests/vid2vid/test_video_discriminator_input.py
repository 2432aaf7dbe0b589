"""What D_V sees of a window: which tensors arrive, what is penalised, and where its gradient goes."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.helpers.made_task import configured, make_trainer, one_batch
from trainer.checkpoint.weights import network_tensors, save_weights
from trainer.errors import CheckpointError
from vid2vid.config import FlowMethod, Vid2VidConfig, Vid2VidStage
from vid2vid.flow.estimate import compose_flow
from vid2vid.losses.penalties import squared_gradient
from vid2vid.task import Vid2VidTask
from vid2vid.validate import problems
from vid2vid.weights.originals import to_originals

KINDS = ("frames", "frames_and_flow", "flow")


def config_of(kind: str, *words: str, frames: int = 12) -> Vid2VidConfig:
    words = (f"model.video_discriminator_input={kind}", "model.temporal_scales=2", "trainer.max_steps=1", *words)
    return configured(*words, stages={"all": Vid2VidStage(frames=frames, segment_frames=3)})


def seen(folder: Path, kind: str, first: str) -> None:
    """Compares what goes into D_V in every segment of a clip with what is put together here, frame by frame."""
    trainer, task = make_trainer(config_of(kind, f"model.first_frame={first}"), folder)
    batch, ctx = one_batch(trainer)
    given: list[Tensor] = []
    assert task.nets.d_video is not None
    task.nets.d_video.register_forward_pre_hook(lambda net, x: given.append(x[0]))
    context = 2 if first == "real" else 0
    real, flow = batch["images"].float() / 127.5 - 1, batch["flow"].float()
    made, moved, count = real[:, :context], flow[:, :context], 0
    with torch.no_grad():
        for piece in task.segments(batch, ctx):
            out = task.passes.generate(piece, ctx)
            assert out.flow is not None
            made, moved = torch.cat([made, out.frames], 1), torch.cat([moved, out.flow.float()], 1)
            given.clear()
            task.passes.video_discriminators(piece, ctx)
            windows = iter(given)
            for scale, spacing in enumerate((1, 3)):
                end = made.shape[1] - 1 - piece["window_phases"][scale]
                if end - 2 * spacing < 0 or piece["window_phases"][scale] >= 3:
                    continue
                times, (on_real, on_made) = [end - 2 * spacing, end - spacing, end], next(windows).chunk(2)
                own = moved if kind == "flow" else flow
                for window, frames, flows in ((on_real, real, flow), (on_made, made, own)):
                    parts = [frames[:, times].flatten(1, 2)]
                    for t in times[1:] if kind != "frames" else ():
                        total = flows[:, t]
                        for back in range(1, spacing):
                            total = compose_flow(total, flows[:, t - back])
                        parts.append(total / 20)
                    torch.testing.assert_close(window, torch.cat(parts, 1), rtol=1e-5, atol=1e-5)
                    count += 1
            assert next(windows, None) is None
    assert count > 8


@pytest.mark.parametrize("first", ["model", "real"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_arrives(tmp_path: Path, kind: str, first: str) -> None:
    seen(tmp_path, kind, first)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_judged_is_penalised_and_gives_the_generator_its_gradient(tmp_path: Path, kind: str) -> None:
    words = ["model.r1_gamma=2", "model.penalty_every=1", "model.norm=none"]
    words += ["model.image_discriminator=false", "model.lambda_feature_video=0", "model.foreground=off"]
    trainer, task = make_trainer(config_of(kind, *words, frames=6), tmp_path)
    batch, ctx = one_batch(trainer)
    piece = list(task.segments(batch, ctx))[1]
    task.losses("g", piece, ctx)
    (shared,) = [each for each in task.passes.video_discriminators(piece, ctx) if each is not None]
    penalty = task.losses("d_video", piece, ctx)["r1"]
    all_of_it = squared_gradient(shared.predict, shared.inputs[0])
    frames_alone = squared_gradient(shared.predict, shared.inputs[0], judged=9)
    expected = frames_alone if kind == "frames_and_flow" else all_of_it
    assert float(penalty.detach()) == pytest.approx(float(expected.detach()), rel=1e-4)
    if kind != "frames":
        assert float(all_of_it.detach()) > float(frames_alone.detach())

    def objective(real: object, fakes: object) -> dict[str, Tensor]:
        return {"gan": fakes[0][-1][-1].float().mean()}  # pyright: ignore[reportIndexIssue]

    out = task.passes.generate(piece, ctx)
    assert out.flow is not None
    loss = shared.generator_losses(objective)["gan"]
    grads = torch.autograd.grad(loss, [out.frames, out.flow], allow_unused=True)
    assert grads[0] is not None and grads[0].any()
    assert (grads[1] is not None and bool(grads[1].any())) == (kind == "flow")


@pytest.mark.parametrize("kind", ["frames", "flow"])
def test_it_trains(tmp_path: Path, kind: str) -> None:
    words = ["model.diff_augment=[shift,cutout]", "trainer.precision=bf16"]
    words += ["data.flow=none", "model.flow=false", "model.lambda_output_warp=0"] if kind == "frames" else []
    trainer, task = make_trainer(config_of(kind, *words, "trainer.max_steps=8"), tmp_path)
    assert task.nets.d_video is not None
    before = {name: x.clone() for name, x in task.nets.d_video.state_dict().items()}
    trainer.fit()
    assert any(not torch.equal(x, before[name]) for name, x in task.nets.d_video.state_dict().items())


def test_weights_of_the_one_start_the_other(tmp_path: Path) -> None:
    """What a window's channels of flow had to say is left out, or begins at zero."""
    tasks = {kind: Vid2VidTask(config_of(kind)) for kind in ("frames", "frames_and_flow")}
    for kind, other in (("frames", "frames_and_flow"), ("frames_and_flow", "frames")):
        path = tmp_path / f"{kind}.safetensors"
        save_weights(path, network_tensors(tasks[kind].networks()))
        grown = Vid2VidTask(config_of(other, f"model.weights={path}"))
        key = "1.scale0.layers.0.conv.weight"
        mine, theirs = (dict(first_layer(task))[key] for task in (tasks[kind], grown))
        assert torch.equal(mine[:, :9], theirs[:, :9]) and not theirs[:, 9:].any()
    with pytest.raises(CheckpointError, match="a video discriminator of 9 channels, without flow"):
        to_originals(network_tensors({"d_video": first_net(tasks["frames"])}))


def first_net(task: Vid2VidTask) -> nn.Module:
    assert task.nets.d_video is not None
    return task.nets.d_video


def first_layer(task: Vid2VidTask) -> list[tuple[str, Tensor]]:
    return [(name, x) for name, x in first_net(task).state_dict().items() if name.endswith("0.conv.weight")]


def test_own_flow_needs_a_reference_in_every_clip() -> None:
    config = config_of("flow")
    config.data.flow = FlowMethod.precomputed
    config.curriculum.stages["all"].palindrome = True
    assert any("has none of clips that are played backwards" in line for line in problems(config))
