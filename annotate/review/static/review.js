// The page of a review: cards of faces, filters, keys. Everything that it shows of strangers is text.

const { header, word } = document.body.dataset;
const GONE = "The review has ended: start it again, and open the address that it says.";
const VERDICTS = { not_a_face: "not a face", wrong_box: "wrong box", skip: "skipped" };
const MESSAGE_MS = 4000;
const TYPING_MS = 250;
const MAX_AGE = 130;
const PICTURES_AT_ONCE = 3;
const CROWD = 6;
const FINGER_PX = 44;  // what a fingertip hits: WCAG 2.2, target size (enhanced)
const NO_AGE = `An age is from 0 to ${MAX_AGE} years.`;

const $ = (id) => document.getElementById(id);
const filters = $("filters"), cards = $("faces"), age = $("age"), dock = $("dock"), tools = $("tools");
const narrow = matchMedia("(max-width: 48rem)");
const photograph = $("photograph"), help = $("help"), canvas = $("canvas"), whole = $("whole");

// What is on the page. at: the place of the chosen face in rows; chosen: its row, which may be of
// another face of its photograph, and then is in no place.
const shown = { rows: [], at: -1, chosen: null, view: null, page: 0, pages: 1 };

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.filter((child) => child !== null));
  return made;
}

// ---- words

const percent = (share) => (share > 0.99 ? ">99\u00a0%" : `${Math.round(100 * share)}\u00a0%`);
const years = (value) => (Number.isInteger(value) ? `${value}` : value.toFixed(1));

const joined = (parts, by) => parts.filter((part) => part !== null && part !== "").join(by);

function odds(row) {
  if (row.female_probability === null) return null;
  return percent(row.gender === "female" ? row.female_probability : 1 - row.female_probability);
}

function spread(row) {
  if (row.age_p10 === null || row.age_p90 === null) return null;
  return `${Math.round(row.age_p10)}–${Math.round(row.age_p90)}`;
}

// What the model says, in full.
function guessed(row) {
  const range = spread(row);
  const age = row.age === null ? null : `${Math.round(row.age)} years${range === null ? "" : ` (${range})`}`;
  return joined([age, joined([row.gender, row.gender && odds(row)], " ")], ", ");
}

const flagged = (row) => row.flags.join(", ").replaceAll("_", " ");

function words(said) {
  const age = said.age === null ? null : `${years(said.age)} years`;
  return joined([age, said.gender, VERDICTS[said.verdict] ?? null], ", ") || "nothing said";
}

function named(row) {
  const face = row.face_count > 1 ? ` (face ${row.face_index + 1} of ${row.face_count})` : "";
  return `${row.path ?? "?"}${face}`;
}

function message(text) {
  $("said").textContent = text;
  clearTimeout(message.timer);
  message.timer = setTimeout(() => { $("said").textContent = ""; }, MESSAGE_MS);
}

// ---- the server

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error(GONE, { cause: error });
  }
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error);
  return found;
}

// One change at a time, in the order in which they were made. keepalive: also if the page is closed.
let latest = Promise.resolve();
function post(path, body) {
  const asked = latest.then(() => ask(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", [header]: word },
    body: JSON.stringify(body),
    keepalive: true,
  })).then((found) => {
    $("alarm").textContent = "";
    return found;
  });
  latest = asked.catch(() => undefined);
  return asked;
}

function alarmed(error) {
  if (error.name !== "AbortError") $("alarm").textContent = error.message;
}

// ---- the list

const chosenFilters = () => [...new FormData(filters)].filter(([, value]) => value !== "");

