"use strict";
(() => {
  const find = (selector, inside = document) => [...inside.querySelectorAll(selector)];
  const dialog = document.getElementById("large");

  // ---- tables sort by a click on a head: numbers as numbers, names by their letters
  function key(row, at) {
    const text = row.cells[at].dataset.key;
    return text !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
  }

  function compare(one, other) {
    // what is not there comes last either way
    if (one === "" || other === "") return 0;
    return typeof one === "number" && typeof other === "number" ? one - other : String(one).localeCompare(String(other));
  }

  function sort(table, at) {
    const heads = find("thead th", table);
    const up = heads[at].getAttribute("aria-sort") === "descending" || !heads[at].hasAttribute("aria-sort");
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row, place) => ({ row, place, key: key(row, at) }));
    rows.sort((a, b) => (a.key === "") - (b.key === "") || (up ? 1 : -1) * compare(a.key, b.key) || a.place - b.place);
    body.append(...rows.map(({ row }) => row));
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[at].setAttribute("aria-sort", up ? "ascending" : "descending");
  }

  for (const table of find("table.sortable")) {
    find("thead th", table).forEach((head, at) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      button.addEventListener("click", () => sort(table, at));
      head.append(button);
    });
  }

  // ---- pictures open large
  function open(button) {
    const picture = button.querySelector("img, svg");
    document.getElementById("large-title").textContent = button.getAttribute("aria-label").replace("Open large: ", "");
    document.getElementById("large-picture").replaceChildren(picture.cloneNode(true));
    document.getElementById("large-text").textContent = picture.alt ?? picture.getAttribute("aria-label");
    dialog.showModal();
  }

  document.addEventListener("click", ({ target }) => {
    const opener = target.closest("button.large");
    if (opener) open(opener);
    if (target === dialog) dialog.close();
  });
  document.getElementById("close").addEventListener("click", () => dialog.close());

  // ---- paper shows what is folded away
  const closed = [];
  window.addEventListener("beforeprint", () => {
    for (const one of find("details:not([open])")) { one.open = true; closed.push(one); }
  });
  window.addEventListener("afterprint", () => { for (const one of closed.splice(0)) one.open = false; });

  document.documentElement.classList.remove("without-script");
})();
