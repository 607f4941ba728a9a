// Pictures: decoded, subtracted, kept by name, drawn.

const DELTA = 128; // grey in a picture of what changed since the last iteration
const CACHED_PIXELS = 60e6; // of pictures that can be made again: about 240 MB
const CACHED_LEAST = 4; // what one view shows

const DISTURBED = "it changes what a page reads from a canvas, against fingerprinting; allow this page to read "
  + "canvases, or open it in another browser";

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

// Where two pictures differ most, over all three colours: { x, y }.
function farthest(a, b) {
  let most = -1, at = 0;
  for (let k = 0; k < a.data.length; k += 4) {
    let size = 0;
    for (let c = k; c < k + 3; c++) size += Math.abs(a.data[c] - b.data[c]);
    if (size > most) [most, at] = [size, k / 4];
  }
  return { x: at % a.width, y: Math.floor(at / a.width) };
}

function sumOf(before, change) {
  const out = new ImageData(before.width, before.height);
  const to = new Uint8Array(out.data.buffer), a = before.data, b = change.data;
  for (let k = 0; k < to.length; k += 4) {
    const green = b[k + 1] - DELTA; // red and blue come as what they have over green; bytes are modulo 256
    to[k] = a[k] + b[k] - DELTA + green;
    to[k + 1] = a[k + 1] + green;
    to[k + 2] = a[k + 2] + b[k + 2] - DELTA + green;
    to[k + 3] = 255;
  }
  return out;
}

function decode(file) {
  return createImageBitmap(new Blob([file]), { colorSpaceConversion: "none", premultiplyAlpha: "none" });
}

// Whether the levels of a picture can be read back as they are. Some browsers add noise to what a page reads from a
// canvas, against fingerprinting; over a few sums it would grow into speckles.
async function readsTruly(read) {
  const known = new ImageData(64, 64);
  known.data.forEach((_, k) => { known.data[k] = k % 4 === 3 ? 255 : (k * 37 + (k >> 5)) % 256; });
  const found = read(await createImageBitmap(known));
  return known.data.every((level, k) => level === found.data[k]);
}

// Every picture by its name: "I", "P3", "jpeg-12", and differences "I|P3|signed|1" (of what, minus what, how, gain).
class Album {
  // `tables(kind, gain)` gives colours; `arrived(name)` and `failed(name, error)` are told of.
  constructor(tables, arrived, failed) {
    Object.assign(this, { tables, arrived, failed });
    this.scratch = h("canvas").getContext("2d", { willReadFrequently: true });
    this.isTrue = readsTruly((bitmap) => this.read(bitmap));
    this.reset();
  }

  reset() {
    for (const name of this.pictures?.keys() ?? []) this.drop(name);
    this.pictures = new Map(); // name to ImageBitmap, or to ImageData until there is one
    this.data = new Map(); // name to ImageData: I and P[i] for good, others while they are asked for
    this.means = new Map();
    this.files = new Map();
    this.opened = new Set(); // files that are being decoded, or could not be
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
      if (!(await this.isTrue)) throw new Error(DISTURBED);
      if (before && !this.data.has(before)) return; // that one failed, and said so
      const decoded = await decode(file);
      if (generation !== this.generation) return;
      let data = this.read(decoded);
      decoded.close();
      if (before) data = sumOf(this.data.get(before), data);
      const bitmap = await createImageBitmap(data);
      if (generation !== this.generation) return;
      this.data.set(name, data);
      this.pictures.set(name, bitmap);
    }).catch((error) => {
      if (generation === this.generation) this.failed(name, error);
    }).finally(() => {
      if (generation !== this.generation) return;
      this.waiting--;
      this.arrived(name);
    });
  }

  keep(files) {
    for (const [name, file] of Object.entries(files)) this.files.set(name, file);
  }

  // The picture, or null while it is being decoded or cannot be there.
  get(name) {
    if (!name) return null;
    const found = this.pictures.get(name);
    if (found) {
      if (!this.isKept(name)) {
        this.pictures.delete(name); // what is used last is dropped last
        this.pictures.set(name, found);
      }
      return found;
    }
    if (name.includes("|")) return this.subtract(name);
    if (this.canOpen(name)) this.open(name);
    return null;
  }

  canOpen(name) {
    return this.files.has(name) && !this.opened.has(name) && !this.pictures.has(name);
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
    const { generation, opened } = this;
    opened.add(name); // once is enough, unless it is dropped later
    const bitmap = await decode(this.files.get(name)).catch((error) => this.failed(name, error));
    if (generation !== this.generation) return;
    if (bitmap) {
      opened.delete(name);
      this.put(name, bitmap);
    }
    this.arrived(name); // or what else there is to make would wait for it
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
    const most = Math.max(CACHED_LEAST, CACHED_PIXELS / (picture.width * picture.height));
    for (const key of made.slice(0, Math.max(0, made.length - most))) this.drop(key);
    this.isFull = made.length >= most; // no use in making more before they are asked for
  }

  drop(name) {
    this.pictures.get(name).close?.(); // a bitmap's memory waits for no collector
    this.pictures.delete(name);
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
