"use strict";
// What changes over the steps of a run.

const RUN = page.steps.length > 1;
const QUANTITIES = {
  // of the map of layers × steps
  lambda_max: ["spectrum", "λ_max(F)"],
  lambda_max_grad: ["spectrum", "λ_max(Σ∇h)"],
  lambda_max_input: ["spectrum", "λ_max(Σx)"],
  kappa: ["spectrum", "κ(F)"],
  ratio: ["domination", "σ(∂L/∂W) / σ(W)"],
};

function renderRun(state) {
  if (!RUN) return;
  byId("step").value = state.step;
  byId("step").setAttribute("aria-valuetext", stepName(state.step));
  byId("step-name").textContent =
    `${stepName(state.step)} (${state.step + 1} of ${page.steps.length})`;
  const x = page.steps.map(({ step }, index) => step ?? index);
  const options = {
    chosen: state.step,
    whole: true,
    xLabel: "step",
    xName: (index) => stepName(index),
    choose: (step) => change({ step }),
  };
  const own = (name) => page.steps.map((one) => one[name]);
  chart(byId("run-loss"), x, [{ label: page.steps[0].provenance.loss_name, values: own("loss") }], {
    ...options,
    title: "Loss on the probe set",
  });
  byId("run-accuracy").hidden = own("accuracy").every((value) => value === null);
  if (!byId("run-accuracy").hidden)
    chart(byId("run-accuracy"), x, [{ label: "accuracy", values: own("accuracy") }], {
      ...options,
      title: "Accuracy on the probe set",
    });
  renderMap(state);
  renderCourse(state, x, options);
}

// The chosen item over the steps.
function renderCourse({ item, percent: p }, x, options) {
  if (item === null) return;
  const lines = (table, wanted) =>
    Object.entries(wanted).map(([name, label]) => ({
      label,
      values: course(table, name, item.index),
    }));
  const draw = (id, log, title, found) => chart(byId(id), x, found, { ...options, log, title });
  if (item.section === "layers") {
    draw(
      "course-size",
      true,
      "Largest eigenvalues over steps",
      lines("spectrum", {
        lambda_max_input: "λ(Σx)",
        lambda_max_grad: "λ(Σ∇h)",
        lambda_max: "λ(F)",
      }),
    );
    draw(
      "course-kappa",
      true,
      `κ${p} over steps`,
      lines("spectrum", {
        [`kappa_input_${p}`]: `κ${p}(Σx)`,
        [`kappa_grad_${p}`]: `κ${p}(Σ∇h)`,
        [`kappa_${p}`]: `κ${p}(F)`,
      }),
    );
    draw(
      "course-weight",
      true,
      "Weight against its gradient over steps",
      lines("domination", { sigma_max_weight: "σ(W)", sigma_max_grad: "σ(∂L/∂W)", ratio: "ratio" }),
    );
  } else {
    draw(
      "course-neurons",
      false,
      "Neurons over steps",
      lines("neurons", { dying: "dying", full: "full" }),
    );
  }
}

// A map of all layers over all steps: the fuller the colour, the larger the value.
function renderMap(state) {
  const [table, title] = QUANTITIES[state.quantity];
  const name = state.quantity === "kappa" ? `kappa_${state.percent}` : state.quantity;
  const values = page.steps.map((_, step) => column(step, table, name));
  const range = decades(values.flat());
  const canvas = byId("map");
  const height = Math.max(120, Math.min(640, 14 * page.layers.length));
  canvas.width = canvas.parentElement.clientWidth * devicePixelRatio;
  canvas.height = height * devicePixelRatio;
  canvas.style.height = `${height}px`;
  paintMap(canvas, values, range, state);
  const [low, high] = range.map((log) => written(10 ** log));
  const told = low === "∞" ? `${title}: no values` : `${title} from ${low} to ${high}`;
  byId("map-range").textContent =
    `${told}, from faint to full; a row a layer, the first on top, a column a step; click to choose`;
  canvas.setAttribute("aria-label", `${told}, of every layer at every step`);
}

