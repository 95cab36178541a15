// The page: two videos, what a model sees in them, and the score. Text is in text.js, the algorithm in score.js.
import { drawBars, drawCurves, element } from "./chart.js";
import { loadFromFiles, loadFromFolder } from "./classifier.js";
import { cropFace, detectFaces, loadDetector } from "./detector.js";
import { compare, RATE, VIEWS, worstMoments } from "./score.js";
import { emotionName, TEXT } from "./text.js";
import { seek, Watcher, watchFile } from "./watcher.js";

const VENDOR = new URL("vendor/", document.baseURI).href;
const NO_FACE_AFTER = 700; // milliseconds without a face until the page says so
const LONGEST = 600; // seconds of a video that is looked at without being asked: some minutes of looking
const PAUSE = 30; // milliseconds between two looks at the camera
const find = (selector) => document.querySelector(selector);

const state = {
  language: navigator.language.startsWith("ko") ? "ko" : "en",
  notice: ["loading"],
  problem: false,
  classifier: null,
  acting: false,
  stream: null,
  asked: 0, // how often the camera was asked for, or no longer wanted
  result: null,
  get busy() {
    return this.acting ? "acting" : Object.values(sides).some((side) => side.share !== null) ? "reading" : null;
  },
};
const sides = Object.fromEntries(["actor", "user"].map((who) => [who, makeSide(who)]));

function makeSide(who) {
  const root = find(`#${who}`);
  const video = root.querySelector("video");
  // share: of the file that has been read, null when none is; job: a new file ends the reading of the one before;
  // goOn: what the button does that reads a long video all the same, null where none waits
  return { who, root, video, performance: null, lastFace: 0, fileName: "", share: null, job: 0, goOn: null };
}

// ---- what is shown

const text = () => TEXT[state.language];
const names = () => state.classifier.description.label_names.map((label) => emotionName(label, state.language));
const source = () => find("input[name=source]:checked").value;

function say(key, ...values) {
  state.notice = [key, ...values];
  state.problem = /^(longVideo|no(Model|ActorFace|UserFace)|bad|camera(Refused|Missing|Busy|Insecure))/.test(key);
  render();
}

function render() {
  document.documentElement.lang = state.language;
  for (const node of document.querySelectorAll("[data-text]")) node.textContent = text()[node.dataset.text];
  for (const node of document.querySelectorAll("[data-label]")) node.setAttribute("aria-label", text()[node.dataset.label]);
  for (const node of document.querySelectorAll("[data-language]")) node.setAttribute("aria-pressed", node.dataset.language === state.language);
  document.title = text().title;

  const [key, ...values] = state.notice;
  const message = typeof text()[key] === "function" ? text()[key](...values) : text()[key];
  if (find("#notice").textContent !== message) find("#notice").textContent = message; // a screen reader hears a change only
  find(".status").classList.toggle("problem", state.problem);
  const { classifier } = state;
  find("#model-info").hidden = !classifier;
  find("#model-picker").hidden = Boolean(classifier) || key === "loading" || key === "badDetector"; // a model would not help there
  if (classifier) {
    const { label_names: labels, image_size: size } = classifier.description;
    find("#model-info").textContent = text().model(labels.length, size, classifier.runtime, classifier.threads);
  }

  const withCamera = source() === "camera";
  const { acting } = state;
  find("#camera").hidden = !withCamera;
  find("#user-file").parentElement.hidden = withCamera;
  find("#camera").textContent = state.stream ? text().stopCamera : text().startCamera;
  find("#camera").disabled = !classifier || acting;
  find("#progress").hidden = state.busy === null;
  for (const input of document.querySelectorAll("#actor-file, #user-file")) input.disabled = !classifier || acting;
  for (const input of document.querySelectorAll("input[name=source]")) input.disabled = acting;
  find("#go").textContent = acting ? text().stop : withCamera ? text().perform : text().compare;
  const there = sides.actor.performance && (withCamera ? state.stream : sides.user.performance);
  find("#go").disabled = !acting && (!there || state.busy !== null);
  for (const side of Object.values(sides)) {
    side.root.querySelector(".go-on").hidden = !side.goOn;
    side.root.querySelector(".name").textContent = side.who === "user" && withCamera ? "" : side.fileName;
    side.root.querySelector(".hint").hidden = side.video.videoWidth > 0;
    if (classifier) drawBars(side.root.querySelector(".bars"), names(), side.shown ?? null);
  }
  sides.user.root.querySelector(".stage").classList.toggle("mirrored", withCamera);
  renderResult();
}

