// What the page does when it may: sort tables, choose a test set, say what is pointed at.
// Nothing is fetched and nothing is shown that the page does not show without it.
"use strict";

for (const table of document.querySelectorAll("table.sortable")) {
  table.querySelectorAll("thead th").forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sort(table, head, column));
  });
}

function sort(table, head, column) {
  const first = head.classList.contains("num") ? "descending" : "ascending";
  const other = first === "descending" ? "ascending" : "descending";
  const order = head.getAttribute("aria-sort") === first ? other : first;
  for (const one of head.parentNode.children) one.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", order);
  const sign = order === "ascending" ? 1 : -1;
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => [key(row.cells[column]), row]);
  rows.sort(([a], [b]) => compare(a, b, sign));
  body.append(...rows.map(([, row]) => row));
}

function key(cell) {
  const text = cell.dataset.value ?? cell.textContent.trim();
  return text === "" || text === "–" ? null : text;
}

// What is missing comes last, whichever way.
function compare(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null);
  const numbers = Number(a) - Number(b);
  return sign * (Number.isNaN(numbers) ? a.localeCompare(b) : numbers);
}

for (const chooser of document.querySelectorAll(".chooser")) {
  chooser.hidden = false;
  chooser.addEventListener("change", (event) => {
    for (const one of document.querySelectorAll(".testset"))
      one.hidden = event.target.value !== "" && one.dataset.set !== event.target.value;
  });
}

const tip = document.querySelector(".tip");

document.addEventListener("pointerover", (event) => show(event));
document.addEventListener("pointermove", (event) => show(event));
document.addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });

function show(event) {
  const marked = event.target.closest?.("[data-tip]");
  tip.hidden = !marked;
  if (!marked) return;
  tip.textContent = marked.dataset.tip;
  const { offsetWidth: width, offsetHeight: height } = tip;
  const left = Math.min(event.clientX + 12, document.documentElement.clientWidth - width - 4);
  const above = event.clientY - height - 10;
  tip.style.left = `${Math.max(4, left)}px`;
  tip.style.top = `${above > 0 ? above : event.clientY + 18}px`;
}
