"""Variants compose, are trained alike, and nothing undoes their comparison."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from train import SCHEMAS, TASKS
from trainer.cli import compose
from trainer.config.arguments import parse_args
from trainer.errors import ConfigError, UserError
from vid2vid.ablations.check import own_keys
from vid2vid.ablations.command import Arguments, TableName, arguments, plan_of, run
from vid2vid.ablations.variants import Length
from vid2vid.config import Gan, ImageDiscriminator, Upsample, Vid2VidConfig, image_discriminator
from vid2vid.segmenter.file import SegmenterFacts, save_segmenter
from vid2vid.segmenter.network import UNet

OUT = Path("out")


def composed(**given: object) -> dict[str, Vid2VidConfig]:
    """Variant -> configuration of its first training."""
    plan = plan_of(Arguments(**given), OUT)  # type: ignore[arg-type]
    found = {job.variant.name: compose(plan.words(job), SCHEMAS) for job in plan.jobs if job.seed == 0}
    assert all(TASKS["vid2vid"].problems(config) == [] for config in found.values())
    return found


def test_every_variant_of_the_paper_composes_and_takes_its_part_away() -> None:
    configs = composed(overrides=["data.val_clips=2"])
    assert {(config.trainer.budget, config.data.val_clips) for config in configs.values()} == {("4m", 2)}
    models = {name: config.model for name, config in configs.items()}
    alike = composed(steps=300)["full"].trainer
    assert (alike.max_steps, alike.max_samples, alike.budget) == (300, None, None)
    full = models["full"]
    assert full.flow and full.video_discriminator and full.past_frames == 2 and full.foreground.name == "override"
    assert not models["no_flow"].flow and not models["no_video_discriminator"].video_discriminator
    assert models["no_foreground"].foreground.name == "off" and models["frame_by_frame"].past_frames == 0


def test_every_modern_variant_adds_its_part() -> None:
    models = {name: config.model for name, config in composed(table=TableName.modern).items()}
    assert list(models) == ["2018", "nearest", "relativistic", "segmenting", "both", "wide3"]
    before, nearest, wide = models["2018"], models["nearest"], models["wide3"]
    assert (before.gan, before.upsample, before.r1_gamma) == (Gan.lsgan, Upsample.transposed, 0)
    assert (before.ngf, before.downsamplings, before.lambda_mask) == (32, 2, 2.0)
    assert (nearest.gan, nearest.upsample) == (Gan.lsgan, Upsample.nearest)
    assert (wide.ngf, wide.downsamplings, wide.upsample) == (24, 3, Upsample.nearest)
    for name in ("relativistic", "both"):
        model = models[name]
        assert (model.gan, model.upsample, model.penalty_every) == (Gan.relativistic, Upsample.nearest, 13)
        assert (model.r1_gamma, model.r2_gamma) == (0.005, 0.005)
    assert models["both"].segmenting_gamma == 0
    for name in ("segmenting", "both"):
        assert image_discriminator(models[name]) is ImageDiscriminator.segmenting
        assert models[name].segmenting_feature_matching
    assert models["segmenting"].gan is Gan.lsgan
    own = compose(["experiment=vid2vid/demo"], SCHEMAS).model
    assert models["both"] == own, "the row of the default design"


def test_ids_of_a_film_are_not_the_streets(tmp_path: Path) -> None:
    (tmp_path / "film" / "labels").mkdir(parents=True)
    of_film, street = (
        plan_of(Arguments(table=TableName.modern, film=film), tmp_path).table for film in (str(tmp_path / "film"), None)
    )
    assert (of_film.columns["iou_24"], street.columns["iou_24"]) == ("IoU of id 24", "people")
    assert list(of_film.columns) == list(street.columns) and of_film.columns["miou"] == "mIoU"


def test_a_film_without_label_maps_has_no_rows_that_tell_classes_apart(tmp_path: Path) -> None:
    (tmp_path / "film" / "landmarks").mkdir(parents=True)
    asked = Arguments(table=TableName.modern, film=str(tmp_path / "film"))
    assert [row.name for row in plan_of(asked, OUT).variants] == ["2018", "nearest", "relativistic", "wide3"]
    (tmp_path / "film" / "labels").mkdir()
    assert len(plan_of(asked, OUT).variants) == 6
    said: list[str] = []
    (tmp_path / "film" / "labels").rmdir()
    asked.out, asked.table_only = str(tmp_path / "out"), True
    with pytest.raises(ConfigError):  # there is nothing in the film
        run(asked, SCHEMAS, said.append)
    assert said == [
        f"film={tmp_path / 'film'} has no label maps: without segmenting, both, which tell their classes apart"
    ]


def test_the_papers_ablations_stand_on_its_design() -> None:
    for name, config in composed().items():
        model = config.model
        assert (model.gan, model.upsample, model.r1_gamma) == (Gan.lsgan, Upsample.transposed, 0), name


def test_cpu_time_is_laid_out_in_samples_on_one_thread() -> None:
    plan = plan_of(Arguments(table=TableName.modern, seeds=[4], variants=["2018"]), OUT)
    (job,) = plan.jobs
    assert str(plan.length) == "420 s of CPU time" and job.folder == OUT / "2018-seed4"
    length = Length(cpu_s=420, samples={"2018": 77})
    trainer = compose(job.words(plan.data, plan.table, length, []), SCHEMAS).trainer
    assert (trainer.max_samples, trainer.threads, trainer.device.name) == (77, 1, "cpu")


def test_clips_of_another_machines_time_are_trained_on_any_device() -> None:
    plan = plan_of(Arguments(table=TableName.modern, seeds=[4], variants=["2018"], pace="pace.json"), OUT)
    assert str(plan.length) == "420 s of CPU time, as timed elsewhere" and not plan.length.on_cpu
    words = plan.jobs[0].words(plan.data, plan.table, replace(plan.length, samples={"2018": 77}), [])
    assert "trainer.max_samples=77" in words and not any("device" in word or "threads" in word for word in words)
    assert own_keys(plan.table, plan.length.on_cpu, ["trainer.device=cuda"]) == []
    assert own_keys(plan.table, True, ["trainer.device=cuda"]) != []
    with pytest.raises(ConfigError, match=r"pace=pace\.json: .* give budget_cpu_s=S too"):
        plan_of(Arguments(pace="pace.json", budget="4m"), OUT)
    assert plan_of(Arguments(pace="pace.json", budget_cpu_s=60), OUT).length.cpu_s == 60


def test_rows_of_the_command_line() -> None:
    words = ["table=modern", "variants=[2018]", "variant.soft=model.gan=hinge model.ngf=16", "seeds=2"]
    given = parse_args(arguments(words), words)
    plan = plan_of(given, OUT)
    assert [job.folder.name for job in plan.jobs] == ["2018-seed0", "soft-seed0", "2018-seed1", "soft-seed1"]
    model = compose(plan.words(plan.jobs[1]), SCHEMAS).model
    assert (model.gan, model.ngf, model.upsample) == (Gan.hinge, 16, Upsample.transposed)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["variant.2018=a=b"], r"variant\.2018: a row's name"),
        (["variant.full=model.ngf=8"], "has a row of this name; give another"),
        (["variant.soft=hinge"], "variant.soft=hinge: needs KEY=VALUE words"),
        (["variant.soft="], "variant.soft=: needs KEY=VALUE words"),
        (["variant.soft=model.ngf='8"], "No closing quotation"),
        (["variants=[fall]"], "variants=fall: no such row; there are full, no_video_discriminator"),
        (["variants=[no_flow]"], "full is what the others are compared with"),
        (["seeds=0"], "seeds=0"),
        (["seeds=[1,1]"], "a list of different ones"),
        (["seeds=some"], "seeds=some: must be at least 1"),
        (["steps=5", "budget=2m"], "budget=2m and steps=5: give one of them"),
        (["segmenter=nowhere.safetensors"], "segmenter=nowhere.safetensors: no such file"),  # else after all trainings
        (["film=nowhere"], "film=nowhere: has neither labels/ nor landmarks/"),
        (["frames=9", "sheet=[0,9]"], r"sheet=\[0,9\]: 9: the video's frames are 0..8"),
        (["table_only=true"], "no training in .* has come to its end; leave it out"),
        (["model.ngf=0"], "ngf"),
        # What would undo the comparison.
        (["seed=5"], "seed=5: each seed is trained"),  # all seeds would be one, with no spread at all
        (["model.flow=true"], "model.flow=true: the rows of the table differ in it"),  # "no flow" would be the full one
        (["+model.past_frames=1"], "past_frames=1: the rows"),
        (["trainer.max_steps=9"], "give steps=N"),
        (["data.flow=none"], "the warping error needs flow"),  # else known after all trainings
        (
            ["variants=[full,no_flow]", "variant.looks=model.style_channels=3"],
            "full has 0, no_flow has 0, looks has 3; give all rows the same",
        ),
        (["model.first_frame=real"], "generated from labels alone"),
        # Else the row would be as it is without, or one of other frames beside the rest.
        (["variant.other=seed=3"], r"variant\.other: seed=3: each seed is trained; seeds=N .*; leave it out"),
        (["variant.long=model.ngf=16 trainer.max_steps=9"], r"variant\.long: trainer\.max_steps=9: give steps=N"),
        (["table=modern", "variant.fast=trainer.threads=2"], r"variant\.fast: trainer\.threads=2: with budget_cpu_s"),
        (
            ["variant.large=resolution=[128,256]"],
            r"variant\.large: resolution=\[128,256\], but full has \[64,128\], .* give resolution for all rows",
        ),
        (
            ["variant.new=data.world_seed=1 data.val_frames=8"],
            r"data\.val_frames=8, but full has 24(.|\n)*world_seed=1",
        ),
        (["table=modern", "model.upsample=nearest"], "the rows of the table differ in it"),
        (["table=modern", "trainer.threads=2"], "on one thread of the CPU; give budget=TIME or steps=N"),
        (["table=modern", "trainer.max_samples=2"], "give steps=N, budget=TIME or budget_cpu_s=S"),
    ],
)
def test_arguments_that_cannot_be(words: list[str], said: str, tmp_path: Path) -> None:
    words = [*words, f"out={tmp_path / 'out'}"]
    with pytest.raises(UserError, match=said):
        run(parse_args(arguments(words), words, run=Vid2VidConfig), SCHEMAS, print)
    assert not list((tmp_path / "out").rglob("*-seed*"))


def test_runs_of_one_table_are_trained_alike(tmp_path: Path) -> None:
    """Also beside what was asked for before there were several tables."""
    (tmp_path / "ablations.json").write_text(
        '{"budget": "4m", "steps": null, "segmenter_steps": 1000, "overrides": []}'
    )
    (tmp_path / "full-seed0" / "checkpoints").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"length=2m: the runs of .* were made with length=4m; .*another out=FOLDER"):
        run(Arguments(budget="2m", out=str(tmp_path)), SCHEMAS, print)
    with pytest.raises(ConfigError, match="no training in"):
        run(Arguments(budget="4m", out=str(tmp_path), table_only=True), SCHEMAS, print)
    with pytest.raises(ConfigError, match=r"table=modern, length=420 s of CPU time: the runs of"):
        run(Arguments(table=TableName.modern, out=str(tmp_path)), SCHEMAS, print)


def test_a_row_keeps_its_meaning_in_its_folder(tmp_path: Path) -> None:
    """Else the figures of what was trained under its name would stand for something else."""

    def ask(*words: str) -> None:
        given = [*words, "table_only=true", f"out={tmp_path}"]
        run(parse_args(arguments(given), given, run=Vid2VidConfig), SCHEMAS, print)

    for words in (["variant.mine=model.ngf=16"], ["variant.other=model.ngf=8"], ["variant.mine=model.ngf=16"]):
        with pytest.raises(ConfigError, match="no training in"):
            ask(*words)
        (tmp_path / "mine-seed0" / "checkpoints").mkdir(parents=True, exist_ok=True)
    with pytest.raises(ConfigError, match=r'variant\.mine="model\.ngf=32": .* made with "model\.ngf=16"; give the row'):
        ask("variant.mine=model.ngf=32")


def test_what_came_to_nothing_binds_nothing(tmp_path: Path) -> None:
    """Words are given again as the error of a failed training says; a segmenter until something is measured."""
    (tmp_path / "mine-seed0").mkdir()  # as a training leaves it that failed at its beginning
    (tmp_path / "mine-seed0" / "console.txt").write_text("error")
    segmenter = tmp_path / "other.safetensors"
    facts = SegmenterFacts((7, 26), ("road", "car"), (8, 8), (8, 8), "", 1, 1, 0.5, 0.5, (0.5, 0.5))
    save_segmenter(segmenter, UNet(2, facts.widths), facts)

    def asked(*words: str, refused: str = "no training in .* has come") -> None:
        given = [*words, "table_only=true", f"out={tmp_path}"]
        with pytest.raises(ConfigError, match=refused):
            run(parse_args(arguments(given), given, run=Vid2VidConfig), SCHEMAS, print)

    asked("variant.mine=model.gan=hinge", "steps=8", "data.val_frames=6")
    asked("variant.mine=model.gan=lsgan", "steps=16", "data.val_frames=8")
    (tmp_path / "full-seed0" / "checkpoints").mkdir(parents=True)
    asked("steps=8", refused="length=8 updates, overrides=.*: the runs of")
    same = "steps=16", "data.val_frames=8"
    asked(*same, "variant.mine=model.gan=hinge")
    asked(*same, "segmenter_steps=5")
    asked(*same, f"segmenter={segmenter}")
    (tmp_path / "segmenter.safetensors").touch()
    asked(*same, f"segmenter={segmenter}", "segmenter_steps=6", refused="segmenter_steps=6: the runs of")
    (tmp_path / "full-seed0" / "ablation.json").write_text("{}")
    asked(*same, refused="segmenter=null: the runs of .* were made with segmenter=.*other")
    (tmp_path / "pace.json").write_text('{"mine": 1')
    asked(*same, refused="pace.json is damaged .*: delete it")


def test_a_row_timed_elsewhere_is_the_same_row(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    (there / "pace.json").write_text('{"2018": 1, "mine": 0.5}')
    (there / "ablations.json").write_text('{"rows": {"2018": "", "mine": "model.ngf=8"}}')
    common = "table=modern", "variants=[2018]", "table_only=true", f"pace={there / 'pace.json'}", f"out={tmp_path}/here"
    for ngf, said in ((16, 'row mine was timed with "model.ngf=8", here it is "model.ngf=16"'), (8, "no training in")):
        words = [*common, f"variant.mine=model.ngf={ngf}"]
        with pytest.raises(ConfigError, match=said):
            run(parse_args(arguments(words), words, run=Vid2VidConfig), SCHEMAS, print)


@pytest.mark.parametrize(("folder", "source"), [("labels", "labels"), ("landmarks", "image")])
def test_a_film_is_trained_by_what_lies_beside_its_frames(folder: str, source: str, tmp_path: Path) -> None:
    (tmp_path / "it's = mine" / folder).mkdir(parents=True)
    film = str(tmp_path / "it's = mine")
    for name, config in composed(table=TableName.modern, film=film, variants=["2018", "wide3"]).items():
        assert config.data.root == film and config.data.kind.name == "folders" and config.model.label_ids is None
        assert (config.model.source.value, config.model.ngf) == (source, 24 if name == "wide3" else 32)
