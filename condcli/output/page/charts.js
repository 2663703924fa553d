"use strict";
// Line charts: uPlot with the page's colours, and a line where the choice is. Where `log` is asked
// for, log10 of the values is drawn on a linear axis: uPlot's own ends at 24 decades.

const COLOURS = ["--blue", "--orange", "--green"];
const DASHES = [[], [8, 4], [2, 3], [8, 3, 2, 3]]; // a second cue beside colour
const WHOLE = [1, 2, 5]
  .flatMap((n) => [n, 10 * n, 100 * n, 1e3 * n, 1e4 * n])
  .sort((a, b) => a - b);
const DECADES = [0.01, 0.02, 0.05, 0.1, 0.2, 1, 2, 3, 5, 10, 20, 50, 100, 200]; // between ticks
const charts = new Map(); // host element → its chart

// What a colour of the style sheet comes to, as rgb(…).
function colour(name) {
  const probe = byId("headline");
  probe.style.outlineColor = `var(${name})`;
  return getComputedStyle(probe).outlineColor;
}

// Draw lines over x into a host; lines are {label, values, points?}, values as in a table's cells.
// options: title; xLabel and xLegend, for the axis and the legend; xName(i, x), what stands at x;
// whole, where x are counted; log; chosen, a place; choose(place), for clicks; levels {value, line}.
function chart(host, x, lines, options) {
  const numbers = lines.map((line) => line.values.map((value) => drawable(value, options.log)));
  const empty = numbers.every((values) => values.every((value) => value == null));
  const form = JSON.stringify([options.title, lines.map((line) => line.label), empty]);
  const old = charts.get(host);
  if (old && old.form === form) {
    Object.assign(old, { lines, options });
    old.plot.setData([x, ...numbers]);
    if (old.plot.width !== size(host).width) old.plot.setSize(size(host)); // it was hidden meanwhile
    return;
  }
  forget(host);
  host.replaceChildren(make("h4", {}, options.title));
  if (empty) {
    host.append(make("p", { class: "nothing" }, "no values to draw"));
    return;
  }
  const own = { form, lines, options };
  own.plot = new uPlot(shape(host, own), [x, ...numbers], host);
  own.plot.root.setAttribute("role", "img");
  own.plot.root.setAttribute(
    "aria-label",
    `${options.title}: ${lines.map((l) => l.label).join(", ")}`,
  );
  own.plot.over.addEventListener("click", () => {
    const { idx } = own.plot.cursor;
    if (idx !== null && own.options.choose) own.options.choose(idx);
  });
  charts.set(host, own);
}

function drawable(value, log) {
  if (value === undefined) return undefined; // of a curve that has no value at this x
  const number = magnitude(value);
  if (number === null || !Number.isFinite(number) || (log && number <= 0)) return null;
  return log ? Math.log10(number) : number;
}

function forget(host) {
  charts.get(host)?.plot.destroy();
  charts.delete(host);
}

function shape(host, own) {
  const { options, lines } = own;
  const axis = {
    stroke: () => colour("--ink"),
    grid: { stroke: () => colour("--line"), width: 1 },
    ticks: { stroke: () => colour("--line"), width: 1 },
    font: "12px system-ui, sans-serif",
  };
  const tick = options.log ? (v) => written(10 ** v) : written;
  return {
    ...size(host),
    scales: {
      x: {
        time: false,
        range: (_, low, high) => (low === high ? [low - 1, high + 1] : [low, high]),
      },
      y: { range: (_, low, high) => around(low, high, options.log) },
    },
    axes: [
      {
        ...axis,
        label: options.xLabel,
        labelSize: 20,
        labelFont: axis.font,
        size: 34,
        ...(options.whole ? { incrs: WHOLE } : {}),
        values: (_, splits) => splits.map(options.whole ? String : written),
      },
      {
        ...axis,
        size: 62,
        ...(options.log ? { incrs: DECADES } : {}),
        values: (_, splits) => splits.map(tick),
      },
    ],
    series: [
      {
        label: options.xLegend ?? options.xLabel,
        value: (plot, _, __, i) => placeName(plot, own.options, i),
      },
      ...lines.map((line, n) => ({
        label: line.label,
        stroke: () => colour(COLOURS[n]),
        dash: DASHES[n],
        width: 2,
        spanGaps: false,
        points: { show: line.values.length < 60, size: 5 },
        value: (_, __, ___, i) => told(own.lines[n].values, i ?? own.options.chosen ?? null),
      })),
    ],
    legend: { markers: { dash: (_, n) => ["solid", "dashed", "dotted", "dashed"][n - 1] } },
    cursor: { drag: { x: false, y: false } },
    hooks: { draw: [(plot) => marks(plot, own)] },
  };
}

// What the legend is of: the place under the pointer, else the chosen one, else all of them.
function placeName(plot, { chosen, xName }, under) {
  const place = under ?? chosen ?? null;
  return place === null ? "all" : xName(place, plot.data[0][place]);
}

// The value at a place; the range of all where there is none.
function told(values, place) {
  if (place !== null) return written(values[place]);
  const numbers = values.map(magnitude).filter(Number.isFinite);
  if (!numbers.length) return "–";
  const [low, high] = [Math.min(...numbers), Math.max(...numbers)].map(written);
  return low === high ? low : `${low} … ${high}`;
}

// The chosen place, and levels such as the noise floor.
function marks(plot, { options }) {
  const { left, top, width, height } = plot.bbox;
  const rule = (x0, y0, x1, y1, name, dash) => {
    plot.ctx.save();
    plot.ctx.strokeStyle = colour(name);
    plot.ctx.lineWidth = devicePixelRatio;
    plot.ctx.setLineDash(dash.map((length) => length * devicePixelRatio));
    plot.ctx.beginPath();
    plot.ctx.moveTo(x0, y0);
    plot.ctx.lineTo(x1, y1);
    plot.ctx.stroke();
    plot.ctx.restore();
  };
  if (options.chosen !== undefined && options.chosen !== null) {
    const x = Math.round(plot.valToPos(plot.data[0][options.chosen], "x", true));
    rule(x, top, x, top + height, "--chosen", []);
  }
  for (const { value, line } of options.levels ?? []) {
    const drawn = drawable(value, options.log);
    if (drawn === null) continue;
    const y = Math.round(plot.valToPos(drawn, "y", true));
    if (y >= top && y <= top + height) rule(left, y, left + width, y, COLOURS[line], [1, 4]);
  }
}

// A little more than the values span; from 0 where that is near, but for logarithms.
function around(low, high, log) {
  const more = 0.05 * (high - low) || (log ? 0.5 : 0.05 * Math.abs(high) || 1);
  return [!log && low >= 0 && low - more < 0 ? 0 : low - more, high + more];
}

function size(host) {
  return { width: Math.max(240, host.clientWidth), height: 230 };
}

// After the window, or the colours, have changed.
function redrawAll() {
  for (const [host, own] of charts) {
    if (!host.isConnected) forget(host);
    else {
      own.plot.setSize(size(host));
      own.plot.redraw(true, true);
    }
  }
}
