// The scrubber's browser side. It gets every picture once, makes residuals, differences, zoom and curves itself, and so
// needs no kernel, no import and no network while it is used.
//
// What Python sends, trait by trait (see scrubber.py):
//   setup      { iterations, width, height, level, against: [{ key, label }], scale, weights }
//   original   I as a lossless file; frame_1 is P[1], frame_i is P[i] - P[i-1] + 128 modulo 256
//   bytes_i, level_i   { "jpeg-12": file, ... }: opponents that match P[i] in size or in quality, each file sent once
//   readings   { ours: [...], "bytes-jpeg": [...], "level-jpeg": [...] }, a row per iteration
//   file       the .rgru file: its first size_bytes are the file of an iteration
//   colours    255 colours from P too bright to P too dark; progress { share, text, failed }
//   guess      {} or { what, iteration }; answer goes back to Python
//
// What a test or a bench finds on the element: data-ready, data-iteration, and after each drawing the event
// "rgru-drawn" with detail { iteration, ms }, from the input's handler to the last draw call.

// ---------------------------------------------------------------------------------------------- Small things

const SVG = new Set(["svg", "path", "line", "polyline", "circle", "text", "g", "title"]);
const DELTA = 128;
const PLAY_MS = 450;
const PLAY_SLOWLY_MS = 1500; // for those who asked their system for less motion
const CACHED_PIXELS = 60e6; // of pictures that can be made again: about 240 MB

