'use strict';

// How a trend is told from noise.

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/**
 * How fast the floor under points `[x, y]` rises: from the lowest of the first third to the lowest of the
 * last. What is lost lifts every point behind it; what an allocator keeps for a while comes and goes.
 */
function rise(points) {
  if (points.length === 0) return 0;
  const third = Math.ceil(points.length / 3);
  const lowest = (some) => some.reduce((low, point) => (point[1] < low[1] ? point : low));
  const [x1, y1] = lowest(points.slice(0, third));
  const [x2, y2] = lowest(points.slice(-third));
  return x2 > x1 ? (y2 - y1) / (x2 - x1) : 0;
}

module.exports = { median, rise };
