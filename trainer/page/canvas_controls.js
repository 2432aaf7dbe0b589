// Controls of the painting surface: lists, buttons, pointer, keys, zoom.

const make = (name, attributes = {}, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
};

// ---- lists

for (const [name, text, key, icon, title] of TOOLS) {
  const input = make("input", { type: "radio", name: `tool-${unique}`, value: name });
  input.addEventListener("change", () => { chooseTool(name); say(title); });
  const shown = make("span", {}, Overlay.icon(icon), make("b", {}, text));
  const about = { title: `${title} (${key.toUpperCase()})`, class: `lc-tool-${name}` };
  find(".lc-tools").append(make("label", about, input, shown));
}
button("undo").append(Overlay.icon(UNDO));
button("redo").append(Overlay.icon(REDO));
for (const [key, text] of KEYS) find(".lc-keys dl").append(make("dt", {}, key), make("dd", {}, text));

function chooseTool(name) {
  if (name === "move" && !s.paths) return;
  cancel();
  if (name !== "pick") s.painting = name;
  s.tool = name;
  find(`.lc-tools input[value="${name}"]`).checked = true;
  root.dataset.tool = name;
  decorate();
}

function setSize(size) {
  s.size = clamp(size, 1, Number(sizeInput.max));
  sizeInput.value = s.size;
  find(".lc-size output").textContent = s.size;
  if (s.width) decorate();
}

function listClasses() {
  find(".lc-list").replaceChildren(...s.classes.map((c, index) => {
    const input = make("input", { type: "radio", name: `class-${unique}`, value: index });
    input.addEventListener("change", () => choose(index));
    const swatch = make("i", { style: `background:${c.colour}` });
    const key = index < 10 ? [make("kbd", { "aria-hidden": "true" }, String((index + 1) % 10))] : [];
    return make("label", {}, input, swatch, make("span", {}, c.name), ...key);
  }));
  root.dataset.long = s.classes.length > 12;
  filter.value = "";
  filterClasses();
  choose(s.chosen, true);
}

function choose(index, quietly = false) {
  if (index < 0 || index >= s.classes.length) return;
  cancel();
  s.chosen = index;
  const list = find(".lc-list"), label = list.children[index];
  label.querySelector("input").checked = true;
  if (label.hidden) {
    filter.value = "";
    filterClasses();
  }
  list.scrollTop = clamp(list.scrollTop, label.offsetTop + label.offsetHeight - list.clientHeight, label.offsetTop);
  const cleared = s.void === null ? s.classes[index].id : s.void;
  button("clear").textContent = `Clear to ${nameOf(cleared)}`;
  if (!quietly) say(`Class ${s.classes[index].name}`);
}

function filterClasses() {
  const wanted = filter.value.trim().toLowerCase();
  let count = 0;
  s.classes.forEach((c, index) => {
    const fits = c.name.toLowerCase().includes(wanted);
    find(".lc-list").children[index].hidden = !fits;
    count += fits;
  });
  find(".lc-none").hidden = count > 0;
}

function listObjects() {
  find(".lc-objects ol").replaceChildren(...s.objects.map((o, index) => {
    const remove = make("button", { type: "button", "aria-label": `Remove the path of ${nameOf(o.class)}` }, "Remove");
    remove.addEventListener("click", () => { removeObject(index); surface.focus(); });
    const swatch = make("i", { style: `background:${s.byId.get(o.class).colour}` });
    return make("li", {}, swatch, make("span", {}, `${index + 1} ${nameOf(o.class)}`), remove);
  }));
  button("play").hidden = !s.objects.length;
  find(".lc-hint").textContent = s.objects.length ? "" : "Choose Move and drag an object to where it shall go.";
}

function removeObject(index) {
  if (!s.objects.length) return;
  const what = `${nameOf(s.objects[index].class)} stands still`;
  commit(new Map(), s.objects.filter((_, i) => i !== index), what);
}

// ---- buttons

function replaceAll(id, what) {
  cancel();
  if (id === null) s.map.set(s.base);
  else s.map.fill(id);
  dirty = whole();
  commitMap(what);
}

function showFrame(frame) {
  cancel();
  turnTo(clamp(frame, 0, s.frames.length - 1));
  show();
  publish();
  say(`Frame ${s.shown + 1} of ${s.frames.length}`);
}

