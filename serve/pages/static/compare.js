// The same row for several values of one field, side by side. Nothing of it is logged.

import { draw } from "./charts.js";
import { debounced, el, table } from "./dom.js";
import { number } from "./format.js";
import { amount, difference, tryRows, valueOf } from "./row.js";

const MOST = 12;
const at = (id) => document.getElementById(id);

function named(field, value) {
  const choice = field.choices.find((entry) => entry.value === String(value));
  return choice?.text ?? (typeof value === "number" ? number(value, field.unit) : String(value));
}

function bars(schema, field, points) {
  const title = [schema.outcome, schema.unit].filter(Boolean).join(", ");
  const x = { type: "quantitative", title, axis: { format: schema.classifies ? ".0%" : "~s", tickCount: 5 } };
  const own = { field: "own", legend: null, scale: { domain: [true, false], range: ["var(--up)", "var(--accent)"] } };
  const interval = {
    mark: { type: "rule", strokeWidth: 1.5, color: "var(--ink)", opacity: 0.7 },
    encoding: { x: { ...x, field: "lower" }, x2: { field: "upper" } },
  };
  return {
    data: { values: points },
    height: 26 * points.length,
    encoding: {
      y: { field: "name", type: "nominal", sort: null, title: null, axis: { domain: false, ticks: false } },
      tooltip: [{ field: "name", title: field.title }, { field: "text", title: schema.outcome }],
    },
    layer: [
      { mark: { type: "bar", height: { band: 0.7 } }, encoding: { x: { ...x, field: "score" }, color: own } },
      ...(schema.classifies ? [] : [interval]),
    ],
  };
}

export function startComparing({ schema, readForm, valid, onChange }) {
  const picker = at("compare-field");
  const error = at("compare-error");
  const checks = at("compare-values").querySelector(".checks");
  const fieldOf = () => schema.fields.find(({ name }) => name === picker.value);
  const chosen = () => [...checks.querySelectorAll("input:checked")].map(({ value }) => value);
  const listed = () => [...checks.querySelectorAll("input")];
  let latest = 0;
  let shown;

  function add(field, value, checked = chosen().length < MOST) {
    if (listed().some((input) => input.value === String(value))) return undefined;
    const input = el("input", { type: "checkbox", value: String(value), checked, change: later });
    checks.append(el("label", {}, input, named(field, value)));
    return input;
  }

  function addTyped(field, value, checked) {
    const input = add(field, value, checked);
    if (input) input.dataset.typed = "";
  }

  async function compare() {
    const turn = ++latest;
    const [row, field, texts] = [readForm(), fieldOf(), chosen()];
    error.textContent = texts.length > MOST ? `At most ${MOST} values are compared; these are the first ${MOST}.` : "";
    const values = texts.slice(0, MOST).map((text) => valueOf(field, text));
    if (!values.length || !valid()) return;
    try {
      const [before, ...found] = await tryRows(schema, [row, ...values.map((value) => ({ ...row, [field.name]: value }))]);
      if (turn === latest) tell(field, row, before, found.map((entry, place) => ({ ...entry, value: values[place] })));
    } catch (problem) {
      if (turn === latest) error.textContent = problem.errors?.[0]?.message ?? problem.message;
    }
  }

  function tell(field, row, before, found) {
    const numeric = field.kind === "number" && !field.choices.length;
    found.sort((one, other) => (numeric ? one.value - other.value : other.score - one.score));
    const points = found.map((entry) => ({
      ...entry,
      name: named(field, entry.value),
      own: entry.value === row[field.name],
      text: amount(schema, entry.score),
    }));
    const told = points.map(({ name, text }) => `${name} ${text}`).join(", ");
    at("compare-chart").querySelector(".canvas").setAttribute("aria-label", `${schema.outcome}: ${told}`);
    draw(at("compare-chart"), bars(schema, field, points));
    const rows = points.map(({ name, text, score, own }) =>
      [own ? `${name} (as entered)` : name, text, difference(schema, score, before.score)]);
    const head = [field.title, schema.outcome, "Against the row as entered"];
    at("compare-table").replaceChildren(
      el("details", {}, el("summary", {}, "The numbers"), table(`${schema.outcome} by ${field.title}`, head, rows, [1, 2])));
  }

  function start() {
    const field = fieldOf();
    const own = readForm()[field.name];
    const before = field === shown ? listed() : []; // another row leaves what was chosen alone
    const states = new Map(before.map(({ value, checked }) => [value, checked]));
    shown = field;
    checks.replaceChildren();
    for (const value of [...(own === undefined ? [] : [own]), ...field.variants]) add(field, value, states.get(String(value)));
    for (const { value, checked, dataset } of before) if ("typed" in dataset) addTyped(field, valueOf(field, value), checked);
    at("compare-new").setAttribute("list", `field-${field.name}-known`);
    at("compare-add").hidden = field.choices.length > 0;
    compare();
  }

  const later = debounced(compare, 120);
  at("compare-add").addEventListener("submit", (event) => {
    event.preventDefault();
    const value = valueOf(fieldOf(), at("compare-new").value.trim());
    if (value === undefined) return;
    addTyped(fieldOf(), value);
    at("compare-new").value = "";
    compare();
  });
  picker.value = (schema.fields.find(({ kind, variants }) => kind === "text" && variants.length) ?? fieldOf()).name;
  picker.addEventListener("change", start);
  onChange(debounced(start, 300));
  start();
}
