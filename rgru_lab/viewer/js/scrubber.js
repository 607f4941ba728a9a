// The scrubber itself: controls, keys, and what is shown when.
//
// Python's other traits (see facts.js): original (I, a lossless file), frame_i (P[1], then what changed since P[i-1],
// see pictures.js), bytes_i and level_i ({ "jpeg-12": file, ... }: opponents that match P[i] in size or quality, each
// sent once), file (the .rgru file: its first size_bytes are the file of an iteration), colours (255 of them, from P
// too bright to P too dark) and progress ({ share, text, failed }).
//
// Left on the element for tests and benchmarks: data-ready, data-iteration, and after every drawing the event
// "rgru-drawn" with { iteration, ms }: from the start of the input's handler to the last draw call.

const PLAY_MS = 450;
const PLAY_SLOWLY_MS = 1500; // for those who asked their system for less motion
const MOST_ITERATIONS = 16;
const RESTING = 4; // where the slider goes by itself: it looks well by then, and something is still missing
const TICK_PX = 20; // room for a number under the slider

const VIEWS = [
  ["panes", "Side by side", "original, ours, residual and opponent side by side"],
  ["split", "Split", "two pictures under one handle (keys 1 2 3)"],
  ["difference", "Difference", "one picture minus another (key D)"],
];
const KINDS = [
  ["signed", "± colours", "signed: orange where P is too dark, purple where it is too bright"],
  ["grey", "grey", "magnitude: the brighter, the more is missing"],
];
const GAINS = [1, 2, 4, 8].map((gain) => [gain, `×${gain}`, gain > 1 ? `${gain} times as strong` : "fixed scale"]);

const FINGERS = [
  ["Fingers", "tap a pixel to pin and read it; two zoom; one moves what is zoomed; a double tap zooms in, or fits"],
];
const WORDS = [
  ["I, P[i], R[i]", "the original; what the decoder shows after i iterations; what is still missing, I − P[i]"],
  ["saved vs raw", "how much smaller the file is than 24 bits per pixel"],
  ["largest", "points at the pixel where most is missing"],
  [".rgru", "our file, cut after this iteration: its beginning is a file too"],
];
const KEYS = [
  ["← → or , .", "one iteration back or on"],
  ["Home, End", "the first, the last iteration"],
  ["Space", "play, pause"],
  ["1 2 3", "split view with the handle left, in the middle, right"],
  ["D", "difference, and back"],
  ["+ − 0", "zoom in, out, fit"],
  ["Arrows in the pictures", "point at a pixel and read it; with Shift in steps of ten"],
  ["M", "point at the largest residual"],
  ["Shift + arrows", "elsewhere: move the zoomed picture"],
  ["L", "lens: look closely at the same place in all pictures"],
  ["F", "full screen"],
  ["Mouse", "point to read a pixel, click to pin it (Esc frees); Ctrl + wheel zooms; drag; double-click: in, or fit"],
];

const BEGINNING = {
  i: 0, goal: RESTING, isTouched: false, // what is shown is the goal, or as near to it as there are pictures
  view: "panes", match: "bytes", rival: null, kind: "signed", gain: 1,
  left: "P", right: "X", from: "I", minus: "P",
};

class Scrubber {
  constructor(model, el) {
    Object.assign(this, { model, el, state: { ...BEGINNING }, tables: new Map() });
    this.facts = new Facts(model);
    const failed = (name, error) => {
      if (!this.album.isKept(name)) return; // an opponent's file that this browser cannot read: its place stays empty
      this.trouble ??= `The browser cannot show a picture: ${error.message}`; // what follows from it says less
      this.report();
      say(this.live, this.trouble);
    };
    this.album = new Album((kind, gain) => this.table(kind, gain), (name) => this.arrived(name), failed);
    this.question = new Question(this.facts, (answer) => this.reply(answer));
    this.board = new Board(this.facts, () => this.question.point(), (i) => this.pick(i), this.buildSaving());
    this.live = h("div", { class: "rgru-live", "aria-live": "polite" });
    this.probeLine = h("div", { class: "rgru-probe" });
    const stage = this.buildStage();
    const top = [this.buildToolbar(), this.help, this.buildSlider(), this.question.node, this.buildOptions()];
    el.classList.add("rgru");
    el.append(...top, stage, this.probeLine, this.board.node, this.live);
    this.watch();
    this.begin();
  }

  // ------------------------------------------------------------------------------------------ What there is

