'use strict';

// The figures of the server: how they read, and the line that one of them draws.

{
  /** A number and its unit, short: 12,345 or 678 k. Only those that change keep a last zero. */
  function short(value, isFixed, units = ['', 'k', 'M', 'G'], step = 1000) {
    let scaled = value;
    let unit = 0;
    // Five digits are still easily read.
    while (scaled >= (unit === 0 && step === 1000 ? 100_000 : step) && unit < units.length - 1) {
      scaled /= step;
      unit += 1;
    }
    const digits = unit === 0 || scaled >= 100 ? 0 : 1;
    const options = { minimumFractionDigits: isFixed ? digits : 0, maximumFractionDigits: digits };
    return [scaled.toLocaleString('en', options), units[unit]];
  }

  const BYTES = ['B', 'KiB', 'MiB', 'GiB'];

  /** Each figure, and the smallest full height of its chart. */
  const FIGURES = {
    messages: { name: 'Messages a second', least: 10 },
    bytes: { name: 'Bytes a second', least: 1024, isBytes: true },
    connections: { name: 'Connections', least: 5 },
    handles: { name: 'libuv handles', least: 5 },
    memory: { name: 'Memory', least: 64 * 2 ** 20, isBytes: true },
    cpu: { name: 'CPU, of one core', least: 10, unit: '%' },
  };

  /** The number of a figure and its unit. */
  function reading(name, value, isFixed = true) {
    const { isBytes, unit } = FIGURES[name];
    if (unit) return [value.toFixed(isFixed && value < 10 ? 1 : 0), unit];
    return isBytes ? short(value, isFixed, BYTES, 1024) : short(value, isFixed);
  }

  function formatted(name, value, isFixed) {
    return reading(name, value, isFixed).filter(Boolean).join(' ');
  }

  /** The line of one figure over the last minute. It moves, unless the reader prefers not. */
  class Chart {
    static SPAN = 60_000;

    #canvas;
    #points = [];
    #figure = 'messages';
    #top = 0;
    #pointer = null;
    #isStill = matchMedia('(prefers-reduced-motion: reduce)');
    #colours = {};
    #isLive = false;
    #frame = 0;

    constructor(canvas) {
      this.#canvas = canvas;
      new ResizeObserver(() => this.draw()).observe(canvas);
      const scheme = matchMedia('(prefers-color-scheme: dark)');
      scheme.addEventListener('change', () => this.#readColours());
      canvas.addEventListener('pointermove', ({ offsetX }) => this.#point(offsetX));
      canvas.addEventListener('pointerleave', () => this.#point(null));
      this.#readColours();
    }

    set figure(name) {
      this.#figure = name;
      this.#top = 0;
      this.describe();
      this.draw();
    }

    /** Whether news come: without, the line stands still. */
    set isLive(isLive) {
      this.#isLive = isLive;
      this.draw();
    }

    /** Replaces what is known; `at` of each point is a time of performance.now(). */
    set points(points) {
      this.#points = points;
      this.draw();
    }

    add(point) {
      this.#points.push(point);
      const oldest = point.at - Chart.SPAN - 5000;
      while (this.#points.length > 2 && this.#points[1].at < oldest) this.#points.shift();
      this.draw();
    }

    /** The same in words, for those who do not see the line. */
    describe() {
      const values = this.#points.map((point) => point[this.#figure]);
      const { name } = FIGURES[this.#figure];
      const say = (value) => formatted(this.#figure, value);
      this.#canvas.setAttribute(
        'aria-label',
        values.length === 0
          ? `${name}: no figures yet`
          : `${name} over the last minute: now ${say(values.at(-1))}, ` +
              `lowest ${say(Math.min(...values))}, highest ${say(Math.max(...values))}`,
      );
    }

    draw() {
      if (!this.#frame) this.#frame = requestAnimationFrame(() => this.#paint());
    }

    #point(x) {
      this.#pointer = x;
      this.draw();
    }

    #readColours() {
      const style = getComputedStyle(document.documentElement);
      for (const name of ['accent', 'card', 'ink', 'line', 'soft', 'sans']) {
        this.#colours[name] = style.getPropertyValue(`--${name}`).trim();
      }
      this.draw();
    }

    /** The smallest round number that is not below the value, and whose half is round too. */
    #niceTop(value) {
      const { isBytes } = FIGURES[this.#figure];
      const base = isBytes ? 1024 ** Math.floor(Math.log(value) / Math.log(1024)) : 1;
      const power = 10 ** Math.floor(Math.log10(value / base));
      const factor = [1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10].find(
        (each) => each * power * base >= value * 0.999,
      );
      return factor * power * base;
    }

    #paint() {
      this.#frame = 0;
      const canvas = this.#canvas;
      const { clientWidth: width, clientHeight: height } = canvas;
      if (width === 0) return;
      const ratio = devicePixelRatio || 1;
      const size = [Math.round(width * ratio), Math.round(height * ratio)];
      if (canvas.width !== size[0]) canvas.width = size[0];
      if (canvas.height !== size[1]) canvas.height = size[1];
      const context = canvas.getContext('2d');
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      context.clearRect(0, 0, width, height);

      // The right edge is behind by more than a second: each point slides in when it has come.
      const isStill = this.#isStill.matches || !this.#isLive;
      const last = this.#points.at(-1)?.at ?? performance.now();
      const right = isStill ? last : Math.min(performance.now() - 1100, last);
      const left = right - Chart.SPAN;
      const shown = this.#points.filter((point) => point.at >= left - 2500);
      const values = shown.map((point) => point[this.#figure]);

      const target = this.#niceTop(Math.max(FIGURES[this.#figure].least, ...values));
      if (this.#top === 0 || isStill) this.#top = target;
      else this.#top += (target - this.#top) * 0.12;
      const isSettled = Math.abs(target - this.#top) < target * 0.002;
      if (isSettled) this.#top = target;

      const area = { left: 0, right: width - 1, top: 18, bottom: height - 20 };
      const x = (at) => area.left + ((at - left) / Chart.SPAN) * (area.right - area.left);
      const y = (value) => area.bottom - (value / this.#top) * (area.bottom - area.top);
      this.#paintGrid(context, area, target, y);
      if (shown.length > 1) this.#paintLine(context, area, shown, x, y);
      if (this.#pointer !== null) this.#paintReading(context, area, shown, x, y);
      if (!document.hidden && !(isStill && isSettled)) this.draw();
    }

    #paintGrid(context, area, top, y) {
      const { line, soft, sans } = this.#colours;
      context.font = `12px ${sans}`;
      context.fillStyle = soft;
      context.strokeStyle = line;
      context.lineWidth = 1;
      context.textAlign = 'left';
      context.textBaseline = 'alphabetic';
      for (const value of [0, top / 2, top]) {
        const at = Math.round(y(value)) + 0.5;
        // Out of sight until the scale has come to its new height.
        if (at < area.top - 2) continue;
        context.beginPath();
        context.moveTo(area.left, at);
        context.lineTo(area.right, at);
        context.stroke();
        if (value > 0) context.fillText(formatted(this.#figure, value, false), area.left, at - 5);
      }
      context.textBaseline = 'bottom';
      for (const [share, text] of [
        [0, '60 s ago'],
        [0.5, '30 s'],
        [1, 'now'],
      ]) {
        context.textAlign = share === 0 ? 'left' : share === 1 ? 'right' : 'center';
        context.fillText(text, area.left + share * (area.right - area.left), area.bottom + 20);
      }
    }

    /** A curve through the points that never rises above or falls below both its neighbours. */
    #paintLine(context, area, points, x, y) {
      const { accent, card } = this.#colours;
      context.save();
      context.beginPath();
      context.rect(area.left, 0, area.right - area.left + 1, area.bottom + 1);
      context.clip();
      const path = new Path2D();
      path.moveTo(x(points[0].at), y(points[0][this.#figure]));
      for (let index = 1; index < points.length; index += 1) {
        const [from, to] = [points[index - 1], points[index]];
        const middle = (x(from.at) + x(to.at)) / 2;
        const [start, end] = [y(from[this.#figure]), y(to[this.#figure])];
        path.bezierCurveTo(middle, start, middle, end, x(to.at), end);
      }
      const below = new Path2D(path);
      below.lineTo(x(points.at(-1).at), area.bottom);
      below.lineTo(x(points[0].at), area.bottom);
      const fade = context.createLinearGradient(0, area.top, 0, area.bottom);
      fade.addColorStop(0, `${accent}40`);
      fade.addColorStop(1, `${accent}08`);
      context.fillStyle = fade;
      context.fill(below);
      context.strokeStyle = accent;
      context.lineWidth = 2;
      context.lineJoin = 'round';
      context.stroke(path);
      context.restore();

      const last = points.at(-1);
      if (x(last.at) <= area.right + 1) {
        context.beginPath();
        context.arc(area.right - 3, y(last[this.#figure]), 4, 0, 2 * Math.PI);
        context.fillStyle = accent;
        context.strokeStyle = card;
        context.fill();
        context.stroke();
      }
    }

    /** What the line says below the pointer. */
    #paintReading(context, area, points, x, y) {
      const visible = points.filter((point) => x(point.at) >= 0 && x(point.at) <= area.right + 1);
      if (visible.length === 0) return;
      const distance = (point) => Math.abs(x(point.at) - this.#pointer);
      const point = visible.reduce((best, each) => (distance(each) < distance(best) ? each : best));
      const { accent, card, ink, sans, soft } = this.#colours;
      const [px, py] = [x(point.at), y(point[this.#figure])];
      context.strokeStyle = soft;
      context.lineWidth = 1;
      context.beginPath();
      context.moveTo(px, area.top);
      context.lineTo(px, area.bottom);
      context.stroke();
      context.beginPath();
      context.arc(px, py, 4, 0, 2 * Math.PI);
      context.fillStyle = accent;
      context.fill();
      const text = formatted(this.#figure, point[this.#figure]);
      context.font = `600 13px ${sans}`;
      const width = context.measureText(text).width + 16;
      const left = Math.max(0, Math.min(area.right - width, px - width / 2));
      const top = Math.max(0, py - 36);
      context.fillStyle = card;
      context.strokeStyle = soft;
      context.beginPath();
      context.roundRect(left + 0.5, top + 0.5, width, 25, 6);
      context.fill();
      context.stroke();
      context.fillStyle = ink;
      context.textAlign = 'center';
      context.textBaseline = 'middle';
      context.fillText(text, left + width / 2, top + 13.5);
    }
  }

  window.figures = { Chart, reading };
}
