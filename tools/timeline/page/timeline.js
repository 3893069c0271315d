"use strict";
/* The page of a timeline. `data` is described in tools/timeline/formats/html.py; all times are seconds of the video. */

const data = JSON.parse(document.getElementById("data").textContent);
const spans = data.spans, start = data.start_s, length = data.end_s - data.start_s;
const $ = (id) => document.getElementById(id);
const video = document.querySelector("video");
const TICK_STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400];
const KNOWN = Object.fromEntries(data.scenes.map((scene) => [scene.id, scene]));

let now = start;        // where the page stands; the video's time where there is a video
let current = -1;       // the span there
let wanted = null;      // where the video was sent last, in case it could not go there yet
let matches = null;     // ids of the scenes that were searched for; null: all
let bandParts = [], listParts = [], chips = [];

/* ---------------------------------------------------------------- words */

function clock(seconds, digits = 0) {
  const unit = 10 ** digits, all = digits ? Math.round(seconds * unit) : Math.floor(seconds + 1e-6);
  const s = Math.floor(all / unit), rest = digits ? "." + String(all % unit).padStart(digits, "0") : "";
  const two = (n) => String(n).padStart(2, "0");
  const tail = two(s % 60) + rest;
  return s < 3600 ? `${Math.floor(s / 60)}:${tail}` : `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${tail}`;
}
const percent = (p) => (p === null ? "" : `${Math.round(100 * p)}%`);
const sceneOf = (span) => KNOWN[span.scene];
const plural = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;

function describe(span) {
  const sure = span.p === null ? "" : `, ${percent(span.p)}`;
  return `${sceneOf(span).title}, ${clock(span.start_s, 1)} to ${clock(span.end_s, 1)}${sure}`;
}

/* ----------------------------------------------------------- small parts */

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}
function paint(made, scene) {
  made.style.backgroundColor = scene.colour;
  made.classList.toggle("unknown", scene.unknown);
  return made;
}
const swatch = (scene) => paint(element("span", "swatch"), scene);
const share = (seconds) => (seconds - start) / length;
const left = (made, seconds) => { made.style.left = `${100 * share(seconds)}%`; return made; };

/* ------------------------------------------------------------------ build */

function buildBand() {
  bandParts = spans.map((span, i) => {
    const part = left(paint(element("div", "span"), sceneOf(span)), span.start_s);
    part.style.width = `${(100 * (span.end_s - span.start_s)) / length}%`;
    part.dataset.span = i;
    part.append(element("b", "", sceneOf(span).title));
    return part;
  });
  $("band").append(...bandParts);
  $("band").setAttribute("aria-valuemin", start);
  $("band").setAttribute("aria-valuemax", data.end_s);
  $("cuts").append(...data.cuts.flatMap(cutMarks));
  $("cuts").hidden = data.cuts.length === 0;
}

/* A triangle where the next picture begins; before it a bar as long as the fade or dissolve. */
function cutMarks(cut) {
  const mark = left(element("i"), cut.end_s);
  if (cut.start_s === cut.end_s) return [mark];
  const bar = left(element("b"), cut.start_s);
  bar.style.width = `${(100 * (cut.end_s - cut.start_s)) / length}%`;
  return [bar, mark];
}

function buildAxis() {
  const most = Math.max(2, Math.floor($("axis").clientWidth / 90));
  const step = TICK_STEPS.find((s) => length / s <= most) || length;
  const ticks = [];
  for (let at = Math.ceil(start / step - 1e-9) * step; at <= data.end_s + 1e-6; at += step) {
    const tick = left(element("span", "", clock(at, step < 1 ? 1 : 0)), at);
    if (share(at) > 0.985) tick.className = "last";
    ticks.push(tick);
  }
  $("axis").replaceChildren(...ticks);
}

function buildList() {
  listParts = spans.map((span, i) => {
    const row = element("li"), button = element("button");
    button.type = "button";
    button.dataset.span = i;
    button.setAttribute("aria-label", describe(span));
    const times = `${clock(span.start_s, 1)}–${clock(span.end_s, 1)}`;
    button.append(swatch(sceneOf(span)), element("span", "name", sceneOf(span).title), element("span", "when", times),
      element("span", "sure", percent(span.p)));
    row.append(button);
    return row;
  });
  $("spans").append(...listParts);
}

function buildLegend() {
  chips = data.scenes.map((scene) => {
    const row = element("li"), button = element("button");
    button.type = "button";
    button.dataset.scene = scene.id;
    button.append(swatch(scene), element("span", "", scene.title), element("small", "", `${(100 * scene.share).toFixed(1)}%`));
    row.append(button);
    return row;
  });
  $("legend").append(...chips);
}

function buildFacts() {
  const facts = [clock(length, 1), plural(spans.length, "span"), plural(data.cuts.length, "cut"), plural(data.frames, "frame")];
  if (data.model) facts.push(`model ${data.model}`);
  $("facts").textContent = facts.join(" · ");
  $("note").textContent = data.note;
}

/* ----------------------------------------------------------------- curves */

const PAD = { top: 8, bottom: 6 };