  buildStage() {
    const roles = ["I", "P", "R", "X"], names = [...roles, "left", "right", "minus"];
    this.layers = Object.fromEntries(names.map((name) => [name, new Layer()]));
    const ports = Object.fromEntries(roles.map((role) => [role, new Port([this.layers[role]])]));
    ports.split = new Port([this.layers.left, this.layers.right]);
    ports.difference = new Port([this.layers.minus]);
    this.captions = {};
    const asked = { role: "application", "aria-label": "pictures; arrow keys point at a pixel and read it" };
    const node = keepKeys(h("div", { class: "rgru-stage", tabindex: "0", ...asked }));
    for (const [name, port] of Object.entries(ports)) {
      const title = h("span", { class: "rgru-title" }), text = h("span", { class: "rgru-text" });
      this.captions[name] = { title, text };
      const caption = h("figcaption", { class: "rgru-caption" }, title, text);
      node.append(h("figure", { class: `rgru-pane rgru-pane-${name}` }, caption, port.node));
    }
    this.stage = new Stage(node, Object.values(ports), ports.split, () => this.moved());
    node.addEventListener("pointerup", ({ pointerType }) => pointerType === "touch" && this.speakPixel());
    return node;
  }

  buildToolbar() {
    const act = (change) => (value) => this.set({ [change]: value });
    this.views = segments("view", VIEWS, act("view"));
    this.rivals = segments("opponent", [], act("rival"));
    this.matches = segments("match", [["bytes", "same bytes"], ["level", "same MS-SSIM"]], act("match"));
    this.against = group(this.rivals.node);
    const zoomOrFit = () => (this.stage.zoom ? this.stage.zoomTo(0) : this.stage.zoomBy(1));
    this.zoomLabel = button("back to fit (0), or zoom in", zoomOrFit, {}, "Fit");
    this.zoomLabel.classList.add("rgru-zoom-label");
    this.lensButton = button("lens (L)", () => this.toggleLens(), { "aria-pressed": "false" }, icon("lens"));
    const full = button("full screen (F)", () => this.fullScreen(), {}, icon("full"));
    full.hidden = !document.fullscreenEnabled;
    const asked = { "aria-expanded": "false", "aria-label": "keys and hints" };
    this.helpButton = button("keys and hints (?)", () => this.toggleHelp(), asked, "?");
    this.help = h("dl", { class: "rgru-help", hidden: true });
    const rows = hasFingers() ? [FINGERS, WORDS, KEYS] : [KEYS, WORDS, FINGERS];
    for (const [keys, what] of rows.flat()) this.help.append(h("dt", {}, keys), h("dd", {}, what));
    const zoom = h("div", { class: "rgru-segments", role: "group", "aria-label": "zoom" });
    zoom.append(button("zoom out (−)", () => this.stage.zoomBy(-1), { "aria-label": "zoom out" }, "−"));
    zoom.append(this.zoomLabel);
    zoom.append(button("zoom in (+)", () => this.stage.zoomBy(1), { "aria-label": "zoom in" }, "+"));
    const right = h("div", { class: "rgru-group rgru-right" }, zoom, this.lensButton, full, this.helpButton);
    const rival = group(word("against"), this.against, this.matches.node);
    return h("div", { class: "rgru-toolbar" }, this.views.node, rival, right);
  }

  buildSlider() {
    this.playButton = button("play (Space)", () => this.play(), { class: "rgru-button rgru-play" }, icon("play"));
    const range = { type: "range", min: "1", max: "1", value: "1", step: "1", disabled: true };
    this.slider = keepKeys(h("input", { class: "rgru-slider", "aria-label": "iteration", ...range }));
    this.slider.addEventListener("input", () => this.go(Number(this.slider.value)));
    const onTick = (event) => this.pick(this.tickAt(event.clientX));
    this.ticks = h("div", { class: "rgru-ticks", "aria-hidden": "true", onclick: onTick });
    this.counter = h("div", { class: "rgru-counter" });
    this.progress = h("progress", { class: "rgru-progress", max: "1", value: "0", "aria-label": "progress" });
    this.status = h("span", { class: "rgru-status" });
    this.statusRow = h("div", { class: "rgru-statusrow" }, this.progress, this.status);
    this.wish = h("i", { class: "rgru-wish", hidden: true });
    const track = h("div", { class: "rgru-track" }, this.slider, this.wish, this.ticks);
    const [back, on] = [[-1, "‹", "back"], [1, "›", "on"]].map(([step, text, where]) => {
      const label = `one iteration ${where}`, asked = { class: "rgru-button rgru-step", "aria-label": label };
      return button(label, () => this.go(this.state.i + step), asked, text);
    });
    const scrub = h("div", { class: "rgru-scrub" }, this.playButton, back, track, on, this.counter);
    return h("div", {}, scrub, this.statusRow);
  }

