"use strict";
const view = JSON.parse(document.getElementById("view").textContent);
const $ = (id) => document.getElementById(id);
const setting = { image: 0, moved: {}, chosen: {}, kept: null, temperature: 1, seed: 0 };
const FEW = 12; // sliders that are shown at first
const STEPS = 25; // of an animation that is drawn now
const RATE = 12; // frames a second
const NOUN = view.rows ? "row" : "image";
let site = view.sites.length ? view.sites[0] : null;
let every = false; // whether all sliders are shown
let playing = null;

function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in made && name !== "list") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function option(value, text) {
  return make("option", { value: String(value), textContent: text });
}

function said(value) {
  if (value === null || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  const text = size !== 0 && (size >= 1e5 || size < 1e-3) ? value.toExponential(2) : value.toFixed(size >= 100 ? 1 : 2);
  return text.replace("-", "−");
}

function onScale(value, span) {
  const decimals = Math.max(0, Math.min(6, 2 - Math.floor(Math.log10(span || 1) + 1e-6)));
  return value.toFixed(decimals).replace(/^-(0\.?0*)$/, "$1").replace("-", "−");
}

// Pictures

const sheets = new Map();

function loaded(url) {
  if (!sheets.has(url)) {
    sheets.set(url, new Promise((resolve, reject) => {
      const image = new Image();
      image.onload = () => resolve(image);
      image.onerror = () => reject(new Error("a picture of this page is damaged"));
      image.src = url;
    }));
  }
  return sheets.get(url);
}

async function tile(canvas, sheet, index) {
  const image = await loaded(sheet.url);
  canvas.width = sheet.width;
  canvas.height = sheet.height;
  const left = (index % sheet.columns) * sheet.width;
  const top = Math.floor(index / sheet.columns) * sheet.height;
  const pen = canvas.getContext("2d");
  pen.imageSmoothingEnabled = false;
  pen.drawImage(image, left, top, sheet.width, sheet.height, 0, 0, sheet.width, sheet.height);
}

function ink(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function ticks(low, high) {
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough);
  const found = [];
  for (let count = Math.ceil(low / step); count * step <= high; count += 1) found.push(Number((count * step).toPrecision(6)));
  return found;
}

function curve(canvas, values, own) {
  const width = Math.max(240, canvas.clientWidth || 0);
  const height = Math.round(width * 0.5);
  const scale = Math.min(2, window.devicePixelRatio || 1);
  canvas.width = width * scale;
  canvas.height = height * scale;
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  const [low, high] = view.rows.limits;
  const x = (place) => 58 + (values.length > 1 ? place / (values.length - 1) : 0.5) * (width - 84);
  const y = (value) => height - 26 - ((value - low) / (high - low)) * (height - 42);
  pen.font = `${width < 320 ? 10 : 12}px system-ui, sans-serif`;
  pen.fillStyle = ink("--soft");
  pen.strokeStyle = ink("--line");
  for (const value of ticks(low, high)) {
    pen.beginPath(); pen.moveTo(40, y(value)); pen.lineTo(width - 8, y(value)); pen.stroke();
    pen.fillText(String(value).replace("-", "−"), 4, y(value) + 4);
  }
  const every = Math.ceil(values.length / (width < 320 ? 4 : 8));
  pen.textAlign = "center";
  view.rows.columns.forEach((name, place) => { if (place % every === 0) pen.fillText(name.slice(0, 9), x(place), height - 8); });
  const line = (row, colour, thick) => {
    pen.strokeStyle = pen.fillStyle = colour;
    pen.lineWidth = thick;
    pen.beginPath();
    let open = false;
    row.forEach((value, place) => {
      if (value === null) { open = false; return; }
      if (open) pen.lineTo(x(place), y(value)); else pen.moveTo(x(place), y(value));
      open = true;
    });
    pen.stroke();
    if (row.length <= 40) row.forEach((value, place) => { if (value !== null) { pen.beginPath(); pen.arc(x(place), y(value), thick + 1, 0, 7); pen.fill(); } });
  };
  if (own) line(own, ink("--edge"), 1);
  line(values, ink("--accent"), 2.2);
}

function table(values, own) {
  const units = (value, place) => said(value === null ? null : value * view.rows.scale[place] + view.rows.center[place]);
  const rows = view.rows.columns.map((name, place) => make("tr", {},
    make("th", { scope: "row", textContent: name }), make("td", { textContent: units(own[place], place) }),
    make("td", { textContent: units(values[place], place) })));
  const head = ["column", "row", view.shown === "mean" ? "mean" : "drawn"].map((text) => make("th", { scope: "col", textContent: text }));
  $("values").replaceChildren(make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows)));
}

