"""What a step keeps in memory: as much as one micro-batch needs, and as much as the preflight tried."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from tests.helpers.paths import ROOT
from train import SCHEMAS
from trainer.cli import compose
from trainer.device.free_memory import SavedMemory
from trainer.loop import Trainer
from trainer.rehearsal.preflight import demanding_stages
from vid2vid.task import Vid2VidTask

QUIET = ["trainer.eval_every=0", "logger.tensorboard=false", "trainer.precision=fp32", "data.workers=0"]


def build(run_dir: Path, *words: str) -> Trainer:
    config = compose([*words, *QUIET], SCHEMAS)
    return Trainer(config, lambda: Vid2VidTask(config), run_dir)


def kept(run_dir: Path, clips: int, parts: int) -> int:
    """Most bytes that autograd keeps in two segments."""
    stage = "curriculum.stages.all"
    words = [f"{stage}.batch_size={clips}", f"{stage}.accumulate={parts}", "trainer.max_steps=2"]
    trainer = build(run_dir, "model=vid2vid_tiny", *words)
    spared = [t for module in trainer.networks.values() for t in (*module.parameters(), *module.buffers())]
    memory = SavedMemory(spared)
    with memory.watching():
        trainer.fit()
    return memory.peak


@pytest.mark.slow
def test_micro_batches_bound_memory(tmp_path: Path) -> None:
    """Eight clips one by one, the advice for a card that is too small, took as much as three and a half at once."""
    one, four, eight = (kept(tmp_path / str(n), n, n) for n in (1, 4, 8))
    together = kept(tmp_path / "together", 4, 1)
    assert eight <= 1.05 * one and four <= 1.05 * one
    assert together > 3 * one


@pytest.mark.slow
def test_micro_batches_bound_the_process(tmp_path: Path) -> None:
    """Resident memory, 128x256, ngf 16, ndf 32: asked for is 1.15 times of one clip's."""
    program = (
        "import sys; from pathlib import Path; from tests.vid2vid.test_memory_of_steps import build\n"
        "clips = int(sys.argv[1]); stage = 'curriculum.stages.all'\n"
        "build(Path(sys.argv[2]), 'model=vid2vid', 'resolution=[128,256]', 'model.ngf=16', 'model.ndf=32',\n"
        "      'curriculum=single', f'{stage}.frames=6', f'{stage}.batch_size={clips}',\n"
        "      f'{stage}.accumulate={clips}', 'trainer.max_steps=4').fit()\n"
        "status = Path('/proc/self/status').read_text(); print('peak', status.split('VmHWM:')[1].split()[0])\n"
    )
    peaks = []
    for clips in (1, 8):
        done = subprocess.run(
            [sys.executable, "-c", program, str(clips), str(tmp_path / str(clips))],
            env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"},
            capture_output=True, text=True, timeout=1200, check=True,
        )  # fmt: skip
        peaks.append(int(done.stdout.split()[-1]))
    assert peaks[1] <= 1.15 * peaks[0]


def meta(words: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Trainer:
    """A trainer whose networks have shapes and no memory."""
    import torch

    original = Vid2VidTask.__init__

    def init(self: Vid2VidTask, config: Any) -> None:
        with torch.device("meta"):
            original(self, config)

    monkeypatch.setattr(Vid2VidTask, "__init__", init)
    monkeypatch.setattr(nn.Module, "to", lambda self, *args, **kwargs: self)
    return build(tmp_path, *words, "trainer.ema=null")


def test_the_preflight_tries_the_stage_that_trains_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two stages of equal pixels it tried the one in which a tenth of the paper's generator trains."""
    trainer = meta(["model=vid2vid_paper"], monkeypatch, tmp_path)
    assert [stage.name for stage in demanding_stages(trainer)] == ["w2048_all_t28"]
    (stage,) = demanding_stages(trainer)
    # D_V's third scale sees 19 frames, and its windows may begin two frames later: six segments of four
    assert trainer.task.segments_to_peak(stage) == 6


@pytest.mark.parametrize(
    ("words", "expected"),
    [(["temporal_scales=1"], 2), (["temporal_scales=2"], 3), (["temporal_scales=3"], 7), (["temporal_scales=4"], 8)],
)
def test_the_preflight_goes_as_deep_as_windows_do(tmp_path: Path, words: list[str], expected: int) -> None:
    changes = [f"model.{word}" for word in words]
    trainer = build(tmp_path, "model=vid2vid_tiny", "curriculum.stages.all.frames=24", *changes)
    assert trainer.task.segments_to_peak(trainer.curriculum.stages[0]) == expected