function renderResult() {
  const { result } = state;
  find("#result").hidden = !result;
  if (!result) return;
  const worst = worstMoments(result, 3);
  const percent = (value) => Math.round(100 * value);
  const counted = result.costs.filter((cost) => cost !== null).length;
  const unseen = result.costs.filter((cost, t) => cost !== null && result.user[t] === null).length;
  find("#score").textContent = result.score.toFixed(1);
  find("#still").textContent = text().still(result.stillScore.toFixed(1));
  find("#means").textContent = text().means(result.meanDistanceScore.toFixed(1));
  find("#unseen").textContent = unseen ? text().noFaceShare(percent(unseen / counted)) : "";
  find("#worst").replaceChildren(
    ...worst.map((t, i) => {
      const [actor, user] = [result.actor[t], result.user[t]];
      const time = result.times[t].toFixed(1);
      const gaps = actor.map((value, c) => Math.abs(value - (user?.[c] ?? 0)));
      const c = gaps.indexOf(Math.max(...gaps));
      const button = element("button", { type: "button", html: `<b>${i + 1}</b><span></span>` });
      button.lastChild.textContent = user ? text().worstItem(time, names()[c], percent(actor[c]), percent(user[c])) : text().worstNoFace(time);
      button.addEventListener("click", () => showMoment(t));
      const item = element("li", {});
      item.append(button);
      return item;
    }),
  );
  drawCurves(find("#charts"), result, names(), worst, text());
}

// A look at one side: its box, its bars, or that there is no face.
function show(side, { face, probabilities }) {
  const now = performance.now();
  if (face) side.lastFace = now;
  side.shown = probabilities;
  const [svg, rect] = [side.root.querySelector(".stage svg"), side.root.querySelector("rect")];
  svg.setAttribute("viewBox", `0 0 ${side.video.videoWidth} ${side.video.videoHeight}`);
  rect.toggleAttribute("hidden", !face);
  if (face) {
    const [x1, y1, x2, y2] = face.box;
    for (const [key, value] of Object.entries({ x: x1, y: y1, width: x2 - x1, height: y2 - y1 })) rect.setAttribute(key, value);
  }
  side.root.querySelector(".badge").hidden = now - side.lastFace < NO_FACE_AFTER;
  drawBars(side.root.querySelector(".bars"), names(), probabilities);
}

function clear(side) {
  side.shown = null;
  side.root.querySelector("rect").toggleAttribute("hidden", true);
  side.root.querySelector(".badge").hidden = true;
}

function showMoment(t) {
  const { times, shifts } = state.result;
  sides.actor.video.currentTime = times[t];
  if (source() === "file") sides.user.video.currentTime = Math.max(0, times[t] + shifts[t]);
}

// ---- files

async function readFile(side, file) {
  const job = ++side.job;
  Object.assign(side, { performance: null, fileName: file.name, share: 0, goOn: null });
  state.result = null;
  clear(side);
  try {
    await openVideo(side.video, file);
  } catch {
    if (job !== side.job) return;
    close(side.video);
    Object.assign(side, { fileName: "", share: null });
    return say("badVideo", file.name);
  }
  if (job !== side.job) return;
  if (side.video.duration > LONGEST) {
    const answer = new Promise((resolve) => Object.assign(side, { share: null, goOn: resolve }));
    say("longVideo", file.name, Math.round(side.video.duration / 60).toLocaleString());
    await answer;
    if (job !== side.job) return;
    Object.assign(side, { share: 0, goOn: null });
  }
  const onLook = (result, share) => {
    if (job !== side.job) return;
    side.share = share;
    show(side, result);
    find("#progress").value = Math.min(...Object.values(sides).map((one) => one.share ?? 1));
    const percent = Math.floor(share * 10) * 10; // a screen reader need not hear every percent
    if (state.notice[0] !== "reading" || state.notice[1] !== side.who || state.notice[2] !== percent) say("reading", side.who, percent);
  };
  let found;
  try {
    found = await watchFile(new Watcher(side.video), state.classifier, onLook, () => job !== side.job);
  } catch (error) {
    if (job !== side.job) return;
    const ofVideo = Boolean(side.video.error);
    if (ofVideo) close(side.video);
    Object.assign(side, { fileName: "", share: null });
    return ofVideo ? say("badVideo", file.name) : say("badModel", error.message ?? String(error));
  }
  if (job !== side.job) return;
  side.share = null;
  if (!found.probabilities.some((p) => p !== null)) return say(side.who === "actor" ? "noActorFace" : "noUserFace");
  side.performance = found;
  if (state.busy) return render();
  if (sides.actor.performance && sides.user.performance && source() === "file") return finish();
  say(sides.actor.performance ? (state.stream ? "cameraOn" : "readActor") : "ready");
}

// Frees the file, or the camera, that a <video> shows.
function close(video) {
  if (video.src) URL.revokeObjectURL(video.src);
  video.onerror = video.onloadeddata = null;
  video.srcObject = null;
  video.removeAttribute("src");
  video.load();
}

function openVideo(video, file) {
  close(video);
  return new Promise((resolve, reject) => {
    video.onerror = reject;
    video.onloadeddata = () => (video.videoWidth && Number.isFinite(video.duration) ? resolve() : findDuration(video).then(resolve, reject));
    video.src = URL.createObjectURL(file);
    video.load();
  });
}

// Recordings of browsers do not say how long they are until their end has been sought.
async function findDuration(video) {
  if (!video.videoWidth) throw new Error("no video");
  await seek(video, 1e7);
  if (!Number.isFinite(video.duration)) throw new Error("no duration");
  await seek(video, 0);
}

// ---- camera

