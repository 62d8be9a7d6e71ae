const { inChild } = require('../support/child.js');

test('a second server on a port fails with EADDRINUSE, and gets the port when the first has closed', () =>
  inChild(async ({ uvws, assert, once, rawClient, within }) => {
    const first = new uvws.Context();
    const second = new uvws.Context();
    const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context: first });
    await once(wss, 'listening');
    const { port } = wss.address();

    const rival = new uvws.WebSocketServer({ port, host: '127.0.0.1', context: second });
    const events = [];
    rival.on('listening', () => events.push('listening'));
    rival.on('error', (error) => events.push(error));
    assert.deepEqual(events, [], 'nothing is emitted by the constructor');
    await once(rival, 'error');
    assert.equal(events.length, 1);
    const [error] = events;
    assert.equal(error.code, 'EADDRINUSE');
    assert.equal(error.syscall, 'listen');
    assert.equal(error.port, port);
    assert.equal(error.address, '127.0.0.1');
    assert.equal(error.message, `listen EADDRINUSE: address already in use 127.0.0.1:${port}`);
    assert.ok(error.errno < 0);
    assert.equal(second.state, 'running');
    assert.equal(second.stats().listeners, 0);

    await (await rawClient(port)).destroy();
    wss.close();
    await once(wss, 'close');
    const heir = new uvws.WebSocketServer({ port, host: '127.0.0.1', context: second });
    await within(once(heir, 'listening'), 'listening');
    await (await rawClient(port)).destroy();
    await Promise.all([first.destroy(), second.destroy()]);
  }));

test('the same port twice in one context, and a port that Node has, fail in the same way', () =>
  inChild(async ({ uvws, assert, once, net }) => {
    const context = new uvws.Context();
    const server = net.createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address();
    for (let i = 0; i < 3; i++) {
      const wss = new uvws.WebSocketServer({ port, host: '127.0.0.1', context });
      const error = await new Promise((resolve) => wss.on('error', resolve));
      assert.equal(error.code, 'EADDRINUSE');
    }
    await new Promise((resolve) => server.close(resolve));
    const wss = new uvws.WebSocketServer({ port, host: '127.0.0.1', context });
    await once(wss, 'listening');
    await context.destroy();
  }));

test('an address that this machine does not have, and a name that does not exist, are errors of the server', () =>
  inChild(async ({ uvws, assert }) => {
    const context = new uvws.Context();
    for (const [host, codes] of [
      ['192.0.2.1', ['EADDRNOTAVAIL']],
      ['does-not-exist.invalid', ['ENOTFOUND', 'EAI_AGAIN']],
    ]) {
      const wss = new uvws.WebSocketServer({ port: 0, host, context });
      const error = await new Promise((resolve) => wss.on('error', resolve));
      assert.ok(codes.includes(error.code), `${host}: ${error.code}`);
      assert.equal(wss.address(), null);
    }
    await context.destroy();
  }));