  // What belongs to some views only: which pictures, and how a residual is coloured.
  buildOptions() {
    const act = (change) => (value) => this.set({ [change]: value });
    const labels = { left: "left picture", right: "right picture", from: "picture", minus: "minus picture" };
    const make = ([name, label]) => [name, chooser(label, act(name))];
    this.pickers = Object.fromEntries(Object.entries(labels).map(make));
    const { left, right, from, minus } = this.pickers;
    this.splitOptions = group(word("left"), left.node, word("right"), right.node);
    this.minusOptions = group(from.node, word("minus"), minus.node);
    this.kinds = segments("colours of the residual", KINDS, act("kind"));
    this.gains = segments("gain of the residual", GAINS, act("gain"));
    this.gains.node.classList.add("rgru-gain");
    this.coloured = word("residual");
    this.coloured.classList.add("rgru-needed");
    this.legend = { low: h("span"), bar: h("i", { class: "rgru-legend-bar" }), high: h("span") };
    const legend = h("span", { class: "rgru-legend" }, this.legend.low, this.legend.bar, this.legend.high);
    const largest = button("point at the largest residual (M)", () => this.pointAtLargest(), {}, "largest");
    this.residualOptions = group(this.coloured, this.kinds.node, this.gains.node, largest, legend);
    return h("div", { class: "rgru-options" }, this.splitOptions, this.minusOptions, this.residualOptions);
  }

  buildSaving() {
    const make = (label, act, text) => button(label, act, {}, icon("save"), h("span", {}, text));
    this.saves = [
      make("P[i] as a PNG file", () => this.savePicture(), "P[i].png"),
      make("our file, cut after this iteration", () => this.saveFile(), ".rgru"),
      make("the opponent's file", () => this.saveRival(), "JPEG"),
    ];
    return h("div", { class: "rgru-saving" }, word("save"), ...this.saves);
  }

  watch() {
    const { model, el } = this;
    const on = (name, act) => this.listeners.push([`change:${name}`, act]);
    this.listeners = [];
    on("original", () => this.change());
    on("setup", () => this.change());
    on("readings", () => this.read());
    on("progress", () => this.report());
    on("guess", () => this.read());
    on("answer", () => this.read());
    for (let i = 1; i <= MOST_ITERATIONS; i++) {
      on(`frame_${i}`, () => this.frame(i));
      for (const match of ["bytes", "level"]) on(`${match}_${i}`, () => this.files(match, i));
    }
    for (const [event, listener] of this.listeners) model.on(event, listener);
    el.addEventListener("keydown", (event) => this.key(event));
    this.resized = new ResizeObserver(() => this.resize());
    this.resized.observe(el);
    this.theme = () => { el.dataset.theme = isDark(el.parentElement) ? "dark" : "light"; };
    this.themes = new MutationObserver(() => { this.theme(); setTimeout(this.theme, 400); });
    for (const node of [document.documentElement, document.body]) this.themes.observe(node, { attributes: true });
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.scheme.addEventListener("change", this.theme);
    this.theme();
    setTimeout(this.theme, 0); // the notebook puts the element into its place only now
  }

  close() {
    for (const [event, listener] of this.listeners) this.model.off(event, listener);
    this.resized.disconnect();
    this.themes.disconnect();
    this.scheme.removeEventListener("change", this.theme);
    this.pause();
    this.album.reset();
  }

  // ------------------------------------------------------------------------------------------ What Python says

  // Another photo, or the same once more with other weights; or else what is known of it.
  change() {
    const { run } = this.facts.setup, original = this.model.get("original");
    if (run === this.run && original === this.original) this.shape();
    else this.begin();
  }

  begin() {
    const { run, width, height } = this.facts.setup, original = this.model.get("original");
    Object.assign(this, { run, original, trouble: null });
    this.pause();
    this.album.reset();
    Object.assign(this.state, { i: 0, goal: RESTING, isTouched: false });
    this.el.dataset.ready = "false";
    if (width) this.stage.size(width, height);
    this.shape();
    if (original?.byteLength) this.album.take("I", original);
    for (let i = 1; i <= MOST_ITERATIONS; i++) {
      this.frame(i);
      for (const match of ["bytes", "level"]) this.files(match, i);
    }
    this.report();
  }

