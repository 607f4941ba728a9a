// A small chart: lines that stay, dots that move.

// At most five round numbers that cover low to high.
function ticks(low, high) {
  const rough = Math.max(high - low, 1e-9) / 4, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((m) => m * power >= rough * 0.999);
  const first = Math.floor(low / step + 1e-6), last = Math.ceil(high / step - 1e-6);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const found = Array.from({ length: last - first + 1 }, (_, k) => (first + k) * step);
  return found.map((at) => ({ at, text: at.toFixed(digits) }));
}

// Of given marks those that cover low to high.
function marksAround(marks, low, high) {
  const below = marks.filter((mark) => mark <= low).length, under = marks.filter((mark) => mark < high).length;
  return marks.slice(Math.max(0, below - 1), Math.max(below, under) + 1).map((at) => ({ at, text: String(at) }));
}

class Curve {
  // `pick(i)` is told of the iteration whose point is nearest to a click.
  constructor(title, xName, pick) {
    this.title = h("div", { class: "rgru-curve-title" });
    this.plotted = h("g");
    this.marks = h("g");
    this.svg = h("svg", { class: "rgru-curve", role: "img", "aria-label": title }, this.plotted, this.marks);
    this.node = h("div", { class: "rgru-chart" }, this.title, this.svg);
    this.svg.addEventListener("click", (event) => {
      const i = this.nearest(event);
      if (i) pick(i);
    });
    Object.assign(this, { xName, lines: [] });
    say(this.title, title);
  }

  nearest({ clientX, clientY }) {
    const box = this.svg.getBoundingClientRect(), points = this.at ? this.lines.flatMap((line) => line.points) : [];
    const far = (point) => {
      const [x, y] = this.at(point);
      return Math.hypot(clientX - box.x - x, clientY - box.y - y);
    };
    return points.sort((a, b) => far(a) - far(b))[0]?.[2];
  }

  // lines: [{ colour: class, points: [[x, y, iteration], ...] }]; xTicks and xEnd: instead of those found here;
  // yAxis: { height, marks } instead of an even one.
  plot(lines, options = {}) {
    Object.assign(this, { lines, options });
    const { fromZero, xTicks, xEnd, yAxis } = options, level = yAxis?.height ?? ((value) => value);
    const width = Math.max(180, Math.round(this.node.clientWidth)), height = 150;
    const points = lines.flatMap((line) => line.points);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.plotted.replaceChildren();
    this.at = null;
    if (!points.length) return;
    const values = points.map((point) => point[1]);
    const [least, most] = [fromZero ? 0 : Math.min(...values), Math.max(...values)];
    const ys = yAxis ? marksAround(yAxis.marks, least, most) : ticks(least, most);
    const xs = xTicks ?? ticks(0, Math.max(...points.map((p) => p[0])));
    const [x0, x1, y0, y1] = [xs[0].at, xEnd ?? xs.at(-1).at, level(ys[0].at), level(ys.at(-1).at)];
    const left = 12 + 6.2 * Math.max(...ys.map((tick) => tick.text.length));
    this.edges = { left, right: width - 10, top: 10, bottom: height - 32 };
    this.at = ([x, y]) => [
      left + ((x - x0) / (x1 - x0 || 1)) * (width - left - 10),
      height - 32 - ((level(y) - y0) / (y1 - y0 || 1)) * (height - 42),
    ];
    for (const { at, text } of ys) {
      const [, y] = this.at([x0, at]);
      this.plotted.append(h("line", { class: "rgru-grid", x1: left, x2: width - 10, y1: y, y2: y }));
      this.plotted.append(h("text", { class: "rgru-tick", x: left - 5, y: y + 3.5, "text-anchor": "end" }, text));
    }
    for (const { at, text } of xs) {
      const [x] = this.at([at, ys[0].at]);
      this.plotted.append(h("text", { class: "rgru-tick", x, y: height - 17, "text-anchor": "middle" }, text));
    }
    const under = { x: (left + width - 10) / 2, y: height - 3 };
    this.plotted.append(h("text", { class: "rgru-tick", ...under, "text-anchor": "middle" }, this.xName));
    for (const { colour, points: own } of lines) {
      const points = own.map((point) => this.at(point)).join(" ");
      this.plotted.append(h("polyline", { class: `rgru-line ${colour}`, points }));
      if (own.length === 1) this.plotted.append(this.dot(colour, own[0], 2));
    }
  }

  replot() {
    if (this.options) this.plot(this.lines, this.options);
    this.mark(this.dots ?? []);
  }

  describe(text) {
    this.svg.setAttribute("aria-label", text);
  }

  dot(colour, point, radius) {
    const [cx, cy] = this.at(point);
    return h("circle", { class: `rgru-dot ${colour}`, cx, cy, r: radius });
  }

  // dots: [{ colour, point, text, radius }]: where we are now.
  mark(dots) {
    this.dots = dots;
    this.marks.replaceChildren();
    if (!this.at) return;
    for (const { colour, point, text, radius = 5 } of dots) {
      if (point[1] === null || point[1] === undefined) continue;
      const { left, right, top, bottom } = this.edges, [x, y] = this.at(point);
      const [cx, cy] = [clamp(x, left, right), clamp(y, top, bottom)];
      this.marks.append(h("circle", { class: `rgru-dot ${colour}`, cx, cy, r: radius }));
      if (!text) continue;
      const [dx, anchor] = cx > (left + right) / 2 ? [-8, "end"] : [8, "start"];
      const where = { x: cx + dx, y: Math.min(cy + 16, bottom - 4), "text-anchor": anchor };
      const isBeyond = Math.hypot(cx - x, cy - y) > 1;
      const note = isBeyond ? `${text}: beyond this edge` : text;
      this.marks.append(h("text", { class: `rgru-note ${colour}`, ...where }, note));
    }
  }
}
