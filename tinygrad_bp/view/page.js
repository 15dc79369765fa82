"use strict";
// Draws the content of the page and follows the slider. A picture is one array at every step: cells of `cut` matrices.
const content = JSON.parse(document.getElementById("content").textContent);
const { steps, curves } = content;
const dark = matchMedia("(prefers-color-scheme: dark)");
const pictures = [];
const changes = []; // what follows the slider
let now = 0;
let playing = 0;

const $ = (selector, within = document) => within.querySelector(selector);
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

function element(kind, className, text) {
  const made = document.createElement(kind);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function escaped(text) {
  return String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
}

// ---- numbers and formulas

function number(value, digits = 4) {
  value = Number(value);
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "nan" : value > 0 ? "inf" : "\u2212inf";
  const size = Math.abs(value);
  let text = size !== 0 && (size < 1e-3 || size >= 1e6) ? value.toExponential(Math.max(0, digits - 2)) : String(Number(value.toPrecision(digits)));
  const [mantissa, power] = text.split("e");
  if (power !== undefined) text = `${mantissa}e${Number(power)}`;
  return text.replace(/-/g, "\u2212");
}

const times = "\u00d7";
const sizes = (shape) => (shape.length ? shape.join(` ${times} `) : "one number");
const mi = (text) => `<mi>${text}</mi>`;
const mo = (text) => `<mo>${text}</mo>`;
const mn = (value) => {
  const text = typeof value === "string" ? value : number(value);
  const [mantissa, power] = text.split("e");
  if (power === undefined) return text.startsWith("\u2212") ? `<mrow><mo form="prefix">\u2212</mo><mn>${text.slice(1)}</mn></mrow>` : `<mn>${text}</mn>`;
  return `<mrow>${mn(mantissa)}${mo(times)}<msup><mn>10</mn>${mn(power)}</msup></mrow>`;
};
const row = (...parts) => `<mrow>${parts.join("")}</mrow>`;
const both = (letter, below, above) => (below ? `<msubsup>${mi(letter)}${row(...below.split("").map(mi))}${above}</msubsup>` : `<msup>${mi(letter)}${above}</msup>`);
const d = (under) => `<mfrac>${row(mo("&#8706;"), mi("C"))}${row(mo("&#8706;"), under)}</mfrac>`;
const sum = (under) => `<munder>${mo("&#8721;")}${under}</munder>`;
const signed = (value) => (value < 0 || Object.is(value, -0) ? row(mo("("), mn(value), mo(")")) : mn(value));
const math = (...parts) => `<math>${row(...parts)}</math>`;
const [delta, sigma] = ["&#948;", "&#963;"];
const slope = (of) => row(`<msup>${mi(sigma)}${mo("&#8242;")}</msup>`, mo("("), of, mo(")"));

// ---- cells

const decoded = new Map();

function cells(picture) {
  if (!decoded.has(picture.cells)) {
    const { kind, scale, base64 } = content.cells[picture.cells];
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    decoded.set(picture.cells, kind === "f" ? new Float64Array(bytes.buffer) : Float64Array.from(bytes, (q) => (q === 0 ? NaN : q === 1 ? -Infinity : q === 255 ? Infinity : ((q - 128) / 126) * scale)));
  }
  return decoded.get(picture.cells);
}

const exact = (picture) => content.cells[picture.cells].kind === "f";

// from zero outwards; the darkest on paper is negative, the brightest on a dark screen positive
const COLOURS = {
  light: { negative: ["#ffffff", "#a6c8ea", "#2f6fc0", "#0a2a63"], positive: ["#ffffff", "#ffcf9e", "#f58a2c", "#d35400"], ink: ["#ffffff", "#9aa5af", "#14181c"] },
  dark: { negative: ["#16191d", "#173a66", "#2b6cc4", "#6aa7f5"], positive: ["#16191d", "#6b3a0c", "#e07b1f", "#ffd9a0"], ink: ["#16191d", "#7f8b95", "#ffffff"] },
};

function ramp(stops) {
  const rgb = stops.map((stop) => [1, 3, 5].map((at) => parseInt(stop.slice(at, at + 2), 16)));
  return Array.from({ length: 256 }, (_, level) => {
    const at = (level / 255) * (rgb.length - 1);
    const left = Math.min(Math.floor(at), rgb.length - 2);
    return rgb[left].map((from, part) => Math.round(from + (at - left) * (rgb[left + 1][part] - from)));
  });
}

let colours;

function chooseColours() {
  const chosen = COLOURS[dark.matches ? "dark" : "light"];
  colours = Object.fromEntries(Object.entries(chosen).map(([name, stops]) => [name, ramp(stops)]));
}

function colour(value, limit, bipolar) {
  const level = Math.round(255 * clamp(Math.abs(value) / (limit || 1), 0, 1));
  return colours[value < 0 ? "negative" : bipolar ? "positive" : "ink"][level];
}

function layout(picture, width) {
  let [count, rows, columns] = picture.cut;
  const place = { count, rows, columns, gap: 0, caption: 0, line: 1, wrapped: 0 };
  if (count === 1 && rows === 1) {
    const least = columns > 1000 ? 6 : columns > 200 ? 10 : 16;
    place.w = clamp(Math.floor(width / columns), least, 58);
    place.columns = Math.min(columns, Math.floor(width / place.w));
    place.rows = Math.ceil(columns / place.columns);
    place.wrapped = columns;
    place.h = Math.min(place.w, 28);
  } else if (count === 1) {
    const { square } = picture;
    place.w = clamp(Math.floor(width / columns), 2, square ? Math.max(2, Math.floor(224 / rows)) : 58);
    place.h = square ? place.w : Math.min(place.w, 28, Math.max(2, Math.floor(300 / rows)));
  } else {
    const aim = count <= 4 ? 112 : count <= 16 ? 84 : 60;
    place.w = place.h = Math.max(1, Math.min(Math.floor(aim / Math.max(rows, columns)), Math.floor(width / columns), 28)) || 1;
    place.gap = place.w * columns > 20 ? 6 : 3;
    place.caption = picture.captions ? 17 : 0;
    const fit = Math.max(1, Math.floor((width + place.gap) / (place.w * columns + place.gap)));
    place.line = picture.across > 1 && picture.across <= fit ? picture.across : Math.min(fit, count);
  }
  place.tileWidth = place.w * place.columns + place.gap;
  place.tileHeight = place.h * place.rows + place.gap + place.caption;
  place.width = place.line * place.tileWidth - place.gap;
  place.height = Math.ceil(count / place.line) * place.tileHeight - place.gap;
  return place;
}

const scratch = document.createElement("canvas");

function paint(shown) {
  const picture = shown.picture();
  const width = Math.floor(shown.holder.clientWidth);
  if (!width || !picture.cut[0]) return;
  const place = (shown.place = layout(picture, width));
  const values = cells(picture);
  const limit = $("#own").checked ? picture.limit : shown.limit;
  const sharp = Math.min(window.devicePixelRatio || 1, 3);
  const { canvas } = shown;
  canvas.width = place.width * sharp;
  canvas.height = place.height * sharp;
  canvas.style.width = `${place.width}px`;
  canvas.style.height = `${place.height}px`;
  const pen = canvas.getContext("2d");
  pen.scale(sharp, sharp);
  pen.imageSmoothingEnabled = false;
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  scratch.width = place.columns;
  scratch.height = place.rows;
  const small = scratch.getContext("2d", { willReadFrequently: true });
  const style = getComputedStyle(document.body);
  const size = place.rows * place.columns;
  for (let tile = 0; tile < place.count; tile++) {
    const left = (tile % place.line) * place.tileWidth;
    const top = Math.floor(tile / place.line) * place.tileHeight;
    const image = small.createImageData(place.columns, place.rows);
    for (let at = 0; at < size; at++) {
      if (place.wrapped && at >= place.wrapped) break;
      const value = values[tile * size + at];
      const odd = (at + Math.floor(at / place.columns)) % 2;
      image.data.set(Number.isFinite(value) ? colour(value, limit, shown.bipolar) : odd ? [0, 0, 0] : [255, 255, 255], 4 * at);
      image.data[4 * at + 3] = 255;
    }
    small.putImageData(image, 0, 0);
    pen.drawImage(scratch, left, top, place.w * place.columns, place.h * place.rows);
    pen.strokeStyle = style.getPropertyValue("--line");
    pen.lineWidth = 1;
    if (place.w >= 10 && place.h >= 8) mark(pen, place, values, tile, left, top, limit, shown.bipolar);
    else if (!place.wrapped) pen.strokeRect(left + 0.5, top + 0.5, place.w * place.columns - 1, place.h * place.rows - 1);
    if (place.caption && tile < picture.captions.length) {
      const [text, wrong] = picture.captions[tile];
      pen.font = `${wrong ? "650 " : ""}12px ${style.fontFamily}`;
      pen.fillStyle = style.getPropertyValue(wrong ? "--accent" : "--soft");
      pen.fillText(text, left + (place.w * place.columns) / 2, top + place.h * place.rows + 10);
    }
  }
}

// a number with as many digits as there is room for
function fitting(pen, value, room) {
  const texts = [3, 2, 1].map((digits) => number(value, digits));
  return texts.find((text) => pen.measureText(text).width <= room) ?? texts[2];
}

// what makes single cells readable: their edges, their numbers or a dash where they are negative
function mark(pen, place, values, tile, left, top, limit, bipolar) {
  const size = place.rows * place.columns;
  const numbers = place.w >= 44 && place.h >= 18;
  pen.font = `12px ${getComputedStyle(document.body).fontFamily}`;
  for (let at = 0; at < size; at++) {
    if (place.wrapped && at >= place.wrapped) break;
    const value = values[tile * size + at];
    const x = left + (at % place.columns) * place.w;
    const y = top + Math.floor(at / place.columns) * place.h;
    pen.strokeRect(x + 0.5, y + 0.5, place.w - 1, place.h - 1);
    const [r, g, b] = Number.isFinite(value) ? colour(value, limit, bipolar) : [0, 0, 0];
    pen.fillStyle = 0.3 * r + 0.59 * g + 0.11 * b > 140 ? "#14181c" : "#fff";
    if (!Number.isFinite(value)) {
      pen.clearRect(x + 1, y + 1, place.w - 2, place.h - 2);
      pen.fillStyle = getComputedStyle(document.body).color;
      pen.fillText(place.w > 24 ? number(value) : "?", x + place.w / 2, y + place.h / 2 + 1);
    } else if (numbers) pen.fillText(fitting(pen, value, place.w - 6), x + place.w / 2, y + place.h / 2 + 1);
    else if (value < 0 && Math.abs(value) > 0.04 * limit) {
      pen.globalAlpha = 0.55;
      pen.fillRect(x + place.w / 2 - 2.5, y + place.h / 2 - 0.5, 5, 1);
      pen.globalAlpha = 1;
    }
  }
}

// the index of the cell at a point of the canvas: tile, row and column as cut
function cellAt(shown, x, y) {
  const { place } = shown;
  const across = Math.floor(x / place.tileWidth);
  const tile = Math.floor(y / place.tileHeight) * place.line + across;
  const column = Math.floor((x - across * place.tileWidth) / place.w);
  const line = Math.floor((y % place.tileHeight) / place.h);
  if (across >= place.line || tile >= place.count || column >= place.columns || line >= place.rows || column < 0 || line < 0) return null;
  const at = line * place.columns + column;
  return place.wrapped && at >= place.wrapped ? null : tile * place.rows * place.columns + at;
}

// where a cell is in the array itself, as NumPy writes it
function indices(picture, cell) {
  const [, rows, columns] = picture.cut;
  const [, height, wide] = picture.stack;
  const [down, over] = picture.block;
  const tile = Math.floor(cell / (rows * columns));
  const line = (Math.floor(cell / columns) % rows) * down;
  let flat = (tile * height + line) * wide + (cell % columns) * over;
  const found = [];
  for (const length of [...picture.shape].reverse()) {
    found.unshift(flat % length);
    flat = Math.floor(flat / length);
  }
  return found;
}

function tell(shown, event) {
  const box = shown.canvas.getBoundingClientRect();
  const cell = shown.place && cellAt(shown, event.clientX - box.left, event.clientY - box.top);
  const tip = $("#tip");
  tip.hidden = cell === null || cell === undefined;
  if (tip.hidden) return;
  const picture = shown.picture();
  const [down, over] = picture.block;
  const found = indices(picture, cell);
  const value = cells(picture)[cell];
  const about = exact(picture) || !Number.isFinite(value) ? `= ${number(value, 6)}` : `\u2248 ${number(value, 3)}`;
  const block = down * over > 1 ? `\ngreatest of ${down} ${times} ${over} from here` : "";
  const caption = picture.captions && picture.captions[Math.floor(cell / (picture.cut[1] * picture.cut[2]))];
  tip.textContent = `${shown.name}[${found.join(", ")}] ${about}${block}${caption ? `\n${caption[2]}` : ""}`;
  tip.style.left = `${clamp(event.clientX + 14, 4, innerWidth - tip.offsetWidth - 4)}px`;
  tip.style.top = `${clamp(event.clientY - tip.offsetHeight - 14, 4, innerHeight - tip.offsetHeight - 4)}px`;
}

// name: as code calls it; symbol: MathML; words: what it is; at: step -> picture
function figure(name, symbol, words, at, size, chosen) {
  const all = steps.map((_, step) => at(step));
  const first = all[0];
  const made = element("figure", `picture ${size || ""}`);
  const caption = element("figcaption");
  caption.innerHTML = `${symbol ? `<math>${symbol}</math> ` : ""}${escaped(words)} <span>${sizes(first.shape)}</span>`;
  const holder = element("div", "roll");
  const canvas = element("canvas");
  canvas.setAttribute("role", "img");
  holder.append(canvas);
  const scale = element("div", "scale");
  const note = element("p", "note");
  made.append(caption, holder, scale, note);
  const shown = { name, holder, canvas, picture: () => at(now), limit: Math.max(...all.map((each) => each.limit)), bipolar: all.some((each) => each.low < 0) };
  const cut = [];
  const [count, rows, columns] = first.stack;
  if (first.cut[0] < count) cut.push(`The first ${first.cut[0]} of ${count} pictures.`);
  if (first.block[0] * first.block[1] > 1) cut.push(`Of every block of ${first.block.join(` ${times} `)} numbers the greatest is shown, of ${rows} ${times} ${columns}.`);
  if (!first.shape.every(Boolean)) cut.push("There is nothing in it.");
  shown.refresh = () => {
    const picture = at(now);
    canvas.setAttribute("aria-label", `${words}, ${sizes(picture.shape)}, from ${number(picture.low)} to ${number(picture.high)}`);
    const limit = $("#own").checked ? picture.limit : shown.limit;
    const stops = (shades) => [0, 85, 170, 255].map((level) => `rgb(${shades[level]})`);
    const bar = shown.bipolar ? [...stops(colours.negative).reverse(), ...stops(colours.positive)] : stops(colours.ink);
    scale.innerHTML = `${number(shown.bipolar ? -limit : 0, 2)} <i></i> ${number(limit, 2)}`;
    $("i", scale).style.background = `linear-gradient(to right, ${bar.join(", ")})`;
    scale.hidden = !picture.cut[0];
    note.textContent = [...cut, ...(picture.bad ? [`${picture.bad} of these numbers ${picture.bad > 1 ? "are" : "is"} not finite.`] : []), ...(picture.cut[0] && !picture.low && !picture.high && !picture.bad ? ["All of them are 0."] : [])].join(" ");
    paint(shown);
  };
  canvas.addEventListener("pointermove", (event) => tell(shown, event));
  canvas.addEventListener("pointerdown", (event) => {
    tell(shown, event);
    const cell = shown.place && chosen && cellAt(shown, event.offsetX, event.offsetY);
    if (cell !== null && cell !== undefined && cell !== false) chosen(indices(shown.picture(), cell));
  });
  canvas.addEventListener("pointerleave", () => ($("#tip").hidden = true));
  pictures.push(shown);
  return made;
}

// ---- the parts of the page

function about() {
  const step = steps[0];
  const rows = step.sample === null ? `The numbers are those of a mini-batch of <b>${step.rows} ${step.rows === 1 ? "row" : "rows"}</b>` : `The numbers are those of <b>row ${step.sample}</b> of ${step.rows}`;
  $("#about").innerHTML = `${steps.length > 1 ? "Steps" : "One step"} of backpropagation. ${rows}; the cost <math>${mi("C")}</math> is <b>${escaped(step.loss_name)}</b>${steps.length > 1 ? "" : `, and it is <b>${number(step.loss, 6)}</b>`}.`;
  $("#model pre").textContent = step.model;
}

function findings() {
  const list = $("#findings ul");
  list.replaceChildren();
  const { findings: found, rows } = steps[now];
  $("#findings .lead").textContent = found.length ? (steps.length > 1 ? `At ${steps[now].label}:` : "") : `${steps.length > 1 ? `At ${steps[now].label}: n` : "N"}othing that would keep this net from learning was found in these ${rows} rows.`;
  for (const { layer, kind, text } of found) {
    const item = element("li");
    item.append(element("b", "", kind));
    const number = steps[now].layers.findIndex((each) => each.path === layer);
    const where = element(number < 0 ? "i" : "a", "", layer);
    if (number >= 0) where.href = `#layer-${number}`;
    if (number >= 0) where.addEventListener("click", () => ($(`#layer-${number}`).open = true));
    item.append(where, element("p", "", text));
    list.append(item);
  }
}

function data() {
  const step = steps[0];
  const one = step.sample !== null || step.rows === 1;
  const holder = $("#data .pictures");
  const withCaptions = (at) => {
    const { x, classes } = steps[at];
    if (!classes || x.cut[0] < 2 || x.stack[0] !== classes.wanted.length) return x;
    const captions = classes.wanted.map((wanted, row) => [wanted === classes.said[row] ? `${wanted}` : `${wanted}, not ${classes.said[row]}`, wanted !== classes.said[row], `row ${row}: class ${wanted}, the net says ${classes.said[row]}`]);
    return Object.assign(x, { captions });
  };
  const wide = step.x.cut[0] > 4;
  holder.append(figure("x", mi("x"), "the input", withCaptions, wide ? "full" : ""));
  holder.append(figure("y", mi("y"), "what was wanted", (at) => steps[at].y, wide ? "half" : ""));
  holder.append(figure("output", mi("a"), "what the net says", (at) => steps[at].output, wide ? "half" : ""));
  changes.push(() => {
    const { classes } = steps[now];
    const lead = $("#data .lead");
    lead.hidden = !classes || !classes.said.length;
    if (lead.hidden) return;
    const right = classes.wanted.filter((wanted, row) => wanted === classes.said[row]).length;
    lead.textContent = one && classes.wanted.length === 1 ? `The class is ${classes.wanted[0]}; the net says ${classes.said[0]}.` : `${right} of ${classes.wanted.length} rows are right${right < classes.wanted.length && step.x.cut[0] > 1 ? "; a picture that the net takes for another class says for which" : ""}.`;
  });
}

function signal() {
  const all = steps.flatMap((step) => step.layers.map((layer) => layer.delta.rms)).filter((size) => size > 0 && Number.isFinite(Number(size)));
  const [low, high] = [Math.log10(Math.min(...all)) - 0.3, Math.log10(Math.max(...all))];
  const body = $("#signal tbody");
  changes.push(() => {
    body.replaceChildren();
    for (const [place, layer] of steps[now].layers.entries()) {
      const line = element("tr");
      const name = element("td");
      const link = element("a", "", `${layer.number} ${layer.kind}`);
      link.href = `#layer-${place}`;
      link.addEventListener("click", () => ($(`#layer-${place}`).open = true));
      name.append(link);
      const weight = layer.parameters.weight || Object.values(layer.parameters)[0];
      const bar = element("td", "bars");
      const length = (Math.log10(layer.delta.rms) - low) / (high - low || 1);
      if (layer.delta.rms > 0) bar.append(element("i"));
      if (layer.delta.rms > 0) bar.firstChild.style.width = `${clamp(100 * length, 1, 100)}%`;
      const cell = (value) => element("td", "n", value);
      line.append(name, element("td", "", sizes(layer.z.shape)), cell(layer.a.bad ? "not finite" : number(layer.a.rms, 3)), cell(layer.delta.bad ? "not finite" : number(layer.delta.rms, 3)), bar);
      line.append(cell(!weight || !weight.value.rms ? "\u2014" : weight.gradient.bad || weight.value.bad ? "not finite" : number(weight.gradient.rms / weight.value.rms, 2)));
      body.append(line);
    }
  });
}

function layerTitle(layer) {
  const summary = element("summary");
  summary.append(element("b", "", `${layer.number}  ${layer.kind}`));
  if (layer.activation) summary.append(element("span", "", `then ${layer.activation}`));
  summary.append(element("span", "path", layer.path));
  const count = Object.values(layer.parameters).reduce((total, each) => total + each.value.shape.reduce((product, length) => product * length, 1), 0);
  summary.append(element("span", "size", `${sizes(layer.before.shape)} \u2192 ${sizes(layer.a.shape)}, ${count.toLocaleString("en")} parameters`));
  return summary;
}

function layers() {
  const section = $("#layers");
  const names = { BP1: "BP1", BP2: "BP2", BP3: "BP3", BP4: "BP4" };
  for (const [place, layer] of steps[0].layers.entries()) {
    const block = element("details", "layer");
    block.id = `layer-${place}`;
    block.open = steps[0].layers.length <= 4 || place === 0 || place === steps[0].layers.length - 1;
    const inside = element("div");
    const of = (name) => (at) => steps[at].layers[place][name];
    const l = `<mn>${layer.number}</mn>`;
    const before = `<mn>${layer.number - 1}</mn>`;
    const worked = layer.units ? workedUnits(place) : null;
    const units = layer.units ? (found) => worked.choose(found[found.length - 1]) : null;
    const grid = (title, ...figures) => {
      const holder = element("div", `pictures ${figures.length === 4 && title.startsWith("Forward") ? "four" : ""}`);
      holder.append(...figures);
      inside.append(element("h3", "part", title), holder);
    };
    const tag = (name) => (names[layer.equations[name]] ? ` <span class="bp">${names[layer.equations[name]]}</span>` : "");
    const blame = figure("delta", row(both(delta, "", l)), "the error of the layer", of("delta"), "", units);
    $("figcaption", blame).innerHTML += tag("delta") || " <span>by the chain rule</span>";
    grid(
      "Forward, and the error that came back",
      figure("before", both("a", "", before), "what came in", of("before")),
      figure("z", both("z", "", l), "what the layer made of it", of("z"), "", units),
      ...(layer.activation ? [figure("a", both("a", "", l), `after ${layer.activation}`, of("a"), "", units)] : []),
      blame,
    );
    if (Object.keys(layer.parameters).length) {
      const pairs = Object.keys(layer.parameters).flatMap((name) => {
        const letter = { weight: "w", bias: "b" }[name];
        const symbol = letter ? both(letter, "", l) : "";
        const value = figure(name, symbol, name, (at) => steps[at].layers[place].parameters[name].value, "half", letter && units ? (found) => worked.choose(found[0]) : null);
        const slopeOf = figure(`${name}.grad`, letter ? d(symbol) : "", `gradient of ${name}`, (at) => steps[at].layers[place].parameters[name].gradient, "half", letter && units ? (found) => worked.choose(found[0]) : null);
        $("figcaption", slopeOf).innerHTML += tag(name);
        return [value, slopeOf];
      });
      grid("Parameters, and what would make the cost grow", ...pairs);
    }
    inside.append(worked ? worked.block : element("p", "plain", plain(layer)));
    block.append(layerTitle(layer), inside);
    block.addEventListener("toggle", refreshPictures);
    section.append(block);
  }
}

function plain(layer) {
  const pictured = [layer.z, layer.delta, ...Object.values(layer.parameters).map((each) => each.gradient)];
  if (pictured.some((picture) => picture.bad)) return "Not every number of this layer is finite, so no line is written out.";
  return "The gradients of this layer come from the chain rule too; each is a sum over many places, so no line is written out.";
}

// the equations of one unit, with its numbers
function workedUnits(place) {
  const block = element("div", "worked");
  const { units } = steps[0].layers[place];
  const intro = element("p");
  const select = element("select");
  select.setAttribute("aria-label", "Unit");
  for (let unit = 0; unit < units.count; unit++) select.append(new Option(unit, unit));
  const lines = element("div");
  intro.append("By hand, for unit ", element("i", "", "j"), " = ", select, units.rows > 1 ? ` in row ${units.row} of the mini-batch, where the error is greatest` : "", units.count < units.of ? ` (the first ${units.count} of ${units.of})` : "", ".");
  block.append(intro, lines);
  const show = () => {
    lines.innerHTML = equationsOf(place, Number(select.value)).map(([label, formula, numbers]) => `<div class="line"><div>${label ? `<span class="bp">${label}</span>` : ""}</div><div>${math(formula)}</div><div>${math(numbers)}</div></div>`).join("");
  };
  select.addEventListener("change", show);
  changes.push(show);
  const choose = (unit) => {
    if (unit >= units.count) return;
    select.value = unit;
    show();
  };
  const start = steps[steps.length - 1].layers[place].units;
  if (start) {
    const errors = cells({ cells: start.delta });
    select.value = errors.reduce((best, error, unit) => (Math.abs(error) > Math.abs(errors[best]) ? unit : best), 0);
  }
  return { block, choose };
}

function equationsOf(place, unit) {
  const layer = steps[now].layers[place];
  const { units } = layer;
  if (!units) return [["", mi("&#8212;"), mi("not finite at this step")]];
  const value = (name) => (units[name] === undefined ? undefined : cells({ cells: units[name] })[unit]);
  const l = `<mn>${layer.number}</mn>`;
  const before = `<mn>${layer.number - 1}</mn>`;
  const after = `<mn>${layer.number + 1}</mn>`;
  const result = (number) => row(mo("="), `<mrow class="result">${mn(number)}</mrow>`);
  const others = units.rows > 1 ? row(mo("+"), mo("&#8943;")) : "";
  const rows = units.rows > 1 ? sum(mi("rows")) : "";
  const k = value("i");
  const found = [];
  const inputs = layer.before.shape[layer.before.shape.length - 1];
  const some = inputs > 1 ? row(mo("+"), mo("&#8943;")) : "";
  found.push(["", row(both("z", "j", l), mo("="), sum(mi("k")), both("w", "jk", l), both("a", "k", before), value("bias") === undefined ? "" : row(mo("+"), both("b", "j", l))), row(signed(value("weight")), mo(times), signed(value("before")), some, value("bias") === undefined ? "" : row(mo("+"), signed(value("bias"))), result(value("z")))]);
  if (value("slope") !== undefined && layer.activation) found.push(["", row(both("a", "j", l), mo("="), mi(sigma), mo("("), both("z", "j", l), mo(")")), row(mi(escaped(layer.activation)), mo("("), mn(value("z")), mo(")"), result(value("a")))]);
  const error = both(delta, "j", l);
  const kind = layer.equations.delta;
  if (kind === "BP1" && value("said") !== undefined) {
    const same = { QuadraticLoss: "a", MSELoss: "a" }[steps[now].loss_name];
    found.push(["", row(d(both("a", "j", l)), mo("="), mo("("), same ? both("a", "j", l) : both("p", "j", l), mo("&#8722;"), both("y", "j", ""), mo(")"), mo(times), mn(value("factor"))), row(mo("("), mn(value("said")), mo("&#8722;"), signed(value("wanted")), mo(")"), mo(times), mn(value("factor")), result(value("back")))]);
  }
  if (value("back") !== undefined) {
    const back = kind === "BP1" ? d(both("a", "j", l)) : row(sum(mi("k")), both("w", "kj", after), both(delta, "k", after));
    const bare = !layer.activation;
    found.push([kind, row(error, mo("="), back, bare ? "" : slope(both("z", "j", l))), bare ? result(value("delta")) : row(signed(value("back")), mo(times), signed(value("slope")), result(value("delta")))]);
  } else found.push([kind, row(error, mo("="), d(both("z", "j", l))), result(value("delta"))]);
  if (value("dbias") !== undefined) found.push([layer.equations.bias, row(d(both("b", "j", l)), mo("="), rows, error), row(units.rows > 1 ? row(mn(value("delta")), others) : "", result(value("dbias")))]);
  found.push([layer.equations.weight, row(d(both("w", "jk", l)), mo("="), rows, both("a", "k", before), error, `<mspace width=".6em"></mspace>`, mo("("), mi("k"), mo("="), mn(String(k)), mo(")")), row(signed(value("before")), mo(times), signed(value("delta")), others, result(value("dweight")))]);
  return found;
}

// ---- curves

function panels() {
  const known = curves.length ? curves : steps.length > 1 ? [{ name: "loss", epochs: steps.map((step, at) => step.epoch ?? at), training: steps.map((step) => step.loss), validation: [] }] : [];
  $("#curves").hidden = !known.length;
  for (const curve of known) {
    const panel = element("figure");
    const caption = element("figcaption");
    const sample = (kind) => `<svg viewBox="0 0 26 10" aria-hidden="true"><path class="${kind}" d="M0 5H26"/></svg>`;
    const has = (kind) => curve[kind].some((value) => value !== null);
    caption.innerHTML = `<b>${escaped(curve.name.replace(/_/g, " "))}</b>${["training", "validation"].filter(has).map((kind) => `<span>${sample(kind)}${kind}</span>`).join("")}`;
    panel.append(caption);
    panel.insertAdjacentHTML("beforeend", "<svg></svg>");
    const svg = panel.lastChild;
    $("#curves .panels").append(panel);
    const draw = () => drawCurve(svg, curve, Math.max(220, panel.clientWidth - 32));
    changes.push(draw);
    addEventListener("resize", draw);
    svg.addEventListener("click", (event) => {
      const at = svg.epochAt(event.clientX - svg.getBoundingClientRect().left);
      const distance = (step) => Math.abs((step.epoch ?? 0) - at);
      if (steps.length > 1) go(steps.reduce((best, step, index) => (distance(step) < distance(steps[best]) ? index : best), 0));
    });
  }
}

function ticks(low, high, wanted) {
  const raw = (high - low) / wanted || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const pace = [1, 2, 5, 10].find((each) => each * power >= raw) * power;
  const first = Math.ceil(low / pace - 1e-9);
  return Array.from({ length: Math.max(0, Math.floor(high / pace + 1e-9) - first + 1) }, (_, at) => Number(((first + at) * pace).toPrecision(12)));
}

function drawCurve(svg, curve, width) {
  const [height, left, right, top, bottom] = [210, 46, 14, 12, 26];
  const every = [...curve.training, ...curve.validation].map((value) => (value === null ? NaN : Number(value))).filter(Number.isFinite);
  const stops = steps.map((step) => step.epoch).filter((epoch) => epoch !== null);
  const xs = [...curve.epochs, ...stops];
  const [from, to] = [Math.min(...xs), Math.max(...xs)];
  let [low, high] = [Math.min(...every), Math.max(...every)];
  const logarithmic = curve.name === "loss" && low > 0 && high > 10 * low;
  const y = logarithmic ? Math.log10 : (value) => value;
  if (logarithmic) [low, high] = [low / 1.15, high * 1.15];
  else [low, high] = [low - 0.04 * (high - low || 1), high + 0.04 * (high - low || 1)];
  const px = (epoch) => left + ((epoch - from) / (to - from || 1)) * (width - left - right);
  const py = (value) => top + ((y(high) - y(value)) / (y(high) - y(low))) * (height - top - bottom);
  svg.epochAt = (at) => from + ((at - left) / (width - left - right)) * (to - from);
  const shown = curve.name === "accuracy" ? (value) => `${number(100 * value, 3)}%` : (value) => number(value, 3);
  let values = ticks(low, high, 4);
  if (logarithmic) {
    const spans = Math.log10(high / low);
    values = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) for (const digit of spans > 2.2 ? [1] : [1, 2, 5]) values.push(Number((digit * 10 ** power).toPrecision(3)));
    values = values.filter((value) => value >= low && value <= high);
  }
  const path = (list) => {
    let drawing = false;
    return list.map((value, at) => {
      const point = value === null || !Number.isFinite(Number(value)) ? "" : `${drawing ? "L" : "M"}${px(curve.epochs[at]).toFixed(1)} ${py(value).toFixed(1)}`;
      drawing = point !== "";
      return point;
    }).join("");
  };
  const epoch = steps[now].epoch;
  const at = curve.epochs.indexOf(epoch);
  const value = at < 0 ? null : curve.training[at] ?? curve.validation[at];
  const parts = values.map((each) => `<path class="grid" d="M${left} ${py(each)}H${width - right}"/><text class="axis" x="${left - 7}" y="${py(each) + 4}" text-anchor="end">${shown(each)}</text>`);
  parts.push(...ticks(from, to, Math.min(6, to - from || 1)).filter(Number.isInteger).map((each) => `<text class="axis" x="${px(each)}" y="${height - 8}" text-anchor="middle">${each}</text>`));
  parts.push(`<path class="validation" d="${path(curve.validation)}"/><path class="training" d="${path(curve.training)}"/>`);
  if (steps.length > 1) parts.push(...stops.map((stop) => `<circle class="stop" cx="${px(stop)}" cy="${height - bottom + 1}" r="2.2"/>`));
  if (epoch !== null) parts.push(`<path class="mark" d="M${px(epoch)} ${top}V${height - bottom}"/>`);
  if (value !== null && Number.isFinite(Number(value))) parts.push(`<circle class="dot" cx="${px(epoch)}" cy="${py(value)}" r="5.5"/>`);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `${curve.name} against the epoch${value === null ? "" : `; at ${steps[now].label} ${shown(value)}`}`);
  svg.innerHTML = parts.join("");
}

