"""What a release says of itself, the same in every place: version, date, how to cite it, what to report."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

import trainer
from tests.helpers import small_runs
from tests.helpers.paths import ROOT

# Of the schema of the Citation File Format 1.2.0: what stands at the root, and what has to.
ROOT_KEYS = {
    "abstract",
    "authors",
    "cff-version",
    "commit",
    "contact",
    "date-released",
    "doi",
    "identifiers",
    "keywords",
    "license",
    "license-url",
    "message",
    "preferred-citation",
    "references",
    "repository",
    "repository-artifact",
    "repository-code",
    "title",
    "type",
    "url",
    "version",
}
REQUIRED = {"authors", "cff-version", "message", "title"}
PERSON, ENTITY = {"family-names", "given-names"}, {"name"}
FIELDS = {"markdown", "textarea", "input", "dropdown", "checkboxes"}  # of an issue form


def citation() -> dict:
    return yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def test_the_newest_release_is_the_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    releases = re.findall(r"^## (\S+) \((\d{4}-\d\d-\d\d)\)$", text, re.MULTILINE)
    assert len(releases) == len(re.findall(r"^## ", text, re.MULTILINE)) >= 2
    assert releases == sorted(releases, key=lambda row: row[1], reverse=True)
    version, date = releases[0]
    assert version == trainer.__version__ == citation()["version"]
    assert date == citation()["date-released"]


def test_every_change_is_told_once() -> None:
    """Two people's lines at one place are easily merged into both of theirs."""
    told = [" ".join(line.split()) for line in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").split("\n- ")[1:]]
    assert len(told) > 100 and not {line for line in told if told.count(line) > 1}


def test_setuptools_reads_the_version_from_the_package() -> None:
    expand = pytest.importorskip("setuptools.config.expand")
    assert expand.read_attr("trainer.__version__", root_dir=ROOT) == trainer.__version__


def test_the_citation_follows_the_schema() -> None:
    found = citation()
    assert REQUIRED <= set(found) <= ROOT_KEYS
    assert found["cff-version"] == "1.2.0" and found["license"] == "Apache-2.0"
    assert [set(author) for author in found["authors"]] == [ENTITY]
    for work in found["references"]:
        assert {"authors", "title", "type"} <= set(work) and isinstance(work["year"], int)
        assert all(set(author) in (PERSON, ENTITY) for author in work["authors"])


@pytest.mark.parametrize("path", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda p: p.stem)
def test_issue_forms_have_what_a_form_needs(path: Path) -> None:
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    if path.stem == "config":
        assert set(form) == {"blank_issues_enabled"}
        return
    assert form["name"] and form["description"]
    ids = [field["id"] for field in form["body"] if field["type"] != "markdown"]
    assert ids and len(ids) == len(set(ids))
    for field in form["body"]:
        assert field["type"] in FIELDS
        assert field["attributes"]["value"] if field["type"] == "markdown" else field["attributes"]["label"]


def test_bugs_come_with_what_a_run_leaves() -> None:
    text = (ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml").read_text(encoding="utf-8")
    assert all(name in text for name in ("config.yaml", "train.log", "done.json", "stopped.json", "tokens"))


def test_checkpoints_say_which_version_wrote_them(tmp_path: Path) -> None:
    run = small_runs.prepare(tmp_path / "run", "vit_mu")
    run.fit()
    newest = max((tmp_path / "run" / "checkpoints").glob("step-*/meta.json"))
    assert json.loads(newest.read_text(encoding="utf-8"))["vivid"] == trainer.__version__
