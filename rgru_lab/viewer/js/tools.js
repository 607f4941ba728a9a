// Small things that everything else uses.

const SVG = new Set(["svg", "path", "line", "polyline", "circle", "text", "g"]);

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

function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const hasFingers = () => matchMedia("(pointer: coarse)").matches;
const word = (text) => h("span", { class: "rgru-word" }, text);
const group = (...nodes) => h("span", { class: "rgru-group" }, ...nodes);

// ---- numbers in words; a reading that is undefined is not there yet

const count = (n) => n.toLocaleString("en");
const bytes = (n) => `${count(n)} bytes`;
const decibels = (value) => (value === undefined ? "…" : value === null ? "∞" : value.toFixed(1));
const similarity = (value) => (value === undefined ? "…" : value === null ? "–" : value.toFixed(3));
const more = (value, digits) => {
  const options = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return `${value < 0 ? "−" : "+"}${Math.abs(value).toLocaleString("en", options)}`;
};
const signed = (value) => (value > 0 ? `+${value}` : value < 0 ? `−${-value}` : "0");

// ---- controls

const ICONS = {
  play: "M5 3.5v13l11-6.5z",
  pause: "M5 4h3.5v12H5zM11.5 4H15v12h-3.5z",
  lens: "M8.5 3a5.5 5.5 0 0 1 4.4 8.8l4 4-1.4 1.4-4-4A5.5 5.5 0 1 1 8.5 3zm0 2a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7z",
  full: "M3 3h5v2H5v3H3zM12 3h5v5h-2V5h-3zM3 12h2v3h3v2H3zM15 12h2v5h-5v-2h3z",
  save: "M9 3h2v7l2.5-2.5 1.4 1.4L10 13.8 5.1 8.9l1.4-1.4L9 10zM4 15h12v2H4z",
};

const icon = (name) => h("svg", { viewBox: "0 0 20 20", "aria-hidden": "true" }, h("path", { d: ICONS[name] }));

// JupyterLab takes arrows and letters from an element unless it says this itself.
function keepKeys(node) {
  node.dataset.lmSuppressShortcuts = "true";
  return node;
}

function button(label, act, properties = {}, ...children) {
  const onclick = (event) => {
    event.currentTarget.focus({ preventScroll: true }); // Safari does not, and the next key would be the notebook's
    act(event);
  };
  const common = { type: "button", class: "rgru-button", title: label, onclick };
  const node = h("button", { ...common, ...properties }, ...children);
  if (!node.textContent) node.setAttribute("aria-label", label);
  return keepKeys(node);
}

// One of a few, as buttons side by side. `options`: [value, text, title]...
function segments(label, options, choose) {
  const buttons = options.map(([value, text, title]) => {
    const node = button(title ?? text, () => choose(value), {}, text);
    Object.assign(node.dataset, { value, text });
    return node;
  });
  const node = h("div", { class: "rgru-segments", role: "group", "aria-label": label }, ...buttons);
  const show = (chosen) => {
    for (const each of buttons) each.setAttribute("aria-pressed", String(each.dataset.value === String(chosen)));
  };
  return { node, show };
}

// One of more than a few. `options`: [value, text]...
function chooser(label, choose) {
  const node = h("select", { class: "rgru-select", "aria-label": label, onchange: () => choose(node.value) });
  const show = (options, chosen) => {
    const texts = JSON.stringify(options);
    if (texts !== node.dataset.options) {
      node.replaceChildren(...options.map(([value, text]) => h("option", { value }, text)));
      node.dataset.options = texts;
    }
    node.value = chosen;
  };
  return { node: keepKeys(node), show };
}

// ---- the browser

function idle(work) {
  return window.requestIdleCallback ? requestIdleCallback(work, { timeout: 1000 }) : setTimeout(work, 20);
}

// Whether a node stands on a dark ground, whatever the host calls its theme.
function isDark(node) {
  for (; node; node = node.parentElement) {
    const colour = getComputedStyle(node).backgroundColor;
    const [r, g, b, alpha = 1] = (colour.match(/[\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
    const top = colour.startsWith("rgb") ? 255 : 1;
    if (alpha > 0.5) return 0.3 * r + 0.6 * g + 0.1 * b < top / 2;
  }
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

function download(name, blob) {
  const link = h("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
