"use strict";
// The column of layers and activations, with a cue for each and one of them chosen.

const options = []; // of the column: {section, index, element}

// The column is built once; its cues change with the step.
function buildColumn() {
  for (const [section, items] of Object.entries(sections)) {
    if (!items.length) continue;
    const heading = section === "layers" ? "Layers, in forward order" : "Activations";
    const group = make(
      "div",
      { role: "group", "aria-label": heading },
      make("div", { class: "group" }, heading),
    );
    items.forEach((item, index) => {
      const element = make("div", {
        role: "option",
        id: `${section}-${index}`,
        title: item.name,
        onclick: () => change({ item: { section, index } }),
      });
      options.push({ section, index, element });
      group.append(element);
    });
    byId("column").append(group);
  }
}

function renderColumn(state) {
  const worst = worstSeverities(state.step);
  for (const { section, index, element } of options) {
    const cues = section === "layers" ? layerCues(state, index) : activationCues(state.step, index);
    const severity = worst[section].get(index);
    const mark = severity
      ? make("span", { class: `mark ${severity}` }, SEVERITIES[severity].mark)
      : make("span", { class: "mark" });
    element.replaceChildren(
      mark,
      make("span", { class: "name" }, sections[section][index].name),
      ...cues.elements,
    );
    element.setAttribute(
      "aria-label",
      [sections[section][index].name, severity ? SEVERITIES[severity].word : null, ...cues.words]
        .filter(Boolean)
        .join(", "),
    );
  }
  markChosen(state);
}

function worstSeverities(step) {
  const worst = { layers: new Map(), activations: new Map() };
  for (const finding of page.steps[step].findings)
    for (const place of finding.layers)
      if (typeof place !== "string" && !worst[place[0]].has(place[1]))
        worst[place[0]].set(place[1], finding.severity);
  return worst;
}

// A bar for λ_max(F) and one for κ, both logarithmic, and a sign for weight domination.
function layerCues(state, index) {
  const size = column(state.step, "spectrum", "lambda_max")[index];
  const kappa = column(state.step, "spectrum", `kappa_${state.percent}`)[index];
  const dominated = column(state.step, "domination", "dominated")[index];
  return {
    elements: [
      make(
        "span",
        { class: "flag", title: dominated ? "dominated by its weight" : null },
        dominated ? "▼" : "",
      ),
      bar("size", share(size, range("lambda_max")), `λ(F) ${written(size)}`),
      bar(
        "kappa",
        share(kappa, range(`kappa_${state.percent}`)),
        `κ${state.percent}(F) ${written(kappa)}`,
      ),
    ],
    words: [
      `λ(F) ${written(size)}`,
      `κ${state.percent}(F) ${written(kappa)}`,
      dominated ? "dominated" : null,
    ],
  };
}

function activationCues(step, index) {
  const [dying, full] = ["dying_share", "full_share"].map(
    (name) => column(step, "neurons", name)[index],
  );
  const words = [
    ["dying", dying],
    ["full", full],
  ].map(([word, value]) =>
    value === null ? null : `${word} ${cellText({ format: "percent" }, value)}`,
  );
  return {
    elements: [
      make("span", { class: "flag", title: dying ? words[0] : null }, dying ? "○" : ""),
      bar("dying", dying ?? 0, words[0]),
      bar("full", full ?? 0, words[1]),
    ],
    words,
  };
}

function bar(kind, part, title) {
  const fill = make("span", {});
  fill.style.width = `${100 * part}%`;
  return make("span", { class: `bar ${kind}`, title }, fill);
}

// Of a column with a bar, the decades that it spans over all layers and steps.
function range(name) {
  range.found ??= new Map();
  if (!range.found.has(name))
    range.found.set(name, decades(page.steps.flatMap((_, step) => column(step, "spectrum", name))));
  return range.found.get(name);
}

function markChosen({ item }) {
  for (const { section, index, element } of options) {
    const chosen = item !== null && section === item.section && index === item.index;
    element.setAttribute("aria-selected", chosen);
    if (!chosen) continue;
    byId("column").setAttribute("aria-activedescendant", element.id);
    const column = byId("column");
    const above = element.offsetTop - column.scrollTop - 30;
    if (above < 0) column.scrollTop += above;
    const below = above + 30 + element.offsetHeight - column.clientHeight;
    if (below > 0) column.scrollTop += below;
  }
}

// Move the choice by so many visible places; to either end with ±Infinity.
function moveChoice(by) {
  const shown = options.filter(({ element }) => !element.hidden);
  if (!shown.length) return;
  const { item } = current;
  const now = shown.findIndex(
    ({ section, index }) => section === item.section && index === item.index,
  );
  const { section, index } = shown[Math.max(0, Math.min(shown.length - 1, now + by))];
  change({ item: { section, index } });
}

function filterColumn(words) {
  const wanted = words.trim().toLowerCase();
  for (const { section, index, element } of options)
    element.hidden = !sections[section][index].name.toLowerCase().includes(wanted);
}
