//! The control plane: a few calls per context, server and connection, made by napi-rs.

// napi-rs exports what is `pub`, wherever the module stands.
#![allow(unreachable_pub)]

use std::net::SocketAddr;
#[cfg(unix)]
use std::os::fd::IntoRawFd;
use std::rc::Rc;

use napi::bindgen_prelude::*;
use napi_derive::napi;

use super::environment::Environment;
use crate::context::{Context, Member, MemberKind, State};
use crate::endpoint::{
    Connection, DeflateOptions, Destination, Failure, FailureKind, Group, Hosts, Listener,
    ListenerOptions, Settings, Stream,
};
use crate::protocol::deflate::{DeflateParams, DEFAULT_MEM_LEVEL, DEFAULT_THRESHOLD};
use crate::protocol::handshake::host::{Host, Hostname};
use crate::protocol::Role;
use crate::transport::{ClientSecurity, ServerSecurity};

/// Limits and timeouts of connections. Times are milliseconds, sizes bytes; 0 means no limit.
#[napi(object)]
pub struct ConnectionOptions {
    pub handshake_timeout: f64,
    pub close_timeout: f64,
    pub heartbeat_interval: f64,
    pub heartbeat_timeout: f64,
    pub max_payload: f64,
    pub max_fragments: f64,
    pub max_backpressure: f64,
    pub max_control_frames: u32,
    pub skip_utf8: bool,
    pub auto_pong: bool,
}

/// Where a server listens.
#[napi(object)]
pub struct ListenOptions {
    pub host: Option<String>,
    pub port: u32,
    pub backlog: Option<i32>,
    /// For which host it is, as `hostname` has returned it; nothing for a default server.
    pub hostname: Option<String>,
    /// Whether it is for nothing but that host.
    pub strict_host: bool,
    /// 0 for no limit. That of the first server counts where several share a port.
    pub max_pending_handshakes: u32,
    /// Number of what limits the server's connections.
    pub admission: Option<u32>,
}

/// Length of the queue of connections to accept: that of Node.
const DEFAULT_BACKLOG: i32 = 511;

/// Where a client goes.
#[napi(object)]
pub struct ConnectOptions {
    pub hostname: String,
    pub port: u32,
    pub family: Option<u32>,
    pub host_header: String,
    pub path: String,
    pub protocols: Option<String>,
    pub extensions: Option<String>,
    pub headers: String,
    /// The name that the server's certificate is to have, of a connection of TLS.
    pub server_name: Option<String>,
}

/// An error in the words that JavaScript shows.
#[napi(object)]
pub struct FailureObject {
    pub name: String,
    pub message: String,
    pub code: Option<String>,
    pub errno: Option<i32>,
    pub syscall: Option<String>,
    pub address: Option<String>,
    pub port: Option<u32>,
    pub errors: Option<Vec<FailureObject>>,
    pub is_of_tls: bool,
}

/// What was agreed on for permessage-deflate, and how to compress.
#[napi(object)]
pub struct DeflateParameters {
    pub server_no_context_takeover: bool,
    pub client_no_context_takeover: bool,
    pub server_max_window_bits: u32,
    pub client_max_window_bits: u32,
    /// -1 and nothing stand for the default.
    pub level: Option<i32>,
    pub mem_level: Option<u32>,
    pub threshold: Option<f64>,
    /// Large messages of this environment that are compressed at the same time; 0 for no limit.
    pub concurrency: Option<u32>,
}

/// A socket address.
#[napi(object)]
pub struct AddressObject {
    pub address: String,
    pub family: String,
    pub port: u32,
}

/// Both addresses of a connection, and its octets on the wire.
#[napi(object)]
pub struct ConnectionInfo {
    pub remote_address: Option<String>,
    pub remote_family: Option<String>,
    pub remote_port: Option<u32>,
    pub local_address: Option<String>,
    pub local_family: Option<String>,
    pub local_port: Option<u32>,
    pub bytes_read: f64,
    pub bytes_written: f64,
}

