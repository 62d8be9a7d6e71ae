'use strict';

// TLS by the native half: reads the options of Node's tls module, and says which of them it can honour.
// What it cannot is left to Node's own TLS.

const native = require('./addon');
const { checkObject, received } = require('./validation');

const VERSIONS = { TLSv1: 0x0301, 'TLSv1.1': 0x0302, 'TLSv1.2': 0x0303, 'TLSv1.3': 0x0304 };
/** The lowest version of the native half. */
const LOWEST = VERSIONS['TLSv1.2'];

/** Options of a certificate: those of addContext(). */
const IDENTITY_OPTIONS = ['cert', 'key', 'passphrase'];
/** Options of a server that the native half can honour, if their values are usual ones. */
const SERVER_OPTIONS = new Set([
  ...IDENTITY_OPTIONS,
  'ALPNProtocols',
  'ca',
  'maxVersion',
  'minVersion',
  'rejectUnauthorized',
  'requestCert',
  'sessionTickets',
]);
/** Options that a server of Node's keeps for its life. */
const NODE_LASTING_OPTIONS = [
  'ALPNCallback',
  'ALPNProtocols',
  'SNICallback',
  'handshakeTimeout',
  'pskCallback',
  'pskIdentityHint',
  'rejectUnauthorized',
  'requestCert',
];
/** Options of TLS that only Node's client can honour. */
const NODE_CLIENT_OPTIONS = ['checkServerIdentity', 'ciphers', 'pfx', 'secureContext'];

/** What a WebSocket is spoken over, where nothing else is asked for (RFC 7301). */
const SERVER_ALPN = ['http/1.1'];

/** The client's configuration without options, and the roots that it was made from. */
let usual = { roots: null, security: null };
/** The roots of a Node that does not tell them. */
let knownRoots = null;

// Node's modules are loaded when they are needed: they take longer to load than this package.

function listOf(value) {
  if (value == null) return [];
  return Array.isArray(value) ? value : [value];
}

/** Names of the options that are given. */
function namesOf(options) {
  return Object.keys(options).filter((name) => options[name] !== undefined);
}

function bytesOf(value) {
  if (typeof value === 'string') return Buffer.from(value);
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
}

/** Pairs certificates with their keys. Throws what Node throws where a key cannot be read. */
function identitiesOf({ cert, key, passphrase }) {
  const { createPrivateKey, X509Certificate } = require('node:crypto');
  const keys = listOf(key).map((each) => {
    const isPair = typeof each === 'object' && each.pem !== undefined;
    return createPrivateKey({
      key: isPair ? each.pem : each,
      format: 'pem',
      passphrase: (isPair ? each.passphrase : undefined) ?? passphrase,
    });
  });
  return listOf(cert).map((chain) => {
    const leaf = new X509Certificate(chain);
    const own = keys.find((each) => leaf.checkPrivateKey(each));
    return { cert: bytesOf(chain), key: own.export({ type: 'pkcs8', format: 'der' }) };
  });
}

/** Returns the range of versions that is wanted, or null if it is not all the native half's. */
function versionsOf({ minVersion, maxVersion }) {
  const tls = require('node:tls');
  const min = VERSIONS[minVersion ?? tls.DEFAULT_MIN_VERSION];
  const max = VERSIONS[maxVersion ?? tls.DEFAULT_MAX_VERSION];
  return min >= LOWEST && max >= min ? { minVersion: min, maxVersion: max } : null;
}

/** Returns the protocols as strings, or null if they are given in another way. */
function alpnOf(protocols, fallback) {
  if (protocols == null) return fallback;
  const isPlain = Array.isArray(protocols) && protocols.every((each) => typeof each === 'string');
  return isPlain ? protocols : null;
}

/** The roots that Node trusts if nothing else is said; null if that is a matter of OpenSSL's. */
function usualRoots() {
  const tls = require('node:tls');
  if (typeof tls.getCACertificates === 'function') return tls.getCACertificates('default');
  if (knownRoots !== null) return knownRoots;
  const flags = [...process.execArgv, process.env.NODE_OPTIONS ?? ''].join(' ');
  if (flags.includes('--use-openssl-ca')) return null;
  knownRoots = [...tls.rootCertificates];
  const extra = process.env.NODE_EXTRA_CA_CERTS;
  if (extra) {
    try {
      knownRoots.push(require('node:fs').readFileSync(extra, 'utf8'));
    } catch {
      // Node has warned of it when it started.
    }
  }
  return knownRoots;
}

/** Runs what may find that the native half does not understand a certificate or a key. */
function orNull(make) {
  try {
    return make();
  } catch {
    return null;
  }
}

/**
 * Checks the options of a server, by Node's own rules.
 *
 * @throws {Error} What Node throws
 */
function checkServerOptions(options) {
  checkObject(options, 'options.tls');
  const { cert, key, pfx, SNICallback } = options;
  if (cert == null && pfx == null && SNICallback == null) {
    throw new TypeError(`"options.tls" must have a "cert" and a "key", ${received(options)}`);
  }
  if (cert != null && key == null && pfx == null) {
    throw new TypeError(`"options.tls.key" must be given with "cert", ${received(key)}`);
  }
  require('node:tls').createSecureContext(options);
}

