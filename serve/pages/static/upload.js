// A CSV file, predicted in batches. Rows that the server refuses are listed and left out, the others predicted.

import { post } from "./api.js";
import { parse, write } from "./csv.js";
import { el, table } from "./dom.js";
import { number, percent } from "./format.js";
import { valueOf } from "./row.js";

const BATCH = 200;
const TRIES = 20; // of a batch that the server has no time for
const LISTED = 100; // refused rows that are listed
const PREVIEW = 10;
const CLASSIFIED = ["predicted", "probability", "risk_level", "threshold", "warnings", "prediction_id"];
const VALUED = ["predicted", "lower", "upper", "warnings", "prediction_id"];
const at = (id) => document.getElementById(id);
const count = (value) => value.toLocaleString("en-US");

// The rows of a file as the server takes them, and those with too few or too many cells. An error for a file that is no
// table of rows of the project.
function readRows(schema, text) {
  const [header, ...records] = parse(text);
  if (!header) throw new Error("The file is empty.");
  const names = header.cells.map((name) => name.trim());
  const twice = names.filter((name, place) => names.indexOf(name) !== place);
  if (twice.length) throw new Error(`The header names ${[...new Set(twice)].join(", ")} more than once.`);
  const lacking = schema.fields.filter(({ name, required }) => required && !names.includes(name)).map(({ name }) => name);
  if (lacking.length) throw new Error(`The header lacks ${lacking.join(", ")}.`);
  if (!records.length) throw new Error("The file has a header and no rows.");
  const used = schema.fields.map((field) => [field, names.indexOf(field.name)]).filter(([, place]) => place >= 0);
  const rows = [];
  const refused = [];
  for (const { line, cells } of records) {
    const entries = used.map(([field, place]) => [field.name, valueOf(field, cells[place] ?? "")]);
    const row = Object.fromEntries(entries.filter(([, value]) => value !== undefined));
    if (cells.length === names.length) rows.push({ line, cells, row });
    else refused.push({ line, reason: `has ${cells.length} cells where the header has ${names.length}` });
  }
  const unused = names.filter((name) => !schema.fields.some((field) => field.name === name));
  return { names, rows, refused, unused };
}

// The reasons by place of the row, of a batch that the server refused.
function reasons(problem) {
  const found = new Map();
  for (const { row, field, message } of problem.status === 422 ? problem.errors : []) {
    if (row !== undefined) found.set(row, [...(found.get(row) ?? []), field ? `${field}: ${message}` : message]);
  }
  return found;
}

// The answers to some rows; those that the server refuses go to `refused`. It names some at a time, so this may take turns.
async function predictRows(path, rows, refused, signal) {
  let left = rows;
  for (let tries = 0; left.length; ) {
    try {
      const { predictions } = await post(path, { rows: left.map(({ row }) => row) }, signal);
      return left.map((entry, place) => ({ ...entry, answer: predictions[place] }));
    } catch (problem) {
      const wrong = reasons(problem);
      if ([429, 503].includes(problem.status) && tries++ < TRIES) {
        await new Promise((done) => setTimeout(done, 1000 * Math.min(problem.retryAfter || 1, 60)));
        signal.throwIfAborted();
      } else if (!wrong.size) throw problem;
      for (const [place, texts] of wrong) refused.push({ line: left[place].line, reason: texts.join("; ") });
      left = left.filter((_, place) => !wrong.has(place));
    }
  }
  return [];
}

function save(name, text) {
  const link = el("a", { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

// The file with the predictions beside the rows.
function predicted(schema, names, done) {
  const added = ({ answer }) =>
    schema.classifies
      ? [answer.label, answer.probability, answer.risk_level, answer.threshold]
      : [answer.prediction, answer.interval.lower, answer.interval.upper];
  const head = [...names, ...(schema.classifies ? CLASSIFIED : VALUED)];
  const named = ({ answer }) => [answer.warnings.join(" "), answer.prediction_id];
  return write([head, ...done.map((entry) => [...entry.cells, ...added(entry), ...named(entry)])]);
}

function summary(schema, file, { names, unused, refused }, done, complete) {
  refused.sort((one, other) => one.line - other.line);
  const parts = [el("p", { class: "big", role: "status" },
    `${complete ? "" : "Stopped: "}${count(done.length)} predicted, ${count(refused.length)} left out.`)];
  if (unused.length) parts.push(el("p", { class: "note" }, `The model does not use: ${unused.join(", ")}.`));
  const warned = done.filter(({ answer }) => answer.warnings.length).length;
  if (warned) {
    const text = `${count(warned)} predicted rows have a warning: see the column warnings of the download.`;
    parts.push(el("p", { class: "notice warn" }, text));
  }
  if (done.length) {
    const name = file.name.replace(/(\.csv)?$/i, "-predicted.csv");
    const download = () => save(name, predicted(schema, names, done));
    const text = `Download ${count(done.length)} predictions`;
    parts.push(el("p", {}, el("button", { type: "button", class: "main", click: download }, text)));
  }
  if (refused.length) {
    const caption = `Rows left out${refused.length > LISTED ? `, the first ${LISTED}` : ""}`;
    const rows = refused.slice(0, LISTED).map(({ line, reason }) => [`Line ${line}`, reason]);
    parts.push(table(caption, ["Line", "Reason"], rows));
  }
  if (done.length) {
    const told = ({ answer }) =>
      schema.classifies ? `${answer.label}, ${percent(answer.probability)}` : number(answer.prediction, schema.unit);
    const rows = done.slice(0, PREVIEW).map((entry) => [`Line ${entry.line}`, told(entry)]);
    parts.push(table("The first predictions", ["Line", "Predicted"], rows));
  }
  return parts;
}

export function startUpload({ schema, readForm, threshold }) {
  let running = null;

  function progress(done, all) {
    at("bar").max = all;
    at("bar").value = done;
    at("progress-text").textContent = `${count(done)} of ${count(all)} rows`;
  }

  async function predictFile(file) {
    running?.abort();
    const mine = (running = new AbortController());
    const size = Math.min(BATCH, schema.max_batch);
    const path = `/v1/${schema.project}/predict/batch${schema.classifies ? `?threshold=${threshold()}` : ""}`;
    const done = [];
    let read = null;
    at("file-error").textContent = "";
    at("outcome").replaceChildren();
    try {
      read = readRows(schema, await file.text());
      at("progress").hidden = at("cancel").hidden = false;
      for (let first = 0; first < read.rows.length; first += size) {
        progress(first, read.rows.length);
        done.push(...(await predictRows(path, read.rows.slice(first, first + size), read.refused, mine.signal)));
      }
    } catch (problem) {
      if (problem.name !== "AbortError") at("file-error").textContent = problem.message;
      else if (running !== mine) return; // another file was chosen
    }
    at("progress").hidden = at("cancel").hidden = true;
    const complete = !at("file-error").textContent && !mine.signal.aborted;
    if (read) at("outcome").replaceChildren(...summary(schema, file, read, done, complete));
  }

  at("csv").addEventListener("change", ({ target }) => {
    const [file] = target.files;
    target.value = ""; // so that the same file can be chosen again
    if (file) predictFile(file);
  });
  at("cancel").addEventListener("click", () => running?.abort());
  at("template").addEventListener("click", () => {
    const [names, row] = [schema.fields.map(({ name }) => name), readForm()];
    save(`${schema.project}.csv`, write([names, names.map((name) => row[name])]));
  });
}