let loading = new AbortController();
async function load({ page = 0, view = null, at = 0, focus = true } = {}) {
  loading.abort();
  loading = new AbortController();
  const { signal } = loading;
  const query = new URLSearchParams([...chosenFilters(), ["page", page]]);
  history.replaceState(null, "", `?${query}`);
  if (view !== null) query.set("view", view);
  pick(null);  // until then a key is about no face: neither the last one nor the next
  try {
    const found = await ask(`api/rows?${query}`, { signal });
    $("alarm").textContent = "";
    Object.assign(shown, { rows: found.rows, view: found.view, page: found.page, pages: found.pages });
    drawPage(found);
    choose(at < 0 ? found.rows.length - 1 : Math.min(at, found.rows.length - 1), { focus });
    fill(signal).then(() => warm(signal)).catch(() => undefined);
  } catch (error) {
    alarmed(error);
    if (!signal.aborted) choose(shown.at, { focus });
  }
}

// A few pictures at a time: a browser asks a server for six things at once, and what the person does
// must not wait for faces.
async function fill(signal) {
  const pending = [...cards.querySelectorAll(".face")];
  const one = async () => {
    for (let card = pending.shift(); card && !signal.aborted; card = pending.shift()) {
      const image = card.querySelector("img");
      image.src = `face/${card.dataset.row}.jpg`;
      await image.decode().catch(() => undefined);
    }
  };
  await Promise.all(Array.from({ length: PICTURES_AT_ONCE }, one));
}

// Have the server draw the next page while the person looks at this one.
async function warm(signal) {
  if (signal.aborted || shown.page + 1 >= shown.pages) return;
  const query = new URLSearchParams([...chosenFilters(), ["page", shown.page + 1], ["view", shown.view]]);
  for (const row of (await ask(`api/rows?${query}`, { signal })).rows) {
    await (await fetch(`face/${row.row}.jpg`, { signal, priority: "low" })).arrayBuffer();
  }
}

function drawPage(found) {
  cards.replaceChildren(...found.rows.map(drawCard));
  const count = found.found.toLocaleString("en");
  $("found").textContent = `${count} ${found.found === 1 ? "row" : "rows"}, page ${found.page + 1} of ${found.pages.toLocaleString("en")}`;
  $("nothing").hidden = found.rows.length > 0;
  $("previous").disabled = found.page === 0;
  $("next").disabled = found.page + 1 >= found.pages;
  tally(found);
}

function tally({ open, corrected, skipped, can_undo }) {
  const said = (count, text) => `${count.toLocaleString("en")} ${text}`;
  $("tally").textContent = [said(corrected, "corrected"), said(skipped, "skipped"), said(open, "to do")].join(" · ");
  tools.querySelector("[data-act=undo]").disabled = !can_undo;
}

function drawCard(row, at) {
  const card = element("button", { type: "button", className: `face ${row.said.verdict ?? ""}`, tabIndex: -1 });
  card.dataset.row = row.row;
  const image = element("img", { alt: "", decoding: "async" });
  card.append(
    element("span", { className: "shot" }, image, badges(row)),
    element("span", { className: "words" }, ...cardWords(row)),
  );
  card.title = row.path ?? "";
  const open = element("button", { type: "button", className: "open", tabIndex: -1, textContent: "⤢" });
  open.setAttribute("aria-label", "Show the photograph");
  card.addEventListener("click", () => (card.ariaCurrent === "true" ? openPhotograph() : choose(at)));
  open.addEventListener("click", () => { choose(at); openPhotograph(); });
  return element("li", {}, card, open);
}

function badges({ said, by_person }) {
  const found = element("span", { className: "badges" });
  const add = (text, kind = "") => found.append(element("span", { className: `badge ${kind}`, textContent: text }));
  if (said.age !== null) add(`${years(said.age)} years`);
  if (said.gender !== null) add(said.gender, said.gender);
  if (said.verdict !== null) add(VERDICTS[said.verdict], said.verdict);
  if (by_person && !found.childElementCount) add("person");
  return found;
}

