'use strict';

// mqtt over WebSockets to mosquitto, a broker in C, if it is installed.

const assert = require('node:assert');
const { spawn, spawnSync } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { test } = require('node:test');

const mqtt = require('mqtt');

const PATH = `${process.env.PATH}${path.delimiter}/usr/sbin`;
const isInstalled = spawnSync('mosquitto', ['-h'], { env: { PATH } }).error === undefined;

async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/** Waits for the broker. */
async function listening(port) {
  for (let attempt = 0; ; attempt++) {
    try {
      const socket = net.connect(port, '127.0.0.1');
      await once(socket, 'connect');
      socket.destroy();
      return;
    } catch (error) {
      if (attempt === 400) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

test('publishes to itself', { skip: !isInstalled && 'no mosquitto' }, async (t) => {
  const port = await freePort();
  // The broker refuses to start with listeners for WebSockets alone.
  const plainPort = await freePort();
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'uvws-mqtt-'));
  const configuration = path.join(directory, 'mosquitto.conf');
  fs.writeFileSync(
    configuration,
    `listener ${plainPort} 127.0.0.1\nlistener ${port}\nprotocol websockets\nallow_anonymous true\n`,
  );
  fs.chmodSync(directory, 0o755);
  const broker = spawn('mosquitto', ['-c', configuration], { env: { PATH }, stdio: 'ignore' });
  t.after(() => {
    broker.kill('SIGKILL');
    fs.rmSync(directory, { recursive: true });
  });

  await listening(port);
  const client = mqtt.connect(`ws://127.0.0.1:${port}`);
  t.after(() => client.endAsync(true));
  await once(client, 'connect');
  await client.subscribeAsync('topic/#');
  const payload = Buffer.alloc(200_000, 'payload');
  const received = once(client, 'message');
  await client.publishAsync('topic/one', payload, { qos: 1 });
  const [topic, message] = await received;
  assert.strictEqual(topic, 'topic/one');
  assert.ok(message.equals(payload));
});
