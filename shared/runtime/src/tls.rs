//! Server certificates from files. It must not know what is served over them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::{Reader, TLS_CERT_FILE, TLS_KEY_FILE};

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{path} holds no PEM certificate chain that can be read")]
    Certificate { path: PathBuf, source: rustls_pki_types::pem::Error },
    #[error("{path} holds no PEM private key that can be read")]
    Key { path: PathBuf, source: rustls_pki_types::pem::Error },
    #[error("{path} holds no certificate")]
    Empty { path: PathBuf },
    #[error("the certificate and the key do not fit each other")]
    Mismatch(#[source] rustls::Error),
}

/// TLS as configured: `None` without the two variables.
pub fn read(reader: &mut Reader<'_>) -> Option<Arc<ServerConfig>> {
    match (reader.path(&TLS_CERT_FILE), reader.path(&TLS_KEY_FILE)) {
        (None, None) => None,
        (Some(_), None) => {
            reader.mistake(&TLS_KEY_FILE, "missing, since TLS_CERT_FILE is set");
            None
        }
        (None, Some(_)) => {
            reader.mistake(&TLS_CERT_FILE, "missing, since TLS_KEY_FILE is set");
            None
        }
        (Some(certificate), Some(key)) => both(reader, certificates(&certificate), private(&key)),
    }
}

/// What is wrong with either file is told, not only what is wrong with the first.
fn both(
    reader: &mut Reader<'_>,
    chain: Result<Vec<CertificateDer<'static>>, TlsError>,
    key: Result<PrivateKeyDer<'static>, TlsError>,
) -> Option<Arc<ServerConfig>> {
    let mut told = |variable, error: &TlsError| {
        reader.mistake(variable, crate::telemetry::chain(error));
    };
    if let Err(error) = &chain {
        told(&TLS_CERT_FILE, error);
    }
    if let Err(error) = &key {
        told(&TLS_KEY_FILE, error);
    }
    server(chain.ok()?, key.ok()?).map_err(|error| told(&TLS_CERT_FILE, &error)).ok()
}

/// A server that offers HTTP/2 and HTTP/1.1.
pub fn load(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    server(certificates(certificate)?, private(key)?)
}

fn certificates(certificate: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |source| TlsError::Certificate { path: certificate.to_owned(), source };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .map_err(unreadable)?
        .collect::<Result<_, _>>()
        .map_err(unreadable)?;
    if chain.is_empty() {
        return Err(TlsError::Empty { path: certificate.to_owned() });
    }
    Ok(chain)
}

fn private(key: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(key)
        .map_err(|source| TlsError::Key { path: key.to_owned(), source })
}

fn server(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(TlsError::Mismatch)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[track_caller]
    fn mistake(certificate: &str, key: &str) -> String {
        let given = [("TLS_CERT_FILE", certificate), ("TLS_KEY_FILE", key)];
        let mut reader = Reader::new(&given);
        assert!(read(&mut reader).is_none());
        reader.finish(()).unwrap_err().to_string()
    }

    #[test]
    fn a_certificate_and_its_key_offer_http2_first() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = file(&made.cert.pem());
        let key = file(&made.signing_key.serialize_pem());
        let config = load(certificate.path(), key.path()).unwrap();
        assert_eq!(config.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
    }

    #[test]
    fn what_does_not_fit_is_a_mistake_that_names_the_file() {
        let one = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = file(&one.cert.pem());
        let key = file(&other.signing_key.serialize_pem());
        let (path, key) = (certificate.path().to_str().unwrap(), key.path().to_str().unwrap());
        assert!(mistake(path, key).contains("do not fit each other"));
        assert!(mistake(path, "/does/not/exist").starts_with("TLS_KEY_FILE: /does/not/exist"));
        assert!(mistake(key, key).starts_with("TLS_CERT_FILE:"));
        let both = mistake("/nowhere/a", "/nowhere/b");
        assert!(both.contains("TLS_CERT_FILE: /nowhere/a"), "{both}");
        assert!(both.contains("TLS_KEY_FILE: /nowhere/b"), "{both}");
        assert_eq!(mistake(path, ""), "TLS_KEY_FILE: missing, since TLS_CERT_FILE is set");
    }
}
