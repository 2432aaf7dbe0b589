"""Sharded training in two and four processes is that of one; checkpoints go on with any number of them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.helpers.launching import run_module
from tests.helpers.sharded_toys import Stack
from trainer.build import keep_channels_last
from trainer.checkpoint.contents import EMA, WEIGHTS
from trainer.checkpoint.directory import Checkpoints
from trainer.checkpoint.weights import read_safetensors
from trainer.config.fields import RunConfig, Strategy, TrainerConfig
from trainer.parallel.choice import SHARE, choose, state_bytes
from trainer.validate import run_problems

CASES = ("plain", "lamb", "thawing", "rehearsed", "traced", "low", "spoilt")
COUNT = sum(p.numel() for p in Stack().parameters())


def launch(folder: Path, world: int, *cases: str) -> dict[str, dict[str, Any]]:
    """The results of ``tests.helpers.shard_cases`` in so many processes, by case."""
    ends = run_module("tests.helpers.shard_cases", [str(folder), *cases], world, timeout=500)
    texts = [(end.stdout + end.stderr)[-3000:] for end in ends]
    assert [end.returncode for end in ends] == [0] * world, "\n".join(texts)
    return {case: torch.load(folder / f"{case}-{world}.pt", weights_only=True) for case in cases}


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return launch(tmp_path_factory.mktemp("one"), 1, "plain", "lamb", "thawing")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return launch(tmp_path_factory.mktemp("two"), 2, *CASES)


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return launch(tmp_path_factory.mktemp("four"), 4, "plain", "lamb")


def assert_close(found: dict[str, Tensor], wanted: dict[str, Tensor], most: float = 1e-9) -> None:
    assert found.keys() == wanted.keys()
    worst = max((float((found[n] - wanted[n]).abs().max()), n) for n in wanted if not n.endswith("mean"))
    assert worst[0] <= most, worst


@pytest.mark.slow
@pytest.mark.parametrize("case", ["blocks", "rival", "blocks-parts"])
def test_shards_train_as_one_process(one: dict[str, Any], two: dict[str, Any], four: dict[str, Any], case: str) -> None:
    for several in (two, four):
        assert_close(several["plain"][case], one["plain"][case])
        scores = several["plain"][f"{case}-metrics"], one["plain"][f"{case}-metrics"]  # of the averaged weights
        assert scores[0] == pytest.approx(scores[1], abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["blocks", "rival"])
def test_groups_of_shards_train_as_one_process(one: dict[str, Any], four: dict[str, Any], shape: str) -> None:
    assert_close(four["plain"][f"{shape}-hybrid"], one["plain"][shape])


@pytest.mark.slow
def test_every_process_keeps_its_share(two: dict[str, Any], four: dict[str, Any]) -> None:
    for found, world in ((two, 2), (four, 4)):
        kept = found["plain"]["blocks-kept"]
        assert len(kept) == world and sum(kept) == COUNT and kept[0] < 1.5 * COUNT / world


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["blocks", "rival"])
def test_lamb_takes_its_norms_over_all_shards(
    one: dict[str, Any], two: dict[str, Any], four: dict[str, Any], shape: str
) -> None:
    for several in (two, four):
        assert_close(several["lamb"][f"{shape}-lamb"], one["lamb"][f"{shape}-lamb"], 1e-6)


@pytest.mark.slow
def test_parts_freeze_and_thaw(one: dict[str, Any], two: dict[str, Any]) -> None:
    assert_close(two["thawing"]["blocks-thawing"], one["thawing"]["blocks-thawing"])


@pytest.mark.slow
def test_auto_is_ddp_where_the_task_allows_it_and_ddp_notices_what_it_cannot_see(two: dict[str, Any]) -> None:
    assert two["plain"]["auto"] == ["ddp", "auto: one phase, one pass"]
    assert_close(two["plain"]["blocks-auto"], two["plain"]["blocks"])
    assert "use trainer.strategy=flat" in two["plain"]["unseen"]


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["blocks", "rival"])
def test_rehearsals_leave_shards_as_they_were(two: dict[str, Any], shape: str) -> None:
    found = two["rehearsed"]
    for name, value in found[f"{shape}-unrehearsed"].items():
        assert torch.equal(value, found[f"{shape}-rehearsed"][name]), name
    assert "needs more memory than cpu has" in found[f"{shape}-short"]  # and the other process did not wait


@pytest.mark.slow
def test_blocks_are_traced_under_sharding(two: dict[str, Any]) -> None:
    assert two["traced"]["compiled"] == ["Residual"] * 3 and two["traced"]["graphs"] >= 1
    assert_close(two["traced"]["blocks-traced"], two["plain"]["blocks"])


@pytest.mark.slow
def test_blocks_are_gathered_in_the_precision_of_the_run(two: dict[str, Any]) -> None:
    found = two["low"]
    assert found["low-fsdp2-gathered"] == ["torch.bfloat16", "torch.float32"]  # a block, the head
    assert found["low-flat-gathered"] == ["torch.float32"]
    assert {str(value.dtype) for value in found["low-fsdp2"].values()} == {"torch.float32"}
    assert_close(found["low-fsdp2"], found["low-flat"], 0.02)  # 15 steps of Adam at a rate of 0.01


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["blocks", "rival"])
def test_a_bad_loss_of_one_changes_no_shard_and_replays(two: dict[str, Any], shape: str) -> None:
    step, same, error = two["spoilt"][f"{shape}-spoilt"]
    assert same and step in (4, 5) and "is not finite" in error
    for told in two["spoilt"][f"{shape}-replayed"]:  # the task is sound
        assert "everything was finite this time" in told[-1]


@pytest.mark.slow
def test_a_checkpoint_goes_on_with_any_number_of_processes(tmp_path: Path) -> None:
    """Two, four, one: what is read is what was written, bitwise, and training goes on as in one process."""
    folder = tmp_path / "resharded"
    folder.mkdir()
    alone = tmp_path / "alone" / "resharded"
    alone.mkdir(parents=True)
    for world, until in ((2, 12), (4, 24), (1, 36)):
        (folder / "steps.json").write_text(json.dumps({"until": until}))
        before = {shape: Checkpoints(folder / shape).latest() for shape in ("blocks", "rival")}
        launch(tmp_path, world, "resharded")
        for shape, written in before.items():
            if written is not None:
                assert_same_state(written, Checkpoints(folder / f"{shape}-read").latest())
    for until in (12, 24, 36):  # the rates follow the end that a run has in sight
        (alone / "steps.json").write_text(json.dumps({"until": until}))
        launch(tmp_path / "alone", 1, "resharded")
    for shape in before:
        found, wanted = (Checkpoints(place / shape).latest() for place in (folder, alone))
        assert found is not None and wanted is not None
        for file in (WEIGHTS, EMA):
            assert_close(read_safetensors(found / file), read_safetensors(wanted / file))


def assert_same_state(one: Path, two: Path | None) -> None:
    assert two is not None and two.name == one.name
    for file in (WEIGHTS, EMA):
        first, second = read_safetensors(one / file), read_safetensors(two / file)
        assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
    states = [Checkpoints(path.parents[1]).load(path)[0]["optimizers"] for path in (one, two)]
    assert states[0] and states[0].keys() == states[1].keys()
    for phase, parameters in states[0].items():
        assert parameters and parameters.keys() == states[1][phase].keys()
        for name, kept in parameters.items():
            for key, value in kept.items():
                assert torch.equal(value, states[1][phase][name][key]), (phase, name, key)


def test_auto_shards_what_no_card_holds() -> None:
    assert choose(1, True, 1e9, None)[0] is Strategy.ddp
    assert choose(1, False, 1e9, None)[0] is Strategy.flat
    assert choose(3, True, 1e9, 2 * 10**9)[0] is Strategy.flat
    strategy, reason = choose(3, False, SHARE * 80 * 2**30 + 1, 80 * 2**30)
    assert strategy is Strategy.fsdp2 and reason == "auto: weights, gradients, moments and averages are 64.0 GiB"


def test_state_is_counted_as_the_table_says() -> None:
    flat = state_bytes(1000, 2, True, 1)
    assert (flat.weights, flat.gradients, flat.moments, flat.average, flat.total) == (4000, 4000, 8000, 4000, 20000)
    assert state_bytes(1000, 2, True, 4).total == 4 * (1000 + 1250 + 500 + 250)
    blocks = state_bytes(1000, 2, True, 4, blockwise=True, largest=100, kept=50)
    assert blocks.total == 4 * (500 + 500 + 500 + 250)
    assert state_bytes(1000, 1, False, 4, True, 100, 50, accumulates=True).gradients == 4 * 1250


@pytest.mark.parametrize(
    ("settings", "kind", "told"),
    [
        ({"strategy": Strategy.fsdp2}, "muon", "optim.main.kind=muon needs matrices whole"),
        ({"strategy": Strategy.fsdp2}, "lars", "optim.main.kind=lars needs matrices whole"),
        ({"strategy": Strategy.fsdp2, "shard_group": 3}, "adam", "processes can be divided into groups of 2, 4"),
        ({"shard_group": 2}, "adam", "trainer.shard_group=2 is for trainer.strategy=fsdp2"),
    ],
)
def test_what_cannot_be_sharded_is_told(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], kind: str, told: str
) -> None:
    from tests.helpers.toys import toy_config
    from trainer.config.fields import OptimizerKind

    monkeypatch.setenv("WORLD_SIZE", "4")
    config: RunConfig = toy_config("linear")
    for name, value in settings.items():
        assert hasattr(TrainerConfig, name)
        setattr(config.trainer, name, value)
    config.optim["main"].kind = OptimizerKind[kind]
    assert any(told in problem for problem in run_problems(config, ["main"]))


def test_convolutions_are_given_channels_last() -> None:
    layer = torch.nn.Conv2d(3, 4, 3)
    picture = torch.randn(2, 3, 8, 8)
    wanted = layer(picture)
    keep_channels_last(layer)
    found = layer(picture)
    assert found.is_contiguous(memory_format=torch.channels_last) and not wanted.is_contiguous(
        memory_format=torch.channels_last
    )
    torch.testing.assert_close(found, wanted)
