"""The list of edits: what choices become, and what of a visitor's text is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer.errors import ConfigError
from vid2vid.config import ModelConfig
from vid2vid.generate.edit.file import read_edits
from vid2vid.page.edit_list import BECOMES, MOST_EDITS, REMOVED, SWAPS, added, entry_of, read_text

MODEL = ModelConfig()


def test_choices_become_a_list_that_generate_reads(tmp_path: Path):
    text = added("", entry_of(11, BECOMES, 21, MODEL))
    text = added(text, entry_of(7, SWAPS, 8, MODEL))
    text = added(text + "\n\n", entry_of(26, REMOVED, None, MODEL))
    assert text == (
        "edits:\n  - {replace: vegetation, class: building}\n  - {remap: '7:8,8:7'}\n  - {remove: true, class: car}\n"
    )
    (tmp_path / "edits.yaml").write_text(text)
    first, second, third = read_edits(tmp_path / "edits.yaml", MODEL)
    assert (first.replace, first.labels) == (21, (11,)) and second.remap == {7: 8, 8: 7} and third.labels == (26,)
    assert len(read_text(text, tmp_path / "own")) == 3 and not list((tmp_path / "own").iterdir())


def test_ids_where_classes_have_no_names():
    assert entry_of(1, BECOMES, 0, ModelConfig(num_labels=2)) == {"replace": 0, "class": 1}
    assert read_text("  \n", Path("nowhere")) == []


@pytest.mark.parametrize(("action", "second"), [(BECOMES, None), (BECOMES, 11), ("explodes", 21)])
def test_choices_that_cannot_be(action: str, second: int | None):
    with pytest.raises(ConfigError, match="two different classes"):
        entry_of(11, action, second, MODEL)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("edits: [", "no YAML"),
        ("edits: {remove: true}", "under the one key edits"),
        ("[1, 2]", "under the one key edits"),
        ("edits: [3]", "under the one key edits"),
        ("edits: [!!python/object/apply:os.system [ls]]", "no YAML"),
        ("edits: [{remove: true, class: 7, mask: /etc/passwd}]", "mask names a file of this machine"),
        ("edits: [{insert: {source: /home, class: 26}}]", "inserts from source: street alone"),
        ("edits: [{insert: {class: 26}}]", "inserts from source: street alone"),
        (
            "edits: [{insert: {source: street, clip: 100000, class: 26}}]",
            "clip=100000: .* scenes 0 to 99 of the street",
        ),
        (f"edits: [{', '.join(['{remove: true, class: 7}'] * (MOST_EDITS + 1))}]", "101 entries"),
        ("#" * 30_000, "30000 characters"),
    ],
)
def test_texts_that_are_refused(tmp_path: Path, text: str, words: str):
    with pytest.raises(ConfigError, match=words) as caught:
        read_text(text, tmp_path)
    assert str(tmp_path) not in str(caught.value), "no path of the machine"
