// A table of many rows, of which only those in sight are in the document.
//
// Rows are numbers from 0 to `length` - 1. A column has a `key`, a `label`, `numeric`, the `value`
// of a row to sort by (null where it is not known: those rows come last) and `fill(cell, row)`.
"use strict";

class VirtualTable {
  static OVERSCAN = 8;

  constructor(parent, { label, columns, length, rowHeight, onSelect }) {
    this.columns = columns;
    this.length = length;
    this.rowHeight = rowHeight;
    this.onSelect = onSelect;
    this.selected = null;
    this.sorting = { column: columns[0], descending: false };
    this.test = () => true;
    this.build(parent, label);
    this.update();
    this.viewport.addEventListener("scroll", () => this.schedule(), { passive: true });
    new ResizeObserver(() => this.schedule()).observe(this.viewport);
  }

  build(parent, label) {
    this.viewport = document.createElement("div");
    this.viewport.className = "viewport";
    this.table = document.createElement("table");
    this.table.tabIndex = 0;
    this.table.setAttribute("role", "grid");
    this.table.setAttribute("aria-label", label);
    const head = this.table.createTHead().insertRow();
    head.setAttribute("aria-rowindex", "1");
    for (const column of this.columns) head.append(this.heading(column));
    this.body = this.table.createTBody();
    this.spaces = [0, 1].map(() => {
      const row = this.body.insertRow();
      row.className = "space";
      row.setAttribute("aria-hidden", "true");
      row.insertCell();
      return row;
    });
    this.rows = [];
    this.table.addEventListener("keydown", (event) => this.onKey(event));
    this.body.addEventListener("click", (event) => {
      const row = event.target.closest("tr[data-row]");
      if (row) this.select(Number(row.dataset.row));
    });
    this.viewport.append(this.table);
    parent.append(this.viewport);
  }

  heading(column) {
    const heading = document.createElement("th");
    heading.scope = "col";
    heading.className = `c-${column.key}${column.numeric ? " n" : ""}`;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = column.label;
    button.addEventListener("click", () => {
      const same = this.sorting.column === column;
      this.sort(column.key, same && !this.sorting.descending);
    });
    heading.append(button);
    column.heading = heading;
    return heading;
  }

  filter(test) {
    this.test = test;
    this.update();
    this.viewport.scrollTop = 0;
  }

  sort(key, descending) {
    this.sorting = { column: this.columns.find((column) => column.key === key), descending };
    this.update();
    this.viewport.scrollTop = 0;
  }

  // Rows that pass, in order; equal ones stay as they are numbered.
  update() {
    const { column, descending } = this.sorting;
    const order = [];
    for (let row = 0; row < this.length; row += 1) if (this.test(row)) order.push(row);
    const sign = descending ? -1 : 1;
    const values = order.length ? Array.from({ length: this.length }, (_, row) => column.value(row)) : [];
    order.sort((a, b) => {
      const [x, y] = [values[a], values[b]];
      if (x === y) return a - b;
      if (x === null || y === null) return (x === null) - (y === null);
      return sign * (x < y ? -1 : 1);
    });
    this.order = order;
    this.place = new Map(order.map((row, place) => [row, place]));
    for (const each of this.columns) {
      if (each !== column) each.heading.removeAttribute("aria-sort");
      else each.heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    }
    this.table.setAttribute("aria-rowcount", String(order.length + 1));
    this.render();
  }

  schedule() {
    if (this.pending) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = 0;
      this.render();
    });
  }

  render() {
    const inSight = Math.ceil(this.viewport.clientHeight / this.rowHeight) + 1;
    const top = Math.floor(this.viewport.scrollTop / this.rowHeight);
    const count = Math.min(this.order.length, inSight + 2 * VirtualTable.OVERSCAN);
    const first = Math.max(0, Math.min(top - VirtualTable.OVERSCAN, this.order.length - count));
    while (this.rows.length < count) this.rows.push(this.makeRow());
    while (this.rows.length > count) this.rows.pop().remove();
    this.rows.forEach((element, slot) => this.fill(element, first + slot));
    this.spaces[0].cells[0].style.height = `${first * this.rowHeight}px`;
    this.spaces[1].cells[0].style.height = `${(this.order.length - first - count) * this.rowHeight}px`;
    this.markSelected();
  }

  makeRow() {
    const element = document.createElement("tr");
    element.style.height = `${this.rowHeight}px`;
    for (const column of this.columns) {
      const cell = element.insertCell();
      cell.className = column.heading.className;
    }
    this.body.insertBefore(element, this.spaces[1]);
    return element;
  }

  fill(element, place) {
    const row = this.order[place];
    if (element.dataset.row === String(row) && element.ariaRowIndex === String(place + 2)) return;
    element.dataset.row = String(row);
    element.id = `row-${row}`;
    element.ariaRowIndex = String(place + 2);
    this.columns.forEach((column, number) => column.fill(element.cells[number], row));
  }

  markSelected() {
    for (const element of this.rows) {
      element.setAttribute("aria-selected", String(Number(element.dataset.row) === this.selected));
    }
    const shown = this.rows.some((element) => Number(element.dataset.row) === this.selected);
    if (shown) this.table.setAttribute("aria-activedescendant", `row-${this.selected}`);
    else this.table.removeAttribute("aria-activedescendant");
  }

  select(row) {
    this.selected = row;
    this.scrollTo(row);
    this.render();
    this.onSelect(row);
  }

  scrollTo(row) {
    const place = this.place.get(row);
    if (place === undefined) return;
    const head = this.table.tHead.offsetHeight;
    const y = place * this.rowHeight;
    const { scrollTop, clientHeight } = this.viewport;
    if (y < scrollTop) this.viewport.scrollTop = y;
    else if (y + this.rowHeight + head > scrollTop + clientHeight) {
      this.viewport.scrollTop = y + this.rowHeight + head - clientHeight;
    }
  }

  onKey(event) {
    const page = Math.max(1, Math.floor(this.viewport.clientHeight / this.rowHeight) - 2);
    const last = this.order.length - 1;
    const at = this.place.get(this.selected) ?? -1;
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: last }[event.key];
    if (to === undefined || last < 0 || event.target !== this.table) return;
    event.preventDefault();
    this.select(this.order[Math.max(0, Math.min(last, to))]);
  }
}
