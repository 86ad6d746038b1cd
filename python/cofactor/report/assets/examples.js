// The page of examples: a list to search and sort, and all about the one that is chosen.
//
// The element #data holds columns. Of example i, `concepts` and `neighbors` have the entries from
// start[i] to start[i + 1]; neighbours are places in these columns, `example` their numbers.
"use strict";

(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { examples, concepts, neighbors, classes, names, sheets } = data;
  const length = examples.example.length;
  const placeOf = new Map(examples.example.map((number, place) => [number, place]));

  function create(tag, properties = {}, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  }

  // A number as the other pages show it, with all its digits and its place in the tables.
  function number(value, text, of) {
    const element = create("data", { textContent: value === null ? "n/a" : text });
    element.value = value === null ? "" : String(value);
    element.dataset.of = of;
    return element;
  }

  const percent = (value) => (value > 0 && value < 0.0005 ? "<0.1%" : `${(100 * value).toFixed(1)}%`);
  const className = (index) => (index === null ? "" : classes[index]);

  function thumbnail(place, label = "") {
    const element = create("span", { className: "sprite" });
    if (label) {
      element.setAttribute("role", "img");
      element.setAttribute("aria-label", label);
    } else element.setAttribute("aria-hidden", "true");
    const sheet = sheets.files[Math.floor(place / sheets.size)];
    const within = place % sheets.size;
    const [column, row] = [within % sheet.columns, Math.floor(within / sheet.columns)];
    const at = (index, count) => (count > 1 ? `${(100 * index) / (count - 1)}%` : "0%");
    element.style.aspectRatio = `${sheet.width} / ${sheet.height}`;
    element.style.backgroundImage = `url("${sheet.path}")`;
    element.style.backgroundSize = `${100 * sheet.columns}% ${100 * sheet.rows}%`;
    element.style.backgroundPosition = `${at(column, sheet.columns)} ${at(row, sheet.rows)}`;
    return element;
  }

  function conceptLink(concept) {
    const file = String(concept).padStart(3, "0");
    return create("a", { href: `concepts/${file}.html`, textContent: `Concept ${concept}` });
  }

  const conceptText = (concept) => (concept < 0 ? "none" : `${concept} ${names[concept]}`.trim());

  const text = (key, label, value) => ({
    key,
    label,
    value,
    fill: (cell, row) => {
      cell.textContent = value(row);
      cell.title = value(row);
    },
  });

  const numeric = (key, label, write) => ({
    key,
    label,
    numeric: true,
    value: (row) => examples[key][row],
    fill: (cell, row) => {
      const value = examples[key][row];
      cell.replaceChildren(number(value, value === null ? "" : write(value), `examples/${row}/${key}`));
    },
  });

  const columns = [
    {
      key: "example",
      label: "example",
      numeric: true,
      value: (row) => examples.example[row],
      fill: (cell, row) => {
        const value = examples.example[row];
        const shown = number(value, String(value), `examples/${row}/example`);
        cell.replaceChildren(...(sheets.files.length ? [thumbnail(row)] : []), shown);
      },
    },
  ];
  if (examples.class) columns.push(text("class", "class", (row) => className(examples.class[row])));
  if (examples.predicted_class) {
    const column = text("predicted", "network says", (row) => className(examples.predicted_class[row]));
    const fill = column.fill;
    column.fill = (cell, row) => {
      fill(cell, row);
      const wrong = examples.correct && !examples.correct[row];
      cell.classList.toggle("wrong", Boolean(wrong));
      if (wrong) cell.prepend(create("span", { className: "mark", textContent: "✕ ", title: "wrong" }));
    };
    columns.push(column);
  }
  columns.push({
    key: "concept",
    label: "concept",
    value: (row) => examples.concept[row],
    fill: (cell, row) => {
      cell.textContent = conceptText(examples.concept[row]);
      cell.title = cell.textContent;
    },
  });
  columns.push(numeric("membership", "membership", percent));
  if (examples.impurity) columns.push(numeric("impurity", "impurity", (value) => value.toFixed(2)));

  // Filters

  const inputs = Object.fromEntries(
    ["search", "concept", "correct"].map((id) => [id, document.getElementById(id)]),
  );
  const status = document.getElementById("status");

  function makeTest() {
    const wanted = inputs.search.value.trim().toLowerCase();
    const isNumber = /^\d+$/.test(wanted);
    const found = new Set(classes.flatMap((name, index) => (name.toLowerCase().includes(wanted) ? [index] : [])));
    const concept = inputs.concept.value;
    const correct = inputs.correct?.value ?? "";
    return (row) => {
      if (concept !== "" && examples.concept[row] !== Number(concept)) return false;
      if (correct !== "" && examples.correct[row] !== (correct === "1")) return false;
      if (wanted === "") return true;
      if (isNumber && examples.example[row] === Number(wanted)) return true;
      return examples.class ? found.has(examples.class[row]) : false;
    };
  }

  function applyFilters() {
    table.filter(makeTest());
    const shown = table.order.length.toLocaleString("en");
    status.textContent = `${shown} of ${length.toLocaleString("en")} examples`;
  }

  // The chosen example

  const detail = document.getElementById("detail");

  function conceptBar(row) {
    const [from, to] = [concepts.start[row], concepts.start[row + 1]];
    if (from === to) return [create("p", { className: "how", textContent: "It activates no concept." })];
    const stack = create("div", { className: "stack" });
    stack.setAttribute("aria-hidden", "true");
    const body = create("tbody");
    for (let at = from; at < to; at += 1) {
      const [concept, membership] = [concepts.concept[at], concepts.membership[at]];
      const width = `${(100 * membership).toFixed(2)}%`;
      const piece = create("i", { title: `Concept ${conceptText(concept)}: ${percent(membership)}` });
      piece.style.width = width;
      piece.style.opacity = String(1 - (0.8 * (at - from)) / Math.max(1, to - from));
      stack.append(piece);
      const fill = create("i");
      fill.style.width = width;
      const bar = create("span", { className: "bar" }, fill);
      bar.setAttribute("aria-hidden", "true");
      const name = create("th", { scope: "row" }, conceptLink(concept), " ", create("small", { textContent: names[concept] }));
      const share = create("td", { className: "n" }, number(membership, percent(membership), `example_concepts/${at}/membership`));
      body.append(create("tr", {}, name, create("td", {}, bar), share));
    }
    const first = concepts.concept[from];
    const caption = create(
      "p",
      { className: "how" },
      "How much of it belongs to each concept: ",
      conceptLink(first),
      " has ",
      number(concepts.membership[from], percent(concepts.membership[from]), `example_concepts/${from}/membership`),
      ". What the bar lacks is in weaker ones.",
    );
    return [caption, stack, create("table", { className: "classes" }, body)];
  }

  function neighborGrid(row) {
    const [from, to] = [neighbors.start[row], neighbors.start[row + 1]];
    if (from === to) return [];
    const grid = create("div", { className: "grid" });
    for (let at = from; at < to; at += 1) {
      const place = neighbors.place[at];
      const label = [examples.class ? className(examples.class[place]) : "", `example ${examples.example[place]}`].filter(Boolean).join(", ");
      const button = create("button", { type: "button", title: `${label}, distance ${neighbors.distance[at].toPrecision(3)}` });
      if (sheets.files.length) button.append(thumbnail(place));
      button.append(create("span", { className: sheets.files.length ? "name" : "", textContent: examples.class ? className(examples.class[place]) : String(examples.example[place]) }));
      button.setAttribute("aria-label", label);
      button.addEventListener("click", () => choose(place));
      grid.append(button);
    }
    const nearest = neighbors.distance[from];
    const caption = create(
      "p",
      { className: "how" },
      "The examples whose concepts are most like its own, nearest first; the nearest is at a distance of ",
      number(nearest, nearest.toPrecision(3), `neighbors/${from}/distance`),
      ".",
    );
    return [create("h3", { textContent: "Nearest examples" }), caption, grid];
  }

  function facts(row) {
    const list = create("dl", { className: "facts" });
    const add = (term, ...content) => list.append(create("div", {}, create("dt", { textContent: term }), create("dd", {}, ...content)));
    if (examples.class) add("class", className(examples.class[row]));
    if (examples.predicted_class) add("network says", className(examples.predicted_class[row]));
    if (examples.impurity) {
      const value = examples.impurity[row];
      add("impurity", number(value, value === null ? "" : value.toFixed(2), `examples/${row}/impurity`), value === null ? "" : " bits");
    }
    return list;
  }

  function show(row) {
    const shown = examples.example[row];
    const head = create("header", {}, create("h2", { textContent: `Example ${shown}` }), facts(row));
    if (sheets.files.length) head.prepend(thumbnail(row, `Example ${shown}`));
    detail.replaceChildren(head, ...conceptBar(row), ...neighborGrid(row));
    // The address leads back here, once somebody has chosen.
    if (ready) history.replaceState(null, "", `#example-${shown}`);
  }

  // Shows an example that a filter may hide.
  function choose(row) {
    if (!table.place.has(row)) {
      for (const input of Object.values(inputs)) if (input) input.value = "";
      applyFilters();
    }
    table.select(row);
  }

  function followAddress() {
    const [, kind, number] = /^#(example|concept)-(\d+)$/.exec(location.hash) ?? [];
    if (kind === "concept" && names[Number(number)] !== undefined) {
      inputs.concept.value = number;
      applyFilters();
    }
    if (kind === "example" && placeOf.has(Number(number))) choose(placeOf.get(Number(number)));
    else if ((kind === "concept" || !ready) && table.order.length) table.select(table.order[0]);
  }

  let ready = false;
  document.getElementById("explorer").hidden = false;
  const table = new VirtualTable(document.getElementById("list"), {
    label: "Examples",
    columns,
    length,
    rowHeight: 44,
    onSelect: show,
  });
  for (const input of Object.values(inputs)) input?.addEventListener("input", applyFilters);
  document.querySelector(".tools").addEventListener("submit", (event) => event.preventDefault());
  applyFilters();
  followAddress();
  ready = true;
  addEventListener("hashchange", followAddress);
})();
