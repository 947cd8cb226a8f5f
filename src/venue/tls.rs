//! A certificate authority of this run, and a leaf for loopback. Keys live in memory only.

use std::{net::IpAddr, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

/// Makes the authority and a server configuration for `localhost`, 127.0.0.1 and `ip`.
/// Returns the authority's certificate as PEM beside it. Errors: the text of what the libraries said.
pub fn generate(ip: IpAddr) -> Result<(Arc<ServerConfig>, String), String> {
    let said = |e: &dyn std::fmt::Display| format!("cannot make a certificate: {e}");
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    ca.distinguished_name.push(DnType::CommonName, "polyloly-fast embedded venue");
    let ca_key = KeyPair::generate().map_err(|e| said(&e))?;
    let ca = CertifiedIssuer::self_signed(ca, ca_key).map_err(|e| said(&e))?;

    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), ip.to_string()];
    let leaf_key = KeyPair::generate().map_err(|e| said(&e))?;
    let leaf = CertificateParams::new(names).map_err(|e| said(&e))?;
    let leaf = leaf.signed_by(&leaf_key, &ca).map_err(|e| said(&e))?;

    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| said(&e))?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .map_err(|e| said(&e))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((Arc::new(config), ca.pem()))
}
