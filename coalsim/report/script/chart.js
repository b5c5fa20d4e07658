// A chart: one metric over the places, a curve with its intervals for each series that is on.

const BANDS = 6;
const TOLD = 12;

class Chart {
  constructor(data, metric, shown) {
    Object.assign(this, { data, metric, shown, place: -1 });
    this.figure = html("figure", { class: "chart", "data-metric": metric.path },
      html("figcaption", {}, metric.label, html("small", {}, metric.label === metric.path ? "" : metric.path)));
    this.svg = svg("svg", {
      tabindex: 0, role: "img", "aria-label": `${metric.label} over ${data.x.label}; use the arrow keys to read values`,
      onpointermove: (event) => this.point(event), onpointerdown: (event) => this.point(event),
      onpointerleave: () => this.leave(), onblur: () => this.leave(), onkeydown: (event) => this.key(event),
    });
    this.figure.append(this.svg);
    this.tip = new Tip(this.figure, this.svg);
  }

  /** The values of a curve: [place, mean, half width or null, runs], where there are some. */
  values(series) {
    const { mean, half, runs } = this.metric;
    return this.data.series[series].points
      .map((point, place) => [place, point < 0 ? null : mean[point], point < 0 ? null : half[point], runs[point] ?? 0])
      .filter(([, value]) => value !== null);
  }

  draw() {
    const width = Math.max(240, this.figure.clientWidth || 640), height = Math.round(Math.min(380, Math.max(230, width * 0.6)));
    const all = this.shown.all.map((series) => [series, this.values(series)]);
    const isLog = this.shown.logY && all.some(([, values]) => values.some(([, mean]) => mean > 0));
    const curves = isLog ? all.map(([series, values]) => [series, values.filter(([, mean]) => mean > 0)]) : all;
    const flat = curves.flatMap(([, values]) => values);
    const lost = all.reduce((sum, [, values]) => sum + values.length, 0) - flat.length;
    const least = flat.some(([, mean]) => mean < 0) ? -Infinity : 0; // what is never negative is not drawn below 0
    const ends = domainOf(flat.map(([, mean, half]) => Math.max(least, mean - (half ?? 0))), flat.map(([, mean, half]) => mean + (half ?? 0)), isLog);
    const yTicks = (isLog ? logTicks(...clamped(ends, flat)) : linearTicks(...ends, 5));
    const domain = isLog ? clamped(ends, flat) : ends;
    const words = yTicks.map((value) => quantityText(value, this.metric.unit, 3));
    const box = { left: 12 + 6.6 * Math.max(3, ...words.map((text) => text.length)), right: width - 14, top: 10, bottom: height - 42 };
    this.box = box;
    this.y = (isLog ? logScale : linearScale)(domain, [box.bottom, box.top]);
    const range = [box.left + 12, box.right - 12];
    this.scale = xScale(this.data.x, range, this.shown.logX);
    this.at = placesOf(this.data.x, range, this.scale);
    const parts = [...this.frame(box, yTicks, words)];
    const withBands = curves.length <= BANDS && this.data.x.numbers.length > 1;
    for (const [series, values] of curves) parts.push(this.curve(series, values, withBands));
    if (!flat.length) parts.push(svgText((box.left + box.right) / 2, (box.top + box.bottom) / 2, this.shown.all.length ? "no run has this" : "no curve is shown", "empty", "middle"));
    if (lost) parts.push(svgText(box.left + 6, box.top + 8, `${lost} not above 0: not on a log axis`, "tick lost"));
    this.guide = svg("line", { class: "guide", y1: box.top, y2: box.bottom, visibility: "hidden" });
    this.svg.replaceChildren(...parts, this.guide);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.width = width;
    this.tip.hide();
  }

  *frame(box, yTicks, words) {
    for (const [number, value] of yTicks.entries()) {
      const y = round(this.y(value));
      if (y < box.top - 1 || y > box.bottom + 1) continue;
      yield svg("line", { class: "grid", x1: box.left, x2: box.right, y1: y, y2: y });
      yield svgText(box.left - 7, y + 4, words[number], "tick", "end");
    }
    yield svg("line", { class: "axis", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom });
    for (const [at, text] of xTicks(this.data.x, this.at, this.scale, this.shown.logX)) {
      yield svg("line", { class: "axis", x1: round(at), x2: round(at), y1: box.bottom, y2: box.bottom + 4 });
      yield svgText(at, box.bottom + 17, text, "tick", "middle");
    }
    const note = this.shown.logX && this.data.x.numbers.length ? " (log)" : "";
    yield svgText((box.left + box.right) / 2, box.bottom + 35, this.data.x.label + note, "name", "middle");
  }

