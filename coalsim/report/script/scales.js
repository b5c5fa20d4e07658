// Scales: from values to pixels, with ticks at round values.

/** Round steps between two ends, about `count` of them. */
function linearTicks(low, high, count) {
  const rough = (high - low) / Math.max(1, count);
  if (!(rough > 0)) return [low];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough * 0.999) ?? 10);
  const ticks = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high * (1 + 1e-9) + step * 1e-9; at++) ticks.push(at * step);
  return ticks;
}

/** Powers of ten between two ends, with 2 and 5 where there are few of them. */
function logTicks(low, high) {
  const decades = Math.log10(high / low);
  const factors = decades < 2.2 ? [1, 2, 5] : [1];
  const every = Math.max(1, Math.ceil(decades / 8));
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += every) {
    for (const factor of factors) {
      const value = factor * 10 ** power;
      if (value >= low * 0.999 && value <= high * 1.001) ticks.push(value);
    }
  }
  return ticks.length > 1 ? ticks : linearTicks(low, high, 4);
}

function linearScale([low, high], [from, to]) {
  const span = high - low || 1;
  return (value) => from + ((value - low) / span) * (to - from);
}

function logScale([low, high], [from, to]) {
  const span = Math.log(high / low) || 1;
  return (value) => from + (Math.log(Math.max(value, low) / low) / span) * (to - from);
}

/** The domain of values from 0, or around them on a logarithmic scale. */
function domainOf(lows, highs, isLog) {
  if (isLog) {
    const positive = [...lows, ...highs].filter((value) => value > 0);
    if (!positive.length) return [1, 10];
    const low = Math.min(...positive), high = Math.max(...positive);
    return low === high ? [low / 2, high * 2] : [low / 1.12, high * 1.12];
  }
  const low = Math.min(0, ...lows), high = Math.max(0, ...highs);
  return low === high ? [0, 1] : [low * 1.04, high * 1.04];
}

/** Ticks whose labels do not run into each other: [pixel, words], from left to right. */
function thinned(ticks, room) {
  const kept = [];
  let free = -Infinity;
  for (const [at, words] of [...ticks].sort((a, b) => a[0] - b[0])) {
    const half = words.length * 3.4 + room;
    if (at - half < free) continue;
    kept.push([at, words]);
    free = at + half;
  }
  return kept;
}
