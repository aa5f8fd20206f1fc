// What the model said of a row: the number, a picture of it, and what moved it.

import { address } from "./api.js";
import { draw } from "./charts.js";
import { el, table } from "./dom.js";
import { between, number, percent, points, signed } from "./format.js";

const MOST = 10; // contributions in the chart
const LEVELS = { low: "good", medium: "warn", high: "bad" };
const at = (id) => document.getElementById(id);

function ranked(percentiles, value) {
  if (!percentiles.length) return null;
  const share = percentiles.filter((limit) => limit < value).length / percentiles.length;
  if (share < 0.01) return el("p", {}, "Lower than nearly all of the training sample.");
  return el("p", {}, `Higher than ${share > 0.99 ? "nearly all" : percent(share, 0)} of the training sample.`);
}

function placed(kind, left, width) {
  const element = el("div", { class: kind });
  element.style.left = `${100 * left}%`;
  if (width !== undefined) element.style.width = `${100 * width}%`;
  return element;
}

function gauge(text, ...parts) {
  return el("div", { class: "gauge", role: "img", "aria-label": text }, parts);
}

// The levels of a risk with their bounds, as `risk_level` of serve/models/answers.py has them.
function levels([low, high], threshold) {
  const [from, to] = [Math.min(low, threshold), Math.max(high, threshold)];
  return [["low", 0, from], ["medium", from, to], ["high", to, 1]];
}

function probabilityPicture(schema, probability, threshold) {
  const text = `Probability ${percent(probability)} on a scale of 0 to 100 %, threshold ${percent(threshold)}`;
  const marks = [placed("limit", threshold), placed("mark moves", probability)];
  if (!schema.risk_bounds) return [gauge(text, el("div", { class: "track" }), ...marks)];
  const zones = levels(schema.risk_bounds, threshold).filter(([, from, to]) => to > from);
  const track = zones.map(([name, from, to]) => placed(`zone ${name}`, from, to - from));
  const labels = zones.map(([name, from, to]) => el("span", {}, to - from < 0.15 ? "" : `${percent(from, 0)} ${name}`));
  const scale = el("p", { class: "scale levels", "aria-hidden": "true" }, labels);
  scale.style.gridTemplateColumns = zones.map(([, from, to]) => `${to - from}fr`).join(" ");
  return [gauge(text, el("div", { class: "track" }, track), ...marks), scale];
}

// The interval on a scale that holds it and nearly all of the training sample.
function intervalPicture({ percentiles, unit }, value, { lower, upper, coverage }) {
  const from = Math.min(lower, percentiles.at(2) ?? lower);
  const to = Math.max(upper, percentiles.at(-3) ?? upper);
  const share = (amount) => (to > from ? (amount - from) / (to - from) : 0.5);
  const text = `${percent(coverage)} interval from ${between(number(lower, unit), number(upper, unit))}`;
  const track = el("div", { class: "track" }, placed("zone range", share(lower), share(upper) - share(lower)));
  const ends = [from, to].map((end) => el("span", {}, number(end, unit)));
  return [gauge(text, track, placed("mark moves", share(value))), el("p", { class: "scale", "aria-hidden": "true" }, ends)];
}

function badge(schema, probability, threshold) {
  const [level] = levels(schema.risk_bounds, threshold).findLast(([, from]) => probability >= from);
  return el("span", { class: `badge ${LEVELS[level]}` }, `Risk level: ${level}`);
}

function showClass(schema, { probability }, threshold) {
  at("headline").replaceChildren(
    el("span", { class: "value" }, schema.labels[Number(probability >= threshold)]),
    `${schema.outcome}: ${percent(probability)} `,
    ...(schema.risk_bounds ? [badge(schema, probability, threshold)] : []));
  return [...probabilityPicture(schema, probability, threshold), ranked(schema.percentiles, probability)];
}

function showValue(schema, row, { prediction, interval }) {
  const ends = between(number(interval.lower, schema.unit), number(interval.upper, schema.unit));
  at("headline").replaceChildren(
    el("span", { class: "value" }, number(prediction, schema.unit)),
    `${schema.outcome}; ${percent(interval.coverage, 0)} interval ${ends}`);
  const area = row[schema.area];
  return [
    ...intervalPicture(schema, prediction, interval),
    ranked(schema.percentiles, prediction),
    area > 0 ? el("p", {}, `${number(prediction / area, schema.unit)} per square foot.`) : null,
  ];
}

