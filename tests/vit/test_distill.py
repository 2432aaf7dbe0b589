"""Distillation: losses against closed forms, teachers of every origin, what does not fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.helpers.made_classifier import make_run, mu_config, mu_trainer, task_of
from trainer.errors import CheckpointError, ConfigError
from vit.config import Distill, DistillConfig
from vit.distill import Teacher, build_teacher, distillation_loss, find_teacher

MEAN = STD = [0.5, 0.5, 0.5]


def logits(seed: int) -> Tensor:
    return 2 * torch.randn(6, 4, generator=torch.Generator().manual_seed(seed))


def test_hard_is_cross_entropy_with_the_teachers_choice() -> None:
    student, teacher = logits(0), logits(1)
    loss = distillation_loss(DistillConfig(Distill.hard), student, teacher)
    torch.testing.assert_close(loss, F.cross_entropy(student, teacher.argmax(1), reduction="none"))


@pytest.mark.parametrize("tau", [1.0, 3.0])
def test_soft_is_hintons_softened_divergence(tau: float) -> None:
    student, teacher = logits(0).requires_grad_(), logits(1)
    loss = distillation_loss(DistillConfig(Distill.soft, temperature=tau), student, teacher)
    p, q = (teacher / tau).softmax(1), (student / tau).softmax(1)
    torch.testing.assert_close(loss, tau**2 * (p * (p / q).log()).sum(1))
    # With tau^2 the gradient keeps its size: tau (q - p) (Hinton et al., 2015, eq. 2).
    loss.sum().backward()
    torch.testing.assert_close(student.grad, tau * (q - p).detach())
    assert distillation_loss(DistillConfig(Distill.soft), teacher, teacher).abs().max() < 1e-6


class Sees(nn.Module):
    """Keeps what it was shown."""

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        return x.mean(dim=(2, 3))


def test_a_teacher_gets_its_own_normalisation_and_size() -> None:
    pictures = torch.rand(2, 3, 16, 16)
    inner, mean, std = Sees(), [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]
    teacher = Teacher(inner, mean, std, MEAN, STD)
    teacher((pictures - 0.5) / 0.5)
    expected = (pictures - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    torch.testing.assert_close(inner.x, expected)
    Teacher(inner, MEAN, STD, MEAN, STD, size=(24, 32))((pictures - 0.5) / 0.5)
    assert inner.x.shape == (2, 3, 24, 32)
    teacher.train()
    assert not teacher.training and not inner.training


@pytest.mark.parametrize("mode, token", [("hard", False), ("soft", True)])
def test_a_run_teaches_another(tmp_path: Path, mode: str, token: bool) -> None:
    teacher = make_run(tmp_path / "teacher", mu_config("model.variant=mu")).model.eval()
    words = (f"distill.mode={mode}", f"distill.teacher={tmp_path / 'teacher'}", "distill.alpha=0.25")
    trainer = mu_trainer(tmp_path / "run", *words, f"model.distilled={str(token).lower()}", "distill.temperature=2")
    task = task_of(trainer)
    assert list(task.frozen()) == ["teacher"] and not any(p.requires_grad for p in task.teacher.parameters())
    with trainer.session():
        trainer.enter(trainer.curriculum.stages[0])
        (segment,) = task.segments(trainer.next_batch(), trainer.context())
        losses = task.losses("main", segment, trainer.context())
    out = task.model(segment["images"])
    own, follower = out if token else (out, out)
    with torch.no_grad():
        wanted = teacher(segment["images"])
    torch.testing.assert_close(losses["class"], 0.75 * task.criterion(own, segment["targets"]).mean())
    config = DistillConfig(Distill[mode], temperature=2.0)
    torch.testing.assert_close(losses["distill"], 0.25 * distillation_loss(config, follower, wanted).mean())
    losses["distill"].backward()
    heads = (task.model.head_dist, task.model.head) if token else (task.model.head,)
    assert heads[0].weight.grad.abs().sum() > 0
    assert all(head.weight.grad is None for head in heads[1:])  # the labels' head does not follow the teacher


def test_a_student_comes_near_its_teacher(tmp_path: Path) -> None:
    make_run(tmp_path / "teacher", mu_config(), head=0.5)
    words = ("distill.mode=soft", f"distill.teacher={tmp_path / 'teacher'}", "distill.alpha=1", "trainer.max_steps=25")
    words += ("optim.main.lr=0.003", "trainer.ema=null", "schedule.warmup=0", "trainer.eval_every=0")
    trainer = mu_trainer(tmp_path / "run", *words)
    task, seen = task_of(trainer), []
    original = task.losses
    task.losses = lambda *args: seen.append(found := original(*args)) or found  # type: ignore[method-assign]
    trainer.fit()
    course = [losses["distill"].item() for losses in seen]
    assert sum(course[-5:]) < 0.7 * sum(course[:5]) and all(losses["class"].item() == 0 for losses in seen)


def test_teachers_of_every_origin(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", mu_config())
    (checkpoint,) = (tmp_path / "run" / "checkpoints").glob("step-*")
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        expected = run.model.eval()(x)
    for name in (tmp_path / "run", checkpoint):
        found = find_teacher(str(name), None, (16, 16))
        assert found.classes == run.classes and found.size is None and list(found.mean) == MEAN
        torch.testing.assert_close(found.model(x), expected)
    assert find_teacher(str(checkpoint), None, (15, 16)).size == (16, 16)  # its patch does not divide the student's
    # Weights alone, as scripts/convert.py writes them.
    from trainer.checkpoint.weights import save_weights

    file = tmp_path / "vit.safetensors"
    save_weights(file, run.model.state_dict())
    found = find_teacher(str(file), None, (16, 16))
    assert found.num_classes == 10 and found.channels == 3 and found.classes is None
    torch.testing.assert_close(found.model.eval()(x), expected)


def test_a_weights_file_of_a_timm_model(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    from trainer.checkpoint.weights import save_weights

    torch.manual_seed(0)
    model = timm.create_model("test_resnet", num_classes=10, in_chans=1).eval()
    save_weights(tmp_path / "r.safetensors", model.state_dict())
    found = find_teacher(str(tmp_path / "r.safetensors"), "test_resnet", (32, 32))
    assert (found.num_classes, found.channels, found.size, len(found.mean)) == (10, 1, None, 1)
    x = torch.randn(1, 1, 32, 32)
    torch.testing.assert_close(found.model.eval()(x), model(x))
    vit = timm.create_model("test_vit", num_classes=10)
    save_weights(tmp_path / "v.safetensors", vit.state_dict())
    found = find_teacher(str(tmp_path / "v.safetensors"), "test_vit", (32, 32))
    assert found.size == (160, 160)  # fixed: pictures are resized to it
    with pytest.raises(CheckpointError, match="is no test_resnet"):
        find_teacher(str(tmp_path / "v.safetensors"), "test_resnet", (32, 32))
    with pytest.raises(ConfigError, match="no such model"):
        find_teacher(str(tmp_path / "v.safetensors"), "test_resnot", (32, 32))


def test_other_classes_and_channels_are_named(tmp_path: Path) -> None:
    make_run(tmp_path / "run", mu_config())
    config = mu_config("distill.mode=hard", f"distill.teacher={tmp_path / 'run'}")
    with pytest.raises(ConfigError) as caught:
        build_teacher(config, ["ant", "bee"], [0.5], [0.5])
    text = str(caught.value)
    assert "10 classes apart (circle, square" in text and "the data have 2 (ant, bee)" in text
    assert "3 channels, the data have 1" in text
    with pytest.raises(ConfigError, match="same classes in the same order"):
        build_teacher(config, [f"class {i}" for i in range(10)], MEAN, STD)


def test_the_teacher_is_neither_trained_nor_saved(tmp_path: Path) -> None:
    teacher = make_run(tmp_path / "teacher", mu_config())
    words = ("distill.mode=hard", f"distill.teacher={tmp_path / 'teacher'}", "trainer.max_steps=2")
    trainer = mu_trainer(tmp_path / "run", *words, "trainer.eval_every=0")
    trainer.fit()
    task = task_of(trainer)
    before = teacher.model.state_dict()
    assert all(torch.equal(value, before[name]) for name, value in task.teacher.model.state_dict().items())
    from trainer.checkpoint.trained import load_weights

    assert not [name for name in load_weights(tmp_path / "run")[0] if "teacher" in name]


@pytest.mark.parametrize("format", ["timm", "hf", "safetensors"])
def test_teachers_are_read_from_all_that_weights_are(format: str, tmp_path: Path) -> None:
    """Folders are no runs alone: timm's and Hugging Face's are as good."""
    from vit.weights.conversion import convert

    run = make_run(tmp_path / "run", mu_config())
    path = tmp_path / ("a.safetensors" if format == "safetensors" else "a")
    for _ in convert(tmp_path / "run", path, format):
        pass
    found = find_teacher(str(path), None, (16, 16))
    assert found.classes == run.classes and list(found.mean) == MEAN
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(found.model(x), run.model.eval()(x), atol=1e-5, rtol=0)


def test_a_teacher_that_orders_or_calls_its_classes_otherwise(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", mu_config())
    classes, x = list(run.classes), torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        expected = run.model.eval()(x)
    config = mu_config("distill.mode=soft", f"distill.teacher={tmp_path / 'run'}")
    reordered = classes[::-1]
    torch.testing.assert_close(build_teacher(config, reordered, MEAN, STD)(x), expected.flip(1))
    others = [f"form {index}" for index in range(3)]
    config.distill.class_map = str(tmp_path / "map.json")
    (tmp_path / "map.json").write_text(json.dumps({classes[0]: "form 2", classes[1]: "form 0", "4": 1}))
    torch.testing.assert_close(build_teacher(config, others, MEAN, STD)(x), expected[:, [1, 4, 0]])
    (tmp_path / "map.json").write_text(json.dumps({classes[0]: "form 2"}))
    with pytest.raises(ConfigError, match=r"distill\.class_map.*no class of the teacher stands for form 0, form 1"):
        build_teacher(config, others, MEAN, STD)
    (tmp_path / "map.json").write_text('{"cube": "form 2"}')
    with pytest.raises(ConfigError, match=r"distill\.class_map=.*'cube' is no class of the model"):
        build_teacher(config, others, MEAN, STD)


def test_a_hub_folder_teaches_as_it_was_built(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    from timm.models._hub import save_for_hf

    args = {"img_size": 32, "depth": 2, "global_pool": "avg"}
    torch.manual_seed(0)
    source = timm.create_model("test_vit", num_classes=3, **args).eval()
    save_for_hf(source, str(tmp_path / "a"), model_args=args, safe_serialization=True)
    found = find_teacher(str(tmp_path / "a"), "test_vit", (32, 32))
    assert found.size in (None, (32, 32)) and found.num_classes == 3  # older timm calls this model's size fixed
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(found.model.eval()(x), source(x))


@pytest.mark.parametrize("theirs", ["words", "ids", "shuffled ids"])
def test_imagenets_classes_by_words_and_by_ids(theirs: str, tmp_path: Path) -> None:
    """A teacher's "tench, Tinca tinca" is data=imagenet's "n01440764 tench, Tinca tinca" (C3)."""
    from timm.data.imagenet_info import ImageNetInfo

    from vit.model.transformer import VisionTransformer, architecture
    from vit.weights.writing import write

    info = ImageNetInfo("imagenet-1k")
    ids, words = list(info.label_names()), list(info.label_descriptions())
    model = VisionTransformer(architecture(mu_config().model, 1000, 3, (16, 16))).eval()
    with torch.no_grad():
        assert model.head is not None
        model.head.bias.copy_(torch.arange(1000.0))
    names = {"words": words, "ids": ids, "shuffled ids": ids[::-1]}[theirs]
    write(model.state_dict(), model.arch, tmp_path / "a.safetensors", "safetensors", classes=names)
    config = mu_config("distill.mode=hard", f"distill.teacher={tmp_path / 'a.safetensors'}")
    data = [f"{name} {word}" for name, word in zip(ids, words, strict=True)]
    teacher = build_teacher(config, data, MEAN, STD)
    with torch.no_grad():
        assert teacher(torch.randn(1, 3, 16, 16)).argmax().item() == (0 if theirs == "shuffled ids" else 999)


def test_a_hub_folder_that_does_not_say_its_size_is_fixed(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    from timm.models._hub import save_for_hf

    args = {"img_size": 32, "depth": 1, "embed_dim": 48, "num_heads": 3}
    source = timm.create_model("vit_tiny_patch16_224", num_classes=3, **args)
    save_for_hf(source, str(tmp_path / "a"), model_args=args, safe_serialization=True)
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    config["pretrained_cfg"]["fixed_input_size"] = False
    (tmp_path / "a" / "config.json").write_text(json.dumps(config))
    assert find_teacher(str(tmp_path / "a"), "vit_tiny_patch16_224", (48, 48)).size == (32, 32)