function cardWords(row) {
  const line = (className, ...parts) => element("span", { className }, ...parts);
  if (!row.is_correctable && row.status !== "ok") {
    return [line("guess", row.status.replaceAll("_", " ")), line("odds", row.error ?? ""), line("path", row.path ?? "?")];
  }
  const replaced = (model, person) => {
    if (person === null || person === model) return [model ?? "–"];
    return model === null ? [person] : [element("s", { textContent: model }), ` ${person}`];
  };
  const model = row.age === null ? null : `${Math.round(row.age)}`;
  const person = row.said.age === null ? null : years(row.said.age);
  const isFace = row.said.verdict !== "not_a_face";
  return [
    line(isFace ? "guess" : "guess none", ...replaced(model, person), " ", ...replaced(row.gender, row.said.gender)),
    line("odds", joined([spread(row), row.gender && odds(row)], " · ")),
    line("path", row.path ?? "?"),
    line("flags", flagged(row)),
  ];
}

function choose(at, { focus = true } = {}) {
  shown.at = at;
  pick(shown.rows[at] ?? null);
  if (focus && !photograph.open) focusCard();
}

// Choose a row, which may be in no place of the list.
function pick(row) {
  shown.chosen = row;
  for (const card of cards.querySelectorAll(".face")) {
    const isChosen = row !== null && Number(card.dataset.row) === row.row;
    card.ariaCurrent = isChosen ? "true" : "false";
    card.tabIndex = isChosen ? 0 : -1;
  }
  const can = row?.is_correctable ?? false;
  for (const button of tools.querySelectorAll("button:not([data-act=undo], [data-act=help])")) {
    button.disabled = button.dataset.act === "photograph" ? row === null : !can;
  }
  age.disabled = !can;
  emptyAge();
  drawChosen();
  if (photograph.open && row !== null) drawPhotograph();
}

function drawChosen() {
  const row = shown.chosen;
  $("chosen").textContent = row === null ? "" : joined([named(row), guessed(row), flagged(row)], " · ");
  $("chosen").title = row?.path ?? "";
  const { gender = null, verdict = null } = row?.said ?? {};
  for (const button of tools.querySelectorAll("[data-act]")) {
    const { act } = button.dataset;
    if (act === "female" || act === "male") button.ariaPressed = `${gender === act}`;
    if (act in VERDICTS) button.ariaPressed = `${verdict === act}`;
  }
  age.placeholder = row?.said.age != null ? years(row.said.age) : "";
}

function focusCard() {
  const card = cards.querySelector('.face[aria-current="true"]');
  card?.focus({ preventScroll: true });
  card?.scrollIntoView({ block: "nearest" });
}

function step(by) {
  const to = shown.at + by;
  if (to >= 0 && to < shown.rows.length) choose(to);
  else if (by > 0) turn(1);
  else turn(-1, -1);
}

function turn(by, at = 0) {
  const page = shown.page + by;
  if (page >= 0 && page < shown.pages) return load({ page, view: shown.view, at });
  message(by > 0 ? "This is the end of the list." : "This is the beginning of the list.");
  return null;
}

const columns = () => {
  const tops = [...cards.children].map((card) => card.offsetTop);
  return Math.max(1, tops.filter((top) => top === tops[0]).length);
};

// ---- what the person says

// What is typed in the age field. Once it was refused it is as good as not there.
function pendingAge() {
  const text = age.value.trim().replace(",", ".");
  if (text === "" || isRefused()) return {};
  const value = Number(text);
  if (!(value >= 0 && value <= MAX_AGE)) {
    refuse();
    throw new Error(NO_AGE);
  }
  return { age: value };
}

const isRefused = () => age.ariaInvalid === "true";

function refuse() {
  age.ariaInvalid = "true";
  age.focus({ preventScroll: true });
  age.select();  // what is typed next takes its place
}

function pardon() {
  age.ariaInvalid = "false";
  if ($("alarm").textContent === NO_AGE) $("alarm").textContent = "";
}

function emptyAge() {
  age.value = "";
  pardon();
}

