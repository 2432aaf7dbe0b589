"""Scaling on paper, against cases computed by hand."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from tests.helpers.scripts import run_script
from trainer.benchmark import scaling
from trainer.benchmark.scaling import Job, Network, efficiency, pays_until, shortest_step, state_bytes, step_time

# 100 and 10 bytes/s once ACHIEVED is taken off; a start of 1 s, hops of 0.1 and 0.5 s; 4 GPUs a node.
SLOW = Network("by hand", 125.0, 12.5, gpus=4, start_s=1.0, hop_s=0.1, far_hop_s=0.5)
FREE = Network("by hand", 125.0, 12.5, gpus=4, start_s=0.0, hop_s=0.0, far_hop_s=0.0)


def test_a_ring_inside_a_node() -> None:
    assert SLOW.gather(400, 4) == pytest.approx(1 + 3 * 0.1 + 0.75 * 400 / 100)
    assert SLOW.all_reduce(400, 4) == pytest.approx(1 + 6 * 0.1 + 1.5 * 400 / 100)  # a tree: 1 + 0.6 + 8
    assert SLOW.gather(400, 1) == SLOW.all_reduce(400, 1) == 0


def test_a_ring_across_nodes_is_as_fast_as_their_cards() -> None:
    # 8 GPUs on 2 nodes: 7 hops, of which one leaves a node.
    assert SLOW.gather(80, 8) == pytest.approx(1 + 6 * 0.1 + 1 * 0.5 + 7 / 8 * 80 / 10)


def test_a_tree_wins_where_hops_cost_more_than_bytes() -> None:
    # 64 GPUs on 16 nodes: ring 2 (48 * 0.1 + 15 * 0.5) = 24.6, tree 2 * 3 * 0.1 + 2 * 4 * 0.5 = 4.6; few bytes.
    assert SLOW.all_reduce(0, 64) == pytest.approx(1 + 4.6)
    # Many bytes: the ring moves 2 * 63 / 64 of them, a tree 2.
    assert FREE.all_reduce(6400, 64) == pytest.approx(2 * 63 / 64 * 640)


def test_gpus_of_a_node_share_its_cards() -> None:
    # 8 GPUs on 2 nodes, pairs of them: 2.5 bytes/s each; a ring among two moves as many bytes as they have.
    assert FREE.far_all_reduce(25, 8) == pytest.approx(25 / 2.5)
    assert SLOW.far_all_reduce(25, 4) == 0


def test_flat_waits_for_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "FLAT_BUCKET", 100)
    job = Job(parameters=100, blocks=4, step_s=3.0)  # 400 bytes of gradients: 4 buckets
    assert step_time(job, FREE, "flat", 4) == pytest.approx(3 + 1.5 * 4)
    assert step_time(job, SLOW, "flat", 4) == pytest.approx(3 + 4 * (1.6 + 1.5))
    assert efficiency(job, FREE, "flat", 4) == pytest.approx(1 / 3)


def test_ddp_hides_what_fits_behind_the_backward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "DDP_BUCKET", 100)
    job = Job(parameters=100, blocks=4, step_s=3.0)  # backward 2 s: a bucket each 0.5 s, each reduced in 1.5 s
    assert step_time(job, FREE, "ddp", 4) == pytest.approx(1.5 + 4 * 1.5)
    long = Job(parameters=100, blocks=4, step_s=30.0)  # a bucket each 5 s: only the last one is seen
    assert step_time(long, FREE, "ddp", 4) == pytest.approx(30 + 1.5)
    # Two micro-batches: only the second one's backward pass, of 1 s, hides anything; it has the first bucket at 2.25 s.
    assert step_time(Job(100, 4, 3.0, accumulate=2), FREE, "ddp", 4) == pytest.approx(2.25 + 4 * 1.5)


def test_fsdp2_gathers_the_next_block_while_one_computes() -> None:
    job = Job(parameters=400, blocks=4, step_s=12.0)  # forward 1 s and backward 2 s a block
    gather = 0.75 * 200 / 100  # 2 bytes for each of 100 parameters: 1.5 s
    scatter = 0.75 * 400 / 100  # 4 bytes: 3 s
    expected = gather + 3 * max(1, gather) + 1 + 2 + 3 * max(2, gather + scatter) + scatter
    assert expected == 25.5 and step_time(job, FREE, "fsdp2", 4) == pytest.approx(expected)
    # Two micro-batches of half the time: weights come in both, gradients leave in the second one only.
    first = gather + 3 * gather + 0.5 + 1 + 3 * max(1, gather)
    second = gather + 3 * gather + 0.5 + 1 + 3 * (gather + scatter) + scatter
    accumulated = Job(parameters=400, blocks=4, step_s=12.0, accumulate=2)
    assert step_time(accumulated, FREE, "fsdp2", 4) == pytest.approx(first + second)


def test_hybrid_is_fsdp2_inside_a_node_and_reduces_parts_between_nodes() -> None:
    job = Job(parameters=400, blocks=4, step_s=12.0)
    assert step_time(job, FREE, "hybrid", 4) == step_time(job, FREE, "fsdp2", 4)
    leaving = 3 + 100 / 2.5  # of a block's 400 bytes each GPU keeps 100, which its pair needs
    expected = 1.5 + 3 * 1.5 + 1 + 2 + 3 * (1.5 + leaving) + leaving
    assert step_time(job, FREE, "hybrid", 8) == pytest.approx(expected)


@pytest.mark.parametrize("strategy", scaling.STRATEGIES)
def test_one_gpu_computes_all_the_time_and_more_never_compute_more(strategy: str) -> None:
    job = Job(632_045_800, 32, 0.159)
    for network in scaling.NODES.values():
        shares = [efficiency(job, network, strategy, 2**power) for power in range(11)]
        assert shares[0] == pytest.approx(1) and all(0 < share <= 1 + 1e-12 for share in shares)
        assert all(b <= a + 1e-3 for a, b in pairwise(shares))


def test_memory() -> None:
    job = Job(parameters=1000, blocks=10, step_s=1.0)
    assert state_bytes(job, "flat", 1) == 20_000 and state_bytes(job, "ddp", 8) == 24_000
    assert state_bytes(job, "fsdp2", 8) == 2_500 + 800 and state_bytes(job, "fsdp2", 64) == 312.5 + 800
    assert state_bytes(job, "hybrid", 64) == 2_500 + 800


def test_where_a_strategy_stops_paying() -> None:
    job = Job(632_045_800, 32, 0.159)
    network = scaling.NODES["ethernet"]
    most = pays_until(job, network, "ddp")
    assert efficiency(job, network, "ddp", most) >= 0.9 > efficiency(job, network, "ddp", 2 * most)
    step = shortest_step(job, network, "flat", 64)
    assert efficiency(Job(632_045_800, 32, step), network, "flat", 64) == pytest.approx(0.9, abs=1e-6)


def test_the_script_tells_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "docs" / "scaling.png"
    assert run_script("scaling", "case=vit_h14", "step_ms=318", "gpus=[8,16]", f"out={picture}") == 0
    said = capsys.readouterr().out
    assert said.startswith("vit_h14: 632 M parameters in 32 blocks, 318 ms a step on one GPU") and "16 GPUs" in said
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["step_ms=100"], "step_ms= with parameters= or case="),
        (["parameters=1e6", "step_ms=5"], "parameters= goes with blocks= and step_ms="),
        (["case=vit_h14", "step_ms=-1"], "step_ms=-1.0: must be a positive number"),
        (["gpus=[0]"], "must be at least 1"),
    ],
)
def test_words_that_say_too_little(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_script("scaling", *words) == 2
    assert message in capsys.readouterr().err


def test_vit_h14_is_as_large_as_the_script_says() -> None:
    import runpy

    from tests.helpers.paths import ROOT
    from train import SCHEMAS
    from trainer.cli import compose
    from vit.model.architecture import architecture
    from vit.model.cost import flow

    jobs = runpy.run_path(str(ROOT / "scripts" / "scaling.py"))["JOBS"]
    config = compose(["model=vit_h14"], SCHEMAS)
    found = flow(architecture(config.model, 1000, 3, (224, 224)))
    assert (found.parameters, found.depth) == (jobs["vit_h14"].parameters, jobs["vit_h14"].blocks)
    assert found.macs * 6 * 64 / 0.397 / 989e12 == pytest.approx(jobs["vit_h14"].step_s, rel=0.01)


def test_the_page_has_what_the_script_says(capsys: pytest.CaptureFixture[str]) -> None:
    from tests.helpers.paths import ROOT

    page = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    for network in ("ndr", "ethernet"):
        assert run_script("scaling", f"network={network}") == 0
        said = "\n".join(line.rstrip() for line in capsys.readouterr().out.splitlines()).strip()
        assert f"```\n{said}\n```" in page
