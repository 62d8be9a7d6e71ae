// The reference of uvws. Sizes are bytes and times are milliseconds unless another unit is named.
//
// Names, events, defaults and messages are those of `ws`; where RFC 6455 decides, its section is
// named. What `ws` does not have: contexts, `wake`, `closeOnSignals`, virtual hosts, handlers by
// subprotocol, `stats()`, `metrics`, and the 'drain' event.
//
// An argument or option of another type throws a TypeError at once, one out of range a RangeError, and
// nothing has happened then. As in `ws`, `boolean` takes whatever is true or false, unless it is an option
// that `ws` does not have, and null is as good as undefined for most of what `ws` has. Options that are
// Node's are checked by Node.

/// <reference types="node" />

import { EventEmitter } from 'node:events';
import {
  ClientRequest,
  ClientRequestArgs,
  IncomingMessage,
  OutgoingHttpHeaders,
  RequestListener,
  Server as HTTPServer,
} from 'node:http';
import { RequestOptions, Server as HTTPSServer } from 'node:https';
import {
  Http2SecureServer,
  Http2Server,
  IncomingHttpHeaders as IncomingHttp2Headers,
  ServerHttp2Stream,
} from 'node:http2';
import { Duplex, DuplexOptions, Writable } from 'node:stream';
import { ConnectionOptions as TLSConnectionOptions, TlsOptions } from 'node:tls';
import { ZlibOptions } from 'node:zlib';

declare class WebSocket extends EventEmitter {
  /** The opening handshake is under way. */
  static readonly CONNECTING: 0;
  /** Messages can be sent. */
  static readonly OPEN: 1;
  /** The closing handshake is under way, or the connection is being dropped. */
  static readonly CLOSING: 2;
  /** The connection is gone, or never came about. */
  static readonly CLOSED: 3;

  readonly CONNECTING: 0;
  readonly OPEN: 1;
  readonly CLOSING: 2;
  readonly CLOSED: 3;

  /**
   * Connects to a server (RFC 6455 section 4.1).
   *
   * What fails later is told by 'error' and then 'close' with 1006. A name is looked up; its
   * addresses are tried as RFC 8305 says, 250 ms apart.
   *
   * The handshake is native, from the next tick on, for a `ws:` or `wss:` URL. Node's HTTP client does
   * it for other URLs, where an option asks for it (see `ClientOptions` and docs/tls.md), and where
   * there is a listener for 'upgrade' or 'unexpected-response' by then. A plain TCP connection is native
   * afterwards.
   *
   * @param address `ws:`, `wss:`, `http:`, `https:` or `ws+unix:` URL. The last one is
   *   `ws+unix:/path/of/socket:/path?query`
   * @param protocols Subprotocols to offer; the server has to choose one of them
   * @throws {SyntaxError} The URL or a subprotocol is not valid, or its host name has more than 253 characters
   * @throws {RangeError} `protocolVersion` is none that exists, or a number is out of range
   * @throws {TypeError} An option is of the wrong type, or a header is not valid
   */
  constructor(address: string | URL, options?: WebSocket.ClientOptions | ClientRequestArgs);
  constructor(
    address: string | URL,
    protocols?: string | string[],
    options?: WebSocket.ClientOptions | ClientRequestArgs,
  );
  /** Makes the object of a server connection: what a WebSocketServer calls with its own options. */
  constructor(address: null, protocols: undefined, options: WebSocket.ServerOptions);

  /**
   * What binary messages are delivered as. Default `'nodebuffer'`. May be changed at any time; any
   * other value is ignored. Text is a Buffer always.
   *
   * | value | `data` of a binary message |
   * | --- | --- |
   * | `'nodebuffer'` | Buffer |
   * | `'arraybuffer'` | ArrayBuffer |
   * | `'fragments'` | array of Buffer |
   * | `'blob'` | Blob |
   */
  binaryType: 'nodebuffer' | 'arraybuffer' | 'fragments' | 'blob';
  /**
   * Bytes that were sent and that the system has not taken yet, frame headers included. What is
   * sent after the end is counted as well, and stays.
   */
  readonly bufferedAmount: number;
  /** Names of the extensions in use: `'permessage-deflate'` or `''`. */
  readonly extensions: string;
  /** Whether `pause()` was called after `resume()`. */
  readonly isPaused: boolean;
  /** Yours. Not in `ws`. Default undefined. */
  data: unknown;
  /** The subprotocol in use, or `''`. */
  readonly protocol: string;
  readonly readyState:
    | typeof WebSocket.CONNECTING
    | typeof WebSocket.OPEN
    | typeof WebSocket.CLOSING
    | typeof WebSocket.CLOSED;
  /**
   * What `init()` has returned for the handlers of this connection, see `protocols` of a server.
   * Undefined without such handlers, and once they are destroyed. Not in `ws`.
   */
  readonly state: unknown;
  /**
   * How long the steps of a client's opening handshake took: of the last one with `reconnect`. Null
   * before it has got anywhere, and at a server connection.
   */
  readonly timings: WebSocket.Timings | null;
  /** The URL of a client; undefined at a server connection. */
  readonly url: string;

  onopen: ((event: WebSocket.Event) => void) | null;
  onerror: ((event: WebSocket.ErrorEvent) => void) | null;
  onclose: ((event: WebSocket.CloseEvent) => void) | null;
  onmessage: ((event: WebSocket.MessageEvent) => void) | null;

  /**
   * Starts the closing handshake (RFC 6455 section 7.1.2): sends a Close frame behind what was sent
   * before. A peer that is not done after `closeTimeout` is terminated. While the connection is
   * being opened, gives that up: 'error', then 'close' with 1006. Later calls do nothing.
   *
   * @param code 1000 to 1014 without 1004, 1005 and 1006, or 3000 to 4999. Without one the frame is
   *   empty, and the peer sees 1005
   * @param data The reason, of at most 123 bytes
   * @throws {TypeError | RangeError} One of them is not that; nothing has happened then
   */
  close(code?: number, data?: string | Buffer | Uint8Array): void;

  /**
   * Stops reading. What has been read already is still delivered. Does nothing unless open. Other than
   * with `ws`, the end of the connection is not read either: it is noticed after `resume()`, or when
   * something cannot be sent.
   */
  pause(): void;

  /**
   * Sends a PING frame (RFC 6455 section 5.5.2). 'pong' follows if the peer answers.
   *
   * @param data At most 125 bytes
   * @param mask Without effect: clients mask and servers do not (section 5.1)
   * @param cb As in `send()`
   * @throws {RangeError} `data` is longer
   * @throws {Error} The connection is still being opened
   */
  ping(cb: (err?: Error) => void): void;
  ping(data: unknown, cb: (err?: Error) => void): void;
  ping(data?: unknown, mask?: boolean, cb?: (err: Error) => void): void;
  /** Sends a PONG frame; as `ping()`. */
  pong(cb: (err?: Error) => void): void;
  pong(data: unknown, cb: (err?: Error) => void): void;
  pong(data?: unknown, mask?: boolean, cb?: (err: Error) => void): void;

  /** Goes on reading. */
  resume(): void;

  /**
   * Subscribes this connection to a topic of its server. Not in `ws`. A topic is any string, and
   * compared as it is: nothing in it is a wildcard. Topics of different servers have nothing to do
   * with each other. A connection leaves all its topics when it is open no longer.
   *
   * @returns Whether it is subscribed now: false if it is not open
   * @throws {Error} This is a client
   * @throws {TypeError} `topic` is no string
   */
  subscribe(topic: string): boolean;
  /** Ends a subscription, and returns whether there was one. Not in `ws`. */
  unsubscribe(topic: string): boolean;
  /** Returns whether this connection has subscribed to a topic. Not in `ws`. */
  isSubscribed(topic: string): boolean;
  /** Returns the topics that this connection has subscribed to. Not in `ws`. */
  getTopics(): string[];

  /**
   * Sends a message to all subscribers of a topic but this connection. Not in `ws`. This one need
   * neither be a subscriber nor be open: it may say in its 'close' that it has gone. Otherwise as
   * `publish()` of the server.
   *
   * @throws {Error} This is a client
   */
  publish(topic: string, data: WebSocket.PublishData, options?: WebSocket.PublishOptions): number;