async function show(canvas, found) {
  if (found.row) {
    curve(canvas, found.row, view.rows.values[setting.image]);
    table(found.row, view.rows.values[setting.image]);
  } else await tile(canvas, found.sheet, found.index || 0);
}

// What the model makes of a setting: asked of the server, or looked up on a page that was saved

async function asked(path, words) {
  const query = new URLSearchParams({ setting: JSON.stringify(setting), ...words });
  const answer = await fetch(`${path}?${query}`);
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error);
  return found;
}

function kept(start, steps) {
  const one = view.saved.frames[setting.image];
  const frame = (index) => (view.rows ? { row: one[index] } : { sheet: one, index });
  return Array.from({ length: steps }, (_, step) => frame(start + step));
}

function nearest(path, value) {
  return path.reduce((best, one, step) => (Math.abs(one - value) < Math.abs(path[best] - value) ? step : best), 0);
}

function lookedUp() {
  const own = view.rows ? { row: view.saved.own[setting.image] } : { sheet: view.saved.own, index: setting.image };
  for (const [name, moves] of Object.entries(setting.moved)) {
    const axes = view.sites.find((one) => one.name === name).axes;
    for (const [number, value] of Object.entries(moves)) {
      const axis = axes.find((one) => String(one.number) === number);
      return { ...kept(axis.saved, axis.path.length)[nearest(axis.path, value)], follows: view.saved.follows[name] };
    }
  }
  for (const [name, level] of Object.entries(setting.chosen)) {
    const choice = view.choices.find((one) => one.name === name);
    return { ...kept(choice.saved, choice.options.length)[level], follows: view.saved.follows[name] };
  }
  return { ...own, follows: [] };
}

let busy = false;
let again = false;

async function refresh() {
  if (busy) { again = true; return; }
  busy = true;
  const slow = setTimeout(() => $("current").classList.add("waiting"), 150);
  try {
    const found = view.saved ? lookedUp() : await asked("decode", {});
    await show($("current"), found);
    tell(found.follows);
  } catch (error) {
    $("status").textContent = error.message === "Failed to fetch" ? "The server has ended: start ppvae explore again." : error.message;
  }
  clearTimeout(slow);
  $("current").classList.remove("waiting");
  busy = false;
  if (again) { again = false; refresh(); }
}

function tell(follows) {
  const what = view.shown === "mean" ? "Mean of p(x | z)" : "A draw of p(x | z), all under one noise";
  const rows = view.rows ? ", over the row in grey, as the pair sees them" : "";
  const by = follows.length ? `; set by the model: ${follows.join(", ")}` : "";
  $("status").textContent = `${what}${rows}${by}.`;
  const changed = Object.keys(setting.moved).length + Object.keys(setting.chosen).length + (setting.kept === null ? 0 : 1);
  const text = changed ? "its code, as it is set" : "at its own code: the reconstruction";
  $("current-caption").textContent = text[0].toUpperCase() + text.slice(1);
  $("current").setAttribute("aria-label", `What the model makes of ${NOUN} ${setting.image}, ${text}`);
  links();
}

// Sliders

function bounds(axis) {
  const [low, high] = view.saved ? [axis.path[0], axis.path[axis.path.length - 1]] : [axis.low, axis.high];
  const step = (high - low) / (view.saved ? axis.path.length - 1 : 200);
  return [low, high, step * (1 - 1e-9)]; // so that rounding leaves the last step inside
}

function own(axis) {
  return site.scores[setting.image][site.axes.indexOf(axis)];
}

function valueOf(axis) {
  const moves = setting.moved[site.name];
  return moves && axis.number in moves ? moves[axis.number] : own(axis);
}

