// What if: one field moves, the prediction follows. Nothing of it is logged.

import { draw } from "./charts.js";
import { debounced, el } from "./dom.js";
import { number } from "./format.js";
import { amount, difference, tryRows, valueOf } from "./row.js";

const POINTS = 25;
const at = (id) => document.getElementById(id);

// Whether a field is moved by a slider, over the range of the sample rows.
const slides = (schema, field) => field.kind === "number" && !field.choices.length && field.name in schema.ranges;

function slider(schema, field, own) {
  const [least, greatest] = schema.ranges[field.name];
  const ends = { min: Math.min(least, own ?? least), max: Math.max(greatest, own ?? greatest) };
  const input = el("input", { id: "what-if-input", type: "range", step: field.integer ? 1 : "any", ...ends });
  input.value = own ?? least;
  const shown = el("output", { for: "what-if-input" }, number(own ?? least, field.unit));
  input.addEventListener("input", () => (shown.textContent = number(moved(field, input), field.unit)));
  return [el("label", { for: "what-if-input" }, "Value: ", shown), input];
}

// Where a slider was moved to. An amount is rounded, as no hand is steadier.
function moved(field, input) {
  return field.integer ? Number(input.value) : Number(Number(input.value).toPrecision(4));
}

// The values that a field can be set to one by one: its choices, or the texts that the model knows.
function optionsOf(field, own) {
  const known = [...document.querySelectorAll(`#field-${field.name}-known option`)];
  const options = field.choices.length ? field.choices : known.map(({ value }) => ({ value, text: value }));
  const missing = own !== undefined && options.length && !options.some(({ value }) => value === String(own));
  return missing ? [{ value: String(own), text: String(own) }, ...options] : options;
}

function control(schema, field, own) {
  if (slides(schema, field)) return slider(schema, field, own);
  const options = optionsOf(field, own);
  const id = "what-if-input";
  const input = options.length
    ? el("select", { id }, options.map(({ value, text }) => el("option", { value }, text)))
    : el("input", { id, type: field.input });
  input.value = own ?? options[0]?.value ?? "";
  return [el("label", { for: id }, "Value"), input];
}

// The values that the curve is drawn at: evenly along the range, and at the percentiles of the rows and this row.
function stops(schema, field, own) {
  if (!slides(schema, field)) {
    const options = optionsOf(field, own).map(({ value }) => value);
    return field.variants.map(String).filter((value) => options.includes(value)).sort();
  }
  const { min, max } = at("what-if-input");
  const [least, greatest] = [Number(min), Number(max)];
  const even = Array.from({ length: POINTS }, (_, place) => least + ((greatest - least) * place) / (POINTS - 1));
  const values = even.map((value) => (field.integer ? Math.round(value) : Number(value.toPrecision(6))));
  return [...new Set([...values, ...field.variants, own ?? least])].sort((one, other) => one - other);
}

function curve(schema, field, points, here) {
  const numeric = slides(schema, field);
  const named = (value) => field.choices.find((choice) => choice.value === String(value))?.text ?? value;
  const told = (entries) => entries.map(({ value, score }) => ({ value: named(value), score, text: amount(schema, score) }));
  const title = [field.title, field.unit].filter(Boolean).join(", ");
  const x = numeric
    ? { type: "quantitative", title, scale: { zero: false }, axis: { format: field.unit ? "~s" : ".4~f", tickCount: 6 } }
    : { type: "nominal", sort: null, title: null, axis: { labelAngle: -40 } };
  const y = {
    field: "score",
    type: "quantitative",
    title: [schema.outcome, schema.unit].filter(Boolean).join(", "),
    scale: { zero: schema.classifies || !numeric },
    axis: { format: schema.classifies ? ".0%" : "~s", tickCount: 5 },
  };
  return {
    height: 190,
    encoding: {
      x: { field: "value", ...x },
      y,
      tooltip: [{ field: "value", title: field.title }, { field: "text", title: schema.outcome }],
    },
    layer: [
      { data: { values: told(points) }, mark: numeric ? { type: "line", strokeWidth: 2 } : { type: "bar", opacity: 0.75 } },
      { data: { values: told([here]) }, mark: { type: "point", filled: true, size: 130, color: "var(--up)", opacity: 1 } },
    ],
  };
}

export function startWhatIf({ schema, readForm, valid, onChange }) {
  const picker = at("what-if-field");
  const answer = at("what-if-answer");
  const figure = at("what-if-chart");
  const fieldOf = () => schema.fields.find(({ name }) => name === picker.value);
  let points = [];
  let touched = false;
  let latest = 0;

  function chosen(field, row) {
    const input = at("what-if-input");
    if (!touched) return row[field.name];
    return slides(schema, field) ? moved(field, input) : valueOf(field, input.value);
  }

  async function follow() {
    const turn = ++latest;
    const [row, field] = [readForm(), fieldOf()];
    const value = chosen(field, row);
    try {
      if (!valid()) throw new Error("The form holds a value that cannot be.");
      const [before, now] = await tryRows(schema, [row, { ...row, [field.name]: value }]);
      if (turn !== latest) return;
      const change = touched ? difference(schema, now.score, before.score) : "as entered";
      answer.textContent = `${amount(schema, now.score)} (${change})`;
      figure.hidden = points.length < 2;
      if (points.length < 2) return;
      const told = points.map((point) => `${point.value}: ${amount(schema, point.score)}`).join(", ");
      figure.querySelector(".canvas").setAttribute("aria-label", `${schema.outcome} along ${field.title}: ${told}`);
      await draw(figure, curve(schema, field, points, { value, score: now.score }));
    } catch (problem) {
      if (turn !== latest) return;
      answer.textContent = problem.errors?.[0]?.message ?? problem.message;
      figure.hidden = true;
    }
  }

  async function start() {
    const [row, field] = [readForm(), fieldOf()];
    touched = false;
    points = [];
    at("what-if-value").replaceChildren(...control(schema, field, row[field.name]));
    at("what-if-input").addEventListener("input", () => (touched = true));
    at("what-if-input").addEventListener("input", debounced(follow, 80));
    const values = stops(schema, field, row[field.name]);
    if (valid() && values.length > 1) {
      const rows = values.map((value) => ({ ...row, [field.name]: valueOf(field, String(value)) }));
      const found = await tryRows(schema, rows).catch(() => []); // `follow` says what is wrong with the row
      if (field === fieldOf()) points = found.map(({ score }, place) => ({ value: values[place], score }));
    }
    await follow();
  }

  picker.value = (schema.fields.find((field) => slides(schema, field)) ?? fieldOf()).name;
  picker.addEventListener("change", start);
  onChange(debounced(start, 250));
  start();
}