  /**
   * Sends a message: text if `data` is a string or a number, binary otherwise. `undefined`, `null`
   * and the like are an empty message. A Blob is read first, and what is sent meanwhile waits.
   *
   * All messages of one delivery share a write. The memory of `data` may be reused at once.
   *
   * @param cb Called when the system has taken the message, or with an Error if it never will.
   *   Never called before `send()` has returned
   * @throws {Error} The connection is still being opened
   * @throws {TypeError} `data` is nothing that `Buffer.from()` takes, or `cb` is no function
   */
  send(data: WebSocket.BufferLike, cb?: (err?: Error) => void): void;
  send(
    data: WebSocket.BufferLike,
    options: {
      /**
       * Whether to compress the message (RFC 7692), where that was agreed on. Default true. The
       * first fragment decides.
       */
      compress?: boolean | undefined;
      /** Whether to send a binary message. */
      binary?: boolean | undefined;
      /** Whether this is the last fragment of the message (RFC 6455 section 5.4). Default true. */
      fin?: boolean | undefined;
      /**
       * Whether to mask the frame. Default: clients do, servers do not, and a peer that keeps to
       * RFC 6455 section 5.1 ends the connection if it is otherwise.
       */
      mask?: boolean | undefined;
    },
    cb?: (err?: Error) => void,
  ): void;

  /**
   * What the connection has received and sent, and how it stands; from its end on, how it stood then.
   * Not in `ws`. All zero before there is one. With `reconnect` of the last connection.
   */
  stats(): WebSocket.ConnectionStats;

  /**
   * Drops the connection: 'close' follows, with 1006 and without 'error' if it was open, unless a Close
   * frame or a fault of the peer has been read already. Other than with `ws`, no message, 'ping' or
   * 'pong' that has been read already is emitted in front of that.
   */
  terminate(): void;

  /**
   * Opens an object that was made with `null` on a stream whose opening handshake is done. The
   * stream may be any Duplex; it becomes the WebSocket's.
   *
   * @param head What has been read from the stream behind the handshake
   * @param options `maxPayload` and `maxFragments` are without limit if they are not given
   * @throws {TypeError | RangeError} An argument is not that
   */
  setSocket(
    socket: Duplex,
    head: Buffer,
    options?: WebSocket.ConnectionOptions & Pick<WebSocket.ClientOptions, 'generateMask'>,
  ): void;

  /**
   * Registers a listener once; other types than these are ignored, and so is null or undefined for a
   * listener, as in the DOM.
   *
   * @throws {TypeError} `listener` is anything else that is neither a function nor an object
   */
  addEventListener<K extends keyof WebSocket.WebSocketEventMap>(
    type: K,
    listener:
      | ((event: WebSocket.WebSocketEventMap[K]) => void)
      | { handleEvent(event: WebSocket.WebSocketEventMap[K]): void },
    options?: WebSocket.EventListenerOptions,
  ): void;
  removeEventListener<K extends keyof WebSocket.WebSocketEventMap>(
    type: K,
    listener:
      | ((event: WebSocket.WebSocketEventMap[K]) => void)
      | { handleEvent(event: WebSocket.WebSocketEventMap[K]): void },
  ): void;

  // The events: see WebSocket.WebSocketEvents.

  on<K extends keyof WebSocket.WebSocketEvents>(
    event: K,
    listener: (this: WebSocket, ...args: WebSocket.WebSocketEvents[K]) => void,
  ): this;
  on(event: string | symbol, listener: (this: WebSocket, ...args: any[]) => void): this;

  once<K extends keyof WebSocket.WebSocketEvents>(
    event: K,
    listener: (this: WebSocket, ...args: WebSocket.WebSocketEvents[K]) => void,
  ): this;
  once(event: string | symbol, listener: (this: WebSocket, ...args: any[]) => void): this;

  off<K extends keyof WebSocket.WebSocketEvents>(
    event: K,
    listener: (this: WebSocket, ...args: WebSocket.WebSocketEvents[K]) => void,
  ): this;
  off(event: string | symbol, listener: (this: WebSocket, ...args: any[]) => void): this;

  addListener<K extends keyof WebSocket.WebSocketEvents>(
    event: K,
    listener: (this: WebSocket, ...args: WebSocket.WebSocketEvents[K]) => void,
  ): this;
  addListener(event: string | symbol, listener: (this: WebSocket, ...args: any[]) => void): this;

  removeListener<K extends keyof WebSocket.WebSocketEvents>(
    event: K,
    listener: (this: WebSocket, ...args: WebSocket.WebSocketEvents[K]) => void,
  ): this;
  removeListener(event: string | symbol, listener: (this: WebSocket, ...args: any[]) => void): this;

  prependListener<K extends keyof WebSocket.WebSocketEvents>(
    event: K,
    listener: (this: WebSocket, ...args: WebSocket.WebSocketEvents[K]) => void,
  ): this;
  prependListener(
    event: string | symbol,
    listener: (this: WebSocket, ...args: any[]) => void,
  ): this;

  prependOnceListener<K extends keyof WebSocket.WebSocketEvents>(
    event: K,
    listener: (this: WebSocket, ...args: WebSocket.WebSocketEvents[K]) => void,
  ): this;
  prependOnceListener(
    event: string | symbol,
    listener: (this: WebSocket, ...args: any[]) => void,
  ): this;
}

// Within the namespace `WebSocket` is its member of that name.
declare const WebSocketAlias: typeof WebSocket;
interface WebSocketAlias extends WebSocket {}

declare namespace WebSocket {
  /** What `send()` takes. */
  type BufferLike =
    | string
    | Buffer
    | DataView
    | number
    | ArrayBufferView
    | Uint8Array
    | ArrayBuffer
    | SharedArrayBuffer
    | Blob
    | readonly any[]
    | readonly number[]
    | { valueOf(): ArrayBuffer }
    | { valueOf(): SharedArrayBuffer }
    | { valueOf(): Uint8Array }
    | { valueOf(): readonly number[] }
    | { valueOf(): string }
    | { [Symbol.toPrimitive](hint: string): string };

  /** What `publish()` and `broadcast()` take. */
  type PublishData = string | ArrayBufferView | ArrayBuffer | SharedArrayBuffer;

  /** Options of a message to many. */
  interface PublishOptions {
    /** Whether to send a binary message. Default: unless `data` is a string. */
    binary?: boolean | undefined;
    /**
     * Whether to compress the message (RFC 7692) where that was agreed on, and where it is not
     * shorter than the `threshold`. Default true. The message is compressed by itself, so that all
     * can share it; a connection with context takeover begins a new context behind it.
     */
    compress?: boolean | undefined;
    /**
     * Bytes that may wait for a receiver. Who has more of them when the message is sent is too slow,
     * and does not get it. Default 1,048,576. At least 0, or Infinity.
     */
    maxBackpressure?: number | undefined;
    /**
     * What becomes of a receiver that is too slow: with `'drop'` it misses the message, with
     * `'close'` it is terminated, too, and sees 1006. Default `'drop'`. Both are counted in
     * `messagesDropped` of `context.stats()`.
     */
    overflow?: 'drop' | 'close' | undefined;
  }

  /** What 'message' brings, by `binaryType`; a Blob, which only `'blob'` brings, is not among it. */
  type RawData = Buffer | ArrayBuffer | Buffer[];
  /** What `event.data` of a MessageEvent is. */
  type Data = string | Buffer | ArrayBuffer | Buffer[];

  /** The events of a WebSocket, and what their listeners get. */
  interface WebSocketEvents {
    /**
     * A redirect is followed, with `followRedirects`. Who listens decides what credentials go along:
     * none are left out.
     */
    redirect: [url: string, request: ClientRequest];
    /** The server has answered with 101; before the response is checked. */
    upgrade: [response: IncomingMessage];
    /** The server has answered otherwise. Who listens has to end it; without a listener it is an error. */
    'unexpected-response': [request: ClientRequest, response: IncomingMessage];
    /** Messages can be sent. */
    open: [];
    /**
     * With `reconnect`: the connection is lost, or did not come about, and is tried again after
     * `delay`. `attempt` counts from 1.
     */
    reconnecting: [attempt: number, delay: number, cause: ReconnectCause];
    /** With `reconnect`: messages can be sent again. */
    reconnected: [];
    /** A whole message has come. Text is a Buffer, and `isBinary` is false. */
    message: [data: RawData, isBinary: boolean];
    /** A PING frame has come. It is answered before. */
    ping: [data: Buffer];
    /** A PONG frame has come. */
    pong: [data: Buffer];
    /** The send queue is empty again after `bufferedAmount` was above 1 MiB. */
    drain: [];
    /** At most once, before 'close'. Thrown if nobody listens. */
    error: [error: Error];
    /** Once, as the last. 1005: the peer's Close frame has no code. 1006: the peer sent none. */
    close: [code: number, reason: Buffer];
  }

