use std::{fs, path::Path, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    version::{TLS12, TLS13},
};
use tempfile::TempDir;

use super::*;

const FILE: &str = "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n";

/// A certificate and its key.
struct Identity {
    certificate: String,
    key: String,
}

impl Identity {
    fn new() -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).expect("made");
        Self { certificate: cert.pem(), key: signing_key.serialize_pem() }
    }

    fn save(&self, directory: &Path) {
        fs::write(directory.join("cert.pem"), &self.certificate).expect("written");
        fs::write(directory.join("key.pem"), &self.key).expect("written");
    }

    fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("a certificate")]
    }
}

/// A directory with a web configuration file.
fn configured(text: &str, identity: &Identity) -> (TempDir, Guard) {
    let directory = TempDir::new().expect("a directory");
    identity.save(directory.path());
    let path = directory.path().join("web.yml");
    fs::write(&path, text).expect("written");
    (directory, Guard::open(path).expect("a good file"))
}

fn refusal(text: &str) -> String {
    let directory = TempDir::new().expect("a directory");
    Identity::new().save(directory.path());
    fs::write(directory.path().join("other.pem"), Identity::new().key).expect("written");
    fs::write(directory.path().join("empty.pem"), "").expect("written");
    let path = directory.path().join("web.yml");
    fs::write(&path, text).expect("written");
    let error = Guard::open(path).err().expect(text);
    let said = error.to_string();
    assert!(!said.contains('\n'), "{said}");
    said.replace(&format!("{}/", directory.path().display()), "")
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_line() {
    let tls = |more: &str| format!("{FILE}{more}\n");
    for (text, begin, word) in [
        ("basic_auth_user: {}\n".to_owned(), "web.yml, line 1: ", "basic_auth_user"),
        (tls("  cipher_suites: []"), "web.yml, line 4: ", "cipher_suites"),
        (tls("  min_version: TLS10"), "web.yml, line 4: ", "TLS12, TLS13"),
        (tls("  client_auth_type: RequireAnyClientCert"), "web.yml, line 4: ", "NoClientCert"),
        (
            tls("  client_auth_type: RequireAndVerifyClientCert"),
            "web.yml, line 4: ",
            "client_ca_file",
        ),
        (tls("  client_ca_file: cert.pem"), "web.yml, line 4: ", "client_auth_type"),
        (FILE.replace("cert.pem", "none.pem"), "web.yml, line 2: ", "none.pem"),
        (FILE.replace("cert.pem", "empty.pem"), "web.yml, line 2: ", "no certificate"),
        (FILE.replace("key.pem", "cert.pem"), "web.yml, line 3: ", "no key"),
        (FILE.replace("key.pem", "other.pem"), "web.yml, line 3: ", "other.pem"),
        (FILE.replace("key.pem", "."), "web.yml, line 3: ", "no regular file"),
        ("tls_server_config:\n  cert_file: cert.pem\n".to_owned(), "web.yml, line ", "key_file"),
        ("basic_auth_users:\n  ann: secret\n".to_owned(), "web.yml, line 2: ", "bcrypt"),
        ("basic_auth_users: {a: x, a: y}\n".to_owned(), "web.yml, line 1: ", "uplicate"),
        ("a: [\n".to_owned(), "web.yml, line ", ""),
    ] {
        let said = refusal(&text);
        assert!(said.starts_with(begin) && said.contains(word), "{text}{said}");
        assert_eq!(said.matches("line ").count(), 1, "{said}");
    }
    let none = Guard::open("/nowhere/web.yml".into()).err().expect("not there").to_string();
    assert!(none.starts_with("/nowhere/web.yml: cannot be read: "), "{none}");
}

#[test]
fn a_file_that_says_nothing_wants_nothing() {
    for text in ["", "# nothing\n\n", "basic_auth_users:\n", "tls_server_config:\n"] {
        let (_directory, guard) = configured(text, &Identity::new());
        assert!(!guard.encrypts(), "{text}");
    }
}

/// What a client believes and shows.
struct Client<'a> {
    server: &'a Identity,
    own: Option<&'a Identity>,
    versions: Vec<&'static rustls::SupportedProtocolVersion>,
}

impl<'a> Client<'a> {
    fn of(server: &'a Identity) -> Self {
        Self { server, own: None, versions: vec![&TLS12, &TLS13] }
    }

