import WebSocket from './index.js';

export const {
  closeOnSignals,
  Context,
  createWebSocketStream,
  extension,
  metrics,
  PerMessageDeflate,
  Receiver,
  Sender,
  Server,
  subprotocol,
  wake,
  WebSocketServer,
} = WebSocket;
export { WebSocket };
export default WebSocket;