// What differs from the frame as it was loaded.
function paintLater() {
  cancel();
  const changed = new Map(), painted = [];
  for (let i = 0; i < s.map.length; i++) if (s.map[i] !== s.base[i]) painted.push(i);
  for (let t = s.shown + 1; t < s.frames.length; t++) {
    const later = decoded(s.frames[t]);
    for (const i of painted) later[i] = s.map[i];
    const runs = Raster.toRuns(later);
    if (runs !== s.frames[t]) changed.set(t, runs);
  }
  if (changed.size) commit(changed, s.objects, `Painted ${changed.size} later frames alike`);
  else say("The later frames have all that was painted on this one");
}

function play() {
  const seconds = 2, started = performance.now();
  const draw = (time) => {
    s.time = Math.max(0, (time - started) / 1000 / seconds);
    if (s.time >= 1) s.time = null;
    decorate();
    if (s.time !== null) requestAnimationFrame(draw);
  };
  if (s.time === null) requestAnimationFrame(draw);
}

const ACTIONS = {
  undo: () => step(s.done, s.undone, "before", "Undone"),
  redo: () => step(s.undone, s.done, "after", "Done again"),
  restore: () => replaceAll(null, "As it was loaded"),
  clear: () => replaceAll(s.void === null ? s.classes[s.chosen].id : s.void, "Cleared"),
  in: () => zoomTo(s.zoom * 1.5),
  out: () => zoomTo(s.zoom / 1.5),
  previous: () => showFrame(s.shown - 1),
  next: () => showFrame(s.shown + 1),
  later: paintLater,
  play,
};
for (const [name, act] of Object.entries(ACTIONS)) button(name).addEventListener("click", act);

sizeInput.addEventListener("input", () => setSize(Number(sizeInput.value)));
frameInput.addEventListener("input", () => showFrame(Number(frameInput.value)));
filter.addEventListener("input", filterClasses);
filter.addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  choose(s.classes.findIndex((_, index) => !find(".lc-list").children[index].hidden));
});

// ---- zoom

// The point of the picture under (clientX, clientY) stays there.
function zoomTo(zoom, clientX = null, clientY = null) {
  const box = view.getBoundingClientRect(), old = stage.clientWidth;
  const right = clientX === null ? view.clientWidth / 2 : clientX - box.left;
  const down = clientY === null ? view.clientHeight / 2 : clientY - box.top;
  s.zoom = clamp(zoom, 1, 16);
  stage.style.setProperty("--zoom", s.zoom);
  const grown = old ? stage.clientWidth / old : 1; // 0 while its tab is hidden
  view.scrollLeft = (view.scrollLeft + right) * grown - right;
  view.scrollTop = (view.scrollTop + down) * grown - down;
  find(".lc-zoom").textContent = `${s.zoom.toFixed(1).replace(".0", "")}×`;
  button("out").disabled = s.zoom <= 1;
  button("in").disabled = s.zoom >= 16;
  decorate();
}

view.addEventListener("wheel", (event) => {
  if (!event.ctrlKey) return;
  event.preventDefault();
  zoomTo(s.zoom * Math.exp(-event.deltaY / 200), event.clientX, event.clientY);
}, { passive: false });

function keepInView([y, x]) {
  const cell = scale(), margin = Math.max(cell, 16);
  view.scrollLeft = clamp(view.scrollLeft, (x + 1) * cell + margin - view.clientWidth, x * cell - margin);
  view.scrollTop = clamp(view.scrollTop, (y + 1) * cell + margin - view.clientHeight, y * cell - margin);
}

// ---- pointer: one paints, two fingers move and zoom

const pointers = new Map();
let pinch = null;

function cellOf(event) {
  const box = canvas.getBoundingClientRect();
  return [
    Math.floor(((event.clientY - box.top) / box.height) * s.height),
    Math.floor(((event.clientX - box.left) / box.width) * s.width),
  ];
}

function fingers() {
  const [a, b] = [...pointers.values()];
  return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, apart: Math.hypot(a.x - b.x, a.y - b.y) || 1 };
}

surface.addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || !s.width) return;
  surface.focus({ preventScroll: true });
  pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  surface.setPointerCapture(event.pointerId);
  if (pointers.size === 2) {
    cancel();
    pinch = fingers();
  }
  if (pointers.size > 1) return;
  if (s.stroke) cancel(); // one that was begun by keys
  s.pointed = true;
  s.cursor = cellOf(event);
  begin(...s.cursor);
});

