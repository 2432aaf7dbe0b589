"""Every fault a few times; ``python -m tests.faults`` counts them in full."""

from pathlib import Path

import pytest

from tests.faults.catalogue import Fault, faults

CASES = [(fault, model, number) for fault in faults() for model in fault.models for number in range(fault.slow)]


def _parameter(fault: Fault, model: str, number: int) -> object:
    marks = () if number < fault.short else pytest.mark.slow
    return pytest.param(fault, model, number, marks=marks, id=f"{fault.name}-{model}-{number}".replace(" ", "_"))


@pytest.mark.parametrize(("fault", "model", "number"), [_parameter(*case) for case in CASES])
def test_nothing_is_lost(tmp_path: Path, fault: Fault, model: str, number: int) -> None:
    fault.trial(tmp_path, model, number)
