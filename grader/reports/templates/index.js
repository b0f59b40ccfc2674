"use strict";
// Sorts the table of runs by the column whose heading is pressed; without scripts the page shows the same rows.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const compare = new Intl.Collator(document.documentElement.lang, { numeric: true }).compare;
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = heading.textContent;
    heading.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = heading.getAttribute("aria-sort") === "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      const value = (row) => row.cells[column].dataset.value;
      const numeric = heading.classList.contains("num");
      const rows = [...body.rows].sort((a, b) =>
        numeric ? Number(value(a)) - Number(value(b)) : compare(value(a), value(b)));
      body.append(...(down ? rows.reverse() : rows));
    });
  });
}
