// The page "Market": filters over the adverts, and all that they change. The lists of the data hold the drawn adverts and behind
// them the offers; a dimension's values are places among its levels, or numbers; null is what an advert does not say.

import { address, get } from "./api.js";
import { debounced, el, json, table } from "./dom.js";
import { between, count, number, percent, signed } from "./format.js";
import { histogram, priceByCategory, priceByNumber } from "./market_charts.js";
import { binning, grouped, known, largest, quantile, summary } from "./market_numbers.js";

const SEGMENTS = 15;
const OFFERS = 20; // shown at a time
const { project, unit, columns } = json("market");
const at = (id) => document.getElementById(id);
const form = at("filters");
const money = (value) => number(value, unit);
const bare = (value) => money(value).split(" ")[0];
const numeric = (data) => data.dimensions.filter(({ levels }) => !levels);

// A test of an advert's place.
function filter(data) {
  const given = new FormData(form);
  const tests = [];
  const within = (values, name) => {
    const [from, to] = ["from", "to"].map((end) => given.get(`${name}-${end}`));
    if (from) tests.push((place) => values[place] !== null && values[place] >= Number(from));
    if (to) tests.push((place) => values[place] !== null && values[place] <= Number(to));
  };
  for (const { name, levels, values } of data.dimensions) {
    const level = levels?.indexOf(given.get(name));
    if (!levels) within(values, name);
    else if (level >= 0) tests.push((place) => values[place] === level);
  }
  within(data.price, "price");
  return (place) => tests.every((test) => test(place));
}

// The address holds the filters, so that it can be kept and sent.
function remember() {
  const given = [...new FormData(form)].filter(([, value]) => value);
  history.replaceState(null, "", given.length ? `?${new URLSearchParams(given)}` : location.pathname);
}

function recall() {
  for (const [name, value] of new URLSearchParams(location.search)) {
    if (form.elements[name]) form.elements[name].value = value;
  }
}

function showFigures(data, places) {
  const all = summary(data, places);
  const figure = (label, value, note) =>
    el("div", {}, el("dt", {}, label), el("dd", {}, value), note && el("dd", { class: "note" }, note));
  const middle = (label, values, of) => {
    const silent = places.length - values.length;
    return figure(label, values.length ? number(quantile(values, 0.5), of) : "–", silent && `${count(silent)} without it`);
  };
  const area = data.dimensions.find((dimension) => dimension.unit === "square feet");
  const rates = area?.values.map((size, place) => size && data.price[place] / size);
  at("figures").replaceChildren(
    figure("Adverts", count(all.count)),
    figure("Median price", money(all.median), `quartiles ${between(money(all.low), money(all.high))}`),
    ...(rates ? [middle("Median price per square foot", known(rates, places), unit)] : []),
    ...numeric(data).map(({ title, values, unit: of }) => middle(`Median ${title.toLowerCase()}`, known(values, places), of)),
    figure("Below the model's interval", percent(all.below), count(Math.round(all.below * all.count), "advert")),
    figure("Above it", percent(all.above), count(Math.round(all.above * all.count), "advert")),
  );
}

function showSegments(data, places) {
  const crossed = data.dimensions.filter(({ levels }) => levels).slice(0, 2);
  const segment = (place) => {
    const parts = crossed.map(({ levels, values }) => levels[values[place]]);
    return parts.includes(undefined) ? null : parts.join(" · ");
  };
  const rows = largest(grouped(places, segment), SEGMENTS).map(([name, members]) => {
    const { median, below, above } = summary(data, members);
    const share = percent(members.length / places.length);
    return [name, count(members.length), share, bare(median), percent(below), percent(above)];
  });
  const title = crossed.map((dimension) => dimension.title).join(" · ");
  const head = [title, "Adverts", "Share", `Median price, ${unit}`, "Below the interval", "Above it"];
  at("segments").replaceChildren(table("The largest segments", head, rows, [1, 2, 3, 4, 5]));
}

// The first fields of a row, which a project puts in the order of their weight.
function inWords(row) {
  const parts = columns.filter(({ name }) => name in row).slice(0, 5).map(({ name, title, unit: of }) => {
    if (typeof row[name] !== "number") return row[name];
    return of ? number(row[name], of) : `${title.toLowerCase()} ${number(row[name])}`;
  });
  return parts.join(", ");
}

function showOffers(data, offers, most) {
  const side = Number(document.querySelector("#sides input:checked").value);
  const sided = (which) => offers.filter((offer) => data.side[offer.at] === which);
  at("bargains").textContent = `Bargains, below the interval (${count(sided(-1).length)})`;
  at("expensive").textContent = `Expensive, above the interval (${count(sided(1).length)})`;
  const found = sided(side);
  const rows = found.slice(0, most).map(({ at: place, row, model, low, high, serves }) => {
    const asked = data.price[place];
    const difference = signed(percent(asked / model - 1));
    const link = el("a", { href: address(`/${project}/predict?${new URLSearchParams(row)}`) }, inWords(row));
    const served = serves === undefined ? "–" : bare(serves); // reports of older pipelines do not say
    return [link, bare(asked), bare(model), `${bare(low)} to ${bare(high)}`, difference, served];
  });
  const caption = found.length ? `${side < 0 ? "Below" : "Above"} the model's interval` : "None among these adverts";
  const model = `Model without the advert, ${unit}`;
  const head = ["Advert", `Asked, ${unit}`, model, `Interval, ${unit}`, "Asked against model", `Model that serves, ${unit}`];
  at("offers").replaceChildren(table(caption, head, rows, [1, 2, 3, 4, 5]));
  at("more").hidden = found.length <= most;
}

async function start() {
  let data;
  try {
    data = { ...(await get(`/${project}/market/data`)), unit };
  } catch (problem) {
    at("count").textContent = problem.message;
    return;
  }
  const drawn = Array.from({ length: data.drawn }, (_, place) => place);
  const price = { title: "Asking price", unit, values: data.price };
  for (const dimension of [price, ...numeric(data)]) dimension.bins = binning(known(dimension.values, drawn));
  let offers = [];
  let most = OFFERS;

  async function update() {
    const passes = filter(data);
    const places = drawn.filter(passes);
    offers = data.offers.filter((offer) => passes(offer.at));
    most = OFFERS;
    at("results").hidden = !places.length;
    at("count").textContent = places.length
      ? `${count(places.length)} of ${count(drawn.length, "advert")}`
      : "No advert is like that: widen the filters.";
    if (!places.length) return;
    showFigures(data, places);
    showSegments(data, places);
    showOffers(data, offers, most);
    await Promise.all([
      histogram("prices", data, price, places),
      ...numeric(data).slice(0, 1).map((dimension) => histogram("inventory", data, dimension, places)),
      ...data.dimensions.map((dimension) => (dimension.levels ? priceByCategory : priceByNumber)(data, dimension, places)),
    ]);
  }

  let drawing = Promise.resolve();
  const change = debounced(() => {
    remember();
    drawing = drawing.then(update);
  }, 150);
  form.addEventListener("input", change);
  form.addEventListener("reset", () => setTimeout(change));
  form.addEventListener("submit", (event) => event.preventDefault());
  at("sides").addEventListener("change", () => showOffers(data, offers, (most = OFFERS)));
  at("more").addEventListener("click", () => showOffers(data, offers, (most += OFFERS)));
  recall();
  await update();
}

start();
