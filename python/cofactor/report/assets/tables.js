// Sorting and filtering of the tables that a page has. Without this file they are plain tables.
"use strict";

(() => {
  // What a cell sorts by: an explicit key, its number with all digits, or its text.
  function sortKey(cell) {
    if (cell.dataset.sort !== undefined) return Number(cell.dataset.sort);
    const number = cell.querySelector("data");
    if (number) return Number(number.value);
    return cell.textContent.trim().toLowerCase();
  }

  // Numbers that are not known (NaN) come last, whichever way the rest is sorted.
  function compare(a, b, direction) {
    if (typeof a === "string" || typeof b === "string") return direction * String(a).localeCompare(String(b));
    if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
    return direction * (a - b);
  }

  function sortRows(table, column, direction) {
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => ({ row, key: sortKey(row.cells[column]) }));
    rows.sort((a, b) => compare(a.key, b.key, direction));
    body.append(...rows.map(({ row }) => row));
    [...table.tHead.rows[0].cells].forEach((cell, place) => {
      if (place !== column) cell.removeAttribute("aria-sort");
      else cell.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
    });
  }

  function makeSortable(table) {
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => {
        const sorted = heading.getAttribute("aria-sort");
        // Numbers are looked at from the largest, text from A.
        const first = heading.classList.contains("n") ? -1 : 1;
        const direction = sorted ? (sorted === "ascending" ? -1 : 1) : first;
        sortRows(table, column, direction);
      });
    });
  }

  function makeFilter(input) {
    const items = [...document.querySelectorAll(input.dataset.filters)];
    const texts = new Map(items.map((item) => [item, item.dataset.text.toLowerCase()]));
    const status = document.getElementById(input.dataset.status);
    const total = new Set(texts.values()).size;
    input.addEventListener("input", () => {
      const wanted = input.value.trim().toLowerCase();
      // A number is asked for as a whole: 1 is not 10.
      const matches = /^\d+$/.test(wanted) ? (line) => line === wanted : (line) => line.includes(wanted);
      const shown = new Set();
      for (const [item, text] of texts) {
        const found = text.split("\n").some(matches);
        item.hidden = !found;
        if (found) shown.add(text);
      }
      status.textContent = wanted ? `${shown.size} of ${total}` : "";
    });
    input.parentElement.hidden = false;
  }

  document.querySelectorAll("table.sortable").forEach(makeSortable);
  document.querySelectorAll("input[data-filters]").forEach(makeFilter);
})();
