//! One TLS session: records in, records out. rustls without its buffers, for either role.

use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
};
use rustls::{ClientConfig, CommonState, Error, ServerConfig};

/// See the module's documentation.
pub(crate) enum Session {
    /// We have connected.
    Client(Box<UnbufferedClientConnection>),
    /// We have accepted.
    Server(Box<UnbufferedServerConnection>),
}

/// How far a session is after it has taken bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    /// The handshake needs more bytes.
    Handshaking,
    /// Data may be sent.
    Ready,
    /// The peer has ended its side, by a close_notify.
    Ended,
}

/// What a session has made of bytes.
pub(super) struct Taken {
    /// How many of them it is done with.
    pub(super) consumed: usize,
    pub(super) progress: Result<Progress, Error>,
}

macro_rules! either {
    ($self:expr, $connection:ident => $call:expr) => {
        match $self {
            Session::Client($connection) => $call,
            Session::Server($connection) => $call,
        }
    };
}

impl Session {
    /// A session with the server `name`.
    pub(crate) fn client(
        config: &Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, Error> {
        let connection = UnbufferedClientConnection::new(Arc::clone(config), name)?;
        Ok(Self::Client(Box::new(connection)))
    }

    /// A session with a client.
    pub(crate) fn server(config: &Arc<ServerConfig>) -> Result<Self, Error> {
        Ok(Self::Server(Box::new(UnbufferedServerConnection::new(Arc::clone(config))?)))
    }

    /// Takes whole records from the front of `input`. Appends what the peer has sent to `plain`, and what
    /// is to be sent to `output`. What is left of `input` is to be in front of what is given next.
    pub(super) fn take(
        &mut self,
        input: &mut [u8],
        plain: &mut Vec<u8>,
        output: &mut Vec<u8>,
    ) -> Taken {
        let mut consumed = 0;
        let mut has_ended = false;
        let progress = loop {
            let rest = input.get_mut(consumed..).unwrap_or_default();
            let turn = either!(self, connection => {
                let UnbufferedStatus { discard, state, .. } = connection.process_tls_records(rest);
                consumed += discard;
                state.and_then(|state| advance(state, plain, output))
            });
            match turn {
                Ok(Turn::Again { discard }) => consumed += discard,
                Ok(Turn::PeerEnded) => has_ended = true,
                Ok(Turn::Paused(_)) if has_ended => break Ok(Progress::Ended),
                Ok(Turn::Paused(progress)) => break Ok(progress),
                Err(error) => break Err(error),
            }
        };
        Taken { consumed, progress }
    }

    /// Appends what rustls itself has to send to `output`, such as the alert that says why the session
    /// has failed. It does not look at what was read.
    pub(super) fn take_pending(&mut self, output: &mut Vec<u8>) {
        while self.common().wants_write() {
            let state = either!(self, connection => {
                let state = connection.process_tls_records(&mut []).state;
                state.and_then(|state| advance(state, &mut Vec::new(), output))
            });
            if state.is_err() {
                return;
            }
        }
    }

    /// Appends `bytes` to `output` as records. `input` is what was left when bytes were taken.
    pub(super) fn encrypt(
        &mut self,
        input: &mut [u8],
        bytes: &[u8],
        output: &mut Vec<u8>,
    ) -> Result<(), Error> {
        self.write(input, output, bytes.len() + overhead(bytes.len()), Some(bytes))
    }

    /// Appends the alert that ends our side to `output`.
    pub(super) fn end(&mut self, input: &mut [u8], output: &mut Vec<u8>) {
        let _ = self.write(input, output, overhead(0), None);
    }

    /// What was agreed on.
    pub(super) fn common(&self) -> &CommonState {
        either!(self, connection => connection)
    }

    fn write(
        &mut self,
        input: &mut [u8],
        output: &mut Vec<u8>,
        mut room: usize,
        bytes: Option<&[u8]>,
    ) -> Result<(), Error> {
        // Records of rustls' own go first.
        if self.common().wants_write() {
            self.take_pending(output);
        }
        let from = output.len();
        loop {
            output.reserve_exact(room);
            output.resize(from + room, 0);
            let target = output.get_mut(from..).unwrap_or_default();
            let written = either!(self, connection => {
                match connection.process_tls_records(input).state {
                    Ok(ConnectionState::WriteTraffic(mut traffic)) => match bytes {
                        Some(bytes) => traffic.encrypt(bytes, target),
                        None => traffic.queue_close_notify(target),
                    },
                    Ok(ConnectionState::TransmitTlsData(data)) => {
                        data.done();
                        continue;
                    }
                    _ => Err(EncryptError::EncryptExhausted),
                }
            });
            match written {
                Ok(len) => {
                    output.truncate(from + len);
                    return Ok(());
                }
                Err(EncryptError::InsufficientSize(InsufficientSizeError { required_size })) => {
                    room = required_size;
                }
                Err(EncryptError::EncryptExhausted) => {
                    output.truncate(from);
                    return Err(Error::EncryptError);
                }
            }
        }
    }
}

enum Turn {
    /// There may be more.
    Again { discard: usize },
    /// The peer has sent its close_notify.
    PeerEnded,
    /// More bytes are needed.
    Paused(Progress),
}

fn advance<Data>(
    state: ConnectionState<'_, '_, Data>,
    plain: &mut Vec<u8>,
    output: &mut Vec<u8>,
) -> Result<Turn, Error> {
    match state {
        ConnectionState::ReadTraffic(mut traffic) => {
            let mut discard = 0;
            while let Some(record) = traffic.next_record() {
                let record = record?;
                discard += record.discard;
                plain.extend_from_slice(record.payload);
            }
            Ok(Turn::Again { discard })
        }
        ConnectionState::EncodeTlsData(mut data) => {
            encode(&mut data, output);
            Ok(Turn::Again { discard: 0 })
        }
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            Ok(Turn::Again { discard: 0 })
        }
        ConnectionState::PeerClosed => Ok(Turn::PeerEnded),
        ConnectionState::Closed => Ok(Turn::Paused(Progress::Ended)),
        ConnectionState::WriteTraffic(_) => Ok(Turn::Paused(Progress::Ready)),
        ConnectionState::BlockedHandshake => Ok(Turn::Paused(Progress::Handshaking)),
        // Early data is not accepted, and states to come are not known.
        _ => Err(Error::General("an unknown state of TLS".to_owned())),
    }
}

fn encode<Data>(data: &mut rustls::unbuffered::EncodeTlsData<'_, Data>, output: &mut Vec<u8>) {
    let from = output.len();
    let Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) =
        data.encode(&mut [])
    else {
        return;
    };
    output.resize(from + required_size, 0);
    let written = data.encode(output.get_mut(from..).unwrap_or_default());
    output.truncate(from + written.unwrap_or(0));
}

/// What `len` bytes grow by at most, as records.
fn overhead(len: usize) -> usize {
    (len / RECORD + 1) * RECORD_OVERHEAD
}

/// Data in one record, at most (RFC 8446 section 5.1).
pub(super) const RECORD: usize = 16 * 1024;
/// Header, explicit nonce, content type and tag of one record, of those cipher suites that rustls has.
pub(super) const RECORD_OVERHEAD: usize = 5 + 8 + 1 + 16;
