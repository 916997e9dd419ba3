"use strict";
// Tables: sorting by click or keyboard (headings are buttons), within each body; empty cells stay last either way.
function cellKey(row, column) {
  const value = row.children[column].dataset.v;
  if (value === undefined) return null;
  const number = Number(value);
  return value.trim() === "" || Number.isNaN(number) ? value : number;
}
function compareKeys(a, b) {
  if (typeof a === typeof b) return typeof a === "string" ? a.localeCompare(b) : a - b;
  return typeof a === "number" ? -1 : 1;
}
function sortRows(rows, column, descending) {
  const keyed = rows.map((row, place) => ({ row, place, key: cellKey(row, column) }));
  keyed.sort((a, b) => {
    if (a.key === null || b.key === null) return (a.key === null) - (b.key === null) || a.place - b.place;
    return (descending ? -1 : 1) * compareKeys(a.key, b.key) || a.place - b.place;
  });
  return keyed.map((each) => each.row);
}
function sortTable(table, column) {
  const headings = [...table.tHead.rows[0].cells];
  const chosen = headings[column];
  const now = chosen.getAttribute("aria-sort");
  const next = now ? (now === "ascending" ? "descending" : "ascending") : chosen.dataset.first;
  headings.forEach((each) => each.removeAttribute("aria-sort"));
  chosen.setAttribute("aria-sort", next);
  for (const body of table.tBodies) {
    const rows = [...body.rows].filter((row) => !row.classList.contains("apart"));
    body.append(...sortRows(rows, column, next === "descending"));
  }
}
function makeSortable(table) {
  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => sortTable(table, column));
  });
}