  // The slider's length, the opponents to choose from, the pictures' shape.
  shape() {
    const { setup } = this.facts;
    if (!setup.iterations) return;
    if (this.facts.place(this.state.rival) < 0) this.state.rival = setup.against[0].key;
    const options = setup.against.map(({ key, label }) => [key, label]);
    this.rivals = segments("opponent", options, (rival) => this.set({ rival }));
    this.against.replaceChildren(this.rivals.node);
    this.slider.max = setup.iterations;
    const numbers = Array.from({ length: setup.iterations }, (_, k) => h("span", {}, h("b", {}, String(k + 1))));
    this.ticks.replaceChildren(...numbers);
    this.thin();
    this.read();
  }

  // As many numbers under the slider as have room: the first, the last, and every second, fourth or eighth.
  thin() {
    const ticks = [...this.ticks.children], { length } = ticks;
    const apart = ticks.length > 1 ? ticks.at(-1).offsetLeft - ticks[0].offsetLeft : 0;
    const every = [1, 2, 4].find((each) => (each * apart) / (length - 1) >= TICK_PX) ?? 8;
    ticks.forEach((tick, k) => {
      const i = k + 1, isFree = i % every === 0 && 2 * Math.min(i - 1, length - i) > every;
      tick.firstChild.hidden = !(k === 0 || i === length || isFree);
    });
  }

  frame(i) {
    const file = this.model.get(`frame_${i}`);
    if (file?.byteLength) this.album.take(`P${i}`, file, i > 1 ? `P${i - 1}` : null);
  }

  files(match, i) {
    const files = this.model.get(`${match}_${i}`) ?? {};
    if (!Object.keys(files).length) return;
    this.album.keep(files);
    this.paint();
    this.prepare();
  }

  arrived(name) {
    this.paint();
    this.prepare();
  }

  read() {
    if (!this.facts.setup.iterations) return;
    this.question.show();
    this.refresh();
    this.prepare();
  }

  report() {
    const { share, text, failed } = this.model.get("progress"), isDone = share >= 1;
    const said = failed ? text : this.trouble ?? text;
    this.progress.value = share;
    this.progress.hidden = isDone;
    this.statusRow.hidden = isDone && !said;
    this.status.classList.toggle("rgru-failed", Boolean(failed || this.trouble));
    say(this.status, said);
    if (isDone && this.isFilling) {
      say(this.live, said || "All pictures and readings are here."); // the steps before are for eyes alone
      this.read();
    }
    this.isFilling = !isDone;
    this.prepare();
  }

  // Residuals and opponents are made before they are asked for, whenever the browser has nothing else to do.
  prepare() {
    if (this.preparing) return;
    this.preparing = true;
    idle(() => {
      this.preparing = false;
      const next = this.missing();
      if (next && this.album.get(next)) this.prepare(); // a file that is being decoded calls again when it arrives
      const isDone = !next && !this.album.waiting && this.model.get("progress").share >= 1;
      if (isDone) this.el.dataset.ready = "true";
    });
  }

  missing() {
    const { album, state } = this;
    if (album.isFull) return null;
    for (let i = 1; i <= (this.facts.setup.iterations ?? 0); i++) {
      if (album.data.has(`P${i}`) && !album.pictures.has(this.residual(i))) return this.residual(i);
      const file = this.facts.row(`${state.match}-${state.rival}`, i)?.file;
      if (file && album.canOpen(file)) return file;
    }
    return null;
  }

  // ------------------------------------------------------------------------------------------ What is shown

  set(change) {
    Object.assign(this.state, change);
    if (change.view) this.stage.centre();
    this.refresh();
    this.prepare();
  }

  // How far the slider goes: what is computed, and not locked by a question.
  limit() {
    let there = 0;
    while (this.album.data.has(`P${there + 1}`)) there++;
    return Math.min(there, this.facts.open);
  }

  go(i) {
    const start = performance.now(), last = Math.min(this.facts.open, this.facts.setup.iterations);
    if (i > this.facts.open) {
      this.question.nudge();
      say(this.live, this.question.hint.textContent);
    }
    Object.assign(this.state, { goal: clamp(i, 1, Math.max(1, last)), isTouched: true });
    this.paint(start);
  }

  // The same by a click beside the slider, which has the keys from then on.
  pick(i) {
    this.go(i);
    this.slider.focus({ preventScroll: true });
  }

