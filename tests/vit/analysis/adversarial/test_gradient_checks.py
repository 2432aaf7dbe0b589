"""What speaks of masked gradients is said, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vit.analysis.adversarial.gradient_checks import Robustness, doubts

SOUND = Robustness(
    curves={
        "fgsm": {0.0: (0.9, 0.8, 1.0), 4.0: (0.5, 0.4, 0.6)},
        "pgd": {0.0: (0.9, 0.8, 1.0), 4.0: (0.3, 0.2, 0.4)},
        "noise": {0.0: (0.9, 0.8, 1.0), 4.0: (0.9, 0.8, 1.0)},
    },
    losses={4.0: [0.2, 1.0, 2.5]},
    flat={4.0: 0.0},
    transferred={("other", 4.0): 0.7},
)


def test_sound_gradients():
    (line,) = doubts("vit", SOUND)
    assert line.startswith("vit: its gradients are not masked") and "from 0.20 to 2.50 nats" in line


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"losses": {4.0: [1.0, 1.2, 0.9]}}, "at eps 4/255 the loss does not rise"),
        ({"flat": {4.0: 0.25}}, "25 % of the pictures have no gradient"),
        ({"transferred": {("other", 4.0): 0.1}}, "made against other do more"),
        (
            {"curves": {**SOUND.curves, "fgsm": {4.0: (0.2, 0.1, 0.3)}}},
            "many steps (PGD, 30.0 %) do less than one (FGSM, 20.0 %)",
        ),
        ({"curves": {**SOUND.curves, "noise": {4.0: (0.1, 0.0, 0.2)}}}, "random noise (10.0 %) does more than PGD"),
    ],
)
def test_doubts(changes, said):
    (line,) = doubts("vit", replace(SOUND, **changes))
    assert line.startswith("WARNING: vit: ") and said in line
