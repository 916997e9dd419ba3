// Charts: distributions, gaps to the bound, and a measure along an axis. Each a figure with its table behind it.
const SIZE = { width: 600, height: 330, left: 48, right: 470, top: 26, bottom: 280 };
function figureOf(title, note, svg, table) {
  const caption = el("figcaption", {}, title + " ", el("span", {}, note));
  return el("figure", {}, caption, svg, table);
}
function path(points) {
  return points.map(([x, y], place) => `${place ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
}
// A line with a wide, unseen twin to point at; `words` says what is there.
function addLine(svg, points, style, label, words) {
  if (!points.length) return;
  svg.append(mark("path", { class: "line", d: path(points), ...style }));
  const hit = mark("path", { class: "hit", d: path(points), "data-tip": label });
  hit.tipAt = (x, y) => {
    const near = points.reduce((best, point, place) => (Math.hypot(point[0] - x, point[1] - y) < Math.hypot(points[best][0] - x, points[best][1] - y) ? place : best), 0);
    return words(near);
  };
  svg.append(hit);
}
// Names at the ends of lines, pushed apart.
function addLabels(svg, labels) {
  const apart = 13;
  labels.sort((a, b) => a.y - b.y);
  let last = -Infinity;
  const placed = labels.map((label) => ({ ...label, at: (last = Math.max(label.y, last + apart)) }));
  const over = Math.max(0, last - SIZE.bottom);
  for (let place = placed.length - 1, roof = Infinity; place >= 0; place--) {
    placed[place].at = Math.min(placed[place].at - over * (place / placed.length), roof - (roof === Infinity ? 0 : apart));
    roof = placed[place].at;
  }
  for (const { at, text, style } of placed) {
    svg.append(mark("line", { x1: SIZE.right + 4, x2: SIZE.right + 16, y1: at, y2: at, ...style }));
    svg.append(mark("text", { class: "label", x: SIZE.right + 20, y: at + 4 }, text.length > 16 ? text.slice(0, 15) + "…" : text));
  }
}
function distribution(name, of, title, shown) {
  const scenario = DATA.scenarios[name];
  const lines = shown.map((spec) => ({ spec, points: ((scenario.cells[spec] || { q: {} }).q[of] || []).map((value, place) => [DATA.shares[place], value]) })).filter((line) => line.points.length);
  const values = lines.flatMap((line) => line.points.map((point) => point[1])).filter((value) => value > 0);
  if (!values.length) return null;
  const x = logScale(Math.min(...values), Math.max(...values), SIZE.left, SIZE.right);
  const y = linearScale(0, 1, SIZE.bottom, SIZE.top);
  const svg = frame(SIZE, x, y, { x: `${title}, seconds (logarithmic)`, y: "share of requests done within" }, `Distribution of ${title} on ${name} for ${lines.map((line) => line.spec).join(", ")}`);
  const labels = [];
  for (const { spec, points } of lines) {
    const style = styleOf(spec, shown);
    const drawn = points.map(([share, value]) => [x.at(Math.max(value, x.low)), y.at(share)]);
    addLine(svg, drawn, style, spec, (place) => `${spec}\n${digits(points[place][0] * 100)} % within ${digits(points[place][1])} s`);
    const half = points.reduce((best, point) => (Math.abs(point[0] - 0.5) < Math.abs(best[0] - 0.5) ? point : best));
    labels.push({ spec, style, median: half[1] });
  }
  labels.sort((a, b) => a.median - b.median);
  addLabels(svg, labels.map(({ spec, style }, place) => ({ y: SIZE.top + 10 + place * 14, text: spec, style })));
  const heads = ["policy", ...DATA.shares.map((share) => `${digits(share * 100)} %`)];
  const table = tableBehind(heads, () => lines.map((line) => [line.spec, ...line.points.map((point) => digits(point[1]))]));
  return figureOf(`Distribution of ${title}`, "(names by their medians)", svg, table);
}
// A dot and its interval for each policy, above the certified bound.
function gaps(name, of, title) {
  const scenario = DATA.scenarios[name];
  const bound = scenario.bound[of];
  const rows = Object.entries(scenario.cells).filter(([, cell]) => cell.g[of]).map(([spec, cell]) => ({ spec, gap: cell.g[of] }));
  if (!rows.length || !bound) return null;
  rows.sort((a, b) => a.gap[0] - b.gap[0]);
  const size = { ...SIZE, left: 150, right: 580, height: rows.length * 18 + 66, bottom: rows.length * 18 + 30 };
  const ratio = (value) => Math.max(1 + value, 1);
  const x = logScale(1, Math.max(...rows.map((row) => ratio(row.gap[2] ?? row.gap[0])), 1.1), size.left, size.right);
  const svg = frame(size, x, null, { x: `mean ${title}, as a multiple of the certified bound (logarithmic)` }, `Gap of mean ${title} to the certified bound on ${name}; the numbers are in the table`);
  svg.append(mark("line", { class: "bound", x1: x.at(1), x2: x.at(1), y1: size.top - 8, y2: size.bottom }));
  svg.append(mark("text", { class: "bound-label", x: x.at(1) + 5, y: size.top - 10 }, `bound ${digits(bound)} s`));
  rows.forEach(({ spec, gap }, place) => {
    const oracle = DATA.policies.some((policy) => policy.spec === spec && policy.oracle);
    const at = size.top + 12 + place * 18;
    const colour = spec === DATA.reference ? "var(--c0)" : oracle ? "var(--soft)" : "var(--c1)";
    const tip = `${spec}${oracle ? " (oracle)" : ""}\n${digits(gap[0] * 100)} % above the bound` + within(gap, 100);
    const row = mark("g", { "data-tip": tip });
    row.append(mark("text", { class: "label", x: size.left - 8, y: at + 4, "text-anchor": "end" }, (spec.length > 19 ? spec.slice(0, 18) + "…" : spec) + (oracle ? " *" : "")));
    row.append(mark("line", { x1: x.at(1), x2: x.at(ratio(gap[0])), y1: at, y2: at, stroke: "var(--faint)", "stroke-width": 5 }));
    if (gap[1] !== null) row.append(mark("line", { x1: x.at(ratio(gap[1])), x2: x.at(ratio(gap[2])), y1: at, y2: at, stroke: colour, "stroke-width": 2 }));
    row.append(mark("circle", { cx: x.at(ratio(gap[0])), cy: at, r: 4, stroke: colour, fill: oracle ? "var(--paper)" : colour, "stroke-width": 1.5 }));
    svg.append(row);
  });
  const words = (gap) => [digits(gap[0] * 100), gap[1] === null ? "–" : `${digits(gap[1] * 100)} to ${digits(gap[2] * 100)}`];
  const table = tableBehind(["policy", "% above the bound", "95 %"], () => rows.map(({ spec, gap }) => [spec, ...words(gap)]));
  return figureOf(`Mean ${title} above the bound`, "(hollow, with *: oracles)", svg, table);
}
// A measure of several scenarios along one axis: loads, or sigmas.
function along(series, key, shown) {
  const measure = DATA.measures[key];
  if (!measure) return null;
  const lines = shown.map((spec) => ({
    spec,
    points: series.points.map(([at, name]) => ({ at, cell: DATA.scenarios[name].cells[spec] })).filter(({ cell }) => cell && cell.m[key] && cell.m[key][0] > 0),
  })).filter((line) => line.points.length);
  if (!lines.length) return null;
  const ends = lines.flatMap((line) => line.points.flatMap(({ cell }) => cell.m[key].filter((value) => value > 0)));
  const places = series.points.map((point) => point[0]);
  const x = { ...linearScale(Math.min(...places), Math.max(...places), SIZE.left + 8, SIZE.right - 8), ticks: places };
  const y = logScale(Math.min(...ends) * measure.scale, Math.max(...ends) * measure.scale, SIZE.bottom, SIZE.top);
  const svg = frame(SIZE, x, y, { x: series.axis, y: `${measure.title}, logarithmic` }, `${measure.title} along ${series.axis} for ${lines.map((line) => line.spec).join(", ")}`);
  const labels = [];
  for (const { spec, points } of lines) {
    const style = styleOf(spec, shown);
    const at = (value) => y.at(value * measure.scale);
    const drawn = points.map((point) => [x.at(point.at), at(point.cell.m[key][0])]);
    for (const point of points) {
      const [, low, high] = point.cell.m[key];
      if (low !== null) svg.append(mark("line", { x1: x.at(point.at), x2: x.at(point.at), y1: at(Math.max(low, y.low / measure.scale)), y2: at(high), ...style, "stroke-dasharray": "", "stroke-width": 1.2 }));
      svg.append(mark("circle", { cx: x.at(point.at), cy: at(point.cell.m[key][0]), r: 3.5, fill: point.cell.off ? "var(--paper)" : style.stroke, stroke: style.stroke }));
    }
    addLine(svg, drawn, style, spec, (place) => `${spec}\nat ${points[place].at}: ${digits(points[place].cell.m[key][0] * measure.scale)}` + within(points[place].cell.m[key], measure.scale) + (points[place].cell.off ? `\n${points[place].cell.off}` : ""));
    labels.push({ y: drawn[drawn.length - 1][1], text: spec, style });
  }
  addLabels(svg, labels);
  const word = ({ cell }) => digits(cell.m[key][0] * measure.scale) + (cell.off ? ` (${cell.off})` : "");
  const table = tableBehind(["policy", ...places.map(String)], () =>
    lines.map(({ spec, points }) => [spec, ...places.map((place) => { const found = points.find((point) => point.at === place); return found ? word(found) : "–"; })]));
  return figureOf(`${measure.title}: ${series.name}`, "(hollow: censored or growing)", svg, table);
}