  /**
   * The `code` of the errors that uvws itself makes. Errors of the system have the codes of Node,
   * such as `ECONNREFUSED` or `EADDRINUSE`.
   *
   * | code | where | what |
   * | --- | --- | --- |
   * | `WS_ERR_UNEXPECTED_RSV_1`, `WS_ERR_UNEXPECTED_RSV_2_3` | 'error' | a reserved bit is set; 1002 |
   * | `WS_ERR_INVALID_OPCODE` | 'error' | an unknown opcode, or a fragment out of order; 1002 |
   * | `WS_ERR_EXPECTED_FIN` | 'error' | a control frame is fragmented; 1002 |
   * | `WS_ERR_EXPECTED_MASK`, `WS_ERR_UNEXPECTED_MASK` | 'error' | a client's frame is not masked, a server's is; 1002 |
   * | `WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH` | 'error' | a control frame is too long or too short; 1002 |
   * | `WS_ERR_INVALID_CLOSE_CODE` | 'error' | a Close frame has a code that it may not have; 1002 |
   * | `WS_ERR_INVALID_UTF8` | 'error' | text is not UTF-8; 1007 |
   * | `WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH` | 'error' | a frame announces 2^53 bytes or more; 1009 |
   * | `WS_ERR_UNSUPPORTED_MESSAGE_LENGTH` | 'error' | a message is longer than `maxPayload`, or than there is memory for; 1009 |
   * | `WS_ERR_TOO_MANY_BUFFERED_PARTS` | 'error' | a message has more than `maxFragments` fragments; 1008 |
   * | `ERR_UVWS_BACKPRESSURE` | 'error', and callbacks of `send()`, `ping()` and `pong()` | something was sent while more than `maxBackpressure` waited; 1006 |
   * | `ERR_UVWS_MEMORY_BUDGET` | 'error', and callbacks of `send()`, `ping()` and `pong()` | more than `memoryBudget` was held, and most of it for this connection; 1013 |
   * | `ENOMEM` | 'error', and callbacks of `send()`, `ping()` and `pong()`; thrown by `publish()` and `broadcast()` | there is no memory for what is sent; 1006 |
   * | `ERR_UVWS_RANDOM` | 'error', and callbacks of `send()`, `ping()` and `pong()` of a client | the system's random generator has failed; 1006 |
   * | `ERR_UVWS_PANIC` | 'error' of a client, 'tlsClientError', and 'error' of `_socket` | a fault of uvws: a callback has panicked, and stderr says where; 1006 |
   * | `ERR_UVWS_TOO_MANY_CONTROL_FRAMES` | 'error' | more PING and PONG frames than `maxControlFrames` allows; 1008 |
   * | `HPE_INVALID_CONSTANT`, `HPE_HEADER_OVERFLOW` | 'error' of a client | the response is no HTTP, or too long |
   * | `ABORT_ERR` | 'error' of a client | `signal` has aborted |
   * | `ERR_UVWS_CONTEXT_CLOSED` | 'error' | the context has ended, or does not accept this any more |
   * | `ERR_UVWS_CONNECT_TIMEOUT` | 'error' of a client | `connectTimeout` is over |
   * | `ERR_UVWS_HEARTBEAT_TIMEOUT` | 'error' of `_socket` | `heartbeat`: nothing has come for a PING |
   * | `ERR_UVWS_PROXY` | 'error' of a client | there is no way through the proxy. `status` is the HTTP status or `reply` the SOCKS5 reply (RFC 1928 section 6) with which it refused, `cause` an error of the system or of TLS; none of them if it broke the protocol |
   * | `ERR_UVWS_OFFLINE` | callback of `send()`, `ping()` and `pong()` | with `reconnect`: the message was lost, or not taken, because there is no connection |
   * | `ERR_STREAM_DESTROYED` | callback of `send()` | the connection ended before the message was sent |
   * | `ERR_UVWS_LENGTH_NOT_MINIMAL` | 'error' | a frame's length is not in its shortest form (RFC 6455 section 5.2); 1002 |
   * | `ERR_UVWS_NOT_SUPPORTED` | thrown | an option, URL or socket that is not supported |
   * | `ERR_SOCKET_BAD_PORT` | thrown | a port that is none |
   * | `ERR_UVWS_ADDON` | thrown by `require` | there is no binary for this platform, or it cannot be loaded |
   */
  type ErrorCode =
    | 'ABORT_ERR'
    | 'ENOMEM'
    | 'ERR_SOCKET_BAD_PORT'
    | 'ERR_STREAM_DESTROYED'
    | 'ERR_UVWS_ADDON'
    | 'ERR_UVWS_CONNECT_TIMEOUT'
    | 'ERR_UVWS_BACKPRESSURE'
    | 'ERR_UVWS_CONTEXT_CLOSED'
    | 'ERR_UVWS_HEARTBEAT_TIMEOUT'
    | 'ERR_UVWS_LENGTH_NOT_MINIMAL'
    | 'ERR_UVWS_MEMORY_BUDGET'
    | 'ERR_UVWS_NOT_SUPPORTED'
    | 'ERR_UVWS_OFFLINE'
    | 'ERR_UVWS_PANIC'
    | 'ERR_UVWS_PROXY'
    | 'ERR_UVWS_RANDOM'
    | 'ERR_UVWS_TOO_MANY_CONTROL_FRAMES'
    | 'HPE_HEADER_OVERFLOW'
    | 'HPE_INVALID_CONSTANT'
    | 'WS_ERR_EXPECTED_FIN'
    | 'WS_ERR_EXPECTED_MASK'
    | 'WS_ERR_INVALID_CLOSE_CODE'
    | 'WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH'
    | 'WS_ERR_INVALID_OPCODE'
    | 'WS_ERR_INVALID_UTF8'
    | 'WS_ERR_TOO_MANY_BUFFERED_PARTS'
    | 'WS_ERR_UNEXPECTED_MASK'
    | 'WS_ERR_UNEXPECTED_RSV_1'
    | 'WS_ERR_UNEXPECTED_RSV_2_3'
    | 'WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH'
    | 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH';

  /** Options of clients and servers. */
  interface ConnectionOptions {
    /** Whether to answer PING frames. Default true. */
    autoPong?: boolean | undefined;
    /**
     * Time from our Close frame to the end of the connection, at the latest; then it is
     * terminated. Default 30,000. At most 2^32 - 1, which `Infinity` stands for.
     */
    closeTimeout?: number | undefined;
    /** The context to join. Default: the default context of the environment. */
    context?: Context | undefined;
    /**
     * Whether, and when, to find out that the peer is gone without having said so: see
     * `HeartbeatOptions`. Not in `ws`. Default false.
     */
    heartbeat?: boolean | HeartbeatOptions | undefined;
    /**
     * Bytes that may wait for the peer when something is sent; who sends more ends the connection:
     * 1006, `ERR_UVWS_BACKPRESSURE`. Not in `ws`. Default Infinity. Else an integer of at least 1.
     */
    maxBackpressure?: number | undefined;
    /**
     * PING and PONG frames that the peer may send in a second in the long run, and half of those that
     * it may send at once: an integer up to 1,000; 0 or Infinity for no limit. A PONG that answers a PING of
     * ours is not counted. Not in `ws`. Default 100. Breach: 1008.
     */
    maxControlFrames?: number | undefined;
    /** Most fragments of one message; 0 or Infinity for no limit. Default 16,384. Breach: 1008. */
    maxFragments?: number | undefined;
    /** Largest message; 0 or Infinity for no limit. Default 104,857,600. Breach: 1009. */
    maxPayload?: number | undefined;
    /** Whether to deliver text without checking that it is UTF-8. Default false. */
    skipUTF8Validation?: boolean | undefined;
    /**
     * Whether several of 'message', 'ping' and 'pong' may come in one turn of the loop. Default
     * true. With false each has a turn to itself, so that what promises do follows in between.
     */
    allowSynchronousEvents?: boolean | undefined;
    /** Without effect: bytes are not kept in chunks. */
    maxBufferedChunks?: number | undefined;
    /** Without effect: at most one answer to a PING waits, to the last one. */
    maxPendingAutoPongs?: number | undefined;
    /**
     * Whether, and how, to compress messages (RFC 7692), if the peer agrees. Default true for
     * clients and false for servers.
     */
    perMessageDeflate?: boolean | PerMessageDeflateOptions | undefined;
  }

