// Calling the server. What it refuses becomes a `Problem` (RFC 9457).

export class Problem extends Error {
  constructor(status, detail, errors = [], retryAfter = 0) {
    super(detail);
    Object.assign(this, { status, errors, retryAfter });
  }
}

// An address of the server, which may be below a prefix: the scripts are in static/<version>/ there.
export const address = (path) => new URL(`../..${path}`, import.meta.url).href;

async function respond(path, options) {
  let response;
  try {
    response = await fetch(address(path), options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "The server cannot be reached.");
  }
  if (response.status === 401) location.assign(address(`/sign-in?next=${encodeURIComponent(location.pathname)}`));
  if (!response.ok) {
    const body = await response.json().catch(() => ({}));
    const wait = Number(response.headers.get("retry-after")) || 0;
    throw new Problem(response.status, body.detail ?? `The server answered ${response.status}.`, body.errors, wait);
  }
  return response;
}

const call = async (path, options) => (await respond(path, options)).json();

const JSON_TYPE = { "Content-Type": "application/json", Accept: "application/json" };

export const get = (path, signal) => call(path, { headers: { Accept: "application/json" }, signal });
export const post = (path, body, signal) =>
  call(path, { method: "POST", headers: JSON_TYPE, body: JSON.stringify(body), signal });

// The answers to a file, which come as lines of JSON.
export async function* postFile(path, file, signal) {
  const headers = { "Content-Type": "text/csv", Accept: "application/x-ndjson" };
  const { body } = await respond(path, { method: "POST", headers, body: file, signal });
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ; ) {
    const { done, value } = await reader.read().catch((error) => {
      throw error.name === "AbortError" ? error : new Problem(0, "The server stopped answering before all rows were predicted.");
    });
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) yield JSON.parse(line);
  }
}
