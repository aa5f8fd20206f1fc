// A row, and what the model says of it.

import { post } from "./api.js";
import { number, percent, points, signed } from "./format.js";

// A text as the value of a field. A plain number is one, so that it can be drawn; everything else is left for the server to
// read, or to say what is wrong with it.
export function valueOf(field, text) {
  if (text === "") return undefined;
  return field.kind === "number" && /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text;
}

// What the model says of some rows, without a trace in the log.
export const tryRows = (schema, rows) => post(`/${schema.project}/predict/try`, { rows });

export const amount = (schema, score) => (schema.classifies ? percent(score) : number(score, schema.unit));

export function difference(schema, score, before) {
  return signed(schema.classifies ? points(score - before) : number(score - before, schema.unit));
}
