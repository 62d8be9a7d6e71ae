'use strict';

// What a TLS connection knows of its peer, as Node's TLSSocket shows it.

const PROTOCOLS = { 0x0303: 'TLSv1.2', 0x0304: 'TLSv1.3' };

/** OpenSSL's names of the cipher suites of TLS 1.2; those of TLS 1.3 are the standard's. */
const CIPHERS = {
  TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: 'ECDHE-ECDSA-AES128-GCM-SHA256',
  TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384: 'ECDHE-ECDSA-AES256-GCM-SHA384',
  TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: 'ECDHE-ECDSA-CHACHA20-POLY1305',
  TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256: 'ECDHE-RSA-AES128-GCM-SHA256',
  TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384: 'ECDHE-RSA-AES256-GCM-SHA384',
  TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256: 'ECDHE-RSA-CHACHA20-POLY1305',
};

/** The native half's codes of a chain of certificates that ends nowhere; OpenSSL's say where it stops. */
const UNKNOWN_ISSUER = ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', 'CERT_REJECTED'];

/**
 * Reads a chain up to what is no certificate: who verifies it needs no more of it than leads to an authority,
 * and the rest may be anything.
 */
function readChain(chain) {
  const { X509Certificate } = require('node:crypto');
  const certificates = [];
  for (const each of chain) {
    try {
      certificates.push(new X509Certificate(each));
    } catch {
      break;
    }
  }
  return certificates;
}

function isSelfSigned(certificate) {
  return certificate.checkIssued(certificate);
}

/** Read from the native half when it is first asked for. */
class PeerSecurity {
  #native;
  #certificates;

  /** @param {object} security What the native half says */
  constructor(security) {
    this.#native = security;
  }

  get authorized() {
    return this.#native.authorized;
  }

  /** A code, or null. */
  get authorizationError() {
    const code = this.#native.code ?? null;
    if (!UNKNOWN_ISSUER.includes(code)) return code;
    const { certificates } = this;
    if (certificates.length === 0) return code;
    if (!isSelfSigned(certificates.at(-1))) {
      return certificates.length === 1 ? 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' : code;
    }
    return certificates.length === 1 ? 'DEPTH_ZERO_SELF_SIGNED_CERT' : 'SELF_SIGNED_CERT_IN_CHAIN';
  }

  get protocol() {
    return PROTOCOLS[this.#native.version] ?? null;
  }

  get alpnProtocol() {
    return this.#native.alpn ?? false;
  }

  get servername() {
    return this.#native.serverName ?? false;
  }

  get cipher() {
    const { cipher } = this.#native;
    if (cipher == null) return {};
    const standardName = cipher.replace(/^TLS13_/, 'TLS_');
    return {
      name: CIPHERS[standardName] ?? standardName,
      standardName,
      version: this.protocol,
    };
  }

  /** The peer's certificate and those that it has sent behind it, as far as they are such. */
  get certificates() {
    this.#certificates ??= readChain(this.#native.chain);
    return this.#certificates;
  }

  /** The peer's certificate as getPeerCertificate() returns it; `{}` without one. */
  certificate(isDetailed) {
    const objects = this.certificates.map((each) => each.toLegacyObject());
    if (objects.length === 0) return {};
    if (isDetailed) {
      objects.forEach((object, index) => {
        const issuer = isSelfSigned(this.certificates[index]) ? object : objects[index + 1];
        if (issuer !== undefined) object.issuerCertificate = issuer;
      });
    }
    return objects[0];
  }
}

module.exports = PeerSecurity;