async function say(change, { movesOn = $("moves-on").checked } = {}) {
  const row = shown.chosen;
  if (row === null) return;
  if (!row.is_correctable) {
    message("There is no face here to correct.");
    return;
  }
  const asked = post(`api/say/${row.row}`, change);
  emptyAge();
  if (document.activeElement === age) leaveAge();
  // In a photograph the mark is on the box that the person looks at.
  if (!photograph.open) {
    if (movesOn) step(1);
    else focusCard();
  }
  try {
    const found = await asked;
    take(found);
    const now = found.rows.find((other) => other.row === row.row);
    message(`${words(now.said)} – ${named(now)}`);
  } catch (error) {
    alarmed(error);
  }
}

async function undo() {
  try {
    const found = await post("api/undo", {});
    if (found.row === null) {
      message("There is nothing to undo.");
      return;
    }
    take(found);
    const at = shown.rows.findIndex((row) => found.rows.some((other) => other.row === row.row));
    if (at >= 0) choose(at);
    message(`undone: ${words(found.before)} – ${named(found.rows[0])}`);
  } catch (error) {
    alarmed(error);
  }
}

// Show what has changed, wherever it is on the page.
function take(found) {
  for (const row of found.rows) {
    const at = shown.rows.findIndex((other) => other.row === row.row);
    if (at >= 0) {
      shown.rows[at] = row;
      redraw(cards.children[at].firstChild, row);
    }
    if (shown.chosen?.row === row.row) {
      shown.chosen = row;
      drawChosen();
    }
  }
  tally(found);
  changes.push(...found.rows);
  if (photograph.open) drawBoxes(found.rows);
}

function redraw(card, row) {
  card.className = `face ${row.said.verdict ?? ""}`;
  card.querySelector(".badges").replaceWith(badges(row));
  card.querySelector(".words").replaceChildren(...cardWords(row));
}

// ---- the photograph

function openPhotograph() {
  if (photograph.open) photograph.close();
  else if (shown.chosen !== null) showPhotograph();
}

function showPhotograph() {
  photograph.append(tools, $("said"), $("alarm"));  // nothing outside it can be seen or pressed
  photograph.showModal();
  $("stage").focus();
  drawPhotograph();
}

let beside = [];
const changes = [];  // rows as they came to be, in order: a picture may take longer than an answer
async function drawPhotograph() {
  const row = shown.chosen, from = changes.length;
  const size = row.width && row.height ? `${row.width}\u00a0×\u00a0${row.height} pixels` : null;
  const taken = row.captured_at ? `taken ${row.captured_at}` : null;
  const face = row.face_count > 1 ? `face ${row.face_index + 1} of ${row.face_count}` : null;
  $("photograph-title").textContent = row.path ?? "?";
  $("photograph-facts").textContent = joined([face, size, taken], ", ");
  canvas.querySelectorAll(".box").forEach((box) => box.remove());
  $("stage").ariaBusy = "true";
  try {
    const found = await ask(`api/picture/${row.row}`);
    if (shown.chosen?.row !== row.row || !photograph.open) return;
    whole.alt = found.is_there ? `the photograph ${row.path}` : "the photograph is gone or has changed";
    whole.src = `photograph/${found.rows[0].row}.jpg`;
    await whole.decode().catch(() => undefined);
    if (shown.chosen?.row !== row.row || !photograph.open) return;
    beside = found.is_there ? found.rows : [];
    canvas.classList.toggle("crowd", beside.length > CROWD);
    $("stage").ariaBusy = "false";
    fit();
    drawBoxes(changes.slice(from));
  } catch (error) {
    alarmed(error);
  }
}

