"use strict";
// The diagnosis: what the rules found at a step.

function renderFindings(state) {
  const { findings, file } = page.steps[state.step];
  const counts = Object.entries(SEVERITIES)
    .map(([severity, { word }]) => [findings.filter((f) => f.severity === severity).length, word])
    .filter(([count]) => count)
    .map(([count, word]) => `${count} ${word}${count > 1 ? "s" : ""}`);
  byId("verdict").textContent = counts.length
    ? `${counts.join(", ")} in ${file}.`
    : `Nothing found in ${file}: no rule holds for its ${page.layers.length} layers and ${page.activations.length} activations.`;
  byId("findings").replaceChildren(...findings.map(findingElement));
}

function findingElement(finding) {
  const { mark, word } = SEVERITIES[finding.severity];
  const named = finding.layers.map((place) =>
    typeof place === "string" ? document.createTextNode(place) : itemLink(...place),
  );
  const more = named.splice(8);
  const rest = more.length
    ? [make("details", {}, make("summary", {}, `${more.length} more`), ...spaced(more))]
    : [];
  return make(
    "li",
    { class: `finding ${finding.severity}` },
    make("h3", {}, make("span", { class: "severity" }, `${mark} ${word}`), ` ${finding.title}`),
    make("p", {}, finding.evidence),
    named.length ? make("div", { class: "named" }, ...spaced(named), ...rest) : null,
    make(
      "p",
      {},
      make("b", {}, "Why: "),
      finding.mechanism,
      make("small", {}, ` (${finding.source})`),
    ),
    make("p", {}, make("b", {}, "Try: "), finding.remedy),
  );
}

function spaced(elements) {
  return elements.flatMap((element) => [element, " "]);
}

// A link that can be copied, and that chooses the item without losing what else is chosen.
function itemLink(section, index) {
  const item = { section, index };
  const choose = (event) => {
    event.preventDefault();
    change({ item });
    byId("h-network").scrollIntoView();
  };
  const { name } = sections[section][index];
  return make("a", { href: linkTo(item), class: "item", title: name, onclick: choose }, name);
}