function move(axis, value) {
  if (view.saved) { setting.moved = {}; setting.chosen = {}; }
  setting.moved[site.name] = { ...(setting.moved[site.name] || {}), [axis.number]: value };
  $("animated").value = String(axis.number);
  sync();
  refresh();
}

function release(axis) {
  delete setting.moved[site.name][axis.number];
  if (!Object.keys(setting.moved[site.name]).length) delete setting.moved[site.name];
  sync();
  refresh();
}

function slider(axis) {
  const id = `axis-${axis.number}`;
  const [low, high, step] = bounds(axis);
  const kl = axis.kl === null ? [] : [make("small", {}, ` ${said(axis.kl)}`, make("span", { className: "nats", textContent: " nats" }))];
  const name = make("label", { htmlFor: id, title: axis.kl === null ? axis.name : `${axis.name}, a KL of ${said(axis.kl)} nats` }, axis.name, ...kl);
  const input = make("input", { id, type: "range", min: low, max: high, step: step > 0 ? step : "any" });
  const output = make("output", { htmlFor: id });
  const back = make("button", { type: "button", className: "own", textContent: "↺", title: `${axis.name} back to the ${NOUN}'s own` });
  back.setAttribute("aria-label", back.title);
  input.addEventListener("input", () => move(axis, Number(input.value)));
  input.addEventListener("focus", () => { $("animated").value = String(axis.number); links(); });
  back.addEventListener("click", () => { release(axis); input.focus(); });
  const row = make("div", { className: "axis" }, name, input, output, back);
  row.sync = () => {
    const moved = Boolean(setting.moved[site.name] && axis.number in setting.moved[site.name]);
    row.classList.toggle("moved", moved);
    input.value = valueOf(axis);
    output.textContent = onScale(valueOf(axis), high - low);
    input.disabled = back.disabled = !free();
  };
  return row;
}

function free() {
  if (view.saved) return setting.image < view.saved.frames.length;
  return setting.kept === null || view.order.indexOf(site.name) < setting.kept;
}

function shownAxes() {
  const ordered = site.order.map((place) => site.axes[place]);
  return every ? ordered : ordered.slice(0, FEW);
}

function layOut() {
  if (!site) return;
  $("site-note").textContent = site.note;
  $("axes").replaceChildren(...shownAxes().map(slider));
  $("more").hidden = site.axes.length <= FEW;
  $("more").textContent = every ? "Fewer" : `All ${site.axes.length}`;
  const chosen = $("animated").value;
  $("animated").replaceChildren(...shownAxes().map((axis) => option(axis.number, axis.name)));
  if (shownAxes().some((axis) => String(axis.number) === chosen)) $("animated").value = chosen;
  axesOfMap();
  sync();
}

function sync() {
  for (const row of $("axes").children) row.sync();
  for (const row of $("choices").children) row.sync();
  if (view.saved && site) {
    const some = view.saved.frames.length;
    $("animation-note").textContent = `Saved page: one slider moves at a time, for ${NOUN}s 0 to ${some - 1}; ppvae explore moves all together.`;
  }
  $("play").disabled = !site || !free();
  drawMap();
}

// Labels and clusters

function choiceRow(choice) {
  const id = `choice-${choice.name}`;
  const select = make("select", { id }, option("", ""), ...choice.options.map((name, level) => option(level, name)));
  select.addEventListener("change", () => {
    if (view.saved) { setting.moved = {}; setting.chosen = {}; }
    if (select.value === "") delete setting.chosen[choice.name];
    else setting.chosen[choice.name] = Number(select.value);
    sync();
    refresh();
  });
  const row = make("p", { className: "row" }, make("label", { htmlFor: id, textContent: choice.title }), select);
  row.sync = () => {
    const level = choice.own[setting.image];
    select.options[0].textContent = level < 0 ? `as the ${NOUN}'s` : `as the ${NOUN}'s, ${choice.options[level]}`;
    select.value = choice.name in setting.chosen ? String(setting.chosen[choice.name]) : "";
    select.disabled = Boolean(view.saved) && setting.image >= view.saved.frames.length;
  };
  return row;
}

