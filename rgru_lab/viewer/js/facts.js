// What Python has said so far, by the names in which the rest of this page asks for it:
//   setup      { run, iterations, width, height, level, against: [{ key, label }], scale, weights }; another run for
//              each photo and each choice of weights
//   readings   { ours: [...], "bytes-jpeg": [...], "level-jpeg": [...] }: a row per iteration
//   guess      {} or { what, iteration }; answer goes back to Python: {}, { value } or { skipped }

// `axis`: how high a value stands in a chart, and where lines with a number may be. Each halving of what an MS-SSIM
// lacks to 1 is as high as the others; on a plain axis all that is good would lie on one line.
const LEVELS = {
  ms_ssim: {
    name: "MS-SSIM", show: similarity, unit: "",
    axis: {
      height: (value) => -Math.log2(1 - clamp(value, 0, 0.9999)),
      marks: [0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9999],
    },
  },
  psnr_db: { name: "PSNR", show: decibels, unit: " dB" },
};

class Facts {
  constructor(model) {
    this.model = model;
  }

  get setup() {
    return this.model.get("setup");
  }

  get guess() {
    return this.model.get("guess") ?? {};
  }

  get answer() {
    return this.model.get("answer") ?? {};
  }

  // The measure of quality, MS-SSIM unless the photograph is too small for it; and a row's value of it.
  get level() {
    return LEVELS[this.setup.level ?? "ms_ssim"];
  }

  // All measures that this photograph is large enough for.
  get measures() {
    return [...new Set([this.setup.level, "psnr_db"])];
  }

  levelOf(row) {
    return row?.[this.setup.level];
  }

  rows(side) {
    return this.model.get("readings")?.[side] ?? [];
  }

  row(side, i) {
    return this.rows(side)[i - 1];
  }

  label(rival) {
    return this.setup.against?.find(({ key }) => key === rival)?.label;
  }

  place(rival) {
    return this.setup.against?.findIndex(({ key }) => key === rival) ?? -1;
  }

  // Whether nothing more will come.
  get isDone() {
    return this.model.get("progress").share >= 1;
  }

  brief(row) {
    if (!row) return "…";
    const level = this.levelOf(row);
    return bytes(row.size_bytes) + (level === undefined ? "" : ` · ${this.level.name} ${this.level.show(level)}`);
  }

  // How far anything may be shown while a question is open.
  get open() {
    const { iteration } = this.guess;
    return iteration && !Object.keys(this.answer).length ? iteration - 1 : Infinity;
  }
}