function drawBoxes(changed) {
  beside = beside.map((row) => changed.findLast((other) => other.row === row.row) ?? row);
  canvas.querySelectorAll(".box").forEach((box) => box.remove());
  for (const row of beside) {
    if (row.box === null) continue;
    const [left, top, right, bottom] = row.box.map((share) => 100 * share);
    const gender = row.said.gender ?? row.gender;
    const model = row.age === null ? null : `${Math.round(row.age)}`;
    const age = row.said.age === null ? model : years(row.said.age);
    const isDoubted = row.said.verdict === "not_a_face" || row.said.verdict === "wrong_box";
    const label = isDoubted ? VERDICTS[row.said.verdict] : joined([age, gender], " ");
    const box = element("button", { type: "button", className: `box ${gender === "female" || gender === "male" ? gender : ""} ${top < 5 ? "low" : ""} ${left > 60 ? "far" : ""}` }, element("span", { textContent: label }));
    box.ariaCurrent = row.row === shown.chosen?.row ? "true" : "false";
    Object.assign(box.style, { left: `${left}%`, top: `${top}%`, width: `${right - left}%`, height: `${bottom - top}%` });
    box.addEventListener("click", () => {
      const at = shown.rows.findIndex((other) => other.row === row.row);
      if (at >= 0) shown.at = at;
      pick(row);
    });
    canvas.append(box);
  }
}

// As large as there is room for, up to three times its pixels. Where the screen is narrow and the
// chosen face would be too small for a finger, the photograph is larger than the stage, which it then
// fills in both directions, and is moved by the finger.
function fit() {
  const stage = $("stage");
  const { naturalWidth: width, naturalHeight: height } = whole;
  if (!width) return;
  const across = stage.clientWidth / width, down = stage.clientHeight / height;
  let scale = Math.min(across, down);
  const box = shown.chosen?.box ?? null;
  if (narrow.matches && box !== null) {
    const side = Math.min((box[2] - box[0]) * width, (box[3] - box[1]) * height);
    if (side > 0) scale = Math.max(scale, Math.min(FINGER_PX / side, Math.max(across, down)));
  }
  scale = Math.min(scale, 3);
  canvas.style.width = `${Math.floor(width * scale)}px`;
  canvas.style.height = `${Math.floor(height * scale)}px`;
  if (box !== null) {
    stage.scrollLeft = canvas.offsetWidth * (box[0] + box[2]) / 2 - stage.clientWidth / 2;
    stage.scrollTop = canvas.offsetHeight * (box[1] + box[3]) / 2 - stage.clientHeight / 2;
  }
}

// A finger is wider than many a face: what it hits is the face nearest to where it points.
function touched(event) {
  if (event.target.closest(".box") !== null) return;
  let nearest = null, least = FINGER_PX / 2;
  for (const box of canvas.querySelectorAll(".box")) {
    const { left, top, right, bottom } = box.getBoundingClientRect();
    const aside = Math.max(left - event.clientX, 0, event.clientX - right);
    const above = Math.max(top - event.clientY, 0, event.clientY - bottom);
    const away = Math.hypot(aside, above);
    if (away < least) [nearest, least] = [box, away];
  }
  nearest?.click();
}

// ---- buttons and keys

const acts = {
  female: () => say({ gender: "female", ...pendingAge() }),
  male: () => say({ gender: "male", ...pendingAge() }),
  age: () => say(pendingAge()),
  not_a_face: () => say({ verdict: shown.chosen?.said.verdict === "not_a_face" ? null : "not_a_face" }),
  wrong_box: () => say({ verdict: shown.chosen?.said.verdict === "wrong_box" ? null : "wrong_box", ...pendingAge() }),
  skip: () => say({ verdict: shown.chosen?.said.verdict === "skip" ? null : "skip" }),
  clear: () => say({ gender: null, age: null, verdict: null }, { movesOn: false }),
  undo,
  photograph: openPhotograph,
  help: () => help.showModal(),
  earlier: () => step(-1),
  later: () => step(1),
  previous: () => turn(-1),
  next: () => turn(1),
  search: () => { $("filters-fold").open = true; filters.elements.search.select(); },
  close: () => (help.open ? help : photograph).close(),
};

function act(name) {
  try {
    acts[name]();
  } catch (error) {
    alarmed(error);
  }
}

