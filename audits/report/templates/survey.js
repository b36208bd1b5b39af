// Sorts a table by a heading, the other way round at the second click, and filters its rows; the page reads without it.
"use strict";
document.documentElement.classList.add("scripted");
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const heading = button.closest("th"), body = heading.closest("table").tBodies[0];
    const down = heading.getAttribute("aria-sort") === "ascending";
    const text = (row) => row.cells[heading.cellIndex].textContent;
    const rows = [...body.rows].sort((a, b) => text(a).localeCompare(text(b)) * (down ? -1 : 1));
    for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append(...rows);
  });
}
const form = document.getElementById("filters");
if (form) {
  const rows = [...document.querySelectorAll("tr[data-kind]")];
  const filter = () => {
    const kinds = [...form.querySelectorAll(":checked")].map((box) => box.value);
    const words = form.querySelector("[type=search]").value.toLowerCase().split(/\s+/);
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = (kinds.length && !kinds.includes(row.dataset.kind)) || !words.every((word) => text.includes(word));
    }
    form.querySelector("output").textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} shown`;
  };
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  filter();
}