// Animation

async function frames() {
  const number = $("animated").value;
  const axis = site.axes.find((one) => String(one.number) === number);
  if (view.saved) return { axis, path: axis.path, frames: kept(axis.saved, axis.path.length) };
  const found = await asked("traverse", { site: site.name, axis: number, steps: STEPS });
  const each = found.rows ? found.rows.map((row) => ({ row })) : found.path.map((_, index) => ({ sheet: found.sheet, index }));
  return { axis, path: found.path, frames: each };
}

function stop() {
  if (!playing) return;
  clearInterval(playing);
  playing = null;
  $("play").textContent = "Play";
  $("play").setAttribute("aria-pressed", "false");
}

async function play() {
  if (playing) { stop(); sync(); refresh(); return; }
  $("play").disabled = true;
  $("animation-note").textContent = "Drawing …";
  try {
    const drawn = await frames();
    const input = $(`axis-${drawn.axis.number}`);
    const count = drawn.frames.length;
    let step = 0;
    $("play").textContent = "Stop";
    $("play").setAttribute("aria-pressed", "true");
    playing = setInterval(async () => {
      const place = step < count ? step : 2 * count - 2 - step;
      step = (step + 1) % Math.max(1, 2 * count - 2);
      await show($("current"), drawn.frames[place]);
      if (!playing || !input) return;
      input.value = drawn.path[place];
      input.nextElementSibling.textContent = onScale(drawn.path[place], input.max - input.min);
    }, 1000 / (count > 12 ? RATE : RATE / 2));
    $("animation-note").textContent = "";
  } catch (error) {
    $("animation-note").textContent = error.message;
  }
  $("play").disabled = false;
}

function links() {
  $("downloads").hidden = Boolean(view.saved) || !site;
  if (view.saved || !site) return;
  const query = new URLSearchParams({ setting: JSON.stringify(setting), site: site.name, axis: $("animated").value, steps: STEPS });
  $("gif").href = `traversal.gif?${query}`;
  $("mp4").hidden = !view.mp4;
  $("mp4").href = `traversal.mp4?${query}`;
}

// Start

function start(image) {
  stop();
  setting.image = Math.max(0, Math.min(view.count - 1, Math.round(image) || 0));
  setting.moved = {};
  setting.chosen = {};
  $("image").value = setting.image;
  const file = view.files ? `, ${view.files[setting.image]}` : "";
  const name = `${NOUN[0].toUpperCase()}${NOUN.slice(1)} ${setting.image}${file}`;
  $("original-caption").textContent = name;
  $("original").setAttribute("aria-label", name);
  if (!view.rows) tile($("original"), view.sheet, setting.image);
  sync();
  refresh();
}

// Map

const HUES = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c6bd1", "#a6a800", "#7f7f7f", "#b5533c"];
let at = null; // the image that the keyboard or the pointer is on
let across = [];
let up = [];

function hue(level, count) {
  return count <= HUES.length ? HUES[level] : `hsl(${Math.round((360 * level) / count)} 62% 52%)`;
}

function ramp(share) {
  return `hsl(${Math.round(250 - 205 * share)} ${Math.round(55 + 25 * share)}% ${Math.round(38 + 22 * share)}%)`;
}

function colouring() {
  const chosen = view.colours[Number($("colour").value)];
  if (!chosen) return () => ink("--accent");
  if (chosen.names) return (image) => (chosen.values[image] < 0 ? ink("--edge") : hue(chosen.values[image], chosen.names.length));
  const known = chosen.values.filter((value) => value !== null);
  const [low, high] = [Math.min(...known), Math.max(...known)];
  return (image) => (chosen.values[image] === null ? ink("--edge") : ramp(high > low ? (chosen.values[image] - low) / (high - low) : 0.5));
}

