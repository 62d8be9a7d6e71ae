'use strict';

// The load, in a worker of the page: the page stays smooth whatever happens here.
//
// Gets { url, sockets, rate } at the start and whenever one of them changes; a rate of 0
// is as fast as it goes. Tells { open, lost, received } once a second. Ends when the page
// terminates it: the browser then drops the sockets.

/** How many echoes may be on their way per socket. Who does not keep up gets no more. */
const IN_FLIGHT = 16;

/** How many sockets connect at a time: browsers slow down a page that opens them faster. */
const CONNECTING = 8;

/** Milliseconds between two looks at what is due. */
const PACE = 20;

const PAYLOAD = 'x'.repeat(32);

const peers = [];
const counts = { open: 0, lost: 0, received: 0 };
let wanted = null;
let connecting = 0;
let last = performance.now();

function connect() {
  const socket = new WebSocket(wanted.url);
  const peer = { socket, isOpen: false, inFlight: 0, due: 0 };
  peers.push(peer);
  connecting += 1;
  socket.onopen = () => {
    connecting -= 1;
    counts.open += 1;
    peer.isOpen = true;
  };
  socket.onmessage = () => {
    counts.received += 1;
    peer.inFlight -= 1;
    if (wanted.rate === 0) send(peer);
  };
  socket.onclose = () => {
    if (peer.isOpen) counts.open -= 1;
    else connecting -= 1;
    peer.isOpen = false;
    const index = peers.indexOf(peer);
    // Otherwise it was closed here, because fewer are wanted.
    if (index === -1) return;
    peers.splice(index, 1);
    counts.lost += 1;
  };
}

function send(peer) {
  peer.socket.send(PAYLOAD);
  peer.inFlight += 1;
}

function work() {
  const now = performance.now();
  const share = wanted.rate === 0 ? IN_FLIGHT : (wanted.rate * (now - last)) / 1000;
  last = now;
  // What was lost is not replaced: a server that is full is left alone.
  while (peers.length + counts.lost < wanted.sockets && connecting < CONNECTING) connect();
  while (peers.length > wanted.sockets) peers.pop().socket.close(1000);
  for (const peer of peers) {
    if (!peer.isOpen) continue;
    peer.due = Math.min(peer.due + share, IN_FLIGHT);
    for (; peer.due >= 1 && peer.inFlight < IN_FLIGHT; peer.due -= 1) send(peer);
  }
}

self.onmessage = ({ data }) => {
  if (!wanted) {
    setInterval(work, PACE);
    setInterval(() => self.postMessage(counts), 1000);
  }
  wanted = data;
};