// ---- the slider

function refreshPictures() {
  for (const shown of pictures) if (shown.canvas.offsetParent) shown.refresh();
}

function go(step) {
  now = clamp(step, 0, steps.length - 1);
  const { label, loss } = steps[now];
  $("#slider").value = now;
  $("#slider").setAttribute("aria-valuetext", label);
  $("#now").innerHTML = `<b>${escaped(label)}</b>cost ${number(loss)}`;
  $("#tip").hidden = true;
  for (const change of changes) change();
  refreshPictures();
}

function play(on) {
  clearInterval(playing);
  playing = 0;
  if (on) {
    if (now === steps.length - 1) go(0);
    playing = setInterval(() => {
      go(now + 1);
      if (now === steps.length - 1) play(false);
    }, 800);
  }
  $("#play").classList.toggle("playing", on);
  $("#play").setAttribute("aria-label", on ? "Pause" : "Play");
}

function player() {
  $("#player").hidden = $("#scales").hidden = steps.length === 1;
  $("#slider").max = steps.length - 1;
  for (let step = 0; step < steps.length; step++) {
    const tick = element("i");
    tick.style.left = `${(100 * step) / (steps.length - 1 || 1)}%`;
    $("#ticks").append(tick);
  }
  $("#slider").addEventListener("input", () => {
    play(false);
    go(Number($("#slider").value));
  });
  $("#play").addEventListener("click", () => play(!playing));
  document.addEventListener("keydown", (event) => {
    if (steps.length === 1 || event.target.closest("input, select, button, summary, a") || event.ctrlKey || event.altKey || event.metaKey) return;
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (move) go(now + move);
    else if (event.key === " ") play(!playing);
    else return;
    event.preventDefault();
  });
  $("#own").addEventListener("change", refreshPictures);
}

function graph() {
  const drawing = $("#svg").content;
  $("#graph").hidden = !drawing.firstElementChild;
  const holder = element("div");
  $("#graph .drawing").append(holder);
  holder.attachShadow({ mode: "open" }).append(drawing.cloneNode(true)); // its style stays its own
}

chooseColours();
about();
changes.push(findings);
player();
panels();
data();
signal();
layers();
graph();
go(steps.length - 1);
let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth !== width) refreshPictures();
  width = innerWidth;
});
dark.addEventListener("change", () => {
  chooseColours();
  refreshPictures();
});
