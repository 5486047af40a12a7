"use strict";
// One screen at a time: scene, run, score, review, done. The page knows rows and sides, never releases.

const $ = (id) => document.getElementById(id);
const SCREENS = ["wait", "arm", "scene", "run", "score", "review", "done"];
let about = null;
let box = null;
let ticking = 0;

function text(id, words) {
  $(id).textContent = words;
}

function list(id, items) {
  $(id).replaceChildren(...items.map((words) => {
    const item = document.createElement("li");
    item.textContent = words;
    return item;
  }));
}

function show(screen) {
  box.state.screen = screen;
  box.save();
  for (const name of SCREENS) $("screen-" + name).hidden = name !== screen;
  const draw = { arm: drawArms, scene: drawScene, run: drawRun, score: drawScore, review: drawReview, done: drawDone };
  clearInterval(ticking);
  if (draw[screen]) draw[screen]();
  if (screen !== "scene") stopCamera();
  $("screen-" + screen).querySelector("h1").focus();
  window.scrollTo(0, 0);
}

function alertWith(words) {
  text("alert", words);
  $("alert").hidden = !words;
}

function status(connected) {
  const waiting = box ? box.state.waiting.length : 0;
  text("link", (connected ? "connected" : "no connection") + (waiting ? `, ${waiting} to send` : ""));
}

function progress(tree) {
  if (tree.recorded !== undefined) text("count", `${tree.recorded} of ${about.rows} recorded`);
}

// ---- the server ----

async function begin() {
  try {
    const answer = await fetch("/api/plan", { cache: "no-store" });
    if (answer.status === 401) return locked();
    about = await answer.json();
    localStorage.setItem("worldgate/about", JSON.stringify(about));
  } catch (error) {
    const held = localStorage.getItem("worldgate/about");
    if (!held) return text("wait-words", "No connection, and this device has never seen the plan.");
    about = JSON.parse(held);
  }
  box = new Outbox(about.plan);
  if (navigator.storage && navigator.storage.persist) navigator.storage.persist();
  if ("serviceWorker" in navigator && window.isSecureContext) {
    navigator.serviceWorker.register("/sw.js").catch((error) => console.warn("no worker", error));
  }
  if (about.slots.length === 1) box.state.slot = about.slots[0];
  drawRefused();
  if (["run", "score", "review", "scene"].includes(box.state.screen) && box.state.run) show(box.state.screen);
  else await next();
  await sync();
  setInterval(sync, 10000);
}

function locked() {
  alertWith("This device is no longer let in. Open the address that the program prints; what is kept here is not lost.");
}

async function sync() {
  const why = await box.flush((entry, code, tree) => {
    progress(tree);
    drawRefused();
  });
  if (why === "401") locked();
  else if (why !== "offline") alertWith("");
  status(why !== "offline");
  if (why !== "offline") {
    const known = await lease();
    if (box.state.screen === "wait" && known) await next(true);
  }
  if (box.state.screen === "done") drawDone();
}

async function lease() {
  if (!box.state.slot) return false;
  const asked = Date.now();
  try {
    const answer = await post("/api/lease", { client: box.state.client, slot: box.state.slot });
    if (answer.status === 401) locked();
    if (!answer.ok) return false;
    const tree = await answer.json();
    const back = Date.now();
    box.state.clock_ms = Math.round(tree.now_ms - (asked + back) / 2);
    box.state.error_ms = Math.ceil((back - asked) / 2);
    box.state.rows = tree.rows;
    box.state.elsewhere = tree.elsewhere;
    box.state.open = tree.open;
    box.save();
    progress(tree);
    status(true);
    for (const row of tree.rows) if (row.photograph) fetch(photograph(row)).catch(() => null);
    return true;
  } catch (error) {
    status(false);
    return false;
  }
}

function photograph(row) {
  return `/photograph/${row.row}?plan=${about.plan.slice(0, 12)}`;
}

async function next(leased = false) {
  if (!box.state.slot) return show("arm");
  if (!leased) await lease();
  const row = box.state.rows.find((item) => !box.has(item.row));
  if (!row) {
    show("wait");
    const words = box.state.waiting.length ? "Every run that this device holds is done; the rest needs a connection."
      : box.state.elsewhere ? `The ${box.state.elsewhere} runs left are held by other devices.`
      : box.state.open === 0 ? "Every run of the plan is recorded." : "No run for this arm now.";
    return text("wait-words", words);
  }
  const entry = crypto.randomUUID ? crypto.randomUUID() : Outbox.made();
  box.state.run = { row, entry, began: 0, ended: 0, hands: [], success: null, goals: {}, violations: 0, note: "",
    excluded: "" };
  show("scene");
}

