// On every page: the theme's toggle, and the charts.

import { drawWhenSeen, redrawAll } from "./charts.js";

const root = document.documentElement;
const dark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
const toggle = document.getElementById("theme");

function show() {
  toggle.textContent = isDark() ? "Light" : "Dark";
  toggle.setAttribute("aria-label", `Switch to the ${isDark() ? "light" : "dark"} theme`);
}

toggle.hidden = false;
toggle.addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
  show();
  redrawAll();
});
dark.addEventListener("change", () => {
  show();
  redrawAll();
});
show();
drawWhenSeen();
