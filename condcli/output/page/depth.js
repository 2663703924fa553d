"use strict";
// What changes over depth, layer by layer.

function renderDepth(state) {
  const p = state.percent;
  const names = page.layers.map(({ name }) => name);
  const chosen = state.item?.section === "layers" ? state.item.index : null;
  const options = {
    log: true,
    whole: true,
    chosen,
    xLabel: "layer, in forward order",
    xLegend: "layer",
    xName: (i) => names[i],
    choose: (index) => change({ item: { section: "layers", index } }),
  };
  const lines = (table, wanted) =>
    Object.entries(wanted)
      .filter(([name]) => isKnown(table, name))
      .map(([name, label]) => ({ label, values: column(state.step, table, name) }));
  const x = page.layers.map((_, index) => index + 1);
  chart(
    byId("depth-size"),
    x,
    lines("spectrum", { lambda_max_input: "λ(Σx)", lambda_max_grad: "λ(Σ∇h)", lambda_max: "λ(F)" }),
    { ...options, title: "Largest eigenvalues: how large signals, gradients and updates are" },
  );
  chart(
    byId("depth-kappa"),
    x,
    lines("spectrum", {
      [`kappa_input_${p}`]: `κ${p}(Σx)`,
      [`kappa_grad_${p}`]: `κ${p}(Σ∇h)`,
      [`kappa_${p}`]: `κ${p}(F)`,
    }),
    { ...options, title: `Condition numbers κ${p}: how hard layers are to optimise` },
  );
  chart(
    byId("depth-weight"),
    x,
    lines("domination", { sigma_max_weight: "σ(W)", sigma_max_grad: "σ(∂L/∂W)", ratio: "ratio" }),
    {
      ...options,
      title: "Weights against their gradients (dotted: ratio under which a layer is dominated)",
      levels: [{ value: page.domination_threshold, line: 2 }],
    },
  );
  const activation = state.item?.section === "activations" ? state.item.index : null;
  byId("depth-neurons").hidden = !page.activations.length;
  if (page.activations.length)
    chart(
      byId("depth-neurons"),
      page.activations.map((_, index) => index + 1),
      lines("neurons", {
        dying_share: "dying",
        full_share: "full",
        saturated_share: "saturated",
      }).map((line) => ({
        ...line,
        values: line.values.map((value) => (value === null ? null : 100 * value)),
      })),
      {
        ...options,
        log: false,
        chosen: activation,
        title: "Neurons that are dying, full or saturated, in %",
        xLabel: "activation, in forward order",
        xLegend: "activation",
        xName: (i) => page.activations[i].name,
        choose: (index) => change({ item: { section: "activations", index } }),
      },
    );
}
