"""docs/reading-the-code.md and docs/glossary.md: what they name is in the code."""

from __future__ import annotations

import re

from tests.helpers.documents import check_names, names_in, tables
from tests.helpers.paths import ROOT
from train import TASKS
from vid2vid.config import PHASES
from vit.config import Pool

READING = ROOT / "docs" / "reading-the-code.md"
GLOSSARY = ROOT / "docs" / "glossary.md"


def equations() -> list[list[str]]:
    """Rows of the tables of equations: equation, what it says, file, functions."""
    found = tables(READING.read_text(encoding="utf-8"))
    return [
        row for heading, *rows in found if heading == ["equation", "what it says", "file", "function"] for row in rows
    ]


def test_every_equation_stands_where_the_tables_say() -> None:
    rows = equations()
    for equation, _, file, functions in rows:
        known = names_in(ROOT / file.strip("`"))
        named = [name.strip("`") for name in functions.split(", ")]
        assert named and set(named) <= known, f"{equation}: {set(named) - known} not in {file}"
    assert len(rows) > 40


def test_no_equation_of_the_papers_is_left_out() -> None:
    vit, vid2vid = (
        " ".join(row[0] for heading, *rows in tables(part) if heading[0] == "equation" for row in rows)
        for part in READING.read_text(encoding="utf-8").split("## A batch through vid2vid")
    )
    assert all(str(number) in vit for number in range(1, 9))
    assert all(str(number) in vid2vid for number in range(1, 10))


def test_names_in_the_text_exist() -> None:
    text = "\n".join(
        line
        for line in READING.read_text(encoding="utf-8").splitlines()
        if not line.startswith("| ") or "`model." in line
    )
    assert check_names(text, {"uint8"}) > 40


def words_of_the_glossary() -> dict[str, str]:
    rows = [row for heading, *rows in tables(GLOSSARY.read_text(encoding="utf-8")) for row in rows]
    assert all(len(row) == 2 and all(row) for row in rows)
    found = {word.strip("`"): row[1] for row in rows for word in row[0].split(", ")}
    assert len(found) > 70
    return found


def test_the_glossary_has_each_word_once_and_the_ones_that_mean_something_here() -> None:
    rows = [row[0] for heading, *rows in tables(GLOSSARY.read_text(encoding="utf-8")) for row in rows]
    assert len(rows) == len(set(rows))
    wanted = "stage segment phase hallucination rollout window scale task run micro-batch condition mask past sidecar"
    assert set(wanted.split()) <= set(words_of_the_glossary())


def test_what_the_glossary_names_exists() -> None:
    words = words_of_the_glossary()
    quoted = {word: re.findall(r"`([^`]+)`", text) for word, text in words.items()}
    assert set(quoted["task"]) - {"train.py", "Task", "trainer/task.py"} == set(TASKS)
    assert set(quoted["phase"]) - {"main", "Phase", "trainer/task.py"} == set(PHASES)
    assert set(quoted["pooling"]) - {"model.pool"} <= {each.name for each in Pool}
    lines = [line for line in GLOSSARY.read_text(encoding="utf-8").splitlines() if not line.startswith("| `")]
    plain = {word for line in lines for word in re.findall(r"`(\w+)`", line)}
    named = {"Task", "Segment", "Phase", "Stage", "SourceEncoder", "Rollout"}
    assert named <= plain and check_names("\n".join(lines), plain - named) >= len(named)


def test_every_question_has_a_command_or_a_reason() -> None:
    text = (ROOT / "docs" / "questions.md").read_text(encoding="utf-8")
    questions = re.split(r"\n(?=\*\*)", text)[1:]
    assert len(questions) > 45
    for question in questions:
        said, *blocks = re.sub(r"^## .*", "", question, flags=re.MULTILINE).strip().split("\n\n")
        refused = re.search(r"\bNo: |\bNo\. |never released", said)
        pointed = re.search(r"\]\([\w.-]+\)", said)
        assert any(block.startswith("```bash\n") for block in blocks) or refused or pointed, said
        assert len(said.splitlines()) <= 4, said
