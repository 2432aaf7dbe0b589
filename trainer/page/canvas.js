// The painting surface. `element`, `props`, `trigger` and `watch` come from gr.HTML; canvas.py says what the value is.
const TOOLS = [ // name, text, key, icon, what it does
  ["brush", "Brush", "b", "M4 20c4 .5 8-.5 8-4a3 3 0 0 0-6-.5C6 18 5.5 19 4 20zM11 13 20 4", "Paints"],
  ["line", "Line", "l", "M5 19 19 5", "Draws a straight line"],
  ["rectangle", "Rectangle", "r", "M4 6h16v12H4z", "Paints a rectangle"],
  ["fill", "Fill", "f", "M4 12 12 4l7 8-8 7zM4 12h15M21 16v3.5", "Fills connected pixels of one class"],
  ["pick", "Pick", "p", "M4 20l1-4 8-8 3 3-8 8zM12 7l5 5M14 9l4-4a2 2 0 0 1 2 2l-3.5 3.5",
    "Chooses the class that is there"],
  ["eraser", "Eraser", "e", "M8 19l-4-4L14 5l6 6-8 8zM9 10l6 6M8 19h12", "Brings back the label map as it was loaded"],
  ["move", "Move", "m", "M4 18C8 6 12 20 19 7M12.5 7H19v6.5",
    "Drag an object to where it shall be in the last frame"],
];
const UNDO = "M9 5 4 10l5 5M4 10h10a4.5 4.5 0 0 1 0 9h-3", REDO = "M15 5l5 5-5 5M20 10H10a4.5 4.5 0 0 0 0 9h3";
const KEYS = [
  ["Arrows", "move the cursor (with Shift: 8 pixels)"],
  ["Space", "paint; held while the cursor moves it draws; begins and ends a line, a rectangle, a path"],
  ["Enter", "with Move: a corner of the path"],
  ["Escape", "give up the line, rectangle or path that has begun"],
  ["1 … 9, 0", "the first ten classes; , and . the one before and behind; C goes to the list"],
  ["B L R F P E M", "brush, line, rectangle, fill, pick, eraser, move"],
  ["[ ]", "smaller and larger brush"],
  ["+ −", "zoom"],
  ["Page Up, Page Down", "the frame before and behind"],
  ["Ctrl+Z, Ctrl+Y", "undo, redo"],
  ["Delete", "remove the last path"],
];
const UNDO_LENGTH = 64 << 20; // characters of run lengths
const MOST_POINTS = 400; // of a path; the server takes a few more

const find = (selector) => element.querySelector(selector);
const button = (name) => find(`[data-do="${name}"]`);
const root = find(".lc"), surface = find(".lc-surface"), view = find(".lc-view"), stage = find(".lc-stage");
const canvas = find("canvas"), context = canvas.getContext("2d"), overlay = new Overlay(find(".lc-overlay"));
const sizeInput = find(".lc-size input"), frameInput = find(".lc-frames input"), filter = find(".lc-classes input");
const unique = Math.random().toString(36).slice(2);

const s = {
  height: 0, width: 0, objects: [], classes: [], byId: new Map(),
  frames: [], loaded: [], // run lengths of each frame, as it is and as it was loaded
  shown: 0, map: null, base: null, runs: "", // the frame that is shown, its ids in these two states; those of the map
  void: null, paths: false, chosen: 0, tool: "brush", painting: "brush", size: 3, zoom: 1, cursor: [0, 0],
  pointed: false, time: null, stroke: null, hover: null, done: [], undone: [], stamp: null, held: false,
};
let image = null, pixels = null, dirty = null;

const say = (text) => { find(".lc-status").textContent = text; };
const decoded = (runs) => Raster.fromRuns(runs, s.height * s.width);
const regionOf = (y, x, corners) => Raster.region(s.map, s.height, s.width, y, x, corners);
const inside = (y, x) => y >= 0 && x >= 0 && y < s.height && x < s.width;
const nameOf = (id) => (s.byId.has(id) ? s.byId.get(id).name : `id ${id}`);
const scale = () => stage.clientWidth / s.width;