surface.addEventListener("pointermove", (event) => {
  if (pointers.has(event.pointerId)) pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  if (pinch && pointers.size === 2) {
    const before = pinch;
    pinch = fingers();
    view.scrollLeft -= pinch.x - before.x;
    view.scrollTop -= pinch.y - before.y;
    zoomTo((s.zoom * pinch.apart) / before.apart, pinch.x, pinch.y);
    return;
  }
  if (pinch || (s.stroke && !pointers.has(event.pointerId))) return;
  s.pointed = true;
  const passed = s.stroke && event.getCoalescedEvents ? event.getCoalescedEvents() : [];
  for (const one of passed.length ? passed : [event]) {
    s.cursor = cellOf(one);
    if (!s.stroke) continue;
    extend(...s.cursor);
    if (s.stroke.outline) s.stroke.points.push(s.stroke.end);
  }
  decorate();
});

for (const name of ["pointerup", "pointercancel"]) {
  surface.addEventListener(name, (event) => {
    if (!pointers.delete(event.pointerId)) return;
    if (pinch) {
      if (!pointers.size) pinch = null;
      return;
    }
    if (name === "pointercancel") cancel();
    else end();
    if (event.pointerType === "touch") s.pointed = false;
    decorate();
  });
}
surface.addEventListener("pointerleave", () => { s.pointed = false; decorate(); });

// ---- keys

const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

function moveCursor([dy, dx], far) {
  const most = s.stroke && s.stroke.outline ? 1 : 0; // a path may leave the picture
  const [y, x] = s.cursor, length = far ? 8 : 1;
  s.cursor = [
    clamp(y + dy * length, -most * s.height, (1 + most) * s.height - 1),
    clamp(x + dx * length, -most * s.width, (1 + most) * s.width - 1),
  ];
  s.pointed = false;
  if (s.stroke) extend(...s.cursor);
  keepInView(s.cursor);
  decorate();
  const there = inside(...s.cursor) ? nameOf(s.map[s.cursor[0] * s.width + s.cursor[1]]) : "outside";
  say(`Row ${s.cursor[0]}, column ${s.cursor[1]}: ${there}`);
}

function press(key) {
  if (s.stroke && s.stroke.outline && key === "Enter") {
    s.stroke.points.push(s.stroke.end);
    say(`Corner at ${s.stroke.end.join(", ")}`);
  } else if (s.stroke && !s.held) {
    end();
  } else if (!s.stroke) {
    begin(...s.cursor);
    if (!s.stroke) return;
    if (s.tool === "brush" || s.tool === "eraser") s.held = true;
    else if (s.tool !== "move") say(`${s.tool} from ${s.cursor.join(", ")}`);
  }
}

function release() {
  if (!s.held) return;
  s.held = false;
  end();
}

surface.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !s.width) return;
  const key = event.key, letter = key.toLowerCase(), tool = TOOLS.find((one) => one[2] === letter);
  if (ARROWS[key]) moveCursor(ARROWS[key], event.shiftKey);
  else if (key === " " || key === "Enter") { if (!event.repeat) press(key); }
  else if (key === "Escape") cancel();
  else if (/^[0-9]$/.test(key)) choose((Number(key) + 9) % 10);
  else if (key === ",") choose(s.chosen - 1);
  else if (key === ".") choose(s.chosen + 1);
  else if (key === "[") setSize(s.size - 1);
  else if (key === "]") setSize(s.size + 1);
  else if (key === "+" || key === "=") ACTIONS.in();
  else if (key === "-") ACTIONS.out();
  else if (key === "PageUp") showFrame(s.shown - 1);
  else if (key === "PageDown") showFrame(s.shown + 1);
  else if (key === "Delete" || key === "Backspace") removeObject(s.objects.length - 1);
  else if (letter === "c") filter.focus();
  else if (tool) { chooseTool(tool[0]); say(`${tool[1]}: ${tool[4]}`); }
  else return;
  event.preventDefault();
});
surface.addEventListener("keyup", (event) => { if (event.key === " " || event.key === "Enter") release(); });
surface.addEventListener("focus", decorate);
surface.addEventListener("blur", () => { release(); decorate(); });

root.addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.target === filter) return;
  const letter = event.key.toLowerCase();
  if (letter === "z") (event.shiftKey ? ACTIONS.redo : ACTIONS.undo)();
  else if (letter === "y") ACTIONS.redo();
  else return;
  event.preventDefault();
});

new ResizeObserver(() => { if (s.width) decorate(); }).observe(stage);

// ---- begin

find(".lc-title").textContent = props.label;
chooseTool("brush");
load(props.value);
watch("value", () => load(props.value));
