"""The documents: their commands compose and pass validation, their links and paths exist."""

from __future__ import annotations

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from tests.helpers import drawing
from tests.helpers.composed import problems_of
from tests.helpers.documents import all_commands, check_names, commands
from tests.helpers.paths import ROOT
from train import SCHEMAS, TASKS
from trainer.cli import CONFIGS, compose
from trainer.config.help import group_options
from trainer.config.schema import schema_keys
from trainer.page import command as page_command
from trainer.task_table import arguments_of
from vid2vid.validate import problems

DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "BENCHMARKS.md", "SECURITY.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs").glob("*.ipynb")),
]
ARCHITECTURE = ROOT / "docs" / "architecture.md"
GROUPS = ("data", "model", "trainer", "experiment", "curriculum", "optim", "schedule")
SETTINGS = ("seed", "resolution")
STANDS_FOR = re.compile(r"\bNAME\b|\.\.\.\]|\[H,W\]")  # something else
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
TARGET = re.compile(r"^([\w.-]+):", re.MULTILINE)


def train_commands() -> list[tuple[str, ...]]:
    found = []
    for words in [words for path in DOCUMENTS for words in all_commands(path)]:
        if "train.py" in words and not STANDS_FOR.search(" ".join(words)):
            told = words[words.index("train.py") + 1 :]
            found.append(tuple(told[: told.index("||")] if "||" in told else told))  # what a job's script does after it
    headers = [line for path in CONFIGS.rglob("*.yaml") for line in path.read_text(encoding="utf-8").splitlines()]
    headers += (ROOT / "train.py").read_text(encoding="utf-8").split('"""')[1].splitlines()
    for line in headers:
        match = re.match(r"^#? +(?:python|torchrun) (?:--\S+ )?train\.py (.*)", line)
        if match:
            command = re.sub(r" \[[^\]]*\]", "", match[1].split("  ")[0])  # explanations, and what may be left out
            found.append(tuple(shlex.split(command)))
    return sorted(set(found))


def test_there_are_commands() -> None:
    assert len(train_commands()) > 15
    assert commands(ROOT / "README.md")[:2] == [["make", "demo"], ["make", "test"]]


@pytest.mark.parametrize("words", train_commands(), ids=" ".join)
def test_training_command_composes(words: tuple[str, ...], tmp_path: Path) -> None:
    if "--help" in words:
        return
    run = "model=vit_mu"  # for the configuration of a run that goes on
    overrides = [run if word.startswith("run=") else word for word in words if not word.startswith("-")]
    if "-m" in words:  # the first job of the sweep
        overrides = [re.sub(r"=([^\[,]+),.*", r"=\1", word) for word in overrides]
    table = tmp_path / "labels.csv"
    table.write_text("path,label\n", encoding="utf-8")
    overrides = [re.sub(r"=(PATH|out/)[\w.]*$", f"={tmp_path}", re.sub(r"\$[A-Z_]+", "0", word)) for word in overrides]
    root = f"data.root={table if 'data=csv' in words else tmp_path}"
    overrides = [re.sub(r"^data\.root=[\w/-]+(\.csv)?$", root, word) for word in overrides]
    config = compose([*overrides, "trainer.dry_run=true"], SCHEMAS)
    found = TASKS[config.task].problems(config)
    assert config.trainer.dry_run and not [
        one for one in found if "vivid[remote]" not in one
    ]  # an extra may be missing


def test_dry_run_of_the_readme(run_train) -> None:
    words = next(words for words in train_commands() if "trainer.dry_run=true" in words and words[0].startswith("exp"))
    done = run_train(*words)
    assert done.returncode == 0, done.stderr
    assert "generator" in done.stdout and "d_video" in done.stdout


def arguments_known(verb: str, words: list[str]) -> set[str]:
    """Of a script, by the tasks' modules that answer it: an experiment's own among them."""
    modules = [import_module(entry.verbs[verb]) for entry in TASKS.values() if verb in entry.verbs]
    if verb == "app":  # of no task
        return set(schema_keys(page_command.Arguments))
    having = [module for module in modules if hasattr(module, "arguments") or hasattr(module, "Arguments")]
    return {key for module in having for key in schema_keys(arguments_of(module, words))}


