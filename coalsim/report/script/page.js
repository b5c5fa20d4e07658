// The page comes to life: figures, controls, colours, the download.

performance.mark("coalsim-begin");
const data = JSON.parse(document.getElementById("data").textContent);
const root = document.documentElement;
const byId = (id) => document.getElementById(id);
const shown = new Shown(data);
const hasCurves = data.x.texts.length > 0;
root.classList.add("scripted");

function setUpTheme() {
  const button = byId("theme"), system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const tell = () => { button.textContent = isDark() ? "Light" : "Dark"; button.setAttribute("aria-pressed", isDark()); };
  button.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; tell(); });
  system.addEventListener("change", tell);
  tell();
}

function setUpCharts() {
  if (!hasCurves) return [];
  const controls = byId("controls"), redraw = (deed) => () => shown.change(deed);
  if (data.series.length > 1) controls.append(legendOf(data, shown));
  controls.append(html("span", { class: "spacer" }));
  if (data.x.numbers.length && Math.min(...data.x.numbers) > 0) {
    controls.append(toggleButton("log x", () => shown.logX, redraw(() => { shown.logX = !shown.logX; }), { id: "log-x" }));
  }
  controls.append(toggleButton("log y", () => shown.logY, redraw(() => { shown.logY = !shown.logY; }), { id: "log-y" }));
  if (shown.off.size) controls.append(html("p", { class: "faint" }, `${data.series.length} curves; the first ${shown.all.length} are shown.`));
  const charts = data.metrics.map((metric) => new Chart(data, metric, shown));
  byId("charts").append(...charts.map((chart) => chart.figure));
  return charts;
}

function setUpStacks() {
  const controls = byId("stack-controls"), place = byId("stacks");
  if (!hasCurves) {
    place.replaceWith(causeTable(data, 0));
    return () => {};
  }
  controls.append(causesLegend(data), html("span", { class: "spacer" }));
  if (data.stacks.perOperation.some((value) => value !== null)) {
    controls.append(toggleButton("CPU time of an operation", () => shown.perOperation, () => shown.change(() => { shown.perOperation = !shown.perOperation; }), { id: "per-operation" }));
  }
  const stacks = data.series.map((series) => new Stack(data, series.label, series.points, shown));
  let most = STACKS_AT_FIRST;
  const more = html("button", { type: "button", class: "only-screen", onclick: () => { most = stacks.length; draw(); } });
  place.after(more);
  const draw = () => {
    const chosen = shown.all, drawn = chosen.slice(0, most).map((series) => stacks[series]);
    const kept = [...place.children];
    if (kept.length !== drawn.length || drawn.some((stack, at) => stack.figure !== kept[at])) place.replaceChildren(...drawn.map((stack) => stack.figure));
    const highest = Math.max(0, ...chosen.flatMap((series) => data.series[series].points.map((point) => (point < 0 ? 0 : data.stacks.perOperation[point] ?? 0))));
    for (const stack of drawn) stack.draw(highest || 1);
    more.hidden = chosen.length <= most;
    more.textContent = `Show all ${chosen.length}`;
  };
  return draw;
}

function setUpDownload() {
  byId("download").addEventListener("click", (event) => {
    const link = html("a", { download: event.target.dataset.name });
    link.href = URL.createObjectURL(new Blob([byId("config").textContent], { type: "application/json" }));
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });
}

setUpTheme();
setUpDownload();
const charts = setUpCharts(), drawStacks = setUpStacks();
setUpLocks(data);

function drawAll() {
  for (const chart of charts) chart.draw();
  drawStacks();
}

shown.watchers.push(drawAll);
drawAll();
let width = innerWidth, waiting = 0;
addEventListener("resize", () => {
  if (innerWidth === width) return;
  width = innerWidth;
  cancelAnimationFrame(waiting);
  waiting = requestAnimationFrame(drawAll);
});
performance.mark("coalsim-end");
performance.measure("coalsim-draw", "coalsim-begin", "coalsim-end");
