"""Names of anybody on the page of a report: shown as text, whatever they look like."""

from __future__ import annotations

from vit.analysis.outcome import Outcome
from vit.analysis.page import Section, page

WICKED = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


def test_names_are_text() -> None:
    outcome = Outcome(lines=[WICKED], values={f"{WICKED}/{WICKED}": 1.0}, records=[{WICKED: WICKED}])
    sections = [
        Section(WICKED, WICKED, {WICKED: WICKED}, [WICKED], 1.0, outcome),
        Section("b", "", {}, [], 1.0, None, problem=WICKED),
    ]
    facts = {"models": [{"label": WICKED, "weights": WICKED, "prepared": WICKED}], "split": WICKED, "samples": None}
    text = page(WICKED, facts, {WICKED: WICKED}, sections)
    assert "<script" not in text and "<img" not in text and "onerror=alert(2)>" not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 10
