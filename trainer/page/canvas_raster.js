// Grids of label ids, row by row: what is painted, without the page. Whole numbers only: nothing is anti-aliased.
const Raster = {
  // "7 120 26 8": 120 pixels of id 7, then 8 of id 26
  fromRuns(text, count) {
    const ids = new Int32Array(count);
    const numbers = text.split(" ");
    let at = 0;
    for (let i = 0; i < numbers.length; i += 2) {
      const end = at + Number(numbers[i + 1]);
      ids.fill(Number(numbers[i]), at, end);
      at = end;
    }
    return ids;
  },

  toRuns(ids) {
    const runs = [];
    let start = 0;
    for (let i = 1; i <= ids.length; i++) {
      if (i === ids.length || ids[i] !== ids[start]) {
        runs.push(ids[start], i - start);
        start = i;
      }
    }
    return runs.join(" ");
  },

  // Cells from (y0, x0) to (y1, x1), both included (Bresenham, 1965).
  line(y0, x0, y1, x1, visit) {
    const dx = Math.abs(x1 - x0), dy = -Math.abs(y1 - y0);
    const sx = x0 < x1 ? 1 : -1, sy = y0 < y1 ? 1 : -1;
    let error = dx + dy;
    for (;;) {
      visit(y0, x0);
      if (y0 === y1 && x0 === x1) return;
      const twice = 2 * error;
      if (twice >= dy) { error += dy; x0 += sx; }
      if (twice <= dx) { error += dx; y0 += sy; }
    }
  },

  // Rows [dy, first dx, last dx] of a disc that is `diameter` cells wide; an even one lies half a cell up and left.
  disc(diameter) {
    const centre = (diameter - 1) / 2, shift = Math.floor(diameter / 2), rows = [];
    for (let y = 0; y < diameter; y++) {
      const half = Math.sqrt((diameter / 2) ** 2 - (y - centre) ** 2);
      rows.push([y - shift, Math.ceil(centre - half) - shift, Math.floor(centre + half) - shift]);
    }
    return rows;
  },

  // The cells that are connected with (y, x) and have its id, by sides, or by sides and corners: a mask, how many they
  // are, and runs of rows as [y, first x, last x]. A run at a time (scan-line fill).
  region(ids, height, width, y, x, corners) {
    const wanted = ids[y * width + x], mask = new Uint8Array(ids.length), reach = corners ? 1 : 0;
    const runs = [], waiting = [[y, x]];
    let count = 0;
    while (waiting.length) {
      const [row, at] = waiting.pop(), start = row * width;
      if (mask[start + at]) continue;
      let left = at, right = at;
      while (left > 0 && ids[start + left - 1] === wanted) left--;
      while (right < width - 1 && ids[start + right + 1] === wanted) right++;
      mask.fill(1, start + left, start + right + 1);
      runs.push([row, left, right]);
      count += right - left + 1;
      for (const next of [row - 1, row + 1]) {
        if (next < 0 || next >= height) continue;
        const end = Math.min(width - 1, right + reach);
        for (let i = Math.max(0, left - reach), fresh = true; i <= end; i++) {
          const fits = ids[next * width + i] === wanted && !mask[next * width + i];
          if (fits && fresh) waiting.push([next, i]);
          fresh = !fits;
        }
      }
    }
    return { mask, runs, count };
  },

  // Points [y, x] without those that lie closer than `tolerance` to the line through their neighbours (Douglas and
  // Peucker, 1973).
  simplified(points, tolerance) {
    if (points.length < 3) return points;
    const [ay, ax] = points[0], [by, bx] = points[points.length - 1];
    const length = Math.hypot(by - ay, bx - ax);
    let farthest = 0, most = -1;
    for (let i = 1; i < points.length - 1; i++) {
      const [y, x] = points[i];
      const distance = length === 0 ? Math.hypot(y - ay, x - ax)
        : Math.abs((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / length;
      if (distance > most) { most = distance; farthest = i; }
    }
    if (most <= tolerance) return [points[0], points[points.length - 1]];
    const before = Raster.simplified(points.slice(0, farthest + 1), tolerance);
    return before.slice(0, -1).concat(Raster.simplified(points.slice(farthest), tolerance));
  },

  // [time, y, x] at constant speed from 0 to 1, or null where nothing moves.
  timed(points) {
    const kept = points.filter((p, i) => i === 0 || p[0] !== points[i - 1][0] || p[1] !== points[i - 1][1]);
    if (kept.length < 2) return null;
    const lengths = [0];
    for (let i = 1; i < kept.length; i++) {
      lengths.push(lengths[i - 1] + Math.hypot(kept[i][0] - kept[i - 1][0], kept[i][1] - kept[i - 1][1]));
    }
    const total = lengths[lengths.length - 1];
    return kept.map(([y, x], i) => [i === kept.length - 1 ? 1 : lengths[i] / total, y, x]);
  },

  // Where a path [time, y, x] is at a time.
  at(path, time) {
    for (let i = 1; i < path.length; i++) {
      const [t0, y0, x0] = path[i - 1], [t1, y1, x1] = path[i];
      if (time <= t1) {
        const share = (time - t0) / (t1 - t0);
        return [y0 + share * (y1 - y0), x0 + share * (x1 - x0)];
      }
    }
    return path[path.length - 1].slice(1);
  },
};