function legend() {
  const chosen = view.colours[Number($("colour").value)];
  const swatch = (colour, text) => { const dot = make("i"); dot.style.background = colour; return make("li", {}, dot, text); };
  if (!chosen) { $("legend").replaceChildren(); return; }
  if (chosen.names) {
    $("legend").replaceChildren(...chosen.names.slice(0, 40).map((name, level) => swatch(hue(level, chosen.names.length), name)));
    if (chosen.values.some((level) => level < 0)) $("legend").append(swatch(ink("--edge"), "unknown"));
    return;
  }
  const known = chosen.values.filter((value) => value !== null);
  const span = make("i", { className: "span" });
  span.style.background = `linear-gradient(90deg, ${[0, 0.25, 0.5, 0.75, 1].map(ramp).join(", ")})`;
  $("legend").replaceChildren(make("li", {}, said(Math.min(...known)), span, said(Math.max(...known))));
}

function axesOfMap() {
  const planar = site.kind === "latents" && site.axes.length > 2;
  const names = [...(planar ? ["principal component 1", "principal component 2"] : []), ...site.axes.map((axis) => axis.name)];
  const values = planar ? ["p0", "p1"] : [];
  site.axes.forEach((_, place) => values.push(String(place)));
  for (const [id, first] of [["across", 0], ["up", Math.min(1, names.length - 1)]]) {
    $(id).replaceChildren(...names.map((name, place) => option(values[place], name)));
    $(id).value = planar ? values[first] : String(site.order[first]);
  }
  readMap();
}

function readMap() {
  const column = (chosen) => (chosen[0] === "p" ? site.plane.map((point) => point[Number(chosen[1])]) : site.scores.map((row) => row[Number(chosen)]));
  across = column($("across").value);
  up = column($("up").value);
  drawMap();
}

function placed(values, size, value) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return 16 + (high > low ? (value - low) / (high - low) : 0.5) * (size - 32);
}

function points() {
  const box = $("map").getBoundingClientRect();
  return across.map((value, image) => [placed(across, box.width, value), box.height - placed(up, box.height, up[image])]);
}

function drawMap() {
  if (!site || !across.length) return;
  const canvas = $("map");
  const box = canvas.getBoundingClientRect();
  const scale = window.devicePixelRatio || 1;
  canvas.width = box.width * scale;
  canvas.height = box.height * scale;
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  const found = points();
  const colour = colouring();
  const dot = (x, y, size) => { pen.beginPath(); pen.arc(x, y, size, 0, 7); };
  pen.globalAlpha = 0.82;
  found.forEach(([x, y], image) => { dot(x, y, found.length > 400 ? 3.2 : 4.5); pen.fillStyle = colour(image); pen.fill(); });
  pen.globalAlpha = 1;
  pen.lineWidth = 2.5;
  pen.strokeStyle = ink("--ink");
  dot(...found[setting.image], 8); pen.stroke();
  if (at !== null && at !== setting.image) { pen.lineWidth = 1.5; dot(...found[at], 7); pen.stroke(); }
  const chosen = [$("across").value, $("up").value];
  if (chosen.every((one) => one[0] !== "p") && setting.moved[site.name]) {
    const [x, y] = [valueOf(site.axes[Number(chosen[0])]), valueOf(site.axes[Number(chosen[1])])];
    const within = (place, size) => Math.max(6, Math.min(size - 6, place));
    const end = [within(placed(across, box.width, x), box.width), within(box.height - placed(up, box.height, y), box.height)];
    pen.lineWidth = 1.5; pen.beginPath(); pen.moveTo(...found[setting.image]); pen.lineTo(...end); pen.stroke();
    pen.strokeRect(end[0] - 5, end[1] - 5, 10, 10);
  }
}

function about(image) {
  const known = view.colours.map((one) => {
    const value = one.values[image];
    return `${one.name} ${one.names ? (value < 0 ? "unknown" : one.names[value]) : said(value)}`;
  });
  return [`${NOUN} ${image}`, ...(view.files ? [view.files[image]] : []), ...known].join(", ");
}

async function hover(image, speak) {
  at = image;
  $("hover").hidden = image === null;
  drawMap();
  if (image === null) return;
  const [x, y] = points()[image];
  const box = $("map").getBoundingClientRect();
  $("hover").style.left = `${Math.max(0, Math.min(box.width - 136, x > box.width / 2 ? x - 148 : x + 14))}px`;
  $("hover").style.top = `${y > box.height / 2 ? Math.max(0, y - 190) : y + 14}px`;
  $("hover-text").textContent = about(image);
  if (speak) $("map-said").textContent = about(image);
  if (view.rows) curve($("hover-picture"), view.rows.values[image], null);
  else await tile($("hover-picture"), view.sheet, image);
}