/// How long the steps of a client's opening handshake took, in milliseconds from its start.
#[napi(object)]
pub struct ConnectionTimings {
    pub dns: Option<f64>,
    pub connect: Option<f64>,
    pub tls: Option<f64>,
    pub upgrade: Option<f64>,
}

/// What is running.
#[napi(object)]
pub struct Versions {
    pub uvws: String,
    pub libuv: String,
}

pub(super) fn environment(env: Env) -> Result<Rc<Environment>> {
    Environment::of(env.raw()).ok_or_else(|| {
        Error::new(Status::GenericFailure, "uvws is not attached to this environment")
    })
}

pub(super) fn context(env: Env, id: u32) -> Result<Option<Rc<Context>>> {
    Ok(environment(env)?.context(id))
}

/// Finds a context that takes new members of `kind`.
fn accepting_context(
    env: Env,
    id: u32,
    kind: MemberKind,
) -> Result<(Rc<Environment>, Rc<Context>)> {
    let environment = environment(env)?;
    match environment.context(id) {
        Some(context) if context.accepts(kind) && !context.is_ending() => {
            Ok((environment, context))
        }
        _ => Err(Error::new(Status::Closing, "The context is closed")),
    }
}

fn group(environment: &Environment, options: &ConnectionOptions) -> Rc<Group> {
    Rc::new(Group {
        settings: Settings {
            handshake_timeout: options.handshake_timeout as u64,
            close_timeout: options.close_timeout as u64,
            heartbeat_interval: options.heartbeat_interval as u64,
            heartbeat_timeout: options.heartbeat_timeout as u64,
            max_payload: options.max_payload as u64,
            max_fragments: options.max_fragments as u32,
            max_backpressure: options.max_backpressure as u64,
            max_control_frames: options.max_control_frames,
            skip_utf8_validation: options.skip_utf8,
            auto_pong: options.auto_pong,
        },
        table: Rc::clone(&environment.table),
    })
}

fn port(number: u32) -> Result<u16> {
    u16::try_from(number).map_err(|_| Error::new(Status::InvalidArg, "a port is 0 to 65535"))
}

/// The versions of uvws and of the host's libuv.
#[napi(catch_unwind)]
pub fn versions(env: Env) -> Result<Versions> {
    Ok(Versions {
        uvws: env!("CARGO_PKG_VERSION").to_owned(),
        libuv: environment(env)?.event_loop().version(),
    })
}

/// 0 running, 1 draining, 2 closing, 3 destroying, 4 destroyed.
#[napi(catch_unwind)]
pub fn context_state(env: Env, id: u32) -> Result<u32> {
    Ok(match context(env, id)? {
        Some(context) if context.is_ending() => (context.state().max(State::Destroying)) as u32,
        Some(context) => context.state() as u32,
        None => State::Destroyed as u32,
    })
}

/// Closes the listeners; the context ends with its last connection.
#[napi(catch_unwind)]
pub fn context_drain(env: Env, id: u32) -> Result<()> {
    if let Some(context) = context(env, id)? {
        context.drain();
    }
    Ok(())
}

/// Closes listeners and refuses what is half done; the context ends with its last connection or
/// after `timeout` milliseconds.
#[napi(catch_unwind)]
pub fn context_close(env: Env, id: u32, timeout: f64) -> Result<()> {
    if let Some(context) = context(env, id)? {
        context.close(timeout as u64);
    }
    Ok(())
}

/// Ends everything now.
#[napi(catch_unwind)]
pub fn context_destroy(env: Env, id: u32) -> Result<()> {
    if let Some(context) = context(env, id)? {
        context.destroy();
    }
    Ok(())
}

/// Lets the context's members keep the loop alive.
#[napi(catch_unwind)]
pub fn context_ref(env: Env, id: u32) -> Result<()> {
    if let Some(context) = context(env, id)? {
        context.set_ref(true);
    }
    Ok(())
}

