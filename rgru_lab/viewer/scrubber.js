// The scrubber's browser side. Pictures come once, as the bytes of PNG and JPEG files; the residual is computed here;
// moving the slider asks nothing of the kernel. No imports: it works without a network.

const PANELS = [
  ["ours", "P[i], our picture"],
  ["jpeg", "JPEG of the same bytes"],
  ["original", "I, the original"],
  ["residual", "R[i] = I - P[i], what is still missing"],
];

function element(tag, className, parent) {
  const node = document.createElement(tag);
  node.className = className;
  parent.append(node);
  return node;
}

async function pixels(view) {
  const bitmap = await createImageBitmap(new Blob([view]));
  const canvas = document.createElement("canvas");
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

// The mean of R over red, green and blue, on one fixed scale of colours for all iterations.
function residual(original, picture, colours, scale) {
  const out = new ImageData(original.width, original.height);
  const a = original.data, b = picture.data, c = out.data;
  const middle = (colours.byteLength / 3 - 1) / 2;
  for (let k = 0; k < a.length; k += 4) {
    const r = (a[k] - b[k] + a[k + 1] - b[k + 1] + a[k + 2] - b[k + 2]) / 3 / scale;
    const at = 3 * Math.round(middle * (1 + Math.min(1, Math.max(-1, r))));
    c[k] = colours.getUint8(at);
    c[k + 1] = colours.getUint8(at + 1);
    c[k + 2] = colours.getUint8(at + 2);
    c[k + 3] = 255;
  }
  return out;
}

function readings(r) {
  if (!r) return "…";
  const parts = [`${r.size_bytes.toLocaleString("en")} bytes`, `${r.bpp.toFixed(3)} bpp`];
  parts.push(r.psnr_db === undefined ? "PSNR …" : `PSNR ${r.psnr_db === null ? "∞" : r.psnr_db.toFixed(1)} dB`);
  if (r.ms_ssim === undefined) parts.push("MS-SSIM …");
  else parts.push(r.ms_ssim === null ? "MS-SSIM needs 161 px" : `MS-SSIM ${r.ms_ssim.toFixed(3)}`);
  return parts.join(" · ");
}

function render({ model, el }) {
  el.classList.add("rgru");
  const bar = element("div", "rgru-bar", el);
  const label = element("label", "rgru-label", bar);
  const slider = element("input", "rgru-slider", bar);
  Object.assign(slider, { type: "range", min: 1, max: 1, value: 1, disabled: true });
  slider.setAttribute("aria-label", "iteration");
  slider.dataset.lmSuppressShortcuts = "true"; // or JupyterLab takes the arrow keys
  slider.addEventListener("keydown", (event) => event.stopPropagation());
  const grid = element("div", "rgru-grid", el);
  const panels = {};
  for (const [name, title] of PANELS) {
    const figure = element("figure", `rgru-panel rgru-${name}`, grid);
    const caption = element("figcaption", "rgru-caption", figure);
    const heading = element("div", "rgru-title", caption);
    heading.textContent = title;
    const canvas = element("canvas", "rgru-canvas", figure);
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", title);
    panels[name] = { heading, canvas, text: element("div", "rgru-text", caption) };
  }
  const legend = element("div", "rgru-legend", el.querySelector(".rgru-residual figcaption"));
  const footer = element("div", "rgru-footer", el);
  const progress = element("progress", "rgru-progress", footer);
  const status = element("span", "rgru-status", footer);
  status.setAttribute("role", "status");

  let shown = {}; // decoded pictures by trait name
  let touched = false; // once the slider was moved, new frames no longer take it along

  function draw(name, image) {
    const { canvas } = panels[name];
    if (!image) {
      canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
      return;
    }
    if (canvas.width !== image.width) canvas.width = image.width;
    if (canvas.height !== image.height) canvas.height = image.height;
    canvas.getContext("2d").putImageData(image, 0, 0);
  }

  function paint() {
    const { ours, jpeg } = model.get("readings");
    const i = Number(slider.value);
    const there = Boolean(shown[`p_${i}`]);
    label.textContent = there ? `iteration ${i} of ${slider.max}` : "iteration";
    slider.setAttribute("aria-valuetext", there ? `iteration ${i}: ${readings(ours[i - 1])}` : "nothing yet");
    if (there && shown.original && !shown[`r_${i}`]) {
      shown[`r_${i}`] = residual(shown.original, shown[`p_${i}`], model.get("colours"), model.get("scale"));
    }
    draw("original", shown.original);
    draw("ours", shown[`p_${i}`]);
    draw("residual", shown[`r_${i}`]);
    draw("jpeg", shown[`jpeg_${i}`]);
    const mine = ours[i - 1], theirs = jpeg[i - 1];
    panels.original.text.textContent = shown.original ? `${shown.original.width} × ${shown.original.height} px` : "…";
    panels.ours.heading.textContent = there ? `P[${i}], our picture` : PANELS[0][1];
    panels.ours.text.textContent = readings(mine);
    panels.residual.heading.textContent = there ? `R[${i}] = I - P[${i}], what is still missing` : PANELS[3][1];
    panels.residual.text.textContent = mine ? `mean |R| = ${mine.mean_abs_residual.toFixed(1)} of 255 levels` : "…";
    panels.jpeg.heading.textContent = !theirs ? PANELS[1][1]
      : theirs.fits ? `JPEG of the same bytes: quality ${theirs.quality}` : "JPEG cannot get so small; its smallest file:";
    panels.jpeg.text.textContent = readings(theirs);
    el.dataset.iteration = there ? i : 0;
  }

  async function receive(name) {
    const view = model.get(name);
    if (!view || !view.byteLength) {
      delete shown[name];
      if (name === "original") [shown, touched] = [{}, false];
    } else {
      const image = await pixels(view).catch((error) => {
        status.textContent = `The browser cannot show this picture: ${error.message}`;
      });
      if (!image) return;
      if (model.get(name) !== view) return; // another photo came meanwhile
      shown[name] = image;
      if (name === "original") for (const key of Object.keys(shown)) if (key.startsWith("r_")) delete shown[key];
      if (name.startsWith("p_")) delete shown[`r_${name.slice(2)}`];
    }
    const frames = Object.keys(shown).filter((key) => key.startsWith("p_")).length;
    slider.disabled = frames === 0;
    slider.max = Math.max(1, frames);
    if (!touched) slider.value = slider.max;
    paint();
  }

  function report() {
    const { share, text } = model.get("progress");
    progress.value = share;
    progress.hidden = share >= 1;
    status.textContent = text;
    el.dataset.ready = share >= 1 ? "true" : "false";
  }

  function paintLegend() {
    const colours = model.get("colours"), scale = model.get("scale"), stops = [];
    for (let k = 0; k < colours.byteLength; k += 24) {
      stops.push(`rgb(${colours.getUint8(k)} ${colours.getUint8(k + 1)} ${colours.getUint8(k + 2)})`);
    }
    legend.replaceChildren();
    element("span", "", legend).textContent = `P too bright by ${scale} or more`;
    element("i", "", legend).style.background = `linear-gradient(90deg, ${stops.join(",")})`;
    element("span", "", legend).textContent = `too dark by ${scale} or more`;
  }

  slider.addEventListener("input", () => {
    touched = true;
    paint();
  });
  const names = ["original"];
  for (let i = 1; i <= model.get("slots"); i++) names.push(`p_${i}`, `jpeg_${i}`);
  const listeners = names.map((name) => [`change:${name}`, () => receive(name)]);
  listeners.push(["change:readings", paint], ["change:progress", report]);
  for (const [event, listener] of listeners) model.on(event, listener);
  paintLegend();
  paint();
  report();
  for (const name of names) if (model.get(name)?.byteLength) receive(name);
  return () => {
    for (const [event, listener] of listeners) model.off(event, listener);
  };
}

export default { render };
