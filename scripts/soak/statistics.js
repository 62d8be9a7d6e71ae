'use strict';

// How a trend is told from noise.

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/**
 * The slope of points `[x, y]` by Theil and Sen: the median of the slopes of all pairs. A third of the
 * points may be anything without moving it.
 */
function slope(points) {
  const slopes = [];
  points.forEach(([x1, y1], i) => {
    for (const [x2, y2] of points.slice(i + 1)) slopes.push((y2 - y1) / (x2 - x1));
  });
  return slopes.length === 0 ? 0 : median(slopes);
}

module.exports = { median, slope };
