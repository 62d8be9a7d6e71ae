// Certificates for tests of TLS: an authority and what it issues, made when they are asked for.

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

function openssl(...args) {
  execFileSync('openssl', args, { stdio: 'pipe' });
}

/** Makes certificates in a directory of its own, which `remove()` takes away. */
class Workshop {
  #directory = fs.mkdtempSync(path.join(os.tmpdir(), 'uvws-authority-'));
  #count = 0;

  /** The path of a file with `content`. */
  file(content) {
    const file = path.join(this.#directory, `${this.#count++}.pem`);
    fs.writeFileSync(file, content);
    return file;
  }

  /**
   * Makes a certificate.
   *
   * @param {object} [what]
   * @param {string} [what.name] Its common name
   * @param {string} [what.altNames] Its other names, as OpenSSL writes them
   * @param {object} [what.issuer] Who signs it; itself without one
   * @param {boolean} [what.isAuthority] Whether it may sign others
   * @param {number} [what.days] How long it is valid
   * @param {string[]} [what.newKey] The kind of key
   * @returns {{ key: Buffer, cert: Buffer, keyFile: string, certFile: string }} PEM
   */
  make({
    name = 'localhost',
    altNames = 'DNS:localhost,IP:127.0.0.1',
    issuer = null,
    isAuthority = false,
    days = 2,
    newKey = ['ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'],
  } = {}) {
    const [keyFile, request, certFile] = ['key', 'request', 'cert'].map((each) =>
      path.join(this.#directory, `${this.#count}-${each}.pem`),
    );
    const number = this.#count++;
    openssl(
      ...['req', '-newkey', ...newKey, '-nodes', '-subj', `/CN=${name}`],
      ...['-keyout', keyFile, '-out', request],
    );
    const lines = [`basicConstraints=critical,CA:${isAuthority ? 'TRUE' : 'FALSE'}`];
    if (altNames) lines.push(`subjectAltName=${altNames}`);
    const signer =
      issuer === null
        ? ['-signkey', keyFile]
        : ['-CA', issuer.certFile, '-CAkey', issuer.keyFile, '-set_serial', String(1000 + number)];
    openssl(
      ...['x509', '-req', '-in', request, '-out', certFile, '-days', String(days), ...signer],
      ...['-extfile', this.file(lines.join('\n'))],
    );
    return { key: fs.readFileSync(keyFile), cert: fs.readFileSync(certFile), keyFile, certFile };
  }

  /** Makes an authority. */
  authority(name = 'A test authority', issuer = null) {
    return this.make({ name, altNames: '', issuer, isAuthority: true });
  }

  remove() {
    fs.rmSync(this.#directory, { recursive: true, force: true });
  }
}

module.exports = { Workshop };
