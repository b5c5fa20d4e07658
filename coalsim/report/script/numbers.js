// Numbers for people: four digits, a prefix, a unit.  The same rules as `report/numbers.py`.

const TIMES = [[1e9, "s"], [1e6, "ms"], [1e3, "µs"], [1, "ns"], [1e-3, "ps"]];
const PREFIXES = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];
const SIZES = [[2 ** 40, "TiB"], [2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"], [1, "B"]];
const NANOSECONDS = { ps: 1e-3, ns: 1, us: 1e3 };

function digitsText(value, digits = 4) {
  if (!Number.isFinite(value) || value === 0) return value === 0 ? "0" : String(value);
  const decimals = Math.min(18, Math.max(0, digits - 1 - Math.floor(Math.log10(Math.abs(value)))));
  const text = value.toFixed(decimals);
  return (text.includes(".") ? text.replace(/0+$/, "").replace(/\.$/, "") : text).replace("-", "\u2212");
}

function quantityText(value, unit, digits = 4) {
  if (value === 0) return "0";
  if (unit in NANOSECONDS) return scaledText(value * NANOSECONDS[unit], TIMES, "", digits);
  if (unit === "B" || unit === "KiB") return scaledText(value * (unit === "KiB" ? 1024 : 1), SIZES, "", digits);
  if (unit === "1/s") return scaledText(value, PREFIXES, "/s", digits);
  if (unit === "") return Math.abs(value) >= 1e6 ? scaledText(value, PREFIXES, "", digits) : digitsText(value, digits);
  return `${digitsText(value, digits)} ${unit}`;
}

function scaledText(value, steps, after, digits) {
  let step = steps.find(([size]) => Math.abs(value) >= size);
  if (!step) step = steps.at(-1)[0] <= 1 ? steps.at(-1) : [1, ""];
  const number = digitsText(value / step[0], digits);
  return step[1] || after ? `${number} ${step[1]}${after}` : number;
}