function near(event) {
  const box = $("map").getBoundingClientRect();
  const [x, y] = [event.clientX - box.left, event.clientY - box.top];
  const away = points().map(([left, top]) => Math.hypot(left - x, top - y));
  const best = away.indexOf(Math.min(...away));
  return away[best] < 24 ? best : null;
}

const WAYS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function neighbour(from, [right, down]) {
  const found = points();
  let best = from;
  let least = Infinity;
  found.forEach(([x, y], image) => {
    const ahead = (x - found[from][0]) * right + (y - found[from][1]) * down;
    const aside = Math.abs((x - found[from][0]) * down + (y - found[from][1]) * right);
    if (ahead > 0.5 && ahead + 2.5 * aside < least) { best = image; least = ahead + 2.5 * aside; }
  });
  return best;
}

function listenToMap() {
  const map = $("map");
  map.addEventListener("pointermove", (event) => hover(near(event), false));
  map.addEventListener("pointerleave", () => hover(null, false));
  map.addEventListener("click", (event) => { const image = near(event); if (image !== null) start(image); });
  map.addEventListener("focus", () => { if (map.matches(":focus-visible")) hover(setting.image, true); });
  map.addEventListener("blur", () => hover(null, false));
  map.addEventListener("keydown", (event) => {
    if (event.key in WAYS) { event.preventDefault(); hover(neighbour(at === null ? setting.image : at, WAYS[event.key]), true); }
    if ((event.key === "Enter" || event.key === " ") && at !== null) { event.preventDefault(); start(at); }
    if (event.key === "Escape") hover(null, false);
  });
}

// Begin

function redrawCard() {
  $("redraw-card").hidden = Boolean(view.saved);
  $("kept").append(option("", `all of the ${NOUN}'s code`), option(0, "nothing: the model's own draw"));
  view.order.slice(0, -1).forEach((name, place) => $("kept").append(option(place + 1, place ? `the first ${place + 1}, to ${name}` : `${name} alone`)));
  $("kept").addEventListener("change", () => { setting.kept = $("kept").value === "" ? null : Number($("kept").value); resting(); sync(); refresh(); });
  $("temperature").addEventListener("input", () => { setting.temperature = Number($("temperature").value); $("temperature-value").textContent = said(setting.temperature); refresh(); });
  $("again").addEventListener("click", () => { setting.seed += 1; refresh(); });
  resting();
}

function resting() {
  $("temperature").disabled = $("again").disabled = setting.kept === null;
}

function begin() {
  document.querySelector(".pictures").classList.toggle("rows", Boolean(view.rows));
  if (view.rows) { $("original").parentElement.hidden = true; $("values").hidden = false; }
  $("image").max = view.count - 1;
  $("image").addEventListener("change", () => start(Number($("image").value)));
  $("back").addEventListener("click", () => start(setting.image));
  $("site").replaceChildren(...view.sites.map((one) => option(one.name, one.name)));
  $("site-row").hidden = view.sites.length < 2;
  $("site").addEventListener("change", () => { stop(); site = view.sites.find((one) => one.name === $("site").value); every = false; layOut(); refresh(); });
  $("more").addEventListener("click", () => { every = !every; layOut(); });
  $("choices").replaceChildren(...view.choices.map(choiceRow));
  $("choices-card").hidden = !view.choices.length;
  $("play").addEventListener("click", play);
  $("animated").addEventListener("change", links);
  $("colour").append(...view.colours.map((one, place) => option(place, one.name)), option(-1, "none"));
  $("colour").addEventListener("change", () => { legend(); drawMap(); });
  for (const id of ["across", "up"]) $(id).addEventListener("change", readMap);
  window.addEventListener("resize", drawMap);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { legend(); drawMap(); refresh(); });
  $("mp4-note").hidden = Boolean(view.saved) || view.mp4 || !view.sites.length;
  redrawCard();
  listenToMap();
  layOut();
  legend();
  start(0);
}

begin();
