//! Where to connect, and whom to trust there.

use std::{
    fmt,
    net::{SocketAddr, ToSocketAddrs},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

/// Whose certificates are believed. There is no third choice: verification is never off.
#[derive(Clone, Copy, Debug)]
pub enum Trust<'a> {
    /// The public web's authorities, as compiled in.
    Public,
    /// Only the authorities of this PEM text: an embedded or private venue's.
    Pem(&'a [u8]),
}

/// A peer, by address and by the name that its certificate must carry.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Value of the `Host` header: name, and port where it is not the scheme's own.
    pub authority: String,
    /// Path of the URL without a trailing slash; empty for none.
    pub path: String,
    /// Addresses, in the order in which they are tried.
    pub addrs: Vec<SocketAddr>,
    /// TLS with this name; `None` for plain TCP.
    pub tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

/// Why there is no endpoint. The text names what was given and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointError(pub String);

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for EndpointError {}

/// A TLS configuration for clients. Errors: the PEM text holds no usable certificate.
pub fn tls_config(trust: Trust<'_>) -> Result<Arc<ClientConfig>, EndpointError> {
    let mut roots = RootCertStore::empty();
    match trust {
        Trust::Public => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Trust::Pem(pem) => {
            for cert in CertificateDer::pem_slice_iter(pem) {
                let cert = cert.map_err(|e| EndpointError(format!("the CA file is not PEM: {e}")))?;
                roots.add(cert).map_err(|e| EndpointError(format!("a certificate of the CA file is unusable: {e}")))?;
            }
            if roots.is_empty() {
                return Err(EndpointError("the CA file holds no certificate; expected PEM text".into()));
            }
        }
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| EndpointError(format!("no usable TLS version: {e}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

impl Endpoint {
    /// Reads `http`, `https`, `ws` or `wss` URLs and looks the name up. Blocks for the look-up: for start-up only.
    pub fn resolve(url: &str, tls: &Arc<ClientConfig>) -> Result<Self, EndpointError> {
        let wrong =
            |why: &str| EndpointError(format!("{url:?}: {why}; expected something like https://host:port/path"));
        let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("no scheme"))?;
        let (secure, default_port) = match scheme {
            "https" | "wss" => (true, 443),
            "http" | "ws" => (false, 80),
            _ => return Err(wrong("unknown scheme")),
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                (host, port.parse().map_err(|_| wrong("the port is not a number from 0 to 65535"))?)
            }
            _ => (authority, default_port),
        };
        // An IPv6 address stands in brackets.
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err(wrong("no host"));
        }
        let addrs: Vec<SocketAddr> = (host, port)
            .to_socket_addrs()
            .map_err(|e| EndpointError(format!("{url:?}: the host cannot be looked up: {e}")))?
            .collect();
        if addrs.is_empty() {
            return Err(wrong("the host has no address"));
        }
        let tls = if secure {
            let name = ServerName::try_from(host.to_owned()).map_err(|_| wrong("the host is no valid name"))?;
            Some((Arc::clone(tls), name))
        } else {
            None
        };
        Ok(Self { authority: authority.to_owned(), path: path.trim_end_matches('/').to_owned(), addrs, tls })
    }

    /// The same peer with another path.
    pub fn with_path(&self, path: &str) -> Self {
        Self { path: path.to_owned(), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_or_refused_with_a_reason() {
        let tls = tls_config(Trust::Public).expect("compiled in");
        // (url, authority, path, port, TLS)
        let good = [
            ("https://127.0.0.1", "127.0.0.1", "", 443, true),
            ("http://127.0.0.1:8080/", "127.0.0.1:8080", "", 8080, false),
            ("wss://localhost:9/ws/market", "localhost:9", "/ws/market", 9, true),
            ("ws://[::1]:7", "[::1]:7", "", 7, false),
            ("http://[::1]", "[::1]", "", 80, false),
        ];
        for (url, authority, path, port, secure) in good {
            let endpoint = Endpoint::resolve(url, &tls).expect(url);
            assert_eq!((endpoint.authority.as_str(), endpoint.path.as_str()), (authority, path), "{url}");
            assert_eq!((endpoint.addrs[0].port(), endpoint.tls.is_some()), (port, secure), "{url}");
        }
        for bad in ["127.0.0.1:80", "ftp://127.0.0.1", "https://", "https://:1", "https://127.0.0.1:70000"] {
            let error = Endpoint::resolve(bad, &tls).expect_err(bad);
            assert!(error.0.contains(bad), "{error}");
        }
    }

    #[test]
    fn a_ca_file_without_a_certificate_is_refused() {
        assert!(tls_config(Trust::Pem(b"")).is_err());
        assert!(tls_config(Trust::Pem(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")).is_err());
    }
}
