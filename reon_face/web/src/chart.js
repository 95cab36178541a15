// Bars and curves as elements of the page.

const [WIDTH, HEIGHT] = [240, 84]; // of a chart's plot, in its own units

export function drawBars(list, names, probabilities) {
  if (list.children.length !== names.length) {
    list.replaceChildren(...names.map(() => element("li", { html: '<span></span><div class="track"><div class="fill"></div></div><span class="value"></span>' })));
  }
  const highest = probabilities ? probabilities.indexOf(Math.max(...probabilities)) : -1;
  names.forEach((name, c) => {
    const row = list.children[c];
    row.classList.toggle("top", c === highest);
    row.children[0].textContent = name;
    row.querySelector(".fill").style.width = `${100 * (probabilities ? probabilities[c] : 0)}%`;
    row.children[2].textContent = probabilities ? `${Math.round(100 * probabilities[c])}\u00a0%` : "–";
  });
}

// One chart per emotion with both curves, and one of the distance with the worst moments numbered.
export function drawCurves(container, result, names, worst, text) {
  const end = result.times.at(-1) + result.times[1] - result.times[0] || 1;
  const charts = names.map((name, c) => {
    const lines = ["actor", "user"].map((who) => `<path class="${who}" d="${line(result.times, result[who].map((p) => p && p[c]), end)}" />`);
    return figure(name, lines.join(""), end, text.seconds);
  });
  const costs = result.costs.map((cost) => cost ?? 0);
  const marks = worst.map((t, i) => {
    const [x, y] = [place(result.times[t], end), HEIGHT * (1 - costs[t])];
    return `<g class="marker"><circle cx="${x}" cy="${y}" r="7" /><text x="${x}" y="${y + 3}">${i + 1}</text></g>`;
  });
  const last = place(result.times.at(-1), end);
  const filled = `<path class="cost" d="M0 ${HEIGHT} ${line(result.times, costs, end).replace("M", "L")} L${last} ${HEIGHT} Z" />`;
  container.replaceChildren(...charts, figure(text.difference, filled + marks.join(""), end, text.seconds));
}

function figure(name, content, end, seconds) {
  const grid = [0, 0.5, 1].map((y) => `<line class="grid" x2="${WIDTH}" y1="${HEIGHT * y}" y2="${HEIGHT * y}" />`).join("");
  const labels = `<text y="3">100 %</text><text y="${HEIGHT + 14}">0</text><text x="${WIDTH}" y="${HEIGHT + 14}" text-anchor="end">${end.toFixed(1)} ${seconds}</text>`;
  const node = element("figure", {
    html: `<figcaption></figcaption><svg viewBox="0 -8 ${WIDTH} ${HEIGHT + 26}" role="img">${grid}${labels}${content}</svg>`,
  });
  node.firstChild.textContent = name;
  node.lastChild.setAttribute("aria-label", name);
  return node;
}

// The path of the values; it breaks where they are null.
function line(times, values, end) {
  return values
    .map((value, t) => (value === null ? "" : `${t && values[t - 1] !== null ? "L" : "M"}${place(times[t], end)} ${(HEIGHT * (1 - value)).toFixed(2)}`))
    .join(" ");
}

const place = (time, end) => ((WIDTH * time) / end).toFixed(2);

export function element(tag, { html = "", ...properties }) {
  const node = Object.assign(document.createElement(tag), properties);
  if (html) node.innerHTML = html; // of this file's own templates only
  return node;
}