/// Keeps nothing alive.
#[napi(catch_unwind)]
pub fn context_unref(env: Env, id: u32) -> Result<()> {
    if let Some(context) = context(env, id)? {
        context.set_ref(false);
    }
    Ok(())
}

/// Whether members keep the loop alive.
#[napi(catch_unwind)]
pub fn context_has_ref(env: Env, id: u32) -> Result<bool> {
    Ok(context(env, id)?.is_some_and(|context| context.keeps_alive()))
}

/// The numbers of the context's open connections.
#[napi(catch_unwind)]
pub fn context_connections(env: Env, id: u32) -> Result<Uint32Array> {
    let environment = environment(env)?;
    let ids = match environment.context(id) {
        Some(context) => environment.table.connections(|connection| {
            Rc::ptr_eq(connection.context(), &context) && connection.is_open()
        }),
        None => Vec::new(),
    };
    Ok(Uint32Array::new(ids))
}

/// Sets how many bytes the context may hold for its peers; 0 for no limit.
#[napi(catch_unwind)]
pub fn context_set_memory_budget(env: Env, id: u32, bytes: f64) -> Result<()> {
    if let Some(context) = context(env, id)? {
        context.set_memory_budget(bytes as usize);
    }
    Ok(())
}

/// Starts to listen, or joins a server of the context that has the port and other hosts, and returns
/// the server's number. A `Listening` or `ServerError` record follows.
#[napi(catch_unwind)]
pub fn server_listen(
    env: Env,
    context: u32,
    address: ListenOptions,
    options: ConnectionOptions,
    security: Option<&External<Rc<ServerSecurity>>>,
) -> Result<u32> {
    let (environment, context) = accepting_context(env, context, MemberKind::Listener)?;
    let group = group(&environment, &options);
    let name = address.hostname.as_deref().and_then(Hostname::parse);
    let security = security.map(|security| Rc::clone(security));
    let hosts = Hosts { name, is_strict: address.strict_host, security };
    let admission = address.admission.and_then(|id| environment.table.admission(id));
    let (host, port) = (address.host.as_deref(), port(address.port)?);
    let other = environment
        .table
        .find_server(|server| server.listener().takes(&context, &hosts, host, port));
    let Some(other) = other else {
        let options = ListenerOptions {
            backlog: address.backlog.unwrap_or(DEFAULT_BACKLOG),
            max_pending_handshakes: address.max_pending_handshakes,
        };
        let pending = environment.pending();
        let server = Listener::listen(&context, &group, hosts, host, port, options, &pending);
        server.set_admission(admission);
        return Ok(server.id());
    };
    let listener = other.listener();
    let own = listener.backlog();
    if let Some(fault) = listener.fault_of(hosts.security.as_deref()) {
        return Err(Error::new(Status::InvalidArg, fault));
    }
    match address.backlog {
        Some(backlog) if backlog != own => Err(Error::new(
            Status::InvalidArg,
            format!(
                "\"options.backlog\" must be {own}, that of the server whose port is shared, \
                 received {backlog}"
            ),
        )),
        _ => {
            let server = listener.join(&group, hosts);
            server.set_admission(admission);
            Ok(server.id())
        }
    }
}

/// The usual form of a host name, or nothing if it is none.
#[napi(catch_unwind)]
pub fn hostname(text: String) -> Option<String> {
    Hostname::parse(&text).map(|name| name.to_string())
}

/// How well a host name fits the host that a peer has named; -1 if it does not.
#[napi(catch_unwind)]
pub fn host_rank(hostname: String, host: String) -> f64 {
    let name = Hostname::parse(&hostname);
    let rank = || name?.rank(&Host::parse(host.as_bytes())?);
    rank().map_or(-1.0, |rank| rank as f64)
}