  /**
   * Options of a client, and those of `https.request`, except what the URL says: `host`,
   * `hostname`, `method`, `path`, `port`, `protocol`, `socketPath` and `timeout`.
   *
   * Node's HTTP client does the handshake with any option that is not described here, such as
   * `agent`, `createConnection`, `localAddress` or `lookup`, and with `finishRequest`,
   * `followRedirects`, `generateMask`, `protocolVersion: 8`, `connectTimeout` and `proxy`.
   */
  interface ClientOptions
    extends
      ConnectionOptions,
      Omit<RequestOptions, OverriddenOptions>,
      Pick<TLSConnectionOptions, 'ALPNProtocols' | 'secureContext'> {
    /** `user:password` of an Authorization header. That of the URL, or a given header, counts more. */
    auth?: string | undefined;
    /**
     * Time for the connection: name lookup, TCP, and the way through a proxy; TLS with the server
     * and the request come behind it. 0 for no limit, the default. Breach:
     * `ERR_UVWS_CONNECT_TIMEOUT`.
     */
    connectTimeout?: number | undefined;
    /** IP version: 4, 6, or 0 for both, the default. */
    family?: number | undefined;
    /**
     * Called with each request in place of `request.end()`, which it has to call: at once or later,
     * for example when it has set a header.
     */
    finishRequest?: ((request: ClientRequest, websocket: WebSocketAlias) => void) | undefined;
    /** Whether to follow redirects. Default false. */
    followRedirects?: boolean | undefined;
    /** Fills the masking key of each frame. Default: the system's random generator. */
    generateMask?: ((mask: Buffer) => void) | undefined;
    /**
     * Time for the opening handshake, from the name lookup to the end of the response; 0 for no
     * limit, the default. A redirect starts it again.
     */
    handshakeTimeout?: number | undefined;
    /** Further header lines. An array is several lines. Those of the handshake are left out. */
    headers?: OutgoingHttpHeaders | { [name: string]: string | string[] } | undefined;
    /** Most redirects to follow. Default 10. */
    maxRedirects?: number | undefined;
    /** The Origin header. */
    origin?: string | undefined;
    /** Subprotocols, if they are not an argument of their own. */
    protocols?: string | string[] | undefined;
    /** The protocol version: 13, the default, or 8, which names the origin otherwise. */
    protocolVersion?: number | undefined;
    /**
     * The proxy to go through, or `'env'` to look for one in the environment: see `ProxyOptions`.
     * Default: none. A `ws+unix:` URL needs none. `agent` and `createConnection` exclude it.
     */
    proxy?: string | URL | ProxyOptions | null | undefined;
    /** Whether, and how, to come back when the connection is lost. Default false. */
    reconnect?: boolean | ReconnectOptions | undefined;
    /**
     * Gives up the opening handshake when it aborts: 'error' with `ABORT_ERR`, 'close' with 1006.
     * With `reconnect` no further attempt is made.
     */
    signal?: AbortSignal | undefined;
  }

  /**
   * A proxy. A URL by itself is as good as an object with nothing but `url`.
   *
   * With `'env'` the variables `https_proxy` for `wss:` and `http_proxy` for `ws:` count, then
   * `all_proxy`; what `no_proxy` names is reached without. The names may be in upper case, lower case
   * counts first. Empty ones are none. HTTP_PROXY in upper case does not count where REQUEST_METHOD is
   * set, because then any client of a CGI program may set it.
   *
   * `no_proxy` is `*`, or a list with commas: names, which stand for their subdomains too, with or
   * without a dot or `*.` in front; addresses; networks such as `10.0.0.0/8`; each with or without
   * a port behind a colon.
   *
   * `family`, `localAddress`, `localPort` and `lookup` concern the connection to the proxy;
   * options of TLS, such as `ca`, the server behind it.
   */
  interface ProxyOptions {
    /**
     * `http:` and `https:` proxies are asked by CONNECT, for `ws:` URLs too (RFC 6455 section 4.1).
     * `socks5:` is SOCKS5 (RFC 1928) with the address of the server, which is looked up here;
     * `socks5h:` with its name, which the proxy looks up. Default ports: 80, 443 and 1080. `http:` may
     * be left out. User name and password may be in it, percent-encoded.
     */
    url: string | URL;
    /** User name, for basic authentication or RFC 1929. Default: that of the URL. */
    username?: string | undefined;
    /** Password. Default: that of the URL. */
    password?: string | undefined;
    /** Further headers of the CONNECT request. They replace ours of the same name. */
    headers?: OutgoingHttpHeaders | undefined;
    /** Options of `tls.connect`, such as `ca`, for an `https:` proxy. */
    tls?: TLSConnectionOptions | undefined;
  }

  /**
   * When a lost client comes back. The schedule is that of libwebsockets (`lws_retry_bo_t`): a table of
   * delays whose last one repeats, with jitter.
   *
   * The WebSocket stays the same object, with its listeners, `binaryType` and `isPaused`. While it is
   * away `readyState` is CONNECTING; 'open' is emitted the first time, 'reconnected' later, 'close'
   * once, at the end. What had been handed over to a connection that is lost is not repeated.
   *
   * It ends for good with `close()` or `terminate()`; when `signal` or the context says so, or the
   * context drains; when a peer breaks the protocol, which is an 'error'; after `maxAttempts`; and
   * where `retry` says no.
   */
  interface ReconnectOptions {
    /** Time before each attempt. Default `[1000, 2000, 4000, 8000, 16000, 30000]`. */
    delays?: readonly number[] | undefined;
    /** How much of a delay may be added to it at random, in percent. Default 30. */
    jitter?: number | undefined;
    /**
     * Most attempts without a connection that held; then the client ends with the last error.
     * Default Infinity.
     */
    maxAttempts?: number | undefined;
    /** How long a connection has to hold for the attempts to be counted anew. Default 5,000. */
    resetAfter?: number | undefined;
    /**
     * What becomes of a message that is sent while there is no connection: it waits for one, or
     * its callback gets `ERR_UVWS_OFFLINE`. Default `'queue'`. What listeners of 'open' and
     * 'reconnected' send goes in front of what has waited. PING, PONG and fragments never wait.
     */
    offline?: 'queue' | 'refuse' | undefined;
    /**
     * Most bytes that wait, which `bufferedAmount` counts; 0 or Infinity for no limit. Default
     * 1,048,576. Breach: `ERR_UVWS_OFFLINE`.
     */
    maxQueue?: number | undefined;
    /**
     * Tells whether to try again. Default: after close codes 1001, 1006, 1011, 1012, 1013 and 1014;
     * after statuses 408, 425, 429, 500, 502, 503 and 504 of a server or proxy; and after errors of
     * the network, of TLS or of a proxy, and timeouts. Not after other codes and statuses, nor
     * after a response that is no valid handshake.
     *
     * @param attempt The attempt that would come, from 1
     */
    retry?: ((cause: ReconnectCause, attempt: number) => boolean) | undefined;
  }

  /**
   * When a connection is taken for dead, as by the validity checks of libwebsockets (`lws_retry_bo_t`).
   *
   * A peer of which nothing has come for a whole `interval` is sent an empty PING (RFC 6455 section
   * 5.5.2); 'pong' tells of the answer. If nothing at all comes within `timeout`, the connection is
   * dropped: 'close' with 1006, no 'error'; `_socket` emits an error with
   * `ERR_UVWS_HEARTBEAT_TIMEOUT` if somebody listens. A client with `reconnect` comes back.
   *
   * Any byte is as good as the PONG, and so is what the peer takes of a queue of unsent data. Who is
   * paused is not judged. From a Close frame of ours on `closeTimeout` counts instead.
   */
  interface HeartbeatOptions {
    /**
     * Milliseconds of silence, from 1, before the PING. Whether something has come is looked at once an
     * interval, so the PING goes out between one and two intervals after the last byte. Default 30,000.
     */
    interval?: number | undefined;
    /** Milliseconds, from 1, between the PING and the end. Default 10,000. */
    timeout?: number | undefined;
  }

  /** Why a client has lost its connection, or did not get one. */
  interface ReconnectCause {
    /** The close code; 1006 without one. */
    code: number;
    /** The reason in the peer's Close frame. */
    reason: Buffer;
    /** What went wrong before the connection was open; null if it was. */
    error: Error | null;
    /** Whether it was open. */
    wasOpen: boolean;
  }

  /**
   * Milliseconds from the start of an opening handshake to the end of each step; null for a step that
   * was not reached, or that there is not.
   */
  interface Timings {
    /** The name, of the server or the proxy, was looked up. */
    dns: number | null;
    /** The TCP connection, to the server or the proxy, was established. */
    connect: number | null;
    /** The proxy's tunnel to the server was established. */
    proxy: number | null;
    /** The TLS handshake with the server was done. */
    tls: number | null;
    /** The response had come. */
    upgrade: number | null;
  }

  /** Options of `https.request` that the URL overrides, or that are described otherwise. */
  type OverriddenOptions =
    | 'host'
    | 'hostname'
    | 'method'
    | 'path'
    | 'port'
    | 'protocol'
    | 'socketPath'
    | 'timeout'
    | 'headers'
    | 'auth'
    | 'family'
    | 'signal';

  type CertMeta = string | string[] | Buffer | Buffer[];

  type FinishRequestCallback = (request: ClientRequest, websocket: WebSocketAlias) => void;

