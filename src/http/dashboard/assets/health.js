// Draws the plots of the last hour with uPlot.

import { fragment } from "./parts.js";

const plots = new Map();
const EVERY_MS = 10000;

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function markStart(startedAt) {
  return (u) => {
    const [first, last] = [u.scales.x.min, u.scales.x.max];
    if (!(startedAt > first && startedAt < last)) return;
    const x = Math.round(u.valToPos(startedAt, "x", true));
    const { top, height } = u.bbox;
    u.ctx.save();
    u.ctx.strokeStyle = color("--muted");
    u.ctx.setLineDash([4, 4]);
    u.ctx.beginPath();
    u.ctx.moveTo(x, top);
    u.ctx.lineTo(x, top + height);
    u.ctx.stroke();
    u.ctx.fillStyle = color("--muted");
    u.ctx.font = `${11 * devicePixelRatio}px system-ui`;
    const isRight = x > u.bbox.left + u.bbox.width / 2;
    u.ctx.textAlign = isRight ? "right" : "left";
    u.ctx.fillText("started", x + (isRight ? -6 : 6) * devicePixelRatio, top + 12 * devicePixelRatio);
    u.ctx.restore();
  };
}

function number(value, unit) {
  if (value == null) return "–";
  const text = value >= 100 || Number.isInteger(value) ? Math.round(value) : value.toFixed(1);
  return unit ? `${text} ${unit}` : `${text}`;
}

function draw(figure, data, series) {
  const unit = figure.dataset.unit;
  const area = figure.querySelector(".canvas");
  const tones = ["--accent", "--warn", "--bad"].map(color);
  const axis = { stroke: color("--muted"), grid: { stroke: color("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
  const values = [data.times, ...series.map((line) => line.values)];
  plots.get(figure)?.destroy();
  const plot = new window.uPlot(
    {
      width: area.clientWidth,
      height: 160,
      legend: { show: false },
      cursor: { y: false, points: { size: 6 } },
      scales: { x: { time: true }, y: { range: (u, min, max) => [0, Math.max(unit === "%" ? 100 : 4, max * 1.1)] } },
      axes: [
        { ...axis, space: 70, size: 30, values: (u, times) => times.map((time) => new Date(time * 1000).toTimeString().slice(0, 5)) },
        { ...axis, size: 44, values: (u, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? tick : tick.toFixed(1))) },
      ],
      series: [
        {},
        ...series.map((line, n) => ({
          label: line.name,
          stroke: tones[n],
          width: 2,
          points: { size: 4, show: (u, place) => isAlone(u, place) },
          fill: n === 0 ? `${tones[n]}1a` : undefined,
        })),
      ],
      hooks: { draw: [markStart(data.started_at)], setCursor: [(u) => legend(figure, series, u.cursor.idx)] },
    },
    values,
    area,
  );
  plots.set(figure, plot);
  legend(figure, series, null);
}

// A line needs two points. One alone would be invisible.
function isAlone(u, place) {
  const line = u.data[place];
  return line.filter((value) => value != null).length < 3;
}

function legend(figure, series, place) {
  const shown = figure.querySelector(".legend");
  const items = series.map((line, n) => {
    const item = document.createElement("span");
    const last = line.values.findLast((value) => value != null);
    const value = place == null ? last : line.values[place];
    item.className = `line-${n}`;
    item.textContent = `${line.name} ${number(value, figure.dataset.unit)}`;
    return item;
  });
  shown.replaceChildren(...items);
}

async function update() {
  if (document.hidden) return;
  try {
    const data = await (await fragment("/fragments/health/minutes")).json();
    for (const figure of document.querySelectorAll("[data-plot]")) {
      draw(figure, data, data[figure.dataset.plot]);
    }
    document.querySelector(".plots").dataset.drawn = "";
  } catch {
    // The next one may succeed.
  }
}

update();
setInterval(update, EVERY_MS);
document.addEventListener("visibilitychange", update);
let resizing = null;
addEventListener("resize", () => {
  clearTimeout(resizing);
  resizing = setTimeout(update, 200);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", update);