/// The number of the server that a request for `host` is for, among those that share the port with one;
/// 0 if there is none.
#[napi(catch_unwind)]
pub fn server_select(env: Env, id: u32, host: String) -> Result<u32> {
    let server = environment(env)?.table.server(id);
    let selected = server.and_then(|server| server.listener().select(Host::parse(host.as_bytes())));
    Ok(selected.map_or(0, |server| server.id()))
}

/// Handshakes of a server's listener that are under way.
#[napi(catch_unwind)]
pub fn server_pending(env: Env, id: u32) -> Result<u32> {
    Ok(environment(env)?.table.server(id).map_or(0, |server| server.listener().pending()))
}

/// The address a server listens on.
#[napi(catch_unwind)]
pub fn server_address(env: Env, id: u32) -> Result<Option<AddressObject>> {
    let server = environment(env)?.table.server(id);
    Ok(server.and_then(|server| server.address()).map(|address| AddressObject {
        address: address.ip().to_string(),
        family: family(&address),
        port: u32::from(address.port()),
    }))
}

/// Stops accepting; `ServerClosed` follows when the last connection is gone.
#[napi(catch_unwind)]
pub fn server_close(env: Env, id: u32) -> Result<()> {
    if let Some(server) = environment(env)?.table.server(id) {
        server.close();
    }
    Ok(())
}

/// Lets JavaScript answer requests that are to be refused, or not.
#[napi(catch_unwind)]
pub fn server_report_refusals(env: Env, id: u32, report: bool) -> Result<()> {
    if let Some(server) = environment(env)?.table.server(id) {
        server.report_refusals(report);
    }
    Ok(())
}

/// Reports heads that are refused without asking JavaScript, by `Refused` records.
#[napi(catch_unwind)]
pub fn server_log_refusals(env: Env, id: u32) -> Result<()> {
    if let Some(server) = environment(env)?.table.server(id) {
        server.log_refusals();
    }
    Ok(())
}

/// Reports connections when they are accepted, by `Accepted` records, or not.
#[napi(catch_unwind)]
pub fn server_report_connections(env: Env, id: u32, report: bool) -> Result<()> {
    if let Some(server) = environment(env)?.table.server(id) {
        server.report_connections(report);
    }
    Ok(())
}

/// Reports requests that are none for a WebSocket by `Http` records, instead of refusing them.
#[napi(catch_unwind)]
pub fn server_report_http(env: Env, id: u32) -> Result<()> {
    if let Some(server) = environment(env)?.table.server(id) {
        server.report_http();
    }
    Ok(())
}

/// A socket that is somebody else's from now on.
#[napi(object)]
pub struct ReleasedSocket {
    pub descriptor: i32,
    /// What was read of it.
    pub bytes: Buffer,
}

/// Gives away the socket of an `Http` record. The connection stays until it is terminated.
#[cfg(unix)]
#[napi(catch_unwind)]
pub fn connection_release(env: Env, id: u32) -> Result<Option<ReleasedSocket>> {
    let released = environment(env)?.table.connection(id).and_then(|it| it.release());
    Ok(released.map(|(socket, bytes)| ReleasedSocket {
        descriptor: socket.into_raw_fd(),
        bytes: bytes.into(),
    }))
}

/// Lets the server keep the loop alive, or not.
#[napi(catch_unwind)]
pub fn server_set_ref(env: Env, id: u32, keep_alive: bool) -> Result<()> {
    if let Some(server) = environment(env)?.table.server(id) {
        server.keep_alive(keep_alive);
    }
    Ok(())
}

/// Starts a client connection and returns its number. An `Open` or `Error` record follows.
#[napi(catch_unwind)]
pub fn connect(
    env: Env,
    context: u32,
    destination: ConnectOptions,
    options: ConnectionOptions,
    security: Option<&External<Rc<ClientSecurity>>>,
) -> Result<u32> {
    let (environment, context) = accepting_context(env, context, MemberKind::Connection)?;
    let group = group(&environment, &options);
    let destination = Destination {
        hostname: destination.hostname,
        port: port(destination.port)?,
        family: destination.family.unwrap_or(0) as u8,
        host_header: destination.host_header,
        path: destination.path,
        protocols: destination.protocols,
        extensions: destination.extensions,
        headers: destination.headers,
        security: security.map(|security| Rc::clone(security)).zip(destination.server_name),
    };
    Ok(Connection::connect(&context, &group, destination, &environment.pending()).id())
}