  /** What is offered, demanded and used of permessage-deflate (RFC 7692 section 7.1). */
  interface PerMessageDeflateOptions {
    /**
     * Whether the server keeps no window from one message to the next, which saves memory. True
     * demands it, false refuses it. Default: as the peer likes.
     */
    serverNoContextTakeover?: boolean | undefined;
    /** The same for the client's window. */
    clientNoContextTakeover?: boolean | undefined;
    /** Window of the server, 2^8 to 2^15 bytes; false refuses a demand of the peer. */
    serverMaxWindowBits?: boolean | number | undefined;
    /** Window of the client. True tells the server that it may demand one, false that it may not. */
    clientMaxWindowBits?: boolean | number | undefined;
    /** `level` and `memLevel` count. */
    zlibDeflateOptions?: ZlibOptions | undefined;
    /** Without effect on connections. */
    zlibInflateOptions?: ZlibOptions | undefined;
    /** Smallest message to compress, where our side keeps no window. Default 1,024. */
    threshold?: number | undefined;
    /**
     * Most messages of 64 KiB or more that are compressed on libuv's thread pool at the same time; 0
     * for no limit. The first options that are used decide for the whole thread. Default 10.
     */
    concurrencyLimit?: number | undefined;
  }

  /** What decides on a request. `origin` is undefined where the request has none. */
  type VerifyClientCallbackSync<Request extends IncomingMessage = IncomingMessage> = (info: {
    origin: string;
    secure: boolean;
    req: Request;
  }) => boolean;
  /** As `VerifyClientCallbackSync`, by a callback. */
  type VerifyClientCallbackAsync<Request extends IncomingMessage = IncomingMessage> = (
    info: { origin: string; secure: boolean; req: Request },
    callback: (
      res: boolean,
      /** Status of the refusal. Default 401. */
      code?: number,
      /** Body of the refusal. Default: the status's phrase. */
      message?: string,
      headers?: OutgoingHttpHeaders,
    ) => void,
  ) => void;

  /** Options of a server: one and only one of `port`, `server` and `noServer`. */
  interface ServerOptions<
    U extends typeof WebSocket = typeof WebSocket,
    V extends typeof IncomingMessage = typeof IncomingMessage,
  > extends ConnectionOptions {
    /** Name or address to listen on. Default: all addresses of both IP versions. */
    host?: string | undefined;
    /** Port to listen on, 0 to 65,535. With 0 the system chooses, see `address()`. */
    port?: number | undefined;
    /**
     * Length of the system's queue of connections that are not yet accepted, of at most 2^31 - 1.
     * Default, and 0: 511; with a shared port, what the first server has.
     */
    backlog?: number | undefined;
    /**
     * HTTP server whose upgrades to take. Its plain TCP connections become native ones; of those of
     * TLS and HTTP/2 (RFC 8441) Node goes on to carry the bytes.
     */
    server?: HTTPServer<V> | HTTPSServer<V> | Http2Server | Http2SecureServer | undefined;
    /**
     * What answers requests on `port` that are none for a WebSocket: a listener for 'request', such
     * as an Express application, or an `http.Server`, which need not listen itself. Not in `ws`. Their
     * connections are handed over to Node, which keeps them; a later upgrade on one of them is
     * taken by this server. Default: such requests get 426. Not with `tls`, and not on Windows, where
     * `ERR_UVWS_NOT_SUPPORTED` is thrown. See docs/servers.md.
     */
    http?: HTTPServer | RequestListener | null | undefined;
    /**
     * The host that the server is for, such as `'example.org'` or `'*.example.org'`, compared with
     * that of the request without regard to case and port (RFC 9110 section 7.2). Servers of one
     * context with different ones share a `port`; servers of one HTTP server need not be of one
     * context. The default server has none. See docs/servers.md.
     */
    hostname?: string | undefined;
    /**
     * Whether the server takes nothing but requests for `hostname`, and not as the default one those
     * that are for nobody. Without a default server these get 421. Default false.
     */
    strictHost?: boolean | undefined;
    /**
     * Certificates and keys that make the listener of `port` one of TLS (RFC 8446), with the names and
     * formats of `tls.createServer`. Native as far as docs/tls.md says; else the listener is one of
     * `node:https`.
     */
    tls?: ServerTlsOptions | null | undefined;
    /** Anything; it becomes `data`. */
    data?: unknown;
    /** Whether only `handleUpgrade()` brings connections. Default false. */
    noServer?: boolean | undefined;
    /** The only path to accept, compared without the query; other requests get 400. */
    path?: string | undefined;
    /** Whether to keep `clients`. Default true. */
    clientTracking?: boolean | undefined;
    /**
     * Time from accepting a connection to the end of its request's head, with `port`; 0 for no
     * limit. Default 10,000. Breach: 408.
     */
    handshakeTimeout?: number | undefined;
    /**
     * Most connections; at least 1, or Infinity, the default. Breach: 503. Read when the server is
     * made, as the two below.
     */
    maxConnections?: number | undefined;
    /**
     * Most connections of one address: of an IPv4 address, or a network of 64 bits of IPv6. At least
     * 1, or Infinity, the default. Breach: 503.
     */
    maxConnectionsPerAddress?: number | undefined;
    /**
     * Most connections, with `port`, that are not open yet; at least 1, or Infinity. Default 1,024.
     * Breach: nothing is accepted until there are fewer. With a shared port, that of the first server
     * counts.
     */
    maxPendingHandshakes?: number | undefined;
    /**
     * Origins that may connect (RFC 6455 section 10.2), as browsers write them: compared as they
     * are. Or a function, called with the origin, or undefined where there is none; nothing but true
     * lets in. Default: any. Breach: 403, before `verifyClient` is asked. A header that is no single
     * origin is refused either way. `'null'` is refused unless it is listed, and a request without an
     * origin is never on the list.
     */
    allowedOrigins?:
      | readonly string[]
      | ((origin: string | undefined, request: InstanceType<V>) => boolean)
      | null
      | undefined;
    /**
     * Handlers of connections by their subprotocols (RFC 6455 section 1.9), beside the events of
     * server and connection. See docs/servers.md.
     */
    protocols?: Record<string, ProtocolHandlers> | undefined;
    /**
     * Which of `protocols` handles connections without a subprotocol: of peers that have offered
     * none, or none that there is. Default: none does.
     */
    defaultProtocol?: string | undefined;
    /**
     * Chooses a subprotocol of those offered, or none. Default: the first one, and with `protocols`
     * the first one that is among them.
     */
    handleProtocols?:
      ((protocols: Set<string>, request: InstanceType<V>) => string | false) | null | undefined;
    /** Decides on a request. With two parameters it is given a callback. */
    verifyClient?:
      | VerifyClientCallbackAsync<InstanceType<V>>
      | VerifyClientCallbackSync<InstanceType<V>>
      | null
      | undefined;
    /** Class of the connections: WebSocket or a subclass. */
    WebSocket?: U | undefined;
  }

  /**
   * What handles the connections of a subprotocol: libwebsockets' `lws_protocols`, with the options
   * of each vhost. The same functions may serve any number of servers; what they share for one server
   * is its `state`. Handlers are called as methods of this object, in front of the listeners of a
   * connection. What they throw goes the way of what listeners throw.
   */
  interface ProtocolHandlers<State = any, Options = any, Data = any> {
    /** What `init()` gets. */
    options?: Options | undefined;
    /**
     * The server starts: called by its constructor, before it listens. What is thrown, the
     * constructor throws.
     *
     * @returns The state of these handlers for this server
     */
    init?(server: Server, options: Options): State;
    /** A connection is open. The server's 'connection' follows. */
    open?(ws: ProtocolSocket<State, Data>, request: IncomingMessage): void;
    /** As 'message'. */
    message?(ws: ProtocolSocket<State, Data>, data: RawData, isBinary: boolean): void;
    /** As 'drain'. */
    drain?(ws: ProtocolSocket<State, Data>): void;
    /** As 'ping'. */
    ping?(ws: ProtocolSocket<State, Data>, data: Buffer): void;
    /** As 'pong'. */
    pong?(ws: ProtocolSocket<State, Data>, data: Buffer): void;
    /** As 'error'. Without it errors of connections are of no interest: `close()` follows. */
    error?(ws: ProtocolSocket<State, Data>, error: Error): void;
    /** As 'close'. */
    close?(ws: ProtocolSocket<State, Data>, code: number, reason: Buffer): void;
    /**
     * The server and its last connection are closed, or its context is destroyed. Called once for
     * each `init()` that has returned; not when the environment ends, where nothing can be called.
     */
    destroy?(server: Server, state: State): void;
  }

  /** A connection, as handlers see it. */
  type ProtocolSocket<State = any, Data = any> = WebSocketAlias & {
    data: Data;
    readonly state: State;
  };

  interface ServerTlsOptions extends TlsOptions {
    /** Whether sessions may be resumed (RFC 8446 section 2.2). Default true. */
    sessionTickets?: boolean | undefined;
  }

  interface AddressInfo {
    address: string;
    family: string;
    port: number;
  }

