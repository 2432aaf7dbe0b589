"""Memory of a card: rehearsals need what training needs; running out of it leads to less, not to an end."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from tests.helpers.gpu_runs import differing, gib, make, weights
from trainer.device.free_memory import release
from trainer.rehearsal.too_large import TooLarge
from trainer.run_state import Snapshot

pytestmark = pytest.mark.gpu
WIDE = ("resolution=[64,128]", "model.ngf=32", "model.ndf=32", "data.val_clips=1", "trainer.precision=bf16")


def fresh() -> None:
    release(torch.device("cuda"))
    torch.cuda.reset_peak_memory_stats()


def test_training_needs_no_more_than_its_rehearsal(tmp_path: Path) -> None:
    """A clip is long enough for every window of the video discriminators."""
    fresh()
    words = (*WIDE, "curriculum.stages.all.frames=12", "curriculum.stages.all.batch_size=2", "trainer.max_samples=4")
    trainer = make(tmp_path, "vid2vid", "cuda", *words, "trainer.preflight=true")
    trainer.fit()
    rehearsed = gib((tmp_path / "train.log").read_text(), "peak memory")
    trained = torch.cuda.max_memory_allocated() / 2**30  # since the rehearsal, which begins to count anew
    assert trained <= 1.05 * rehearsed + 0.02


def test_what_a_rehearsal_remembers_is_not_on_the_card(tmp_path: Path) -> None:
    fresh()
    trainer = make(tmp_path, "vid2vid", "cuda", *WIDE, "trainer.max_samples=1", "trainer.preflight=false")
    trainer.fit()  # optimisers have their moments
    before = torch.cuda.memory_allocated()
    snapshot = Snapshot(trainer, weights=True)
    assert torch.cuda.memory_allocated() <= before + 2**20
    kept = weights(trainer)
    for module in trainer.networks.values():
        for parameter in module.parameters():
            parameter.data.zero_()
    snapshot.restore(trainer)
    assert not differing(kept, weights(trainer))


def test_the_largest_micro_batch_that_fits_still_fits_in_training(tmp_path: Path) -> None:
    fresh()
    words = (*WIDE, "curriculum.stages.all.batch_size=8", "trainer.micro_batch=auto", "trainer.max_samples=16")
    trainer = make(tmp_path, "vid2vid", "cuda", *words, "trainer.preflight=false")
    trainer.fit()
    tried = gib((tmp_path / "train.log").read_text(), "it needs")
    trained = torch.cuda.max_memory_allocated() / 2**30
    assert trained <= 1.1 * tried + 0.02


@pytest.mark.parametrize("share", [0.6, 0.4])
def test_running_out_of_memory_in_convolutions_leads_to_less(tmp_path: Path, share: float) -> None:
    """cuDNN tries plans until none is left and then says only that: it must count as what it is."""
    fresh()
    words = (*WIDE, "curriculum.stages.all.batch_size=8", "trainer.max_samples=8")
    make(tmp_path / "free", "vid2vid", "cuda", *words, "trainer.micro_batch=8").fit()
    needed = torch.cuda.max_memory_reserved()
    fresh()
    torch.cuda.set_per_process_memory_fraction(share * needed / torch.cuda.get_device_properties(0).total_memory)
    try:
        trainer = make(tmp_path / "less", "vid2vid", "cuda", *words, "trainer.micro_batch=auto")
        trainer.fit()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    found = re.search(r"micro-batch of stage all: (\d+) of the 8", (tmp_path / "less" / "train.log").read_text())
    assert found is not None and int(found[1]) < 8
    assert trainer.finished


def test_micro_batches_bound_memory(tmp_path: Path) -> None:
    """Eight clips one by one take little more than one."""
    peaks = []
    for count in (1, 8):
        fresh()
        words = (*WIDE, f"curriculum.stages.all.batch_size={count}", f"curriculum.stages.all.accumulate={count}")
        make(tmp_path / str(count), "vid2vid", "cuda", *words, f"trainer.max_samples={2 * count}").fit()
        peaks.append(torch.cuda.max_memory_allocated())
    assert peaks[1] < 1.25 * peaks[0]


def test_evaluation_leaves_nothing_behind(tmp_path: Path) -> None:
    fresh()
    trainer = make(tmp_path, "vit", "cuda", "trainer.max_steps=4", "data.shapes_val_samples=64")
    with trainer.session():
        trainer.begin()
        trainer.enter(trainer.curriculum.stages[0])
        for _ in range(2):
            trainer.train_batch(trainer.next_batch())
            trainer.evaluate()
        before = torch.cuda.memory_allocated()
        for _ in range(3):
            trainer.evaluate()
        assert torch.cuda.memory_allocated() <= before + 2**20


def test_what_is_advised_where_memory_runs_out_works(tmp_path: Path) -> None:
    """The error names the stage and a micro-batch; the same command with it goes on from the checkpoint before."""
    fresh()
    words = (*WIDE, "curriculum.stages.all.batch_size=8", "trainer.max_samples=16", "trainer.preflight=false")
    words = (*words, "trainer.checkpoint_every=1")
    make(tmp_path / "free", "vid2vid", "cuda", *words, "trainer.micro_batch=2").fit()
    needed = torch.cuda.max_memory_reserved()
    fresh()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(1.1 * needed / total)
    try:
        told = ""
        try:  # not pytest.raises, which would keep the run, and its memory
            make(tmp_path / "run", "vid2vid", "cuda", *words).fit()
        except TooLarge as error:
            told = str(error)
        assert "curriculum.stages.all" in told and "too little" in told
        for _ in range(3):  # half, and half again
            found = re.search(r"same command with (trainer\.micro_batch=\d+)", told)
            assert found is not None, told
            fresh()
            try:
                trainer = make(tmp_path / "run", "vid2vid", "cuda", *words, found[1])
                trainer.fit()
                break
            except TooLarge as error:
                told = str(error)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert trainer.finished