function h(tag, properties = {}, ...children) {
  const node = SVG.has(tag) ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const count = (n) => n.toLocaleString("en");
const bytes = (n) => `${count(n)} bytes`;
const decibels = (value) => (value === undefined ? "…" : value === null ? "∞" : value.toFixed(1));
const similarity = (value) => (value === undefined ? "…" : value === null ? "–" : value.toFixed(3));
const signed = (value) => (value > 0 ? `+${value}` : value < 0 ? `−${-value}` : "0");

const LEVELS = {
  ms_ssim: { name: "MS-SSIM", show: similarity, unit: "" },
  psnr_db: { name: "PSNR", show: decibels, unit: " dB" },
};

const ICONS = {
  play: "M5 3.5v13l11-6.5z",
  pause: "M5 4h3.5v12H5zM11.5 4H15v12h-3.5z",
  lens: "M8.5 3a5.5 5.5 0 0 1 4.4 8.8l4 4-1.4 1.4-4-4A5.5 5.5 0 1 1 8.5 3zm0 2a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7z",
  full: "M3 3h5v2H5v3H3zM12 3h5v5h-2V5h-3zM3 12h2v3h3v2H3zM15 12h2v5h-5v-2h3z",
  save: "M9 3h2v7l2.5-2.5 1.4 1.4L10 13.8 5.1 8.9l1.4-1.4L9 10zM4 15h12v2H4z",
};

const icon = (name) => h("svg", { viewBox: "0 0 20 20", "aria-hidden": "true" }, h("path", { d: ICONS[name] }));

function button(label, act, properties = {}, ...children) {
  const node = h("button", { type: "button", class: "rgru-button", title: label, onclick: act, ...properties }, ...children);
  if (!node.textContent) node.setAttribute("aria-label", label);
  node.dataset.lmSuppressShortcuts = "true"; // or JupyterLab takes keys as its own
  return node;
}

// One of a few, as buttons side by side. `options`: [value, text, title]...
function segments(label, options, choose) {
  const buttons = options.map(([value, text, title]) => {
    const node = button(title ?? text, () => choose(value), {}, text);
    node.dataset.value = value;
    return node;
  });
  const node = h("div", { class: "rgru-segments", role: "group", "aria-label": label }, ...buttons);
  const show = (chosen) => {
    for (const each of buttons) each.setAttribute("aria-pressed", String(each.dataset.value === String(chosen)));
  };
  return { node, show };
}

function chooser(label, options, choose) {
  const select = h("select", { class: "rgru-select", "aria-label": label, onchange: () => choose(select.value) });
  select.append(...options.map(([value, text]) => h("option", { value }, text)));
  select.dataset.lmSuppressShortcuts = "true";
  return { node: select, show: (value) => { select.value = value; } };
}

function idle(work) {
  return window.requestIdleCallback ? requestIdleCallback(work, { timeout: 1000 }) : setTimeout(work, 20);
}

function isDark(node) {
  for (; node; node = node.parentElement) {
    const colour = getComputedStyle(node).backgroundColor;
    const [r, g, b, a = 1] = (colour.match(/[\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
    const top = colour.startsWith("rgb") ? 255 : 1;
    if (a > 0.5) return 0.3 * r + 0.6 * g + 0.1 * b < top / 2;
  }
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

function download(name, blob) {
  const link = h("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

// ---------------------------------------------------------------------------------------------- Pictures

// All sums of three differences of 8-bit levels, as colours (signed: -765 to 765) or greys (0 to 765).
function colourTable(colours, scale, gain) {
  const middle = (colours.byteLength / 3 - 1) / 2;
  return Uint32Array.from({ length: 1531 }, (_, k) => {
    const at = 3 * Math.round(middle * (1 + clamp(((k - 765) / 3 / scale) * gain, -1, 1)));
    return rgba(colours.getUint8(at), colours.getUint8(at + 1), colours.getUint8(at + 2));
  });
}

function greyTable(scale, gain) {
  return Uint32Array.from({ length: 766 }, (_, k) => {
    const grey = Math.round(255 * clamp((k / 3 / scale) * gain, 0, 1));
    return rgba(grey, grey, grey);
  });
}

const rgba = (r, g, b) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;

function difference(a, b, table) {
  const out = new ImageData(a.width, a.height);
  const to = new Uint32Array(out.data.buffer), from = a.data, other = b.data;
  const isSigned = table.length === 1531;
  let sum = 0;
  for (let k = 0, n = 0; n < to.length; k += 4, n++) {
    const r = from[k] - other[k], g = from[k + 1] - other[k + 1], c = from[k + 2] - other[k + 2];
    const size = (r < 0 ? -r : r) + (g < 0 ? -g : g) + (c < 0 ? -c : c);
    sum += size;
    to[n] = table[isSigned ? r + g + c + 765 : size];
  }
  return { image: out, mean: sum / 3 / to.length };
}

function sumOf(before, change) {
  const out = new ImageData(before.width, before.height);
  const to = new Uint8Array(out.data.buffer), a = before.data, b = change.data;
  for (let k = 0; k < to.length; k += 4) {
    to[k] = a[k] + b[k] - DELTA;
    to[k + 1] = a[k + 1] + b[k + 1] - DELTA;
    to[k + 2] = a[k + 2] + b[k + 2] - DELTA;
    to[k + 3] = 255;
  }
  return out;
}

const decode = (file) => createImageBitmap(new Blob([file]), { colorSpaceConversion: "none", premultiplyAlpha: "none" });

// Every picture by its name: "I", "P3", "jpeg-12", and differences "I|P3|signed|1" (of what, minus what, how, gain).
class Album {
  constructor(tables, arrived) {
    this.tables = tables;
    this.arrived = arrived;
    this.scratch = h("canvas").getContext("2d", { willReadFrequently: true });
    this.reset();
  }

  reset() {
    this.pictures = new Map(); // name to ImageBitmap, or to ImageData until there is one
    this.data = new Map(); // name to ImageData: I and P[i] for good, others while they are asked for
    this.means = new Map();
    this.files = new Map();
    this.queue = Promise.resolve();
    this.waiting = 0;
    this.isFull = false;
    this.generation = (this.generation ?? 0) + 1;
  }

  // I, or P[i]: in turn, since each P[i] needs the one before.
  take(name, file, before) {
    const { generation } = this;
    this.waiting++;
    this.queue = this.queue.then(async () => {
      if (generation !== this.generation) return;
      let data = this.read(await decode(file));
      if (generation !== this.generation) return;
      if (before) data = sumOf(this.data.get(before), data);
      const bitmap = await createImageBitmap(data);
      if (generation !== this.generation) return;
      this.data.set(name, data);
      this.pictures.set(name, bitmap);
      this.waiting--;
      this.arrived(name);
    });
    return this.queue;
  }

  keep(files) {
    for (const [name, file] of Object.entries(files)) this.files.set(name, file);
  }

  // The picture, or null while it is being decoded or cannot be there.
  get(name) {
    if (!name) return null;
    const found = this.pictures.get(name);
    if (found) {
      if (!this.isKept(name)) this.pictures.delete(name), this.pictures.set(name, found); // used last, dropped last
      return found;
    }
    if (name.includes("|")) return this.subtract(name);
    if (this.files.has(name)) this.open(name);
    return null;
  }

  pixels(name) {
    if (!this.data.has(name) && this.pictures.has(name)) {
      const others = [...this.data.keys()].filter((key) => !this.isKept(key));
      if (others.length > 2) this.data.delete(others[0]);
      this.data.set(name, this.read(this.pictures.get(name)));
    }
    return this.data.get(name) ?? null;
  }

  async open(name) {
    const file = this.files.get(name), { generation } = this;
    this.files.delete(name); // once is enough, unless it is dropped later
    const bitmap = await decode(file);
    if (generation !== this.generation) return;
    this.files.set(name, file);
    this.put(name, bitmap);
    this.arrived(name);
  }

  subtract(name) {
    const [from, other, kind, gain] = name.split("|");
    if (!this.get(from) || !this.get(other)) return null;
    const { image, mean } = difference(this.pixels(from), this.pixels(other), this.tables(kind, Number(gain)));
    this.means.set(name, mean);
    this.put(name, image);
    const { generation } = this;
    createImageBitmap(image).then((bitmap) => { // quicker to draw the next time
      if (generation === this.generation && this.pictures.get(name) === image) this.pictures.set(name, bitmap);
    });
    return image;
  }

  isKept(name) {
    return name === "I" || /^P\d+$/.test(name);
  }

  put(name, picture) {
    this.pictures.set(name, picture);
    const made = [...this.pictures.keys()].filter((key) => !this.isKept(key));
    const most = Math.max(8, CACHED_PIXELS / (picture.width * picture.height));
    for (const key of made.slice(0, Math.max(0, made.length - most))) this.pictures.delete(key);
    this.isFull = made.length >= most; // no use in making more before they are asked for
  }

  read(bitmap) {
    const { canvas } = this.scratch;
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
    this.scratch.drawImage(bitmap, 0, 0);
    return this.scratch.getImageData(0, 0, canvas.width, canvas.height);
  }
}

// A canvas as large as the picture; zoom is a matter of style, so moving the slider costs one copy.
class Layer {
  constructor() {
    this.canvas = h("canvas", { class: "rgru-canvas", role: "img" });
    this.context = this.canvas.getContext("2d");
    this.shown = null;
  }

  draw(name, picture) {
    if (this.shown === picture) return;
    this.shown = picture;
    this.canvas.dataset.picture = picture ? name : "";
    if (!picture) {
      this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
      return;
    }
    if (this.canvas.width !== picture.width) this.canvas.width = picture.width;
    if (this.canvas.height !== picture.height) this.canvas.height = picture.height;
    if (picture instanceof ImageData) this.context.putImageData(picture, 0, 0);
    else this.context.drawImage(picture, 0, 0);
  }
}

// ---------------------------------------------------------------------------------------------- Panes, zoom, lens

const ZOOMS = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32];
const LENS_PX = 148;

// A window onto one picture, or onto two that share a place.
class Port {
  constructor(layers) {
    this.layers = layers;
    this.sheet = h("div", { class: "rgru-sheet" }, ...layers.map((layer) => layer.canvas));
    this.cross = h("i", { class: "rgru-cross", hidden: true });
    this.lens = h("canvas", { class: "rgru-lens", "aria-hidden": "true", hidden: true });
    this.node = h("div", { class: "rgru-port" }, this.sheet, this.cross, this.lens);
  }
}

// All ports show the same place at the same scale: `zoom` device pixels per pixel of the picture, 0 to fit.
class Stage {
  constructor(node, ports, changed) {
    Object.assign(this, { node, ports, changed, zoom: 0, x: 0.5, y: 0.5, split: 0.5, lens: false, point: null });
    this.width = this.height = 1;
    this.pointers = new Map();
    for (const port of ports) this.listen(port);
    node.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
  }

  size(width, height) {
    Object.assign(this, { width, height, zoom: 0, x: 0.5, y: 0.5, point: null });
    this.node.style.setProperty("--ratio", `${width} / ${height}`);
    this.node.style.setProperty("--shape", width / height);
    this.place();
  }

  visible() {
    return this.ports.filter((port) => port.node.offsetParent !== null);
  }

  fit(port) {
    const ratio = window.devicePixelRatio || 1;
    const most = Math.min(port.node.clientWidth / this.width, port.node.clientHeight / this.height) * ratio;
    return most >= 1 ? Math.floor(most + 0.001) : most;
  }

  scale(port = this.visible()[0]) {
    return this.zoom || (port ? this.fit(port) : 1);
  }

  place() {
    const ratio = window.devicePixelRatio || 1;
    for (const port of this.visible()) {
      const box = port.node.getBoundingClientRect();
      const scale = this.scale(port) / ratio; // CSS pixels per pixel of the picture
      const width = this.width * scale, height = this.height * scale;
      const snap = (origin, offset) => Math.round((origin + offset) * ratio) / ratio - origin;
      const left = snap(box.left, width <= box.width ? (box.width - width) / 2 : box.width / 2 - this.x * width);
      const top = snap(box.top, height <= box.height ? (box.height - height) / 2 : box.height / 2 - this.y * height);
      Object.assign(port, { left, top, scale });
      Object.assign(port.sheet.style, { width: `${width}px`, height: `${height}px`, transform: `translate(${left}px, ${top}px)` });
      port.sheet.classList.toggle("rgru-crisp", this.scale(port) >= 1);
      if (port.layers.length === 2) this.cut(port, box.width);
    }
    this.node.classList.toggle("rgru-zoomed", this.zoom > 0);
    this.showPoint();
  }

  // The second picture is clipped where the handle stands; it never moves or shrinks.
  cut(port, width = port.node.clientWidth) {
    const inside = clamp((this.split * width - port.left) / (port.scale * this.width), 0, 1);
    port.layers[1].canvas.style.clipPath = `inset(0 0 0 ${100 * inside}%)`;
    port.node.style.setProperty("--split", `${100 * this.split}%`);
    this.handle.setAttribute("aria-valuenow", String(Math.round(100 * this.split)));
  }

  // ---- zoom and pan

  steps() {
    const fit = this.visible().length ? this.fit(this.visible()[0]) : 1;
    return [0, ...ZOOMS.filter((zoom) => zoom > fit)];
  }

  zoomBy(direction, port, event) {
    const steps = this.steps(), at = steps.indexOf(this.zoom);
    this.zoomTo(steps[clamp((at < 0 ? 0 : at) + direction, 0, steps.length - 1)], port, event);
  }

  // The place under the pointer stays where it is.
  zoomTo(zoom, port = this.visible()[0], event = null) {
    if (!port || zoom === this.zoom) return;
    const box = port.node.getBoundingClientRect();
    const at = event ? { x: event.clientX - box.left, y: event.clientY - box.top } : { x: box.width / 2, y: box.height / 2 };
    const fx = (at.x - port.left) / (this.width * port.scale), fy = (at.y - port.top) / (this.height * port.scale);
    this.zoom = zoom;
    if (zoom) {
      const scale = zoom / (window.devicePixelRatio || 1);
      this.x = fx + (box.width / 2 - at.x) / (this.width * scale);
      this.y = fy + (box.height / 2 - at.y) / (this.height * scale);
      this.hold(box);
    }
    this.place();
    this.changed();
  }

  panBy(dx, dy, port = this.visible()[0]) {
    if (!port || !this.zoom) return;
    this.x -= dx / (this.width * port.scale);
    this.y -= dy / (this.height * port.scale);
    this.hold(port.node.getBoundingClientRect());
    this.place();
  }

  // The picture's edge stops at the port's edge.
  hold(box) {
    const scale = this.zoom / (window.devicePixelRatio || 1);
    const x = Math.min(0.5, box.width / 2 / (this.width * scale)), y = Math.min(0.5, box.height / 2 / (this.height * scale));
    this.x = clamp(this.x, x, 1 - x);
    this.y = clamp(this.y, y, 1 - y);
  }

  wheel(event) {
    const wanted = event.ctrlKey || event.metaKey || this.node.contains(document.activeElement);
    const port = this.ports.find((each) => each.node.contains(event.target));
    if (!wanted || !port) return; // the page scrolls until somebody takes the picture in hand
    event.preventDefault();
    this.turned = (this.turned ?? 0) + event.deltaY * (event.deltaMode === 1 ? 20 : 1) * (event.ctrlKey ? 4 : 1);
    if (Math.abs(this.turned) < 60) return;
    this.zoomBy(this.turned > 0 ? -1 : 1, port, event);
    this.turned = 0;
  }

  // ---- pointers

  listen(port) {
    const { node } = port;
    node.addEventListener("pointerdown", (event) => this.down(port, event));
    node.addEventListener("pointermove", (event) => this.move(port, event));
    for (const end of ["pointerup", "pointercancel"]) node.addEventListener(end, (event) => this.up(event));
    node.addEventListener("pointerleave", () => this.pointAt(null));
    node.addEventListener("dblclick", () => this.zoomTo(0, port));
  }

  down(port, event) {
    if (event.button > 0) return;
    this.node.focus({ preventScroll: true });
    try {
      port.node.setPointerCapture(event.pointerId);
    } catch { /* a pointer that is gone already */ }
    this.pointers.set(event.pointerId, event);
    this.pinched = null;
    this.move(port, event);
  }

  move(port, event) {
    const before = this.pointers.get(event.pointerId);
    if (before) {
      this.pointers.set(event.pointerId, event);
      if (this.pointers.size === 2) return this.pinch(port);
      const lensByTouch = this.lens && event.pointerType !== "mouse";
      if (port.layers.length === 2 && !this.zoom && !lensByTouch) this.splitAt(event.clientX);
      else if (!lensByTouch) this.panBy(event.clientX - before.clientX, event.clientY - before.clientY, port);
    }
    const box = port.node.getBoundingClientRect();
    const x = Math.floor((event.clientX - box.left - port.left) / port.scale);
    const y = Math.floor((event.clientY - box.top - port.top) / port.scale);
    this.pointAt(x >= 0 && y >= 0 && x < this.width && y < this.height ? { x, y } : null);
  }

  up(event) {
    this.pointers.delete(event.pointerId);
    this.pinched = null;
  }

  pinch(port) {
    const [a, b] = [...this.pointers.values()];
    const apart = Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
    this.pinched ??= { apart, scale: this.scale(port) };
    const wanted = (this.pinched.scale * apart) / this.pinched.apart;
    const middle = { clientX: (a.clientX + b.clientX) / 2, clientY: (a.clientY + b.clientY) / 2 };
    const nearest = this.steps().reduce((best, zoom) => {
      const far = (z) => Math.abs(Math.log((z || this.fit(port)) / wanted));
      return far(zoom) < far(best) ? zoom : best;
    });
    this.zoomTo(nearest, port, middle);
  }

  splitAt(clientX) {
    const port = this.ports.find((each) => each.layers.length === 2), box = port.node.getBoundingClientRect();
    this.moveSplit((clientX - box.left) / box.width);
  }

  moveSplit(split) {
    this.split = clamp(split, 0, 1);
    for (const port of this.visible()) if (port.layers.length === 2) this.cut(port);
  }

  // ---- the place under the pointer, in every port

  pointAt(point) {
    this.point = point;
    if (this.pointing) return;
    this.pointing = true;
    requestAnimationFrame(() => {
      this.pointing = false;
      this.showPoint();
      this.changed();
    });
  }

  showPoint() {
    for (const port of this.ports) {
      port.cross.hidden = !this.point;
      port.lens.hidden = !(this.point && this.lens);
      if (!this.point) continue;
      const x = port.left + (this.point.x + 0.5) * port.scale, y = port.top + (this.point.y + 0.5) * port.scale;
      port.cross.style.transform = `translate(${x}px, ${y}px)`;
      if (this.lens) this.magnify(port, x, y);
    }
  }

  magnify(port, x, y) {
    const ratio = window.devicePixelRatio || 1, side = Math.round(LENS_PX * ratio);
    const times = 4 * Math.max(1, Math.ceil(this.scale(port))), half = side / times / 2;
    if (port.lens.width !== side) port.lens.width = port.lens.height = side;
    const context = port.lens.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.clearRect(0, 0, side, side);
    port.layers.forEach((layer, k) => {
      const cut = k === 0 ? 0 : clamp((this.split * port.node.clientWidth - x) / port.scale + half, 0, 2 * half) * times;
      context.save();
      context.beginPath();
      context.rect(cut, 0, side, side);
      context.clip();
      const { x: px, y: py } = this.point;
      context.drawImage(layer.canvas, px + 0.5 - half, py + 0.5 - half, 2 * half, 2 * half, 0, 0, side, side);
      context.restore();
    });
    port.lens.style.transform = `translate(${x - LENS_PX / 2}px, ${y - LENS_PX / 2}px)`;
  }
}

// ---------------------------------------------------------------------------------------------- Curves

// At most five round numbers that cover low to high.
function ticks(low, high) {
  const rough = Math.max(high - low, 1e-9) / 4, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((m) => m * power >= rough * 0.999);
  const first = Math.floor(low / step + 1e-6), last = Math.ceil(high / step - 1e-6);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return Array.from({ length: last - first + 1 }, (_, k) => ({ at: (first + k) * step, text: ((first + k) * step).toFixed(digits) }));
}

class Curve {
  constructor(title, xName) {
    this.title = h("div", { class: "rgru-curve-title" });
    this.plotted = h("g");
    this.marks = h("g");
    this.svg = h("svg", { class: "rgru-curve", role: "img", "aria-label": title }, this.plotted, this.marks);
    this.node = h("div", { class: "rgru-chart" }, this.title, this.svg);
    Object.assign(this, { name: title, xName, lines: [] });
    say(this.title, title);
  }

  // lines: [{ colour: class, points: [[x, y], ...] }]; xs: round numbers to show instead of those found here.
  plot(lines, { fromZero = false, xTicks = null } = {}) {
    Object.assign(this, { lines, options: { fromZero, xTicks } });
    const width = Math.max(180, Math.round(this.node.clientWidth)), height = 150;
    const points = lines.flatMap((line) => line.points);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.plotted.replaceChildren();
    this.at = null;
    if (!points.length) return;
    const ys = ticks(fromZero ? 0 : Math.min(...points.map((p) => p[1])), Math.max(...points.map((p) => p[1])));
    const xs = xTicks ?? ticks(0, Math.max(...points.map((p) => p[0])));
    const [x0, x1, y0, y1] = [xs[0].at, xs.at(-1).at, ys[0].at, ys.at(-1).at];
    const left = 12 + 6.2 * Math.max(...ys.map((tick) => tick.text.length));
    this.at = ([x, y]) => [
      left + ((x - x0) / (x1 - x0 || 1)) * (width - left - 10),
      height - 32 - ((y - y0) / (y1 - y0 || 1)) * (height - 42),
    ];
    for (const { at, text } of ys) {
      const [, y] = this.at([x0, at]);
      this.plotted.append(h("line", { class: "rgru-grid", x1: left, x2: width - 10, y1: y, y2: y }));
      this.plotted.append(h("text", { class: "rgru-tick", x: left - 5, y: y + 3.5, "text-anchor": "end" }, text));
    }
    for (const { at, text } of xs) {
      const [x] = this.at([at, y0]);
      this.plotted.append(h("text", { class: "rgru-tick", x, y: height - 17, "text-anchor": "middle" }, text));
    }
    const middle = (left + width - 10) / 2;
    this.plotted.append(h("text", { class: "rgru-tick", x: middle, y: height - 3, "text-anchor": "middle" }, this.xName));
    for (const { colour, points: own } of lines) {
      this.plotted.append(h("polyline", { class: `rgru-line ${colour}`, points: own.map(this.at).join(" ") }));
      if (own.length === 1) this.plotted.append(this.dot(colour, own[0], 2));
    }
  }

  replot() {
    if (this.options) this.plot(this.lines, this.options);
  }

  dot(colour, point, radius) {
    const [cx, cy] = this.at(point);
    return h("circle", { class: `rgru-dot ${colour}`, cx, cy, r: radius });
  }

  // dots: [{ colour, point, hollow, text }]: where we are now.
  mark(dots) {
    this.marks.replaceChildren();
    if (!this.at) return;
    for (const { colour, point, text } of dots) {
      if (point[1] === null || point[1] === undefined) continue;
      this.marks.append(this.dot(colour, point, 5));
      if (!text) continue;
      const [x, y] = this.at(point);
      this.marks.append(h("text", { class: `rgru-note ${colour}`, x: x + 8, y: y - 7 }, text));
    }
  }
}

// ---------------------------------------------------------------------------------------------- The whole

const VIEWS = [
  ["panes", "Side by side", "Original, ours, residual and opponent side by side"],
  ["split", "Split", "Two pictures under one handle (keys 1 2 3)"],
  ["difference", "Difference", "One picture minus another (key D)"],
];

const KEYS = [
  ["← →", "one iteration back or on"],
  ["Home End", "the first, the last iteration"],
  ["Space", "play, pause"],
  ["1 2 3", "split view: handle left, middle, right"],
  ["D", "difference, and back"],
  ["+ − 0", "zoom in, out, fit"],
  ["Shift + arrows", "move the zoomed picture (or drag it)"],
  ["L", "lens: look closely at one place in all pictures"],
  ["F", "full screen"],
];

const BEGINNING = {
  i: 0, view: "panes", match: "bytes", kind: "signed", gain: 1, left: "P", right: "X", from: "I", minus: "P", followed: true,
};

class Scrubber {
  constructor(model, el) {
    Object.assign(this, { model, el, state: { ...BEGINNING }, tableCache: new Map() });
    this.album = new Album((kind, gain) => this.table(kind, gain), (name) => this.arrived(name));
    el.classList.add("rgru");
    this.build();
    this.watch();
    this.begin();
  }

  // ---- structure

  build() {
    const act = (change) => (value) => this.set({ [change]: value });
    this.layers = Object.fromEntries(["I", "P", "R", "X", "left", "right", "minus"].map((role) => [role, new Layer()]));
    this.ports = ["I", "P", "R", "X"].map((role) => new Port([this.layers[role]]));
    this.ports.push(new Port([this.layers.left, this.layers.right]), new Port([this.layers.minus]));
    const portOf = { I: 0, P: 1, R: 2, X: 3, split: 4, difference: 5 };
    this.captions = {};
    const pane = (role) => {
      const title = h("span", { class: "rgru-title" }), text = h("span", { class: "rgru-text" });
      this.captions[role] = { title, text };
      const caption = h("figcaption", { class: "rgru-caption" }, title, text);
      return h("figure", { class: `rgru-pane rgru-pane-${role}` }, caption, this.ports[portOf[role]].node);
    };
    const stageNode = h("div", { class: "rgru-stage", tabindex: "0", role: "group", "aria-label": "pictures" });
    stageNode.append(...Object.keys(portOf).map(pane));
    stageNode.dataset.lmSuppressShortcuts = "true";
    this.stage = new Stage(stageNode, this.ports, () => this.moved());
    this.buildHandle();

    this.views = segments("view", VIEWS, act("view"));
    this.rivals = segments("opponent", [["", ""]], act("rival"));
    this.matches = segments("match", [["bytes", "same bytes"], ["level", "same quality"]], act("match"));
    this.zoomLabel = button("zoom: fit or 100 %", () => this.stage.zoomTo(this.stage.zoom ? 0 : this.stage.steps()[1] ?? 0));
    this.zoomLabel.classList.add("rgru-zoom-label");
    this.lensButton = button("lens (L)", () => this.toggleLens(), { "aria-pressed": "false" }, icon("lens"));
    this.fullButton = button("full screen (F)", () => this.fullScreen(), {}, icon("full"));
    this.fullButton.hidden = !document.fullscreenEnabled;
    this.helpButton = button("keys and hints (?)", () => this.toggleHelp(), { "aria-expanded": "false" }, "?");
    const toolbar = h("div", { class: "rgru-toolbar" },
      this.views.node,
      this.rivalGroup = h("span", { class: "rgru-group" }, h("span", { class: "rgru-word" }, "against"), this.rivals.node),
      this.matches.node,
      h("span", { class: "rgru-spacer" }),
      h("div", { class: "rgru-segments", role: "group", "aria-label": "zoom" },
        button("zoom out (−)", () => this.stage.zoomBy(-1), {}, "−"), this.zoomLabel,
        button("zoom in (+)", () => this.stage.zoomBy(1), {}, "+")),
      h("span", { class: "rgru-group" }, this.lensButton, this.fullButton, this.helpButton));
    this.help = h("dl", { class: "rgru-help", hidden: true });
    for (const [keys, what] of KEYS) this.help.append(h("dt", {}, keys), h("dd", {}, what));
    this.help.append(h("dt", {}, "Mouse"), h("dd", {}, "click a picture, then the wheel zooms; Ctrl + wheel and pinch always do; drag to move; double-click to fit"));

    this.el.append(toolbar, this.help, this.buildSlider(), this.buildGuess(), this.buildOptions(), stageNode, this.buildProbe(), this.buildBoard());
    this.live = h("div", { class: "rgru-live", "aria-live": "polite" });
    this.el.append(this.live);
  }

  buildHandle() {
    this.handle = h("div", {
      class: "rgru-handle", role: "slider", tabindex: "0", "aria-label": "split between the two pictures",
      "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": "50",
    }, h("span", { class: "rgru-grip", "aria-hidden": "true" }));
    this.handle.dataset.lmSuppressShortcuts = "true";
    this.stage.handle = this.handle;
    let held = false;
    const hold = (event) => {
      event.stopPropagation();
      held = event.type === "pointerdown";
      if (held) this.handle.setPointerCapture(event.pointerId);
    };
    for (const type of ["pointerdown", "pointerup", "pointercancel"]) this.handle.addEventListener(type, hold);
    this.handle.addEventListener("pointermove", (event) => {
      if (!held) return;
      event.stopPropagation();
      this.stage.splitAt(event.clientX);
    });
    this.splitNames = [h("span", { class: "rgru-name" }), h("span", { class: "rgru-name rgru-name-right" })];
    this.ports[4].node.append(...this.splitNames, this.handle);
  }

  buildSlider() {
    this.playButton = button("play (Space)", () => this.play(), { class: "rgru-button rgru-play" }, icon("play"));
    this.slider = h("input", { class: "rgru-slider", type: "range", min: "1", max: "1", value: "1", step: "1", "aria-label": "iteration", disabled: true });
    this.slider.dataset.lmSuppressShortcuts = "true";
    this.slider.addEventListener("input", () => this.go(Number(this.slider.value)));
    this.tickRow = h("div", { class: "rgru-ticks", "aria-hidden": "true" });
    this.counter = h("div", { class: "rgru-counter" });
    this.progress = h("progress", { class: "rgru-progress", max: "1", value: "0", "aria-label": "progress of the computing" });
    this.status = h("span", { class: "rgru-status", role: "status" });
    this.statusRow = h("div", { class: "rgru-statusrow" }, this.progress, this.status);
    const track = h("div", { class: "rgru-track" }, this.slider, this.tickRow);
    return h("div", {}, h("div", { class: "rgru-scrub" }, this.playButton, track, this.counter), this.statusRow);
  }

  buildGuess() {
    this.question = h("label", { class: "rgru-question" });
    this.hint = h("span", { class: "rgru-hint", id: `rgru-hint-${Math.random().toString(36).slice(2)}` });
    this.guessInput = h("input", { class: "rgru-number", type: "number", step: "any", required: true, "aria-describedby": this.hint.id });
    this.guessInput.dataset.lmSuppressShortcuts = "true";
    this.guessInput.id = `${this.hint.id}-input`;
    this.question.htmlFor = this.guessInput.id;
    this.guessForm = h("form", { class: "rgru-guess-form" }, this.question, this.guessInput,
      h("button", { type: "submit", class: "rgru-button rgru-main" }, "Lock it in, show me"),
      button("Skip", () => this.reply({ skipped: true }), {}, "Skip"), this.hint);
    this.guessForm.addEventListener("submit", (event) => {
      event.preventDefault();
      const value = this.guessInput.valueAsNumber;
      if (Number.isFinite(value)) this.reply({ value });
    });
    this.verdictOnGuess = h("p", { class: "rgru-guess-result" });
    this.guessBox = h("div", { class: "rgru-guess", hidden: true }, this.guessForm, this.verdictOnGuess);
    return this.guessBox;
  }

  // What belongs to one view only: which pictures, and how a residual is coloured.
  buildOptions() {
    const act = (change) => (value) => this.set({ [change]: value });
    this.pickers = { left: null, right: null, from: null, minus: null };
    const none = [["I", "I"]];
    for (const name of Object.keys(this.pickers)) this.pickers[name] = chooser(`${name} picture`, none, act(name));
    this.kinds = segments("colours of the residual", [["signed", "± colours", "signed: orange where P is too dark, purple where it is too bright"], ["grey", "grey", "magnitude: the brighter, the more is missing"]], act("kind"));
    this.gains = segments("gain", [1, 2, 4, 8].map((gain) => [gain, `×${gain}`, gain === 1 ? "the fixed scale" : `colours ${gain} times stronger`]), (gain) => this.set({ gain: Number(gain) }));
    this.legend = [h("span"), h("i", { class: "rgru-legend-bar" }), h("span")];
    this.splitOptions = h("span", { class: "rgru-group" }, h("span", { class: "rgru-word" }, "left"), this.pickers.left.node, h("span", { class: "rgru-word" }, "right"), this.pickers.right.node);
    this.minusOptions = h("span", { class: "rgru-group" }, this.pickers.from.node, h("span", { class: "rgru-word" }, "minus"), this.pickers.minus.node);
    this.colourOptions = h("span", { class: "rgru-group rgru-colours" }, h("span", { class: "rgru-word" }, "residual in"), this.kinds.node, this.gains.node, h("span", { class: "rgru-legend" }, ...this.legend));
    return h("div", { class: "rgru-options" }, this.splitOptions, this.minusOptions, this.colourOptions);
  }

  buildProbe() {
    this.probeText = h("span");
    this.probeNode = h("div", { class: "rgru-probe" }, this.probeText);
    return this.probeNode;
  }

  buildBoard() {
    const cells = (n) => Array.from({ length: n }, () => h("td"));
    this.heads = ["", "bytes", "bits per pixel", "PSNR, dB", "MS-SSIM", "saved"].map((text) => h("th", { scope: "col" }, text));
    this.heads[5].title = "against 24 bits per pixel, uncompressed";
    this.rows = { ours: cells(5), rival: cells(5) };
    this.rowNames = { ours: h("th", { scope: "row", class: "rgru-ours" }), rival: h("th", { scope: "row", class: "rgru-theirs" }) };
    const table = h("table", { class: "rgru-table" },
      h("thead", {}, h("tr", {}, ...this.heads)),
      h("tbody", {}, h("tr", {}, this.rowNames.ours, ...this.rows.ours), h("tr", {}, this.rowNames.rival, ...this.rows.rival)));
    this.verdict = h("p", { class: "rgru-verdict" });
    this.saves = [
      button("P[i] as PNG", () => this.savePicture(), {}, icon("save"), h("span", {}, "PNG")),
      button("the .rgru file cut after this iteration", () => this.saveFile(), {}, icon("save"), h("span", {}, ".rgru")),
      button("the opponent's file", () => this.saveRival(), {}, icon("save"), h("span", {}, "JPEG")),
    ];
    const saving = h("div", { class: "rgru-saving" }, h("span", { class: "rgru-word" }, "save"), ...this.saves);
    this.shrinking = new Curve("mean |R[i]|", "iteration i");
    this.quality = new Curve("quality", "bits per pixel");
    return h("div", { class: "rgru-board" }, h("div", { class: "rgru-figures" }, table, this.verdict, saving), this.shrinking.node, this.quality.node);
  }

  // ---- listening

  watch() {
    const { model, el } = this;
    this.listeners = [["change:original", () => this.begin()], ["change:setup", () => this.shape()], ["change:readings", () => this.read()],
      ["change:progress", () => this.report()], ["change:guess", () => this.ask()], ["change:answer", () => this.ask()]];
    for (let i = 1; i <= 16; i++) {
      this.listeners.push([`change:frame_${i}`, () => this.frame(i)]);
      for (const set of ["bytes", "level"]) this.listeners.push([`change:${set}_${i}`, () => this.files(set, i)]);
    }
    for (const [event, listener] of this.listeners) model.on(event, listener);
    el.addEventListener("keydown", (event) => this.key(event));
    this.resized = new ResizeObserver(() => this.resize());
    this.resized.observe(el);
    const theme = () => { el.dataset.theme = isDark(el.parentElement) ? "dark" : "light"; };
    this.themes = new MutationObserver(() => { theme(); setTimeout(theme, 400); });
    for (const node of [document.documentElement, document.body]) this.themes.observe(node, { attributes: true, attributeFilter: ["class", "style", "theme", "data-jp-theme-light", "data-theme"] });
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.scheme.addEventListener("change", theme);
    this.themed = theme;
    theme();
    setTimeout(theme, 0); // the notebook may put the element in its place only now
  }

  close() {
    for (const [event, listener] of this.listeners) this.model.off(event, listener);
    this.resized.disconnect();
    this.themes.disconnect();
    this.scheme.removeEventListener("change", this.themed);
    this.pause();
    this.album.reset();
  }

  // ---- what comes from Python

  get setup() {
    return this.model.get("setup");
  }

  begin() {
    this.pause();
    this.album.reset();
    Object.assign(this.state, { i: 0, followed: true });
    this.el.dataset.ready = "false";
    this.shape();
    if (this.model.get("original")?.byteLength) this.album.take("I", this.model.get("original"));
    for (let i = 1; i <= 16; i++) {
      this.frame(i);
      for (const set of ["bytes", "level"]) this.files(set, i);
    }
    this.ask();
    this.report();
  }

  // The slider's length and the opponents to choose from.
  shape() {
    const { setup, state } = this;
    if (!setup.iterations) return;
    const { against, iterations } = setup;
    if (!against.some((each) => each.key === state.rival)) state.rival = against[0].key;
    const names = JSON.stringify(against);
    if (names !== this.shaped) {
      this.shaped = names;
      const made = segments("opponent", against.map((each) => [each.key, each.label]), (rival) => this.set({ rival }));
      this.rivals.node.replaceWith(made.node);
      this.rivals = made;
      this.rivalGroup.hidden = against.length < 2;
    }
    this.slider.max = iterations;
    this.tickRow.replaceChildren(...Array.from({ length: iterations }, (_, k) => h("span", {}, h("b", {}, String(k + 1)))));
    this.stage.size(setup.width, setup.height);
    this.read();
  }

  frame(i) {
    const file = this.model.get(`frame_${i}`);
    if (file?.byteLength) this.album.take(`P${i}`, file, i > 1 ? `P${i - 1}` : null);
  }

  files(set, i) {
    const files = this.model.get(`${set}_${i}`) ?? {};
    if (!Object.keys(files).length) return;
    this.album.keep(files);
    this.paint();
    this.prepare();
  }

  arrived(name) {
    if (name.startsWith("P") && this.state.followed) this.state.i = this.limit(); // until the slider is touched
    this.paint();
    this.prepare();
  }

  report() {
    const { share, text, failed } = this.model.get("progress");
    this.progress.value = share;
    this.progress.hidden = share >= 1;
    say(this.status, text);
    this.status.classList.toggle("rgru-failed", Boolean(failed));
    this.statusRow.hidden = !text && share >= 1;
    this.prepare();
  }

  row(side, i = this.state.i) {
    return this.model.get("readings")?.[side]?.[i - 1];
  }

  get rival() {
    return this.setup.against?.find((each) => each.key === this.state.rival) ?? { key: "", label: "" };
  }

  get level() {
    return LEVELS[this.setup.level ?? "ms_ssim"];
  }

  // Residuals and opponents are made before they are asked for, whenever the browser has nothing else to do.
  prepare() {
    if (this.preparing) return;
    this.preparing = true;
    idle(() => {
      this.preparing = false;
      const next = this.missing();
      if (next) {
        this.album.get(next);
        this.prepare();
      } else if (this.model.get("progress").share >= 1 && this.album.waiting === 0) {
        this.el.dataset.ready = "true";
      }
    });
  }

  missing() {
    if (this.album.isFull) return null;
    const side = `${this.state.match}-${this.state.rival}`;
    for (let i = 1; i <= this.setup.iterations; i++) {
      const { pictures, files, data } = this.album;
      if (data.has(`P${i}`) && !pictures.has(this.residual(i))) return this.residual(i);
      const file = this.row(side, i)?.file;
      if (file && files.has(file) && !pictures.has(file)) return file;
    }
    return null;
  }

  // ---- what is shown

  set(change) {
    Object.assign(this.state, change);
    this.refresh();
    this.prepare();
  }

  // How far the slider goes: what is computed, and not locked by a question.
  limit() {
    let there = 0;
    while (this.album.data.has(`P${there + 1}`)) there++;
    return this.isLocked() ? Math.min(there, this.model.get("guess").iteration - 1) : there;
  }

  go(i) {
    const start = performance.now(), limit = this.limit();
    this.state.followed = false;
    if (i > limit && this.isLocked() && i >= this.model.get("guess").iteration) this.nudge();
    this.state.i = clamp(i, Math.min(1, limit), limit);
    this.paint(start);
  }

  residual(i) {
    return `I|P${i}|${this.state.kind}|${this.state.gain}`;
  }

  // The album's name of a picture by its role: I, P[i], Q = P[i-1], R[i], or X, the opponent.
  nameOf(role) {
    const { i, match, rival } = this.state;
    if (role === "I") return "I";
    if (role === "X") return this.row(`${match}-${rival}`)?.file ?? null;
    if (role === "Q") return i > 1 ? `P${i - 1}` : null;
    if (i < 1) return null;
    return role === "P" ? `P${i}` : this.residual(i);
  }

  pictures() {
    const { view, left, right, from, minus, kind, gain } = this.state;
    if (view === "panes") return ["I", "P", "R", "X"].map((role) => [role, this.nameOf(role)]);
    if (view === "split") return [["left", this.nameOf(left)], ["right", this.nameOf(right)]];
    const [a, b] = [this.nameOf(from), this.nameOf(minus)];
    return [["minus", a && b && `${a}|${b}|${kind}|${gain}`]];
  }

  // Draws at once, and at most once per frame; then the words, which the reader's eye reaches later.
  paint(start = performance.now()) {
    if (this.painted) {
      this.paintAgain = true;
      return;
    }
    this.painted = true;
    requestAnimationFrame(() => {
      this.painted = false;
      if (this.paintAgain) {
        this.paintAgain = false;
        this.paint();
      }
    });
    const limit = this.limit();
    this.state.i = clamp(this.state.i, Math.min(1, limit), limit);
    for (const [layer, name] of this.pictures()) this.layers[layer].draw(name, this.album.get(name));
    const ms = performance.now() - start;
    this.describe(limit);
    this.el.dataset.iteration = this.state.i;
    this.el.dispatchEvent(new CustomEvent("rgru-drawn", { detail: { iteration: this.state.i, ms } }));
  }

  // Everything that does not depend on the iteration alone.
  refresh() {
    const { state } = this;
    this.el.dataset.view = state.view;
    this.views.show(state.view);
    this.rivals.show(state.rival);
    this.matches.show(state.match);
    this.kinds.show(state.kind);
    this.gains.show(state.gain);
    say(this.matches.node.lastChild, `same ${this.level.name}`);
    const roles = { I: "I, the original", P: "P[i], ours", Q: "P[i-1], ours before", R: "R[i], the residual", X: `${this.rival.label}, the opponent` };
    for (const [name, { node, show }] of Object.entries(this.pickers)) {
      const options = Object.entries(roles).filter(([role]) => role !== "R" || ["left", "right"].includes(name));
      node.replaceChildren(...options.map(([value, text]) => h("option", { value }, text)));
      show(state[name]);
    }
    this.splitOptions.hidden = state.view !== "split";
    this.minusOptions.hidden = state.view !== "difference";
    this.colourOptions.hidden = state.view === "split" && state.left !== "R" && state.right !== "R";
    this.showLegend();
    this.el.dataset.rival = this.setup.against?.findIndex((each) => each.key === state.rival) ?? 0;
    this.plot();
    this.stage.place();
    this.moved();
    this.paint();
  }

  read() {
    if (!this.setup.iterations) return;
    this.refresh();
    this.ask();
  }

  showLegend() {
    const { kind, gain } = this.state, scale = this.setup.scale / gain, stops = [];
    const table = this.table(kind, 1), of = (k) => `rgb(${table[k] & 255} ${(table[k] >> 8) & 255} ${(table[k] >> 16) & 255})`;
    const from = kind === "signed" ? 765 - 3 * this.setup.scale : 0, to = from + (kind === "signed" ? 6 : 3) * this.setup.scale;
    for (let k = 0; k <= 24; k++) stops.push(of(Math.round(from + ((to - from) * k) / 24)));
    this.legend[1].style.background = `linear-gradient(90deg, ${stops.join(",")})`;
    say(this.legend[0], kind === "signed" ? `−${scale} too bright` : "0");
    say(this.legend[2], kind === "signed" ? `+${scale} too dark` : `${scale} levels`);
  }

  table(kind, gain) {
    const key = `${kind}|${gain}`, { scale } = this.setup;
    if (!this.tableCache.has(key)) {
      this.tableCache.set(key, kind === "signed" ? colourTable(this.model.get("colours"), scale, gain) : greyTable(scale, gain));
    }
    return this.tableCache.get(key);
  }

  // ---- words

  title(role) {
    const { i } = this.state;
    return { I: "I", P: i ? `P[${i}]` : "P[i]", Q: i > 1 ? `P[${i - 1}]` : "P[i-1]", R: i ? `R[${i}]` : "R[i]", X: this.rival.label }[role];
  }

  brief(row) {
    if (!row) return "…";
    const level = row[this.setup.level];
    return level === undefined ? bytes(row.size_bytes) : `${bytes(row.size_bytes)} · ${this.level.name} ${this.level.show(level)}`;
  }

  describe(limit) {
    const { i, view, match } = this.state, { iterations, width, height } = this.setup;
    if (!iterations) return;
    const ours = this.row("ours"), theirs = this.row(`${match}-${this.state.rival}`);
    this.slider.disabled = limit < 1;
    this.slider.value = Math.max(1, i);
    this.slider.style.setProperty("--there", `${iterations > 1 ? (100 * Math.max(0, limit - 1)) / (iterations - 1) : 100}%`);
    this.slider.setAttribute("aria-valuetext", i ? `iteration ${i} of ${iterations}: ${this.brief(ours)}` : "nothing yet");
    [...this.tickRow.children].forEach((tick, k) => { tick.className = k + 1 === i ? "rgru-now" : k < limit ? "" : "rgru-not-yet"; });
    say(this.counter, i ? `iteration ${i} of ${iterations}` : "iteration –");
    const put = (role, title, text) => {
      say(this.captions[role].title, title);
      say(this.captions[role].text, text);
    };
    const match_ = !theirs || theirs.fits ? (match === "bytes" ? "of the same bytes" : `of the same ${this.level.name}`) : match === "bytes" ? "gets no smaller" : "gets no better";
    put("I", "I, the original", `${width} × ${height} px`);
    put("P", `${this.title("P")}, ours`, this.brief(ours));
    put("R", i ? `R[${i}] = I − P[${i}]` : "R[i] = I − P[i]", ours ? `mean |R| ${ours.mean_abs_residual.toFixed(1)} levels` : "…");
    put("X", `${this.rival.label} ${match_}`, this.brief(theirs));
    const name = (role) => `${this.title(role)}${role === "X" && theirs ? ` quality ${theirs.quality}` : ""}`;
    if (view === "split") {
      put("split", `${this.title(this.state.left)} | ${this.title(this.state.right)}`, "drag the handle");
      say(this.splitNames[0], name(this.state.left));
      say(this.splitNames[1], name(this.state.right));
      this.handle.setAttribute("aria-valuetext", `${Math.round(100 * this.stage.split)} % ${name(this.state.left)}, the rest ${name(this.state.right)}`);
    }
    if (view === "difference") {
      const mean = this.album.means.get(this.pictures()[0][1]);
      put("difference", `${this.title(this.state.from)} − ${this.title(this.state.minus)}`, mean === undefined ? "…" : `mean |difference| ${mean.toFixed(1)} levels`);
    }
    for (const [role, layer] of Object.entries(this.layers)) {
      const of = { left: name(this.state.left), right: name(this.state.right), minus: this.captions.difference.title.textContent }[role];
      const label = of ?? this.captions[role].title.textContent;
      if (layer.canvas.getAttribute("aria-label") !== label) layer.canvas.setAttribute("aria-label", label);
    }
    this.board(ours, theirs);
    this.markCurves(ours, theirs);
    this.probe();
    this.announce(ours, theirs);
  }

  board(ours, theirs) {
    const fill = (cells, row) => {
      const texts = row ? [count(row.size_bytes), row.bpp.toFixed(3), decibels(row.psnr_db), similarity(row.ms_ssim), `${(100 * (1 - row.bpp / 24)).toFixed(1)} %`] : ["…", "…", "…", "…", "…"];
      cells.forEach((cell, k) => say(cell, texts[k]));
    };
    fill(this.rows.ours, ours);
    fill(this.rows.rival, theirs);
    say(this.rowNames.ours, this.title("P"));
    say(this.rowNames.rival, theirs ? `${this.rival.label} q ${theirs.quality}` : this.rival.label);
    this.rowNames.rival.closest("tr").classList.toggle("rgru-misfit", Boolean(theirs && !theirs.fits));
    say(this.verdict, this.judge(ours, theirs));
    say(this.saves[2].lastChild, this.rival.label);
    this.saves[0].disabled = this.saves[1].disabled = !ours;
    if (!this.model.get("file")?.byteLength) this.saves[1].disabled = true;
    this.saves[2].disabled = !theirs;
  }

  judge(ours, theirs) {
    const { label } = this.rival, { name, show, unit } = this.level, key = this.setup.level;
    if (!ours || !theirs) return "";
    const small = this.setup.level === "psnr_db" ? " (MS-SSIM needs sides of 161 px)" : "";
    if (this.state.match === "level") {
      if (!theirs.fits) return `${label} cannot get that good at any quality; this is its best.${small}`;
      const saved = 100 * (1 - ours.size_bytes / theirs.size_bytes);
      const words = Math.abs(saved) < 0.5 ? "just as many bytes as" : `${Math.abs(saved).toFixed(0)} % ${saved > 0 ? "fewer" : "more"} bytes than`;
      return `For the same ${name} ours takes ${words} ${label}.${small}`;
    }
    if (!theirs.fits) {
      return `${label} cannot get that small: its smallest file is ${(theirs.size_bytes / ours.size_bytes).toFixed(1)} times ours.${small}`;
    }
    if (ours[key] === undefined || theirs[key] === undefined) return "measuring …";
    const [a, b] = [show(ours[key]), show(theirs[key])];
    const words = a === b ? "both are equally near to the original" : `${(ours[key] ?? Infinity) > (theirs[key] ?? Infinity) ? "ours" : label} is nearer to the original`;
    return `At the same bytes ${words}: ${name} ${a}${unit} against ${b}${unit}.${small}`;
  }

  announce(ours, theirs) {
    clearTimeout(this.announcing);
    if (this.state.followed || !ours) return;
    this.announcing = setTimeout(() => {
      say(this.live, `Iteration ${this.state.i}: ${this.brief(ours)}. ${this.judge(ours, theirs)}`);
    }, 700);
  }

  // ---- curves

  plot() {
    const { setup } = this, readings = this.model.get("readings") ?? {};
    if (!setup.iterations) return;
    const top = this.isLocked() ? this.model.get("guess").iteration - 1 : setup.iterations;
    const ours = (readings.ours ?? []).slice(0, top);
    const whole = Array.from({ length: setup.iterations }, (_, k) => ({ at: k + 1, text: String(k + 1) })).filter((_, k) => setup.iterations <= 8 || k % 3 === 0 || k + 1 === setup.iterations);
    this.shrinking.plot([{ colour: "rgru-ours", points: ours.map((row, k) => [k + 1, row.mean_abs_residual]) }], { fromZero: true, xTicks: whole });
    const measured = (rows) => rows.filter((row) => Number.isFinite(row[setup.level])).map((row) => [row.bpp, row[setup.level]]);
    const lines = setup.against.map(({ key }, k) => {
      const rows = ["bytes", "level"].flatMap((set) => (readings[`${set}-${key}`] ?? []).slice(0, top));
      return { colour: `rgru-rival-${k}`, points: measured(rows).sort((a, b) => a[0] - b[0]) };
    });
    this.quality.plot([...lines, { colour: "rgru-ours", points: measured(ours) }].filter((line) => line.points.length));
    const legend = [["rgru-ours", "ours"], ...setup.against.map(({ label }, k) => [`rgru-rival-${k}`, label])];
    this.quality.title.replaceChildren(`${this.level.name} over size `, ...legend.map(([colour, text]) => h("span", { class: `rgru-key ${colour}` }, text)));
    this.markCurves(this.row("ours"), this.row(`${this.state.match}-${this.state.rival}`));
  }

  markCurves(ours, theirs) {
    const { i } = this.state, key = this.setup.level;
    const index = this.setup.against.findIndex((each) => each.key === this.state.rival);
    this.shrinking.mark(ours ? [{ colour: "rgru-ours", point: [i, ours.mean_abs_residual] }] : []);
    say(this.shrinking.title, ours ? `mean |R[${i}]| = ${ours.mean_abs_residual.toFixed(1)} levels` : "mean |R[i]|");
    const dots = [];
    const guessed = this.guessedPoint();
    if (guessed) dots.push({ colour: "rgru-guessed", point: guessed, text: "your guess" });
    if (theirs) dots.push({ colour: `rgru-rival-${index}`, point: [theirs.bpp, theirs[key]] });
    if (ours) dots.push({ colour: "rgru-ours", point: [ours.bpp, ours[key]] });
    this.quality.mark(dots);
    const said = [ours && `ours ${this.brief(ours)}`, theirs && `${this.rival.label} ${this.brief(theirs)}`].filter(Boolean).join("; ");
    this.quality.svg.setAttribute("aria-label", `${this.level.name} over bits per pixel. ${said}`);
    this.shrinking.svg.setAttribute("aria-label", this.shrinking.title.textContent);
  }

  // ---- predict first

  isLocked() {
    const { iteration } = this.model.get("guess") ?? {};
    return Boolean(iteration) && !Object.keys(this.model.get("answer") ?? {}).length;
  }

  truth() {
    const { what, iteration } = this.model.get("guess");
    if (!what.endsWith("_bytes") || what === "size_bytes") return this.row("ours", iteration)?.[what];
    const row = this.row(`level-${what.replace("_bytes", "")}`, iteration);
    return row && (row.fits ? row.size_bytes : null);
  }

  ask() {
    const { what, iteration } = this.model.get("guess") ?? {}, answer = this.model.get("answer") ?? {};
    this.guessBox.hidden = !iteration || answer.skipped;
    if (!iteration) return;
    const locked = this.isLocked(), rival = what.replace("_bytes", "");
    const label = this.setup.against.find((each) => each.key === rival)?.label;
    const question = {
      ms_ssim: `Predict first: which MS-SSIM will P[${iteration}] have?`,
      psnr_db: `Predict first: which PSNR will P[${iteration}] have, in dB?`,
      size_bytes: `Predict first: how many bytes will the file with ${iteration} iteration${iteration > 1 ? "s" : ""} have?`,
    }[what] ?? `Predict first: how many bytes does ${label} need for the quality of P[${iteration}]?`;
    say(this.question, question);
    const before = this.row("ours", iteration - 1), own = this.row("ours", iteration);
    let hint = `P[${iteration}] and what follows it stay${iteration ? "" : ""} locked until then.`;
    if (label && own) hint = `Ours takes ${bytes(own.size_bytes)}. ${hint}`;
    else if (before?.[what] !== undefined && before[what] !== null) hint = `P[${iteration - 1}]: ${this.inWords(what, before[what])}. ${hint}`;
    say(this.hint, hint);
    this.guessForm.hidden = !locked;
    this.verdictOnGuess.hidden = locked;
    if (!locked && !answer.skipped) say(this.verdictOnGuess, this.compareGuess(what, answer.value));
  }

  inWords(what, value) {
    return what === "ms_ssim" ? `MS-SSIM ${similarity(value)}` : what === "psnr_db" ? `${decibels(value)} dB` : bytes(Math.round(value));
  }

  compareGuess(what, value) {
    const truth = this.truth();
    const said = `You said ${this.inWords(what, value)}.`;
    if (truth === undefined) return `${said} The truth is still being measured …`;
    if (truth === null) return `${said} There is no such number here.`;
    const off = value - truth, shown = this.inWords(what, Math.abs(off)).replace("MS-SSIM ", "");
    const near = this.inWords(what, value) === this.inWords(what, truth);
    return `${said} It is ${this.inWords(what, truth)}: ${near ? "spot on" : `${shown} too ${off > 0 ? "high" : "low"}`}.`;
  }

  guessedPoint() {
    const { what, iteration } = this.model.get("guess") ?? {}, { value } = this.model.get("answer") ?? {};
    const ours = iteration && this.row("ours", iteration);
    if (value === undefined || !ours) return null;
    if (what === this.setup.level) return [ours.bpp, value];
    if (!what.endsWith("_bytes") || !Number.isFinite(ours[this.setup.level])) return null;
    return [(8 * value) / (this.setup.width * this.setup.height), ours[this.setup.level]];
  }

  reply(answer) {
    this.model.set("answer", answer);
    try {
      this.model.save_changes();
    } catch { /* the kernel is gone; here the answer counts all the same */ }
    this.ask();
    this.refresh();
    this.go(this.model.get("guess").iteration);
    this.slider.focus();
    if (!answer.skipped) say(this.live, this.verdictOnGuess.textContent);
  }

  nudge() {
    this.guessBox.classList.remove("rgru-nudge");
    void this.guessBox.offsetWidth; // so that the animation starts again
    this.guessBox.classList.add("rgru-nudge");
    say(this.live, this.hint.textContent);
  }

  // ---- hands

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.key === "Escape" || event.key === "Tab") return;
    if (event.shiftKey && event.key === "Enter") return; // the notebook's own
    event.stopPropagation(); // or JupyterLab would take D, J, 0 and the arrows for its cells
    const at = event.target;
    if (at === this.guessInput || at.tagName === "SELECT") return;
    const act = this.actionFor(event, at);
    if (!act) return;
    event.preventDefault();
    act();
  }

  actionFor({ key, shiftKey }, at) {
    const { stage } = this, arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (at === this.handle) {
      const to = { ArrowLeft: stage.split - 0.02, ArrowRight: stage.split + 0.02, Home: 0, End: 1 }[key];
      if (to !== undefined) return () => stage.moveSplit(to);
    } else if (at === this.slider) {
      if (key in arrows || ["Home", "End", "PageUp", "PageDown"].includes(key)) return null; // native
    } else if (shiftKey && key in arrows) {
      return () => stage.panBy(-60 * arrows[key][0], -60 * arrows[key][1]);
    } else {
      const to = { ArrowLeft: this.state.i - 1, ArrowRight: this.state.i + 1, Home: 1, End: this.setup.iterations }[key];
      if (to !== undefined) return () => this.go(to);
    }
    if ((key === " " || key === "Enter") && at.tagName === "BUTTON") return null; // native
    return {
      " ": () => this.play(),
      1: () => this.splitTo(0), 2: () => this.splitTo(0.5), 3: () => this.splitTo(1),
      d: () => this.set({ view: this.state.view === "difference" ? "panes" : "difference" }),
      "+": () => stage.zoomBy(1), "=": () => stage.zoomBy(1), "-": () => stage.zoomBy(-1), 0: () => stage.zoomTo(0),
      l: () => this.toggleLens(), f: () => this.fullScreen(), "?": () => this.toggleHelp(),
    }[key.toLowerCase()];
  }

  splitTo(split) {
    if (this.state.view !== "split") this.set({ view: "split" });
    this.stage.moveSplit(split);
  }

  play() {
    if (this.playing) return this.pause();
    if (this.limit() < 1) return undefined;
    if (this.state.i >= this.limit()) this.go(1);
    const slow = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.playing = setInterval(() => {
      if (this.state.i >= this.limit()) this.pause();
      else this.go(this.state.i + 1);
    }, slow ? PLAY_SLOWLY_MS : PLAY_MS);
    return this.showPlaying();
  }

  pause() {
    clearInterval(this.playing);
    this.playing = null;
    this.showPlaying();
  }

  showPlaying() {
    const label = this.playing ? "pause (Space)" : "play (Space)";
    this.playButton.replaceChildren(icon(this.playing ? "pause" : "play"));
    this.playButton.title = label;
    this.playButton.setAttribute("aria-label", label);
  }

  toggleLens() {
    this.stage.lens = !this.stage.lens;
    this.lensButton.setAttribute("aria-pressed", String(this.stage.lens));
    this.stage.showPoint();
  }

  toggleHelp() {
    this.help.hidden = !this.help.hidden;
    this.helpButton.setAttribute("aria-expanded", String(!this.help.hidden));
  }

  fullScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.el.requestFullscreen?.();
  }

  resize() {
    const width = this.el.clientWidth;
    this.el.dataset.size = width < 560 ? "narrow" : width < 1360 ? "middle" : "wide";
    this.stage.place();
    this.shrinking.replot();
    this.quality.replot();
    if (this.setup.iterations) this.markCurves(this.row("ours"), this.row(`${this.state.match}-${this.state.rival}`));
    this.moved();
  }

  // After zoom, pan, or another place under the pointer.
  moved() {
    const scale = this.stage.scale();
    say(this.zoomLabel, this.stage.zoom ? `${100 * scale} %` : `Fit ${Math.round(100 * scale)} %`);
    this.probe();
  }

  // ---- probe

  probe() {
    const { point } = this.stage;
    const i = this.state.i, rgb = (name) => {
      const image = name && this.album.get(name) && this.album.pixels(name);
      if (!image || !point) return null;
      const k = 4 * (point.y * image.width + point.x);
      return [image.data[k], image.data[k + 1], image.data[k + 2]];
    };
    if (!point) {
      say(this.probeNode, "Point at a pixel to read it.");
      return;
    }
    const [original, ours, theirs] = [rgb("I"), rgb(this.nameOf("P")), rgb(this.nameOf("X"))];
    const part = (label, value, text) => value && h("span", { class: "rgru-value" }, h("i", { class: "rgru-swatch", style: `background: rgb(${value.join(" ")})` }), `${label} ${text ?? value.join(" ")}`);
    const parts = [h("span", { class: "rgru-value" }, `x ${point.x} y ${point.y}`), part("I", original), part(`P[${i}]`, ours)];
    if (original && ours) parts.push(h("span", { class: "rgru-value" }, `R[${i}] ${original.map((value, k) => signed(value - ours[k])).join(" ")}`));
    parts.push(part(this.rival.label, theirs));
    this.probeNode.replaceChildren(...parts.filter(Boolean));
  }

  // ---- files

  savePicture() {
    const { data } = this.album, name = this.nameOf("P"), image = data.get(name);
    const canvas = h("canvas", { width: image.width, height: image.height });
    canvas.getContext("2d").putImageData(image, 0, 0);
    canvas.toBlob((blob) => download(`P${this.state.i}.png`, blob));
  }

  saveFile() {
    const file = this.model.get("file");
    const part = new Uint8Array(file.buffer, file.byteOffset, this.row("ours").size_bytes);
    download(`photo-${this.state.i}.rgru`, new Blob([part]));
  }

  saveRival() {
    const name = this.nameOf("X");
    download(`${name}.${name.startsWith("jpeg") ? "jpg" : name.split("-")[0]}`, new Blob([this.album.files.get(name)]));
  }
}

export default {
  render({ model, el }) {
    const scrubber = new Scrubber(model, el);
    return () => scrubber.close();
  },
};