  // Whether the hand asked for an iteration that is still to come.
  isWaiting() {
    const { goal, isTouched } = this.state, last = Math.min(this.facts.open, this.facts.setup.iterations);
    const isComing = !this.trouble && !this.model.get("progress").failed;
    return isComing && isTouched && this.limit() < Math.min(goal, last);
  }

  // The iteration whose number is nearest to a place on the screen.
  tickAt(clientX) {
    const [first, last] = [this.ticks.firstChild, this.ticks.lastChild].map((tick) => tick.getBoundingClientRect().x);
    return 1 + Math.round(((clientX - first) / (last - first || 1)) * (this.ticks.children.length - 1));
  }

  residual(i) {
    return `I|P${i}|${this.state.kind}|${this.state.gain}`;
  }

  rivalRow() {
    return this.facts.row(`${this.state.match}-${this.state.rival}`, this.state.i);
  }

  // The album's name of a picture by its role: I, P[i], Q = P[i-1], R[i], or X, the opponent.
  nameOf(role) {
    const { i } = this.state;
    if (role === "I") return "I";
    if (role === "X") return this.rivalRow()?.file ?? null;
    if (role === "Q") return i > 1 ? `P${i - 1}` : null;
    if (i < 1) return null;
    return role === "P" ? `P${i}` : this.residual(i);
  }

  // What is to be seen now: [layer, name].
  pictures() {
    const { view, left, right, from, minus, kind, gain } = this.state;
    if (view === "panes") return ["I", "P", "R", "X"].map((role) => [role, this.nameOf(role)]);
    if (view === "split") return [["left", this.nameOf(left)], ["right", this.nameOf(right)]];
    const [a, b] = [this.nameOf(from), this.nameOf(minus)];
    return [["minus", a && b && `${a}|${b}|${kind}|${gain}`]];
  }

  // Draws at once, but once per frame at most; the words come after the pictures.
  paint(start = performance.now()) {
    if (this.painted) {
      this.paintAgain = true;
      return;
    }
    this.painted = true;
    requestAnimationFrame(() => {
      this.painted = false;
      if (!this.paintAgain) return;
      this.paintAgain = false;
      this.paint();
    });
    const limit = this.limit();
    this.state.i = Math.min(this.state.goal, limit);
    for (const [layer, name] of this.pictures()) this.layers[layer].draw(name, this.album.get(name));
    const ms = performance.now() - start, iteration = this.state.i;
    if (this.facts.setup.iterations) this.describe(limit);
    this.el.dataset.iteration = iteration;
    this.el.dispatchEvent(new CustomEvent("rgru-drawn", { detail: { iteration, ms } }));
  }

  // Everything that does not depend on the iteration alone.
  refresh() {
    const { state, facts } = this, label = facts.label(state.rival);
    this.el.dataset.view = state.view;
    this.el.dataset.rival = facts.place(state.rival);
    this.views.show(state.view);
    this.rivals.show(state.rival);
    this.matches.show(state.match);
    this.kinds.show(state.kind);
    this.gains.show(state.gain);
    const { lastChild } = this.matches.node;
    say(lastChild, (lastChild.title = lastChild.dataset.text = `same ${facts.level.name}`));
    const pictures = [["I", "I, original"], ["P", "P[i], ours"], ["Q", "P[i-1], one before"], ["X", label]];
    const withResidual = [...pictures, ["R", "R[i], residual"]];
    for (const name of ["left", "right"]) this.pickers[name].show(withResidual, state[name]);
    for (const name of ["from", "minus"]) this.pickers[name].show(pictures, state[name]);
    this.splitOptions.hidden = state.view !== "split";
    this.minusOptions.hidden = state.view !== "difference";
    this.residualOptions.hidden = state.view === "split" && ![state.left, state.right].includes("R");
    this.board.plot();
    this.stage.place();
    this.moved();
    this.paint();
  }

  showLegend() {
    const { kind, gain } = this.state, { scale } = this.facts.setup, stops = [];
    const table = this.table(kind, 1), isSigned = kind === "signed";
    const [first, last] = isSigned ? [765 - 3 * scale, 765 + 3 * scale] : [0, 3 * scale];
    for (let k = 0; k <= 24 && this.legend.kind !== kind; k++) {
      const colour = table[Math.round(first + ((last - first) * k) / 24)];
      stops.push(`rgb(${colour & 255} ${(colour >> 8) & 255} ${(colour >> 16) & 255})`);
    }
    if (stops.length) this.legend.bar.style.background = `linear-gradient(90deg, ${stops.join(",")})`;
    this.legend.kind = kind;
    const isResidual = this.state.view !== "difference", levels = scale / gain;
    say(this.coloured, isResidual ? "residual" : "difference");
    const low = isResidual ? "P too bright" : `${this.title(this.state.minus)} brighter`;
    const high = isResidual ? "P too dark" : `${this.title(this.state.from)} brighter`;
    say(this.legend.low, isSigned ? `${low} −${levels}` : "0");
    say(this.legend.high, isSigned ? `+${levels} ${high}` : `${levels} levels`);
  }

