"use strict";
// The page's data, and how values are written: as the terminal's tables write them.

const page = JSON.parse(document.getElementById("data").textContent);
const sections = { layers: page.layers, activations: page.activations };
const WORST = ["error", "warning", "note"]; // from the worst
const SEVERITIES = {
  error: { mark: "■", word: "error" },
  warning: { mark: "▲", word: "warning" },
  note: { mark: "●", word: "note" },
};

// Three significant digits: 0.0123, 12.3, 1.23e-8; – for no value.
function written(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "NaN";
  if (value === 0) return "0";
  const [mantissa, exponent] = value.toExponential(2).split("e");
  const small = Number(exponent) >= -4 && Number(exponent) < 3;
  return small ? String(Number(value.toPrecision(3))) : `${Number(mantissa)}e${Number(exponent)}`;
}

// The same for a cell of a table's column.
function cellText(column, value) {
  if (typeof value === "boolean") return column.format.split("|")[value ? 0 : 1];
  if (column.format === "whole" && value !== null) return String(value);
  if (column.format === "percent" && value !== null) return `${(100 * value).toFixed(1)} %`;
  return written(value);
}

// The number that a cell sorts and draws by; a lower bound counts as its number.
function magnitude(value) {
  if (typeof value === "number") return value;
  if (typeof value !== "string") return null;
  if (value === "∞") return Infinity;
  const found = value.match(/[-\d][\d.e+-]*/);
  return found ? Number(found[0]) : null;
}

// The smallest and the largest log10 of the values; the wrong way round where none has one.
function decades(values) {
  const logs = values.map((value) => Math.log10(magnitude(value) ?? 0)).filter(Number.isFinite);
  return logs.reduce(
    ([low, high], log) => [Math.min(low, log), Math.max(high, log)],
    [Infinity, -Infinity],
  );
}

// Where a value lies in such a range, from a visible rest to 1; 0 for none.
function share(value, [low, high]) {
  const number = magnitude(value);
  if (number === null || number <= 0) return 0;
  if (number === Infinity || high <= low) return 1;
  return 0.04 + (0.96 * (Math.log10(number) - low)) / (high - low);
}

// A column's values at a step; those that no step changed are with the first.
function column(step, table, name) {
  return page.steps[step].tables[table][name] ?? page.steps[0].tables[table][name];
}

// Whether a column has a value at any step.
function isKnown(table, name) {
  return page.steps.some((_, step) =>
    column(step, table, name).some((value) => value !== null && value !== ""),
  );
}

// One item's value in a column over all steps.
function course(table, name, index) {
  return page.steps.map((_, step) => column(step, table, name)[index]);
}

function stepName(index) {
  const { step, file } = page.steps[index];
  return step === null ? file : `step ${step}`;
}

// An element; attributes that begin with "on" are listeners, and children that are no elements are
// text. Nothing here or elsewhere reads markup: names from files are only ever text.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false)
      element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

function byId(id) {
  return document.getElementById(id);
}
