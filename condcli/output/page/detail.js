"use strict";
// What there is on the chosen layer or activation.

function renderDetail(state) {
  const { item } = state;
  if (item === null) return;
  const { name, kind } = sections[item.section][item.index];
  byId("item-name").textContent = name;
  const of = page.steps[state.step].findings.filter((finding) =>
    finding.layers.some((place) => place[0] === item.section && place[1] === item.index),
  );
  byId("item-findings").replaceChildren(
    ...of.map((finding) =>
      make(
        "li",
        { class: finding.severity },
        `${SEVERITIES[finding.severity].mark} ${finding.title}`,
      ),
    ),
  );
  const notes = item.section === "layers" ? ["spectrum", "domination"] : [];
  byId("item-note").textContent = notes
    .map((table) => column(state.step, table, "note")[item.index])
    .filter(Boolean)
    .join("; ");
  byId("layer-detail").hidden = item.section !== "layers";
  byId("activation-detail").hidden = item.section === "layers";
  if (item.section === "layers") renderLayer(state, kind);
  else renderActivation(state, kind);
}

function renderLayer(state, kind) {
  const { index } = state.item;
  const layer = page.layers[index];
  byId("item-facts").textContent = [
    kind,
    `${layer.d_in} → ${layer.d_out}`,
    layer.groups > 1 ? `${layer.groups} groups` : null,
    layer.kernel.length ? `kernel ${layer.kernel.join("×")}` : null,
    `${layer.rows} rows`,
    `T = ${written(layer.positions)}`,
    `${layer.parameters} parameters`,
  ]
    .filter(Boolean)
    .join(" · ");
  renderNumbers(state);
  const curves = page.steps[state.step].curves?.[index];
  byId("no-curves").hidden = Boolean(curves);
  for (const id of ["eigenvalues", "singular-values"]) byId(id).hidden = !curves;
  if (!curves) return;
  curveChart(
    byId("eigenvalues"),
    "Eigenvalues λ_k, above their noise floors (dotted)",
    curves,
    { input: "λ(Σx)", grad: "λ(Σ∇h)" },
    [
      { value: curves.input_floor, line: 0 },
      { value: curves.grad_floor, line: 1 },
    ],
  );
  curveChart(
    byId("singular-values"),
    "Singular values σ_k",
    curves,
    { weight: "σ(W)", weight_grad: "σ(∂L/∂W)" },
    [],
  );
}

// Values in descending order over their place, in percent: κ_p divides by the one at p.
function curveChart(host, title, curves, labels, levels) {
  const names = Object.keys(labels);
  const joined = uPlot.join(
    names.map((name) => {
      const { size, values } = curves[name];
      return [page.places[size].map((place) => (100 * (place + 1)) / size), values];
    }),
  );
  const lines = names.map((name, n) => ({ label: labels[name], values: joined[n + 1] }));
  chart(host, joined[0], lines, {
    title,
    log: true,
    levels,
    xLabel: "place k of d, in %",
    xLegend: "k/d",
    xName: (_, v) => `${written(v)} %`,
  });
}

function renderNumbers(state) {
  const value = (table, name) => {
    const heading = page.headings[table].find((one) => one.name === name);
    return cellText(heading, column(state.step, table, name)[state.item.index]);
  };
  const rows = [
    ["λ_max", "lambda_max_input", "lambda_max_grad", "lambda_max"],
    ...percentages().map((p) => [`κ${p}`, `kappa_input_${p}`, `kappa_grad_${p}`, `kappa_${p}`]),
    ["rank", "rank_input", "rank_grad"],
    ["effective rank", "effective_rank_input", "effective_rank_grad"],
  ];
  byId("layer-numbers").replaceChildren(
    make(
      "tr",
      {},
      make("td"),
      ...["Σx", "Σ∇h", "F"].map((title) => make("th", { scope: "col" }, title)),
    ),
    ...rows.map(([title, ...names]) =>
      make(
        "tr",
        {},
        make("th", { scope: "row" }, title),
        ...names.map((name) => make("td", {}, value("spectrum", name))),
      ),
    ),
  );
  byId("weight-numbers").replaceChildren(
    ...page.headings.domination.slice(2, -1).flatMap(({ name, title }) => {
      const shown = value("domination", name);
      return shown === "" || shown === "–" ? [] : [make("dt", {}, title), make("dd", {}, shown)];
    }),
  );
}

function renderActivation(state, kind) {
  const { index } = state.item;
  const { units, rows } = page.activations[index];
  byId("item-facts").textContent = `${kind} · ${units} units · ${rows} rows`;
  byId("neuron-numbers").replaceChildren(
    ...page.headings.neurons.slice(4).flatMap(({ name, title, format }) => {
      const value = column(state.step, "neurons", name)[index];
      const of =
        name.endsWith("_share") && !title.startsWith("sat")
          ? `${name.split("_")[0]}, ${title}`
          : title;
      return value === null
        ? []
        : [make("dt", {}, of), make("dd", {}, cellText({ format }, value))];
    }),
  );
  const { never, always, bins } = page.steps[state.step].activity[index];
  byId("histogram").replaceChildren(
    ...[
      [never, "never on"],
      ...bins.map((count, n) => [
        count,
        `on for ${(100 * n) / bins.length} to ${(100 * (n + 1)) / bins.length} % of the rows`,
      ]),
      [always, "always on"],
    ].map(([count, title], n, all) =>
      binElement(count, title, Math.max(...all.map(([c]) => c)), n === 0 || n === all.length - 1),
    ),
  );
}

function binElement(count, title, most, end) {
  const fill = make("span", {});
  fill.style.height = `${most ? (100 * count) / most : 0}%`;
  return make(
    "span",
    {
      class: end ? "bin end" : "bin",
      title: `${count} units ${title}`,
      role: "img",
      "aria-label": `${count} units ${title}`,
    },
    make("small", {}, count ? String(count) : ""),
    fill,
  );
}

function percentages() {
  return page.headings.spectrum
    .map(({ name }) => name.match(/^kappa_input_(.+)$/)?.[1])
    .filter(Boolean);
}
