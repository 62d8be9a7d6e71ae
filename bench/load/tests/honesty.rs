//! The load generator does not believe a server: it fails when it is lied to.

use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::thread;

use bench_load::client::find;
use bench_load::frames::CLOSE_FIRST_BYTE;
use bench_load::options::{Mode, Options};
use bench_load::report::Window;
use bench_load::sha1::accept_for;
use bench_load::{broadcast, churn, echo, paced};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What a server of the tests makes of the frames that are due.
type Answer = fn(nth: usize, frame: Vec<u8>) -> Vec<u8>;

fn honest(_: usize, frame: Vec<u8>) -> Vec<u8> {
    frame
}

/// From here on a server lies, so that the first replies of each connection are right.
const LIES_FROM: usize = 40;

const LIARS: [(&str, Answer); 5] = [
    ("a byte is altered", |nth, mut frame| {
        if nth >= LIES_FROM {
            *frame.last_mut().unwrap() ^= 1;
        }
        frame
    }),
    ("a reply comes twice", |nth, frame| frame.repeat(if nth == LIES_FROM { 2 } else { 1 })),
    ("a message is answered by the reply to the first one", |nth, frame| {
        if nth == LIES_FROM {
            // The number is in the first bytes of the payload.
            [&frame[..2], b"0000000", &frame[9..]].concat()
        } else {
            frame
        }
    }),
    ("the kind of message changes", |nth, mut frame| {
        frame[0] ^= if nth >= LIES_FROM { 0x03 } else { 0 };
        frame
    }),
    ("a reply is cut in two frames", |nth, frame| {
        if nth < LIES_FROM {
            return frame;
        }
        let (head, tail) = frame[2..].split_at(3);
        [&[frame[0] & 0x0F, 3], head, &[0x80, tail.len() as u8], tail].concat()
    }),
];

/// A server's certificate, made for this run.
fn security() -> Arc<ServerConfig> {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-subj", "/CN=localhost", "-keyout", "-", "-out", "-"])
        .output()
        .unwrap();
    let key = PrivateKeyDer::from_pem_slice(&made.stdout).unwrap();
    let certificate = CertificateDer::from_pem_slice(&made.stdout).unwrap();
    let builder = ServerConfig::builder().with_no_client_auth();
    Arc::new(builder.with_single_cert(vec![certificate], key).unwrap())
}

/// Serves one connection after the other, each in a thread of its own.
fn serve(answer: Answer, security: Option<Arc<ServerConfig>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let security = security.clone();
            // A client that has seen enough goes without a word.
            thread::spawn(move || match security {
                Some(config) => {
                    let session = ServerConnection::new(config).unwrap();
                    serve_connection(StreamOwned::new(session, stream), answer)
                }
                None => serve_connection(stream, answer),
            });
        }
    });
    port
}

fn serve_connection(mut stream: impl Read + Write, answer: Answer) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(byte(&mut stream)?);
    }
    let key = find(&head, b"Sec-WebSocket-Key: ").unwrap() + 19;
    let accept = accept_for(&head[key..key + 24]);
    write!(stream, "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {accept}\r\n\r\n")?;
    for nth in 0.. {
        let first_byte = byte(&mut stream)?;
        let length = byte(&mut stream)? & 0x7F;
        assert!(length < 126);
        let mut key = [0; 4];
        stream.read_exact(&mut key)?;
        let mut frame = vec![0; usize::from(length)];
        stream.read_exact(&mut frame)?;
        frame.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
        frame.splice(..0, [first_byte, length]);
        if first_byte == CLOSE_FIRST_BYTE {
            return stream.write_all(&frame);
        }
        stream.write_all(&answer(nth, frame))?;
    }
    Ok(())
}

fn byte(stream: &mut impl Read) -> io::Result<u8> {
    let mut byte = [0];
    stream.read_exact(&mut byte)?;
    Ok(byte[0])
}

/// Measures a server that answers so; this process stands for the server's.
fn measure(mode: Mode, answer: Answer) -> io::Result<Window> {
    measure_at(mode, serve(answer, None), &[])
}

fn measure_at(mode: Mode, port: u16, more: &[&str]) -> io::Result<Window> {
    let options = Options { mode, ..options(port, more) };
    let run = match mode {
        Mode::Echo => echo::run,
        Mode::Paced => paced::run,
        Mode::Broadcast => broadcast::run,
        _ => churn::run,
    };
    run(&options).map(|(_, _, window)| window)
}

fn options(port: u16, more: &[&str]) -> Options {
    let port = port.to_string();
    let pid = std::process::id().to_string();
    let arguments = ["--port", &port, "--pid", &pid, "--connections", "2", "--rate", "2000"];
    let arguments = arguments.into_iter().chain(["--warmup", "0.05", "--seconds", "0.2"]);
    let arguments = arguments.chain(more.iter().copied());
    Options::parse(arguments.map(String::from)).unwrap()
}

#[test]
fn an_honest_server_is_measured() {
    for mode in [Mode::Echo, Mode::Paced, Mode::Churn] {
        let window = measure(mode, honest).unwrap();
        assert!(window.count > 0 && window.latencies.max() > 0, "{mode:?}");
    }
}

#[test]
fn an_honest_server_is_measured_over_tls() {
    let port = serve(honest, Some(security()));
    for mode in [Mode::Echo, Mode::Paced, Mode::Churn] {
        let window = measure_at(mode, port, &["--tls", "resume"]).unwrap();
        assert!(window.count > 0, "{mode:?}");
    }
}

#[test]
fn sessions_are_resumed_if_that_is_wanted() {
    let port = serve(honest, Some(security()));
    for (wanted, is_resumed) in [("resume", true), ("full", false)] {
        let target = options(port, &["--tls", wanted]).target;
        drop(target.open_all(1).unwrap());
        assert_eq!(target.open_all(1).unwrap()[0].is_resumed(), is_resumed);
    }
}

#[test]
fn lies_are_noticed_over_tls() {
    let security = security();
    for (lie, answer) in LIARS {
        let port = serve(answer, Some(Arc::clone(&security)));
        assert!(measure_at(Mode::Echo, port, &["--tls", "full"]).is_err(), "{lie}");
    }
}

#[test]
fn lies_are_noticed() {
    for (lie, answer) in LIARS {
        for mode in [Mode::Echo, Mode::Paced] {
            assert!(measure(mode, answer).is_err(), "{mode:?}: {lie}");
        }
    }
}

#[test]
fn lies_to_a_connection_that_speaks_once_are_noticed() {
    let answer: Answer = |_, mut frame| {
        frame[5] ^= 1;
        frame
    };
    assert!(measure(Mode::Churn, answer).is_err());
}

#[test]
fn a_broadcast_that_reaches_some_only_is_no_broadcast() {
    // It echoes, so of two connections the second one never has a copy.
    assert!(measure(Mode::Broadcast, honest).is_err());
}
