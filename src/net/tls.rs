//! The TLS client on top of a stream: its configurations, and its errors as machines are told them.

use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, InvalidMessage,
    RootCertStore, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::tap::{Shown, Tap};
use crate::measurement::machine::{Failure, Tls, TlsFailure, TlsSession};

/// What is made once: the cryptography and the host's trusted roots.
#[derive(Debug, Default)]
pub(super) struct Configs {
    provider: OnceLock<Arc<CryptoProvider>>,
    /// With the suites in the order in which certificates are asked for.
    ordered: OnceLock<Arc<CryptoProvider>>,
    roots: OnceLock<Arc<RootCertStore>>,
}

impl Configs {
    /// A client for one connection to `to` that goes no further than to the server's certificates.
    pub(super) fn tap(&self, to: IpAddr, tls: &Tls) -> Result<Tap, Failure> {
        let provider = Arc::clone(self.ordered.get_or_init(|| Arc::new(ordered_provider())));
        let algorithms = provider.signature_verification_algorithms;
        let shown = Shown::new(algorithms.supported_schemes());
        let connection = connection(provider, Arc::new(shown.clone()), to, tls)?;
        Ok(Tap::new(connection, shown))
    }

    /// A client for one connection to `to`.
    pub(super) fn client(&self, to: IpAddr, tls: &Tls) -> Result<ClientConnection, Failure> {
        let provider = Arc::clone(
            self.provider
                .get_or_init(|| Arc::new(ring::default_provider())),
        );
        let verifier = self.verifier(&provider, tls.verify.as_deref())?;
        connection(provider, Arc::new(verifier), to, tls)
    }

    fn verifier(
        &self,
        provider: &Arc<CryptoProvider>,
        name: Option<&str>,
    ) -> Result<Verifier, Failure> {
        let checked = match name {
            None => None,
            Some(name) => {
                let roots = Arc::clone(self.roots.get_or_init(|| Arc::new(trusted_roots())));
                let inner =
                    WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider))
                        .build()
                        .map_err(|error| certificate(error.to_string()))?;
                Some((inner, server_name(name)?))
            }
        };
        Ok(Verifier {
            provider: Arc::clone(provider),
            checked,
        })
    }
}

/// A client with this cryptography and this opinion of certificates.
fn connection(
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
    to: IpAddr,
    tls: &Tls,
) -> Result<ClientConnection, Failure> {
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failure(&error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols.clone_from(&tls.alpn);
    config.enable_sni = tls.sni.is_some();
    // Each measurement is a full handshake.
    config.resumption = Resumption::disabled();
    let name = match &tls.sni {
        Some(name) => server_name(name)?,
        None => ServerName::from(to),
    };
    ClientConnection::new(Arc::new(config), name).map_err(|error| failure(&error))
}

/// Suites in the order of `http-tls-measurements` section 4.2: those of TLS 1.2 as in the official probe's hello, so
/// that a server that follows its client chooses the same.
fn ordered_provider() -> CryptoProvider {
    use rustls::CipherSuite as Suite;
    const ORDER: [Suite; 9] = [
        Suite::TLS13_AES_256_GCM_SHA384,
        Suite::TLS13_AES_128_GCM_SHA256,
        Suite::TLS13_CHACHA20_POLY1305_SHA256,
        Suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        Suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        Suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        Suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        Suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        Suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ];
    let mut provider = ring::default_provider();
    let known = std::mem::take(&mut provider.cipher_suites);
    let find = |wanted: &Suite| known.iter().find(|suite| suite.suite() == *wanted);
    provider.cipher_suites = ORDER.iter().filter_map(find).copied().collect();
    provider
}

/// The host's own trusted roots. None at all makes every check fail, which is said here once.
fn trusted_roots() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, ignored) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        tracing::warn!("no trusted root certificates on this host: install ca-certificates");
    }
    tracing::debug!(added, ignored, "trusted root certificates");
    roots
}

fn server_name(name: &str) -> Result<ServerName<'static>, Failure> {
    ServerName::try_from(name.to_owned())
        .map_err(|_| Failure::Tls(TlsFailure::Other(format!("`{name}` is no server name"))))
}

/// Accepts every certificate, or checks the chain and one name.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    checked: Option<(Arc<WebPkiServerVerifier>, ServerName<'static>)>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.checked {
            None => Ok(ServerCertVerified::assertion()),
            Some((verifier, name)) => {
                verifier.verify_server_cert(end_entity, intermediates, name, ocsp, now)
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if self.checked.is_none() {
            // Nobody is authenticated, so keys that our verifier cannot read do no harm.
            return Ok(HandshakeSignatureValid::assertion());
        }
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if self.checked.is_none() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// What the handshake agreed on.
pub(super) fn session(connection: &ClientConnection) -> TlsSession {
    TlsSession {
        version: connection.protocol_version().map_or(0, u16::from),
        cipher: connection
            .negotiated_cipher_suite()
            .map_or(0, |suite| u16::from(suite.suite())),
        alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
        certificates: connection
            .peer_certificates()
            .unwrap_or_default()
            .iter()
            .map(|certificate| certificate.as_ref().to_vec())
            .collect(),
    }
}

/// A failed handshake.
pub(super) fn failure(error: &Error) -> Failure {
    Failure::Tls(match error {
        Error::AlertReceived(alert) => TlsFailure::Alert(u8::from(*alert)),
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::UnknownProtocolVersion
            | InvalidMessage::MessageTooLarge
            | InvalidMessage::InvalidEmptyPayload,
        ) => TlsFailure::NotTls,
        Error::InvalidCertificate(cause) => return certificate(certificate_text(cause)),
        other => TlsFailure::Other(other.to_string()),
    })
}

fn certificate(text: String) -> Failure {
    Failure::Tls(TlsFailure::Certificate(text))
}

/// In words that fit into the 79 octets of a result.
fn certificate_text(error: &CertificateError) -> String {
    let why = match error {
        CertificateError::UnknownIssuer => "nobody whom this host trusts issued it".to_owned(),
        CertificateError::Other(other) => match other.to_string().as_str() {
            "CaUsedAsEndEntity" => "it is one for issuing others".to_owned(),
            why => why.to_owned(),
        },
        CertificateError::NotValidForNameContext { expected, .. } => {
            format!("it is not for {}", expected.to_str())
        }
        other => return Error::InvalidCertificate(other.clone()).to_string(),
    };
    format!("invalid peer certificate: {why}")
}