/// What carries a connection whose opening handshake was done elsewhere.
#[napi(object)]
pub struct AttachOptions {
    /// The descriptor of an open socket, of which a duplicate is run natively; -1 for a stream that
    /// JavaScript feeds and writes to.
    pub descriptor: i32,
    pub is_server: bool,
    /// What is to be written first.
    pub response: String,
}

/// Makes a connection that is open at once, and returns its number. `head` is what the peer has sent
/// behind its part of the handshake.
#[napi(catch_unwind)]
pub fn attach(
    env: Env,
    context: u32,
    stream: AttachOptions,
    head: &[u8],
    options: ConnectionOptions,
) -> Result<u32> {
    let (environment, context) = accepting_context(env, context, MemberKind::Connection)?;
    let group = group(&environment, &options);
    let role = if stream.is_server { Role::Server } else { Role::Client };
    let carrier =
        if stream.descriptor < 0 { Stream::Bridge } else { duplicate(stream.descriptor)? };
    let response = stream.response.as_bytes();
    let connection = Connection::attach(&context, &group, role, carrier, head, response)
        .map_err(|error| Error::new(Status::GenericFailure, error.to_string()))?;
    Ok(connection.id())
}

#[cfg(unix)]
fn duplicate(descriptor: i32) -> Result<Stream> {
    // SAFETY: the caller's socket is open for the duration of this call: lib/ holds it.
    let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(descriptor) };
    borrowed
        .try_clone_to_owned()
        .map(Stream::Socket)
        .map_err(|error| Error::new(Status::GenericFailure, error.to_string()))
}

#[cfg(not(unix))]
fn duplicate(_descriptor: i32) -> Result<Stream> {
    Err(Error::new(Status::InvalidArg, "sockets cannot be duplicated on this platform"))
}

/// Reports every byte that a connection reads, or no longer.
#[napi(catch_unwind)]
pub fn connection_tap(env: Env, id: u32, is_on: bool) -> Result<()> {
    if let Some(connection) = environment(env)?.table.connection(id) {
        connection.tap(is_on);
    }
    Ok(())
}

/// Drops a connection by a reset.
#[napi(catch_unwind)]
pub fn connection_reset(env: Env, id: u32) -> Result<()> {
    if let Some(connection) = environment(env)?.table.connection(id) {
        connection.reset();
    }
    Ok(())
}

/// Gives a connection whose upgrade is being decided on options of its own.
#[napi(catch_unwind)]
pub fn connection_configure(env: Env, id: u32, options: ConnectionOptions) -> Result<()> {
    let environment = environment(env)?;
    if let Some(connection) = environment.table.connection(id) {
        connection.configure(group(&environment, &options));
    }
    Ok(())
}

/// Why a connection or a server failed; read while its error record is handled.
#[napi(catch_unwind)]
pub fn connection_failure(env: Env, id: u32) -> Result<Option<FailureObject>> {
    let table = &environment(env)?.table;
    let failure = table
        .connection(id)
        .and_then(|connection| connection.failure())
        .or_else(|| table.server(id).and_then(|server| server.failure()));
    Ok(failure.map(failure_object))
}

/// A connection's addresses and traffic.
#[napi(catch_unwind)]
pub fn connection_info(env: Env, id: u32) -> Result<Option<ConnectionInfo>> {
    Ok(environment(env)?.table.connection(id).map(|connection| {
        let (local, remote) = connection.addresses();
        let (bytes_read, bytes_written) = connection.traffic();
        ConnectionInfo {
            remote_address: remote.map(|address| address.ip().to_string()),
            remote_family: remote.as_ref().map(family),
            remote_port: remote.map(|address| u32::from(address.port())),
            local_address: local.map(|address| address.ip().to_string()),
            local_family: local.as_ref().map(family),
            local_port: local.map(|address| u32::from(address.port())),
            bytes_read: bytes_read as f64,
            bytes_written: bytes_written as f64,
        }
    }))
}