  /**
   * A WebSocket server (RFC 6455 section 4.2): a listener of its own, or the upgrades of an HTTP
   * server.
   *
   * A request that is no valid upgrade is refused without an event: 400, 405, 421, 426, 431, or 408
   * if it does not end in time. A handler that throws while it decides is answered with 500.
   */
  class Server<
    T extends typeof WebSocket = typeof WebSocket,
    U extends typeof IncomingMessage = typeof IncomingMessage,
  > extends EventEmitter {
    /** Readable and writable; what concerns handshakes is read at each. */
    options: ServerOptions<T, U>;
    /** The open connections, with `clientTracking`. */
    clients: Set<InstanceType<T>>;
    /** The user's; ws declares it. */
    path: string;
    /** The context that the server belongs to. */
    readonly context: Context;
    /** Yours. */
    data: unknown;

    /**
     * Errors that come later, `EADDRINUSE` for one, are told by 'error'.
     *
     * @param callback Listener for 'listening', with `port`. As in `ws`, anything but a function is ignored
     * @throws {TypeError} An option is of the wrong type, or there is not one way to listen
     * @throws {Error} What `tls.createSecureContext` throws
     * @throws {RangeError} A number is out of range, or `backlog` is not that of the shared port
     * @throws {Error} `EADDRINUSE`: another server of the HTTP server has this `hostname`
     * @throws What an `init()` of `protocols` throws
     */
    constructor(options?: ServerOptions<T, U>, callback?: () => void);

    /**
     * Where the server listens; null before that and after `close()`.
     *
     * @throws {Error} With `noServer`
     */
    address(): AddressInfo | string | null;

    /**
     * Stops accepting connections; open ones stay. 'close' follows: with `port` or `protocols` when
     * the last connection is gone, otherwise when the last of `clients` is.
     *
     * @param cb Listener for 'close'; called with an Error if the server was closed before
     */
    close(cb?: (err?: Error) => void): void;

    /**
     * With `tls`, replaces all that it says, for new connections. Where Node does the TLS: what
     * `setSecureContext` of `tls.Server` replaces.
     *
     * @throws {Error} What `tls.createSecureContext` throws; there is no `tls`; or it asks for what only
     *   Node's TLS can do, and the server began with the native one
     * @throws {TypeError} Node does the TLS, and another option differs, such as `requestCert`
     */
    setSecureContext(tls: ServerTlsOptions): void;

    /**
     * With `tls`, shows another certificate to clients that ask for a host name (RFC 6066 section 3).
     *
     * @param hostname The name; one that begins with `*.` stands for all hosts below the rest
     * @throws {TypeError} `hostname` is no name
     * @throws {Error} What `tls.createSecureContext` throws; there is no `tls`
     */
    addContext(hostname: string, tls: Pick<TlsOptions, 'cert' | 'key' | 'passphrase'>): void;

    /**
     * Upgrades a connection of Node's. A plain `net.Socket` is taken over and destroyed on Node's
     * side; any other stream goes on to carry the bytes, as the WebSocket's.
     *
     * @param callback Called with the WebSocket before anything that it receives
     * @throws {TypeError} An argument is not that; the socket is as it was
     * @throws {Error} The socket was upgraded before
     */
    handleUpgrade(
      request: InstanceType<U>,
      socket: Duplex,
      upgradeHead: Buffer,
      callback: (client: InstanceType<T>, request: InstanceType<U>) => void,
    ): void;

    /**
     * Accepts a WebSocket over HTTP/2 (RFC 8441): a stream of an extended CONNECT request. For
     * servers of HTTP/2 that were not given as `server`; they need the setting
     * `enableConnectProtocol`.
     *
     * ```js
     * const server = http2.createSecureServer({ key, cert, settings: { enableConnectProtocol: true } });
     * server.on('stream', (stream, headers) => {
     *   if (headers[':protocol'] === 'websocket') wss.handleStream(stream, headers, onConnection);
     * });
     * ```
     *
     * @param callback Called with the WebSocket and an object with `method`, `url`, `headers`,
     *   `stream` and `socket`
     * @throws {TypeError} An argument is not that; the stream is as it was
     * @throws {Error} The stream was accepted before
     */
    handleStream(
      stream: ServerHttp2Stream,
      headers: IncomingHttp2Headers,
      callback: (client: InstanceType<T>, request: StreamRequest) => void,
    ): void;

    /**
     * Sends a message to all subscribers of a topic. Not in `ws`. The message is framed once, and
     * compressed once for all peers that it is compressed for. All messages of one turn of the loop
     * share a write per receiver.
     *
     * A message goes out behind what was sent to the receiver before. It never comes between the
     * fragments of another one, but waits for its end.
     *
     * @param data A string is sent as text, anything else as binary. Its memory may be reused at once
     * @returns How many connections the message went to: those that were open and not too slow
     * @throws {TypeError | RangeError} An argument is not that; nothing was sent then
     */
    publish(topic: string, data: PublishData, options?: PublishOptions): number;

    /**
     * Sends a message to all `clients`; otherwise as `publish()`.
     *
     * @throws {Error} Without the option `clientTracking`
     */
    broadcast(data: PublishData, options?: PublishOptions): number;

    /** Returns how many connections have subscribed to a topic. Not in `ws`. */
    numSubscribers(topic: string): number;

    /** How many connections there are and have been, and how often limits were breached. Not in `ws`. */
    stats(): ServerStats;

    /** Decides by `path` whether a request is for this server. May be replaced. */
    shouldHandle(request: InstanceType<U>): boolean | Promise<boolean>;

    // The events: see ServerEvents.

    on<K extends keyof ServerEvents<T, U>>(
      event: K,
      listener: (this: Server<T>, ...args: ServerEvents<T, U>[K]) => void,
    ): this;
    on(event: string | symbol, listener: (this: Server<T>, ...args: any[]) => void): this;

    once<K extends keyof ServerEvents<T, U>>(
      event: K,
      listener: (this: Server<T>, ...args: ServerEvents<T, U>[K]) => void,
    ): this;
    once(event: string | symbol, listener: (this: Server<T>, ...args: any[]) => void): this;

    off<K extends keyof ServerEvents<T, U>>(
      event: K,
      listener: (this: Server<T>, ...args: ServerEvents<T, U>[K]) => void,
    ): this;
    off(event: string | symbol, listener: (this: Server<T>, ...args: any[]) => void): this;

    addListener<K extends keyof ServerEvents<T, U>>(
      event: K,
      listener: (this: Server<T>, ...args: ServerEvents<T, U>[K]) => void,
    ): this;
    addListener(event: string | symbol, listener: (this: Server<T>, ...args: any[]) => void): this;

    removeListener<K extends keyof ServerEvents<T, U>>(
      event: K,
      listener: (this: Server<T>, ...args: ServerEvents<T, U>[K]) => void,
    ): this;
    removeListener(
      event: string | symbol,
      listener: (this: Server<T>, ...args: any[]) => void,
    ): this;

    prependListener<K extends keyof ServerEvents<T, U>>(
      event: K,
      listener: (this: Server<T>, ...args: ServerEvents<T, U>[K]) => void,
    ): this;
    prependListener(
      event: string | symbol,
      listener: (this: Server<T>, ...args: any[]) => void,
    ): this;

    prependOnceListener<K extends keyof ServerEvents<T, U>>(
      event: K,
      listener: (this: Server<T>, ...args: ServerEvents<T, U>[K]) => void,
    ): this;
    prependOnceListener(
      event: string | symbol,
      listener: (this: Server<T>, ...args: any[]) => void,
    ): this;
  }

  /** The events of a server, and what their listeners get. */
  interface ServerEvents<
    T extends typeof WebSocket = typeof WebSocket,
    U extends typeof IncomingMessage = typeof IncomingMessage,
  > {
    /** The port is bound. */
    listening: [];
    /** A connection is open. `request` is a StreamRequest if it is one of HTTP/2. */
    connection: [websocket: InstanceType<T>, request: InstanceType<U>];
    /** Before the response is sent; lines may be added, changed and removed. */
    headers: [lines: string[], request: InstanceType<U>];
    /** Listening has failed. */
    error: [error: Error];
    /** A request for an upgrade is refused; the listener owns the socket. */
    wsClientError: [error: Error, socket: Duplex, request: InstanceType<U>];
    /** With `tls`: a connection has failed before its request. */
    tlsClientError: [
      error: Error & { code?: string | undefined; remoteAddress?: string | undefined },
    ];
    /** After `close()`. */
    close: [];
  }

  /** The request of a WebSocket over HTTP/2. */
  interface StreamRequest {
    method: 'CONNECT';
    url: string;
    headers: IncomingHttp2Headers & { host?: string };
    httpVersion: '2.0';
    httpVersionMajor: 2;
    httpVersionMinor: 0;
    stream: ServerHttp2Stream;
    socket: Duplex | undefined;
  }

  const WebSocketServer: typeof Server;
  interface WebSocketServer<
    T extends typeof WebSocket = typeof WebSocket,
    U extends typeof IncomingMessage = typeof IncomingMessage,
  > extends Server<T, U> {}

