// Filters the claims. Ticked chips of one kind widen, kinds narrow each other; on paper everything is unfolded.
"use strict";
(() => {
  const form = document.getElementById("filters");
  const items = [...document.querySelectorAll("[data-claim]")];
  const folds = [...document.querySelectorAll("details")];
  const cards = new Map(items.map((item) => [item, document.getElementById("claim-" + item.dataset.claim)]));
  if (form) {
    const ticked = (name) => [...form.querySelectorAll(`[name="${name}"]:checked`)].map((box) => box.value);
    const apply = () => {
      const words = form.querySelector("[type=search]").value.toLowerCase().split(/\s+/).filter(Boolean);
      const wanted = ["verdict", "tier", "stale"].map((name) => [name, ticked(name)]);
      const seen = new Set();
      for (const item of items) {
        const text = (item.textContent + " " + cards.get(item).textContent).toLowerCase();
        const fits = wanted.every(([name, values]) => !values.length || values.includes(item.dataset[name]));
        const shown = fits && words.every((word) => text.includes(word));
        item.classList.toggle("filtered", !shown);
        if (shown) seen.add(item.dataset.claim);
      }
      form.querySelector("output").textContent = `${seen.size} of ${form.dataset.total} claims shown`;
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
  }
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = folds.filter((fold) => !fold.open);
    for (const fold of opened) fold.open = true;
  });
  addEventListener("afterprint", () => {
    for (const fold of opened) fold.open = false;
    opened = [];
  });
})();
