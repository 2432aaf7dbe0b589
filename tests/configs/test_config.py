"""The configuration: everything composes, every mistake gets one helpful message, the public keys stay."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import MISSING, OmegaConf

from train import SCHEMAS, TASKS
from trainer import cli
from trainer.cli import CONFIGS, compose, guarded, load_run, main
from trainer.config.arguments import parse_args, usage
from trainer.config.fields import OnNonFinite, Precision
from trainer.config.help import field_comments, group_options, groups
from trainer.config.resolve import check_resume, config_diff, flatten, load_yaml, plain, resolve
from trainer.config.schema import find_problems, schema_keys, suggest_key, to_dataclass
from trainer.errors import CheckpointError, ConfigError, DataError, UserError
from vid2vid.config import Foreground, Vid2VidConfig
from vid2vid.validate import problems, validate
from vit.config import VitConfig

MODELS = group_options(CONFIGS, "model")
REFERENCE = {"vid2vid": "vid2vid", "vit": "vit_s16"}  # a model of each task


def files_of(*names: str) -> list[str]:
    return [f"{name}={option}" for name in names for option in group_options(CONFIGS, name)]


def data_root(tmp_path: Path) -> str:
    (tmp_path / "data").mkdir(exist_ok=True)
    return str(tmp_path / "data")


# Everything composes


COMPANIONS = [name for name in groups(CONFIGS) if name not in ("curriculum", "experiment", "model")]


def problems_of(words: list[str]) -> list[str]:
    config = compose(words, SCHEMAS)
    return TASKS[config.task].problems(config)


@cache
def suits(choice: str, task: str) -> bool:
    """Whether a group's file is made for a task: its keys are the task's, and its phases."""
    try:
        return not [line for line in problems_of([f"model={REFERENCE[task]}", choice]) if line.startswith("optim.")]
    except ConfigError:
        return False


@pytest.mark.parametrize("choice", files_of(*COMPANIONS))
def test_every_file_suits_a_task(choice: str) -> None:
    assert any(suits(choice, task) for task in SCHEMAS)


@pytest.mark.parametrize("model", MODELS)
def test_every_yaml_composes_for_every_model_of_its_task(model: str, tmp_path: Path) -> None:
    task = compose([f"model={model}"], SCHEMAS).task
    options = {
        name: [option for option in group_options(CONFIGS, name) if suits(f"{name}={option}", task)]
        for name in COMPANIONS
    }
    assert all(options.values())
    turns = max(map(len, options.values())) if model in REFERENCE.values() else 2
    for turn in range(turns):  # several groups at once: composing takes its time
        words = [f"{name}={found[turn % len(found)]}" for name, found in options.items()]
        assert not problems_of([f"model={model}", *words, f"data.root={data_root(tmp_path)}"]), words


@pytest.mark.parametrize("choice", files_of("curriculum"))
def test_every_curriculum_fits_a_model(choice: str) -> None:
    model = "vid2vid_paper" if choice.endswith("paper") else "vid2vid"
    if not suits(choice, "vid2vid"):
        model = "vit_s16"
    assert not problems_of([f"model={model}", choice])


@pytest.mark.parametrize("choice", files_of("experiment"))
def test_every_experiment_composes_and_says_what_to_expect(choice: str, tmp_path: Path) -> None:
    text = (CONFIGS / (choice.replace("=", "/") + ".yaml")).read_text(encoding="utf-8")
    header = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    (command,) = re.findall(rf"python train.py ({re.escape(choice)}(?: .*)?)$", header, re.MULTILINE)
    words = [word.replace("=PATH", f"={data_root(tmp_path)}") for word in command.split()]
    words = [word for word in words if not word.startswith("[")]
    assert not problems_of([*words, f"data.root={data_root(tmp_path)}"])
    assert "Expected:" in header and "ardware and date" in header


def test_experiment_is_overridden_by_the_command_line() -> None:
    config = compose(["experiment=vid2vid/demo", "model=pix2pixhd", "model.ngf=8", "data=street"], SCHEMAS)
    assert (config.model.past_frames, config.model.ngf, config.model.lambda_l1) == (0, 8, 10.0)


def test_root_names_no_model() -> None:
    text = (CONFIGS / "train.yaml").read_text(encoding="utf-8")
    assert not [name for name in (*MODELS, *SCHEMAS) if re.search(rf"\b{name}\b", text)]


def test_yaml_holds_only_deviations() -> None:
    """A default repeated in a group's YAML would go stale: the dataclasses are the only place of defaults."""
    for name, option in [c.split("=") for c in files_of("trainer", "logger", "schedule")]:
        stored = load_yaml(CONFIGS / name / f"{option}.yaml") if _has_keys(CONFIGS / name / f"{option}.yaml") else {}
        default = flatten(plain(Vid2VidConfig()))
        repeated = [key for key, value in flatten({name: stored}).items() if default.get(key) == value]
        allowed = {"schedule.kind", "schedule.decay_start"}  # said although they are the defaults: what the file is
        assert set(repeated) <= allowed


