"use strict";

const byId = (id) => document.getElementById(id);

function showTip(event, text) {
  const tip = byId("tip");
  tip.hidden = !event;
  if (!event) return;
  tip.textContent = text;
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, window.innerWidth - width - 8))}px`;
  tip.style.top = `${event.clientY + 18 + height > window.innerHeight ? event.clientY - height - 10 : event.clientY + 18}px`;
}

function switchTheme() {
  const root = document.documentElement;
  const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
}

function toggleHelp() {
  const keys = byId("keys");
  keys.hidden = !keys.hidden;
  byId("help").setAttribute("aria-expanded", String(!keys.hidden));
}

/** Let the buttons of every page and some keys do something. Escape works in a control, too. */
function listenToKeys(actions) {
  byId("theme").addEventListener("click", switchTheme);
  byId("help").addEventListener("click", toggleHelp);
  document.addEventListener("keydown", (event) => {
    const isTyped = event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select");
    const action = { t: switchTheme, "?": toggleHelp, ...actions }[event.key];
    if (!action || (isTyped && event.key !== "Escape")) return;
    event.preventDefault();
    action();
  });
}

function onNewWidth(redraw) {
  let width = window.innerWidth;
  window.addEventListener("resize", () => {
    if (width !== window.innerWidth) requestAnimationFrame(redraw);
    width = window.innerWidth;
  });
}

/** Make the page of a class once its data are read. */
function openPage(kind) {
  loadData().then((data) => {
    window.page = new kind(data);
    document.body.dataset.ready = "yes";
  }, (error) => {
    byId("facts").textContent = `This browser cannot read the data of the page: ${error.message}`;
  });
}
