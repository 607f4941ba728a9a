// The numbers below the pictures: a table, one sentence, and two curves on which a dot moves.

const HEADS = ["", "bytes", "bits per pixel", "PSNR, dB", "MS-SSIM", "saved vs raw"];

class Board {
  // `point` says where a guess lies among the curves; `pick(i)` is told of an iteration that was clicked there.
  constructor(facts, point, pick, saving) {
    Object.assign(this, { facts, point });
    const cells = () => HEADS.slice(1).map(() => h("td"));
    const heads = HEADS.map((text) => h("th", { scope: "col" }, text));
    heads.at(-1).title = "against 24 bits per pixel, uncompressed";
    this.ours = { name: h("th", { scope: "row", class: "rgru-ours-name" }), cells: cells() };
    this.theirs = { name: h("th", { scope: "row", class: "rgru-theirs-name" }), cells: cells() };
    this.gained = { name: h("th", { scope: "row" }), cells: cells() };
    const rows = [this.ours, this.theirs, this.gained].map((row) => (row.node = h("tr", {}, row.name, ...row.cells)));
    this.gained.node.className = "rgru-gained";
    const table = h("table", { class: "rgru-table" }, h("thead", {}, h("tr", {}, ...heads)), h("tbody", {}, ...rows));
    this.verdict = h("p", { class: "rgru-verdict" });
    this.residual = new Curve("mean |R[i]|", "iteration i", pick);
    this.quality = new Curve("quality over size", "bits per pixel", pick);
    const figures = h("div", { class: "rgru-figures" }, table, this.verdict, saving);
    this.node = h("div", { class: "rgru-board" }, figures, this.residual.node, this.quality.node);
  }

  // One iteration, beside one opponent.
  show(i, match, rival) {
    const ours = this.facts.row("ours", i), theirs = this.facts.row(`${match}-${rival}`, i);
    const label = this.facts.label(rival);
    this.fill(this.ours, i ? `P[${i}], ours` : "P[i], ours", ours);
    this.fill(this.theirs, theirs ? `${label}, quality ${theirs.quality}` : label, theirs);
    this.gain(i, ours, this.facts.row("ours", i - 1));
    this.theirs.node.classList.toggle("rgru-misfit", Boolean(theirs && !theirs.fits));
    say(this.verdict, this.judge(ours, theirs, match, label));
    this.mark(i, ours, theirs, rival);
  }

  fill({ name, cells }, text, row) {
    say(name, text);
    const texts = row && [
      count(row.size_bytes), row.bpp.toFixed(3), decibels(row.psnr_db), similarity(row.ms_ssim),
      `${(100 * (1 - row.bpp / 24)).toFixed(1)} %`,
    ];
    cells.forEach((cell, k) => say(cell, texts ? texts[k] : "…"));
  }

  // What the last iteration brought, and what it cost.
  gain(i, ours, before) {
    const { name, cells } = this.gained;
    const gains = [["size_bytes", 0], ["bpp", 3], ["psnr_db", 1], ["ms_ssim", 4]].map(([what, digits]) => {
      const [now, then] = [ours?.[what], before?.[what]];
      if (i < 2 || now === null || then === null) return "–";
      return now === undefined || then === undefined ? "…" : more(now - then, digits);
    });
    say(name, i > 1 ? `ours, since P[${i - 1}]` : "ours, since P[i-1]");
    [...gains, ""].forEach((text, k) => say(cells[k], text));
  }

  // The comparison in one sentence.
  judge(ours, theirs, match, label) {
    if (!ours || !theirs) return "";
    const { facts } = this, { name } = facts.level;
    const small = facts.setup.level === "psnr_db" ? " (MS-SSIM needs sides of 161 px.)" : "";
    if (match === "level") {
      if (!theirs.fits) return `${label} cannot get that good at any quality; this is its best.${small}`;
      const saved = 100 * (1 - ours.size_bytes / theirs.size_bytes), percent = `${Math.abs(saved).toFixed(0)} %`;
      const isEqual = Math.abs(saved) < 0.5, direction = saved > 0 ? "fewer" : "more";
      const words = isEqual ? "as many bytes as" : `${percent} ${direction} bytes than`;
      return `For the same ${name} ours takes ${words} ${label}.${small}`;
    }
    if (!theirs.fits) {
      const times = theirs.size_bytes / ours.size_bytes;
      const larger = times < 1.05 ? "a little larger than" : `${times.toFixed(1)} times as large as`;
      return `${label} cannot get that small: its smallest file is ${larger} ours.${small}`;
    }
    const nearer = facts.measures.map((what) => this.nearer(what, ours, theirs, label));
    if (nearer.includes(null)) return "measuring …";
    return `Nearer to the original at the same bytes: ${nearer.join(", ")}.${small}`;
  }