/**
 * Makes the native configuration of a server.
 *
 * @param {import('node:tls').TlsOptions & { sessionTickets?: boolean }} options The options
 * @returns {object | null} The configuration, or null if it takes Node's TLS
 * @throws {Error} What Node throws where an option is not valid
 */
function serverSecurity(options) {
  checkServerOptions(options);
  if (!namesOf(options).every((name) => SERVER_OPTIONS.has(name))) return null;
  const versions = versionsOf(options);
  const alpn = alpnOf(options.ALPNProtocols, SERVER_ALPN);
  const requestCert = Boolean(options.requestCert);
  const ca = options.ca == null && requestCert ? usualRoots() : listOf(options.ca);
  if (versions === null || alpn === null || ca === null) return null;
  return orNull(() =>
    native.createServerSecurity({
      ...versions,
      alpn,
      identities: identitiesOf(options),
      ca: ca.map(bytesOf),
      requestCert,
      rejectUnauthorized: options.rejectUnauthorized !== false,
      sessionTickets: options.sessionTickets !== false,
      isPlain: namesOf(options).every((name) => IDENTITY_OPTIONS.includes(name)),
    }),
  );
}

/** Returns the certificates of a name; arguments and errors as in serverSecurity(). */
function namedIdentities(options) {
  checkServerOptions(options);
  const strange = namesOf(options).find((name) => !IDENTITY_OPTIONS.includes(name));
  if (strange !== undefined) {
    throw new TypeError(
      `"${strange}" is for all names: only ${IDENTITY_OPTIONS.join(', ')} differ`,
    );
  }
  return identitiesOf(options);
}

/** Says in Node's options alone what the options of a server say. */
function nodeOptions({ sessionTickets, ...options }) {
  if (sessionTickets === false) {
    options.secureOptions |= require('node:constants').SSL_OP_NO_TICKET;
  }
  return options;
}

/** Makes the server of Node's that stands in for the native listener. */
function makeNodeServer({ handshakeTimeout, tls }) {
  const limits = { handshakeTimeout, headersTimeout: handshakeTimeout };
  const server = require('node:https').createServer({ ...limits, ...nodeOptions(tls) });
  // What is no upgrade, or one that nobody takes any more.
  server.on('request', ({ headers: { upgrade = '' } }, response) => {
    const isLate = upgrade.toLowerCase() === 'websocket';
    const headers = isLate ? {} : { Upgrade: 'websocket' };
    response.writeHead(isLate ? 503 : 426, { Connection: 'close', ...headers }).end();
  });
  return server;
}

/**
 * Replaces the options of a server that makeNodeServer() has made.
 *
 * @throws {TypeError} If they differ from `former` in what Node would not heed
 * @throws {Error} What Node throws
 */
function renewNodeServer(server, former, tls) {
  checkServerOptions(tls);
  const { isDeepStrictEqual } = require('node:util');
  const fixed = NODE_LASTING_OPTIONS.find((name) => !isDeepStrictEqual(tls[name], former[name]));
  if (fixed !== undefined) {
    throw new TypeError(`"${fixed}" cannot be replaced where Node does the TLS`);
  }
  server.setSecureContext(nodeOptions(tls));
}

/** Tells whether the native half may be able to do what the options of a client say. */
function isForNode(hostname, options) {
  if (NODE_CLIENT_OPTIONS.some((name) => options[name])) return true;
  // Node warns of it.
  if (process.env.NODE_TLS_REJECT_UNAUTHORIZED === '0') return true;
  const name = options.servername ?? hostname;
  return typeof name !== 'string' || name === '' || name.endsWith('.');
}

/**
 * Makes the native configuration of a client, or finds that of all that have no options.
 *
 * @param {string} hostname The server's name or address
 * @param {object} options The options of the WebSocket
 * @returns {object | null} The configuration, or null if it takes Node's TLS
 */
function clientSecurity(hostname, options) {
  if (isForNode(hostname, options)) return null;
  const versions = versionsOf(options);
  const alpn = alpnOf(options.ALPNProtocols, []);
  const isOwnCa = options.ca != null;
  const roots = isOwnCa ? listOf(options.ca) : usualRoots();
  if (versions === null || alpn === null || roots === null) return null;
  const isUsual =
    !isOwnCa &&
    alpn.length === 0 &&
    options.rejectUnauthorized !== false &&
    ['cert', 'key', 'minVersion', 'maxVersion'].every((name) => options[name] == null);
  if (isUsual && usual.roots === roots) return usual.security;
  const security = orNull(() =>
    native.createClientSecurity({
      ...versions,
      alpn,
      identity: options.cert == null ? undefined : identitiesOf(options)[0],
      ca: roots.map(bytesOf),
      isOwnCa,
      rejectUnauthorized: options.rejectUnauthorized !== false,
    }),
  );
  if (isUsual) usual = { roots, security };
  return security;
}

module.exports = {
  clientSecurity,
  makeNodeServer,
  namedIdentities,
  renewNodeServer,
  serverSecurity,
};
