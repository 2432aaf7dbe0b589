"""``resolution=224``: one number is a square, on the command line, in sweeps, for scripts. Text is quoted."""

import sys
from pathlib import Path

import pytest

from train import SCHEMAS, TASKS
from trainer.cli import compose, guarded, load_run, main
from trainer.config.short_forms import written_out
from trainer.errors import ConfigError


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("resolution=224", "resolution=[224,224]"),
        ("++resolution=64", "++resolution=[64,64]"),
        ("curriculum.stages.half_short.resolution=32", "curriculum.stages.half_short.resolution=[32,32]"),
        ("resolution=[64,128]", "resolution=[64,128]"),
        ("resolution=64,128", "resolution=64,128"),  # no sweep: a mistake, which is told
        ("resolution=wide", "resolution=wide"),
        ("resolution=2.5", "resolution=2.5"),
        ("resolution=", "resolution="),
        ("data.resolution=4", "data.resolution=4"),
        ("model.resolutions=4", "model.resolutions=4"),
        ("curriculum.stages.a.b.resolution=4", "curriculum.stages.a.b.resolution=4"),
        ("data.label_map=11:21,26:24", "data.label_map=[11:21,26:24]"),
        ("data.label_map=11:21,*:255", "data.label_map=[11:21,*:255]"),
        ("data.label_map=255:1", "data.label_map=255:1"),
        ("--help", "--help"),
        ("trainer.resume=runs/a/seed=0", "trainer.resume='runs/a/seed=0'"),
        ("data.root=/x/My clip (take=2), #1.mp4", "data.root='/x/My clip (take=2), #1.mp4'"),
        ("data.root=~/films", "data.root='~/films'"),
        ("data.root=/it's/日本", "data.root='/it\\'s/日本'"),
        ("data.root='/a=b'", "data.root='/a=b'"),
        ("model.label_ids=[1,2]", "model.label_ids=[1,2]"),
        ("name=${oc.env:USER}", "name=${oc.env:USER}"),
        ("seed=choice(1,2)", "seed=choice(1,2)"),
        ("~data.root", "~data.root"),
        ("seed=0,1", "seed=0,1"),
    ],
)
def test_single_words(word: str, expected: str) -> None:
    assert written_out([word]) == [expected]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("resolution=64", "resolution=[64,64]"),
        ("model.weights=runs/a/seed=0,runs/b", "model.weights='runs/a/seed=0',runs/b"),
        ("resolution=64,128", "resolution=[64,64],[128,128]"),
        ("resolution=64,[32,64], 96", "resolution=[64,64],[32,64],[96,96]"),
        ("curriculum.stages.s.resolution=16,32", "curriculum.stages.s.resolution=[16,16],[32,32]"),
        ("seed=1,2", "seed=1,2"),
        ("data.label_map=1:2,3:4", "data.label_map=1:2,3:4"),
    ],
)
def test_sweeps(word: str, expected: str) -> None:
    assert written_out([word, "-m"], sweep=True) == [expected, "-m"]


def test_it_composes() -> None:
    words = ["model=vid2vid", "resolution=64", "curriculum.stages.half_short.resolution=32"]
    config = compose(words, SCHEMAS)
    assert config.resolution == [64, 64] and config.curriculum.stages["half_short"].resolution == [32, 32]
    with pytest.raises(ConfigError, match=r"resolution=64,128|list of whole numbers"):
        compose(["model=vid2vid", "resolution=64,128"], SCHEMAS)


def test_scripts_take_it_for_a_run(tmp_path: Path) -> None:
    import yaml

    from trainer.config.resolve import plain

    (tmp_path / "config.yaml").write_text(yaml.safe_dump(plain(compose(["model=vid2vid_tiny"], SCHEMAS))))
    assert load_run(tmp_path, SCHEMAS, ["resolution=96"]).resolution == [96, 96]


def test_a_sweep_over_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["-m", "model=vid2vid_tiny", "name=sizes", "resolution=32,64", "trainer.dry_run=true"]
    monkeypatch.setattr(sys, "argv", ["train.py", *words])
    guarded(lambda: main(TASKS))()
    shown = capfd.readouterr().out
    assert [size for size in ("32x32", "64x64") if size in shown] == ["32x32", "64x64"]
    assert "runs/sizes/resolution=[32,32]" in shown and "runs/sizes/resolution=[64,64]" in shown


