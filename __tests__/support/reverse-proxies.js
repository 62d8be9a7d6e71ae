// nginx and HAProxy in front of a server, configured as their manuals say for WebSocket.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { freePort } = require('./peers.js');
const { startProgram } = require('./proxies.js');

/** Seconds without traffic after which a tunnel below /impatient is cut. */
const IMPATIENCE = 2;

/** What each needs to know: `{ directory, port, securePort, target, pem }`. */
const KINDS = {
  nginx: {
    configuration: ({ directory, port, securePort, target, pem }) => `
      daemon off;
      worker_processes 1;
      pid ${directory}/nginx.pid;
      error_log ${directory}/error.log;
      events { worker_connections 1024; }
      http {
        access_log off;
        client_body_temp_path ${directory}/body;
        proxy_temp_path ${directory}/proxy;
        fastcgi_temp_path ${directory}/fastcgi;
        uwsgi_temp_path ${directory}/uwsgi;
        scgi_temp_path ${directory}/scgi;
        map $http_upgrade $connection_upgrade { default upgrade; '' close; }
        proxy_http_version 1.1;
        proxy_set_header Host $host;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
        proxy_set_header X-Forwarded-For $remote_addr;
        server {
          listen 127.0.0.1:${port};
          listen 127.0.0.1:${securePort} ssl;
          ssl_certificate ${pem};
          ssl_certificate_key ${pem};
          location / { proxy_pass http://127.0.0.1:${target}; proxy_read_timeout 60s; }
          location /impatient {
            proxy_pass http://127.0.0.1:${target};
            proxy_read_timeout ${IMPATIENCE}s;
          }
        }
      }`,
    args: (file, directory) => [
      '-c',
      file,
      '-p',
      directory,
      '-e',
      path.join(directory, 'error.log'),
    ],
    reload: 'SIGHUP',
  },
  haproxy: {
    configuration: ({ port, securePort, target, pem }) => `
global
  maxconn 2000
  stats timeout 5s
defaults
  mode http
  timeout connect 20s
  timeout client 60s
  timeout server 60s
frontend front
  bind 127.0.0.1:${port}
  bind 127.0.0.1:${securePort} ssl crt ${pem}
  use_backend impatient if { path_beg /impatient }
  default_backend patient
backend patient
  option forwardfor
  timeout tunnel 60s
  server one 127.0.0.1:${target}
backend impatient
  timeout tunnel ${IMPATIENCE}s
  server one 127.0.0.1:${target}
`,
    args: (file) => ['-W', '-f', file],
    reload: 'SIGUSR2',
  },
};

/**
 * Starts a proxy in front of the port `target`; it terminates TLS with `certificate` on a second port.
 * `reload()` lets new processes accept and old ones end what they have; `restart()` cuts everything.
 */
async function reverseProxy(kind, target, certificate) {
  const { configuration, args, reload } = KINDS[kind];
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), `uvws-${kind}-`));
  const [port, securePort] = [await freePort(), await freePort()];
  const pem = path.join(directory, 'front.pem');
  fs.writeFileSync(pem, Buffer.concat([certificate.cert, certificate.key]));
  const file = path.join(directory, `${kind}.conf`);
  fs.writeFileSync(file, configuration({ directory, port, securePort, target, pem }));
  // Workers of nginx are of another user.
  fs.chmodSync(directory, 0o755);
  const start = () => startProgram(kind, args(file, directory), port);
  let { child, end } = await start();
  return {
    port,
    securePort,
    reload: () => child.kill(reload),
    stop: () => end(),
    async restart() {
      await end();
      ({ child, end } = await start());
    },
    async close() {
      await end();
      fs.rmSync(directory, { recursive: true });
    },
  };
}

module.exports = { IMPATIENCE, KINDS, reverseProxy };
