// Reading and writing CSV (RFC 4180).

// Records of a text: quoted fields with doubled quotes, commas and line ends inside, CRLF, LF or CR, a byte order mark. Each
// is { line, cells }, where `line` is the number of the line that it begins on; empty lines are left out. An error for a
// quote that is never closed.
export function parse(text) {
  const records = [];
  let cells = [];
  let cell = "";
  let quoted = false;
  let opened = 0;
  let line = 1;
  let start = 1;
  const end = () => {
    cells.push(cell);
    if (cells.length > 1 || cells[0] !== "") records.push({ line: start, cells });
    [cells, cell, start] = [[], "", line + 1];
  };
  for (let at = text.charCodeAt(0) === 0xfeff ? 1 : 0; at < text.length; at++) {
    const character = text[at];
    if (quoted) {
      if (character === '"' && text[at + 1] === '"') cell += text[at++];
      else if (character === '"') quoted = false;
      else {
        if (character === "\n" || (character === "\r" && text[at + 1] !== "\n")) line++;
        cell += character;
      }
    } else if (character === '"' && cell === "") [quoted, opened] = [true, line];
    else if (character === ",") {
      cells.push(cell);
      cell = "";
    } else if (character === "\n" || character === "\r") {
      if (character === "\r" && text[at + 1] === "\n") at++;
      end();
      line++;
    } else cell += character;
  }
  if (quoted) throw new Error(`The quote that is opened in line ${opened} is never closed.`);
  if (cell !== "" || cells.length) end();
  return records;
}

// One cell. Text that a spreadsheet would take for a formula begins with an apostrophe, which keeps it text; numbers stay.
export function cell(value) {
  let text = value === null || value === undefined ? "" : String(value);
  const numeric = typeof value === "number" || (text.trim() !== "" && Number.isFinite(Number(text)));
  if (!numeric && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export const write = (rows) => rows.map((row) => `${row.map(cell).join(",")}\r\n`).join("");
