"""The page of a blind sheet: one HTML file that needs nothing but the videos beside it. Loads no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape


def page(sheet: str, question: str, trials: Sequence[Mapping[str, str]]) -> str:
    """The HTML text.

    Args:
        sheet: the sheet's name, repeated by its votes.
        question: above each pair.
        trials: ``trial`` (name), ``left`` and ``right`` (files beside the page), in the order to be shown.
    """
    data = json.dumps({"sheet": sheet, "trials": list(trials)}).replace("<", "\\u003c")
    return _PAGE.replace("@QUESTION@", escape(question)).replace("@DATA@", data)


_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Which video?</title>
<style>
  body { margin: 0; font: 17px/1.5 system-ui, sans-serif; background: #16181c; color: #e8e8e6; text-align: center; }
  main { max-width: 1500px; margin: 0 auto; padding: 24px 20px; }
  h1 { font-size: 24px; font-weight: 600; margin: 0 0 4px; }
  p { margin: 6px 0 16px; color: #a9adb5; }
  .pair { display: grid; grid-template-columns: 1fr 1fr; gap: 18px; }
  video { width: 100%; max-height: 66vh; object-fit: contain; background: #000; image-rendering: pixelated; }
  button { font: inherit; padding: 10px 26px; margin-top: 12px; border: 1px solid #5a6270; border-radius: 8px;
           background: #262a31; color: inherit; cursor: pointer; }
  button:hover:enabled, button:focus-visible { background: #3d6ea8; border-color: #3d6ea8; }
  button:disabled { opacity: .4; cursor: default; }
  .bar { height: 5px; background: #2a2e35; margin: 18px 0 10px; border-radius: 3px; }
  .bar > i { display: block; height: 100%; background: #3d6ea8; border-radius: 3px; }
  input { font: inherit; padding: 8px 12px; border-radius: 8px; border: 1px solid #5a6270; background: #262a31;
          color: inherit; }
  [hidden] { display: none !important; }
</style>
<main>
  <section id="start">
    <h1>Two videos at a time</h1>
    <p>Choose one of each pair; there is no time limit, and both play again and again. Nothing says whose they are.</p>
    <form id="begin"><input id="voter" placeholder="your name or initials" maxlength="40" autocomplete="off">
      <button>Begin</button></form>
  </section>
  <section id="voting" hidden>
    <h1>@QUESTION@</h1>
    <p id="place"></p>
    <div class="pair">
      <div><video id="left" muted loop playsinline></video>
        <button id="choose-left" disabled>&larr; left</button></div>
      <div><video id="right" muted loop playsinline></video>
        <button id="choose-right" disabled>right &rarr;</button></div>
    </div>
    <div class="bar"><i id="share"></i></div>
    <p><button id="again">from the beginning</button> <button id="back">one pair back</button></p>
  </section>
  <section id="end" hidden>
    <h1>Thank you</h1>
    <p id="kept"></p>
    <button id="json">save votes.json</button> <button id="csv">save votes.csv</button>
  </section>
</main>
<script>
const SHEET = @DATA@;
const get = id => document.getElementById(id);
let name = "", voter = "", votes = [], shownAt = 0, server = false;

const slot = () => "vivid-ab-" + SHEET.sheet + "-" + name;
const drawn = () => Math.random().toString(36).slice(2, 8);
const whole = () => ({sheet: SHEET.sheet, voter: voter, votes: votes});
function remember() {
  try { localStorage.setItem(slot(), JSON.stringify(whole())); } catch (error) { /* a private window keeps nothing */ }
}
function recall() { try { return JSON.parse(localStorage.getItem(slot())) || {}; } catch (error) { return {}; } }

function show() {
  const done = votes.length;
  get("voting").hidden = done >= SHEET.trials.length;
  get("end").hidden = !get("voting").hidden;
  if (get("voting").hidden) return finish();
  get("place").textContent = "pair " + (done + 1) + " of " + SHEET.trials.length;
  get("share").style.width = 100 * done / SHEET.trials.length + "%";
  get("back").disabled = done === 0;
  let waiting = 2;
  for (const side of ["left", "right"]) {
    get("choose-" + side).disabled = true;
    const video = get(side);
    video.oncanplaythrough = () => {
      video.oncanplaythrough = null;
      if (--waiting) return;
      restart();
      shownAt = performance.now();
      for (const other of ["left", "right"]) get("choose-" + other).disabled = false;
    };
    video.onerror = () => { get("place").textContent = "this video cannot be played: " + video.src; };
    video.src = SHEET.trials[done][side];
    video.load();
  }
}

function restart() {
  for (const side of ["left", "right"]) { get(side).currentTime = 0; get(side).play().catch(() => {}); }
}

function choose(side) {
  if (get("voting").hidden || get("choose-" + side).disabled) return;
  const seconds = Math.round((performance.now() - shownAt) / 10) / 100;
  votes.push({trial: SHEET.trials[votes.length].trial, choice: side, seconds: seconds});
  remember();
  send();
  show();
}

async function send() {
  if (!server) return;
  try {
    const answer = await fetch("votes", {method: "POST", headers: {"Content-Type": "application/json"},
                                         body: JSON.stringify(whole())});
    server = answer.ok;
  } catch (error) { server = false; }
  if (!get("end").hidden) finish();
}

function finish() {
  get("kept").textContent = server ? votes.length + " votes are kept; you can close this page."
    : votes.length + " votes: save them, and hand the file to whoever asked you.";
}

function save(name, kind, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], {type: kind}));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

const quoted = text => '"' + String(text).replaceAll('"', '""') + '"';
function asCsv() {
  const rows = votes.map(v => [SHEET.sheet, quoted(voter), v.trial, v.choice, v.seconds].join(","));
  return ["sheet,voter,trial,choice,seconds", ...rows].join("\\n") + "\\n";
}

get("begin").onsubmit = event => {
  event.preventDefault();
  // Two people of the same initials at two machines are two voters; who comes back to this one goes on.
  name = get("voter").value.trim() || "anonymous-" + drawn();
  const kept = recall();
  voter = kept.voter || name + "-" + drawn();
  votes = kept.votes || [];
  get("start").hidden = true;
  show();
};
get("choose-left").onclick = () => choose("left");
get("choose-right").onclick = () => choose("right");
get("again").onclick = restart;
get("back").onclick = () => { votes.pop(); remember(); send(); show(); };
get("json").onclick = () => save("votes.json", "application/json", JSON.stringify(whole(), null, 1) + "\\n");
get("csv").onclick = () => save("votes.csv", "text/csv", asCsv());
document.onkeydown = event => {
  if (event.key === "ArrowLeft") choose("left");
  if (event.key === "ArrowRight") choose("right");
};
if (location.protocol.startsWith("http")) fetch("server").then(a => { server = a.ok; }).catch(() => {});
</script>
</html>
"""