// ---- screens ----

function side(id) {
  const row = box.state.run.row;
  text(id, row.side ? `side ${row.side}` : "");
}

function drawArms() {
  $("arms").replaceChildren(...about.slots.map((slot) => {
    const button = document.createElement("button");
    button.textContent = slot;
    button.className = "wide";
    button.addEventListener("click", () => {
      box.state.slot = slot;
      box.save();
      next();
    });
    return button;
  }));
}

function drawScene() {
  const { row } = box.state.run;
  side("side");
  text("scenario", row.scenario);
  text("place", `run ${row.row} of ${about.rows} on ${row.slot}`);
  text("attributes", Object.entries(row.attributes).map(([key, value]) => `${key}: ${value}`).join(", "));
  text("criterion", row.criterion ? `Success: ${row.criterion}` : "");
  const picture = $("picture");
  picture.hidden = !row.photograph;
  $("no-picture").hidden = row.photograph;
  $("overlay").hidden = !row.photograph || !(navigator.mediaDevices && navigator.mediaDevices.getUserMedia);
  if (row.photograph) picture.src = photograph(row);
  else picture.removeAttribute("src");
  fade();
}

function fade() {
  const alone = $("camera").hidden;
  $("picture").style.opacity = alone ? "1" : String($("opacity").value / 100);
  $("fading").hidden = alone;
  $("use-camera").hidden = !alone;
}

async function useCamera() {
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    $("camera").srcObject = stream;
    $("camera").hidden = false;
    await $("camera").play();
    fade();
  } catch (error) {
    alertWith(`The camera cannot be used (${error.name}). Compare with the photograph alone.`);
  }
}

function stopCamera() {
  const stream = $("camera").srcObject;
  if (stream) for (const track of stream.getTracks()) track.stop();
  $("camera").srcObject = null;
  $("camera").hidden = true;
}

function drawRun() {
  side("run-side");
  const tick = () => {
    const seconds = Math.max(0, Math.floor((Date.now() - box.state.run.began) / 1000));
    text("timer", `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`);
  };
  tick();
  ticking = setInterval(tick, 250);
  drawHands();
}

function drawHands() {
  const count = box.state.run.hands.length;
  text("hands", count ? `(${count})` : "");
}

function stepIn() {
  box.state.run.hands.push((Date.now() - box.state.run.began) / 1000);
  box.save();
  drawHands();
}

function drawScore() {
  const { run } = box.state;
  side("score-side");
  text("score-criterion", run.row.criterion);
  $("goals").hidden = !run.row.goals.length;
  $("goal-list").replaceChildren(...run.row.goals.map((goal) => {
    const label = document.createElement("label");
    label.className = "choice";
    const tick = document.createElement("input");
    tick.type = "checkbox";
    tick.checked = Boolean(run.goals[goal]);
    tick.addEventListener("change", () => {
      run.goals[goal] = tick.checked;
      box.save();
    });
    label.append(tick, " ", goal);
    return label;
  }));
  const touched = run.hands.length > 0;
  if (touched) run.success = false;
  $("no-success").hidden = !touched;
  for (const radio of document.querySelectorAll("input[name=success]")) {
    radio.checked = run.success !== null && (radio.value === "yes") === run.success;
    radio.disabled = touched;
  }
  text("violations", String(run.violations));
  $("note").value = run.note;
  $("exclusion").hidden = !about.exclusions.length;
  $("excluded").replaceChildren(...["", ...about.exclusions].map((code) => {
    const option = document.createElement("option");
    option.value = code;
    option.textContent = code || "not excluded";
    option.selected = code === run.excluded;
    return option;
  }));
}

