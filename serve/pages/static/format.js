// Numbers for people. Each function writes what its namesake in stages/runtime/wording.py does, to the character.

const fixed = (digits) => ({ minimumFractionDigits: digits, maximumFractionDigits: digits });
const written = (value, options) => value.toLocaleString("en-US", { roundingMode: "halfEven", signDisplay: "negative", ...options });

export function number(value, unit = "") {
  if (value == null || !Number.isFinite(value)) return "–";
  const scaled = /^([\d,]+) (.+)$/.exec(unit); // 1,000 USD
  if (scaled) return number(value * Number(scaled[1].replaceAll(",", "")), scaled[2]);
  const size = Math.abs(value);
  const whole = Number.isInteger(value) || size >= 1000;
  const rounding = whole ? fixed(0) : size >= 100 ? fixed(1) : size >= 1 ? fixed(2) : { maximumSignificantDigits: 3 };
  return `${written(value, { ...rounding, useGrouping: Boolean(unit) || size >= 10_000 || !whole })} ${unit}`.trimEnd();
}

export function count(value, noun = "", plural = "") {
  const named = value === 1 ? noun : plural || (noun && `${noun}s`);
  return `${written(value)} ${named}`.trimEnd();
}

export const percent = (share, digits = 1) =>
  Number.isFinite(share) ? `${written(100 * share, fixed(digits))} %` : "–";

export const points = (difference) => `${written(100 * difference, fixed(1))} percentage points`;

export const between = (low, high) => `${low.split(" ")[0]} to ${high}`;

export function signed(text) {
  if (!/[1-9]/.test(text.split(" ")[0])) return text.replace(/^-/, "");
  return text.startsWith("-") ? `−${text.slice(1)}` : `+${text}`;
}
