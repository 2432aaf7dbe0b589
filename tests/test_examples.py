"""The additions that CONTRIBUTING.md works out: as large as it says, and they do what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from difflib import SequenceMatcher
from pathlib import Path

import pytest

from tests.helpers.examples import apply, copy_house, examples, files

LIMITS = {"An option of the ViT": 5, "A loss": 3, "A data set": 4, "A metric": 3, "A task": 1}  # files changed

# What each of them adds, computed in a process that imports the copy.
PROGRAM = """
import json, torch
from trainer.cli import compose
from train import SCHEMAS, TASKS
from vid2vid.losses import terms
from vit.config import DataKind, ModelConfig
from vit.evaluate.metrics import SingleLabel
from vit.evaluate.plots import format_scores
from vit.model.architecture import architecture
from vit.model.cost import flow
from vit.model.options import limits
from vit.model.transformer import VisionTransformer

arch = architecture(ModelConfig(variant="mu", patch=4, pre_norm=True), 3, 3, (16, 16), (16, 16))
network = VisionTransformer(arch)
network.norm_pre.weight.data.zero_()
tokens = network.embed(torch.randn(2, 3, 16, 16))

step = torch.zeros(1, 3, 4, 4)
step[..., 2:] = 1.0

counted = SingleLabel(2)
counted.update(torch.zeros(3, 2), torch.eye(2)[[0, 1, 1]], torch.ones(3))

config = compose(["model=vit_mu", "data=dtd"], SCHEMAS)
print(json.dumps({
    "parameters": [sum(p.numel() for p in network.parameters()), flow(arch).parameters],
    "tokens": tokens.abs().max().item(),
    "depth": network.layer_ids()["norm_pre.weight"],
    "npz": limits({**vars(arch), "pool": "cls", "qk_norm": "none", "pos_embed": "learned"}, "npz"),
    "gradient": [terms.gradient(torch.zeros_like(step), step).item(), terms.gradient(step, step).item()],
    "brier": counted.compute()["brier"],
    "shown": format_scores({"brier": 0.5}).split(),
    "kind": config.data.kind.name,
    "problems": TASKS["vit"].problems(config),
}))
"""


def test_each_is_as_large_as_its_heading_says(tmp_path: Path) -> None:
    found = examples()
    assert found.keys() == LIMITS.keys()
    copy_house(tmp_path)
    before = files(tmp_path)
    for example in found.values():
        apply(tmp_path, example.diff)
        after = files(tmp_path)
        changed = [name for name in after if after[name] != before.get(name)]
        added = removed = 0
        for name in changed:
            old, new = before.get(name, "").splitlines(), after[name].splitlines()
            for kind, i, j, k, m in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
                added, removed = added + (m - k) * (kind != "equal"), removed + (j - i) * (kind != "equal")
        assert (len(changed), added, removed) == (example.files, example.added, example.removed), example.title
        assert example.files <= LIMITS[example.title]
        before = after


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict:
    root = tmp_path_factory.mktemp("examples")
    copy_house(root)
    for title, example in examples().items():
        if title != "A task":
            apply(root, example.diff)
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_option_is_counted_computed_and_refused(told: dict) -> None:
    ours, formula = told["parameters"]
    assert ours == formula
    assert told["tokens"] == 0 and told["depth"] == 0 and told["npz"] == ["pre_norm"]


def test_the_loss_compares_gradients(told: dict) -> None:
    assert told["gradient"] == pytest.approx([1 / 3, 0])  # one of three differences in each row


def test_the_metric_is_measured_and_shown(told: dict) -> None:
    assert told["brier"] == pytest.approx(0.5) and told["shown"] == ["Brier", "score", "0.5"]


def test_the_data_set_wants_its_files(told: dict) -> None:
    assert told["kind"] == "dtd"
    assert len(told["problems"]) == 1 and "data=dtd reads files" in told["problems"][0]
    assert "data.download=true" in told["problems"][0]
