'use strict';

// With what a call fails, and which calls of many.

const fs = require('node:fs');
const { errno } = require('node:os').constants;
const path = require('node:path');

const SYMBOLS = path.join(__dirname, '..', '..', 'src', 'uv', 'symbols.rs');

const FAULTS = {
  ...errno,
  /** In place of an error number: a write takes less than it could (faults/src/lib.rs). */
  SHORT: -1,
  /** The same: a callback panics before or behind what it does. */
  BEFORE: -2,
  BEHIND: -3,
  // Of libuv, where they are no numbers of the system's.
  UV_EAI_AGAIN: 3001,
  UV_EOF: 4095,
  // Of napi_status.
  napi_generic_failure: 9,
  napi_pending_exception: 10,
  napi_no_external_buffers_allowed: 22,
  napi_cannot_run_js: 23,
};

/** What the system may answer. Calls of libuv that are not named here fail with ENOMEM. */
const ANSWERS = {
  accept4: ['EMFILE', 'ECONNABORTED', 'EINTR'],
  bind: ['EADDRINUSE', 'EACCES'],
  connect: ['ECONNREFUSED', 'ENETUNREACH', 'EADDRNOTAVAIL'],
  epoll_create1: ['EMFILE'],
  epoll_ctl: ['ENOSPC'],
  epoll_wait: ['EINTR'],
  fcntl: ['EMFILE'],
  getpeername: ['ENOTCONN'],
  getsockname: ['ENOBUFS'],
  getrandom: ['EIO'],
  getsockopt: ['ENOBUFS'],
  ioctl: ['ENOTTY'],
  listen: ['EADDRINUSE'],
  napi_add_async_cleanup_hook: ['napi_generic_failure'],
  napi_create_external_arraybuffer: ['napi_no_external_buffers_allowed'],
  napi_create_reference: ['napi_generic_failure'],
  napi_get_uv_event_loop: ['napi_generic_failure'],
  napi_set_instance_data: ['napi_generic_failure'],
  'panic:uv_close_cb': ['BEHIND'],
  recv: ['ECONNRESET', 'EINTR', 'ENOMEM'],
  send: ['EPIPE', 'EINTR', 'EAGAIN', 'ENOBUFS', 'SHORT'],
  setsockopt: ['ENOBUFS'],
  shutdown: ['ENOTCONN'],
  socket: ['EMFILE', 'EAFNOSUPPORT'],
  uv_after_work_cb: ['ECANCELED'],
  uv_connect_cb: ['ECONNREFUSED', 'ETIMEDOUT'],
  uv_connection_cb: ['EMFILE'],
  uv_getaddrinfo_cb: ['UV_EAI_AGAIN', 'ECANCELED'],
  uv_poll_cb: ['EBADF'],
  uv_read_cb: ['ECONNRESET', 'ENOBUFS', 'ETIMEDOUT', 'UV_EOF'],
  uv_shutdown_cb: ['ENOTCONN'],
  uv_write_cb: ['EPIPE', 'ECANCELED'],
  writev: ['EPIPE', 'EINTR', 'EAGAIN', 'SHORT'],
};

/** Blocks of memory that are made, made empty, or grow. */
const MEMORY = ['alloc', 'alloc_zeroed', 'realloc'];
/** How a connection ends that there is no memory for: where it sends, and where it receives. */
const WITHOUT_MEMORY = ['ENOMEM', 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH'];

/** Whether a callback panics there. */
const isPanic = (point) => point?.startsWith('panic:') ?? false;

/** How what a callback was for ends, what was to be sent, and the peer. */
const BY_PANIC = [
  ...['ERR_UVWS_PANIC', 'ECANCELED', 'ERR_STREAM_DESTROYED'],
  ...['ECONNRESET', 'EPIPE'],
];
/** The callbacks of a context itself, which ends. */
const OF_CONTEXT = ['async', 'check', 'idle', 'poll', 'timer'].map((of) => `panic:uv_${of}_cb`);

/** Calls of one point that fail in a scenario, at most; of more, some from the first to the last. */
const MOST = 24;
/** Of one callback: whatever it does, it is the same that is to come of a panic. */
const MOST_PANICS = 6;

function faultsOf(point) {
  const labels = ANSWERS[point] ?? (isPanic(point) ? ['BEFORE', 'BEHIND'] : ['ENOMEM']);
  return labels.map((label) => ({ label, fault: FAULTS[label] }));
}

/** The only codes of errors where this fails; undefined for any. */
function codesOf(point) {
  // The peer of such a client may see a reset.
  if (point === 'getrandom') return ['ERR_UVWS_RANDOM', 'ECONNRESET'];
  if (OF_CONTEXT.includes(point)) return [...BY_PANIC, 'ERR_UVWS_CONTEXT_CLOSED'];
  if (isPanic(point)) return BY_PANIC;
  return MEMORY.includes(point) ? WITHOUT_MEMORY : undefined;
}

/** Which of `count` calls fail: all, or as many as there are to be. */
function numbersOf(point, count, limit = MOST) {
  const most = Math.min(count, isPanic(point) ? Math.min(limit, MOST_PANICS) : limit);
  return Array.from({ length: most }, (_, i) =>
    most === 1 ? 1 : 1 + Math.round((i * (count - 1)) / (most - 1)),
  );
}

/** Returns a number of bytes, whatever happens. */
const NEVER_FAILS = 'uv_stream_get_write_queue_size';

/** The functions of libuv that can fail, as src/uv/symbols.rs has them. */
function functionsOfLibuv() {
  const text = fs.readFileSync(SYMBOLS, 'utf8');
  const all = text.matchAll(/^ {4}fn (uv_\w+)\(.*\) -> (?:c_int|c_uint|usize);$/gm);
  return [...all].map(([, name]) => name).filter((name) => name !== NEVER_FAILS);
}

module.exports = { codesOf, faultsOf, functionsOfLibuv, MEMORY, numbersOf };
