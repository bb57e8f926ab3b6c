use std::{path::Path, sync::Arc};

use rustls::{
    RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
    version::{TLS12, TLS13},
};

use super::file::{FileError, Pem, Tls, Version};

/// What rustls makes of the files.
pub(super) fn config(tls: &Tls, file: &Path) -> Result<ServerConfig, FileError> {
    let of_key = |why: rustls::Error| tls.key.refuse(file, why);
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions(tls.oldest))
        .map_err(of_key)?;
    let builder = match &tls.clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let roots = authorities(&clients.authorities, file)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = match clients.may_have_none {
                true => verifier.allow_unauthenticated(),
                false => verifier,
            };
            let refused = |why| clients.authorities.refuse(file, why);
            builder.with_client_cert_verifier(verifier.build().map_err(refused)?)
        }
    };
    let key = PrivateKeyDer::from_pem_slice(&tls.key.bytes)
        .map_err(|why| tls.key.refuse(file, format!("there is no key in it: {why}")))?;
    let mut config =
        builder.with_single_cert(certificates(&tls.certificates, file)?, key).map_err(of_key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn versions(oldest: Version) -> &'static [&'static SupportedProtocolVersion] {
    static FROM_12: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    static FROM_13: [&SupportedProtocolVersion; 1] = [&TLS13];
    match oldest {
        Version::Tls12 => &FROM_12,
        Version::Tls13 => &FROM_13,
    }
}

fn authorities(pem: &Pem, file: &Path) -> Result<RootCertStore, FileError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem, file)? {
        roots.add(certificate).map_err(|why| pem.refuse(file, why))?;
    }
    Ok(roots)
}

fn certificates(pem: &Pem, file: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem.bytes).collect();
    let all = all.map_err(|why| pem.refuse(file, why))?;
    if all.is_empty() { Err(pem.refuse(file, "there is no certificate in it")) } else { Ok(all) }
}