  curve(series, values, withBand) {
    const spots = values.map(([place, mean, half]) => [round(this.at[place]), this.y(mean), half === null ? 0 : half, mean]);
    const end = (mean) => round(Math.max(this.box.top - 2, Math.min(this.box.bottom, this.y(mean))));
    const line = spots.map(([x, y], number) => `${number ? "L" : "M"}${x} ${round(y)}`).join("");
    const bars = spots.filter(([, , half]) => half > 0).map(([x, , half, mean]) =>
      `M${x} ${end(mean + half)}V${end(mean - half)}M${x - 3} ${end(mean + half)}h6M${x - 3} ${end(mean - half)}h6`).join("");
    const upper = spots.map(([x, , half, mean]) => `${x} ${end(mean + half)}`);
    const lower = spots.map(([x, , half, mean]) => `${x} ${end(mean - half)}`).reverse();
    const group = svg("g", { class: `series ${colourOf(series)}`, "data-series": series });
    if (withBand && spots.length > 1) group.append(svg("path", { class: "band", d: `M${[...upper, ...lower].join("L")}Z` }));
    if (this.data.x.numbers.length) group.append(svg("path", { class: "curve", d: line, "stroke-dasharray": dashOf(series) }));
    if (bars) group.append(svg("path", { class: "bar", d: bars }));
    group.append(svg("path", { class: "mark", d: spots.map(([x, y]) => markOf(series)(x, round(y))).join("") }));
    return group;
  }

  point(event) {
    const frame = this.svg.getBoundingClientRect(), scale = this.width / frame.width;
    const x = (event.clientX - frame.left) * scale, y = (event.clientY - frame.top) * scale;
    this.tell(nearest(this.at, x), y, event.clientY - frame.top - 20, false);
  }

  key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === "Escape") this.leave();
    if (!step) return;
    event.preventDefault();
    const order = [...this.at.keys()].sort((a, b) => this.at[a] - this.at[b]);
    const now = order.indexOf(this.place);
    const next = now < 0 ? (step > 0 ? 0 : order.length - 1) : Math.max(0, Math.min(order.length - 1, now + step));
    this.tell(order[next], null, 12, true);
  }

  /** Show the values at a place, those nearest to a height first if there are too many. */
  tell(place, y, top, aloud) {
    this.place = place;
    let rows = this.shown.all.flatMap((series) => this.values(series).filter(([at]) => at === place).map((value) => [series, ...value]));
    if (!rows.length) return this.leave();
    const far = ([, , mean]) => (y === null ? 0 : Math.abs(this.y(mean) - y));
    const best = y === null ? null : rows.reduce((one, other) => (far(other) < far(one) ? other : one));
    const hidden = Math.max(0, rows.length - TOLD);
    if (hidden) rows = rows.sort((one, other) => far(one) - far(other)).slice(0, TOLD);
    rows.sort((one, other) => other[2] - one[2]);
    const unit = this.metric.unit;
    const counts = new Set(rows.map((row) => row[4]));
    const lines = rows.map((row) => [colourOf(row[0]), this.data.series[row[0]].label || "mean",
      quantityText(row[2], unit) + (row[3] === null ? "" : ` ± ${quantityText(row[3], unit, 2)}`) + (counts.size > 1 ? ` (${runsText(row[4])})` : ""),
      row === best && rows.length > 1]);
    if (hidden) lines.push(["", `and ${hidden} more`, "", false]);
    const x = this.at[place];
    filled(this.guide, { x1: round(x), x2: round(x), visibility: "visible" }, []);
    const title = `${this.data.x.label} = ${this.data.x.texts[place]}${counts.size > 1 ? "" : ` · ${runsText(rows[0][4])}`}`;
    this.tip.show(title, lines, x * this.svg.clientWidth / this.width, top, aloud);
  }

  leave() {
    this.place = -1;
    this.guide?.setAttribute("visibility", "hidden");
    this.tip.hide();
  }
}

const runsText = (runs) => `${runs} run${runs === 1 ? "" : "s"}`;

/** A logarithmic domain with all means in it that an interval down to nothing does not stretch by more than a decade. */
function clamped([low, high], flat) {
  const least = Math.min(...flat.map(([, mean]) => mean));
  return [Math.min(Math.max(low, least / 10), least / 1.12), high];
}

function nearest(pixels, x) {
  let best = 0;
  pixels.forEach((pixel, place) => { if (Math.abs(pixel - x) < Math.abs(pixels[best] - x)) best = place; });
  return best;
}

/** From numbers of the x axis to pixels; null where places are names, which stand at equal distances. */
function xScale(x, range, isLog) {
  if (!x.numbers.length) return null;
  const low = Math.min(...x.numbers), high = Math.max(...x.numbers);
  if (low === high) return () => (range[0] + range[1]) / 2;
  return (isLog && low > 0 ? logScale : linearScale)([low, high], range);
}

/** The pixel of each place. */
function placesOf(x, range, scale) {
  if (scale) return x.numbers.map(scale);
  const step = (range[1] - range[0]) / x.texts.length;
  return x.texts.map((_, place) => range[0] + step * (place + 0.5));
}

/** Ticks: the places themselves where all have room, else round numbers, else some of the names. */
function xTicks(x, at, scale = null, isLog = false) {
  const all = x.texts.map((text, place) => [at[place], text.length > 18 ? `${text.slice(0, 17)}…` : text]);
  const kept = thinned(all, 4);
  if (kept.length === all.length || scale === null) return kept;
  const low = Math.min(...x.numbers), high = Math.max(...x.numbers);
  return thinned((isLog ? logTicks(low, high) : linearTicks(low, high, 7)).map((value) => [scale(value), quantityText(value, x.unit, 3)]), 4);
}