async function startCamera() {
  if (!navigator.mediaDevices) return say("cameraInsecure");
  const asked = ++state.asked; // while the browser asks, the user may click again, or choose a file
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: false, video: { width: { ideal: 640 }, facingMode: "user" } });
  } catch (error) {
    if (state.asked !== asked) return;
    return say({ NotAllowedError: "cameraRefused", NotFoundError: "cameraMissing" }[error.name] ?? "cameraBusy");
  }
  if (state.asked !== asked) return stream.getTracks().forEach((track) => track.stop());
  state.stream = stream;
  const { video } = sides.user;
  video.srcObject = state.stream;
  state.stream.getVideoTracks()[0].addEventListener("ended", stopCamera);
  await video.play();
  sides.user.lastFace = performance.now();
  say(sides.actor.performance ? "cameraOn" : "ready");
  watchCamera(state.stream);
}

async function watchCamera(stream) {
  const { user, actor } = sides;
  const watcher = new Watcher(user.video);
  while (state.stream === stream) {
    const { acting } = state;
    const time = actor.video.currentTime;
    let result;
    try {
      result = await watcher.look(state.classifier);
    } catch (error) {
      if (state.stream === stream) stopCamera();
      return say("badModel", error.message ?? String(error));
    }
    if (state.stream !== stream) return;
    show(user, result);
    if (acting && state.acting) {
      user.recorded.times.push(time);
      user.recorded.probabilities.push(result.probabilities);
      find("#progress").value = time / actor.video.duration;
      const probabilities = actor.performance.probabilities[Math.min(Math.round(time * RATE), actor.performance.times.length - 1)];
      drawBars(actor.root.querySelector(".bars"), names(), probabilities);
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE));
  }
}

function stopCamera() {
  for (const track of state.stream?.getTracks() ?? []) track.stop();
  state.stream = null;
  sides.user.video.srcObject = null;
  clear(sides.user);
  if (state.acting) return stopActing();
  say(sides.actor.performance ? "readActor" : "ready");
}

async function act() {
  const { actor, user } = sides;
  clear(actor);
  user.recorded = { times: [], probabilities: [], duration: actor.performance.duration };
  await seek(actor.video, 0);
  Object.assign(state, { acting: true, result: null });
  actor.video.onended = () => {
    Object.assign(user, { performance: user.recorded });
    state.acting = false;
    finish();
    user.performance = null; // of this scene only
  };
  say("acting");
  actor.root.querySelector(".stage").scrollIntoView({ block: "nearest" }); // on a phone the button is far below the scene
  await actor.video.play();
}

function stopActing() {
  sides.actor.video.onended = null;
  sides.actor.video.pause();
  state.acting = false;
  say("stopped");
}

function finish() {
  if (!sides.user.performance.probabilities.some((p) => p !== null)) return say("noUserFace");
  state.result = compare(sides.actor.performance, sides.user.performance);
  say("done", state.result.score.toFixed(1));
  find("#result .number").scrollIntoView({ block: "nearest" });
}

// ---- events

for (const button of document.querySelectorAll("[data-language]")) {
  button.addEventListener("click", () => {
    state.language = button.dataset.language;
    render();
  });
}
for (const input of document.querySelectorAll("input[name=source]")) {
  input.addEventListener("change", () => {
    const { user } = sides;
    user.job++;
    state.asked++;
    if (state.stream) stopCamera();
    close(user.video);
    Object.assign(user, { performance: null, fileName: "", share: null, goOn: null });
    find("#user-file").value = "";
    clear(user);
    render();
  });
}
for (const side of Object.values(sides)) side.root.querySelector(".go-on").addEventListener("click", () => side.goOn?.());
find("#camera").addEventListener("click", () => (state.stream ? stopCamera() : startCamera()));
find("#go").addEventListener("click", () => (state.acting ? stopActing() : source() === "camera" ? act() : finish()));
find("#actor-file").addEventListener("change", ({ target }) => target.files[0] && readFile(sides.actor, target.files[0]));
find("#user-file").addEventListener("change", ({ target }) => target.files[0] && readFile(sides.user, target.files[0]));
find("#model-files").addEventListener("change", async ({ target }) => {
  say("loading");
  try {
    useModel(await loadFromFiles(target.files, VENDOR));
  } catch (error) {
    say("badModel", error.message);
  }
  target.value = "";
});
window.addEventListener("keydown", ({ key }) => key === "Escape" && state.acting && stopActing());

function useModel(classifier) {
  state.classifier = classifier;
  say("ready");
}

async function start() {
  find("#unstarted").remove();
  render();
  const model = loadFromFolder(new URL("./", document.baseURI).href, VENDOR);
  model.catch(() => {}); // said below, after the detector
  try {
    state.backend = await loadDetector(VENDOR);
  } catch (error) {
    return say("badDetector", error.message);
  }
  try {
    const classifier = await model;
    classifier ? useModel(classifier) : say("noModel");
  } catch (error) {
    say("badModel", error.message ?? String(error));
  }
}

// For the console and the tests: the parts of the page, on what it has loaded.
window.reon = { state, sides, Watcher, VIEWS, cropFace, detectFaces, compare, ready: start() };
