import WebSocket from './index.js';

export const { closeOnSignals, Context, createWebSocketStream, Server, wake, WebSocketServer } =
  WebSocket;
export { WebSocket };
export default WebSocket;