  table(kind, gain) {
    const key = `${kind}|${gain}`, { scale } = this.facts.setup;
    if (!this.tables.has(key)) {
      const isSigned = kind === "signed";
      this.tables.set(key, isSigned ? colourTable(this.model.get("colours"), scale, gain) : greyTable(scale, gain));
    }
    return this.tables.get(key);
  }

  // ------------------------------------------------------------------------------------------ In words

  title(role) {
    const { i, rival } = this.state;
    return {
      I: "I", P: i ? `P[${i}]` : "P[i]", Q: i > 1 ? `P[${i - 1}]` : "P[i-1]", R: i ? `R[${i}]` : "R[i]",
      X: this.facts.label(rival),
    }[role];
  }

  describe(limit) {
    const { i, match, rival } = this.state, { iterations } = this.facts.setup;
    this.slider.disabled = limit < 1;
    this.slider.value = Math.max(1, i);
    const share = (place) => (iterations > 1 ? Math.max(0, place - 1) / (iterations - 1) : 1);
    this.slider.style.setProperty("--at", share(i));
    this.slider.style.setProperty("--there", share(limit));
    this.wish.hidden = !this.isWaiting();
    this.wish.style.setProperty("--at", share(this.state.goal));
    const brief = this.facts.brief(this.facts.row("ours", i));
    this.slider.setAttribute("aria-valuetext", i ? `iteration ${i} of ${iterations}: ${brief}` : "nothing yet");
    [...this.ticks.children].forEach((tick, k) => {
      tick.className = k + 1 === i ? "rgru-now" : k < limit ? "" : "rgru-not-yet";
    });
    this.counter.dataset.widest = `iteration ${iterations} of ${iterations}`;
    say(this.counter, i ? `iteration ${i} of ${iterations}` : "iteration –");
    this.showLegend();
    this.caption();
    this.board.show(i, match, rival);
    const file = this.model.get("file");
    this.saves[0].disabled = !i;
    this.saves[1].disabled = !i || !file?.byteLength;
    this.saves[2].disabled = !this.album.files.has(this.rivalRow()?.file);
    say(this.saves[0].lastChild, `${this.title("P")}.png`);
    say(this.saves[2].lastChild, this.title("X"));
    this.probe();
    this.announce();
  }

  caption() {
    const { i, view, match, left, right, from, minus } = this.state, { facts } = this;
    const ours = facts.row("ours", i), theirs = this.rivalRow(), isNarrow = this.el.dataset.size === "narrow";
    const put = (name, title, text) => {
      say(this.captions[name].title, title);
      say(this.captions[name].text, text);
    };
    const brief = (row) => {
      if (!row || !isNarrow) return facts.brief(row);
      const level = facts.levelOf(row);
      const { name, show } = facts.level;
      return `${count(row.size_bytes)} B${level === undefined ? "" : ` · ${name} ${show(level)}`}`;
    };
    const matched = match === "bytes" ? "same bytes" : `same ${facts.level.name}`;
    const misfit = match === "bytes" ? "its smallest file" : "its best";
    put("I", "I, original", `${facts.setup.width} × ${facts.setup.height} px`);
    put("P", `${this.title("P")}, ours`, brief(ours));
    const missing = ours ? `mean |R| ${ours.mean_abs_residual.toFixed(1)} levels` : "…";
    put("R", `${this.title("R")} = I − ${this.title("P")}`, missing);
    put("X", `${this.title("X")}, ${theirs && !theirs.fits ? misfit : matched}`, brief(theirs));
    const size = (role) => {
      const row = isNarrow ? null : { P: ours, Q: facts.row("ours", i - 1), X: theirs }[role];
      return row ? ` · ${bytes(row.size_bytes)}` : "";
    };
    const quality = (role) => (role === "X" && theirs ? `, quality ${theirs.quality}` : "");
    const full = (role) => `${this.title(role)}${quality(role)}${size(role)}`;
    if (view === "split") {
      const hint = hasFingers() ? "drag the handle" : "drag the handle, or press 1 2 3";
      put("split", `${this.title(left)} beside ${this.title(right)}`, hint);
      this.stage.nameSides(full(left), full(right));
    } else if (view === "difference") {
      const mean = this.album.means.get(this.pictures()[0][1]);
      const text = mean === undefined ? "…" : `mean |difference| ${mean.toFixed(1)} levels`;
      put("difference", `${this.title(from)} − ${this.title(minus)}`, text);
    }
    const labels = { left: full(left), right: full(right), minus: `${this.title(from)} − ${this.title(minus)}` };
    for (const [name, { canvas }] of Object.entries(this.layers)) {
      canvas.setAttribute("aria-label", labels[name] ?? this.captions[name].title.textContent);
    }
  }