  // Who is nearer to the original by one measure, as far as the digits shown can tell; null: not known yet.
  nearer(what, ours, theirs, label) {
    const { name, show, unit } = LEVELS[what], [a, b] = [ours[what], theirs[what]];
    if (a === undefined || b === undefined) return null;
    if (show(a) === show(b)) return `neither by ${name} (both ${show(a)}${unit})`;
    const isOurs = (a ?? Infinity) > (b ?? Infinity); // no PSNR: infinite
    const [more, less] = isOurs ? [a, b] : [b, a];
    return `${isOurs ? "ours" : label} by ${name} (${show(more)} against ${show(less)}${unit})`;
  }

  // What moves only when new readings come.
  plot() {
    if (!this.facts.setup.iterations) return;
    const { facts } = this, { setup } = facts, top = Math.min(facts.open, setup.iterations);
    const ours = facts.rows("ours").slice(0, top);
    const every = setup.iterations <= 8 ? 1 : 3;
    const all = Array.from({ length: setup.iterations }, (_, k) => ({ at: k + 1, text: String(k + 1) }));
    const xTicks = all.filter(({ at }) => (at - 1) % every === 0);
    const errors = ours.map((row, k) => [k + 1, row.mean_abs_residual, k + 1]);
    this.residual.plot([{ colour: "rgru-ours", points: errors }], { fromZero: true, xTicks, xEnd: setup.iterations });
    const measured = (rows) => {
      const points = rows.map((row, k) => [row.bpp, facts.levelOf(row), k + 1]);
      return points.filter(([, level]) => Number.isFinite(level));
    };
    const theirs = setup.against.map(({ key }, k) => {
      const points = ["bytes", "level"].flatMap((match) => measured(facts.rows(`${match}-${key}`).slice(0, top)));
      return { colour: `rgru-rival-${k}`, points: points.sort((a, b) => a[0] - b[0]) };
    });
    this.quality.plot([{ colour: "rgru-ours", points: measured(ours) }, ...theirs], { yAxis: facts.level.axis });
    const names = [["rgru-ours", "ours"], ...setup.against.map(({ label }, k) => [`rgru-rival-${k}`, label])];
    const keys = names.map(([colour, text]) => h("span", { class: `rgru-key ${colour}` }, text));
    this.quality.title.replaceChildren(`${facts.level.name} over size `, ...keys);
  }

  mark(i, ours, theirs, rival) {
    const { facts } = this, dots = [], guessed = this.point();
    const error = ours ? `mean |R[${i}]| = ${ours.mean_abs_residual.toFixed(1)} levels` : "mean |R[i]|";
    this.residual.mark(ours ? [{ colour: "rgru-ours", point: [i, ours.mean_abs_residual] }] : []);
    this.residual.describe(error);
    say(this.residual.title, error);
    const colour = `rgru-rival-${facts.place(rival)}`; // smaller and on top, so that neither hides the other
    if (ours) dots.push({ colour: "rgru-ours", point: [ours.bpp, facts.levelOf(ours)], radius: 6 });
    if (theirs) dots.push({ colour, point: [theirs.bpp, facts.levelOf(theirs)], radius: 3.5 });
    if (guessed) dots.push({ colour: "rgru-guessed", point: guessed, text: "your guess" });
    this.quality.mark(dots);
    const both = [`ours ${facts.brief(ours)}`, `${facts.label(rival)} ${facts.brief(theirs)}`].join("; ");
    this.quality.describe(`${facts.level.name} over bits per pixel: ${both}`);
  }

  resize() {
    this.residual.replot();
    this.quality.replot();
  }
}
