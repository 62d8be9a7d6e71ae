'use strict';

// graphql-ws on a server of ours, with a client of ours.

const assert = require('node:assert');
const { once } = require('node:events');
const { test } = require('node:test');

const { buildSchema } = require('graphql');
const { createClient } = require('graphql-ws');
const { useServer } = require('graphql-ws/use/ws');
const WebSocket = require('ws');

test('a query and a subscription', async (t) => {
  const schema = buildSchema('type Query { hello: String } type Subscription { count: Int }');
  const roots = {
    query: { hello: () => 'world' },
    subscription: {
      async *count() {
        for (let count = 1; count <= 3; count++) yield { count };
      },
    },
  };
  const wss = new WebSocket.WebSocketServer({ port: 0, host: '127.0.0.1', path: '/graphql' });
  const disposable = useServer({ schema, roots }, wss);
  await once(wss, 'listening');
  const client = createClient({
    url: `ws://127.0.0.1:${wss.address().port}/graphql`,
    webSocketImpl: WebSocket,
  });
  t.after(async () => {
    await client.dispose();
    await disposable.dispose();
  });

  const [answer] = await collect(client.iterate({ query: '{ hello }' }));
  assert.strictEqual(answer.data.hello, 'world');
  const counts = await collect(client.iterate({ query: 'subscription { count }' }));
  assert.deepStrictEqual(
    counts.map(({ data }) => data.count),
    [1, 2, 3],
  );
});

async function collect(iterable) {
  const values = [];
  for await (const value of iterable) values.push(value);
  return values;
}
