"use strict";
// Sorts, filters and pages the table of runs; without scripts the page shows the same rows, and no controls.
const AT_ONCE = 200; // rows in the document: to lay out 10,000 takes a browser seconds, to sort and filter them a moment
const compare = new Intl.Collator(document.documentElement.lang, { numeric: true }).compare;
const value = (row, column) => row.cells[column].dataset.value;
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const filters = document.querySelector(".filters");
  if (!filters) continue;
  const [student, lab, ending, look, found, more] = ["f-student", "f-lab", "f-ending", "f-look", "f-found", "more"].map((id) => document.getElementById(id));
  let rows = [...table.tBodies].flatMap((part) => [...part.rows]);
  table.querySelector(".rest")?.remove();
  const show = (most) => {
    const words = student.value.toLocaleLowerCase().split(/\s+/);
    const fitting = rows.filter((row) => words.every((word) => value(row, 0).toLocaleLowerCase().includes(word))
      && (!lab.value || value(row, 1) === lab.value)
      && (!ending.value || value(row, 3) === ending.value)
      && (!look.checked || row.dataset.look === "1"));
    body.replaceChildren(...fitting.slice(0, most));
    found.textContent = fitting.length;
    more.hidden = fitting.length <= most;
    more.onclick = () => show(most + AT_ONCE);
  };
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = heading.textContent;
    heading.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = heading.getAttribute("aria-sort") === "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      const numeric = heading.classList.contains("num");
      const keyed = rows.map((row) => [numeric ? Number(value(row, column)) : value(row, column), row]);
      keyed.sort(([a], [b]) => (numeric ? a - b : compare(a, b)));
      rows = keyed.map(([, row]) => row);
      if (down) rows.reverse();
      show(AT_ONCE);
    });
  });
  filters.addEventListener("input", () => show(AT_ONCE));
  filters.hidden = false;
  show(AT_ONCE); // a browser that goes back fills the fields in again
}
