"""The page's program, run by Node.js in place of a browser: who is told apart, and who goes on."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest

from vid2vid.preference.page import page

BROWSER = """
const made = {}, stores = [new Map(), new Map()];
let machine = 0;
const element = id => made[id] ??= {style: {}, value: "", hidden: true, load() {}, play: async () => {}};
globalThis.document = {getElementById: element};
globalThis.location = {protocol: "file:"};
globalThis.localStorage = {getItem: key => stores[machine].get(key) ?? null,
                           setItem: (key, value) => stores[machine].set(key, value)};
"""
VISITS = """
function visit(number, typed, side) {
  machine = number;
  get("voter").value = typed;
  get("begin").onsubmit({preventDefault() {}});
  const before = votes.length;
  get("left").oncanplaythrough?.();
  get("right").oncanplaythrough?.();
  choose(side);
  return {...structuredClone(whole()), before};
}
console.log(JSON.stringify([visit(0, "JS", "left"), visit(1, "JS", "right"), visit(0, "JS", "right"),
                            visit(0, "", "left"), visit(0, "", "left")]));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_voters_of_one_name_at_two_machines_are_two() -> None:
    trials = [{"trial": f"t{i}", "left": f"{i}l.mp4", "right": f"{i}r.mp4"} for i in range(3)]
    program = re.search(r"<script>(.*)</script>", page("s", "Which?", trials), re.DOTALL)
    assert program is not None
    text = BROWSER + program[1] + VISITS
    done = subprocess.run(["node", "-"], input=text, capture_output=True, text=True, timeout=60, check=True)
    first, other, again, nobody, another = json.loads(done.stdout)
    assert first["voter"].startswith("JS") and other["voter"].startswith("JS") and first["voter"] != other["voter"]
    assert again["voter"] == first["voter"] and again["before"] == 1
    assert [(vote["trial"], vote["choice"]) for vote in again["votes"]] == [("t0", "left"), ("t1", "right")]
    assert nobody["before"] == another["before"] == 0 and nobody["voter"] != another["voter"]