function drawReview() {
  const { run } = box.state;
  side("review-side");
  const reached = run.row.goals.filter((goal) => run.goals[goal]);
  const facts = [["Scene", run.row.scenario], ["Success", run.success ? "yes" : "no"],
    ["Took", `${((run.ended - run.began) / 1000).toFixed(1)} s`]];
  if (run.row.goals.length) facts.push(["Reached", reached.length ? reached.join(", ") : "nothing"]);
  facts.push(["Stepped in", run.hands.length ? run.hands.map((s) => `at ${s.toFixed(1)} s`).join(", ") : "no"]);
  facts.push(["Limits broken", String(run.violations)]);
  if (run.note) facts.push(["Note", run.note]);
  if (run.excluded) facts.push(["Excluded", `${run.excluded} (counts as a failure)`]);
  $("summary").replaceChildren(...facts.flatMap(([name, value]) => {
    const [dt, dd] = [document.createElement("dt"), document.createElement("dd")];
    dt.textContent = name;
    dd.textContent = value;
    return [dt, dd];
  }));
}

function sheet(run) {
  return {
    schema: "worldgate/trial-sheet/1", plan: about.plan, row: run.row.row, entry: run.entry, client: box.state.client,
    started_ns: `${run.began + box.state.clock_ms}000000`, clock_error_ns: `${box.state.error_ms}000000`,
    duration_s: (run.ended - run.began) / 1000, success: run.success,
    goals: Object.fromEntries(run.row.goals.map((goal) => [goal, Boolean(run.goals[goal])])),
    violations: run.violations, interventions_s: run.hands, excluded: run.excluded, note: run.note,
  };
}

async function record() {
  box.put(sheet(box.state.run));
  show("done");
  await sync();
}

async function drawDone() {
  const { entry } = box.state.run || {};
  const waiting = box.state.waiting.some((item) => item.entry === entry);
  const refused = box.state.refused.some((item) => item.entry.entry === entry);
  text("done-title", waiting ? "Kept on this device" : refused ? "Not taken" : "Recorded");
  text("done-words", waiting ? "It will be sent when there is a connection. Keep this page."
    : refused ? "See below." : "It stands on the ledger.");
  $("undo").hidden = !waiting || box.sending;
  try {
    const answer = await fetch("/api/left", { cache: "no-store" });
    if (!answer.ok) throw new TypeError("unknown");
    const tree = await answer.json();
    progress(tree);
    list("left", tree.decided ? ["The gate has its answer: stop here."]
      : [`At most ${tree.open} runs.`, ...tree.missing]);
  } catch (error) {
    list("left", ["Not known now."]);
  }
}

function drawRefused() {
  const { refused } = box.state;
  $("refused").hidden = !refused.length;
  list("refused-list", refused.map((item) => `Run ${item.entry.row}: ${item.why}`));
}

function save() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(box.state.refused, null, 2)], { type: "application/json" }));
  link.download = "not-taken.json";
  link.click();
}

// ---- what people do ----

function on(id, act) {
  $(id).addEventListener("click", act);
}

on("ask", () => next());
on("use-camera", useCamera);
$("opacity").addEventListener("input", fade);
$("picture").addEventListener("error", () => {
  $("picture").hidden = true;
  $("no-picture").hidden = false;
});
on("start", () => {
  box.state.run.began = Date.now();
  show("run");
});
on("hand", stepIn);
on("stop", () => {
  box.state.run.ended = Date.now();
  show("score");
});
for (const radio of document.querySelectorAll("input[name=success]")) {
  radio.addEventListener("change", () => {
    box.state.run.success = radio.value === "yes";
    box.save();
  });
}
on("more", () => count(1));
on("fewer", () => count(-1));
$("note").addEventListener("input", () => {
  box.state.run.note = $("note").value;
  box.save();
});
$("excluded").addEventListener("change", () => {
  box.state.run.excluded = $("excluded").value;
  box.save();
});
on("review", () => {
  if (box.state.run.success === null) return alertWith("Say whether it was a success.");
  alertWith("");
  show("review");
});
on("change", () => show("score"));
on("record", record);
on("undo", async () => {
  await box.settled();
  if (box.takeBack(box.state.run.entry)) show("score");
});
on("next", () => next());
on("save", save);
document.addEventListener("keydown", (event) => {
  if (event.key.toLowerCase() === "i" && box && box.state.screen === "run" && !event.repeat) stepIn();
});
window.addEventListener("online", sync);

function count(by) {
  const { run } = box.state;
  run.violations = Math.min(1000, Math.max(0, run.violations + by));
  text("violations", String(run.violations));
  box.save();
}

begin();
