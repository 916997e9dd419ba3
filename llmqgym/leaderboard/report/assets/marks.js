// Marks: elements, scales, ticks and the axes that every chart stands on.
const SVG = "http://www.w3.org/2000/svg";
const DASHES = ["", "7 3", "2 3", "9 3 2 3"];
function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}
function mark(name, attributes = {}, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}
// Three digits, thousands apart.
function digits(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 100) return Math.round(value).toLocaleString("en-US");
  return size < 1e-4 ? value.toExponential(1) : String(Number(value.toPrecision(3)));
}
// The interval in words, after a value.
function within(ends, scale = 1) {
  return ends[1] === null ? "" : `\n95 %: ${digits(ends[1] * scale)} to ${digits(ends[2] * scale)}`;
}
function logScale(low, high, from, to) {
  const span = Math.log(high / low) || 1;
  const at = (value) => from + ((to - from) * Math.log(Math.max(value, low * 1e-6) / low)) / span;
  return { at, ticks: logTicks(low, high), low, high };
}
function linearScale(low, high, from, to) {
  const at = (value) => from + ((to - from) * (value - low)) / (high - low || 1);
  return { at, ticks: linearTicks(low, high), low, high };
}
function logTicks(low, high) {
  const ticks = [];
  const wide = high / low > 300;
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++)
    for (const digit of wide ? [1] : high / low > 12 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 7]) {
      const value = Number((digit * 10 ** power).toPrecision(6));
      if (value >= low * 0.999 && value <= high * 1.001) ticks.push(value);
    }
  return ticks.length > 1 ? ticks : [low, high].map((value) => Number(value.toPrecision(3)));
}
function linearTicks(low, high) {
  const rough = (high - low || 1) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((digit) => digit * power >= rough);
  const ticks = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + step * 1e-9; value += step) ticks.push(Number(value.toPrecision(10)));
  return ticks;
}
// How a policy is drawn: vLLM in ink and thick, others by their place among those shown, oracles with a dash.
function styleOf(spec, shown) {
  const isReference = spec === DATA.reference;
  const place = shown.filter((each) => each !== DATA.reference).indexOf(spec);
  const oracle = DATA.policies.some((policy) => policy.spec === spec && policy.oracle);
  const colour = isReference ? 0 : 1 + (Math.max(place, 0) % 7);
  const dash = isReference ? 0 : oracle ? 1 : Math.floor(Math.max(place, 0) / 7) * 2;
  return { stroke: `var(--c${colour})`, "stroke-dasharray": DASHES[dash % 4], "stroke-width": isReference ? 3 : 2 };
}
function swatch(style) {
  const made = mark("svg", { width: 22, height: 8, "aria-hidden": "true" });
  made.append(mark("line", { x1: 0, x2: 22, y1: 4, y2: 4, ...style }));
  return made;
}
// A frame with axes: returns the drawing, to add marks to.
function frame(size, x, y, titles, describe) {
  const svg = mark("svg", { viewBox: `0 0 ${size.width} ${size.height}`, class: "chart", role: "img", "aria-label": describe });
  for (const tick of x.ticks) {
    svg.append(mark("line", { class: "grid", x1: x.at(tick), x2: x.at(tick), y1: size.top, y2: size.bottom }));
    svg.append(mark("text", { x: x.at(tick), y: size.bottom + 15, "text-anchor": "middle" }, digits(tick)));
  }
  for (const tick of y ? y.ticks : []) {
    svg.append(mark("line", { class: "grid", x1: size.left, x2: size.right, y1: y.at(tick), y2: y.at(tick) }));
    svg.append(mark("text", { x: size.left - 6, y: y.at(tick) + 4, "text-anchor": "end" }, digits(tick)));
  }
  svg.append(mark("line", { class: "axis", x1: size.left, x2: size.right, y1: size.bottom, y2: size.bottom }));
  svg.append(mark("text", { x: size.right, y: size.bottom + 31, "text-anchor": "end" }, titles.x));
  if (titles.y) svg.append(mark("text", { x: 2, y: size.top - 8 }, titles.y));
  return svg;
}
// The table behind a chart, made when it is opened first.
function tableBehind(heads, rows) {
  const details = el("details", {}, el("summary", {}, "The numbers"));
  details.addEventListener("toggle", () => {
    if (details.childElementCount > 1) return;
    const head = el("tr", {}, ...heads.map((title) => el("th", { scope: "col" }, title)));
    const body = rows().map((row) => el("tr", {}, ...row.map((text, place) => el(place ? "td" : "th", place ? {} : { scope: "row" }, text))));
    details.append(el("div", { class: "scroll" }, el("table", {}, el("thead", {}, head), el("tbody", {}, ...body))));
  });
  return details;
}
