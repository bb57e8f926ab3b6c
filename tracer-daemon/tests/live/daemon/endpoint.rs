//! Who is let in to read, and how.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::{fd::AsRawFd, unix::process::CommandExt},
    path::Path,
    process::Command,
    thread,
};

use libtest_mimic::{Failed, Trial};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustix::process::Signal;
use tempfile::TempDir;

use super::{
    Daemon, churn, named,
    prometheus::{Prometheus, lacks},
    run,
    service::get,
};
use crate::{
    errors::fails,
    support::{ALLOCTRACE, Machine, alloctrace, ensure, same},
    trial,
};

const WEB: &str = "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n";

pub(super) fn trials(machine: &Machine) -> Vec<Trial> {
    let host = || machine.cannot_trace().or_else(|| machine.cannot_differ());
    let tools = || lacks(machine).or_else(|| machine.lacks(&["curl"]));
    vec![
        trial("endpoint_is_read_by_prometheus_over_tls", tools(), over_tls),
        trial("endpoint_waits_for_nobody", host(), slow_reader),
        trial("endpoint_takes_a_socket_that_is_handed_over", host(), handed_over),
        trial("endpoint_has_as_many_addresses_as_asked_for", host(), addresses),
        trial("endpoint_keeps_what_was_good", host(), bad_files),
    ]
}

/// A new certificate for the loopback address, in the place of an older one.
fn certify(directory: &Path) -> Result<(), Failed> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    fs::write(directory.join("key.pem"), signing_key.serialize_pem())?;
    fs::write(directory.join("cert.pem"), cert.pem())?;
    Ok(())
}

/// A web configuration file with this user.
fn configure(directory: &Path, before: &str, password: &str) -> Result<String, Failed> {
    let path = directory.join("web.yml");
    let hash = bcrypt::hash(password, 6)?;
    fs::write(&path, format!("{before}basic_auth_users:\n  scraper: {hash}\n"))?;
    Ok(path.display().to_string())
}

fn over_tls() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    certify(directory.path())?;
    let authority = directory.path().join("believed.pem");
    fs::copy(directory.path().join("cert.pem"), &authority)?;
    let web = configure(directory.path(), WEB, "right")?;
    let daemon = Daemon::with(&["--web-config", &web])?;
    let with = format!(
        "  scheme: https\n  tls_config: {{ca_file: {}}}\n  \
         basic_auth: {{username: scraper, password: right}}\n",
        authority.display()
    );
    // Returns when it has scraped.
    let prometheus = Prometheus::with(directory.path(), &daemon.address, &with)?;
    let status = |password: &str| -> Result<String, Failed> {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code}"]);
        curl.args(["--user", &format!("scraper:{password}"), "--cacert"]).arg(&authority);
        let done = curl.arg(format!("https://{}/metrics", daemon.address)).output()?;
        Ok(String::from_utf8(done.stdout)?)
    };
    same("status", status("right")?, "200".to_owned())?;
    same("status of another password", status("wrong")?, "401".to_owned())?;
    certify(directory.path())?;
    prometheus.wait_for("up == 0", |found| !found.is_empty())?;
    same("status of another certificate", status("right")?, "000".to_owned())?;
    fs::copy(directory.path().join("cert.pem"), &authority)?;
    prometheus.wait_for("up == 1", |found| !found.is_empty())?;
    configure(directory.path(), WEB, "changed")?;
    prometheus.wait_for("up == 0", |found| !found.is_empty())?;
    same("status of an old password", status("right")?, "401".to_owned())?;
    same("status of the new one", status("changed")?, "200".to_owned())
}

fn slow_reader() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let program = named(directory.path(), "while-slow")?;
    let daemon = Daemon::start()?;
    let mut slow = TcpStream::connect(&daemon.address)?;
    let mut silent = TcpStream::connect(&daemon.address)?;
    slow.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")?;
    silent.write_all(b"GET /met")?;
    let mut byte = [0];
    slow.read_exact(&mut byte)?;
    run(churn(&program, 1000))?;
    daemon.after("while-slow", 1.0)?;
    let scrapers = [0, 1].map(|_| {
        let address = daemon.address.clone();
        thread::spawn(move || {
            (0..50).all(|_| get(&address, "/metrics").is_ok_and(|(status, _)| status == 200))
        })
    });
    for scraper in scrapers {
        ensure(scraper.join().unwrap_or(false), "a scrape failed")?;
    }
    slow.read_exact(&mut byte)?;
    silent.write_all(b"rics HTTP/1.1\r\nHost: x\r\n\r\n")?;
    let mut answer = [0; 12];
    silent.read_exact(&mut answer)?;
    same("answer to who was slow to ask", &answer, b"HTTP/1.1 200")
}

/// As systemd does it: the socket is descriptor 3, and the variables name the process.
fn handed_over() -> Result<(), Failed> {
    let socket = TcpListener::bind("127.0.0.1:0")?;
    let address = socket.local_addr()?.to_string();
    let mut command = Command::new("sh");
    let script =
        format!("export LISTEN_FDS=1 LISTEN_PID=$$; exec {ALLOCTRACE} daemon --interval 100ms");
    command.args(["-c", &script]);
    let handed = socket.as_raw_fd();
    // SAFETY: both may be called between fork and exec, and the descriptor stays open until then. A copy of it
    // stays open over the exec, whichever number it had.
    unsafe {
        command.pre_exec(move || match libc::dup2(libc::dup(handed), 3) {
            3 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    let daemon = Daemon::spawn(command)?;
    drop(socket);
    same("address", &daemon.address, &address)?;
    same("status", daemon.get("/-/ready")?.0, 200)?;
    same("status", daemon.end(Signal::TERM)?, Some(0))
}

fn addresses() -> Result<(), Failed> {
    let mut daemon = Daemon::with(&["--listen", "127.0.0.2:0"])?;
    let line = daemon.hear()?;
    let second = line.split_once("serving http://").map(|(_, url)| url.trim());
    let second = second.and_then(|url| url.strip_suffix("/metrics")).ok_or(line.clone())?;
    ensure(second.starts_with("127.0.0.2:"), second)?;
    for address in [daemon.address.as_str(), second] {
        same(address, get(address, "/-/healthy")?.0, 200)?;
    }
    Ok(())
}

fn bad_files() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let web = configure(directory.path(), "", "right")?;
    let good = fs::read(&web)?;
    let mut daemon = Daemon::with(&["--web-config", &web])?;
    let nobody = || daemon.get("/metrics").map(|(status, _)| status);
    same("status without a password", nobody()?, 401)?;
    fs::write(&web, "# a line\nbasic_auth_user: {}\n")?;
    let output = alloctrace(&["daemon", "--listen", "127.0.0.1:0", "--web-config", &web]);
    fails(&output, 2, &["web.yml, line 2: ", "basic_auth_user"])?;
    for _ in 0..5 {
        same("status with a bad file", nobody()?, 401)?;
    }
    fs::write(&web, good)?;
    same("status with a good file", nobody()?, 401)?;
    let said = [daemon.hear()?, daemon.hear()?];
    ensure(said[0].contains("line 2: ") && said[0].contains("stays in force"), &*said[0])?;
    ensure(said[1].contains("good again"), &*said[1])
}
