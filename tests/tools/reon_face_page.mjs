// Drives reon_face/web/ in Chromium for faces_page.py.
// stdin: {modules, chromium, args, url, scenarios: {name: options}}; stdout: {name: {value} or {error}}.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const task = JSON.parse(readFileSync(0, "utf8"));
const fromPage = createRequire(`${task.modules}/`);
const { chromium } = fromPage("playwright-core");
const browser = await chromium.launch({ executablePath: task.chromium, args: ["--no-sandbox", ...task.args] });

async function openPage({ url = task.url, permissions = [], locale = "en-US", ready = true, cores = null, width = 1180, lost = null }) {
  const context = await browser.newContext({ permissions, locale, viewport: { width, height: 900 }, reducedMotion: "reduce" });
  if (lost) await context.route(lost, (route) => route.abort()); // files that do not arrive
  if (cores) await context.addInitScript(`Object.defineProperty(navigator, "hardwareConcurrency", { get: () => ${cores} })`);
  // what the page's policy refuses, and the object URLs that hold a file
  await context.addInitScript(() => {
    window.refused = [];
    window.held = new Set();
    document.addEventListener("securitypolicyviolation", (event) => window.refused.push(event.effectiveDirective));
    const [create, revoke] = [URL.createObjectURL, URL.revokeObjectURL];
    URL.createObjectURL = (file) => {
      const url = create.call(URL, file);
      if (file instanceof File) window.held.add(url);
      return url;
    };
    URL.revokeObjectURL = (url) => (window.held.delete(url), revoke.call(URL, url));
  });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  const [requests, errors] = [[], []];
  page.on("request", (request) => requests.push(request.url()));
  page.on("pageerror", (error) => errors.push(error.message));
  const missing = [];
  page.on("response", (response) => response.status() >= 400 && missing.push(response.url()));
  await page.goto(url);
  if (ready) await page.evaluate(() => window.reon.ready);
  return { page, requests, errors, missing, close: () => context.close() };
}

const notice = (page) => page.textContent("#notice");
const performances = (page) =>
  page.evaluate(() => ({
    actor: reon.sides.actor.performance,
    user: reon.sides.user.performance ?? reon.sides.user.recorded,
    result: reon.state.result,
  }));

