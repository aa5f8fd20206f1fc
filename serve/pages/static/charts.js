// Vega-Lite charts: `draw(figure, spec)` draws into a figure of the macro `chart`, again whenever the theme changes. Colours
// in a specification are names of the style sheet, `var(--up)`. Vega's expressions are interpreted, not compiled, so that no
// page needs `unsafe-eval`.

import { whenSeen } from "./dom.js";

let bundle;
const drawn = new Map(); // by figure: its specification and its view

function style() {
  const probe = document.body.appendChild(document.createElement("i"));
  const colour = (name) => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  };
  const names = ["--ink", "--muted", "--line", "--accent", "--surface", "--up", "--down", "--good", "--warn", "--bad"];
  const series = [1, 2, 3, 4, 5, 6, 7, 8].map((at) => `--series-${at}`);
  const colours = Object.fromEntries([...names, ...series].map((name) => [name, colour(name)]));
  probe.remove();
  return colours;
}

function config(colours) {
  const [ink, muted, line] = ["--ink", "--muted", "--line"].map((name) => colours[name]);
  const words = { labelColor: muted, titleColor: ink, labelFontSize: 12, titleFontSize: 12, titleFontWeight: 500 };
  return {
    background: null,
    font: "system-ui, sans-serif",
    view: { stroke: null },
    axis: { ...words, gridColor: line, domainColor: line, tickColor: line, titlePadding: 8, labelLimit: 150 },
    legend: { ...words, orient: "top", labelLimit: 200 },
    header: words,
    title: { color: ink },
    text: { color: ink },
    mark: { color: colours["--accent"] },
    rule: { color: muted },
    arc: { stroke: colours["--surface"] },
    range: {
      category: Object.keys(colours).filter((name) => name.startsWith("--series")).map((name) => colours[name]),
      diverging: [colours["--down"], colours["--surface"], colours["--up"]],
      ramp: { scheme: "teals" },
      heatmap: [colours["--surface"], colours["--accent"]],
    },
  };
}

function coloured(part, colours) {
  if (typeof part === "string") return part.replace(/^var\((--[\w-]+)\)$/, (whole, name) => colours[name] ?? whole);
  if (Array.isArray(part)) return part.map((entry) => coloured(entry, colours));
  if (part === null || typeof part !== "object") return part;
  return Object.fromEntries(
    Object.entries(part).map(([key, value]) => [key, key === "values" ? value : coloured(value, colours)]));
}

// Vega's own tooltip would bring styles of its own, and markup.
function tooltip(handler, event, item, value) {
  let box = document.getElementById("tooltip");
  if (!box) {
    box = document.body.appendChild(document.createElement("div"));
    box.id = "tooltip";
  }
  box.hidden = value == null || value === "";
  if (box.hidden) return;
  const lines = typeof value === "object" ? Object.entries(value).map(([key, text]) => `${key}: ${text}`) : [String(value)];
  box.textContent = lines.join("\n");
  const { clientX: x, clientY: y } = event;
  box.style.left = `${Math.max(4, Math.min(x + 12, innerWidth - box.offsetWidth - 8))}px`;
  box.style.top = `${Math.max(4, Math.min(y + 12, innerHeight - box.offsetHeight - 8))}px`;
}

export async function draw(figure, spec) {
  bundle ??= import("./vega.js");
  await bundle;
  const colours = style();
  const before = drawn.get(figure);
  const canvas = figure.querySelector(".canvas");
  const description = canvas.getAttribute("aria-label"); // vega-embed would put its own in the place of it
  const made = await window.vegaEmbed(canvas, { width: "container", description, ...coloured(spec, colours) }, {
    mode: "vega-lite", ast: true, actions: false, renderer: "svg", defaultStyle: false, tooltip, config: config(colours),
    logLevel: 1, // errors: that a chart with bars of a fixed height cannot fit one is none
  });
  before?.view.finalize();
  drawn.set(figure, { spec, view: made.view });
  figure.dataset.drawn = "";
  return made.view;
}

export function redrawAll() {
  for (const [figure, { spec }] of drawn) draw(figure, spec);
}

// Figures that came with a specification are drawn once they are about to be seen.
export function drawWhenSeen(root = document) {
  for (const figure of root.querySelectorAll("figure.chart:has(> script)")) {
    whenSeen(figure, () => draw(figure, JSON.parse(figure.querySelector(":scope > script").textContent)));
  }
}
