// The lock table of one point, chosen from a list.

const LOCK_HEADS = ["lock", "type", "acquired", "contended", "moved", "waited in all", "mean wait", "longest wait", "held in all", "mean hold", "longest hold"];
const LOCK_UNITS = ["", "", "", "", "", "ns", "ns", "ns", "ns", "ns", "ns"];

function lockTable(data, point) {
  const locks = data.locks.points[point] ?? [];
  if (!locks.length) return [html("p", { class: "faint" }, "No lock was taken here, or no run is done.")];
  const rows = locks.flatMap((lock) => {
    const cells = lock.slice(0, LOCK_HEADS.length).map((value, column) =>
      html("td", { class: column < 2 ? "word" : null }, column < 2 ? value : quantityText(value, LOCK_UNITS[column])));
    const sites = lock.at(-1).map(([site, contentions, waited]) => html("tr", { class: "site" },
      html("td", { class: "word site", colspan: 3 }, site), html("td", {}, quantityText(contentions, "")), html("td", {}),
      html("td", {}, quantityText(waited, "ns")), html("td", {}, quantityText(contentions ? waited / contentions : 0, "ns")), html("td", { colspan: 4 })));
    return [html("tr", {}, ...cells), ...sites];
  });
  const heads = LOCK_HEADS.map((words, column) => html("th", { scope: "col", class: column < 2 ? "word" : null }, words));
  const hidden = data.locks.hidden[point];
  return [html("table", { class: "numbers" }, html("thead", {}, html("tr", {}, ...heads)), html("tbody", {}, ...rows)),
    hidden ? html("p", { class: "faint" }, `${hidden} more are not shown: they waited less.`) : null];
}

/** The point whose locks made it wait longest: where one looks first. */
function worstPoint(data) {
  const waits = data.locks.points.map((locks) => locks.reduce((sum, lock) => sum + lock[5], 0));
  return waits.indexOf(Math.max(...waits, 0)) < 0 ? 0 : waits.indexOf(Math.max(...waits, 0));
}

function setUpLocks(data) {
  const table = document.getElementById("lock-table"), controls = document.getElementById("lock-controls");
  const show = (point) => table.replaceChildren(...lockTable(data, point).filter((part) => part !== null));
  const first = worstPoint(data);
  if (data.points.length > 1) {
    const list = html("select", { id: "lock-point", onchange: () => show(Number(list.value)) },
      ...data.points.map((words, point) => html("option", { value: point, selected: point === first }, `${point}: ${words}`)));
    controls.append(html("label", { for: "lock-point", class: "faint" }, "Point"), list);
  }
  show(first);
}
