use std::{
    collections::BTreeMap,
    fmt, fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{Access, tls, users::Users};
use crate::humanize::escaped;

/// Bytes of a file. Chains of certificates have some thousand.
const LARGEST: u64 = 1 << 20;

/// A web configuration file, or one that it names, is no good.
#[derive(Debug)]
pub struct FileError {
    path: PathBuf,
    line: Option<u64>,
    why: String,
}

impl fmt::Display for FileError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.to_string_lossy();
        write!(out, "{}", escaped(&path))?;
        if let Some(line) = self.line {
            write!(out, ", line {line}")?;
        }
        write!(out, ": {}", escaped(&self.why))
    }
}

impl std::error::Error for FileError {}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Written {
    tls_server_config: Option<WrittenTls>,
    basic_auth_users: Option<BTreeMap<String, Spanned<String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTls {
    cert_file: Spanned<PathBuf>,
    key_file: Spanned<PathBuf>,
    client_ca_file: Option<Spanned<PathBuf>>,
    client_auth_type: Option<Spanned<ClientAuth>>,
    #[serde(default)]
    min_version: Version,
}

/// What is wanted of clients. Go's other two types take certificates that nobody has checked.
#[derive(Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientAuth {
    NoClientCert,
    VerifyClientCertIfGiven,
    RequireAndVerifyClientCert,
}

/// The oldest version of TLS that is spoken.
#[derive(Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Version {
    #[default]
    #[serde(rename = "TLS12")]
    Tls12,
    #[serde(rename = "TLS13")]
    Tls13,
}

/// All that the file says, and all that the files that it names say.
#[derive(PartialEq, Eq)]
pub(super) struct Material {
    tls: Option<Tls>,
    users: BTreeMap<String, String>,
}

/// How connections are encrypted.
#[derive(PartialEq, Eq)]
pub(super) struct Tls {
    pub(super) certificates: Pem,
    pub(super) key: Pem,
    pub(super) clients: Option<Clients>,
    pub(super) oldest: Version,
}

/// Whose certificates are asked for.
#[derive(PartialEq, Eq)]
pub(super) struct Clients {
    pub(super) authorities: Pem,
    pub(super) may_have_none: bool,
}

/// A file that was named.
#[derive(PartialEq, Eq)]
pub(super) struct Pem {
    pub(super) bytes: Vec<u8>,
    path: PathBuf,
    line: u64,
}

impl Pem {
    /// It cannot be used.
    pub(super) fn refuse(&self, file: &Path, why: impl fmt::Display) -> FileError {
        refuse(file, self.line, format!("{}: {why}", self.path.display()))
    }
}

impl Material {
    /// Reads the file and those that it names.
    pub(super) fn read(file: &Path) -> Result<Self, FileError> {
        let unread = |why: io::Error| FileError {
            path: file.to_owned(),
            line: None,
            why: format!("cannot be read: {why}"),
        };
        let text = read(file).map_err(unread)?;
        let written = parse(file, &text)?;
        let mut users = BTreeMap::new();
        for (user, hash) in written.basic_auth_users.unwrap_or_default() {
            if hash.value.parse::<bcrypt::HashParts>().is_err() {
                let why = "a password has to be a bcrypt hash, as `htpasswd -nBC 10 NAME` makes it";
                return Err(refuse(file, hash.referenced.line(), why.to_owned()));
            }
            users.insert(user, hash.value);
        }
        let tls = written.tls_server_config.map(|tls| tls.read(file)).transpose()?;
        Ok(Self { tls, users })
    }

    /// What that means for connections.
    pub(super) fn access(&self, file: &Path) -> Result<Access, FileError> {
        let tls = self.tls.as_ref().map(|tls| tls::config(tls, file)).transpose()?;
        let users = (!self.users.is_empty()).then(|| Arc::new(Users::new(self.users.clone())));
        Ok(Access { tls: tls.map(Arc::new), users })
    }
}

impl WrittenTls {
    fn read(self, file: &Path) -> Result<Tls, FileError> {
        let auth =
            self.client_auth_type.as_ref().map_or(ClientAuth::NoClientCert, |auth| auth.value);
        let clients = match (auth, self.client_ca_file) {
            (ClientAuth::NoClientCert, None) => None,
            (ClientAuth::NoClientCert, Some(authorities)) => {
                let why = "client_ca_file is of no use without client_auth_type";
                return Err(refuse(file, authorities.referenced.line(), why.to_owned()));
            }
            (_, None) => {
                let line = self.client_auth_type.map_or(0, |auth| auth.referenced.line());
                let why = "client_auth_type wants client_ca_file as well";
                return Err(refuse(file, line, why.to_owned()));
            }
            (auth, Some(authorities)) => Some(Clients {
                authorities: pem(file, authorities)?,
                may_have_none: auth == ClientAuth::VerifyClientCertIfGiven,
            }),
        };
        Ok(Tls {
            certificates: pem(file, self.cert_file)?,
            key: pem(file, self.key_file)?,
            clients,
            oldest: self.min_version,
        })
    }
}

fn parse(file: &Path, text: &[u8]) -> Result<Written, FileError> {
    let Ok(text) = str::from_utf8(text) else {
        return Err(FileError {
            path: file.to_owned(),
            line: None,
            why: "is not UTF-8".to_owned(),
        });
    };
    // A file that says nothing wants nothing.
    let says_nothing = |line: &str| line.trim().is_empty() || line.starts_with('#');
    if text.lines().all(says_nothing) {
        return Ok(Written::default());
    }
    serde_saphyr::from_str(text).map_err(|error| {
        let line = error.location().map(|location| location.line());
        let text = error.without_snippet().to_string();
        // It names the place once more.
        let why = text.split(" at line ").next().unwrap_or(&text).to_owned();
        FileError { path: file.to_owned(), line, why }
    })
}

/// Paths are relative to the file that has them.
fn pem(file: &Path, named: Spanned<PathBuf>) -> Result<Pem, FileError> {
    let line = named.referenced.line();
    let path = file.parent().unwrap_or(Path::new("")).join(&named.value);
    match read(&path) {
        Ok(bytes) => Ok(Pem { bytes, path, line }),
        Err(why) => Err(refuse(file, line, format!("{} cannot be read: {why}", path.display()))),
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a FIFO would wait for whoever writes to it.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::other("it has more than 1 MiB"));
    }
    Ok(bytes)
}

fn refuse(file: &Path, line: u64, why: String) -> FileError {
    FileError { path: file.to_owned(), line: Some(line), why }
}
