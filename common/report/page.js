// A table is sorted by the heading that is pressed; a second time, the other way round. Cells without a value stay last.
const words = new Intl.Collator(undefined, { numeric: true });

function keyOf(cell) {
  const key = cell.dataset.key ?? cell.textContent.trim();
  return key !== "" && Number.isFinite(Number(key)) ? Number(key) : key;
}

function compare(a, b, sign) {
  if (a === "" || b === "") return (a === "") - (b === "");
  const numbers = typeof a === "number" && typeof b === "number";
  return sign * (numbers ? a - b : words.compare(a, b));
}

function sortBy(heading, column) {
  const table = heading.closest("table");
  const sign = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
  const rows = [...table.tBodies[0].rows].map((row) => [keyOf(row.cells[column]), row]);
  rows.sort(([a], [b]) => compare(a, b, sign));
  table.tBodies[0].append(...rows.map(([, row]) => row));
}

for (const heading of document.querySelectorAll("thead th")) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...heading.childNodes);
  button.addEventListener("click", () => sortBy(heading, heading.cellIndex));
  heading.append(button);
}