const scenarios = {
  // Two files are compared.
  async files({ actor, user, screenshot }) {
    const { page, requests, errors, close } = await openPage({});
    await page.setInputFiles("#actor-file", actor);
    await page.waitForFunction(() => reon.sides.actor.performance);
    const afterActor = await notice(page);
    await page.check("input[value=file]", { force: true });
    await page.setInputFiles("#user-file", user);
    await page.waitForFunction(() => reon.state.result);
    const found = {
      ...(await performances(page)),
      afterActor,
      notice: await notice(page),
      score: await page.textContent("#score"),
      figures: await page.locator("#charts figure").count(),
      worst: await page.locator("#worst li").allTextContents(),
      bars: await page.locator("#actor .bars li").allTextContents(),
      requests,
      errors,
      refused: await page.evaluate(() => window.refused),
    };
    await page.click("[data-language=ko]");
    found.worstInKorean = await page.locator("#worst li").allTextContents();
    if (screenshot) await page.screenshot({ path: screenshot, fullPage: true });
    await close();
    return found;
  },

  // Both files are chosen at once, and the user's a second time before it is read.
  async together({ actor, user }) {
    const { page, errors, close } = await openPage({});
    await page.check("input[value=file]", { force: true });
    await page.setInputFiles("#actor-file", actor);
    await page.setInputFiles("#user-file", actor);
    await page.waitForFunction(() => reon.sides.user.share > 0);
    await page.setInputFiles("#user-file", user);
    await page.waitForFunction(() => reon.state.result);
    const found = { ...(await performances(page)), errors };
    await close();
    return found;
  },

  // The page's crop and classifier on pixels that Python gives: frame [H, W, 3], box, and ready crops.
  async numbers({ crops, frame, height, width, box, size, padding, cores }) {
    const { page, errors, close } = await openPage({ cores });
    const found = await page.evaluate(
      async ({ crops, frame, height, width, box, size, padding }) => {
        const probabilities = [];
        for (const crop of crops) probabilities.push(await reon.state.classifier.classify(crop));
        const crop = [...reon.cropFace({ data: frame, height, width }, box, size, padding)];
        return { probabilities, crop, isolated: crossOriginIsolated, threads: reon.state.classifier.threads, refused: window.refused };
      },
      { crops, frame, height, width, box, size, padding },
    );
    await close();
    return { ...found, errors };
  },

  // The page's own detector on frames without loss: [{box, probabilities, detectMs, classifyMs}]; `viewed`: the mean over all views;
  // `whole`: of a model whose training images were not cropped.
  async frames({ images, repeat = 1, cores }) {
    const { page, close } = await openPage({ cores });
    const found = await page.evaluate(
      async ({ images, repeat }) => {
        const looks = [];
        for (const image of images) {
          const picture = new Image();
          picture.src = image;
          await picture.decode();
          const video = Object.assign(picture, { videoWidth: picture.naturalWidth, videoHeight: picture.naturalHeight });
          const watcher = new reon.Watcher(video);
          for (let i = 0; i < repeat; i++) {
            const { face, ...look } = await watcher.look(reon.state.classifier);
            looks.push({ box: face && face.box, ...look });
          }
          const { description, classify } = reon.state.classifier;
          const face_crop = { ...description.face_crop, detector: "none", padding: 0 };
          looks.at(-1).viewed = (await new reon.Watcher(video).look(reon.state.classifier, reon.VIEWS)).probabilities;
          looks.at(-1).whole = (await new reon.Watcher(video).look({ description: { ...description, face_crop }, classify })).face.box;
        }
        return { looks, runtime: reon.state.classifier.runtime, threads: reon.state.classifier.threads, backend: reon.state.backend };
      },
      { images, repeat },
    );
    await close();
    return found;
  },

  // The fake camera acts along with the actor's file.
  async camera({ actor }) {
    const { page, errors, close } = await openPage({ permissions: ["camera"] });
    await page.setInputFiles("#actor-file", actor);
    await page.waitForFunction(() => reon.sides.actor.performance);
    await page.click("#camera");
    await page.waitForFunction(() => reon.state.stream);
    await page.waitForFunction(() => reon.sides.user.shown || !document.querySelector("#user .badge").hidden);
    const found = {
      bars: await page.locator("#user .bars .value").allTextContents(),
      badge: await page.isVisible("#user .badge"),
      badgeText: await page.textContent("#user .badge"),
      afterStart: await notice(page),
    };
    await page.click("#go");
    await page.waitForFunction(() => reon.state.busy === null && reon.state.notice[0] !== "cameraOn");
    Object.assign(found, await performances(page), { notice: await notice(page), problem: await page.isVisible(".status.problem"), errors });
    await page.click("#camera");
    found.stopped = await page.evaluate(() => reon.sides.user.video.srcObject === null);
    await close();
    return found;
  },

  async stopped({ actor }) {
    const { page, close } = await openPage({ permissions: ["camera"] });
    await page.setInputFiles("#actor-file", actor);
    await page.waitForFunction(() => reon.sides.actor.performance);
    await page.click("#camera");
    await page.waitForFunction(() => reon.state.stream);
    await page.click("#go");
    await page.waitForFunction(() => reon.state.busy === "acting");
    await page.keyboard.press("Escape");
    const found = { notice: await notice(page), result: await page.isVisible("#result"), busy: await page.evaluate(() => reon.state.busy) };
    await close();
    return found;
  },

  async refused() {
    const { page, close } = await openPage({});
    await page.click("#camera");
    await page.waitForFunction(() => reon.state.problem);
    const found = { notice: await notice(page), problem: await page.isVisible(".status.problem") };
    await close();
    return found;
  },

  async threads(options) {
    return scenarios.numbers(options);
  },

  async unplayable({ actor }) {
    const { page, close } = await openPage({});
    await page.setInputFiles("#actor-file", actor);
    await page.waitForFunction(() => reon.state.problem);
    const found = { notice: await notice(page), go: await page.isDisabled("#go") };
    await close();
    return found;
  },

  async cutOff({ actor }) {
    return scenarios.unplayable({ actor });
  },

  // Of two files on each side, one that is broken and a change of the source, only what is shown is held.
  async held({ actor, user, broken }) {
    const { page, close } = await openPage({});
    const held = () => page.evaluate(() => window.held.size);
    await page.check("input[value=file]", { force: true });
    const counts = {};
    for (const [name, who, file] of [["one", "actor", actor], ["other", "actor", user], ["both", "user", user], ["broken", "user", broken]]) {
      await page.setInputFiles(`#${who}-file`, file);
      await page.waitForFunction(() => reon.state.busy === null);
      counts[name] = await held();
    }
    await page.setInputFiles("#user-file", user);
    await page.waitForFunction(() => reon.state.result);
    await page.check("input[value=camera]", { force: true });
    counts.camera = await held();
    await close();
    return counts;
  },

  // A long video is looked at when the user says so, and the next file ends that.
  async long({ long, actor, screenshot }) {
    const { page, errors, close } = await openPage({});
    const goOn = page.locator("#actor .go-on");
    const before = await goOn.isVisible();
    await page.setInputFiles("#actor-file", long);
    await page.waitForFunction(() => reon.sides.actor.goOn);
    const found = { before, notice: await notice(page), asked: await goOn.isVisible(), looked: await page.evaluate(() => reon.sides.actor.share) };
    if (screenshot) await page.screenshot({ path: screenshot });
    await page.focus("#actor .go-on");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => reon.sides.actor.share > 0);
    Object.assign(found, { reading: await notice(page), asking: await goOn.isVisible() });
    await page.setInputFiles("#actor-file", actor);
    await page.waitForFunction(() => reon.sides.actor.performance);
    Object.assign(found, { times: await page.evaluate(() => reon.sides.actor.performance.times.length), held: await page.evaluate(() => window.held.size), errors });
    await close();
    return found;
  },

  // What a text that gets into the page could try.
  async policy({ elsewhere }) {
    const { page, close } = await openPage({});
    const answered = [];
    page.on("response", (response) => answered.push(response.url()));
    const found = await page.evaluate(async (elsewhere) => {
      const ran = [];
      window.ran = (name) => ran.push(name);
      document.body.append(Object.assign(document.createElement("script"), { textContent: "window.ran('inline')" }));
      document.body.insertAdjacentHTML("beforeend", `<img src="x:" onerror="window.ran('handler')">`);
      document.body.append(Object.assign(document.createElement("script"), { src: `${elsewhere}vendor/ort-wasm-simd-threaded.mjs` }));
      document.body.append(Object.assign(new Image(), { src: `${elsewhere}a.png` }));
      document.body.append(Object.assign(document.createElement("iframe"), { src: elsewhere }));
      const sent = await fetch(elsewhere, { mode: "no-cors" }).then(() => true, () => false);
      const evaluated = await new Promise((resolve) => {
        setTimeout(() => resolve(window.evaluated ?? false), 500);
        const script = document.createElement("button");
        script.setAttribute("onclick", "window.evaluated = true");
        script.click();
      });
      return { ran, sent, evaluated, refused: [...new Set(window.refused)].sort() };
    }, elsewhere);
    await close();
    return { ...found, elsewhere: answered.filter((url) => url.startsWith(elsewhere)) };
  },

  async language() {
    const { page, close } = await openPage({ locale: "ko-KR" });
    const read = () => page.evaluate(() => [document.documentElement.lang, document.body.innerText, document.title]);
    const found = { first: await read() };
    await page.click("[data-language=en]");
    found.second = await read();
    await close();
    return found;
  },

  // Everything that can be done is reached by Tab in the order of the page, and seen when it has the focus.
  async keyboard() {
    const { page, close } = await openPage({});
    const focused = [];
    for (let i = 0; i < 8; i++) {
      await page.keyboard.press("Tab");
      focused.push(
        await page.evaluate(() => {
          const node = document.activeElement;
          const shown = node.matches("input") ? node.closest("label") : node;
          return { name: node.id || node.dataset.language || node.value || node.tagName, outline: getComputedStyle(shown).outlineStyle };
        }),
      );
    }
    await page.focus("[data-language=ko]");
    await page.keyboard.press("Enter");
    const language = await page.evaluate(() => document.documentElement.lang);
    await page.focus("input[value=camera]");
    await page.keyboard.press("ArrowRight");
    const source = await page.evaluate(() => document.querySelector("input[name=source]:checked").value);
    await close();
    return { focused, language, source, fileShown: true };
  },

  // axe-core in each state of the page, on a wide screen in English and on a phone in Korean: what it objects to.
  async accessible({ actor, user, broken, long, bare }) {
    const source = readFileSync(fromPage.resolve("axe-core/axe.min.js"), "utf8");
    const [found, checked, wider] = [[], [], []];
    for (const [width, locale] of [[1180, "en-US"], [360, "ko-KR"]]) {
      let page, close;
      const look = async (state) => {
        await page.evaluate(`${source};0`);
        const { violations, passes } = await page.evaluate(() => axe.run(document));
        for (const { id, nodes } of violations) found.push(`${state} ${width}: ${id}: ${nodes.map((node) => node.html.slice(0, 90))}`);
        checked.push([`${state} ${width}`, passes.map(({ id }) => id)]);
        if (await page.evaluate(() => document.documentElement.scrollWidth > innerWidth)) wider.push(`${state} ${width}`);
      };
      const enter = async (options) => ({ page, close } = await openPage({ width, locale, ...options }));
      await enter({});
      await look("ready");
      await page.click("#camera");
      await page.waitForFunction(() => reon.state.problem);
      await look("no camera");
      await page.setInputFiles("#actor-file", broken);
      await page.waitForFunction(() => reon.state.notice[0] === "badVideo");
      await look("wrong file");
      await page.setInputFiles("#actor-file", long);
      await page.waitForFunction(() => reon.sides.actor.goOn);
      await look("long video");
      await page.click("#actor .go-on");
      await page.waitForFunction(() => reon.sides.actor.share > 0);
      await look("reading");
      await page.setInputFiles("#actor-file", actor);
      await page.waitForFunction(() => reon.sides.actor.performance);
      await page.check("input[value=file]", { force: true });
      await page.setInputFiles("#user-file", user);
      await page.waitForFunction(() => reon.state.result);
      await look("score");
      await close();
      await enter({ url: bare });
      await look("no model");
      await close();
      for (const [state, lost] of [["model lost", "**/model.onnx"], ["detector lost", "**/tiny_face*"]]) {
        await enter({ lost });
        await look(state);
        await close();
      }
    }
    return { found, checked, wider };
  },

  // Files that do not arrive: what is said, and whether the page asks for another model.
  async lost() {
    const said = {};
    for (const [name, lost] of [["model", "**/model.onnx"], ["runtime", "**/*.packed"], ["detector", "**/tiny_face*"]]) {
      const { page, errors, close } = await openPage({ lost });
      said[name] = { notice: await notice(page), picker: await page.isVisible("#model-picker"), errors };
      await close();
    }
    return said;
  },

  // The page in a folder of a host that sends no headers and does not know WebAssembly, .mjs or JSON.
  async below({ url, actor, user }) {
    const { page, requests, errors, missing, close } = await openPage({ url });
    await page.setInputFiles("#actor-file", actor);
    await page.waitForFunction(() => reon.sides.actor.performance);
    await page.check("input[value=file]", { force: true });
    await page.setInputFiles("#user-file", user);
    await page.waitForFunction(() => reon.state.result);
    const found = { score: await page.textContent("#score"), requests, errors, missing, unstarted: await page.locator("#unstarted").count() };
    await close();
    return found;
  },

  // Milliseconds from a cold cache to the page's text, to a page that is ready, and from a video that is chosen to the first bars; cpu:
  // of the page's own thread until it is ready, which other work on the machine does not lengthen; bytes that were sent.
  // network: {mbit, latency} of the connection, or null.
  async loading({ actor, network }) {
    const { page, close } = await openPage({ url: "about:blank", ready: false });
    const session = await page.context().newCDPSession(page);
    await session.send("Network.enable");
    await session.send("Performance.enable", { timeDomain: "threadTicks" });
    const busy = async () => 1000 * (await session.send("Performance.getMetrics")).metrics.find(({ name }) => name === "TaskDuration").value;
    const bytes = (network?.mbit * 1e6) / 8;
    if (network) await session.send("Network.emulateNetworkConditions", { offline: false, latency: network.latency, downloadThroughput: bytes, uploadThroughput: bytes });
    let sent = 0;
    session.on("Network.loadingFinished", ({ encodedDataLength }) => (sent += encodedDataLength));
    await page.goto(task.url);
    await page.evaluate(() => window.reon.ready);
    const [ready, cpu] = [await page.evaluate(() => performance.now()), await busy()];
    const shown = await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0].startTime);
    await page.evaluate(() => {
      document.addEventListener("change", () => (window.chosen = performance.now()), { capture: true, once: true });
      const bars = document.querySelector("#actor .bars");
      const answered = () => [...bars.querySelectorAll(".value")].some((value) => value.textContent !== "–");
      window.answer = new Promise((resolve) => new MutationObserver(() => answered() && resolve(performance.now() - window.chosen)).observe(bars, { childList: true, subtree: true, characterData: true }));
    });
    await page.setInputFiles("#actor-file", actor);
    const answer = await page.evaluate(() => window.answer);
    await close();
    return { shown, ready, answer, cpu, sent };
  },

  async nomodel({ url, files }) {
    const { page, close } = await openPage({ url });
    const found = { first: await notice(page), camera: await page.isDisabled("#camera") };
    await page.setInputFiles("#model-files", files.slice(0, 1));
    await page.waitForFunction(() => reon.state.notice[0] === "badModel");
    found.half = await notice(page);
    await page.setInputFiles("#model-files", files);
    await page.waitForFunction(() => reon.state.classifier);
    Object.assign(found, { both: await notice(page), info: await page.textContent("#model-info") });
    found.threads = await page.evaluate(() => [crossOriginIsolated, reon.state.classifier.threads]);
    await close();
    return found;
  },
};

const answers = {};
for (const [name, options] of Object.entries(task.scenarios)) {
  answers[name] = await scenarios[name](options).then(
    (value) => ({ value }),
    (error) => ({ error: error.stack }),
  );
}
await browser.close();
console.log(JSON.stringify(answers));
