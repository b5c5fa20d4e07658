// Elements of the page.  Text is always set as text, never as markup, whatever a study is called.

const SVG = "http://www.w3.org/2000/svg";

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.startsWith("aria-")) element.setAttribute(name, String(value));
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

const html = (tag, attributes = {}, ...children) => filled(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) => filled(document.createElementNS(SVG, tag), attributes, children);

function svgText(x, y, words, kind, anchor = "start", more = {}) {
  return svg("text", { x: round(x), y: round(y), class: kind, "text-anchor": anchor, ...more }, words);
}

const round = (value) => Math.round(value * 10) / 10;

/** A button that is on or off and says so to everybody. */
function toggleButton(words, isOn, change, more = {}) {
  const button = html("button", {
    type: "button", class: "toggle", "aria-pressed": isOn(), ...more,
    onclick: () => { change(); button.setAttribute("aria-pressed", isOn()); },
  }, words);
  return button;
}

/** A box with values that follows the pointer over a figure, and a line for screen readers. */
class Tip {
  constructor(figure, drawing) {
    Object.assign(this, { figure, drawing });
    this.box = html("div", { class: "tip", hidden: true, "aria-hidden": "true" });
    this.line = html("div", { class: "hear", role: "status", "aria-live": "polite" });
    figure.append(this.box, this.line);
  }

  /** Rows are [class of the colour, name, value, whether it is the nearest]; the place is in pixels of the drawing. */
  show(title, rows, left, top, aloud) {
    const table = html("table", {}, html("tbody", {}, ...rows.map(([colour, name, value, isNear]) =>
      html("tr", { class: isNear ? "near" : null }, html("td", { class: colour }, name), html("td", {}, value)))));
    this.box.replaceChildren(html("b", {}, title), table);
    this.box.hidden = false;
    top += this.drawing.getBoundingClientRect().top - this.figure.getBoundingClientRect().top;
    const room = this.figure.clientWidth - this.box.offsetWidth;
    const beside = left + 18 <= room ? left + 18 : left - 18 - this.box.offsetWidth;
    this.box.style.left = `${Math.max(0, Math.min(beside, room))}px`;
    const bottom = this.figure.clientHeight - this.box.offsetHeight;
    this.box.style.top = `${Math.max(0, Math.min(top, bottom))}px`;
    if (aloud) this.line.textContent = `${title}: ${rows.map(([, name, value]) => `${name} ${value}`).join("; ")}`;
  }

  hide() { this.box.hidden = true; }
}