// gradio takes a component away while a column that holds it is hidden, and makes another one of its value. What the
// value does not hold waits here, by the value's stamp.
const surfaces = (window.labelCanvases ||= new Map());

// ---- the value

function load(value) {
  if (!value || !Array.isArray(value.frames)) {
    root.dataset.state = "empty";
    return;
  }
  if (value.stamp && value.stamp === s.stamp) return; // our own
  [s.height, s.width] = value.size;
  s.frames = [...value.frames];
  const past = surfaces.get(value.stamp) || { loaded: [...value.frames], done: [], undone: [] };
  Object.assign(s, past);
  s.objects = value.objects;
  s.runs = s.base = null;
  turnTo(value.frame);
  trace();
  const before = s.classes[s.chosen];
  s.classes = value.classes;
  s.byId = new Map(s.classes.map((c) => [c.id, { ...c, pixel: toPixel(c.colour) }]));
  s.void = value.void;
  s.chosen = s.classes.findIndex((c) => before && c.id === before.id && c.name === before.name);
  if (s.chosen < 0) s.chosen = smallest();
  s.paths = value.paths;
  Object.assign(s, { stroke: null, zoom: 1, held: false, stamp: null, time: null });
  s.cursor = [s.height >> 1, s.width >> 1];
  canvas.width = s.width;
  canvas.height = s.height;
  image = context.createImageData(s.width, s.height);
  pixels = new Uint32Array(image.data.buffer);
  sizeInput.max = Math.max(1, Math.min(64, Math.max(s.height, s.width) >> 1));
  setSize(Math.min(s.size, Number(sizeInput.max)));
  frameInput.max = s.frames.length - 1;
  root.dataset.state = "ready";
  root.dataset.clip = s.frames.length > 1;
  root.dataset.paths = s.paths;
  if (!s.paths && s.tool === "move") chooseTool("brush");
  stage.style.setProperty("--ratio", s.width / s.height);
  surface.setAttribute("aria-label", `${props.label}, ${s.height} by ${s.width} pixels: paint with the keys below`);
  listClasses();
  zoomTo(1);
  show();
}

function turnTo(frame) {
  if (frame !== s.shown || !s.base) s.base = decoded(s.loaded[frame]);
  if (s.frames[frame] !== s.runs) {
    s.map = decoded(s.frames[frame]);
    dirty = whole();
  }
  s.shown = frame;
  s.runs = s.frames[frame];
}

// The class to begin with: of those in the picture the one with the fewest pixels, seen wherever it is painted.
function smallest() {
  const counts = new Map(), numbers = s.runs.split(" ").map(Number);
  for (let i = 0; i < numbers.length; i += 2) {
    if (numbers[i] !== s.void) counts.set(numbers[i], (counts.get(numbers[i]) || 0) + numbers[i + 1]);
  }
  const rarest = [...counts].sort((a, b) => a[1] - b[1])[0];
  const fits = rarest ? (c) => c.id === rarest[0] : (c) => c.id !== s.void;
  return Math.max(0, s.classes.findIndex(fits));
}

function publish() {
  surfaces.delete(s.stamp);
  s.stamp = Math.random().toString(36).slice(2);
  surfaces.set(s.stamp, { loaded: s.loaded, done: s.done, undone: s.undone });
  props.value = {
    size: [s.height, s.width], frames: [...s.frames], frame: s.shown, objects: s.objects,
    classes: s.classes, void: s.void, paths: s.paths, stamp: s.stamp,
  };
}

function toPixel(colour) {
  const number = parseInt(colour.slice(1), 16); // bytes of ImageData are red, green, blue, alpha; words little-endian
  return ((255 << 24) | ((number & 255) << 16) | (number & 0xff00) | (number >> 16)) >>> 0;
}

// ---- the picture

const whole = () => [0, 0, s.height - 1, s.width - 1];
const union = (a, b) => (a && b
  ? [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[2], b[2]), Math.max(a[3], b[3])] : a || b);

