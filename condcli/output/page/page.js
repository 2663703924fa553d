"use strict";
// What is chosen, the address that says so, and who draws it.

const THEMES = ["auto", "light", "dark"];
let current = null; // {step, item: {section, index} or null, table, sort: {name, up} or null, percent, quantity, theme}

function initial() {
  const known = percentages();
  return {
    step: page.steps.length - 1,
    item: firstItem(),
    table: "spectrum",
    sort: null,
    percent: known.includes("80") ? "80" : known[0],
    quantity: "lambda_max",
    theme: "auto",
  };
}

// What the gravest finding of the last step names; else the first layer, or activation.
function firstItem() {
  const named = page.steps.at(-1).findings.flatMap(({ layers }) => layers);
  const found = named.find((place) => typeof place !== "string");
  if (found) return { section: found[0], index: found[1] };
  const section = ["layers", "activations"].find((name) => page[name].length);
  return section ? { section, index: 0 } : null;
}

// The part of the address behind #, such as layer=fc3&step=400; what is as at first is left out.
function address(state) {
  const usual = initial();
  const words = new URLSearchParams();
  if (
    state.item !== null &&
    (state.item.section !== usual.item.section || state.item.index !== usual.item.index)
  )
    words.set(state.item.section === "layers" ? "layer" : "activation", itemKey(state.item));
  if (state.step !== usual.step) words.set("step", stepKey(state.step));
  if (state.sort !== null) words.set("sort", (state.sort.up ? "" : "-") + state.sort.name);
  for (const name of ["table", "percent", "quantity", "theme"])
    if (state[name] !== usual[name]) words.set(name, state[name]);
  return `#${words}`;
}

// The state that an address stands for; what makes no sense in it is passed over.
function stateAt(hash) {
  const words = new URLSearchParams(hash.slice(1));
  const state = initial();
  for (const [word, section] of [
    ["layer", "layers"],
    ["activation", "activations"],
  ]) {
    const index = words.has(word) ? itemAt(section, words.get(word)) : -1;
    if (index >= 0) state.item = { section, index };
  }
  const step = page.steps.findIndex((_, index) => stepKey(index) === words.get("step"));
  if (step >= 0) state.step = step;
  const allowed = {
    table: Object.keys(TITLES),
    percent: percentages(),
    quantity: Object.keys(QUANTITIES),
    theme: THEMES,
  };
  for (const [name, values] of Object.entries(allowed))
    if (values.includes(words.get(name))) state[name] = words.get(name);
  const sort = words.get("sort")?.match(/^(-?)(\w+)$/);
  if (sort && page.headings[state.table].some(({ name }) => name === sort[2]))
    state.sort = { name: sort[2], up: !sort[1] };
  return state;
}

// A name, or where several items have it, @ and the item's place.
function itemKey({ section, index }) {
  const { name } = sections[section][index];
  return sections[section].filter((item) => item.name === name).length > 1 ? `@${index}` : name;
}

function itemAt(section, key) {
  const index = sections[section].findIndex(
    (_, place) => itemKey({ section, index: place }) === key,
  );
  return index;
}

function stepKey(index) {
  return String(page.steps[index].step ?? page.steps[index].file);
}

function linkTo(item) {
  return address({ ...current, item });
}

function change(changes) {
  clearTimeout(change.waiting); // browsers refuse a hundred addresses in half a minute
  change.waiting = setTimeout(() => history.replaceState(null, "", address(current)), 300);
  show({ ...current, ...changes });
}

// Draw what differs from what is shown.
function show(next) {
  const before = current;
  current = next;
  const differs = (...names) =>
    before === null || names.some((name) => before[name] !== next[name]);
  if (differs("theme")) applyTheme(next.theme);
  if (differs("step")) {
    renderFindings(next);
    renderAbout(next);
  }
  if (differs("step", "percent")) renderColumn(next);
  else if (differs("item")) markChosen(next);
  if (differs("step", "item", "percent")) {
    renderDetail(next);
    renderDepth(next);
  }
  if (differs("step", "item", "percent", "quantity")) renderRun(next);
  if (differs("step", "table", "sort")) renderTable(next);
  else if (differs("item")) markRow(next);
  if (differs("percent")) byId("percent").value = next.percent;
  if (differs("quantity")) byId("quantity").value = next.quantity;
}

function renderAbout({ step }) {
  const { headline, provenance } = page.steps[step];
  byId("headline").textContent = headline;
  const pairs = (facts) =>
    Object.entries(facts).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]);
  byId("provenance").replaceChildren(...pairs(provenance));
  byId("skipped").replaceChildren(...pairs(page.skipped));
  byId("skipped").parentElement.hidden = !Object.keys(page.skipped).length;
}

function applyTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  byId("theme").textContent = `Colours: ${theme}`;
  recolour();
}

function recolour() {
  redrawAll();
  if (current !== null && RUN) renderMap(current);
}

function onColumnKey(event) {
  const by = {
    ArrowDown: 1,
    ArrowUp: -1,
    PageDown: 10,
    PageUp: -10,
    Home: -Infinity,
    End: Infinity,
  }[event.key];
  const sideways = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (by) moveChoice(by);
  else if (sideways && RUN) moveStep(sideways);
  else return;
  event.preventDefault();
}

function start() {
  byId("title").textContent = document.title;
  buildColumn();
  buildTabs();
  buildRun();
  for (const p of percentages()) byId("percent").append(make("option", { value: p }, `κ${p}`));
  byId("percent").addEventListener("change", (event) => change({ percent: event.target.value }));
  byId("skip").addEventListener("click", () => byId("column").focus());
  byId("column").addEventListener("keydown", onColumnKey);
  byId("filter").addEventListener("input", (event) => filterColumn(event.target.value));
  byId("theme").addEventListener("click", () =>
    change({ theme: THEMES[(THEMES.indexOf(current.theme) + 1) % THEMES.length] }),
  );
  addEventListener("hashchange", () => show(stateAt(location.hash)));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
  let width = 0;
  new ResizeObserver(([{ contentRect }]) => {
    if (contentRect.width !== width) recolour();
    width = contentRect.width;
  }).observe(document.querySelector("main"));
  addEventListener("beforeprint", () => printed(true));
  addEventListener("afterprint", () => printed(false));
  show(stateAt(location.hash));
  if (/[#&](layer|activation)=/.test(location.hash)) byId("h-network").scrollIntoView();
}

// On paper: light, and with everything unfolded.
function printed(now) {
  for (const details of document.querySelectorAll("details")) if (now) details.open = true;
  document.documentElement.classList.toggle("printed", now);
  recolour();
}

start();