    fn get(&self, site: &Site, header: &str) -> io::Result<String> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.server.chain());
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&self.versions)
            .expect("versions")
            .with_root_certificates(roots);
        let config = match self.own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).expect("a key");
                builder.with_client_auth_cert(own.chain(), key).expect("it fits")
            }
        };
        let name = ServerName::try_from("localhost").expect("a name");
        let client = ClientConnection::new(Arc::new(config), name).expect("a client");
        exchange(StreamOwned::new(client, site.connect()), &request("/metrics", header))
    }
}

#[test]
fn another_certificate_serves_from_the_next_connection_on() {
    let [first, second] = [0, 1].map(|_| Identity::new());
    let (directory, guard) = configured(FILE, &first);
    assert!(guard.encrypts());
    let site = Site::open(Some(guard));
    site.publish("x 1\n", Instant::now());
    assert!(Client::of(&first).get(&site, "").expect("believed").ends_with("x 1\n"));
    assert!(Client::of(&second).get(&site, "").is_err(), "it is not that one yet");
    fs::write(directory.path().join("key.pem"), &second.key).expect("written");
    assert!(Client::of(&first).get(&site, "").is_ok(), "half of the new one is none");
    second.save(directory.path());
    assert!(Client::of(&second).get(&site, "").expect("believed").ends_with("x 1\n"));
    assert!(Client::of(&first).get(&site, "").is_err(), "no longer");
    let plain = exchange(site.connect(), &request("/metrics", "")).unwrap_or_default();
    assert!(!plain.contains("x 1"), "{plain}");
}

#[test]
fn users_have_to_say_who_they_are() {
    let identity = Identity::new();
    let users = |password| {
        let hash = bcrypt::hash(password, 4).expect("hashed");
        format!("{FILE}basic_auth_users:\n  ann: {hash}\n")
    };
    let (directory, guard) = configured(&users("secret"), &identity);
    let site = Site::open(Some(guard));
    site.publish("x 1\n", Instant::now());
    let get = |plain: &str| {
        let header = format!("Authorization: Basic {}\r\n", BASE64_STANDARD.encode(plain));
        Client::of(&identity).get(&site, &header).expect("answered")
    };
    assert!(get("ann:secret").ends_with("x 1\n"));
    for wrong in ["ann:other", "bob:secret"] {
        let answer = get(wrong);
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        assert!(answer.contains("www-authenticate: Basic realm=\"alloctrace\""), "{answer}");
        assert!(!answer.contains("x 1"), "{answer}");
    }
    let nobody = Client::of(&identity).get(&site, "").expect("answered");
    assert!(nobody.starts_with("HTTP/1.1 401 "), "{nobody}");
    fs::write(directory.path().join("web.yml"), users("other")).expect("written");
    assert!(get("ann:secret").starts_with("HTTP/1.1 401 "), "it was right, and is not any more");
    assert!(get("ann:other").ends_with("x 1\n"));
}

#[test]
fn clients_have_certificates_where_they_are_wanted() {
    let [server, known, stranger] = [0, 1, 2].map(|_| Identity::new());
    for (kind, without) in
        [("RequireAndVerifyClientCert", false), ("VerifyClientCertIfGiven", true)]
    {
        let text = format!("{FILE}  client_auth_type: {kind}\n  client_ca_file: clients.pem\n");
        let directory = TempDir::new().expect("a directory");
        server.save(directory.path());
        fs::write(directory.path().join("clients.pem"), &known.certificate).expect("written");
        let path = directory.path().join("web.yml");
        fs::write(&path, text).expect("written");
        let site = Site::open(Some(Guard::open(path).expect("good")));
        site.publish("x 1\n", Instant::now());
        let get = |own| Client { own, ..Client::of(&server) }.get(&site, "");
        assert!(get(Some(&known)).is_ok_and(|answer| answer.ends_with("x 1\n")), "{kind}");
        assert!(get(Some(&stranger)).is_err(), "{kind}");
        assert_eq!(get(None).is_ok(), without, "{kind}");
    }
}

#[test]
fn old_versions_are_spoken_only_where_that_is_wanted() {
    let identity = Identity::new();
    for (version, old) in [("TLS12", true), ("TLS13", false)] {
        let text = format!("{FILE}  min_version: {version}\n");
        let (_directory, guard) = configured(&text, &identity);
        let site = Site::open(Some(guard));
        site.publish("x 1\n", Instant::now());
        let get =
            |version| Client { versions: vec![version], ..Client::of(&identity) }.get(&site, "");
        assert!(get(&TLS13).is_ok(), "{version}");
        assert_eq!(get(&TLS12).is_ok(), old, "{version}");
    }
}
