// The charts of the page "Market". Each is drawn again, with its text and its table, whenever the filters change.

import { draw } from "./charts.js";
import { table } from "./dom.js";
import { count, number, percent } from "./format.js";
import { binned, grouped, largest, summary } from "./market_numbers.js";

const LEAST = 5; // adverts that a median needs
const SHOWN = 15; // categories
const COLOUR = "var(--accent)";

const money = (data, value) => number(value, data.unit);
const bare = (data, value) => money(data, value).split(" ")[0];
const titled = ({ title, unit }) => (unit ? `${title}, ${unit}` : title);
const ends = (groups) => (groups.length > 1 ? [groups[0], groups.at(-1)] : groups);
const half = (mark) => ({ ...mark, opacity: 0.3, color: COLOUR });
const prices = (data, field) =>
  ({ field, type: "quantitative", title: `Asking price, ${data.unit}`, axis: { format: "~s", tickCount: 6 } });

function show(id, spec, text, head, rows) {
  const figure = document.getElementById(id);
  const caption = figure.querySelector("figcaption").textContent;
  figure.querySelector(".numbers").replaceChildren(table(caption, head, rows, head.map((_, place) => place).slice(1)));
  return draw(figure, { ...spec, description: `${caption}: ${text || "too few adverts"}.` });
}

// A chart of median prices and what the middle half asks, from groups that have a `name`.
function showPrices(data, { name: id, title }, groups, spec) {
  const values = groups.map((group) =>
    ({ ...group, Median: money(data, group.median), half: `${bare(data, group.low)} to ${money(data, group.high)}` }));
  const tooltip = [
    { field: "name", title }, { field: "Median" }, { field: "half", title: "Middle half" },
    { field: "count", title: "Adverts", format: "," },
  ];
  const head = [title, "Adverts", `Median price, ${data.unit}`, "A quarter asks less than", "A quarter asks more than"];
  const rows = groups.map((group) =>
    [group.name, count(group.count), ...[group.median, group.low, group.high].map((value) => bare(data, value))]);
  const text = ends(groups).map((group) => `${group.name} ${money(data, group.median)}`).join(" to ");
  const encoding = { ...spec.encoding, tooltip };
  return show(`by-${id}`, { ...spec, data: { values }, encoding }, text, head, rows);
}

export function priceByCategory(data, dimension, places) {
  const groups = largest(grouped(places, (place) => dimension.values[place]), SHOWN)
    .filter(([, members]) => members.length >= LEAST)
    .map(([level, members]) => ({ name: dimension.levels[level], ...summary(data, members) }))
    .sort((a, b) => b.median - a.median);
  return showPrices(data, dimension, groups, {
    height: { step: 22 },
    encoding: { y: { field: "name", type: "nominal", sort: null, title: null } },
    layer: [
      { mark: half({ type: "bar", height: 12 }), encoding: { x: prices(data, "low"), x2: { field: "high" } } },
      { mark: { type: "tick", thickness: 3, size: 16, color: COLOUR }, encoding: { x: prices(data, "median") } },
    ],
  });
}

const range = ({ bins, unit }, { from, to }) => (bins.single ? number(from, unit) : `${number(from)} to ${number(to, unit)}`);
const axis = (groups) => ({ format: groups.some(({ from }) => from >= 10_000) ? "~s" : "d", tickCount: 8, tickMinStep: 1 });

export function priceByNumber(data, dimension, places) {
  const groups = binned(data, dimension, places)
    .filter((group) => group.count >= LEAST)
    .map((group) => ({
      ...group,
      name: range(dimension, group),
      middle: dimension.bins.single ? group.from : (group.from + group.to) / 2,
    }));
  const scale = { zero: false, nice: false };
  const x = { field: "middle", type: "quantitative", title: titled(dimension), scale, axis: { ...axis(groups), grid: false } };
  return showPrices(data, dimension, groups, {
    height: 240,
    encoding: { x },
    layer: [
      { mark: half({ type: "area" }), encoding: { y: prices(data, "low"), y2: { field: "high" } } },
      { mark: { type: "line", point: true, color: COLOUR }, encoding: { y: prices(data, "median") } },
    ],
  });
}

export function histogram(id, data, dimension, places) {
  const groups = binned(data, dimension, places).map((group) => ({ ...group, name: range(dimension, group) }));
  const most = largest(groups.map((group) => [group.name, { length: group.count }]), 1);
  const x = { field: "from", title: titled(dimension) };
  const { single, width } = dimension.bins;
  const edges = { x: { ...x, bin: { binned: true, step: width }, axis: axis(groups) }, x2: { field: "to" } };
  const spec = {
    data: { values: groups },
    mark: { type: "bar", color: COLOUR, binSpacing: 1 },
    height: 240,
    encoding: {
      ...(single ? { x: { ...x, type: "ordinal", axis: { labelAngle: 0, labelOverlap: true } } } : edges),
      y: { field: "count", type: "quantitative", title: "Adverts" },
      tooltip: [{ field: "name", title: dimension.title }, { field: "count", title: "Adverts", format: "," }],
    },
  };
  const text = most.map(([name, { length }]) => `most, ${count(length)}, at ${name}`).join("");
  const rows = groups.map((group) => [group.name, count(group.count), percent(group.count / places.length)]);
  return show(id, spec, text, [dimension.title, "Adverts", "Share"], rows);
}
