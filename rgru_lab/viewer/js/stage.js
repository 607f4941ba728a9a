// Panes: all show the same place of their pictures at the same scale.

const ZOOMS = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32];
const LENS_PX = 148;
const CAPTION_PX = 48; // above a picture, with the stage's own edge
const CLICK_PX = 4; // a press that moves farther is a drag

const distance = (a, b) => Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);

// The largest whole-number scale up to this one; only what is too large for any is scaled down.
const whole = (most) => (most > 0.999 ? Math.floor(most + 0.001) : most);

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
  constructor(node, ports, splitPort, changed) {
    Object.assign(this, { node, ports, splitPort, changed });
    Object.assign(this, { zoom: 0, x: 0.5, y: 0.5, split: 0.5, lens: false });
    Object.assign(this, { point: null, pin: null, aim: null }); // read now, read until freed, last pointed at
    this.width = this.height = 1;
    this.pointers = new Map();
    this.buildHandle();
    for (const port of ports) this.listen(port);
    node.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
  }

  buildHandle() {
    const values = { "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": "50" };
    const handle = { class: "rgru-handle", role: "slider", tabindex: "0", "aria-label": "split", ...values };
    this.handle = keepKeys(h("div", handle, h("span", { class: "rgru-grip", "aria-hidden": "true" })));
    this.sides = ["", " rgru-name-right"].map((name) => h("span", { class: `rgru-name${name}` }));
    this.splitPort.node.append(...this.sides, this.handle);
    this.holder = null; // the finger or mouse that has the handle; another one is part of a pinch
    const hold = (event) => {
      const isDown = event.type === "pointerdown";
      if (isDown ? this.pointers.size : event.pointerId !== this.holder) return;
      event.stopPropagation();
      this.holder = isDown ? (this.holder ?? event.pointerId) : null;
      if (!isDown) return;
      this.handle.setPointerCapture(event.pointerId);
      this.hover(null); // the place would be left behind
    };
    for (const type of ["pointerdown", "pointerup", "pointercancel"]) this.handle.addEventListener(type, hold);
    this.handle.addEventListener("pointermove", (event) => {
      if (event.pointerId !== this.holder) return;
      event.stopPropagation();
      this.splitAt(event.clientX);
    });
  }

  nameSides(left, right) {
    say(this.sides[0], left);
    say(this.sides[1], right);
    this.sayWhere();
  }

  sayWhere() {
    const percent = Math.round(100 * this.split), [left, right] = this.sides.map((side) => side.textContent);
    this.handle.setAttribute("aria-valuenow", String(percent));
    this.handle.setAttribute("aria-valuetext", `${percent} % ${left}, then ${right}`);
  }

  size(width, height) {
    Object.assign(this, { width, height, zoom: 0, point: null, pin: null, aim: null });
    this.node.style.setProperty("--ratio", `${width} / ${height}`);
    this.arrange();
    this.place();
  }

  // Four in a row, unless two rows of two make the pictures clearly larger.
  arrange() {
    const width = this.node.clientWidth, height = Math.max(360, this.room());
    const scale = (columns) => Math.min(width / columns / this.width, (height * columns) / 4 / this.height);
    const columns = scale(2) > 1.5 * scale(4) ? 2 : 4;
    this.node.style.setProperty("--columns", columns);
    this.node.dataset.columns = columns;
    const ratio = window.devicePixelRatio || 1;
    const room = (most, across) => { // no more than the picture fills at its whole-number scale
      const scale = whole(Math.min(width / across / this.width, most / this.height) * ratio);
      return `${Math.round(scale < 1 ? most : (scale * this.height) / ratio)}px`;
    };
    this.node.style.setProperty("--height", room((height * columns) / 4, columns));
    this.node.style.setProperty("--tall", room(height, 1));
  }

  // Height for pictures. A notebook needs some of its window itself; else all that is left below the controls.
  room() {
    const widget = this.node.parentElement, isFull = document.fullscreenElement === widget;
    if (!isFull && !("alone" in widget.dataset)) return Math.min(900, 0.66 * window.innerHeight);
    const above = this.node.getBoundingClientRect().top - widget.getBoundingClientRect().top;
    return window.innerHeight - above - CAPTION_PX;
  }

  visible() {
    return this.ports.filter((port) => port.node.offsetParent !== null);
  }

  fit(port) {
    const ratio = window.devicePixelRatio || 1, box = port.node.getBoundingClientRect();
    const most = Math.min(box.width / this.width, box.height / this.height) * ratio;
    return whole(most);
  }

  scale(port = this.visible()[0]) {
    return this.zoom || (port ? this.fit(port) : 1);
  }

  place() {
    const ratio = window.devicePixelRatio || 1;
    const visible = this.visible();
    for (const port of visible) {
      const box = port.node.getBoundingClientRect();
      const scale = this.scale(port) / ratio; // CSS pixels per pixel of the picture
      const width = this.width * scale, height = this.height * scale;
      const middle = this.held(box);
      const put = (origin, room, size, share) => {
        const offset = this.zoom && size > room ? room / 2 - share * size : (room - size) / 2;
        return Math.round((origin + offset) * ratio) / ratio - origin;
      };
      const left = put(box.left, box.width, width, middle.x), top = put(box.top, box.height, height, middle.y);
      Object.assign(port, { left, top, scale });
      const transform = `translate(${left}px, ${top}px)`;
      Object.assign(port.sheet.style, { width: `${width}px`, height: `${height}px`, transform });
      port.sheet.classList.toggle("rgru-crisp", Number.isInteger(this.scale(port)));
      if (port === this.splitPort) {
        this.cut();
        this.cornerSides(box, width);
      }
    }
    this.node.classList.toggle("rgru-zoomed", this.zoom > 0);
    this.showPoint();
  }

  // The names stand in the corners of what is seen of the picture, and keep to their halves.
  cornerSides(box, width) {
    const { left, top } = this.splitPort, from = Math.max(0, left), to = Math.min(box.width, left + width);
    const places = { left: from, right: box.width - to, top: Math.max(0, top), half: (to - from) / 2 };
    for (const [name, px] of Object.entries(places)) this.splitPort.node.style.setProperty(`--name-${name}`, `${px}px`);
  }

  // The second picture is clipped where the handle stands; it never moves or shrinks.
  cut() {
    const port = this.splitPort;
    const inside = clamp((this.split * port.node.clientWidth - port.left) / (port.scale * this.width), 0, 1);
    port.layers[1].canvas.style.clipPath = `inset(0 0 0 ${100 * inside}%)`;
    port.node.style.setProperty("--split", `${100 * this.split}%`);
    this.sayWhere();
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

  // The place under the pointer stays where it is; without one, what was aimed at last comes to the middle.
  zoomTo(zoom, port = this.visible()[0], event = null) {
    if (!port || zoom === this.zoom) return;
    const box = port.node.getBoundingClientRect(), aim = event ? null : this.aim;
    if (event) this.aim = this.pixelAt(port, event);
    const middle = { clientX: box.left + box.width / 2, clientY: box.top + box.height / 2 };
    const { clientX, clientY } = event ?? middle, at = { x: clientX - box.left, y: clientY - box.top };
    const fx = (at.x - port.left) / (this.width * port.scale), fy = (at.y - port.top) / (this.height * port.scale);
    this.zoom = zoom;
    if (zoom) {
      const scale = zoom / (window.devicePixelRatio || 1);
      this.x = fx + (box.width / 2 - at.x) / (this.width * scale);
      this.y = fy + (box.height / 2 - at.y) / (this.height * scale);
      if (aim) this.centre();
    }
    this.place();
    this.changed();
  }

  // What was aimed at last comes to the middle, as far as the picture's edges let it.
  centre() {
    if (this.aim) Object.assign(this, { x: (this.aim.x + 0.5) / this.width, y: (this.aim.y + 0.5) / this.height });
  }

  panBy(dx, dy, port = this.visible()[0]) {
    if (!port || !this.zoom || !(dx || dy)) return;
    this.aim = null;
    const { x, y } = this.held(port.node.getBoundingClientRect());
    this.x = x - dx / (this.width * port.scale);
    this.y = y - dy / (this.height * port.scale);
    this.place();
  }

  // The middle such that the picture's edge stops at the port's edge; other views may come nearer to what is wanted.
  held(box) {
    const scale = this.zoom / (window.devicePixelRatio || 1);
    const x = Math.min(0.5, box.width / 2 / (this.width * scale));
    const y = Math.min(0.5, box.height / 2 / (this.height * scale));
    return { x: clamp(this.x, x, 1 - x), y: clamp(this.y, y, 1 - y) };
  }

  isInHand() {
    return this.node.contains(document.activeElement);
  }

  wheel(event) {
    const wanted = event.ctrlKey || event.metaKey || this.isInHand();
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
    for (const end of ["pointerup", "pointercancel"]) node.addEventListener(end, (event) => this.up(port, event));
    node.addEventListener("pointerleave", (event) => {
      if (event.pointerType !== "touch") this.hover(null); // a finger leaves whenever it is lifted
    });
    node.addEventListener("dblclick", (event) => (this.zoom ? this.zoomTo(0, port) : this.zoomBy(1, port, event)));
  }

  down(port, event) {
    if (event.button > 0 || this.holder !== null) return;
    this.node.focus({ preventScroll: true });
    try {
      port.node.setPointerCapture(event.pointerId);
    } catch { /* a pointer that is gone already */ }
    this.pointers.set(event.pointerId, event);
    this.pinched = null;
    this.pressed = this.pointers.size === 1 ? event : null; // a click, until it becomes a drag or a pinch
    this.move(port, event);
    this.aim = this.pixelAt(port, event);
  }

  move(port, event) {
    const before = this.pointers.get(event.pointerId);
    if (before) {
      this.pointers.set(event.pointerId, event);
      if (this.pointers.size === 2) return this.pinch(port);
      if (this.pressed && distance(this.pressed, event) > CLICK_PX) this.pressed = null;
      const lensByTouch = this.lens && event.pointerType !== "mouse";
      if (port === this.splitPort && !this.zoom && !lensByTouch) this.pressed ?? this.splitAt(event.clientX);
      else if (!lensByTouch) this.panBy(event.clientX - before.clientX, event.clientY - before.clientY, port);
    }
    this.hover(this.pixelAt(port, event));
  }

  // The pixel under a pointer, or null.
  pixelAt(port, { clientX, clientY }) {
    const box = port.node.getBoundingClientRect();
    const x = Math.floor((clientX - box.left - port.left) / port.scale);
    const y = Math.floor((clientY - box.top - port.top) / port.scale);
    return x >= 0 && y >= 0 && x < this.width && y < this.height ? { x, y } : null;
  }

  up(port, event) {
    this.pointers.delete(event.pointerId);
    this.pinched = null;
    const point = this.pressed && event.type === "pointerup" && this.pixelAt(port, event);
    this.pressed = null;
    if (point) this.click(point, port, event);
  }

  // Pins a pixel; or frees it, if it is the one that is pinned, as nearly as a hand can tell.
  click(point, port, { pointerType }) {
    const near = pointerType === "touch" ? 20 : CLICK_PX;
    const away = this.pin ? Math.hypot(point.x - this.pin.x, point.y - this.pin.y) * port.scale : Infinity;
    this.pin = away <= near ? null : point;
    this.pointAt(point);
  }

  free() {
    this.pin = null;
    this.pointAt(null);
  }

  pinch(port) {
    const [a, b] = [...this.pointers.values()];
    const apart = distance(a, b);
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
    const box = this.splitPort.node.getBoundingClientRect();
    this.moveSplit((clientX - box.left) / box.width);
  }

  moveSplit(split) {
    this.split = clamp(split, 0, 1);
    if (this.visible().includes(this.splitPort)) this.cut();
  }

  // ---- the place under the pointer, in every port

  hover(point) {
    if (!this.pin) this.pointAt(point);
  }

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

  // Without a pointer: the place moves by so many pixels, and the picture with it once it would be out of sight.
  movePoint(dx, dy) {
    const port = this.visible()[0];
    if (!port) return;
    const { x, y } = this.held(port.node.getBoundingClientRect());
    const middle = { x: Math.floor(x * this.width), y: Math.floor(y * this.height) };
    const from = this.point ?? this.aim;
    this.reveal(from ? { x: from.x + dx, y: from.y + dy } : middle);
  }

  reveal(point) {
    const port = this.visible()[0];
    const x = clamp(point.x, 0, this.width - 1), y = clamp(point.y, 0, this.height - 1);
    const far = (place, room, offset) => {
      const at = offset + (place + 0.5) * port.scale, margin = Math.min(16, room / 4);
      return at - clamp(at, margin, room - margin);
    };
    const { width, height } = port.node.getBoundingClientRect();
    this.panBy(-far(x, width, port.left), -far(y, height, port.top), port);
    this.aim = this.pin = { x, y };
    this.pointAt(this.pin);
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
      const inside = (this.split * port.node.clientWidth - x) / port.scale + half; // where the handle cuts the lens
      const cut = k === 0 ? 0 : clamp(inside, 0, 2 * half) * times;
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