  announce() {
    clearTimeout(this.announcing);
    if (!this.state.isTouched) return;
    this.speak(() => {
      const { i, goal } = this.state, wish = this.isWaiting() ? `Iteration ${goal} follows when it is there. ` : "";
      const brief = this.facts.brief(this.facts.row("ours", i));
      return `${wish}Iteration ${i}: ${brief}. ${this.board.verdict.textContent}`;
    });
  }

  // Once the hand rests.
  speak(text) {
    clearTimeout(this.announcing);
    this.announcing = setTimeout(() => say(this.live, text()), 700);
  }

  speakPixel() {
    const values = () => [...this.probeLine.querySelectorAll(".rgru-value")].map((value) => value.textContent);
    if (this.stage.point) this.speak(() => values().join(", "));
  }

  movePoint(dx, dy) {
    this.stage.movePoint(dx, dy);
    this.speakPixel();
  }

  pointAtLargest() {
    const { view, from, minus } = this.state, roles = view === "difference" ? [from, minus] : ["I", "P"];
    const [a, b] = roles.map((role) => this.nameOf(role) && this.album.get(this.nameOf(role)) && this.nameOf(role));
    if (!a || !b) return;
    this.stage.reveal(farthest(this.album.pixels(a), this.album.pixels(b)));
    this.speakPixel();
  }

  // What the pixel under the pointer is, in every picture.
  probe() {
    const { point } = this.stage, { i } = this.state;
    const rgb = (role) => {
      const name = this.nameOf(role), image = name && this.album.get(name) && this.album.pixels(name);
      const at = image && 4 * (point.y * image.width + point.x);
      return image && Array.from(image.data.subarray(at, at + 3));
    };
    if (!point) {
      const point = hasFingers() ? "Tap" : "Point at";
      say(this.probeLine, `${point} a pixel to read its red, green and blue; ${this.hint()}.`);
      return;
    }
    const [original, ours, theirs] = [rgb("I"), rgb("P"), rgb("X")];
    const value = (...parts) => h("span", { class: "rgru-value" }, ...parts);
    const swatch = (levels) => h("i", { class: "rgru-swatch", style: `background: rgb(${levels.join(" ")})` });
    const missing = original && ours && original.map((level, k) => signed(level - ours[k])).join(" ");
    const shown = [value(`x ${point.x}, y ${point.y}; red green blue:`)];
    if (original) shown.push(value(swatch(original), `I ${original.join(" ")}`));
    if (ours) shown.push(value(swatch(ours), `P[${i}] ${ours.join(" ")}`));
    if (missing) shown.push(value(`R[${i}] ${missing}`));
    if (theirs) shown.push(value(swatch(theirs), `${this.title("X")} ${theirs.join(" ")}`));
    this.probeLine.replaceChildren(...shown, h("span", {}, this.hint()));
  }

  // What a hand can do with the pictures now.
  hint() {
    const { pin } = this.stage, command = /Mac/.test(navigator.platform) ? "⌘" : "Ctrl";
    if (hasFingers()) return `${pin ? "pinned: tap it again to free it" : "a tap pins it"}; two fingers zoom`;
    const wheel = this.stage.isInHand() ? "the wheel zooms" : `${command} + wheel zooms`;
    return `${pin ? "pinned: Esc or a click on it frees it" : "a click pins it"}; ${wheel}`;
  }

  // After zoom, pan, or another place under the pointer.
  moved() {
    const scale = this.stage.scale(), percent = `${Math.round(100 * scale)} %`;
    say(this.zoomLabel, this.stage.zoom ? percent : `Fit ${percent}`);
    if (this.facts.setup.iterations) this.probe();
  }

  resize() {
    const width = this.el.clientWidth;
    this.el.dataset.size = width < 560 ? "narrow" : width < 1280 ? "middle" : "wide";
    this.thin();
    this.stage.arrange();
    this.stage.place();
    this.board.resize();
    this.moved();
    this.paint();
  }

