// Scalability stacks: for one series, a column at each place, divided by cause.

const WHOLE = 100000;
const STACKS_AT_FIRST = 6;

class Stack {
  constructor(data, title, points, shown) {
    Object.assign(this, { data, points, shown, place: -1, title });
    this.figure = html("figure", { class: "stack" }, title ? html("figcaption", {}, title) : null);
    this.svg = svg("svg", {
      tabindex: 0, role: "img", "aria-label": `Time by cause${title ? ` of ${title}` : ""} over ${data.x.label}; use the arrow keys to read values`,
      onpointermove: (event) => this.point(event), onpointerdown: (event) => this.point(event),
      onpointerleave: () => this.tip.hide(), onblur: () => this.tip.hide(), onkeydown: (event) => this.key(event),
    });
    this.figure.append(this.svg);
    this.tip = new Tip(this.figure, this.svg);
  }

  draw(most) {
    const { shares, perOperation } = this.data.stacks, byOperation = this.shown.perOperation;
    const width = Math.max(220, this.figure.clientWidth || 300), height = Math.round(Math.max(190, width * 0.62));
    const high = byOperation ? most * 1.04 : 1;
    const ticks = byOperation ? linearTicks(0, high, 4) : [0, 0.25, 0.5, 0.75, 1];
    const words = ticks.map((value) => (byOperation ? quantityText(value, "ns", 3) : `${value * 100} %`));
    const box = { left: 12 + 6.6 * Math.max(...words.map((text) => text.length)), right: width - 6, top: 8, bottom: height - 40 };
    const y = linearScale([0, high], [box.bottom, box.top]);
    const step = (box.right - box.left) / this.points.length;
    this.at = this.points.map((_, place) => box.left + step * (place + 0.5));
    const half = Math.min(22, step * 0.42);
    const paths = this.data.stacks.causes.map(() => "");
    this.points.forEach((point, place) => {
      if (point < 0 || !shares[point]) return;
      const scale = byOperation ? perOperation[point] : 1;
      if (scale === null) return;
      let below = 0;
      shares[point].forEach((share, cause) => {
        if (!share) return;
        const low = y((below / WHOLE) * scale), top = y(((below + share) / WHOLE) * scale);
        paths[cause] += `M${round(this.at[place] - half)} ${round(low)}H${round(this.at[place] + half)}V${round(top)}H${round(this.at[place] - half)}Z`;
        below += share;
      });
    });
    const parts = ticks.flatMap((value, number) => [
      svg("line", { class: "grid", x1: box.left, x2: box.right, y1: round(y(value)), y2: round(y(value)) }),
      svgText(box.left - 6, y(value) + 4, words[number], "tick", "end")]);
    paths.forEach((path, cause) => { if (path) parts.push(svg("path", { class: `part ${causeColour(this.data, cause)}`, "data-cause": cause, d: path })); });
    parts.push(svg("line", { class: "axis", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom }));
    for (const [at, text] of xTicks(this.data.x, this.at)) parts.push(svgText(at, box.bottom + 16, text, "tick", "middle"));
    parts.push(svgText((box.left + box.right) / 2, box.bottom + 33, this.data.x.label, "name", "middle"));
    this.svg.replaceChildren(...parts);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.width = width;
    this.tip.hide();
  }

  point(event) {
    const frame = this.svg.getBoundingClientRect();
    this.tell(nearest(this.at, (event.clientX - frame.left) * this.width / frame.width), event.clientY - frame.top - 30, false);
  }

  key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === "Escape") this.tip.hide();
    if (!step) return;
    event.preventDefault();
    const last = this.points.length - 1;
    this.tell(this.place < 0 ? (step > 0 ? 0 : last) : Math.max(0, Math.min(last, this.place + step)), 0, true);
  }

  tell(place, top, aloud) {
    this.place = place;
    const point = this.points[place], shares = point < 0 ? null : this.data.stacks.shares[point];
    if (!shares) return this.tip.hide();
    const each = this.data.stacks.perOperation[point];
    const rows = [...shares.keys()].filter((cause) => shares[cause]).reverse().map((cause) => [causeColour(this.data, cause), this.data.stacks.causes[cause],
      `${digitsText(shares[cause] / 1000, 3)} %${each === null ? "" : ` · ${quantityText((shares[cause] / WHOLE) * each, "ns", 3)}`}`, false]);
    if (each !== null) rows.push(["", "CPU time of an operation", quantityText(each, "ns", 4), false]);
    this.tip.show(`${this.data.x.label} = ${this.data.x.texts[place]}`, rows, this.at[place] * this.svg.clientWidth / this.width, top, aloud);
  }
}

/** The rest is grey, whatever its number. */
function causeColour(data, cause) {
  return data.stacks.causes[cause] === "other" ? "c9" : `c${cause}`;
}

function causesLegend(data) {
  return html("ul", { class: "causes", "aria-label": "Causes" }, ...data.stacks.causes.map((cause, number) =>
    html("li", {}, html("span", { class: `swatch ${causeColour(data, number)}` }), cause)));
}

/** A single point: its causes as bars beside each other. */
function causeTable(data, point) {
  const shares = data.stacks.shares[point], each = data.stacks.perOperation[point];
  if (!shares) return html("p", { class: "faint" }, "No run is done.");
  const most = Math.max(...shares);
  const rows = shares.map((share, cause) => {
    const bar = html("div", { class: causeColour(data, cause) });
    bar.style.width = `${(100 * share) / most}%`;
    return html("tr", {}, html("td", { class: "word" }, data.stacks.causes[cause]), html("td", {}, `${digitsText(share / 1000, 3)} %`),
      html("td", {}, each === null ? "–" : quantityText((share / WHOLE) * each, "ns", 4)), html("td", { class: "meter" }, bar));
  });
  const heads = [["cause", "word"], ["share", null], ["of an operation", null], ["", null]];
  return html("div", { class: "scroll" }, html("table", { class: "numbers" },
    html("thead", {}, html("tr", {}, ...heads.map(([words, kind]) => html("th", { scope: "col", class: kind }, words)))), html("tbody", {}, ...rows)));
}
