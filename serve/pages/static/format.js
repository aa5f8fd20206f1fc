// As the filters of the same names in format.py.

const fixed = (digits) => ({ minimumFractionDigits: digits, maximumFractionDigits: digits });

export function number(value, unit = "") {
  if (value == null || !Number.isFinite(value)) return "–";
  const scaled = /^([\d,]+) (.+)$/.exec(unit); // 1,000 USD
  if (scaled) return number(value * Number(scaled[1].replaceAll(",", "")), scaled[2]);
  const size = Math.abs(value);
  const whole = Number.isInteger(value) || size >= 1000;
  const rounding = whole ? fixed(0) : size >= 100 ? fixed(1) : size >= 1 ? fixed(2) : { maximumSignificantDigits: 3 };
  const text = value.toLocaleString("en-US", { ...rounding, useGrouping: Boolean(unit) || size >= 10_000 || !whole });
  return `${text} ${unit}`.trimEnd();
}

export const percent = (share) => (Number.isFinite(share) ? `${(100 * share).toFixed(1)} %` : "–");

export function signed(text, value) {
  return value > 0 ? `+${text}` : text.replace(/^-/, "−");
}
