//! The control plane of TLS: configurations, and what was agreed on.

// napi-rs exports what is `pub`, wherever the module stands.
#![allow(unreachable_pub)]

use std::rc::Rc;

use napi::bindgen_prelude::*;
use napi_derive::napi;

use super::control::environment;
use crate::transport::{
    ClientOptions, ClientSecurity, ClientTrust, Identity, ServerOptions, ServerSecurity, TlsError,
    Transport, Versions,
};

/// A certificate and its key.
#[napi(object)]
pub struct IdentityObject {
    /// The certificate and the intermediates behind it, PEM.
    pub cert: Uint8Array,
    /// PKCS#8, DER.
    pub key: Uint8Array,
}

/// What a server of TLS is made of.
#[napi(object)]
pub struct ServerSecurityOptions {
    pub identities: Vec<IdentityObject>,
    /// Authorities of clients, PEM.
    pub ca: Vec<Uint8Array>,
    pub request_cert: bool,
    pub reject_unauthorized: bool,
    pub alpn: Vec<String>,
    pub min_version: u32,
    pub max_version: u32,
    pub session_tickets: bool,
    /// Whether there are no options but those of the certificate.
    pub is_plain: bool,
}

/// What a client of TLS is made of.
#[napi(object)]
pub struct ClientSecurityOptions {
    pub identity: Option<IdentityObject>,
    /// Authorities, PEM.
    pub ca: Vec<Uint8Array>,
    /// Whether the authorities are the user's own.
    pub is_own_ca: bool,
    pub reject_unauthorized: bool,
    pub alpn: Vec<String>,
    pub min_version: u32,
    pub max_version: u32,
}

/// What was agreed on with the peer, and who it is.
#[napi(object)]
pub struct SecurityObject {
    pub version: Option<u32>,
    pub cipher: Option<String>,
    pub alpn: Option<String>,
    pub server_name: Option<String>,
    /// DER.
    pub chain: Vec<Uint8Array>,
    pub authorized: bool,
    pub code: Option<String>,
    pub message: Option<String>,
}

fn bytes(list: &[Uint8Array]) -> Vec<Vec<u8>> {
    list.iter().map(|each| each.to_vec()).collect()
}

fn protocols(list: Vec<String>) -> Vec<Vec<u8>> {
    list.into_iter().map(String::into_bytes).collect()
}

fn identity(object: &IdentityObject) -> Identity {
    Identity { chain: object.cert.to_vec(), key: object.key.to_vec() }
}

fn versions(min: u32, max: u32) -> Versions {
    Versions { min: min as u16, max: max as u16 }
}

fn refused(error: &TlsError) -> Error {
    Error::new(Status::InvalidArg, error.to_string())
}

/// Makes a server's configuration; throws if it cannot be honoured.
#[napi(catch_unwind)]
pub fn create_server_security(
    options: ServerSecurityOptions,
) -> Result<External<Rc<ServerSecurity>>> {
    let security = ServerSecurity::new(ServerOptions {
        identities: options.identities.iter().map(identity).collect(),
        client_trust: options.request_cert.then(|| ClientTrust {
            roots: bytes(&options.ca),
            is_required: options.reject_unauthorized,
        }),
        alpn: protocols(options.alpn),
        versions: versions(options.min_version, options.max_version),
        tickets: options.session_tickets,
        is_plain: options.is_plain,
    });
    security.map(|security| External::new(Rc::new(security))).map_err(|error| refused(&error))
}

/// Makes a client's configuration; throws if it cannot be honoured.
#[napi(catch_unwind)]
pub fn create_client_security(
    options: ClientSecurityOptions,
) -> Result<External<Rc<ClientSecurity>>> {
    let security = ClientSecurity::new(ClientOptions {
        roots: bytes(&options.ca),
        is_strict: options.is_own_ca,
        identity: options.identity.as_ref().map(identity),
        alpn: protocols(options.alpn),
        versions: versions(options.min_version, options.max_version),
        rejects_unauthorized: options.reject_unauthorized,
    });
    security.map(|security| External::new(Rc::new(security))).map_err(|error| refused(&error))
}

/// Secures the connections that a server accepts from now on by another configuration.
#[napi(catch_unwind)]
pub fn server_set_security(
    env: Env,
    id: u32,
    security: &External<Rc<ServerSecurity>>,
) -> Result<()> {
    let server = environment(env)?.table.server(id);
    match server.and_then(|server| server.secure(security)) {
        Some(fault) => Err(Error::new(Status::InvalidArg, fault)),
        None => Ok(()),
    }
}

/// Shows other certificates to whom asks for `name`.
#[napi(catch_unwind)]
pub fn server_set_name(
    env: Env,
    id: u32,
    name: String,
    identities: Vec<IdentityObject>,
) -> Result<()> {
    let server = environment(env)?.table.server(id);
    match server.and_then(|server| server.listener().security()) {
        Some(security) => security
            .set_name(&name, identities.iter().map(identity).collect())
            .map_err(|error| refused(&error)),
        None => Ok(()),
    }
}

/// What was agreed on, of a connection of TLS.
#[napi(catch_unwind)]
pub fn connection_security(env: Env, id: u32) -> Result<Option<SecurityObject>> {
    let connection = environment(env)?.table.connection(id);
    let security = connection.as_ref().and_then(|connection| connection.transport()?.security());
    Ok(security.map(|security| {
        let (code, message) = match security.fault {
            Some(fault) => (Some(fault.code.to_owned()), Some(fault.message)),
            None => (None, None),
        };
        SecurityObject {
            version: security.version.map(u32::from),
            cipher: security.cipher,
            alpn: security.alpn.and_then(|name| String::from_utf8(name).ok()),
            server_name: security.server_name,
            chain: security.chain.into_iter().map(Uint8Array::new).collect(),
            authorized: security.is_authorized,
            code,
            message,
        }
    }))
}

/// Whether a connection is one of TLS.
#[napi(catch_unwind)]
pub fn connection_is_secure(env: Env, id: u32) -> Result<bool> {
    let connection = environment(env)?.table.connection(id);
    Ok(connection
        .is_some_and(|connection| connection.transport().is_some_and(Transport::is_secure)))
}
