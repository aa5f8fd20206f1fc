// Making elements. Text goes through textContent alone, so whatever a user wrote stays text.

export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child != null));
  return element;
}

// As the macro of the same name; `numeric` holds the numbers of the columns that are numbers.
export function table(caption, head, rows, numeric = []) {
  const kind = (at) => (numeric.includes(at) ? { class: "number" } : {});
  const line = (cells) =>
    el("tr", {}, cells.map((cell, at) => (at ? el("td", kind(at), cell) : el("th", { scope: "row" }, cell))));
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el("table", {},
      el("caption", {}, caption),
      el("thead", {}, el("tr", {}, head.map((title, at) => el("th", { scope: "col", ...kind(at) }, title)))),
      el("tbody", {}, rows.map(line))));
}

// The data of a script block, from the macro `data`.
export const json = (id) => JSON.parse(document.getElementById(id).textContent);

// Starts something once its place on the page is about to be seen.
export function whenSeen(element, start) {
  const watcher = new IntersectionObserver((entries) => {
    if (!entries.some(({ isIntersecting }) => isIntersecting)) return;
    watcher.disconnect();
    start(element);
  }, { rootMargin: "200px" });
  watcher.observe(element);
}

export function debounced(work, milliseconds) {
  let timer;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...given), milliseconds);
  };
}