def _has_keys(path: Path) -> bool:
    return any(line and not line.startswith("#") for line in path.read_text(encoding="utf-8").splitlines())


def test_paper_curriculum_follows_the_released_scripts() -> None:
    config = compose(["model=vid2vid_paper"], SCHEMAS)
    stages = config.curriculum.stages
    widths = [config.resolution[1] // stage.downscale for stage in stages.values()]
    assert sorted(set(widths)) == [512, 1024, 2048] and widths == sorted(widths)
    assert [stage.frames for stage in stages.values() if stage.downscale == 4] == [6, 12, 24, 30]
    assert stages["w1024_new_t4"].trainable == ["generator.scale1", "d_image", "d_video"]
    assert stages["w1024_all_t28"].trainable == ["*"] and stages["w2048_all_t28"].trainable == ["*"]
    model = config.model
    assert (model.ngf, model.ndf, model.scales, model.discriminator_scales) == (128, 64, 3, 4)
    assert model.foreground is Foreground.override


def test_paper_preset_is_the_paper_s_size_and_its_stages_name_real_parameters() -> None:
    import torch

    from trainer.optim.optimizers import matches

    config = compose(["model=vid2vid_paper"], SCHEMAS)
    with torch.device("meta"):
        networks = TASKS["vid2vid"].build(config).networks()
    sizes = {name: sum(item.numel() for item in network.parameters()) for name, network in networks.items()}
    assert sizes == {"generator": 415_075_371, "d_image": 11_213_572, "d_video": 3 * 11_107_076}
    names = [f"{network}.{item}" for network, module in networks.items() for item, _ in module.named_parameters()]
    for pattern in {pattern for stage in config.curriculum.stages.values() for pattern in stage.trainable}:
        assert any(matches(name, pattern) for name in names), pattern


def test_coarse_to_fine_works_at_any_resolution() -> None:
    for resolution in ([64, 128], [256, 512], [480, 848]):
        assert not problems(compose(["model=vid2vid", f"resolution={resolution}"], SCHEMAS))


# The keys


def value_of(value: object) -> str:
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return text.replace(" ", "").replace("'", "")


@pytest.mark.parametrize("model", REFERENCE.values())
def test_every_key_of_the_schema_is_reachable(model: str) -> None:
    """Given on the command line with its own value, each key is accepted and arrives."""
    config = compose([f"model={model}"], SCHEMAS)
    values = {key: value for key, value in flatten(plain(config)).items() if value not in ("", {})}
    assert len(values) > 100
    again = compose([f"model={model}", *(f"{key}={value_of(value)}" for key, value in values.items())], SCHEMAS)
    assert config_diff(config, again) == []


FROZEN = {
    "": ["name", "seed", "resolution"],
    "data.": ["root", "workers"],
    "trainer.": ["max_steps", "max_samples", "log_every", "eval_every", "checkpoint_every", "keep", "precision"],
    "trainer. ": ["device", "compile", "strategy", "deterministic", "dry_run"],
    "model.": ["ngf", "ndf", "downsamplings", "blocks", "scales", "norm", "foreground", "num_labels", "past_frames"],
    "model. ": ["flow", "video_discriminator"],
}


FROZEN_VIT = {
    "": ["name", "seed", "resolution"],
    "data.": ["root", "workers", "cache"],
    "model.": ["variant", "patch", "num_classes", "pool", "pos_embed", "weights", "name", "head", "fit"],
    "trainer.": ["max_steps", "max_samples", "micro_batch"],
}


@pytest.mark.parametrize("key", [group.strip() + name for group, names in FROZEN.items() for name in names])
def test_public_key_stays(key: str) -> None:
    assert key in set(schema_keys(Vid2VidConfig))


@pytest.mark.parametrize("key", [group + name for group, names in FROZEN_VIT.items() for name in names])
def test_public_key_of_vit_stays(key: str) -> None:
    assert key in set(schema_keys(VitConfig))


def test_public_choices_stay() -> None:
    assert {item.name for item in Precision} >= {"auto", "bf16", "fp16", "fp32"}
    assert {item.name for item in Foreground} >= {"off", "override", "paper"}


# Mistakes

MISTAKES = [
    ("modle=vid2vid", "unknown key 'modle'; did you mean 'model'?"),
    ("model=vid2vit", "did you mean 'vid2vid'?"),
    ("model=vid2vit", "model=vid2vit: not one of: pix2pixhd, timm, vid2vid, vid2vid_paper, vid2vid_tiny, vit_b16, "),
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
    ("model.zebra=1", "unknown key 'model.zebra'; model has: backprop_frames, blocks, "),
    ("optim.gg.lr=1", "unknown key 'optim.gg.lr'; did you mean 'optim.g.lr'?"),
    ("optim.g.learning=1", "unknown key 'optim.g.learning'; did you mean 'optim.g.lr'?"),
    ("curriculum.stages.half_shrt.frames=3", "did you mean 'curriculum.stages.half_short.frames'?"),
    ("optim.g.lr=fast", "optim.g.lr=fast: must be a number"),
    ("trainer.max_steps=ten", "trainer.max_steps=ten: must be a whole number or null"),
    ("trainer.max_steps=2.5", "trainer.max_steps=2.5: must be a whole number or null"),
    ("model.flow=maybe", "model.flow=maybe: must be true or false"),
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
    ("task=vid2vit", "task=vid2vit is not one of: vid2vid, vit; did you mean 'vid2vid'?"),
]


def run_main(words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and stderr of ``train.py WORDS``, in this process."""
    monkeypatch.setattr(sys, "argv", ["train.py", *words])
    code = 0
    try:
        guarded(lambda: main(TASKS))()
    except SystemExit as stop:
        code = int(stop.code or 0)
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err + captured.out
    return code, captured.err


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
    (["model.label_ids=[7,7,26]"], "each once"),
    (["model.label_ids=[26,70000]"], "label_ids has [70000]"),
    (["model.lambda_flow=-1"], "model.lambda_flow=-1.0: must be at least 0"),
    (
        ["model.backprop_frames=2"],
        "model.backprop_frames=2 must divide segment_frames=3",
    ),
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
        validate(compose(["model=vid2vid", *words], SCHEMAS))


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
    (["data.multilabel=true", "loss.kind=bce"], "data.multilabel=true is for data=csv"),
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


# Help and Hydra's own flags


def test_help_is_quick_and_complete(run_train) -> None:
    began = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = run_train("--help")
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0 and done.stderr == ""
    seconds = ended.ru_utime - began.ru_utime + ended.ru_stime - began.ru_stime
    assert seconds < 1.0  # of one core: what it takes on a machine with nothing else to do
    assert len(re.findall(r"^ {2}(?:python|torchrun) .*train\.py", done.stdout, re.MULTILINE)) == 6
    for group in groups(CONFIGS):
        assert re.search(rf"^  {group} ", done.stdout, re.MULTILINE), group
        assert all(option in done.stdout for option in group_options(CONFIGS, group))


def test_help_of_a_model_explains_its_keys(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "model=vid2vid", "model.ngf=77", "--help"])
    main(TASKS, "about this")
    text = capsys.readouterr().out
    assert text.startswith("about this\n")
    assert re.search(r"model\.ngf=77\b", text)
    assert re.search(r"trainer\.keep=2\s+newest checkpoints kept", text)
    assert re.search(r"optim\.g\.every=1\s+update on steps divisible by this", text)


def test_cfg_and_info(run_train, tmp_path: Path) -> None:
    shown = run_train("model=vid2vid_tiny", "--cfg", "job")
    assert shown.returncode == 0 and "ngf: 4" in shown.stdout and "downsamplings: 2" in shown.stdout
    info = run_train("model=vid2vid_tiny", "--info", "defaults")
    assert info.returncode == 0 and "model/vid2vid" in info.stdout
    assert not list(tmp_path.iterdir())


def test_a_sweep_names_runs_by_what_is_swept(run_train, tmp_path: Path) -> None:
    done = run_train("-m", "model=vid2vid_tiny", "seed=0,1", "name=s", "trainer.dry_run=true")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("generator") >= 2
    assert "run directory runs/s/seed=0" in done.stdout and "run directory runs/s/seed=1" in done.stdout


@pytest.mark.slow
def test_a_mistake_under_torchrun_is_told_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", str(CONFIGS.parent / "train.py")]
    words = ["model=vid2vid_tiny", "trainer.strategy=none", "curriculum.stages.all.batch_size=2"]
    done = subprocess.run([*command, *words], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0
    assert done.stderr.count("trainer.strategy=none, but 2 processes run") == 1
    assert not list(tmp_path.iterdir())


def test_a_mistake_in_a_sweep(run_train) -> None:
    done = run_train("-m", "model=vid2vid_tiny", "seed=0,x")
    assert done.returncode == 2 and "seed=x: must be a whole number" in done.stderr
    assert "Traceback" not in done.stderr


# Objects and files


def test_to_dataclass_types() -> None:
    config = to_dataclass(Vid2VidConfig, {"seed": 3.0, "name": 2024, "trainer": {"on_nonfinite": "skip", "ema": None}})
    assert config.seed == 3 and config.name == "2024" and config.trainer.ema is None
    assert config.trainer.on_nonfinite is OnNonFinite.skip
    with pytest.raises(ConfigError, match="data=3: data holds further keys"):
        to_dataclass(Vid2VidConfig, {"data": 3})
    assert find_problems(Vid2VidConfig, {"optim": {"g": {"lrr": 1}}}) == [
        "unknown key 'optim.g.lrr'; did you mean 'optim.g.lr'?"
    ]
    assert find_problems(Vid2VidConfig, {"optim": {"g": {"lr": "x"}}}) == ["optim.g.lr=x: must be a number"]
    assert find_problems(Vid2VidConfig, {"optim": {"g": 1}}) == ["optim.g=1: optim.g holds further keys, not one value"]


def test_suggestions() -> None:
    known = ["model.ngf", "model.ndf", "trainer.max_steps", "optim.g.lr"]
    assert suggest_key("trainer.maxsteps", known) == "trainer.max_steps"
    assert suggest_key("model.lr", known) == "optim.g.lr"
    assert suggest_key("zebra", known) is None


def write_run(tmp_path: Path, words: list[str]) -> Path:
    from omegaconf import OmegaConf

    run_dir = tmp_path / "runs" / "first"
    (run_dir / "checkpoints" / "latest").mkdir(parents=True)
    OmegaConf.save(OmegaConf.create(plain(compose(words, SCHEMAS))), run_dir / "config.yaml")
    return run_dir


def test_load_run_gives_back_what_was_run(tmp_path: Path) -> None:
    words = ["model=vid2vid_tiny", "model.ngf=6", "trainer.precision=fp32"]
    run_dir = write_run(tmp_path, words)
    config = load_run(run_dir, SCHEMAS)
    assert config_diff(config, compose(words, SCHEMAS)) == [] and isinstance(config, Vid2VidConfig)


def test_load_run_with_other_data(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path, ["model=vid2vid_tiny", "data.clips=3"])
    config = load_run(run_dir, SCHEMAS, ["data=folders", "data.root=/x", "trainer.device=cpu"])
    assert (config.data.kind.name, config.data.root, config.data.flow.name, config.data.clips) == (
        "folders",
        "/x",
        "dis",
        64,
    )
    assert config.trainer.device.name == "cpu" and config.model.ngf == 4
    assert load_run(run_dir, SCHEMAS, ["data=video"]).model.source.name == "image"
    with pytest.raises(ConfigError, match=r"did you mean 'data\.root'"):
        load_run(run_dir, SCHEMAS, ["data.rot=/x"])
    with pytest.raises(ConfigError, match="did you mean 'folders'"):
        load_run(run_dir, SCHEMAS, ["data=folder"])
    with pytest.raises(ConfigError, match="a run keeps its model"):
        load_run(run_dir, SCHEMAS, ["model=pix2pixhd"])


def test_load_run_says_what_is_missing(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path, ["model=vid2vid_tiny"])
    with pytest.raises(UserError, match=r"no config.yaml there, so it is no run; did you mean '.*first'"):
        load_run(run_dir.parent / "frist", SCHEMAS)
    (run_dir / "config.yaml").write_text("task: vid2vid\nmodel: {ngff: 3}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"config.yaml: unknown key 'model.ngff'; did you mean 'model.ngf'"):
        load_run(run_dir, SCHEMAS)
    (run_dir / "config.yaml").write_text("a: [1,\n", encoding="utf-8")
    with pytest.raises(UserError, match="cannot be read as YAML"):
        load_run(run_dir, SCHEMAS)


def test_a_stored_configuration_is_data(tmp_path: Path) -> None:
    """Neither Python tags nor _target_ in a run's file are acted on."""
    run_dir = write_run(tmp_path, ["model=vid2vid_tiny"])
    (run_dir / "config.yaml").write_text("task: !!python/object/apply:os.system ['true']\n", encoding="utf-8")
    with pytest.raises(UserError, match="cannot be read as YAML"):
        load_run(run_dir, SCHEMAS)
    (run_dir / "config.yaml").write_text("task: vid2vid\nmodel: {_target_: os.system}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"unknown key 'model\._target_'"):
        load_run(run_dir, SCHEMAS)


def test_going_on_with_another_model_is_refused(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path, ["model=vid2vid_tiny"])
    quiet = compose(
        ["model=vid2vid_tiny", "trainer.log_every=7", "trainer.keep=9", "logger.tensorboard=false"], SCHEMAS
    )
    assert check_resume(quiet, run_dir) == [], "what decides nothing"
    longer = compose(["model=vid2vid_tiny", "trainer.max_samples=99", "trainer.precision=fp16"], SCHEMAS)
    before = compose(["model=vid2vid_tiny"], SCHEMAS).trainer.max_samples
    assert check_resume(longer, run_dir) == [
        f"trainer.max_samples: {before} -> 99",
        "trainer.precision: auto -> fp16",
    ]
    other_data = compose(["model=vid2vid_tiny", "data.clips=9"], SCHEMAS)
    assert check_resume(other_data, run_dir) == ["data.clips: 8 -> 9"]
    other_model = compose(["model=vid2vid_tiny", "model.ngf=8"], SCHEMAS)
    with pytest.raises(CheckpointError, match=r"model.ngf: 4 -> 8[\s\S]*trainer.resume=never"):
        check_resume(other_model, run_dir)
    other_model.trainer.resume = "never"
    assert check_resume(other_model, run_dir) == []
    assert check_resume(other_model, tmp_path / "runs" / "new") == []


def test_a_run_that_is_too_old_for_a_key_has_its_default(tmp_path: Path) -> None:
    run_dir = tmp_path / "runs" / "a"
    (run_dir / "checkpoints").mkdir(parents=True)
    (run_dir / "checkpoints" / "latest").write_text("step-00000001\n")
    config = compose(["model=vid2vid_tiny", "name=a"], SCHEMAS)
    stored = plain(config)
    del stored["model"]["video_windows"], stored["trainer"]["budget"], stored["data"]["label_format"]
    (run_dir / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(stored)))
    assert check_resume(config, run_dir) == []
    other = compose(["model=vid2vid_tiny", "name=a", "model.video_windows=aligned"], SCHEMAS)
    with pytest.raises(CheckpointError, match=r"model\.video_windows: random -> aligned"):
        check_resume(other, run_dir)


def test_config_diff() -> None:
    old, new = {"a": {"b": 1, "c": [1, 2]}, "gone": 1}, {"a": {"b": 2, "c": [1, 2]}, "d": None}
    assert config_diff(old, new) == ["a.b: 1 -> 2", "gone: 1 -> (absent)", "d: (absent) -> null"]


def test_interpolation_that_leads_nowhere() -> None:
    with pytest.raises(ConfigError, match="nothing"):
        compose(["model=vid2vid", "name=${nothing}"], SCHEMAS)


def test_resolve_needs_a_known_task() -> None:
    with pytest.raises(ConfigError, match="task=null is not one of: vid2vid"):
        resolve({}, SCHEMAS)


# What every script shares


class Format(Enum):
    mp4 = "mp4"
    png = "png"


@dataclass
class Arguments:
    """Make something."""

    run: str = MISSING  # the run's folder
    frames: int | None = None  # how many
    remap: str | None = None  # pairs like 11:21,26:33
    format: Format = Format.mp4  # of the output
    compare: bool = False
    sizes: list[int] = field(default_factory=lambda: [1, 2])
    overrides: list[str] = field(default_factory=list)


def test_arguments() -> None:
    given = parse_args(
        Arguments, ["run=runs/a=b", "frames=3", "remap=11:21", "format=png", "compare=true", "sizes=[4]"]
    )
    assert given == Arguments("runs/a=b", 3, "11:21", Format.png, True, [4], [])
    assert parse_args(Arguments, ["run=1", "remap=null", "frames=null"]).run == "1"
    assert parse_args(Arguments, ["run=a", "data=folders", "data.root=/x"]).overrides == [
        "data=folders",
        "data.root=/x",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "run=... is missing: the run's folder"),
        (["rum=x"], "unknown key 'rum'; did you mean 'run'?"),
        (["run=x", "frames=many"], "frames=many: must be a whole number or null"),
        (["run=x", "format=gif"], "format=gif is not one of: mp4, png"),
        (["run=x", "compare=perhaps"], "compare=perhaps: must be true or false"),
        (["run=x", "--compare"], "'--compare' is not of the form key=value; try compare=..."),
        (["run=x", "--max-frames=3"], "try max_frames=3"),
    ],
)
def test_wrong_arguments(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        parse_args(Arguments, words)


def test_arguments_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse_args(Arguments, ["--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0 and text.strip() == usage(Arguments)
    assert re.search(r"run=\.\.\. \(required\)\s+the run's folder", text)
    assert re.search(r"format=mp4\s+of the output \(mp4 \| png\)", text)
    assert field_comments(Arguments)["remap"] == "pairs like 11:21,26:33"


@pytest.mark.parametrize(
    "error", [PermissionError(13, "Permission denied", "runs/x"), OSError(30, "Read-only", "runs/x")]
)
def test_a_folder_that_cannot_be_written(error: OSError, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        guarded(lambda: (_ for _ in ()).throw(error))()
    assert capsys.readouterr().err.startswith(f"error: runs/x: {error.strerror}. A run is written below the folder ")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB\nmore"),
        RuntimeError("CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation' in https://docs.nvidia.com"),
    ],
)
def test_a_card_that_others_have_filled(error: Exception, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (2**29, 80 * 2**30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 2**30)
    with pytest.raises(SystemExit, match="2"):
        guarded(lambda: (_ for _ in ()).throw(error))()
    told = capsys.readouterr().err
    first = str(error).splitlines()[0] if str(error) else "MemoryError"
    assert told.startswith(f"error: memory ran out ({first}).") and told.count("\n") == 1
    assert "Of the card's 80.0 GiB 0.5 are free and 78.5 are other programs' (nvidia-smi names them)" in told
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (_ for _ in ()).throw(RuntimeError("CUDA error")))
    with pytest.raises(SystemExit, match="2"):  # a card so full that even asking it fails
        guarded(lambda: (_ for _ in ()).throw(error))()
    assert "Otherwise lower the batch" in capsys.readouterr().err


def test_other_errors_keep_their_traceback() -> None:
    with pytest.raises(RuntimeError, match="shapes do not match"):
        guarded(lambda: (_ for _ in ()).throw(RuntimeError("shapes do not match")))()


def test_without_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a daemon is started, or by ``>&-``: Python then has None in their place."""
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)

    def command() -> None:
        print("nobody reads it", file=sys.stdout)
        raise UserError("nor this")

    with pytest.raises(SystemExit, match="2"):
        guarded(command)()
    sys.stdout.close()
    sys.stderr.close()


def test_a_file_where_the_run_would_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    Path("runs/taken").write_text("")
    monkeypatch.setattr(sys, "argv", ["train.py", "model=vit_mu", "name=taken"])
    with pytest.raises(SystemExit, match="2"):
        guarded(lambda: main(TASKS))()
    assert capsys.readouterr().err.startswith("error: runs/taken: File exists. ")


def test_guarded(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def code_of(error: BaseException) -> tuple[int, str]:
        def fail() -> None:
            raise error

        with pytest.raises(SystemExit) as stop:
            guarded(fail)()
        assert isinstance(stop.value.code, int)
        return stop.value.code, capsys.readouterr().err

    assert code_of(UserError("x.png: broken")) == (2, "error: x.png: broken\n")
    assert code_of(KeyboardInterrupt())[0] == 130
    code, text = code_of(OSError(28, "No space left on device", "runs/a/x"))
    assert code == 2 and "no space left" in text and "runs/a/x" in text
    worker = DataError(
        "Caught DataError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
        '  File "x.py", line 1, in f\n    raise DataError("a")\ntrainer.errors.DataError: a.png: broken\n  more\n'
    )
    assert code_of(worker) == (2, "error: a.png: broken\n  more\n")
    waited: list[float] = []
    monkeypatch.setattr(cli.time, "sleep", waited.append)
    assert code_of(ConfigError("x"))[0] == 2 and not waited
    monkeypatch.setenv("RANK", "1")
    assert code_of(ConfigError("x"))[0] == 2 and waited == [cli.RANK_0_SAYS_IT_S]  # rank 0 says it first
    with pytest.raises(ZeroDivisionError):
        guarded(lambda: 1 / 0)()
    with pytest.raises(PermissionError):
        guarded(lambda: (_ for _ in ()).throw(PermissionError(13, "no")))()
