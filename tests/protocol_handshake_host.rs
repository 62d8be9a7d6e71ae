//! The host that a request is for, and the names that it is compared with.

use uvws::protocol::handshake::host::{Host, Hostname};

fn name(text: &str) -> Hostname {
    Hostname::parse(text).expect("a host name")
}

fn rank(hostname: &str, host: &str) -> Option<usize> {
    name(hostname).rank(&Host::parse(host.as_bytes())?)
}

fn host_of(head: &str) -> Option<Host<'_>> {
    Host::of_request(head.as_bytes())
}

#[test]
fn names_are_compared_without_regard_to_case_port_and_trailing_dot() {
    for host in
        ["example.org", "EXAMPLE.org:8080", "example.org.", "Example.Org.:1", "example.org:"]
    {
        assert_eq!(rank("Example.ORG.", host), Some(usize::MAX), "{host}");
    }
    for host in ["example.com", "www.example.org", "xample.org", "example.org..", "org", ""] {
        assert_eq!(rank("example.org", host), None, "{host}");
    }
}

#[test]
fn a_wildcard_fits_what_is_below_it_and_the_longer_one_fits_better() {
    assert!(rank("*.example.org", "a.example.org:80").is_some());
    assert!(rank("*.example.org", "b.A.Example.org").is_some());
    for host in
        ["example.org", ".example.org", "aexample.org", "a.example.org.evil", "a@b.example.org"]
    {
        assert_eq!(rank("*.example.org", host), None, "{host}");
    }
    assert!(rank("*.a.example.org", "x.a.example.org") > rank("*.example.org", "x.a.example.org"));
    assert!(
        rank("x.a.example.org", "x.a.example.org") > rank("*.a.example.org", "x.a.example.org")
    );
}

#[test]
fn ipv6_literals_are_compared_as_addresses() {
    for host in ["[::1]", "[::1]:443", "[0:0:0:0:0:0:0:1]"] {
        assert_eq!(rank("::1", host), Some(usize::MAX), "{host}");
        assert_eq!(rank("[0::1]", host), Some(usize::MAX), "{host}");
    }
    for host in ["::1", "[::1", "[::1]x", "[::1]:x", "[::2]", "[]", "[::1%eth0]"] {
        assert_eq!(rank("::1", host), None, "{host}");
    }
    assert_eq!(rank("127.0.0.1", "127.0.0.1:80"), Some(usize::MAX));
}

#[test]
fn hostile_hosts_fit_nothing() {
    let long = format!("{}.example.org", "a".repeat(16 * 1024));
    let dots = format!("{}example.org", ".".repeat(16 * 1024));
    for host in
        ["a b.example.org", "a\0.example.org", "a/.example.org", "a:b.example.org", &long, &dots]
    {
        assert_eq!(rank("*.example.org", host), None);
    }
    assert_eq!(Host::parse(b"\xff.example.org"), None);
}

#[test]
fn what_is_no_host_name_is_refused() {
    for text in [
        "", ".", "*", "*.", "*.*", "a.*", "*a.b", "a b", "a:80", "a/b", "a..b", ".a", "*.[::1]",
        "[a]",
    ] {
        assert_eq!(Hostname::parse(text), None, "{text}");
    }
    assert_eq!(name("Example.ORG.").to_string(), "example.org");
    assert_eq!(name("*.Example.org").to_string(), "*.example.org");
    assert_eq!(name("0:0::1").to_string(), "[::1]");
}

#[test]
fn the_host_of_a_request_is_that_of_its_header() {
    let host = Some(Host::Name(b"example.org"));
    assert_eq!(host_of("GET / HTTP/1.1\r\nHost: example.org:80\r\n\r\n"), host);
    assert_eq!(host_of("GET / HTTP/1.1\r\nX-Host: a\r\nhOST:example.org \r\n\r\n"), host);
    assert_eq!(host_of("GET / HTTP/1.1\r\nA: b\r\n\r\n"), None);
    assert_eq!(host_of(""), None);
    assert_eq!(host_of("GET\r\nHost: a\r\n\r\n"), None);
}

#[test]
fn an_absolute_request_target_decides_on_the_host() {
    let host = Some(Host::Name(b"example.org"));
    for target in ["http://example.org/", "ws://example.org:80", "http://example.org?x://other/"] {
        assert_eq!(
            host_of(&format!("GET {target} HTTP/1.1\r\nHost: other\r\n\r\n")),
            host,
            "{target}"
        );
    }
    for target in [
        "http://user@example.org/",
        "http:///",
        "example.org",
        "*",
        "a?b=http://example.org/",
        "?://example.org/",
        "://example.org/",
        "1://example.org/",
    ] {
        assert_eq!(
            host_of(&format!("GET {target} HTTP/1.1\r\nHost: other\r\n\r\n")),
            None,
            "{target}"
        );
    }
}
