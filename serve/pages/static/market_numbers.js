// What the page "Market" counts. Adverts are known by their places in the lists of the data.

export const ascending = (values) => Float64Array.from(values).sort();
export const known = (values, places) => ascending(places.map((place) => values[place]).filter((value) => value !== null));

// Linear between the two neighbours, as NumPy does.
export function quantile(sorted, share) {
  const place = share * (sorted.length - 1);
  const below = Math.floor(place);
  const rest = place - below;
  return rest ? sorted[below] * (1 - rest) + sorted[below + 1] * rest : sorted[below];
}

// How many adverts, the quartiles of their prices, and the shares that are below and above the model's interval.
export function summary(data, places) {
  const prices = ascending(places.map((place) => data.price[place]));
  const share = (side) => places.filter((place) => data.side[place] === side).length / places.length;
  const [low, median, high] = [0.25, 0.5, 0.75].map((part) => quantile(prices, part));
  return { count: places.length, low, median, high, below: share(-1), above: share(1) };
}

// [key, places] of each key but null.
export function grouped(places, key) {
  const groups = new Map();
  for (const place of places) {
    const name = key(place);
    if (name === null) continue;
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(place);
  }
  return [...groups];
}

export const largest = (groups, most) => groups.sort(([, a], [, b]) => b.length - a.length).slice(0, most);

// Some 30 bins of a round width that hold all but the ends of the values, as prices have a long tail. Made of all adverts, so
// that a chart keeps its axis.
export function binning(sorted) {
  const low = quantile(sorted, 0.005);
  const high = quantile(sorted, 0.98);
  const whole = sorted.every(Number.isInteger);
  const least = (high - low) / 30 || 1;
  const power = 10 ** Math.floor(Math.log10(least));
  const width = Math.max([1, 2, 5, 10].find((factor) => factor * power >= least) * power, whole ? 1 : 0);
  const start = Math.floor(low / width) * width;
  const last = Math.floor((high - start) / width);
  const of = (value) => {
    const bin = value === null ? -1 : Math.floor((value - start) / width);
    return bin < 0 || bin > last ? null : bin;
  };
  return { width, of, single: whole && width === 1, from: (bin) => Number((start + bin * width).toPrecision(12)) };
}

export function binned(data, { values, bins }, places) {
  return grouped(places, (place) => bins.of(values[place]))
    .sort(([a], [b]) => a - b)
    .map(([bin, members]) => ({ from: bins.from(bin), to: bins.from(bin + 1), ...summary(data, members) }));
}