function drawCurves() {
  const canvas = $("curves"), box = canvas.getBoundingClientRect(), scale = window.devicePixelRatio || 1;
  canvas.width = Math.round(box.width * scale);
  canvas.height = Math.round(box.height * scale);
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  const y = (p) => PAD.top + (1 - p) * (box.height - PAD.top - PAD.bottom);
  const style = getComputedStyle(document.documentElement);
  pen.strokeStyle = style.getPropertyValue("--line");
  for (const p of [0, 0.5, 1]) {
    pen.beginPath();
    pen.moveTo(0, y(p));
    pen.lineTo(box.width, y(p));
    pen.stroke();
  }
  // The rarest first, so that the curves that matter lie on top.
  for (const curve of [...data.curves.scenes].reverse()) drawCurve(pen, curve, box.width, y);
  pen.fillStyle = style.getPropertyValue("--muted");
  pen.font = "11px system-ui, sans-serif";
  pen.fillText("100%", 4, y(1) + 12);
  pen.fillText("50%", 4, y(0.5) - 4);
}

function drawCurve(pen, curve, width, y) {
  const scene = KNOWN[curve.scene], step = (width * data.curves.step_s) / length;
  pen.globalAlpha = matches && !matches.has(scene.id) ? 0.08 : 1;
  pen.beginPath();
  pen.moveTo(0, y(curve.p[0]));
  curve.p.forEach((p, i) => pen.lineTo((i + 0.5) * step, y(p)));
  pen.lineTo(width, y(curve.p[curve.p.length - 1]));
  pen.strokeStyle = scene.colour;
  pen.lineWidth = 2;
  pen.lineJoin = "round";
  pen.setLineDash(scene.unknown ? [5, 4] : []);
  pen.stroke();
  pen.lineTo(width, y(0));
  pen.lineTo(0, y(0));
  pen.fillStyle = scene.colour;
  pen.globalAlpha *= 0.1;
  pen.fill();
  pen.globalAlpha = 1;
  pen.setLineDash([]);
}

function probabilitiesAt(seconds) {
  const i = Math.min(data.curves.points - 1, Math.max(0, Math.floor((seconds - start) / data.curves.step_s)));
  return data.curves.scenes.map((curve) => [KNOWN[curve.scene], curve.p[i]]).filter(([, p]) => p >= 0.01)
    .sort((a, b) => b[1] - a[1]).slice(0, 5);
}

/* ---------------------------------------------------------------- moving */

function spanAt(seconds) {
  let low = 0, high = spans.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (spans[middle].start_s <= seconds) low = middle; else high = middle - 1;
  }
  return low;
}

/* Times in the file are rounded: half a millisecond inside, the frame shown is one of the span and not the one before. */
function inside(span) { return Math.min(span.start_s + 0.0005, (span.start_s + span.end_s) / 2); }

function seek(seconds) {
  now = Math.min(Math.max(seconds, start), data.end_s);
  if (video) { wanted = now; video.currentTime = now; }
  show();
}

/* Browsers guess how long a video is that starts late, and stop at the end of that; they learn better on the way. */
function seekAgain() {
  if (wanted !== null && video.paused && video.currentTime < wanted - 0.01) video.currentTime = wanted;
}

function show() {
  const x = share(Math.min(Math.max(now, start), data.end_s));
  const band = $("band"), plot = $("plot");
  $("playhead").style.left = `${band.offsetLeft + x * band.offsetWidth}px`;
  $("playhead").style.top = `${band.offsetTop}px`;
  $("playhead").style.height = `${plot.offsetTop + plot.offsetHeight - band.offsetTop}px`;
  const i = spanAt(now), span = spans[i];
  band.setAttribute("aria-valuenow", now.toFixed(3));
  $("now-detail").textContent = `${clock(now, 1)} · ${clock(span.start_s, 1)} to ${clock(span.end_s, 1)}${span.p === null ? "" : " · " + percent(span.p)}`;
  if (i === current) return;
  for (const part of [bandParts, listParts]) {
    if (current >= 0) part[current].classList.remove("current");
    part[i].classList.add("current");
  }
  current = i;
  band.setAttribute("aria-valuetext", describe(span));
  paint($("now-swatch"), sceneOf(span));
  $("now-scene").textContent = sceneOf(span).title;
  reveal(listParts[i]);
}

/* Scrolls the list alone; the page stays where its reader is. */
function reveal(row) {
  const list = $("spans"), above = row.offsetTop - list.scrollTop;
  if (above < 0 || above + row.offsetHeight > list.clientHeight) {
    list.scrollTop = row.offsetTop - (list.clientHeight - row.offsetHeight) / 2;
  }
}

function follow() {
  if (!video.paused && !video.seeking) { now = video.currentTime; show(); }
  if (!video.paused) requestAnimationFrame(follow);
}

/* ---------------------------------------------------------------- search */

const plain = (text) => text.toLowerCase().replace(/[_\s,/]+/g, " ").trim();

