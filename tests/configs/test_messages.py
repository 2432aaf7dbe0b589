"""Every mistake gets one helpful message: unknown keys, wrong values, settings that do not go together."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.composed import MODELS, data_root, problems_of, run_main
from train import SCHEMAS
from trainer import cli
from trainer.cli import CONFIGS, compose
from trainer.errors import ConfigError, refuse
from vid2vid.validate import problems

PATCH = "model.image_discriminator=patch"
MISTAKES = [
    ("modle=vid2vid", "unknown key 'modle'; did you mean 'model'?"),
    ("model=vid2vit", "did you mean 'vid2vid'?"),
    (
        "model=vid2vit",
        "model=vid2vit: not one of: label_predictor, mae, pix2pixhd, setr, stylizer, timm, vid2vid, vid2vid_2018, ",
    ),
    ("model=vit_b17", "did you mean 'vit_b16'?"),
    ("data=streat", "did you mean 'street'?"),
    ("experiment=vid2vid/dmo", "did you mean 'vid2vid/demo'?"),
    ("trainer.max_stps=3", "unknown key 'trainer.max_stps'; did you mean 'trainer.max_steps'?"),
    ("max_steps=3", "unknown key 'max_steps'; did you mean 'trainer.max_steps'?"),
    ("trianer.max_steps=3", "unknown key 'trianer.max_steps'; did you mean 'trainer.max_steps'?"),
    ("batch_size=3", "unknown key 'batch_size'; did you mean 'curriculum.stages."),
    ("+lrr=1", "unknown key 'lrr'; did you mean 'optim."),
    ("+model.ngff=3", "unknown key 'model.ngff'; did you mean 'model.ngf'?"),
    ("++data.rooot=x", "unknown key 'data.rooot'; did you mean 'data.root'?"),
    ("model.zebra=1", "unknown key 'model.zebra'; model has: backprop_frames, block, blocks, "),
    ("optim.gg.lr=1", "unknown key 'optim.gg.lr'; did you mean 'optim.g.lr'?"),
    ("optim.g.learning=1", "unknown key 'optim.g.learning'; did you mean 'optim.g.lr'?"),
    ("curriculum.stages.half_shrt.frames=3", "did you mean 'curriculum.stages.half_short.frames'?"),
    ("optim.g.lr=fast", "optim.g.lr=fast: must be a number"),
    ("trainer.max_steps=ten", "trainer.max_steps=ten: must be a whole number or null"),
    ("trainer.max_steps=1e30", "trainer.max_steps=1e+30: must lie below 2^63"),
    ("schedule.warmup=inf", "schedule.warmup=inf: must be finite"),
    ("optim.g.lr=" + "9" * 400, f"optim.g.lr={'9' * 60}: must be finite"),
    ("optim.g.clip=nan", "optim.g.clip=nan: must be finite (null: without)"),
    ("trainer.max_steps=2.5", "trainer.max_steps=2.5: must be a whole number or null"),
    ("model.flow=maybe", "model.flow=maybe: must be true or false"),
    (
        "model.regions=[face,hand]",
        "model.regions has hand, which is not one of: face, hands, labels; did you mean 'hands'?",
    ),
    ("model.diff_augment=colour", "must be a list of colour, shift, cutout, like [colour,shift]"),
    ("resolution=wide", "resolution=wide: must be a list of whole numbers, like [1,2]"),
    ("trainer.precision=bf17", "trainer.precision=bf17 is not one of: auto, bf16, fp16, fp32; did you mean 'bf16'?"),
    ("model.foreground=overide", "is not one of: off, override, paper; did you mean 'override'?"),
    ("data.on_bad_file=stop", "data.on_bad_file=stop is not one of: raise, skip"),
    ("model.ngf", "'model.ngf' is not of the form key=value"),
    ("resolution=[64,128", "'resolution=[64,128' cannot be read"),
    ("resolution=[130,256]", "resolution=[130,256]: height 130 must be a multiple of 16"),
    ("resolution=[130,256]", "nearest: 128 or 144"),
    ("optim.g.lr=-1", "optim.g.lr=-1.0: must be more than 0"),
    ("trainer.max_samples=null", "trainer.max_steps, max_samples and max_epochs are all null"),
    ("data=folders", "data.root is not set: data=folders reads files; give data.root=PATH"),
    ("data=cityscapes", "data.root is not set"),
    ("trainer.resume=runs/none", "trainer.resume=runs/none: no such checkpoint folder"),
    ("name=../up", "name=../up: the run's folder below runs/"),
    ("task=vid2vit", "task=vid2vit is not one of: vid2vid, label_predictor, vit, mae, segmentation, stylizer"),
]


@pytest.mark.parametrize(("word", "message"), MISTAKES, ids=[f"{i}-{word}" for i, (word, _) in enumerate(MISTAKES)])
def test_mistake_gets_one_clear_message(
    word: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [word] if word.startswith(("model=", "modle=", "experiment=")) else ["model=vid2vid", word]
    code, stderr = run_main(words, monkeypatch, capsys)
    assert code == 2
    assert message in stderr
    assert stderr.startswith("error: ") and stderr.count("error:") == 1
    assert not list(tmp_path.iterdir()), "nothing may be left behind"


def test_no_model_lists_models(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, stderr = run_main([], monkeypatch, capsys)
    assert code == 2 and all(model in stderr for model in MODELS) and "--help" in stderr


def test_all_mistakes_are_told_together(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["model=vid2vid", "trainer.max_stps=3", "+lrr=1", "optim.g.lr=abc", "trainer.device=gpu"]
    code, stderr = run_main(words, monkeypatch, capsys)
    assert code == 2 and stderr.count("\n  - ") == 4
    words = ["model=vid2vid", "resolution=[130,250]", "optim.g.lr=-1", "model.lambda_l1=-2"]
    code, stderr = run_main(words, monkeypatch, capsys)
    assert code == 2 and stderr.count("\n  - ") == 4


def test_mistake_as_a_user_sees_it(run_train, tmp_path: Path) -> None:
    done = run_train("model=vid2vid", "trainer.max_stps=3")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.splitlines() == [
        "error: the configuration has a problem:",
        "  - unknown key 'trainer.max_stps'; did you mean 'trainer.max_steps'?",
    ]
    assert not list(tmp_path.iterdir())


# Cross-field checks: (overrides, part of the problem), each the only problem

CROSS_FIELD = [
    (["model.past_frames=0"], "model.past_frames=0, but model.flow=true"),
    (["model.scales=2", "model.ngf=30"], "model.ngf=30: must be a multiple of 4"),
    (["model.num_labels=20"], "model.foreground_labels"),
    (["model.foreground_labels=[]"], "no class is named"),
    (["model.label_ids=[7,8]"], "has no id of model.label_ids=[7,8]"),
    (["model.label_ids=[7,7,26]"], "model.label_ids=[7,7,26]: [7] stands there more than once; name each once"),
    (["model.label_ids=[7,26]", "model.foreground_labels=[26,26]"], "model.foreground_labels=[26,26]: [26] stands"),
    (["model.label_ids=[7,26]", "model.foreground_labels=[26,99]"], "[99] is not in model.label_ids=[7,26]; name"),
    (["model.diff_augment=[shift,colour,shift]"], "model.diff_augment=[shift,colour,shift]: [shift] stands"),
    (["data.ignore_label=[255,0,255]"], "data.ignore_label=[255,0,255]: [255] stands"),
    (["model.label_ids=[26,70000]"], "label_ids has [70000]"),
    (["model.lambda_flow=-1"], "model.lambda_flow=-1.0: must be at least 0"),
    (
        ["model.backprop_frames=2"],
        "model.backprop_frames=2 must divide segment_frames=3",
    ),
    (["curriculum.stages.half_short.backprop_frames=2"], "backprop_frames=2 must divide its segment_frames=3"),
    (["model.feedback_noise=-0.1"], "model.feedback_noise=-0.1: must be at least 0"),
    (["model.past_frames=0", "model.flow=false", "model.feedback_noise=0.1"], "no frame is fed back"),
    (
        ["model.image_discriminator=false", "model.video_discriminator=false", "model.diff_augment=[shift]"],
        "model.diff_augment=[shift] is of what discriminators see",
    ),
    (
        ["model.image_discriminator=segmentin"],
        "or false for none; did you mean 'segmenting'?",
    ),
    (
        ["model.image_discriminator=none"],
        "discriminator=none: give patch, segmenting, auto, or false for none",
    ),
    ([PATCH, "model.label_mix=2"], "model.label_mix=2.0 is read with model.image_discriminator=segmenting only"),
    (
        [PATCH, "model.segmenting_gamma=1"],
        "segmenting_gamma=1.0 is read with model.image_discriminator=segmenting",
    ),
    (["model.image_discriminator=segmenting", "model.segmenting_gamma=-1"], "model.segmenting_gamma=-1.0: "),
    (
        ["model.image_discriminator=segmenting", "model.discriminator_layers=9"],
        "so it must be at least 2048 high and wide, but curriculum.stages.half_short.resolution is [64,128]: lower",
    ),
    (
        ["model.video_discriminator_input=flow", "model.flow=false"],
        "but model.flow=false has none: set frames_and_flow",
    ),
    (["model.video_discriminator_input=flow", "model.video_discriminator=false"], "set frames_and_flow"),
    (["data.flow=none", "model.flow=false", "model.lambda_output_warp=0"], "or model.video_discriminator_input=frames"),
    (["model.regions=[labels]"], "model.region_labels=[] names no class"),
    (["model.regions=[labels]", "model.region_labels=[26,99]"], "model.region_labels=[26,99]: [99] is not in 0..34"),
    (["model.region_labels=[26]"], "model.region_labels=[26] is read with model.regions=[labels] only"),
    (["model.regions=[labels,labels]", "model.region_labels=[26]"], "model.regions=[labels,labels]: [labels] stands"),
    (["curriculum.stages.half_short.palindrome=true", "curriculum.stages.half_short.frames=9"], "nearest: 6 or 12"),
    (["model.regions=[hands,face]"], "the boxes of hands and face come with landmarks, and data.sources=[] has none"),
    (["model.video_discriminator_frames=99"], "the video discriminator would never train"),
    (["model.perceptual_weights=vgg.pth"], "model.perceptual_weights=vgg.pth: there is no such file"),
    (["model.weights=runs/none"], "model.weights=runs/none: there is no such file or folder"),
    (["data.flow=none"], "data.flow=none, but model.lambda_flow"),
    (["data.flow=precomputed", "data.flow_dir=x"], "data=street is rendered while training"),
    (["model.first_frame=real", "data.val_frames=2"], "of them are real: give at least 3"),
    (["data.flow=raft"], "data.flow_weights is not set: data.flow=raft needs a weights file"),
    (["data.scale=[1.5,1.0]"], "data.scale=[1.5,1.0]: needs [least, most]"),
    (["data.flip=2"], "data.flip=2.0: a probability"),
    (["data.val_share=1"], "data.val_share=1.0"),
    (["data.edge_low=300"], "data.edge_low=300 must be below data.edge_high=160"),
    (["model.source=image", "model.foreground='off'"], "data=street gives label maps"),
    (["curriculum.stages.half_short.frames=7"], "frames=7 must be a multiple of segment_frames=3; nearest: 6 or 9"),
    (["curriculum.stages.half_short.frames=1"], "nearest: 3, or curriculum.stages.half_short.segment_frames=1"),
    (["curriculum.stages.half_short.start=0.1"], "the first stage must start at 0"),
    (["curriculum.stages.full_long.start=0.3"], "curriculum.stages.full_long.start=0.3"),
    (["curriculum.stages.full_long.scales=2"], "scales=2: must lie between 1 and model.scales=1"),
    (["curriculum.stages.full_long.accumulate=2"], "batch_size=1 cannot be split"),
    (["curriculum.stages.full_long.resolution=[100,200]"], "full_long.resolution=[100,200]: height 100"),
    (["~optim.d_video"], "optim.d_video is missing"),
    (["optim.g.betas=[0.5]"], "optim.g.betas=[0.5]: needs two numbers"),
    (["optim.g.every=0"], "optim.g.every=0: must be at least 1"),
    (["trainer.precision=fp16", "trainer.device=cpu"], "trainer.precision=fp16 needs a GPU"),
    (["trainer.replay=nowhere"], "trainer.replay=nowhere: no such folder"),
    (["trainer.keep=0"], "trainer.keep=0"),
    (["schedule.warmup=0.9"], "schedule.warmup=0.9"),
]


@pytest.mark.parametrize(("words", "message"), CROSS_FIELD, ids=[words[0] for words, _ in CROSS_FIELD])
def test_cross_field_check(words: list[str], message: str) -> None:
    found = problems(compose(["model=vid2vid", *words], SCHEMAS))
    assert len(found) == 1 and message in found[0], found
    with pytest.raises(ConfigError, match=re.escape(message)):
        refuse(problems(compose(["model=vid2vid", *words], SCHEMAS)))


CROSS_FIELD_VIT = [
    (["model.variant=X"], "model.variant=X: no such variant"),
    (["model.variant=B/17"], "resolution=[224,224]: patches of 17 pixels (model.patch) do not divide it"),
    (["resolution=[222,224]"], "nearest: [208,224] or [224,224], or model.fit=pad|crop|resize"),
    (["curriculum.stages.all.resolution=[100,100]"], "curriculum.stages.all.resolution=[100,100]: patches of 16"),
    (["model.heads=5"], "model.heads=5 does not divide the width 384; nearest: 4 or 6"),
    (["model.width=390", "model.pos_embed=sincos2d"], "needs a width divisible by 4, not 390"),
    (["model.pool=none"], "model.pool=none gives a vector per token"),
    (["model.distilled=true", "model.pool=gap"], "model.distilled=true needs model.pool=cls"),
    (["model.drop_path=1"], "model.drop_path=1.0: a probability"),
    (["model.weights=nowhere.npz"], "model.weights=nowhere.npz: there is no such file or folder"),
    (["model.weights='timm:'"], "needs a name, like timm:vit_base_patch16_224"),
    (["data=cifar10"], "data.root is not set: data=cifar10 reads files; give data.root=PATH (data.download=true"),
    (["data.channels=2"], "data.channels=2: pictures are read as 1 (grey)"),
    (["data.mean=[0.5]", "data.std=[0.5,0.5]"], "data.mean has 1 numbers and data.std 2"),
    (["data.multilabel=true", "loss.kind=bce"], "data.multilabel=true is for data=csv and data=hf, not shapes"),
    (["augment.auto=randaug"], "augment.auto=randaug"),
    (["augment.scale=[0.5,0.1]"], "augment.scale=[0.5,0.1]: needs [least, most]"),
    (["augment.flip=-1"], "augment.flip=-1.0: a probability"),
    (["loss.smoothing=1"], "loss.smoothing=1.0"),
    (["distill.mode=hard"], "distill.mode=hard needs distill.teacher"),
    (["distill.teacher='timm:resnet18'"], "distill.mode=none"),
    (["optim.main.layer_decay=0"], "optim.main.layer_decay=0.0"),
    (["trainer.micro_batch=many"], "trainer.micro_batch=many"),
]


@pytest.mark.parametrize(("words", "message"), CROSS_FIELD_VIT, ids=[words[0] for words, _ in CROSS_FIELD_VIT])
def test_cross_field_check_of_vit(words: list[str], message: str) -> None:
    found = problems_of(["model=vit_s16", *words])
    assert len(found) == 1 and message in found[0], found


def test_exact_flow_only_with_the_street(tmp_path: Path) -> None:
    config = compose(["model=vid2vid", "data=folders", f"data.root={data_root(tmp_path)}", "data.flow=exact"], SCHEMAS)
    assert [p for p in problems(config) if "data.flow=exact is known for data=street only" in p]


def test_processes_must_divide_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    found = problems(compose(["model=vid2vid", "trainer.strategy=none"], SCHEMAS))
    assert any("cannot be split over 4 process" in line for line in found)
    assert any("trainer.strategy=none, but 4 processes run" in line for line in found)
    assert not problems(compose(["model=vid2vid_paper"], SCHEMAS)), "its batches grow with the processes"


def test_a_mistake_in_a_yaml_file_is_located(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    copy = tmp_path / "configs"
    shutil.copytree(CONFIGS, copy)
    (copy / "data" / "mine.yaml").write_text("kind: folders\nrooot: x\n", encoding="utf-8")
    monkeypatch.setattr(cli, "CONFIGS", copy)
    with pytest.raises(ConfigError, match=r"data/mine.*unknown key 'data.rooot'; did you mean 'data.root'"):
        compose(["model=vid2vid", "data=mine"], SCHEMAS)
    (copy / "data" / "mine.yaml").write_text("kind: folders\nkind: video\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"not valid YAML: .*data/mine\.yaml.*duplicate key kind"):
        compose(["model=vid2vid", "data=mine"], SCHEMAS)


@pytest.mark.slow
def test_a_mistake_under_torchrun_is_told_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", str(CONFIGS.parent / "train.py")]
    words = ["model=vid2vid_tiny", "trainer.strategy=none", "curriculum.stages.all.batch_size=2"]
    done = subprocess.run([*command, *words], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0
    assert done.stderr.count("error: the configuration has a problem") == 1  # once more in torchrun's table of failures
    assert "trainer.strategy=none, but 2 processes run" in done.stderr
    assert {path.name for path in tmp_path.rglob("*")} <= {"runs"}  # empty: rank 1 was killed after rank 0 tidied up


def test_a_mistake_in_a_sweep(run_train) -> None:
    done = run_train("-m", "model=vid2vid_tiny", "seed=0,x")
    assert done.returncode == 2 and "seed=x: must be a whole number" in done.stderr
    assert "Traceback" not in done.stderr


def test_interpolation_that_leads_nowhere() -> None:
    with pytest.raises(ConfigError, match="nothing"):
        compose(["model=vid2vid", "name=${nothing}"], SCHEMAS)
