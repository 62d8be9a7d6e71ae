'use strict';

// The load, in a worker of the page: the page stays smooth whatever happens here.
//
// Gets { url, sockets, rate } once, tells { open, failed, sent, received } four times a
// second, and ends when the page terminates it: the browser then closes the sockets.

/** How many echoes may be on their way per socket. Whoever does not keep up gets no more. */
const IN_FLIGHT = 16;

/** Messages of a paced load leave in small groups, this often. */
const PACE = 20;

const PAYLOAD = 'x'.repeat(32);

self.onmessage = ({ data: { url, sockets, rate } }) => {
  const counts = { open: 0, failed: 0, sent: 0, received: 0 };
  const open = new Set();

  for (let count = 0; count < sockets; count += 1) {
    const state = { socket: new WebSocket(url), inFlight: 0, due: 0 };
    state.socket.binaryType = 'arraybuffer';
    state.socket.onopen = () => {
      open.add(state);
      counts.open += 1;
      if (rate === 0) for (let message = 0; message < IN_FLIGHT; message += 1) send(state);
    };
    state.socket.onmessage = () => {
      state.inFlight -= 1;
      counts.received += 1;
      if (rate === 0) send(state);
    };
    state.socket.onclose = () => {
      if (open.delete(state)) counts.open -= 1;
      else counts.failed += 1;
    };
  }

  function send(state) {
    state.socket.send(PAYLOAD);
    state.inFlight += 1;
    counts.sent += 1;
  }

  let last = performance.now();
  if (rate > 0) {
    setInterval(() => {
      const now = performance.now();
      const share = (rate * (now - last)) / 1000;
      last = now;
      for (const state of open) {
        state.due = Math.min(state.due + share, IN_FLIGHT);
        while (state.due >= 1 && state.inFlight < IN_FLIGHT) {
          state.due -= 1;
          send(state);
        }
      }
    }, PACE);
  }
  setInterval(() => self.postMessage(counts), 250);
};
