"""No circles: whoever changes a file can know all that rests on it, and nothing that it rests on."""

from __future__ import annotations

from tests.helpers.import_graph import circles, imports, modules


def test_nothing_imports_what_imports_it() -> None:
    known = modules()
    assert len(known) > 150
    graph = imports(known)
    assert "trainer.step" in graph["trainer.loop"] and "vit.data.opening" in graph["vit.data"]  # late ones are seen
    assert circles(graph) == []


def test_a_circle_would_be_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}, "e": set()}
    assert circles(graph) == [["b", "c"], ["c", "b"]]