/// The timings of a client, once it has opened or failed.
#[napi(catch_unwind)]
pub fn connection_timings(env: Env, id: u32) -> Result<Option<ConnectionTimings>> {
    let connection = environment(env)?.table.connection(id);
    Ok(connection.and_then(|connection| {
        let [dns, connect, tls, upgrade] = connection.timings()?.steps();
        Some(ConnectionTimings { dns, connect, tls, upgrade })
    }))
}

/// Turns permessage-deflate on, before the connection's first frame is parsed: together with
/// `accept` or `attach`, or while the `Open` record is handled.
#[napi(catch_unwind)]
pub fn enable_deflate(env: Env, id: u32, parameters: DeflateParameters) -> Result<bool> {
    // What does not fit is out of range all the more.
    let small = |number: u32| u8::try_from(number).unwrap_or(u8::MAX);
    let options = DeflateOptions {
        params: DeflateParams {
            server_no_context_takeover: parameters.server_no_context_takeover,
            client_no_context_takeover: parameters.client_no_context_takeover,
            server_max_window_bits: small(parameters.server_max_window_bits),
            client_max_window_bits: small(parameters.client_max_window_bits),
        },
        level: match parameters.level {
            None | Some(-1) => None,
            Some(level) => Some(u8::try_from(level).unwrap_or(u8::MAX)),
        },
        mem_level: parameters.mem_level.map_or(DEFAULT_MEM_LEVEL, small),
        threshold: parameters.threshold.map_or(DEFAULT_THRESHOLD, |bytes| bytes as usize),
        concurrency: parameters.concurrency.unwrap_or(0),
    };
    let connection = environment(env)?.table.connection(id);
    Ok(connection.is_some_and(|connection| connection.enable_deflate(&options)))
}

/// Turns Nagle's algorithm off or on.
#[napi(catch_unwind)]
pub fn connection_set_no_delay(env: Env, id: u32, enable: bool) -> Result<()> {
    if let Some(connection) = environment(env)?.table.connection(id) {
        if let Some(transport) = connection.transport() {
            transport.set_nodelay(enable);
        }
    }
    Ok(())
}

/// Turns keep-alive probes on, the first after `delay` seconds, or off.
#[napi(catch_unwind)]
pub fn connection_set_keep_alive(env: Env, id: u32, enable: bool, delay: u32) -> Result<()> {
    if let Some(connection) = environment(env)?.table.connection(id) {
        if let Some(transport) = connection.transport() {
            transport.set_keepalive(enable, delay);
        }
    }
    Ok(())
}

/// Lets the connection keep the loop alive, or not.
#[napi(catch_unwind)]
pub fn connection_set_ref(env: Env, id: u32, keep_alive: bool) -> Result<()> {
    if let Some(connection) = environment(env)?.table.connection(id) {
        connection.set_ref(keep_alive);
    }
    Ok(())
}

fn family(address: &SocketAddr) -> String {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }.to_owned()
}

fn failure_object(failure: Failure) -> FailureObject {
    let name = match failure.kind {
        FailureKind::Error => "Error",
        FailureKind::RangeError => "RangeError",
        FailureKind::AggregateError => "AggregateError",
    };
    let errors: Vec<_> = failure.errors.into_iter().map(failure_object).collect();
    FailureObject {
        name: name.to_owned(),
        message: failure.message,
        code: failure.code,
        errno: failure.errno,
        syscall: failure.syscall.map(str::to_owned),
        address: failure.address,
        port: failure.port.map(u32::from),
        errors: if errors.is_empty() { None } else { Some(errors) },
        is_of_tls: failure.is_of_tls,
    }
}