def test_script_commands_name_scripts_and_arguments() -> None:
    for path in DOCUMENTS:
        for words in all_commands(path):
            for word in words:
                if word.startswith("scripts/"):
                    script = ROOT / word
                    assert script.is_file(), f"{path.name}: {' '.join(words)}"
                    if script.stem == "sweep":  # the words of train.py, whose values may be several
                        first = [each.split(",")[0] for each in words[words.index(word) + 1 :]]
                        assert not problems_of([each for each in first if not each.startswith(("jobs=", "gpus="))])
                        break
                    own = [module.replace(".", "/") + ".py" for entry in TASKS.values()
                           for verb, module in entry.verbs.items() if verb == script.stem]  # fmt: skip
                    keys = arguments_known(script.stem, words)
                    text = "\n".join(path.read_text(encoding="utf-8") for path in [script, *map(ROOT.joinpath, own)])
                    for argument in words[words.index(word) + 1 :]:
                        if "=" not in argument and "python scripts/compare.py runs/" in text:
                            continue  # takes paths
                        if "=" not in argument and re.search(rf"^    {argument} = \"{argument}\"$", text, re.MULTILINE):
                            continue  # what is to be done, as the first word alone
                        key = argument.strip("[]").partition("=")[0]  # in brackets: may be left out
                        known = key in keys or re.search(rf"^    {re.escape(key)}: ", text, re.MULTILINE)
                        passed_on = "overrides: list[str]" in text and key.split(".")[0] in (*GROUPS, *SETTINGS)
                        assert known or passed_on, f"{path.name}: {' '.join(words)}: {key}"


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(TARGET.findall(makefile))
    assert targets >= {"setup", "demo", "test", "lint", "clean"}
    for path in DOCUMENTS:
        for words in all_commands(path):
            if words[0] == "make":
                settings = dict(word.split("=") for word in words[1:] if "=" in word)
                assert {word for word in words[1:] if "=" not in word} <= targets, f"{path.name}: {' '.join(words)}"
                assert all(f"$({name})" in makefile for name in settings), f"{path.name}: {' '.join(words)}"
                assert all((ROOT / value).exists() for value in settings.values()), f"{path.name}: {' '.join(words)}"


def test_modules_and_tests_named_in_commands_exist() -> None:
    """Of ``python -m MODULE``, those of this repository, and files that pytest is given."""
    looked_at = 0
    for path in DOCUMENTS:
        for words in all_commands(path):
            if "-m" not in words or not words[0].endswith("python"):
                continue
            module, *rest = words[words.index("-m") + 1 :]
            if module.startswith("tests."):
                place = ROOT / module.replace(".", "/")
                assert place.with_suffix(".py").is_file() or (place / "__main__.py").is_file(), f"{path.name}: {module}"
                looked_at += 1
            for file in (word for word in rest if word.endswith(".py")):
                assert (ROOT / file).is_file(), f"{path.name}: {' '.join(words)}"
                looked_at += 1
    assert looked_at > 8


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for link in LINK.findall(path.read_text(encoding="utf-8")):
        if not link.startswith(("http://", "https://")):
            assert (path.parent / link.split("#")[0]).exists(), link


def test_paths_in_the_documents_exist() -> None:
    for path in DOCUMENTS:
        quoted = re.findall(r"`((?:configs|docs|trainer|vid2vid|vit|scripts|tests)/[\w./]*)`", path.read_text("utf-8"))
        assert not [name for name in quoted if not (ROOT / name).exists()], path.name


def test_names_in_the_architecture_exist() -> None:
    """Every path, and every function and class in a file that the same paragraph names."""
    both = {path.stem for path in (ROOT / "vit").iterdir()} & {path.stem for path in (ROOT / "vid2vid").iterdir()}
    assert check_names(ARCHITECTURE.read_text(encoding="utf-8"), both | {"uint8", "optim", "TASKS"}) > 40


def test_the_drawing_is_of_this_code() -> None:
    assert drawing.FILE.read_text(encoding="utf-8") == drawing.draw(), f"rooms have changed: {drawing.COMMAND}"


def test_readme_is_short_and_leads_with_two_commands() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) < 200
    assert any(line.startswith("make demo") for line in lines[:12])


def test_the_index_names_every_page_and_picture() -> None:
    text = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert pages <= set(LINK.findall(text)), pages - set(LINK.findall(text))
    pictures = {path.name for path in (ROOT / "docs").iterdir() if path.suffix in (".png", ".gif", ".svg", ".jpg")}
    made = set(re.findall(r"`docs/([\w.]+)`", text.split("## The pictures")[1]))
    assert pictures == made, pictures ^ made


def named_in(document: str, heading: str) -> list[str]:
    """What a table of a section is about."""
    section = (ROOT / document).read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    return [word.rstrip("/") for line in section.splitlines() if line.startswith("| `")
            for word in re.findall(r"`([^`]+)`", line.split("|")[1])]  # fmt: skip


def test_the_layout_names_everything_once() -> None:
    top = ["train.py", "scripts", "configs", "docs", "tests", "vit", "vid2vid", "trainer"]
    assert sorted(named_in("README.md", "Layout")) == sorted(top)
    rooms = [path.relative_to(ROOT).as_posix() for path in map(drawing.path_of, drawing.rooms())]
    assert sorted(named_in("docs/architecture.md", "Rooms")) == sorted({*rooms} - {*top})


def test_experiments_named_in_the_readme_exist() -> None:
    named = set(re.findall(r"experiment=([\w/]+)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert named and named <= set(group_options(CONFIGS, "experiment"))


def test_paper_preset_can_be_validated_without_data() -> None:
    assert not problems(compose(["model=vid2vid_paper"], SCHEMAS))