function search() {
  const wanted = plain($("search").value);
  matches = wanted === "" ? null : new Set(data.scenes.filter((s) => plain(s.title).includes(wanted)
    || plain(s.id).includes(wanted)).map((s) => s.id));
  let count = 0, seconds = 0;
  spans.forEach((span, i) => {
    const hit = !matches || matches.has(span.scene);
    bandParts[i].classList.toggle("other", !hit);
    bandParts[i].classList.toggle("match", matches !== null && hit);
    listParts[i].hidden = !hit;
    if (hit) { count += 1; seconds += span.end_s - span.start_s; }
  });
  for (const chip of chips) {
    const button = chip.firstChild;
    button.setAttribute("aria-pressed", String(matches !== null && matches.has(button.dataset.scene)));
  }
  $("found").textContent = matches === null ? plural(spans.length, "span")
    : `${count.toLocaleString("en")} of ${plural(spans.length, "span")} · ${clock(seconds, 1)}`;
  drawCurves();
}

function nextMatch() {
  const hits = spans.map((_, i) => i).filter((i) => !matches || matches.has(spans[i].scene));
  if (hits.length) seek(inside(spans[hits.find((i) => spans[i].start_s > now) ?? hits[0]]));
}

function setSearch(text) { $("search").value = text; search(); }

/* ---------------------------------------------------------------- tooltip */

function showTip(event) {
  const box = $("band").getBoundingClientRect(), x = (event.clientX - box.left) / box.width;
  if (x < 0 || x > 1) { hideTip(); return; }
  const at = start + x * length, span = spans[spanAt(at)], tip = $("tip");
  const head = element("strong");
  head.append(swatch(sceneOf(span)), sceneOf(span).title, element("span", "value", percent(span.p)));
  const rows = [head, element("div", "", `${clock(span.start_s, 2)} to ${clock(span.end_s, 2)}, ${(span.end_s - span.start_s).toFixed(2)} s`)];
  rows.push(element("div", "", `at ${clock(at, 2)}`));
  for (const [scene, p] of probabilitiesAt(at)) {
    const row = element("div");
    row.append(swatch(scene), scene.title, element("span", "value", percent(p)));
    rows.push(row);
  }
  tip.replaceChildren(...rows);
  tip.hidden = false;
  const room = tip.getBoundingClientRect();
  const beside = event.clientX + 16 + room.width > window.innerWidth ? event.clientX - 16 - room.width : event.clientX + 16;
  tip.style.transform = `translate(${Math.max(4, beside)}px, ${Math.max(4, event.clientY - 16 - room.height)}px)`;
}
function hideTip() { $("tip").hidden = true; }

/* ----------------------------------------------------------------- events */

function seekTo(event) {
  const box = $("band").getBoundingClientRect();
  const target = event.target.closest(".span"), at = start + ((event.clientX - box.left) / box.width) * length;
  // A span of a pixel is wider on the screen than in time: whoever clicks on it means it.
  const span = target && spans[target.dataset.span];
  seek(span && (at < span.start_s || at >= span.end_s) ? inside(span) : at);
}

function onBandKey(event) {
  const to = { ArrowRight: current + 1, ArrowLeft: current - 1, Home: 0, End: spans.length - 1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  seek(inside(spans[Math.min(Math.max(to, 0), spans.length - 1)]));
}

function onKey(event) {
  const typing = event.target instanceof HTMLInputElement, onControl = event.target.closest?.("button, video");
  if (event.key === "Escape") { setSearch(""); hideTip(); }
  if (event.ctrlKey || event.metaKey || event.altKey || typing) return;
  if (event.key === "/") { event.preventDefault(); $("search").focus(); }
  if (event.key === " " && video && !onControl) {
    event.preventDefault();
    if (video.paused) video.play(); else video.pause();
  }
}

function listen() {
  for (const place of [$("band"), $("plot")]) {
    place.addEventListener("click", seekTo);
    place.addEventListener("pointermove", showTip);
    place.addEventListener("pointerleave", hideTip);
  }
  $("band").addEventListener("keydown", onBandKey);
  document.addEventListener("keydown", onKey);
  $("spans").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) seek(inside(spans[button.dataset.span]));
  });
  $("legend").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) setSearch(button.getAttribute("aria-pressed") === "true" && matches.size === 1 ? "" : KNOWN[button.dataset.scene].title);
  });
  $("search").addEventListener("input", search);
  $("search").addEventListener("keydown", (event) => { if (event.key === "Enter") nextMatch(); });
  window.addEventListener("resize", () => { buildAxis(); drawCurves(); show(); });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawCurves);
  if (!video) return;
  video.addEventListener("play", () => { wanted = null; requestAnimationFrame(follow); });
  video.addEventListener("durationchange", seekAgain);
  video.addEventListener("timeupdate", () => { now = video.currentTime; show(); });
  video.addEventListener("error", tellTrouble);
}

function tellTrouble() {
  $("now-detail").textContent = `the video ${data.video} cannot be played here: keep it where it was, or open the page in another browser`;
}

buildBand();
buildAxis();
buildList();
buildLegend();
buildFacts();
listen();
search();
show();
if (video && video.error) tellTrouble();  // before this script could listen
