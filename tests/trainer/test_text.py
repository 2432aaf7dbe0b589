"""Names and shapes in messages."""

from trainer.text import aligned, by, ends, few, short


def test_short_texts_stay():
    assert short("tabby", 5) == "tabby" and short("tabbies", 5) == "tabb…"


def test_few_says_how_many_more_there_are():
    assert few(str(n) for n in range(8)) == "0, 1, 2, 3, 4, and 3 more"
    assert few(range(5)) == "0, 1, 2, 3, 4" and few([]) == ""
    assert few(["a", "b", "c"], 2, "; ") == "a; b; and 1 more"


def test_ends_names_the_last_one():
    assert ends([str(n) for n in range(100)]) == "0, 1, 2, 3, 4, ... 99"
    assert ends(["a", "b"], 2) == "a, b"


def test_shapes():
    assert by((3, 4)) == "3x4" and by([7]) == "7" and by(()) == "scalar"


def test_columns_are_aligned():
    rows = [["stage", "batch", "memory"], ["long", "8", "not known"], ["s", "128", ""]]
    assert aligned(rows) == ["stage  batch  memory", "long   8      not known", "s      128"]
    assert aligned(rows, right={1}) == ["stage  batch  memory", "long       8  not known", "s        128"]