  // ------------------------------------------------------------------------------------------ Hands

  key(event) {
    const { key, target } = event;
    if (key === "Escape" && !this.help.hidden) this.toggleHelp();
    else if (key === "Escape" && this.stage.pin) this.stage.free();
    if (event.ctrlKey || event.metaKey || event.altKey || key === "Escape" || key === "Tab") return;
    if (event.shiftKey && key === "Enter") return; // the notebook's own
    event.stopPropagation(); // or JupyterLab would take D, J, 0 and the arrows for its cells
    if (target === this.question.input || target.tagName === "SELECT") return;
    const act = this.actionFor(event);
    if (!act) return;
    event.preventDefault();
    act();
  }

  actionFor({ key, shiftKey, target }) {
    const { stage } = this, arrows = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    if (target === stage.handle) {
      const to = { ArrowLeft: stage.split - 0.02, ArrowRight: stage.split + 0.02, Home: 0, End: 1 }[key];
      if (to !== undefined) return () => this.splitTo(to);
    } else if (target === this.slider) {
      if (key in arrows || ["Home", "End", "PageUp", "PageDown"].includes(key)) return null; // native
    } else if (target === stage.node && key in arrows) {
      const [dx, dy] = arrows[key].map((step) => -step * (shiftKey ? 10 : 1));
      return () => this.movePoint(dx, dy);
    } else if (shiftKey && key in arrows) {
      return () => stage.panBy(60 * arrows[key][0], 60 * arrows[key][1]);
    } else {
      const to = { ArrowLeft: this.state.i - 1, ArrowRight: this.state.i + 1, Home: 1, End: MOST_ITERATIONS }[key];
      if (to !== undefined) return () => this.go(to);
    }
    if ((key === " " || key === "Enter") && target.tagName === "BUTTON") return null; // native
    return {
      " ": () => this.play(),
      1: () => this.splitTo(0), 2: () => this.splitTo(0.5), 3: () => this.splitTo(1),
      d: () => this.set({ view: this.state.view === "difference" ? "panes" : "difference" }),
      "+": () => stage.zoomBy(1), "=": () => stage.zoomBy(1), "-": () => stage.zoomBy(-1), 0: () => stage.zoomTo(0),
      ",": () => this.go(this.state.i - 1), ".": () => this.go(this.state.i + 1), m: () => this.pointAtLargest(),
      l: () => this.toggleLens(), f: () => this.fullScreen(), "?": () => this.toggleHelp(),
    }[key.toLowerCase()];
  }

  splitTo(split) {
    if (this.state.view !== "split") this.set({ view: "split" });
    this.stage.moveSplit(split);
  }

  play() {
    if (this.playing) {
      this.pause();
      return;
    }
    if (this.limit() < 1) return;
    if (this.state.i >= this.limit()) this.go(1);
    const slowly = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.playing = setInterval(() => {
      if (this.state.i >= this.limit()) this.pause();
      else this.go(this.state.i + 1);
    }, slowly ? PLAY_SLOWLY_MS : PLAY_MS);
    this.showPlaying();
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

  reply(answer) {
    this.model.set("answer", answer);
    try {
      this.model.save_changes();
    } catch { /* the kernel is gone; the answer counts here all the same */ }
    this.read();
    this.go(this.facts.guess.iteration);
    this.slider.focus();
    if (!answer.skipped) say(this.live, this.question.result.textContent);
  }

  // ------------------------------------------------------------------------------------------ Files

  savePicture() {
    const image = this.album.data.get(this.nameOf("P"));
    const canvas = h("canvas", { width: image.width, height: image.height });
    canvas.getContext("2d").putImageData(image, 0, 0);
    canvas.toBlob((blob) => download(`P${this.state.i}.png`, blob));
  }

  saveFile() {
    const { i } = this.state, file = this.model.get("file");
    const part = new Uint8Array(file.buffer, file.byteOffset, this.facts.row("ours", i).size_bytes);
    download(`photo-${i}.rgru`, new Blob([part]));
  }

  saveRival() {
    const { file } = this.rivalRow();
    const suffix = this.state.rival.startsWith("jpeg") ? "jpg" : this.state.rival;
    download(`${file}.${suffix}`, new Blob([this.album.files.get(file)]));
  }
}

export default {
  render({ model, el }) {
    const scrubber = new Scrubber(model, el);
    return () => scrubber.close();
  },
};