export function show(schema, row, answer, threshold) {
  const parts = schema.classifies ? showClass(schema, answer, threshold) : showValue(schema, row, answer);
  const link = el("a", { href: address(`/${schema.project}/predictions/${answer.prediction_id}`) }, answer.prediction_id);
  const warnings = answer.warnings.map((text) => el("p", { class: "notice warn" }, text));
  at("picture").replaceChildren(
    ...warnings, ...parts.filter(Boolean), el("p", { class: "note" }, "Logged as ", link, "."));
}

// Per scale: the title of the axis, the length of a bar, and its effect in words.
const shift = ({ contribution }) => signed(points(contribution)).replace("percentage ", ""); // which the axis says
const change = ({ percent: share }) => signed(percent(share / 100));
const odds = ({ contribution }) => `odds × ${Math.exp(contribution).toFixed(2)}`;
const worth = ({ contribution }, unit) => signed(number(contribution, unit));
const EFFECTS = {
  log_odds: ["Change of the log-odds", (entry) => entry.contribution, odds],
  probability: ["Change of the probability, percentage points", (entry) => 100 * entry.contribution, shift],
  log: ["Change of the value, %", (entry) => entry.percent, change],
  value: ["Change of the value", (entry) => entry.contribution, worth],
};

function named(field, { title, value }) {
  if (value === null || value === undefined) return `${title}: unknown`;
  const choice = field?.choices.find((entry) => entry.value === String(value));
  return `${title}: ${choice?.text ?? (typeof value === "number" ? number(value, field?.unit) : value)}`;
}

export async function explain(schema, found) {
  const [axis, size, text] = EFFECTS[found.scale];
  const fieldOf = (entry) => schema.fields.find(({ name }) => name === entry.field);
  const bars = found.contributions.filter(({ contribution }) => contribution !== 0).map((entry) => ({
    field: named(fieldOf(entry), entry),
    effect: size(entry),
    text: text(entry, schema.unit),
    up: entry.contribution > 0,
  }));
  const caption = `What each field does${found.exact ? "" : ", estimated by sampling"}`;
  const numbers = table(caption, ["Field and value", "Effect"], bars.map((bar) => [bar.field, bar.text]), [1]);
  at("why").hidden = false;
  at("reasons").replaceChildren(...found.reasons.map((reason) => el("li", {}, reason)));
  at("contribution-table").replaceChildren(el("details", {}, el("summary", {}, "The numbers"), numbers));
  const figure = at("contributions");
  figure.querySelector(".canvas").setAttribute("aria-label", `What moved this prediction: ${found.reasons.join("; ")}.`);
  await draw(figure, contributions(bars.slice(0, MOST), axis, Math.min(190, 0.42 * figure.clientWidth)));
}

function contributions(values, title, labelLimit) {
  const effects = values.map(({ effect }) => effect);
  const [least, greatest] = [Math.min(0, ...effects), Math.max(0, ...effects)];
  const domain = [least, greatest + 0.5 * (greatest - least || 1)]; // room for the effects in words on the right
  const bar = {
    x: { field: "effect", type: "quantitative", title, scale: { domain, nice: false }, axis: { tickCount: 5 } },
    color: { field: "up", legend: null, scale: { domain: [true, false], range: ["var(--up)", "var(--down)"] } },
    tooltip: [{ field: "field", title: "Field" }, { field: "text", title: "Effect" }],
  };
  const text = { x: { value: "width" }, text: { field: "text" } };
  const y = { field: "field", type: "nominal", sort: null, title: null, axis: { labelLimit, domain: false, ticks: false } };
  return {
    data: { values },
    height: 28 * values.length,
    encoding: { y },
    layer: [
      { mark: { type: "bar", height: { band: 0.7 } }, encoding: bar },
      { mark: { type: "text", align: "right", fontSize: 11, color: "var(--ink)" }, encoding: text },
    ],
  };
}

export function forget(message) {
  at("why").hidden = true;
  at("reasons").replaceChildren();
  at("picture").append(el("p", { class: "note" }, `There is no explanation: ${message}`));
}
