'use strict';

// Topics: who has subscribed to what. A topic belongs to a server and exists while it has
// subscribers; a connection without topics has nothing of this.

const table = require('./table');
const Receivers = require('./receivers');
const { detailsOf } = require('./details');
const { checkType } = require('./validation');
const { NONE, OPEN } = require('./constants');

/** The subscribers of one topic of one server. */
class Topic extends Receivers {
  /** @param {string} name The topic's name */
  constructor(name) {
    super();
    this.name = name;
  }
}

/** Returns the server of a connection; throws if it is a client's. */
function serverOf(websocket, method) {
  const { _server: server } = websocket;
  if (server === null) {
    throw new Error(`${method}() is for the connections of a WebSocketServer, not for clients`);
  }
  return server;
}

/** Returns a topic of a server, or undefined if nobody has subscribed to it. */
function topicOf(server, name) {
  checkType('string', name, 'topic');
  return server === null || server._topics === null ? undefined : server._topics.get(name);
}

/** Returns the topics of a connection, with the connection's place in each. */
function placesOf(websocket) {
  return websocket._details === null ? null : websocket._details.topics;
}

/** See WebSocket.subscribe(). */
function subscribe(websocket, name) {
  const server = serverOf(websocket, 'subscribe');
  let topic = topicOf(server, name);
  if (websocket._readyState !== OPEN || websocket._id === NONE) return false;
  if (topic === undefined) {
    topic = new Topic(name);
    server._topics ??= new Map();
    server._topics.set(name, topic);
  }
  const details = detailsOf(websocket);
  details.topics ??= new Map();
  if (!details.topics.has(topic)) details.topics.set(topic, topic.add(websocket._id));
  return true;
}

/** See WebSocket.unsubscribe(). */
function unsubscribe(websocket, name) {
  const topic = topicOf(websocket._server, name);
  const places = placesOf(websocket);
  if (topic === undefined || places === null || !places.has(topic)) return false;
  leave(websocket, topic, places.get(topic));
  places.delete(topic);
  return true;
}

/** Takes a connection out of all its topics: it is open no longer. */
function leaveAll(websocket) {
  const places = placesOf(websocket);
  if (places === null) return;
  for (const [topic, place] of places) leave(websocket, topic, place);
  websocket._details.topics = null;
}

function leave(websocket, topic, place) {
  const moved = topic.remove(place);
  if (moved !== websocket._id) table[moved]._details.topics.set(topic, place);
  if (topic.count === 0) websocket._server._topics.delete(topic.name);
}

/** See WebSocket.isSubscribed(). */
function isSubscribed(websocket, name) {
  const topic = topicOf(websocket._server, name);
  const places = placesOf(websocket);
  return topic !== undefined && places !== null && places.has(topic);
}

/** See WebSocket.getTopics(). */
function namesOf(websocket) {
  const places = placesOf(websocket);
  return places === null ? [] : Array.from(places.keys(), ({ name }) => name);
}

/** See WebSocketServer.numSubscribers(). */
function subscribersOf(server, name) {
  const topic = topicOf(server, name);
  return topic === undefined ? 0 : topic.count;
}

module.exports = {
  isSubscribed,
  leaveAll,
  namesOf,
  serverOf,
  subscribe,
  subscribersOf,
  topicOf,
  unsubscribe,
};
