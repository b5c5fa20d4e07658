// Which curves are shown, and how: one state for all figures of the page.

const MARKS = [
  (x, y) => `M${x - 4} ${y}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0Z`,
  (x, y) => `M${x - 3.6} ${y - 3.6}h7.2v7.2h-7.2Z`,
  (x, y) => `M${x} ${y - 4.8}l4.6 8.2h-9.2Z`,
  (x, y) => `M${x} ${y - 5}l5 5l-5 5l-5 -5Z`,
  (x, y) => `M${x} ${y + 4.8}l4.6 -8.2h-9.2Z`,
  (x, y) => `M${x - 1.5} ${y - 4.5}h3v3h3v3h-3v3h-3v-3h-3v-3h3Z`,
];
const DASHES = [null, "7 4", "2 4", "9 3 2 3", "4 3"];
const COLOURS = 8;
const MOST_AT_FIRST = 24;

const colourOf = (series) => `s${series % COLOURS}`;
const markOf = (series) => MARKS[series % MARKS.length];
const dashOf = (series) => DASHES[(series + Math.floor(series / COLOURS)) % DASHES.length];

class Shown {
  constructor(data) {
    this.count = data.series.length;
    this.off = new Set([...data.series.keys()].slice(MOST_AT_FIRST));
    this.logX = data.log.x;
    this.logY = data.log.y;
    this.perOperation = false;
    this.watchers = [];
  }

  isOn(series) { return !this.off.has(series); }
  get all() { return [...Array(this.count).keys()].filter((series) => this.isOn(series)); }

  change(deed) {
    deed();
    for (const watcher of this.watchers) watcher();
  }

  toggle(series) {
    this.change(() => this.off.has(series) ? this.off.delete(series) : this.off.add(series));
  }

  /** Only this one, or all of them if it is alone already. */
  only(series) {
    const isAlone = this.all.length === 1 && this.isOn(series);
    this.change(() => { this.off = new Set(isAlone ? [] : [...Array(this.count).keys()].filter((one) => one !== series)); });
  }

  everything(isOn) {
    this.change(() => { this.off = new Set(isOn ? [] : Array(this.count).keys()); });
  }
}

function sample(series) {
  return svg("svg", { width: 30, height: 14, "aria-hidden": "true", class: colourOf(series) },
    svg("path", { class: "curve", d: "M1 7H29", "stroke-dasharray": dashOf(series) }),
    svg("path", { class: "mark", d: markOf(series)(15, 7) }));
}

/** The legend: a button for each curve.  Shift and a click, or Shift and Enter, leave only that one. */
function legendOf(data, shown) {
  const buttons = data.series.map((series, number) => html("button", {
    type: "button", "aria-pressed": shown.isOn(number), "data-series": number,
    title: "Click: show or hide. Shift and click: only this one.",
    onclick: (event) => event.shiftKey ? shown.only(number) : shown.toggle(number),
  }, sample(number), series.label));
  shown.watchers.push(() => buttons.forEach((button, number) => button.setAttribute("aria-pressed", shown.isOn(number))));
  const legend = html("div", { class: "legend", role: "group", "aria-label": "Curves" }, ...buttons);
  if (data.series.length > 3) {
    legend.append(
      html("button", { type: "button", class: "only-screen", onclick: () => shown.everything(true) }, "all"),
      html("button", { type: "button", class: "only-screen", onclick: () => shown.everything(false) }, "none"));
  }
  return legend;
}
