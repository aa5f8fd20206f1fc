// The page "Predict": the form and its answer. What-if, comparison and files have modules of their own.

import { explain, forget, show } from "./answer.js";
import { get, post } from "./api.js";
import { startComparing } from "./compare.js";
import { json, whenSeen } from "./dom.js";
import { percent } from "./format.js";
import { valueOf } from "./row.js";
import { startWhatIf } from "./what_if.js";
import { startUpload } from "./upload.js";

const schema = json("schema");
const form = document.getElementById("form");
const example = readForm();
const slider = document.getElementById("threshold");
const listeners = [];
let answered;

function readForm() {
  const entries = schema.fields.map((field) => [field.name, valueOf(field, form.elements[field.name].value)]);
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined));
}

function fillForm(row) {
  for (const { name } of schema.fields) form.elements[name].value = row[name] ?? "";
  showErrors([]);
  changed();
}

function showErrors(errors) {
  const found = new Map(errors.map(({ field, message }) => [field, message]));
  for (const { name } of schema.fields) {
    const input = form.elements[name];
    input.toggleAttribute("aria-invalid", false);
    if (found.has(name)) input.setAttribute("aria-invalid", "true");
    document.getElementById(`field-${name}-error`).textContent = found.get(name) ?? "";
  }
  const first = schema.fields.find(({ name }) => found.has(name));
  if (first) form.elements[first.name].focus();
}

const changed = () => listeners.forEach((listener) => listener());
const threshold = () => (slider ? Number(slider.value) : null);

async function predict() {
  const row = readForm();
  const error = document.getElementById("form-error");
  error.textContent = "";
  showErrors([]);
  const path = `/v1/${schema.project}`;
  const query = slider && threshold() !== schema.threshold ? `?threshold=${threshold()}` : "";
  try {
    answered = { row, answer: await post(`${path}/predict${query}`, row) };
    show(schema, answered.row, answered.answer, threshold());
  } catch (problem) {
    error.textContent = problem.message;
    showErrors(problem.errors ?? []);
    return;
  }
  try {
    await explain(schema, await post(`${path}/explain`, row));
  } catch (problem) {
    forget(problem.message);
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  predict();
});
form.addEventListener("input", changed);
document.getElementById("example").addEventListener("click", () => fillForm(example));
document.getElementById("random")?.addEventListener("click", async () => {
  try {
    fillForm(await get(`/${schema.project}/predict/sample`));
    form.requestSubmit();
  } catch (problem) {
    document.getElementById("form-error").textContent = problem.message;
  }
});
slider?.addEventListener("input", () => {
  document.getElementById("threshold-value").textContent = percent(threshold());
  if (answered) show(schema, answered.row, answered.answer, threshold());
});

for (const button of form.querySelectorAll("button")) button.disabled = false; // before, the row would go into the address
const valid = () => form.checkValidity();
const page = { schema, readForm, valid, threshold, onChange: (listener) => listeners.push(listener) };
whenSeen(document.getElementById("what-if"), () => startWhatIf(page));
whenSeen(document.getElementById("compare"), () => startComparing(page));
startUpload(page);

const given = new URLSearchParams(location.search); // a link from the market
if (given.size) {
  fillForm(Object.fromEntries(given));
  form.requestSubmit();
}
