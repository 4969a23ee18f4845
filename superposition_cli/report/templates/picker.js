"use strict";
(function () {
  const data = JSON.parse(document.getElementById("models").textContent);
  const root = document.getElementById("pick");
  const about = document.getElementById("about");
  const controls = root.querySelector(".controls");
  const NS = "http://www.w3.org/2000/svg";
  const VIRIDIS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
  const DIVERGING = [[5, 48, 97], [67, 147, 195], [247, 247, 247], [214, 96, 77], [103, 0, 31]];

  function colour(scale, share) {
    const at = Math.min(Math.max(share, 0), 1) * (scale.length - 1);
    const low = Math.min(Math.floor(at), scale.length - 2);
    const mix = scale[low].map((c, i) => Math.round(c + (at - low) * (scale[low + 1][i] - c)));
    return "rgb(" + mix.join(",") + ")";
  }

  function add(parent, tag, attributes, text) {
    const made = document.createElementNS(NS, tag);
    for (const name in attributes) made.setAttribute(name, attributes[name]);
    if (text !== undefined) made.textContent = text;
    parent.appendChild(made);
    return made;
  }

  function dot(a, b) {
    return a.reduce((sum, value, i) => sum + value * b[i], 0);
  }

  function lengths(W) {
    return W.map((row) => Math.sqrt(dot(row, row)));
  }

  function superposition(W) {
    const norms = lengths(W);
    return W.map((row, i) => W.reduce((sum, other, j) => {
      return i === j || norms[i] === 0 ? sum : sum + (dot(row, other) / norms[i]) ** 2;
    }, 0));
  }

  function directions(cell) {
    const view = document.getElementById("view-directions");
    view.hidden = cell.W[0].length !== 2;
    if (view.hidden) return;
    const svg = view.querySelector("svg");
    const reach = 1.15 * Math.max(1, ...lengths(cell.W));
    const low = Math.min(...cell.importance), high = Math.max(...cell.importance);
    svg.replaceChildren();
    svg.setAttribute("viewBox", [-reach, -reach, 2 * reach, 2 * reach].join(" "));
    add(svg, "circle", {r: 1, fill: "none", stroke: "currentColor", "stroke-opacity": 0.25, "stroke-width": 0.01});
    cell.W.forEach((row, i) => {
      const share = high > low ? (high - cell.importance[i]) / (high - low) : 0.5;
      const own = {stroke: colour(VIRIDIS, share), fill: colour(VIRIDIS, share)};
      add(svg, "line", {x2: row[0], y2: -row[1], "stroke-width": 0.03, ...own});
      const tip = add(svg, "circle", {cx: row[0], cy: -row[1], r: 0.05, fill: own.fill});
      add(tip, "title", {}, "feature " + i + ", importance " + cell.importance[i]);
    });
  }

  function gram(cell) {
    const n = cell.W.length, canvas = document.querySelector("#view-gram canvas");
    const size = Math.max(1, Math.round(320 / n)), gap = Math.max(1, Math.ceil(n / 20));
    canvas.width = size * (n + 2 * gap);
    canvas.height = size * n;
    const draw = canvas.getContext("2d");
    cell.W.forEach((row, i) => {
      cell.W.forEach((other, j) => {
        draw.fillStyle = colour(DIVERGING, (dot(row, other) + 1) / 2);
        draw.fillRect(j * size, i * size, size, size);
      });
      draw.fillStyle = colour(DIVERGING, (cell.b[i] + 1) / 2);
      draw.fillRect((n + gap) * size, i * size, gap * size, size);
    });
  }

  function norms(cell) {
    const svg = document.querySelector("#view-norms svg"), own = lengths(cell.W);
    const met = superposition(cell.W), n = own.length, most = Math.max(1.2, ...own);
    svg.replaceChildren();
    svg.setAttribute("viewBox", "0 0 100 100");
    own.forEach((value, i) => {
      const bar = add(svg, "rect", {
        x: 0, y: (100 * i) / n, width: (100 * value) / most, height: (n > 40 ? 100 : 85) / n,
        fill: colour(VIRIDIS, met[i]),
      });
      add(bar, "title", {}, "feature " + i + ": " + value.toFixed(3) + ", superposition " + met[i].toFixed(3));
    });
    const one = 100 / most;
    add(svg, "line", {x1: one, x2: one, y1: 0, y2: 100, stroke: "currentColor", "stroke-width": 0.4, "stroke-dasharray": "2 2"});
  }

  const steps = data.axes.map(() => 0);

  function show() {
    const place = steps.reduce((at, step, i) => at * data.axes[i].values.length + step, 0);
    const cell = data.cells[place];
    root.querySelectorAll(".view").forEach((view) => { view.hidden = !cell; });
    if (!cell) {
      about.textContent = "Every model of this cell diverged.";
      return;
    }
    about.textContent = "model " + cell.model + ": loss " + cell.loss + ", loss / null loss " + cell.loss_normalised;
    directions(cell);
    gram(cell);
    norms(cell);
  }

  data.axes.forEach((axis, i) => {
    const label = document.createElement("label"), slider = document.createElement("input");
    const output = document.createElement("output");
    slider.type = "range";
    slider.min = 0;
    slider.max = axis.values.length - 1;
    slider.value = 0;
    const name = () => { output.textContent = axis.values[steps[i]]; slider.ariaValueText = axis.values[steps[i]]; };
    slider.addEventListener("input", () => { steps[i] = Number(slider.value); name(); show(); });
    label.append(axis.name + " = ", output, slider);
    controls.append(label);
    name();
  });
  root.hidden = false;
  show();
})();
