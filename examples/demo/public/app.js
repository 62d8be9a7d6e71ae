'use strict';

// The page of the demo: three WebSockets to the server that it came from, each of
// which comes back by itself when the server does. No framework, no build.

const $ = (id) => document.getElementById(id);

const SOCKETS = new URL('/', location.href);
SOCKETS.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';

/** The first try again comes after this many milliseconds, each further one later. */
const FIRST_RETRY = 500;
const LAST_RETRY = 8000;

/** A connection attempt that takes longer is given up. */
const CONNECT_TIMEOUT = 5000;

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

// ---------------------------------------------------------------- connections

/** A WebSocket that is opened again whenever it has closed. */
class Link {
  static all = [];

  #path;
  #handlers;
  #attempts = 0;
  #timer = 0;
  #socket = null;

  state = 'connecting';
  retryAt = 0;
  reason = '';

  constructor(path, handlers) {
    this.#path = path;
    this.#handlers = handlers;
    Link.all.push(this);
    this.#connect();
  }

  get isOpen() {
    return this.state === 'open';
  }

  send(text) {
    if (this.isOpen) this.#socket.send(text);
    return this.isOpen;
  }

  /** Does not wait for the next try. */
  retry() {
    if (this.state !== 'closed') return;
    clearTimeout(this.#timer);
    this.#connect();
  }

  #connect() {
    this.#enter('connecting');
    const socket = new WebSocket(new URL(this.#path, SOCKETS));
    this.#socket = socket;
    this.#timer = setTimeout(() => socket.close(), CONNECT_TIMEOUT);
    socket.onopen = () => {
      clearTimeout(this.#timer);
      this.#attempts = 0;
      this.reason = '';
      this.#enter('open');
      this.#handlers.open?.();
    };
    socket.onmessage = ({ data }) => this.#handlers.message(data);
    socket.onclose = ({ reason }) => {
      clearTimeout(this.#timer);
      const wait = Math.min(LAST_RETRY, FIRST_RETRY * 2 ** this.#attempts);
      this.#attempts += 1;
      this.reason = reason || this.reason;
      this.retryAt = performance.now() + wait;
      this.#timer = setTimeout(() => this.#connect(), wait);
      this.#enter('closed');
      this.#handlers.close?.();
    };
  }

  #enter(state) {
    this.state = state;
    showLinks();
  }
}

/** Whether the page has been connected at all: then what comes next is a reconnection. */
let wasConnected = false;

/** Tells in one line how the three connections are. */
function showLinks() {
  const states = Link.all.map((link) => link.state);
  const lost = Link.all.find((link) => link.state === 'closed');
  let state = 'connecting';
  let text = wasConnected ? 'Reconnecting' : 'Connecting';
  if (states.every((each) => each === 'open')) {
    state = 'open';
    text = 'Connected';
    wasConnected = true;
  } else if (lost) {
    state = 'closed';
    const why = lost.reason ? `Closed: ${lost.reason}` : 'Server out of reach';
    text = `${why}, trying again`;
  }
  $('link').dataset.state = state;
  $('link-retry').hidden = state !== 'closed';
  // Only what has changed is announced.
  if ($('link-text').textContent !== text) $('link-text').textContent = text;
}

$('link-retry').onclick = () => Link.all.forEach((link) => link.retry());
addEventListener('online', () => Link.all.forEach((link) => link.retry()));

// --------------------------------------------------------------------- figures

/** A number and its unit, short: 1,234 or 56.7 k. */
function short(value, units = ['', 'k', 'M', 'G'], step = 1000) {
  let scaled = value;
  let unit = 0;
  // Four digits are still easily read.
  while (scaled >= (unit === 0 && step === 1000 ? 10_000 : step) && unit < units.length - 1) {
    scaled /= step;
    unit += 1;
  }
  const digits = unit === 0 || scaled >= 100 ? 0 : 1;
  return [
    scaled.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits }),
    units[unit],
  ];
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
function reading(name, value) {
  const { isBytes, unit } = FIGURES[name];
  if (unit) return [value.toFixed(value < 10 ? 1 : 0), unit];
  return isBytes ? short(value, BYTES, 1024) : short(value);
}

function formatted(name, value) {
  return reading(name, value).filter(Boolean).join(' ');
}

/** Puts a number with a small unit into an element. */
function showNumber(element, [number, unit]) {
  element.replaceChildren(number);
  if (unit) element.append(make('small', '', unit));
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

  /** The smallest of 1, 2, 2.5, 5 and 10 times a power of ten that is not below the value. */
  #niceTop(value) {
    const { isBytes } = FIGURES[this.#figure];
    const base = isBytes ? 1024 ** Math.floor(Math.log(value) / Math.log(1024)) : 1;
    const power = 10 ** Math.floor(Math.log10(value / base));
    const factor = [1, 2, 2.5, 5, 10].find((each) => each * power * base >= value * 0.999);
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

    // The right edge is a second behind, so that each point slides in when it has come.
    const isStill = this.#isStill.matches || stats.state !== 'open';
    const last = this.#points.at(-1)?.at ?? performance.now();
    const right = isStill ? last : Math.min(performance.now() - 1000, last);
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
      context.beginPath();
      context.moveTo(area.left, at);
      context.lineTo(area.right, at);
      context.stroke();
      if (value > 0) context.fillText(formatted(this.#figure, value), area.left, at - 5);
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

/** The connection to /stats. The chart asks for its state: a line without news stands still. */
let stats = { state: 'connecting' };
const chart = new Chart($('chart'));

function showPoint(point) {
  for (const output of document.querySelectorAll('[data-figure]')) {
    const name = output.dataset.figure;
    showNumber(output, reading(name, point[name]));
  }
}

stats = new Link('/stats', {
  message(text) {
    const message = JSON.parse(text);
    const now = performance.now();
    if (message.type === 'history') {
      $('versions').textContent = `Node ${message.node}, libuv ${message.libuv}`;
      // The server's clock may differ: its points are a second apart, the last is new.
      const last = message.points.at(-1)?.at;
      chart.points = message.points.map((point) => ({ ...point, at: now + point.at - last }));
      if (message.points.length > 0) showPoint(message.points.at(-1));
    } else {
      chart.add({ ...message.point, at: now });
      showPoint(message.point);
    }
    $('chart-note').hidden = true;
  },
  close() {
    $('chart-note').textContent = 'The line goes on when the server is back';
    $('chart-note').hidden = false;
    chart.draw();
  },
});

for (const input of document.querySelectorAll('[name="figure"]')) {
  input.onchange = () => (chart.figure = input.value);
  if (input.checked) chart.figure = input.value;
}
setInterval(() => chart.describe(), 5000);
document.addEventListener('visibilitychange', () => chart.draw());

// ------------------------------------------------------------------------ load

/** A load that somebody forgot ends by itself after this many milliseconds. */
const LOAD_LIMIT = 120_000;

let load = null;

function showLoad(text) {
  const isRunning = load !== null;
  $('load-button').textContent = isRunning ? 'Stop load' : 'Start load';
  $('load-button').toggleAttribute('data-running', isRunning);
  for (const input of $('load').querySelectorAll('input')) input.disabled = isRunning;
  $('load-text').textContent = text;
}

function startLoad() {
  const sockets = Number($('load-sockets').value);
  const rate = Number($('load').elements.rate.value);
  const worker = new Worker('load.js');
  let before = { at: performance.now(), received: 0 };
  load = { worker, timer: setTimeout(() => stopLoad('Stopped after two minutes.'), LOAD_LIMIT) };
  worker.onmessage = ({ data: { open, failed, received } }) => {
    const at = performance.now();
    if (open === 0 && failed === sockets) return stopLoad('No socket could be opened.');
    // Twice a second is enough to read, and to be read out.
    if (at - before.at < 900) return;
    const echoes = Math.round(((received - before.received) * 1000) / (at - before.at));
    before = { at, received };
    const gone = failed > 0 ? `, ${failed} refused` : '';
    showLoad(
      `${open} of ${sockets} sockets open${gone}, ${echoes.toLocaleString('en')} echoes a second.`,
    );
    if (open === 0 && received > 0) stopLoad('The sockets of the load have closed.');
  };
  worker.onerror = () => stopLoad('The load could not be started.');
  worker.postMessage({ url: new URL('/echo', SOCKETS).href, sockets, rate });
  showLoad(`Opening ${sockets} sockets.`);
}

function stopLoad(text) {
  load?.worker.terminate();
  clearTimeout(load?.timer);
  load = null;
  showLoad(text);
}

$('load').onsubmit = (event) => {
  event.preventDefault();
  if (load) stopLoad('Stopped: the browser has dropped the sockets.');
  else startLoad();
};
$('load-sockets').oninput = ({ target }) => ($('load-sockets-shown').value = target.value);
$('load-sockets-shown').value = $('load-sockets').value;

// ------------------------------------------------------------------------ echo

const ECHOES_SHOWN = 3;
const MANY = 100;

/** Messages that have not come back yet, oldest first: echoes keep their order. */
const awaited = [];

const echo = new Link('/echo', {
  open: () => enableEcho(true),
  message(text) {
    const { sent, done } = awaited.shift();
    done(performance.now() - sent, text);
  },
  close() {
    awaited.length = 0;
    enableEcho(false);
  },
});

function enableEcho(isEnabled) {
  $('echo-send').disabled = !isEnabled;
  $('echo-many').disabled = !isEnabled;
}

/** Sends a text and calls back with the milliseconds it took to come back. */
function measure(text, done) {
  const sent = performance.now();
  if (echo.send(text)) awaited.push({ sent, done });
}

function trip(milliseconds) {
  if (milliseconds < 1) return [String(Math.round(milliseconds * 1000)), 'µs'];
  return [milliseconds.toFixed(milliseconds < 10 ? 2 : 0), 'ms'];
}

function showEcho(milliseconds, note, text) {
  showNumber($('trip'), trip(milliseconds));
  $('trip-note').textContent = note;
  const line = make('li');
  line.append(make('span', 'text', text), make('span', 'time', trip(milliseconds).join(' ')));
  $('echo-list').prepend(line);
  while ($('echo-list').children.length > ECHOES_SHOWN) $('echo-list').lastChild.remove();
  $('echo-empty').hidden = true;
}

$('echo').onsubmit = (event) => {
  event.preventDefault();
  measure($('echo-text').value, (time, text) =>
    showEcho(time, 'there and back', text || '(empty)'),
  );
};

$('echo-many').onclick = () => {
  const text = $('echo-text').value;
  const times = [];
  $('echo-many').disabled = true;
  const next = () =>
    measure(text, (time) => {
      times.push(time);
      if (times.length < MANY) return next();
      times.sort((a, b) => a - b);
      const [fastest, slowest] = [times[0], times.at(-1)].map((each) => trip(each).join(' '));
      const note = `median of ${MANY} in a row`;
      showEcho(times[MANY / 2], note, `${MANY} in a row: ${fastest} to ${slowest}`);
      $('echo-many').disabled = !echo.isOpen;
    });
  next();
};

enableEcho(false);

// ------------------------------------------------------------------------ chat

const HUES = 8;
const LINES_KEPT = 200;

/** A tab that has no name yet gets one of these. */
const NAMES = ['Ada', 'Alan', 'Barbara', 'Donald', 'Edsger', 'Grace', 'Hedy', 'Ken', 'Radia'];

let me = 0;

/** The name of this tab: each tab of a browser is a person of its own. */
function storedName() {
  try {
    return sessionStorage.getItem('name');
  } catch {
    return null;
  }
}

function storeName(name) {
  try {
    sessionStorage.setItem('name', name);
  } catch {
    // A page without storage asks again next time.
  }
}

const chat = new Link('/chat', {
  open() {
    const name = $('chat-name').value.trim() || NAMES[Math.floor(Math.random() * NAMES.length)];
    chat.send(JSON.stringify({ type: 'join', name }));
  },
  message: (text) => hear(JSON.parse(text)),
  close() {
    enableChat(false);
    $('chat-people').replaceChildren();
  },
});

function enableChat(isEnabled) {
  $('chat-text').disabled = !isEnabled;
  $('chat-send').disabled = !isEnabled;
  $('chat-text').placeholder = isEnabled ? 'Say something' : 'Waiting for the server';
}

function hear(message) {
  $('chat-hint').textContent = '';
  if (message.people) showPeople(message.people, message.type === 'welcome' ? message.id : me);
  switch (message.type) {
    case 'welcome':
      me = message.id;
      rename(message.name);
      $('chat-log').replaceChildren();
      $('chat-empty').hidden = message.history.length > 0;
      message.history.forEach(showLine);
      enableChat(true);
      break;
    case 'said':
      showLine(message);
      break;
    case 'joined':
      showNote(`${message.name} is here`);
      break;
    case 'left':
      showNote(`${message.name} has left`);
      break;
    case 'renamed':
      if (message.id === me) rename(message.name);
      showNote(`${message.old} is now ${message.name}`);
      break;
    case 'slow':
      $('chat-hint').textContent = 'That was a bit fast: the last one was not sent.';
      break;
  }
}

function rename(name) {
  $('chat-name').value = name;
  storeName(name);
}

function showPeople(people, self) {
  const shown = people.map(({ id, name }) => {
    const person = make('li', id === self ? 'self' : '', id === self ? `${name} (you)` : name);
    person.dataset.hue = id % HUES;
    return person;
  });
  $('chat-people').replaceChildren(...shown);
}

function showLine({ id, name, text, at }) {
  const time = new Date(at);
  const line = make('li');
  const who = make('span', 'who', name);
  who.dataset.hue = id % HUES;
  const when = make(
    'time',
    '',
    time.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }),
  );
  when.dateTime = time.toISOString();
  line.append(who, make('span', 'what', text), when);
  append(line);
}

function showNote(text) {
  append(make('li', 'note', text));
}

/** Adds to the log, and stays at its end unless the reader has scrolled back. */
function append(line) {
  const log = $('chat-log');
  const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  log.append(line);
  while (log.children.length > LINES_KEPT) log.firstChild.remove();
  if (isAtEnd) log.scrollTop = log.scrollHeight;
  if (line.className !== 'note') $('chat-empty').hidden = true;
}

$('chat').onsubmit = (event) => {
  event.preventDefault();
  const text = $('chat-text').value.trim();
  if (text && chat.send(JSON.stringify({ type: 'say', text }))) $('chat-text').value = '';
};

$('chat-name').value = storedName() ?? '';
$('chat-name').onchange = ({ target }) => {
  const name = target.value.trim();
  if (!name) target.value = storedName() ?? '';
  else chat.send(JSON.stringify({ type: 'join', name }));
};
$('chat-name').onkeydown = ({ key, target }) => key === 'Enter' && target.blur();

enableChat(false);