const KEYS = {
  f: "female", m: "male", x: "not_a_face", b: "wrong_box", s: "skip", u: "undo", o: "photograph",
  n: "next", p: "previous", "/": "search", "?": "help", Delete: "clear", Backspace: "clear",
  PageDown: "next", PageUp: "previous",
};
const MOVES = {
  ArrowLeft: () => step(-1),
  ArrowRight: () => step(1),
  ArrowUp: () => choose(Math.max(0, shown.at - columns())),
  ArrowDown: () => choose(Math.min(shown.rows.length - 1, shown.at + columns())),
  Home: () => choose(0),
  End: () => choose(shown.rows.length - 1),
};
// In the age field these change what is typed, or move in it. Letters cannot be typed there: they
// say what they always say.
const EDITS = new Set(["ArrowLeft", "ArrowRight", "Home", "End", "Backspace", "Delete"]);
const PAGES = new Set(["n", "p", "PageDown", "PageUp"]);
const OF_LIST = new Set(["n", "p", "/", "PageDown", "PageUp", "ArrowUp", "ArrowDown", "Home", "End"]);

function pressed(event) {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.altKey || event.metaKey || event.ctrlKey || help.open) return;
  const field = event.target.closest("input, select, textarea");
  if (field !== null && field !== age) {
    if (key === "Escape") focusCard();
    return;
  }
  if (event.repeat && (key === "Enter" || (key in KEYS && !PAGES.has(key)))
      && !(field === age && EDITS.has(key))) {
    event.preventDefault();  // a key that is held is one answer, about one face
    return;
  }
  const isDigit = key >= "0" && key <= "9" && key.length === 1;
  if (field === age) {
    if (key === "Escape" || (key === "u" && age.value !== "")) {
      emptyAge();
      event.preventDefault();  // which would close the photograph
      leaveAge();
      return;
    }
    if (isDigit || key === "Enter" || key === "Tab" || key === "." || key === ",") return;
    if (age.value !== "" && EDITS.has(key) && !(isRefused() && key in MOVES)) return;
  } else if (isDigit && !age.disabled) {
    age.focus({ preventScroll: true });
    age.value = key;
    event.preventDefault();
    return;
  }
  if (photograph.open && OF_LIST.has(key)) return;
  if (key in KEYS) act(KEYS[key]);
  else if (key in MOVES && shown.rows.length) MOVES[key]();
  else return;
  event.preventDefault();
}

function leaveAge() {
  if (photograph.open) $("stage").focus();
  else focusCard();
}

document.addEventListener("keydown", pressed);
document.addEventListener("click", (event) => {
  const name = event.target.closest("[data-act]")?.dataset.act;
  if (name !== undefined) act(name);
});
$("stage").addEventListener("click", touched);
$("previous").addEventListener("click", () => act("previous"));
$("next").addEventListener("click", () => act("next"));
$("age-form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (age.value.trim() === "") return;
  if (isRefused()) refuse();
  else act("age");
});
age.addEventListener("input", () => {
  pardon();
  age.value = age.value.replace(/[^0-9.,]/g, "");
});
photograph.addEventListener("close", () => {
  dock.append(tools);
  document.body.append($("said"), $("alarm"));
  whole.removeAttribute("src");
  beside = [];
  focusCard();
});
help.addEventListener("close", () => {
  if (age.value !== "") age.focus({ preventScroll: true });
  else if (!photograph.open) focusCard();
});
new ResizeObserver(fit).observe($("stage"));
new ResizeObserver(() => {
  document.documentElement.style.setProperty("--dock", `${tools.offsetHeight}px`);
}).observe(tools);

let typing = 0;
filters.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => filter(), TYPING_MS);
});
filters.addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(typing);
  filter();
});
filters.addEventListener("reset", () => setTimeout(filter));

// The field that is typed in keeps the focus.
const filter = () => load({ focus: !filters.contains(document.activeElement) });

const fold = () => { $("filters-fold").open = !narrow.matches; };
narrow.addEventListener("change", fold);
fold();

const asked = new URLSearchParams(location.search);
for (const [name, value] of asked) {
  const field = filters.elements.namedItem(name);
  if (field !== null) field.value = value;
}
load({ page: Number(asked.get("page")) || 0 });