function paintMap(canvas, values, range, state) {
  const context = canvas.getContext("2d");
  const [w, h] = [canvas.width / values.length, canvas.height / Math.max(1, values[0].length)];
  const [none, faint, full] = ["--line", "--map-low", "--map-high"].map(colour);
  values.forEach((layers, step) =>
    layers.forEach((value, layer) => {
      const box = [Math.floor(step * w), Math.floor(layer * h), Math.ceil(w), Math.ceil(h)];
      context.fillStyle = magnitude(value) === null ? none : faint;
      context.fillRect(...box);
      context.globalAlpha = share(value, range);
      context.fillStyle = full;
      context.fillRect(...box);
      context.globalAlpha = 1;
    }),
  );
  context.strokeStyle = colour("--chosen");
  context.lineWidth = 2 * devicePixelRatio;
  context.strokeRect(state.step * w, 0, w, canvas.height);
  if (state.item?.section === "layers")
    context.strokeRect(0, state.item.index * h, canvas.width, h);
}

function buildRun() {
  byId("run").hidden = byId("steps").hidden = !RUN;
  for (const element of document.querySelectorAll(".course")) element.hidden = !RUN;
  if (!RUN) return;
  buildTurning();
  buildFindingSteps();
  const slider = byId("step");
  slider.max = page.steps.length - 1;
  slider.addEventListener("input", () => change({ step: Number(slider.value) }));
  byId("earlier").addEventListener("click", () => moveStep(-1));
  byId("later").addEventListener("click", () => moveStep(1));
  for (const [name, [, title]] of Object.entries(QUANTITIES))
    byId("quantity").append(make("option", { value: name }, title));
  byId("quantity").addEventListener("change", (event) => change({ quantity: event.target.value }));
  byId("map").addEventListener("click", (event) => {
    const box = byId("map").getBoundingClientRect();
    const place = (offset, whole, count) =>
      Math.min(count - 1, Math.floor((offset / whole) * count));
    change({
      step: place(event.clientX - box.left, box.width, page.steps.length),
      item: {
        section: "layers",
        index: place(event.clientY - box.top, box.height, page.layers.length),
      },
    });
  });
}

function buildTurning() {
  byId("turned").hidden = !page.turning.length;
  byId("turning").replaceChildren(
    ...page.turning.flatMap(([when, what]) => [make("dt", {}, when), make("dd", {}, what)]),
  );
}

// Each rule with the steps at which it found something, the worst rules first.
function buildFindingSteps() {
  const rules = new Map();
  page.steps.forEach(({ findings }, step) =>
    findings.forEach(({ rule, severity }) => {
      const own = rules.get(rule) ?? { severity, steps: [] };
      if (own.steps.at(-1) !== step) own.steps.push(step);
      if (WORST.indexOf(severity) < WORST.indexOf(own.severity)) own.severity = severity;
      rules.set(rule, own);
    }),
  );
  const sorted = [...rules].sort(
    ([, a], [, b]) => WORST.indexOf(a.severity) - WORST.indexOf(b.severity),
  );
  byId("found").hidden = !sorted.length;
  byId("finding-steps").replaceChildren(...sorted.map(ruleRow));
}

function ruleRow([rule, { severity, steps }]) {
  const { mark, word } = SEVERITIES[severity];
  const ends = [...new Set([steps[0], steps.at(-1)])].map(stepButton);
  return make(
    "tr",
    { class: severity },
    make(
      "th",
      { scope: "row" },
      make("span", { class: "severity" }, `${mark} ${word}`),
      ` ${rule}`,
    ),
    make("td", {}, `at ${steps.length} of ${page.steps.length} steps`),
    make("td", {}, ends.length > 1 ? "first and last at " : "at ", ...spaced(ends)),
  );
}

function stepButton(step) {
  const choose = () => change({ step });
  return make("button", { type: "button", class: "step", onclick: choose }, stepName(step));
}

function moveStep(by) {
  change({ step: Math.max(0, Math.min(page.steps.length - 1, current.step + by)) });
}
