// What lies over the label map and is no part of it: cursor, brush, paths. Drawn in pixels of the screen.
class Overlay {
  constructor(svg) {
    this.svg = svg;
  }

  shape(name, attributes, parent = this.svg) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    parent.append(made);
    return made;
  }

  static icon(path) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 24 24");
    svg.setAttribute("aria-hidden", "true");
    new Overlay(svg).shape("path", { d: path });
    return svg;
  }

  // Lines twice, light on dark, so that they are seen on any colour.
  stroked(name, attributes, width = 2) {
    this.shape(name, { fill: "none", stroke: "#000", "stroke-width": width + 2, ...attributes });
    this.shape(name, { fill: "none", stroke: "#fff", "stroke-width": width, ...attributes });
  }

  // Runs of rows as one path, in cells.
  static outline(runs) {
    return runs.map(([y, left, right]) => `M${left} ${y}h${right - left + 1}v1H${left}z`).join("");
  }

  // An object: an arrow along its path, a number where it begins, its region `at` a point of the path.
  object(points, at, cells, colour, scale, number) {
    const [y0, x0] = points[0], [y1, x1] = at;
    const place = `scale(${scale}) translate(${x1 - x0} ${y1 - y0})`;
    this.shape("path", { d: cells, fill: colour, "fill-opacity": 0.75, transform: place });
    const there = points.map(([y, x]) => [(x + 0.5) * scale, (y + 0.5) * scale]);
    this.stroked("polyline", { points: there.map((p) => p.join(",")).join(" "), "stroke-linejoin": "round" });
    const tip = there[there.length - 1];
    const from = [...there].reverse().find((p) => Math.hypot(p[0] - tip[0], p[1] - tip[1]) > 3);
    if (from) {
      const angle = Math.atan2(tip[1] - from[1], tip[0] - from[0]);
      const corner = (turn) => `${tip[0] - 14 * Math.cos(angle + turn)},${tip[1] - 14 * Math.sin(angle + turn)}`;
      const head = `${tip[0]},${tip[1]} ${corner(0.45)} ${corner(-0.45)}`;
      this.shape("polygon", { points: head, fill: "#fff", stroke: "#000", "stroke-width": 1.5 });
    }
    const [x, y] = there[0];
    this.shape("circle", { cx: x, cy: y, r: 9, fill: "#fff", stroke: "#000", "stroke-width": 1.5 });
    const text = { x, y: y + 4, "text-anchor": "middle", "font-size": 12, "font-weight": 700, fill: "#000" };
    this.shape("text", text).textContent = number;
  }

  // What a click would choose.
  highlight(cells, scale) {
    const transform = `scale(${scale})`;
    this.shape("path", { d: cells, fill: "#fff", "fill-opacity": 0.4, transform });
    this.shape("path", { d: cells, fill: "#000", "fill-opacity": 0.15, transform });
  }

  // Where the next stroke would paint: a disc of this diameter.
  brush(size, y, x, scale) {
    const shift = Math.floor(size / 2);
    const box = { x: (x - shift) * scale, y: (y - shift) * scale, width: size * scale, height: size * scale };
    this.stroked("rect", { ...box, rx: size > 2 ? (size * scale) / 2 : 0 }, 1.5);
    if (size > 1) this.stroked("rect", { x: x * scale, y: y * scale, width: scale, height: scale }, 0.75);
  }

  draw(width, height, content) {
    this.svg.replaceChildren();
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    content(this);
  }
}
