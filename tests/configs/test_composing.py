"""Every YAML file composes and passes validation, and holds only what deviates from the dataclasses."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
import torch

from tests.helpers.composed import MODELS, REFERENCE, data_root, problems_of
from train import SCHEMAS, TASKS
from trainer.cli import CONFIGS, compose
from trainer.config.help import group_options, groups
from trainer.config.resolve import flatten, load_yaml, plain
from trainer.errors import ConfigError
from vid2vid.config import ForegroundKind, Vid2VidConfig
from vid2vid.validate import problems


def files_of(*names: str) -> list[str]:
    return [f"{name}={option}" for name in names for option in group_options(CONFIGS, name)]


COMPANIONS = [name for name in groups(CONFIGS) if name not in ("curriculum", "experiment", "model")]


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


# Tasks and models that share the data of others: what all these files are to them takes a quarter of a minute each.


@pytest.mark.parametrize(
    "model", [name if name in ("vit_b16", "vid2vid") else pytest.param(name, marks=pytest.mark.slow) for name in MODELS]
)
def test_every_yaml_composes_for_every_model_of_its_task(model: str, tmp_path: Path) -> None:
    task = compose([f"model={model}"], SCHEMAS).task
    options = {
        name: [option for option in group_options(CONFIGS, name) if suits(f"{name}={option}", task)]
        for name in COMPANIONS
    }
    assert all(options.values())
    turns = max(map(len, options.values())) if model in REFERENCE.values() else 2
    for turn in range(turns):  # several groups at once: composing takes its time
        chosen = {name: found[turn % len(found)] for name, found in options.items()}
        ramps = chosen["schedule"] == "r3gan"  # of beta2, which only Adam's kind has, and of the averages' half-life
        if ramps:
            chosen["optim"] = next(option for option in options["optim"] if "adam" in option)
        words = [*(f"{name}={option}" for name, option in chosen.items()), *(["trainer.ema=0.999"] if ramps else [])]
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
    assert stages["w1024_new_t4"].trainable == ["generator.scale1", "d_*"]
    assert stages["w1024_all_t28"].trainable == ["*"] and stages["w2048_all_t28"].trainable == ["*"]
    model = config.model
    assert (model.ngf, model.ndf, model.scales, model.discriminator_scales) == (128, 64, 3, 4)
    assert model.foreground is ForegroundKind.override


def test_paper_preset_is_the_paper_s_size_and_its_stages_name_real_parameters() -> None:

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
