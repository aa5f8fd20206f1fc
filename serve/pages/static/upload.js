// A file, predicted by the server part by part. Rows that it refuses are counted by reason, the others predicted.

import { postFile } from "./api.js";
import { el, table } from "./dom.js";
import { count, number, percent } from "./format.js";

const LISTED = 50; // reasons that are listed
const at = (id) => document.getElementById(id);
const rows = (value) => count(value, "row");

function save(name, parts) {
  const link = el("a", { href: URL.createObjectURL(new Blob(parts, { type: "text/csv" })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

const button = (text, kind, click) => el("p", {}, el("button", { type: "button", class: kind, click }, text));

function summary(schema, file, found, complete) {
  const stem = file.name.replace(/\.gz$/i, "").replace(/\.(csv|tsv|txt)$/i, "");
  const parts = [el("p", { class: "big", role: "status" },
    `${complete ? "" : "Stopped: "}${count(found.done)} predicted, ${count(found.left_out)} left out.`)];
  if (found.unused.length) parts.push(el("p", { class: "note" }, `The model does not use: ${found.unused.join(", ")}.`));
  if (found.warned) {
    const text = `${rows(found.warned)} with a warning: see the column warnings of the download.`;
    parts.push(el("p", { class: "notice warn" }, text));
  }
  if (found.done) {
    const text = `Download ${count(found.done, "prediction")}`;
    parts.push(button(text, "main", () => save(`${stem}-predicted.csv`, found.csv)));
  }
  if (found.left_out) {
    const caption = `Why rows were left out${found.refusals.length > LISTED ? `, the first ${LISTED} reasons` : ""}`;
    const reasons = found.refusals.slice(0, LISTED).map(({ reason, rows, line, value }) =>
      [reason, count(rows), value ? `line ${line}: ${value}` : `line ${line}`]);
    parts.push(table(caption, ["Reason", "Rows", "The first"], reasons));
    parts.push(button(`Download ${rows(found.left_out)} left out`, "", () => save(`${stem}-left-out.csv`, [found.refused])));
  }
  if (found.preview.length) {
    const told = (answer) =>
      schema.classifies ? `${answer.label}, ${percent(answer.probability)}` : number(answer.prediction, schema.unit);
    const first = found.preview.map(({ line, answer }) => [`Line ${line}`, told(answer)]);
    parts.push(table("The first predictions", ["Line", "Predicted"], first));
  }
  return parts;
}

export function startUpload({ schema, threshold }) {
  let running = null;

  function progress({ done, rows: all }) {
    at("progress").hidden = at("cancel").hidden = false;
    at("bar").max = all || 1;
    at("bar").value = done;
    at("progress-text").textContent = `${count(done)} of ${rows(all)}`;
  }

  async function predictFile(file) {
    running?.abort();
    const mine = (running = new AbortController());
    const path = `/${schema.project}/predict/file${schema.classifies ? `?threshold=${threshold()}` : ""}`;
    const found = { done: 0, rows: 0, warned: 0, left_out: 0, refusals: [], refused: "", unused: [], preview: [], csv: [] };
    at("file-error").textContent = "";
    at("outcome").replaceChildren();
    try {
      if (file.size > schema.max_file) throw new Error(`The file is larger than the limit of ${count(schema.max_file, "byte")}.`);
      for await (const { csv, warned = 0, preview = [], error, ...rest } of postFile(path, file, mine.signal)) {
        if (error) throw new Error(error);
        Object.assign(found, rest);
        found.csv.push(csv);
        found.warned += warned;
        found.preview.push(...preview);
        progress(found);
      }
    } catch (problem) {
      if (problem.name !== "AbortError") at("file-error").textContent = problem.message;
      else if (running !== mine) return; // another file was chosen
    }
    at("progress").hidden = at("cancel").hidden = true;
    const complete = !at("file-error").textContent && !mine.signal.aborted;
    if (found.csv.length) at("outcome").replaceChildren(...summary(schema, file, found, complete));
  }

  at("csv").addEventListener("change", ({ target }) => {
    const [file] = target.files;
    target.value = ""; // so that the same file can be chosen again
    if (file) predictFile(file);
  });
  at("cancel").addEventListener("click", () => running?.abort());
}
