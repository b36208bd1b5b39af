// Filters the claims: ticked chips of one kind widen, kinds narrow each other, and every word must occur.
"use strict";
(() => {
  const form = document.getElementById("filters");
  const rows = [...document.querySelectorAll("tr[data-outcome]")];
  const names = [...new Set([...form.querySelectorAll("[type=checkbox]")].map((box) => box.name))];
  const ticked = (name) => [...form.querySelectorAll(`[name="${name}"]:checked`)].map((box) => box.value);
  const apply = () => {
    const words = form.querySelector("[type=search]").value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = names.map((name) => [name, ticked(name)]).filter(([, values]) => values.length);
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      const fits = wanted.every(([name, values]) => values.includes(row.dataset[name]));
      row.classList.toggle("filtered", !(fits && words.every((word) => text.includes(word))));
    }
    for (const section of document.querySelectorAll("section:has(tr[data-outcome])"))
      section.classList.toggle("filtered", !section.querySelector("tr[data-outcome]:not(.filtered)"));
    const shown = rows.filter((row) => !row.classList.contains("filtered")).length;
    form.querySelector("output").textContent = `${shown} of ${rows.length} claims shown`;
  };
  form.addEventListener("input", apply);
  // By hand: a reset event comes before the fields are empty, and waiting for them would show the old filter on.
  form.querySelector("[type=reset]").addEventListener("click", (event) => {
    event.preventDefault();
    form.reset();
    apply();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  apply();
})();