  const WebSocket: typeof WebSocketAlias;
  interface WebSocket extends WebSocketAlias {}

  /** Where a context stands. A state is never left for an earlier one. */
  type ContextState =
    /** Everything is possible. */
    | 'running'
    /** `drain()`: no new servers; connections go on until they end by themselves. */
    | 'draining'
    /** `close()`: no new connections; closing handshakes run. */
    | 'closing'
    /** Handles are being closed. */
    | 'destroying'
    /** The last handle is closed, and 'close' emitted. */
    | 'destroyed';

  interface ContextOptions {
    /** Anything; it becomes `data`. */
    data?: unknown;
    /**
     * Bytes that the context may hold for its peers: partial messages, and what was sent and is not
     * taken. At nine tenths of it, reading stops for those who hold something; beyond it the largest
     * holder ends, with 1013 and `ERR_UVWS_MEMORY_BUDGET`. See docs/limits.md. Default Infinity. Else an
     * integer of at least 1.
     */
    memoryBudget?: number | undefined;
    /** A name for logs. Default `''`. */
    name?: string | undefined;
    /** Destroys the context when it aborts; its reason is the cause of the errors that follow. */
    signal?: AbortSignal | undefined;
  }

  interface ContextCloseOptions {
    /** Status code of the Close frames, as in `WebSocket.close()`. Default 1001, going away. */
    code?: number | undefined;
    /** Reason of the Close frames, of at most 123 bytes. Default `''`. */
    reason?: string | Uint8Array | undefined;
    /** When the rest is terminated; Infinity for never. Default 30,000. */
    timeout?: number | undefined;
    /** Terminates the rest when it aborts. */
    signal?: AbortSignal | undefined;
  }

  /**
   * How often each limit was breached, since the start; see docs/limits.md. Of `maxPendingHandshakes`:
   * how often accepting stopped.
   */
  type LimitCounts = Record<
    | 'maxPayload'
    | 'maxFragments'
    | 'maxBackpressure'
    | 'maxControlFrames'
    | 'memoryBudget'
    | 'maxConnections'
    | 'maxConnectionsPerAddress'
    | 'maxPendingHandshakes'
    | 'handshakeTimeout'
    | 'closeTimeout'
    | 'maxHeaderSize'
    | 'maxHeadersCount'
    | 'heartbeat'
    | 'allowedOrigins',
    number
  >;

  /** What a connection has received and sent, and how it stands. */
  interface ConnectionStats {
    /**
     * What carries it: a native socket, a native session of TLS, or a stream of Node's, such as a
     * TLSSocket or a stream of HTTP/2. Null while there is none.
     */
    transport: 'tcp' | 'tls' | 'stream' | null;
    /** Whether permessage-deflate was agreed on. */
    compression: boolean;
    /** Milliseconds since it was opened. */
    duration: number;
    /** Milliseconds since something was received. */
    idleTime: number;
    /** Bytes of partial messages and of the send queue. */
    bytesBuffered: number;
    /**
     * Bytes received, frame headers included, before they are inflated; those of TLS are not counted. The
     * opening handshake is, if it was native.
     */
    bytesReceived: number;
    /** Bytes that the system, or the stream, has taken; counted as those received. */
    bytesSent: number;
    messagesReceived: number;
    messagesSent: number;
    /** Messages to many that this connection was too slow for; see `overflow`. */
    messagesDropped: number;
    pingsReceived: number;
    /** PING frames sent, those of a `heartbeat` included. */
    pingsSent: number;
    pongsReceived: number;
    /** PONG frames sent, answers included. */
    pongsSent: number;
  }

  /** What a server has, and what it has had. */
  interface ServerStats {
    /** Open connections, and those that are closing. */
    connections: number;
    /** Connections that were opened since the start. */
    connectionsOpened: number;
    /**
     * Connections of the listener, with `port`, that are not open: their handshakes are under way, or
     * they were refused and are not gone.
     */
    pendingHandshakes: number;
    limits: LimitCounts;
  }

  /** What a context holds for its peers, in bytes. */
  interface MemoryStats {
    /** The `memoryBudget`. */
    budget: number;
    /** How much of it is used. */
    used: number;
    /** The most that was used since it was set. */
    peak: number;
  }

  /** What a context has, and what it has had. */
  interface ContextStats {
    /** Handles on the loop that are open or closing. */
    handles: number;
    /** Those of them that are closing. */
    closing: number;
    /** Open connections. */
    connections: number;
    /** Connections that were opened since the start, those of clients included. */
    connectionsOpened: number;
    /** Servers that listen. */
    listeners: number;
    /** Clients whose opening handshake is under way. */
    pendingConnects: number;
    /** Connections of servers whose opening handshake is under way. */
    pendingHandshakes: number;
    /** Bytes of partial messages, with the decompressors of compressed ones, and of send queues. */
    bytesBuffered: number;
    /** Bytes read since the start. */
    bytesReceived: number;
    /** Bytes written since the start. */
    bytesSent: number;
    /** Messages received since the start. */
    messagesReceived: number;
    /** Messages sent since the start. */
    messagesSent: number;
    /** Messages to many that slow receivers did not get, since the start; see `overflow`. */
    messagesDropped: number;
    /** What is held of `memoryBudget`; null without one. */
    memory: MemoryStats | null;
    limits: LimitCounts;
  }

  /**
   * Everything on this thread's loop that belongs and ends together: servers, clients, connections
   * and timers, and a handle that wakes the loop from any thread. The loop itself belongs to Node
   * and is left as it was found.
   *
   * `drain()`, `close()` and `destroy()` may be called any number of times, in any state, from
   * anywhere. They return `closed`, and call nothing of yours before they have returned. The end is
   * told in this order: 'close' of each connection, of each server, of the context, then `closed`.
   *
   * A context by itself does not keep the process alive. A server and a connection do, from the
   * moment it is asked for, and so does a context that is ending.
   */
  class Context extends EventEmitter {
    constructor(options?: ContextOptions);

    /**
     * The context that servers and clients join without the `context` option. Made on first use,
     * and made again once it is destroyed.
     */
    static readonly default: Context;

    readonly state: ContextState;
    /** Resolves when the context is destroyed. Always the same promise; never rejects. */
    readonly closed: Promise<void>;
    /** Yours. */
    data: unknown;
    readonly name: string;
    /**
     * As in `ContextOptions`; may be set at any time. Infinity once the context is destroyed.
     *
     * @throws {TypeError | RangeError} It is set to what is no integer of at least 1 or Infinity
     */
    memoryBudget: number;

    /**
     * Makes the loop turn and emits 'waitCancelled'. Stops nothing. Calls before the loop turns are
     * one event.
     *
     * @returns False once the context is being destroyed
     */
    cancelService(): boolean;
    /** As `cancelService()`. */
    wake(): boolean;
    /** What `wake()` of any thread takes. May be posted, and is never used again. */
    readonly wakeToken: bigint;

    /** Closes the servers. The context ends when its last connection has ended by itself. */
    drain(): Promise<void>;
    /**
     * Closes the servers, and each open connection by a closing handshake behind what was sent
     * before. Clients that are still connecting fail with `ERR_UVWS_CONTEXT_CLOSED`, upgrades that
     * are half done are answered with 503. Called again, only `signal` has a meaning.
     *
     * @throws {TypeError | RangeError} An option is not valid; nothing has happened then
     */
    close(options?: ContextCloseOptions): Promise<void>;
    /**
     * Ends everything at once, without Close frames: peers see 1006. From within a handler it takes
     * effect when the delivery is over, and no further message is delivered.
     *
     * @param error The `cause` of the errors of clients that were still connecting
     */
    destroy(error?: Error): Promise<void>;

    /** Lets servers and connections keep the process alive, as they do at first. */
    ref(): this;
    /** Lets nothing of this context keep the process alive. */
    unref(): this;
    hasRef(): boolean;

    /** All zero once destroyed, except for `limits`, which stay. */
    stats(): ContextStats;

    /** As `close()`. Node 20 may have it as `Symbol.for('nodejs.asyncDispose')` only. */
    [Symbol.asyncDispose](): Promise<void>;

    // The events: see ContextEvents.

    on<K extends keyof ContextEvents>(
      event: K,
      listener: (this: this, ...args: ContextEvents[K]) => void,
    ): this;
    on(event: string | symbol, listener: (this: this, ...args: any[]) => void): this;

    once<K extends keyof ContextEvents>(
      event: K,
      listener: (this: this, ...args: ContextEvents[K]) => void,
    ): this;
    once(event: string | symbol, listener: (this: this, ...args: any[]) => void): this;

    off<K extends keyof ContextEvents>(
      event: K,
      listener: (this: this, ...args: ContextEvents[K]) => void,
    ): this;
    off(event: string | symbol, listener: (this: this, ...args: any[]) => void): this;

