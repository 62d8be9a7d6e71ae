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
    text = `${lost.reason ? `Closed: ${lost.reason}` : 'Out of reach'}, retrying`;
  }
  $('link').dataset.state = state;
  $('link-retry').hidden = state !== 'closed';
  // Only what has changed is announced.
  if ($('link-text').textContent !== text) $('link-text').textContent = text;
}

$('link-retry').onclick = () => Link.all.forEach((link) => link.retry());
addEventListener('online', () => Link.all.forEach((link) => link.retry()));

// --------------------------------------------------------------------- figures

/** Puts a number with a small unit into an element. */
function showNumber(element, [number, unit]) {
  element.replaceChildren(number);
  if (unit) element.append(make('small', '', unit));
}

const { Chart, reading } = window.figures;
const chart = new Chart($('chart'));

/** What the server told last. */
let latest = null;

function showPoint(point) {
  latest = point;
  for (const output of document.querySelectorAll('[data-figure]')) {
    const name = output.dataset.figure;
    showNumber(output, reading(name, point[name]));
  }
}

new Link('/stats', {
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
    delete $('figures').dataset.stale;
    chart.isLive = true;
  },
  close() {
    $('chart-note').textContent = 'Waiting for the server';
    $('chart-note').hidden = false;
    $('figures').dataset.stale = '';
    chart.isLive = false;
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
  $('load-button').textContent = load ? 'Stop load' : 'Start load';
  $('load-button').toggleAttribute('data-running', load !== null);
  $('load-button').disabled = !load && !echo.isOpen;
  // Figures that change every second are not read out.
  $('load-text').setAttribute('aria-live', load ? 'off' : 'polite');
  $('load-text').textContent = text;
}

/** Tells the worker what is wanted, at the start and whenever a control is moved. */
function steerLoad() {
  const sockets = Number($('load-sockets').value);
  $('load-sockets-shown').value = sockets;
  load?.worker.postMessage({
    url: new URL('/echo', SOCKETS).href,
    sockets,
    rate: Number($('load').elements.rate.value),
  });
}

function startLoad() {
  const worker = new Worker('load.js');
  load = { worker, timer: setTimeout(() => stopLoad('Stopped after two minutes.'), LOAD_LIMIT) };
  let before = { at: performance.now(), received: 0 };
  worker.onmessage = ({ data: { open, lost, received } }) => {
    const at = performance.now();
    const echoes = Math.round(((received - before.received) * 1000) / (at - before.at));
    before = { at, received };
    if (open === 0 && lost > 0) stopLoad('The sockets have closed: the server is gone, or full.');
    else showLoad(describeLoad(open, lost, echoes));
  };
  worker.onerror = () => stopLoad('The load could not be started.');
  showLoad('Opening sockets.');
  steerLoad();
}

function describeLoad(open, lost, echoes) {
  const parts = [`${open} sockets, ${echoes.toLocaleString('en')} echoes a second`];
  if (lost > 0) parts.push(`${lost} sockets lost`);
  if (latest?.messages > 1000) {
    const microseconds = (latest.cpu * 10_000) / latest.messages;
    parts.push(`${microseconds.toFixed(1)} µs of the server’s CPU for each message`);
  }
  return `${parts.join('; ')}.`;
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
$('load').oninput = steerLoad;
steerLoad();

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
  $('load-button').disabled = !isEnabled && !load;
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
let lastSaid = '';

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
    $('chat-hint').textContent = '';
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
      $('chat-hint').textContent = 'That was a bit fast. Send it again in a moment.';
      $('chat-text').value ||= lastSaid;
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
  if (!text || !chat.send(JSON.stringify({ type: 'say', text }))) return;
  lastSaid = text;
  $('chat-text').value = '';
};

$('chat-name').value = storedName() ?? '';
$('chat-name').onchange = ({ target }) => {
  const name = target.value.trim();
  if (!name) target.value = storedName() ?? '';
  else chat.send(JSON.stringify({ type: 'join', name }));
};
$('chat-name').onkeydown = ({ key, target }) => key === 'Enter' && target.blur();

enableChat(false);
