// From a <video> to what a model sees in it, frame by frame: the face is followed from one frame to the next.
import { asHaar, chooseFace, cropFace, detectFaces, moved } from "./detector.js";
import { RATE, VIEWS } from "./score.js";

export class Watcher {
  constructor(video) {
    this.video = video;
    this.canvas = document.createElement("canvas");
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
    this.face = null;
  }

  // {face, probabilities, detectMs, classifyMs} of the frame that the video shows; both are null where no face is found. The probabilities
  // are the mean over the views; a camera has time for one.
  async look({ description, classify }, views = VIEWS.slice(0, 1)) {
    const { videoWidth: width, videoHeight: height } = this.video;
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    this.context.drawImage(this.video, 0, 0);
    const start = performance.now();
    const { choose, padding, detector } = description.face_crop;
    const whole = [{ box: [0, 0, width, height], score: 1 }];
    const faces = detector === "none" ? whole : await detectFaces(this.canvas);
    if (detector === "haar") for (const found of faces) found.box = asHaar(found.box);
    const face = chooseFace(faces, width, height, choose, this.face);
    const found = performance.now();
    if (face === null) return { face, probabilities: null, detectMs: found - start, classifyMs: 0 };
    this.face = face;
    const image = this.context.getImageData(0, 0, width, height);
    const each = [];
    for (const view of views) each.push(await classify(cropFace(image, moved(face.box, view), description.image_size, padding)));
    const probabilities = each[0].map((_, c) => each.reduce((sum, p) => sum + p[c], 0) / views.length);
    return { face, probabilities, detectMs: found - start, classifyMs: performance.now() - found };
  }
}

// The performance in a video file: the frame on display at the moments 0, 1 / RATE, ...; onLook(result, share done) after each.
export async function watchFile(watcher, classifier, onLook, isCancelled) {
  const { video } = watcher;
  const performance = { times: [], probabilities: [], duration: video.duration };
  const count = Math.max(1, Math.round(video.duration * RATE));
  for (let k = 0; k < count && !isCancelled(); k++) {
    await seek(video, Math.min(k / RATE + 0.001, video.duration)); // a little later: the frame that begins at this moment
    const result = await watcher.look(classifier, VIEWS);
    performance.times.push(k / RATE);
    performance.probabilities.push(result.probabilities);
    onLook(result, (k + 1) / count);
  }
  return performance;
}

// Rejects where the video breaks off.
export function seek(video, time) {
  return new Promise((resolve, reject) => {
    if (video.currentTime === time) return resolve();
    const done = new AbortController();
    const settle = (how) => (event) => {
      done.abort();
      how(event);
    };
    video.addEventListener("seeked", settle(resolve), { signal: done.signal });
    video.addEventListener("error", settle(reject), { signal: done.signal });
    if (video.error) return settle(reject)(video.error);
    video.currentTime = time;
  });
}