    addListener<K extends keyof ContextEvents>(
      event: K,
      listener: (this: this, ...args: ContextEvents[K]) => void,
    ): this;
    addListener(event: string | symbol, listener: (this: this, ...args: any[]) => void): this;

    removeListener<K extends keyof ContextEvents>(
      event: K,
      listener: (this: this, ...args: ContextEvents[K]) => void,
    ): this;
    removeListener(event: string | symbol, listener: (this: this, ...args: any[]) => void): this;

    prependListener<K extends keyof ContextEvents>(
      event: K,
      listener: (this: this, ...args: ContextEvents[K]) => void,
    ): this;
    prependListener(event: string | symbol, listener: (this: this, ...args: any[]) => void): this;

    prependOnceListener<K extends keyof ContextEvents>(
      event: K,
      listener: (this: this, ...args: ContextEvents[K]) => void,
    ): this;
    prependOnceListener(
      event: string | symbol,
      listener: (this: this, ...args: any[]) => void,
    ): this;
  }

  /** The events of a context, and what their listeners get. */
  interface ContextEvents {
    /** A server listens. */
    listening: [server: Server];
    /** A connection of a server is open. `request` is a StreamRequest if it is one of HTTP/2. */
    connection: [websocket: WebSocketAlias, request: IncomingMessage, server: Server];
    /** The loop has turned for `wake()` or `cancelService()`. */
    waitCancelled: [];
    /** The servers are closed; connections end by themselves, or are closed. */
    draining: [];
    /** The context is destroyed. */
    close: [];
  }

  /**
   * Wakes the context that `token` is the `wakeToken` of. Safe in any thread, at any time, for ever.
   *
   * @returns False if the context is being destroyed or is gone
   * @throws {TypeError} The token is no bigint
   */
  function wake(token: bigint): boolean;

  /**
   * Returns what the `stats()` of all contexts of this thread say, in the text format of Prometheus, for
   * the response to a scrape. The label `context` is the `name` of a context. Contexts of the same name
   * are added up; what one has counted stays in the sum for as long as there is another. Empty without
   * a context. The names of the metrics are in docs/observability.md.
   */
  function metrics(): string;
  namespace metrics {
    /** The Content-Type of that response: `text/plain; version=0.0.4; charset=utf-8`. */
    const contentType: string;
  }

  /**
   * What subscribers of the channels of `node:diagnostics_channel` get, by the name of the channel.
   * They are called before the events of the same name are emitted. `server` is null for a client.
   */
  interface DiagnosticsMessages {
    /** A connection is open. `request` is null for a client. */
    'uvws:connection': {
      websocket: WebSocket;
      server: Server | null;
      context: Context;
      request: IncomingMessage | StreamRequest | null;
    };
    /**
     * A connection has ended that was open. `code` and `reason` are those of 'close'; a client with
     * `reconnect` may come back, without having emitted that. `initiator` is who has sent the first
     * Close frame, this end or the peer; null if there was none.
     */
    'uvws:close': {
      websocket: WebSocket;
      server: Server | null;
      context: Context;
      code: number;
      reason: Buffer;
      initiator: 'local' | 'remote' | null;
    };
    /**
     * A connection has failed, or a client has not got one: with `reconnect` for each attempt. Or a
     * server does not listen, or TLS with one of its clients has failed: then `websocket` is null.
     */
    'uvws:error': {
      websocket: WebSocket | null;
      server: Server | null;
      context: Context;
      error: Error;
    };
    /**
     * A limit was breached. `websocket` is null if the peer has no WebSocket, as in its opening
     * handshake.
     */
    'uvws:limit': {
      limit: keyof LimitCounts;
      websocket: WebSocket | null;
      server: Server | null;
      context: Context;
    };
  }

  /**
   * Ends contexts when the process gets a signal: the first one closes them, a second one destroys
   * them. Then the signal is raised again without these handlers, so that the exit status is
   * 128 + n. Nothing else in uvws handles signals.
   *
   * @returns Removes the handlers
   * @throws {TypeError | RangeError} An argument is not valid
   * @throws {Error} `ERR_UVWS_NOT_SUPPORTED`: in a worker, which gets no signals
   */
  function closeOnSignals(
    contexts: Context | Iterable<Context>,
    options?: {
      /** Default `['SIGINT', 'SIGTERM']`. */
      signals?: NodeJS.Signals[] | undefined;
      /** Time for the closing handshakes. Default 30,000. */
      timeout?: number | undefined;
    },
  ): () => void;

  /**
   * Shows a WebSocket as a Duplex stream: a chunk is a message. With `readableObjectMode` text is a
   * string. While nobody reads, the WebSocket is paused; ending the stream closes it, destroying
   * the stream terminates it.
   *
   * @throws {TypeError} An argument is not that
   */
  function createWebSocketStream(websocket: WebSocketAlias, options?: DuplexOptions): Duplex;

  /** The Sec-WebSocket-Extensions header (RFC 6455 section 9.1). */
  const extension: {
    /** @throws {SyntaxError} The text is no such header */
    parse(header: string): Record<string, Record<string, (string | true)[]>[]>;
    format(extensions: Record<string, object | object[]>): string;
  };

  /** The Sec-WebSocket-Protocol header (RFC 6455 section 11.3.4). */
  const subprotocol: {
    /** @throws {SyntaxError} The text is no such header, or names a subprotocol twice */
    parse(header: string): Set<string>;
  };

  /** Negotiates permessage-deflate, and compresses in JavaScript. Connections compress natively. */
  class PerMessageDeflate {
    static readonly extensionName: 'permessage-deflate';
    constructor(
      options?: PerMessageDeflateOptions & {
        isServer?: boolean | undefined;
        maxPayload?: number | undefined;
      },
    );
    /** What was agreed on. */
    params: Record<string, number | true> | null;
    /** The parameters of a client's offer. */
    offer(): Record<string, number | true>;
    /** @throws {Error} None of the offers, or not the response, can be accepted */
    accept(configurations: object[]): Record<string, number | true>;
    compress(
      data: Buffer | string,
      fin: boolean,
      callback: (error: Error | null, result?: Buffer) => void,
    ): void;
    decompress(
      data: Buffer,
      fin: boolean,
      callback: (error: Error | null, result?: Buffer) => void,
    ): void;
    cleanup(): void;
  }

  /** Reads frames in JavaScript. Events: message, ping, pong, conclude (code, reason), error. */
  class Receiver extends Writable {
    constructor(options?: {
      allowSynchronousEvents?: boolean | undefined;
      binaryType?: WebSocketAlias['binaryType'] | undefined;
      extensions?: Record<string, PerMessageDeflate> | undefined;
      isServer?: boolean | undefined;
      maxBufferedChunks?: number | undefined;
      maxFragments?: number | undefined;
      maxPayload?: number | undefined;
      skipUTF8Validation?: boolean | undefined;
    });
  }

  /** Writes frames in JavaScript. */
  class Sender {
    constructor(
      socket: Duplex,
      extensions?: Record<string, PerMessageDeflate>,
      generateMask?: (mask: Buffer) => void,
    );
    /** Makes a frame: its header and its payload, or both as one. */
    static frame(
      data: Buffer | string,
      options: {
        opcode: number;
        fin?: boolean | undefined;
        mask?: boolean | undefined;
        maskBuffer?: Buffer | undefined;
        generateMask?: ((mask: Buffer) => void) | undefined;
        /** Whether the bytes of `data` must stay as they are. */
        readOnly?: boolean | undefined;
        rsv1?: boolean | undefined;
      },
    ): (Buffer | string)[];
    send(
      data: any,
      options: { binary?: boolean; compress?: boolean; fin?: boolean; mask?: boolean },
      cb?: (error?: Error) => void,
    ): void;
    ping(data: any, mask?: boolean, cb?: (error?: Error) => void): void;
    pong(data: any, mask?: boolean, cb?: (error?: Error) => void): void;
    close(
      code?: number,
      reason?: string | Uint8Array,
      mask?: boolean,
      cb?: (error?: Error) => void,
    ): void;
    sendFrame(list: (Buffer | string)[], cb?: (error?: Error) => void): void;
  }

  interface WebSocketEventMap {
    open: Event;
    error: ErrorEvent;
    close: CloseEvent;
    message: MessageEvent;
  }

  interface EventListenerOptions {
    /** Whether to remove the listener when it is called. Default false. */
    once?: boolean | undefined;
  }

  interface Event {
    readonly type: string;
    readonly target: WebSocketAlias;
  }

  interface ErrorEvent extends Event {
    readonly error: any;
    readonly message: string;
  }

  interface CloseEvent extends Event {
    /** Whether both sides have sent a Close frame. */
    readonly wasClean: boolean;
    readonly code: number;
    readonly reason: string;
  }

  interface MessageEvent extends Event {
    /** A string for text, otherwise what `binaryType` says. */
    readonly data: Data;
  }
}

export = WebSocket;
