// Two performances as curves of class probabilities, their alignment in time, and a score from 0 to 100.
// The algorithm of ../../scoring/performance.py, line for line; tests/reon_face/test_score.py compares the two on the same numbers.
// A performance: {times: [seconds], probabilities: [[C numbers] or null where no face was found], duration: seconds}.

export const RATE = 10; // moments per second of the common time grid
export const MAX_GAP = 0.3; // seconds: a moment with no face this near is a moment without a face
export const WARP_PENALTY = 0.15; // what dtw pays, as a distance, for each change of the shift by one moment
export const FACE_PIXELS = 32; // height and width at which faces are compared
// [right, down, size], in shares of the face's box: what a classifier says trembles with the detector's box
export const VIEWS = [
  [0, 0, 1],
  [-0.06, -0.04, 0.94],
  [0.06, -0.04, 1.06],
  [-0.06, 0.04, 1.06],
  [0.06, 0.04, 0.94],
];
const REACH = 8; // standard deviations of the kernel; what lies further away has weight 0
export const WORST_APART = 1.0; // seconds between two moments that are named as the worst
export const DEFAULTS = { alignment: "dtw", distance: "l1", smoothing: 0.3, maxShift: 1.0 };

// Probabilities at the moments 0, 1 / RATE, ...: the Gaussian-weighted mean of the frames around each; null: no face within MAX_GAP.
export function resample({ times, probabilities, duration }, smoothing) {
  const seen = times.map((time, i) => [time, probabilities[i]]).filter(([, p]) => p !== null);
  const reach = MAX_GAP + REACH * smoothing;
  let [first, last] = [0, 0]; // the frames within reach
  return Array.from({ length: Math.max(1, roundHalfEven(duration * RATE)) }, (_, k) => {
    while (first < seen.length && seen[first][0] < k / RATE - reach) first++;
    while (last < seen.length && seen[last][0] < k / RATE + reach) last++;
    const near = seen.slice(first, last);
    const squared = near.map(([time]) => (k / RATE - time) ** 2);
    const nearest = squared.reduce((a, b) => Math.min(a, b), Infinity);
    if (nearest > MAX_GAP ** 2) return null;
    const weights = squared.map((d) => Math.exp((nearest - d) / (2 * smoothing ** 2)));
    const total = sum(weights);
    return near[0][1].map((_, c) => sum(near.map(([, p], i) => weights[i] * p[c])) / total);
  });
}

// 0 to 1. l1: total variation. js: the Jensen-Shannon distance, base 2.
export function distance(p, q, kind) {
  if (kind === "l1") return sum(p.map((value, c) => Math.abs(value - q[c]))) / 2;
  const middle = p.map((value, c) => (value + q[c]) / 2);
  return Math.sqrt(Math.min(1, Math.max(0, (relativeEntropy(p, middle) + relativeEntropy(q, middle)) / 2)));
}

const relativeEntropy = (p, q) => sum(p.map((value, c) => (value > 0 ? value * Math.log2(value / q[c]) : 0)));

// [T][2 maxSteps + 1]: actor's moment t against the user's moment t + s; 1 where the user has none or no face, 0 where the actor has no face.
export function shiftCosts(actor, user, maxSteps, kind) {
  return actor.map((p, t) =>
    Array.from({ length: 2 * maxSteps + 1 }, (_, column) => {
      if (p === null) return 0;
      const q = user[t + column - maxSteps];
      return q === undefined || q === null ? 1 : distance(p, q, kind);
    }),
  );
}

// The column of each row with the lowest sum: of all paths whose column changes by at most 1 (dtw), of all constant ones, or the middle one.
export function align(costs, alignment) {
  const width = costs[0].length;
  const middle = (width - 1) / 2;
  const fromMiddle = Array.from({ length: width }, (_, column) => column).sort((a, b) => Math.abs(a - middle) - Math.abs(b - middle));
  const lowest = (totals) => fromMiddle.reduce((best, column) => (totals[column] < totals[best] ? column : best));
  if (alignment === "none") return costs.map(() => middle);
  if (alignment === "offset") {
    const best = lowest(costs[0].map((_, column) => sum(costs.map((row) => row[column]))));
    return costs.map(() => best);
  }
  let totals = costs[0];
  const steps = costs.map(() => new Array(width).fill(0));
  for (let t = 1; t < costs.length; t++) {
    totals = costs[t].map((cost, column) => {
      let best = totals[column];
      for (const step of [-1, 1]) {
        const total = totals[column + step] + WARP_PENALTY; // NaN beyond the edge
        if (total < best) [best, steps[t][column]] = [total, step];
      }
      return best + cost;
    });
  }
  const path = new Array(costs.length);
  path[costs.length - 1] = lowest(totals);
  for (let t = costs.length - 1; t > 0; t--) path[t - 1] = path[t] + steps[t][path[t]];
  return path;
}

// {score, stillScore, meanDistanceScore, times, actor, user, costs, shifts} on the actor's time grid; null where a face was not seen.
// Throws where the actor's face is never seen.
export function compare(actor, user, options = {}) {
  const { alignment, distance: kind, smoothing, maxShift } = { ...DEFAULTS, ...options };
  const [actorCurve, userCurve] = [actor, user].map((performance) => resample(performance, smoothing));
  const seen = actorCurve.filter((p) => p !== null);
  if (!seen.length) throw new Error("no-actor-face");
  const maxSteps = alignment === "none" ? 0 : roundHalfEven(maxShift * RATE);
  const costs = shiftCosts(actorCurve, userCurve, maxSteps, kind);
  const path = align(costs, alignment);
  const chosen = costs.map((row, t) => (actorCurve[t] === null ? null : row[path[t]]));
  const mean = meanOf(seen);
  const userSeen = userCurve.filter((p) => p !== null);
  return {
    score: toScore(sum(chosen.filter((cost) => cost !== null)) / seen.length),
    stillScore: toScore(sum(seen.map((p) => distance(p, mean, kind))) / seen.length),
    meanDistanceScore: toScore(userSeen.length ? distance(mean, meanOf(userSeen), kind) : 1),
    times: costs.map((_, t) => t / RATE),
    actor: actorCurve,
    user: path.map((column, t) => userCurve[t + column - maxSteps] ?? null),
    costs: chosen,
    shifts: path.map((column) => (column - maxSteps) / RATE),
  };
}

// Indices of the moments that cost most, highest first, at least WORST_APART seconds from one another.
export function worstMoments({ times, costs }, count) {
  const chosen = [];
  const order = costs.map((_, t) => t).sort((a, b) => (costs[b] ?? 0) - (costs[a] ?? 0) || a - b);
  for (const t of order) {
    if (chosen.length < count && costs[t] > 0 && chosen.every((other) => Math.abs(times[t] - times[other]) >= WORST_APART)) chosen.push(t);
  }
  return chosen;
}

const toScore = (value) => 100 * (1 - value);
const sum = (values) => values.reduce((a, b) => a + b, 0);
const meanOf = (rows) => rows[0].map((_, c) => sum(rows.map((row) => row[c])) / rows.length);

// As Python rounds: halves to the even neighbour.
function roundHalfEven(value) {
  const rounded = Math.round(value);
  return Math.abs(value % 1) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}
