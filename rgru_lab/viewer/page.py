"""A page that holds a scrubber and all it needs: the same JavaScript, the pictures, nothing from elsewhere."""

import base64
import html
import json
import re
from pathlib import Path

FOLDER = Path(__file__).parent

SCRIPTS = ("tools", "facts", "pictures", "stage", "curve", "question", "board", "scrubber")
"""The parts of the one JavaScript module, in this order: none imports anything, each uses those before it."""

TEMPLATE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>@title@</title>
<link rel="icon" href="data:,">
<style>
html { color-scheme: light dark; }
body { margin: 0; background: #fff; color: #1d1f23; font-family: system-ui, sans-serif; }
main { padding: clamp(8px, 2vw, 24px); }
h1 { font-size: 20px; font-weight: 600; margin: 0 0 12px; }
footer { color: #5c626b; font-size: 13px; padding-top: 16px; line-height: 1.5; }
@media (prefers-color-scheme: dark) { body { background: #17181b; color: #e8eaed; } footer { color: #a3a9b2; } }
@css@
</style>
</head>
<body>
<main>
<h1>@title@</h1>
<div id="scrubber" data-alone></div>
<footer>@about@</footer>
</main>
<script type="text/plain" id="code">
@code@</script>
<script type="application/json" id="state">@state@</script>
<script type="module">
const revive = (value) => {
  if (!value || typeof value !== "object") return value;
  if ("base64" in value) return new DataView(Uint8Array.from(atob(value.base64), (c) => c.charCodeAt(0)).buffer);
  if (Array.isArray(value)) return value.map(revive);
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, revive(part)]));
};
const text = (id) => document.getElementById(id).textContent;
const state = revive(JSON.parse(text("state")));
const model = {
  get: (name) => state[name], set: (name, value) => { state[name] = value; }, on() {}, off() {}, save_changes() {},
};
const code = await import(URL.createObjectURL(new Blob([text("code")], { type: "text/javascript" })));
const el = document.getElementById("scrubber");
code.default.render({ model, el });
document.addEventListener("keydown", (event) => { // the keys work before anything was clicked
  const { key, shiftKey, ctrlKey, altKey, metaKey } = event, twin = { key, shiftKey, ctrlKey, altKey, metaKey };
  if (event.target !== document.body) return;
  if (!el.dispatchEvent(new KeyboardEvent("keydown", { ...twin, cancelable: true }))) event.preventDefault();
});
</script>
</body>
</html>
"""


def code() -> str:
    """The JavaScript of the widget and of the page, one module."""
    return "\n".join((FOLDER / "js" / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)


def style() -> str:
    """Its style sheet."""
    return (FOLDER / "scrubber.css").read_text(encoding="utf-8")


def page(state: dict, title: str = "") -> str:
    """The page of a scrubber that is done computing.

    Args:
        state: its traits by name.
        title: what stands above it; the photo's size if left out.
    """
    setup = state["setup"]
    about = (
        f"Made by Residual GRU Lab with the weights {setup['weights']}. Sizes are those of real files, headers "
        "included; qualities are those of the 8-bit pictures which these files decode to, on red, green and blue. "
        "This page needs no network and sends nothing anywhere."
    )
    parts = {
        "title": html.escape(title or f"A photograph of {setup['width']} × {setup['height']} px"),
        "about": html.escape(about),
        "css": style(),
        "code": code(),
        "state": json.dumps(_plain(state), allow_nan=False).replace("<", "\\u003c"),
    }
    return re.sub("@(title|about|css|code|state)@", lambda match: parts[match[1]], TEMPLATE)


def _plain(value):
    """What JSON can say; bytes become {"base64": text}."""
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return value
