"use strict";
// The terminal's tables: one at a time, sorted by a click on a column's title.

const TITLES = { spectrum: "Spectrum", domination: "Domination", neurons: "Neurons" };

function renderTable(state) {
  const section = state.table === "neurons" ? "activations" : "layers";
  const [own, ...others] = page.headings[state.table];
  const columns = others.filter(({ name }) => isKnown(state.table, name));
  for (const tab of document.querySelectorAll("[role=tab]")) {
    const chosen = tab.id === `tab-${state.table}`;
    tab.setAttribute("aria-selected", chosen);
    tab.tabIndex = chosen ? 0 : -1;
  }
  byId("panel").setAttribute("aria-labelledby", `tab-${state.table}`);
  byId("table-head").replaceChildren(
    make("tr", {}, ...[own, ...columns].map((one) => titleCell(one, state))),
  );
  byId("table-body").replaceChildren(
    ...order(state, sections[section].length, own).map((index) =>
      make(
        "tr",
        { "data-item": `${section}-${index}` },
        make("th", { scope: "row" }, itemLink(section, index)),
        ...columns.map((one) =>
          make(
            "td",
            { class: one.kind },
            cellText(one, column(state.step, state.table, one.name)[index]),
          ),
        ),
      ),
    ),
  );
  markRow(state);
}

function markRow({ item }) {
  for (const row of byId("table-body").rows)
    row.classList.toggle("chosen", row.dataset.item === `${item?.section}-${item?.index}`);
}

function titleCell({ name, title, kind }, { sort }) {
  const sorted = sort !== null && sort.name === name;
  const direction = !sorted ? "none" : sort.up ? "ascending" : "descending";
  const sign = !sorted ? "" : sort.up ? " ↑" : " ↓";
  return make(
    "th",
    { scope: "col", class: kind, "aria-sort": direction },
    make(
      "button",
      { type: "button", onclick: () => change({ sort: nextSort(name, kind, sort) }) },
      title + sign,
    ),
  );
}

// Numbers from the largest first, texts from A; then the other way round; then as in the network.
function nextSort(name, kind, sort) {
  const first = kind === "text";
  if (sort === null || sort.name !== name) return { name, up: first };
  return sort.up === first ? { name, up: !first } : null;
}

// The places of the rows as sorted; no value comes last either way.
function order({ table, sort, step }, count, own) {
  const places = Array.from({ length: count }, (_, place) => place);
  if (sort === null) return places;
  const heading = page.headings[table].find(({ name }) => name === sort.name);
  if (!heading) return places;
  const values =
    heading.name === own.name
      ? sections[table === "neurons" ? "activations" : "layers"].map(({ name }) => name)
      : column(step, table, sort.name);
  const sign = sort.up ? 1 : -1;
  if (heading.kind === "text")
    return places.sort(
      (a, b) => sign * String(values[a]).localeCompare(String(values[b]), "en", { numeric: true }),
    );
  const size = (place) =>
    typeof values[place] === "boolean" ? Number(values[place]) : magnitude(values[place]);
  return places.sort((a, b) => {
    const [x, y] = [size(a), size(b)];
    if (x === null || y === null) return (x === null) - (y === null);
    return x === y ? a - b : sign * (x < y ? -1 : 1);
  });
}

function buildTabs() {
  for (const [name, title] of Object.entries(TITLES)) {
    byId("tabs").append(
      make(
        "button",
        {
          type: "button",
          role: "tab",
          id: `tab-${name}`,
          "aria-controls": "panel",
          onclick: () => change({ table: name, sort: null }),
        },
        title,
      ),
    );
  }
  byId("tabs").addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    const names = Object.keys(TITLES);
    const next = names[(names.indexOf(current.table) + by + names.length) % names.length];
    change({ table: next, sort: null });
    byId(`tab-${next}`).focus();
    event.preventDefault();
  });
}
