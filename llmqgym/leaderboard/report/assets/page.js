// The page: which scenario is shown, who is drawn, tooltips, light and dark.
const DATA = JSON.parse(document.getElementById("data").textContent);
const tip = document.getElementById("tip");
function showTip(text, x, y) {
  tip.textContent = text;
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = Math.max(4, Math.min(x + 14, innerWidth - width - 6)) + "px";
  tip.style.top = (y + 18 + height > innerHeight ? y - height - 10 : y + 18) + "px";
}
// What a table cell has to say: its own words, and the interval that stands small in it.
function tipOfCell(cell) {
  const ends = cell.querySelector("small");
  return [cell.dataset.tip, ends && "95 %: " + ends.textContent].filter(Boolean).join("\n");
}
function tipOf(target, event) {
  const cell = target.closest("td");
  if (cell && !target.closest("[data-tip]:not(td)")) return tipOfCell(cell);
  const holder = target.closest("[data-tip]");
  if (!holder) return null;
  if (!holder.tipAt) return holder.dataset.tip;
  const svg = holder.ownerSVGElement;
  const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
  return holder.tipAt(point.x, point.y);
}
document.addEventListener("pointermove", (event) => {
  const text = event.target.closest ? tipOf(event.target, event) : null;
  if (text) showTip(text, event.clientX, event.clientY);
  else tip.hidden = true;
});
document.addEventListener("focusin", (event) => {
  const holder = event.target.closest("[data-tip]");
  if (!holder || !event.target.matches(":focus-visible")) return;
  const box = holder.getBoundingClientRect();
  showTip(holder.dataset.tip, box.left, box.bottom - 14);
});
document.addEventListener("focusout", () => { tip.hidden = true; });
document.addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });

const root = document.documentElement;
const preferred = matchMedia("(prefers-color-scheme: dark)");
function setTheme(name) { root.dataset.theme = name; }
setTheme(preferred.matches ? "dark" : "light");
preferred.addEventListener("change", (event) => setTheme(event.matches ? "dark" : "light"));
document.getElementById("theme").addEventListener("click", () => setTheme(root.dataset.theme === "dark" ? "light" : "dark"));

document.querySelectorAll("table.board, table.glance").forEach(makeSortable);
const glance = document.getElementById("glance");
glance.addEventListener("change", () => {
  document.querySelectorAll("[data-glance]").forEach((each) => { each.hidden = each.dataset.glance !== glance.value; });
});

// Buttons to choose who is drawn; `draw` is called with those chosen.
function picker(specs, chosen, draw) {
  const box = el("div", { class: "picker", role: "group", "aria-label": "Policies drawn" }, "drawn: ");
  const buttons = specs.map((spec) => {
    const button = el("button", { type: "button" }, spec);
    button.addEventListener("click", () => {
      chosen = chosen.includes(spec) ? chosen.filter((each) => each !== spec) : [...chosen, spec];
      update();
    });
    box.append(button);
    return { spec, button };
  });
  function update() {
    for (const { spec, button } of buttons) {
      const on = chosen.includes(spec);
      button.setAttribute("aria-pressed", on);
      button.replaceChildren(...(on ? [swatch(styleOf(spec, chosen))] : []), spec);
    }
    draw(chosen);
  }
  update();
  return box;
}
function fill(box, specs, chosen, make) {
  const drawn = el("div", { style: "display:contents" });
  box.replaceChildren(picker(specs, chosen, (shown) => drawn.replaceChildren(...make(shown).filter(Boolean))), drawn);
}
function drawScenario(article) {
  const name = article.dataset.scenario;
  const box = article.querySelector(".charts");
  if (box.childElementCount) return;
  const scenario = DATA.scenarios[name];
  const curves = DATA.loads.filter((series) => series.points.some((point) => point[1] === name));
  fill(box, Object.keys(scenario.cells), scenario.featured, (shown) => [
    distribution(name, "e2e_s", "E2E", shown),
    distribution(name, "ttft_s", "TTFT", shown),
    gaps(name, "mean_e2e_s", "E2E"),
    gaps(name, "mean_ttft_s", "TTFT"),
    ...curves.flatMap((series) => [along(series, "mean_e2e_s", shown), along(series, "p99_e2e_s", shown), along(series, "mean_ttft_s", shown)]),
  ]);
}
const articles = [...document.querySelectorAll("article.scenario")];
function show(name) {
  for (const article of articles) {
    article.hidden = name !== "" && article.dataset.scenario !== name;
    if (!article.hidden) drawScenario(article);
  }
  for (const button of controls.querySelectorAll("[data-show]")) button.setAttribute("aria-pressed", button.dataset.show === name);
}
const controls = document.getElementById("controls");
controls.hidden = false;
const names = articles.map((article) => article.dataset.scenario);
for (const name of names.length > 1 ? [...names, ""] : []) {
  const button = el("button", { type: "button", "data-show": name }, name || "all");
  button.addEventListener("click", () => { show(name); history.replaceState(null, "", "#" + encodeURIComponent(name)); });
  controls.append(button);
}
const ranges = el("button", { type: "button", "aria-pressed": "false" }, "intervals as numbers");
ranges.addEventListener("click", () => ranges.setAttribute("aria-pressed", root.classList.toggle("ranges")));
controls.append(ranges);
const wanted = decodeURIComponent(location.hash.slice(1));
show(names.includes(wanted) ? wanted : names[0] || "");

if (DATA.sigmas.length) {
  const section = document.getElementById("price");
  section.hidden = false;
  for (const series of DATA.sigmas) {
    const specs = DATA.policies.map((policy) => policy.spec);
    fill(section.querySelector(".charts"), specs, series.featured, (shown) => [along(series, "mean_e2e_s", shown), along(series, "p99_e2e_s", shown)]);
  }
}
