// Calling the server. What it refuses becomes a `Problem` (RFC 9457).

export class Problem extends Error {
  constructor(status, detail, errors = [], retryAfter = 0) {
    super(detail);
    Object.assign(this, { status, errors, retryAfter });
  }
}

async function call(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "The server cannot be reached.");
  }
  if (response.status === 401) location.assign(`/sign-in?next=${encodeURIComponent(location.pathname)}`);
  const body = await response.json().catch(() => ({}));
  if (!response.ok) {
    const wait = Number(response.headers.get("retry-after")) || 0;
    throw new Problem(response.status, body.detail ?? `The server answered ${response.status}.`, body.errors, wait);
  }
  return body;
}

const JSON_TYPE = { "Content-Type": "application/json", Accept: "application/json" };

export const get = (path, signal) => call(path, { headers: { Accept: "application/json" }, signal });
export const post = (path, body, signal) =>
  call(path, { method: "POST", headers: JSON_TYPE, body: JSON.stringify(body), signal });
