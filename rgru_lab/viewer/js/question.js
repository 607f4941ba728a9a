// Predict first: a question about an iteration that stays locked until a number is said.

class Question {
  constructor(facts, reply) {
    this.facts = facts;
    const id = `rgru-${Math.random().toString(36).slice(2)}`;
    this.label = h("label", { class: "rgru-question", for: id });
    this.hint = h("span", { class: "rgru-hint", id: `${id}-hint` });
    const described = { id, "aria-describedby": this.hint.id };
    this.input = h("input", { class: "rgru-number", type: "number", step: "any", required: true, ...described });
    keepKeys(this.input);
    const send = h("button", { type: "submit", class: "rgru-button rgru-main" }, "Lock it in, show me");
    const skip = button("show it without a guess", () => reply({ skipped: true }), {}, "Skip");
    this.form = h("form", { class: "rgru-guess-form" }, this.label, this.input, keepKeys(send), skip, this.hint);
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      const value = this.input.valueAsNumber;
      if (Number.isFinite(value)) reply({ value });
    });
    this.result = h("p", { class: "rgru-guess-result" });
    this.node = h("div", { class: "rgru-guess", hidden: true }, this.form, this.result);
  }

  show() {
    const { guess: { what, iteration }, answer } = this.facts;
    this.node.hidden = !iteration || Boolean(answer.skipped);
    if (this.node.hidden) return;
    const isOpen = this.facts.open < iteration;
    say(this.label, `Predict first: ${this.words(what, iteration)}`);
    say(this.hint, this.help(what, iteration));
    Object.assign(this.input, { min: 0, max: what === "ms_ssim" ? 1 : "" });
    this.form.hidden = !isOpen;
    this.result.hidden = isOpen;
    if (!isOpen) say(this.result, this.verdict(what, answer.value));
  }

  words(what, i) {
    const rival = this.facts.label(what.replace("_bytes", ""));
    if (rival) return `how many bytes does ${rival} need for the quality of P[${i}]?`;
    return {
      ms_ssim: `which MS-SSIM will P[${i}] have?`,
      psnr_db: `which PSNR will P[${i}] have, in dB?`,
      size_bytes: `how many bytes will the file with ${i} iteration${i > 1 ? "s" : ""} have?`,
    }[what];
  }

  help(what, i) {
    const locked = `P[${i}] and what follows it stay locked until then.`;
    const before = this.facts.row("ours", i - 1)?.[what], own = this.facts.row("ours", i);
    if (this.facts.label(what.replace("_bytes", "")) && own) return `Ours takes ${bytes(own.size_bytes)}. ${locked}`;
    return Number.isFinite(before) ? `P[${i - 1}] has ${this.value(what, before)}. ${locked}` : locked;
  }

  value(what, value) {
    if (what === "ms_ssim") return similarity(value);
    return what === "psnr_db" ? `${decibels(value)} dB` : bytes(Math.round(value));
  }

  // undefined: not measured yet; null: there is none.
  truth(what, i) {
    if (what in LEVELS || what === "size_bytes") return this.facts.row("ours", i)?.[what];
    const row = this.facts.row(`level-${what.replace("_bytes", "")}`, i);
    return row && (row.fits ? row.size_bytes : null);
  }

  verdict(what, said) {
    const truth = this.truth(what, this.facts.guess.iteration), start = `You said ${this.value(what, said)}.`;
    if (truth === undefined && this.facts.isDone) return `${start} The truth was not measured.`;
    if (truth === undefined) return `${start} The truth is still being measured …`;
    if (truth === null) return `${start} There is no such number here.`;
    const off = said - truth, isSame = this.value(what, said) === this.value(what, truth);
    const judged = isSame ? "spot on" : `${this.value(what, Math.abs(off))} too ${off > 0 ? "high" : "low"}`;
    return `${start} It is ${this.value(what, truth)}: ${judged}.`;
  }

  // Where the guess lies among the curves: [bits per pixel, quality], or null.
  point() {
    const { facts } = this, { what, iteration } = facts.guess, { value } = facts.answer;
    const ours = facts.row("ours", iteration);
    if (value === undefined || !ours) return null;
    if (what === facts.setup.level) return [ours.bpp, value];
    const level = facts.levelOf(ours);
    if (!what.endsWith("_bytes") || !Number.isFinite(level)) return null;
    return [(8 * value) / (facts.setup.width * facts.setup.height), level];
  }

  nudge() {
    this.node.classList.remove("rgru-nudge");
    void this.node.offsetWidth; // so that the animation starts again
    this.node.classList.add("rgru-nudge");
  }
}
