//! A TLS client that hears a stream that its machine reads, and goes no further than to the server's certificates.
//!
//! What it wants to send leaves before the next wait; once it has come to its end, nothing leaves any more: no alert,
//! no `Finished`.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::{
    ClientConnection, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime as PkiTime},
};

use super::{Precision, tls};
use crate::{
    clock::Now,
    measurement::machine::{Failure, TlsFailure, TlsSession},
};

/// What hears a stream.
#[derive(Debug)]
pub(super) struct Tap {
    connection: ClientConnection,
    shown: Shown,
    end: End,
    /// When what was heard last arrived, and how well that is known.
    pub(super) heard: Option<(Now, Precision)>,
}

/// How it ended.
#[derive(Debug)]
enum End {
    NotYet,
    Untold(Result<TlsSession, Failure>),
    Told,
}

impl Tap {
    /// A client whose certificates end up in `shown`.
    pub(super) fn new(connection: ClientConnection, shown: Shown) -> Self {
        Self {
            connection,
            shown,
            end: End::NotYet,
            heard: None,
        }
    }

    /// What is to be sent now.
    pub(super) fn outbound(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while matches!(self.end, End::NotYet) && self.connection.wants_write() {
            match self.connection.write_tls(&mut bytes) {
                Ok(1..) => {}
                Ok(0) | Err(_) => break,
            }
        }
        bytes
    }

    /// Hears what the machine has read.
    pub(super) fn hear(&mut self, mut bytes: &[u8], at: (Now, Precision)) {
        if matches!(self.end, End::NotYet) {
            self.heard = Some(at);
        }
        while !bytes.is_empty() && matches!(self.end, End::NotYet) {
            match self.connection.read_tls(&mut bytes) {
                Ok(1..) => {}
                Ok(0) => self.end = End::Untold(Err(Failure::Tls(TlsFailure::Closed))),
                Err(error) => {
                    let cause = TlsFailure::Other(error.to_string());
                    self.end = End::Untold(Err(Failure::Tls(cause)));
                }
            }
            if let Err(error) = self.connection.process_new_packets() {
                self.end = End::Untold(self.judge(&error));
            }
        }
    }

    /// The end, once.
    pub(super) fn take_end(&mut self) -> Option<Result<TlsSession, Failure>> {
        match std::mem::replace(&mut self.end, End::Told) {
            End::Untold(end) => Some(end),
            other => {
                self.end = other;
                None
            }
        }
    }

    /// Certificates that were shown are what was wanted, and TLS ends with an error for having them.
    fn judge(&self, error: &Error) -> Result<TlsSession, Failure> {
        let certificates = match self.shown.take() {
            Some(certificates) => certificates,
            None if *error == Error::NoCertificatesPresented => Vec::new(),
            None => return Err(tls::failure(error)),
        };
        Ok(TlsSession {
            certificates,
            ..tls::session(&self.connection)
        })
    }
}

/// The certificates that a server has shown: a verifier that keeps them and then ends the handshake.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    certificates: Arc<Mutex<Option<Vec<Vec<u8>>>>>,
    schemes: Vec<SignatureScheme>,
}

impl Shown {
    /// Nothing yet. Servers are offered signatures by `schemes`, none of which is checked.
    pub(super) fn new(schemes: Vec<SignatureScheme>) -> Self {
        Self {
            certificates: Arc::default(),
            schemes,
        }
    }

    fn take(&self) -> Option<Vec<Vec<u8>>> {
        let mut held = self
            .certificates
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        held.take()
    }
}

impl ServerCertVerifier for Shown {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: PkiTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = std::iter::once(end_entity)
            .chain(intermediates)
            .map(|certificate| certificate.as_ref().to_vec())
            .collect();
        *self
            .certificates
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(chain);
        Err(Error::General(
            "no more than certificates is wanted".to_owned(),
        ))
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}