@pytest.mark.parametrize("text", ["a=b", "it's", "a\\", "a'\\", "\\'", "x[1]{2}", "é, (ß)", "ends \\\\"])
def test_quoted_text_comes_back_as_it_was(text: str) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    (word,) = written_out([f"data.root={text}#"])
    assert OverridesParser.create().parse_override(word).value() == f"{text}#"
    (word,) = written_out([f"data.root=#{text}"])
    assert OverridesParser.create().parse_override(word).value() == f"#{text}"


def test_the_home_folder_is_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    config = compose(["model=vit_mu", "data=imagefolder", "data.root=~/pictures", "model.weights=~/w.npz"], SCHEMAS)
    assert (config.data.root, config.model.weights) == ("/home/me/pictures", "/home/me/w.npz")


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("name=2024_11_26", "name='2024_11_26'"),  # Hydra: 20241126
        ("name=1e3", "name='1e3'"),
        ("name=true", "name='true'"),
        ("data.root=.5", "data.root='.5'"),
        ("trainer.resume=1_0", "trainer.resume='1_0'"),
        ("name=null", "name=null"),
        ("name=first", "name=first"),
        ("seed=1_000", "seed=1_000"),
        ("trainer.ema=1e-1", "trainer.ema=1e-1"),
        ("loss.class_weight_values={star: 2}", "++loss.class_weight_values={star: 2}"),
        ("+loss.class_weight_values.star=2", "++loss.class_weight_values.star=2"),
        ("model.name_options.depth=2", "++model.name_options.depth=2"),
        ("optim.main.lr=1", "optim.main.lr=1"),
        ("curriculum.stages.b.start=1", "curriculum.stages.b.start=1"),
    ],
)
def test_what_a_key_holds_decides(word: str, expected: str) -> None:
    assert written_out([word], schemas=SCHEMAS) == [expected]


def test_a_date_is_a_name_in_runs_and_sweeps() -> None:
    assert compose(["model=vit_mu", "name=2024_11_26"], SCHEMAS).name == "2024_11_26"
    assert written_out(["name=1e3,2024_1,x"], sweep=True, schemas=SCHEMAS) == ["name='1e3','2024_1',x"]


def test_mappings_that_take_any_name() -> None:
    config = compose(["model=vit_mu", "loss.class_weight_values={star: 2}", "loss.class_weight_values.bar=3"], SCHEMAS)
    assert config.loss.class_weight_values == {"star": 2.0, "bar": 3.0}
    config = compose(["model=timm", "model.name=vit_tiny_patch16_224", "model.name_options={depth: 2}"], SCHEMAS)
    assert config.model.name_options == {"depth": 2.0}
    with pytest.raises(ConfigError) as error:
        compose(["model=vit_mu", "loss.class_weight_values={star: x}"], SCHEMAS)
    assert "loss.class_weight_values.star: " in str(error.value) and "did you mean" not in str(error.value)


@pytest.mark.parametrize(
    "word",
    [
        "curriculum.stages.late={start: 0.5}",
        "+curriculum.stages.late.start=0.5",
        "curriculum.stages={late: {start: 0.5}}",
    ],
)
def test_a_new_stage_is_asked_for_expressly(word: str) -> None:
    with pytest.raises(ConfigError) as error:
        compose(["model=vit_mu", word], SCHEMAS)
    assert error.value.problems == [
        "curriculum.stages has no 'late'; it has: all. To add one: '++curriculum.stages={late: {...}}'"
    ]
    stages = compose(["model=vit_mu", "++curriculum.stages={late: {start: 0.5}}"], SCHEMAS).curriculum.stages
    assert list(stages) == ["all", "late"] and stages["late"].start == 0.5


@pytest.mark.parametrize("name", [".", "a/./b", "n" * 201, "a/" + "é" * 101])
def test_folders_that_no_run_can_have(name: str) -> None:
    config = compose(["model=vit_mu", f"name={name}"], SCHEMAS)
    assert [line for line in TASKS["vit"].problems(config) if line.startswith(f"name={name}: ")]


@pytest.mark.parametrize(
    ("typed", "more"),
    [
        (["trainer.max_epochs=10"], ["trainer.max_samples=null"]),
        (["trainer.max_samples=1000"], ["trainer.max_epochs=null"]),
        (["trainer.max_samples=1000", "trainer.max_epochs=2"], []),
        (["schedule.warmup=0.1", "schedule.final=0.01"], ["schedule.warmup_epochs=null", "schedule.min_lr=null"]),
        (["schedule.warmup_from=0.1"], ["schedule.warmup_lr=null"]),
        (["schedule.warmup_epochs=5", "schedule.min_lr=0"], []),
    ],
)
def test_what_is_typed_goes_before_the_same_in_other_units(typed: list[str], more: list[str]) -> None:
    assert written_out(typed) == typed + more
