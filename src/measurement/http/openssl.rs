//! Why a connection failed, in the words of the C library and of OpenSSL, which results quote
//! (`http-tls-measurements` 1.5 and 2.3).

use nix::errno::Errno;

use crate::measurement::machine::{Failure, TlsFailure};

/// An error text of our own TLS library is cut to this many octets.
const MAX_TEXT: usize = 159;

/// The text behind `connect: `. With `secure` a failure on the network shows as an OpenSSL error.
pub(super) fn connect_error(cause: &Failure, secure: bool) -> String {
    match cause {
        Failure::Tls(failure) => tls_error(failure),
        Failure::Os { errno, .. } if secure && !is_told_at_once(*errno) => {
            "error:00000005:lib(0)::reason(5)".to_owned()
        }
        cause => cause.strerror().to_owned(),
    }
}

/// Whether connecting fails with this error before a packet leaves, so that TLS never has a part in it.
fn is_told_at_once(errno: i32) -> bool {
    matches!(
        Errno::from_raw(errno),
        Errno::ENETUNREACH
            | Errno::EADDRNOTAVAIL
            | Errno::EADDRINUSE
            | Errno::EAFNOSUPPORT
            | Errno::EACCES
            | Errno::EPERM
            | Errno::EINVAL
            | Errno::EMFILE
            | Errno::ENFILE
            | Errno::ENOBUFS
            | Errno::ENOMEM
    )
}

fn tls_error(failure: &TlsFailure) -> String {
    match failure {
        TlsFailure::Closed => {
            "error:0A000126:SSL routines::unexpected eof while reading".to_owned()
        }
        TlsFailure::NotTls => "error:0A00010B:SSL routines::wrong version number".to_owned(),
        TlsFailure::Alert(number) => {
            let reason = 1000 + u16::from(*number);
            let name =
                alert_name(*number).map_or_else(|| format!("reason({reason})"), str::to_owned);
            format!("error:0A000{reason:03X}:SSL routines::{name}")
        }
        TlsFailure::Certificate(text) | TlsFailure::Other(text) => {
            text[..text.floor_char_boundary(MAX_TEXT)].to_owned()
        }
    }
}

/// Alerts as OpenSSL 3 names them.
const fn alert_name(number: u8) -> Option<&'static str> {
    Some(match number {
        10 => "sslv3 alert unexpected message",
        20 => "sslv3 alert bad record mac",
        22 => "tlsv1 alert record overflow",
        40 => "sslv3 alert handshake failure",
        42 => "sslv3 alert bad certificate",
        43 => "sslv3 alert unsupported certificate",
        47 => "sslv3 alert illegal parameter",
        48 => "tlsv1 alert unknown ca",
        49 => "tlsv1 alert access denied",
        50 => "tlsv1 alert decode error",
        51 => "tlsv1 alert decrypt error",
        70 => "tlsv1 alert protocol version",
        71 => "tlsv1 alert insufficient security",
        80 => "tlsv1 alert internal error",
        86 => "tlsv1 alert inappropriate fallback",
        90 => "tlsv1 alert user cancelled",
        109 => "tlsv13 alert missing extension",
        112 => "tlsv1 unrecognized name",
        116 => "tlsv13 alert certificate required",
        120 => "tlsv1 alert no application protocol",
        _ => return None,
    })
}