function refresh() {
  if (!dirty) return;
  const [top, left, bottom, right] = dirty;
  let last = null, pixel = 0;
  for (let y = top; y <= bottom; y++) {
    for (let i = y * s.width + left; i <= y * s.width + right; i++) {
      if (s.map[i] !== last) {
        last = s.map[i];
        pixel = s.byId.get(last).pixel;
      }
      pixels[i] = pixel;
    }
  }
  context.putImageData(image, 0, 0, left, top, right - left + 1, bottom - top + 1);
  dirty = null;
}

function show() {
  refresh();
  s.hover = null;
  trace();
  decorate();
  frameInput.value = s.shown;
  find(".lc-frames output").textContent = `${s.shown + 1} of ${s.frames.length}`;
  button("previous").disabled = s.shown === 0;
  button("next").disabled = s.shown === s.frames.length - 1;
  button("undo").disabled = !s.done.length;
  button("redo").disabled = !s.undone.length;
  listObjects();
}

function trace() {
  s.outlines = s.objects.map((o) => Overlay.outline(regionOf(...o.seed, true).runs));
}

function decorate() {
  const cell = scale(), [y, x] = s.cursor, here = s.pointed && inside(y, x);
  const active = s.pointed || surface.matches(":focus-visible");
  overlay.draw(stage.clientWidth, stage.clientHeight, (draw) => {
    if (active && !s.stroke && s.tool === "move" && inside(y, x)) draw.highlight(outlineUnder(y, x), cell);
    s.objects.forEach((o, i) => {
      const points = o.path.map((p) => p.slice(1));
      const at = s.time === null ? points[points.length - 1] : Raster.at(o.path, s.time);
      draw.object(points, at, s.outlines[i], s.byId.get(o.class).colour, cell, i + 1);
    });
    if (s.stroke && s.stroke.outline) {
      const { points, end, outline, label } = s.stroke;
      draw.object([...points, end], end, outline, s.byId.get(label).colour, cell, s.objects.length + 1);
    }
    const wide = ["brush", "eraser", "line"].includes(s.tool);
    if (active) draw.brush(wide ? s.size : 1, y, x, cell);
  });
  find(".lc-where").textContent = here ? `row ${y}, column ${x}: ${nameOf(s.map[y * s.width + x])}` : "";
}

// The object that would move; kept while the cursor stays in it.
function outlineUnder(y, x) {
  if (!s.hover || !s.hover.mask[y * s.width + x]) {
    const { mask, runs } = regionOf(y, x, true);
    s.hover = { mask, outline: Overlay.outline(runs) };
  }
  return s.hover.outline;
}

// ---- strokes

// Cells of a row from left to right, which may lie outside.
function put(y, left, right) {
  if (y < 0 || y >= s.height || right < 0 || left >= s.width) return;
  const start = y * s.width + Math.max(0, left), end = y * s.width + Math.min(s.width - 1, right) + 1;
  if (s.tool === "eraser") s.map.set(s.base.subarray(start, end), start);
  else s.map.fill(s.classes[s.chosen].id, start, end);
  dirty = union(dirty, [y, Math.max(0, left), y, Math.min(s.width - 1, right)]);
}

function stamp(y, x) {
  for (const [dy, left, right] of s.stroke.disc) put(y + dy, x + left, x + right);
}

function begin(y, x) {
  if (!inside(y, x)) return;
  const label = s.map[y * s.width + x];
  if (s.tool === "pick") {
    choose(s.classes.findIndex((c) => c.id === label));
    chooseTool(s.painting);
    return;
  }
  s.stroke = { before: s.map.slice(), from: [y, x], last: [y, x], disc: Raster.disc(s.size), points: [[y, x]] };
  if (s.tool === "move") {
    const { mask, runs, count } = regionOf(y, x, true);
    Object.assign(s.stroke, { outline: Overlay.outline(runs), mask, label, end: [y, x] });
    say(`${nameOf(label)} chosen: ${count} pixels`);
  } else if (s.tool === "fill") {
    for (const run of regionOf(y, x, false).runs) put(...run);
    end();
  } else {
    extend(y, x);
  }
  refresh();
  decorate();
}

function extend(y, x) {
  const { from, last, before } = s.stroke;
  if (s.tool === "move") {
    s.stroke.end = [clamp(y, -s.height, 2 * s.height), clamp(x, -s.width, 2 * s.width)];
  } else if (s.tool === "line" || s.tool === "rectangle") {
    s.map.set(before);
    dirty = null;
    if (s.tool === "line") Raster.line(...from, y, x, stamp);
    else rectangle(from, [y, x]);
    const drawn = dirty;
    dirty = union(drawn, s.stroke.drawn); // what was drawn for the last place of the pointer goes
    s.stroke.drawn = drawn;
  } else {
    Raster.line(...last, y, x, stamp);
  }
  s.stroke.last = [y, x];
  refresh();
}

function rectangle([y0, x0], [y1, x1]) {
  for (let y = Math.max(0, Math.min(y0, y1)); y <= Math.min(s.height - 1, Math.max(y0, y1)); y++) {
    put(y, Math.min(x0, x1), Math.max(x0, x1));
  }
}

function end() {
  const stroke = s.stroke;
  s.stroke = null;
  if (!stroke) return;
  if (stroke.outline) addObject(stroke);
  else commitMap(s.tool === "eraser" ? "Brought back" : `Painted ${s.classes[s.chosen].name}`);
}

function cancel() {
  if (!s.stroke) return;
  s.map.set(s.stroke.before);
  dirty = whole();
  s.stroke = null;
  s.held = false;
  show();
  say("Given up");
}

const clamp = (value, least, most) => Math.min(most, Math.max(least, value));

function addObject({ points, end: last, label, from, mask }) {
  let kept = [...points, last];
  for (let tolerance = 0.5; tolerance === 0.5 || kept.length > MOST_POINTS; tolerance *= 2) {
    kept = Raster.simplified(kept, tolerance);
  }
  const path = Raster.timed(kept);
  if (!path) {
    say("An object that does not move: drag it to where it shall be in the last frame");
    decorate();
    return;
  }
  // a new path for the same object takes the old one's place
  const others = s.objects.filter((o) => !mask[o.seed[0] * s.width + o.seed[1]]);
  commit(new Map(), [...others, { class: label, seed: from, path }], `${nameOf(label)} moves`);
}

// ---- history

// After the frame that is shown was painted on.
function commitMap(what) {
  const runs = Raster.toRuns(s.map);
  s.runs = runs;
  if (runs === s.frames[s.shown]) show();
  else commit(new Map([[s.shown, runs]]), s.objects, what);
}

// One entry of the history: frames (number: run lengths) and objects as they become; the map has become so already.
function commit(changed, objects, what) {
  const kept = objects.filter((o) => s.map[o.seed[0] * s.width + o.seed[1]] === o.class);
  if (kept.length < objects.length) what += "; an object that was painted over moves no more";
  const frames = [...changed].map(([t, after]) => ({ t, before: s.frames[t], after }));
  s.done.push({ shown: s.shown, frames, objects: { before: s.objects, after: kept } });
  s.undone = [];
  const length = (entry) => entry.frames.reduce((before, one) => before + one.before.length + one.after.length, 0);
  let sum = s.done.reduce((before, entry) => before + length(entry), 0);
  while (sum > UNDO_LENGTH && s.done.length > 1) sum -= length(s.done.shift());
  become(s.done[s.done.length - 1], "after", what);
}

function become(entry, state, what) {
  for (const one of entry.frames) s.frames[one.t] = one[state];
  s.objects = entry.objects[state];
  turnTo(entry.shown);
  show();
  publish();
  say(what);
  trigger("input");
}

function step(from, to, state, what) {
  if (s.stroke) cancel();
  const entry = from.pop();
  if (!entry) return;
  to.push(entry);
  become(entry, state, what);
}
