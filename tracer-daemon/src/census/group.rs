//! The label that stands for many processes.

use std::path::Path;

/// Characters in a label at the most.
const LABEL_LENGTH: usize = 128;

/// Hexadecimal digits in a container's id, and how many of them are shown.
const CONTAINER_ID: usize = 64;
const SHORT_ID: usize = 12;

/// Runtimes that name their containers' control groups `RUNTIME-ID.scope` or `RUNTIME/ID`.
const RUNTIMES: [&str; 8] =
    ["docker", "cri-containerd", "containerd", "crio", "libpod", "nerdctl", "kubepods", "garden"];

/// The group of a process: the systemd unit or the container (`container:` and the beginning of
/// its id), whichever is deeper in the path; else the executable's file name; else the comm.
///
/// Names that change at every start (a login session, a `systemd-run` without a name) would make
/// a label for each process: those count by their executable.
#[must_use]
pub fn group_name(cgroup: Option<&str>, exe: Option<&Path>, comm: &str) -> String {
    let name = cgroup
        .and_then(from_cgroup)
        .or_else(|| Some(exe?.file_name()?.to_string_lossy().into_owned()))
        .unwrap_or_else(|| comm.to_owned());
    name.chars().take(LABEL_LENGTH).collect()
}

fn from_cgroup(path: &str) -> Option<String> {
    let components: Vec<&str> = path.split('/').filter(|c| !c.is_empty()).collect();
    let named = components.iter().enumerate().rev().find_map(|(index, name)| {
        let parent = index.checked_sub(1).map_or("", |above| components[above]);
        container_id(parent, name)
            .map(|id| format!("container:{}", &id[..SHORT_ID]))
            .or_else(|| service(name))
    });
    named.or_else(|| components.iter().rev().find_map(|name| scope(name)))
}

fn service(name: &str) -> Option<String> {
    (name.ends_with(".service") && !is_transient(name)).then(|| unescape(name))
}

/// Whether the deepest service of the path has this name, written as systemd writes it or as people do.
pub(super) fn unit_is(cgroup: &str, unit: &str) -> bool {
    let service = cgroup.rsplit('/').find(|name| name.ends_with(".service"));
    service.is_some_and(|name| name == unit || unescape(name) == unit)
}

fn scope(name: &str) -> Option<String> {
    let stem = name.strip_suffix(".scope")?;
    let nobodys = stem == "init"
        || stem.starts_with("session-")
        || stem.contains("-conmon-")
        || is_transient(name);
    (!nobodys).then(|| unescape(name))
}

/// `systemd-run` without `--unit` makes up `run-u12`, `run-r0123…` or `run-p12-i34`.
fn is_transient(name: &str) -> bool {
    name.strip_prefix("run-")
        .and_then(|rest| rest.strip_prefix(['u', 'r', 'p']))
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_hexdigit()))
}

/// The id if this is a container's control group: at least [`SHORT_ID`] ASCII digits.
fn container_id<'a>(parent: &str, name: &'a str) -> Option<&'a str> {
    let stem = name.strip_suffix(".scope").unwrap_or(name);
    let (prefix, id) = match stem.rfind(['-', ':']) {
        Some(at) => (&stem[..at], &stem[at + 1..]),
        None => ("", stem),
    };
    if prefix.ends_with("-conmon") || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let of_runtime = |name: &str| RUNTIMES.contains(&name);
    // Pods are named by their uid: `pod0123-…`, or `kubepods-burstable-pod0123_….slice`.
    let known = if prefix.is_empty() {
        of_runtime(parent) || parent.starts_with("pod")
    } else {
        of_runtime(prefix.rsplit(':').next().unwrap_or(prefix))
    };
    (id.len() == CONTAINER_ID || known && id.len() >= SHORT_ID).then_some(id)
}

/// systemd writes what may not stand in a unit's name as `\x2d`.
fn unescape(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if let Some((decoded, after)) = escape(rest) {
            bytes.push(decoded);
            rest = after;
        } else {
            bytes.push(byte);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn escape(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, after) = bytes.strip_prefix(br"\x")?.split_at_checked(2)?;
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let value = digit(digits[0])? << 4 | digit(digits[1])?;
    Some((u8::try_from(value).ok()?, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn of(cgroup: &str) -> String {
        group_name(Some(&cgroup.replace("ID", ID)), Some(Path::new("/bin/app")), "comm")
    }

    #[test]
    fn units() {
        for (cgroup, group) in [
            ("/system.slice/nginx.service", "nginx.service"),
            ("/system.slice/nginx.service/worker", "nginx.service"),
            ("/system.slice/system-a.slice/a@1.service", "a@1.service"),
            (r"/system.slice/my\x2dapp.service", "my-app.service"),
            (r"/system.slice/odd\x2.service", r"odd\x2.service"),
            (r"/system.slice/tail\x+f.service", r"tail\x+f.service"),
            ("/user.slice/user-0.slice/user@0.service/app.slice/b.service", "b.service"),
            ("/user.slice/user-0.slice/user@0.service/init.scope", "user@0.service"),
            ("/system.slice/batch.scope", "batch.scope"),
            ("/machine.slice/machine-qemu.scope", "machine-qemu.scope"),
        ] {
            assert_eq!(of(cgroup), group, "{cgroup}");
        }
    }

    #[test]
    fn containers() {
        for cgroup in [
            "/system.slice/docker-ID.scope",
            "/docker/ID",
            "/docker/0123456789ab",
            "/docker/ID/init",
            "/system.slice/docker.service/docker/ID",
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-ID.scope",
            "/kubepods.slice/kubepods-pod1_2.slice/crio-ID.scope",
            "/kubepods/besteffort/pod1234-5678/ID",
            "/kubepods/besteffort/pod1234-5678/0123456789abcdef",
            "/system.slice/containerd.service/kubepods-burstable-pod1_2.slice:cri-containerd:ID",
            "/machine.slice/libpod-ID.scope/container",
            "/user.slice/user-1.slice/user@1.service/user.slice/libpod-ID.scope",
            "/unheard-of/ID",
        ] {
            assert_eq!(of(cgroup), "container:0123456789ab", "{cgroup}");
        }
        assert_eq!(of("/docker/ID/system.slice/nginx.service"), "nginx.service");
    }

    #[test]
    fn what_stands_for_nothing_goes_by_its_executable() {
        for cgroup in [
            "",
            "/",
            "/init.scope",
            "/user.slice/user-0.slice/session-3.scope",
            "/user.slice",
            "/docker",
            "/docker/short",
            "/kubepods/besteffort/pod1234-5678",
            "/machine.slice/libpod-conmon-ID.scope",
            "/system.slice/run-u12.service",
            "/system.slice/run-r0123456789abcdef.scope",
            "/system.slice/run-p12-i34.scope",
            "/../..",
            "/é/ü-é",
        ] {
            assert_eq!(of(cgroup), "app", "{cgroup}");
        }
    }

    #[test]
    fn without_all_else_the_comm_counts() {
        assert_eq!(group_name(None, Some(Path::new("/")), "comm"), "comm");
        assert_eq!(group_name(None, None, "comm"), "comm");
        assert_eq!(group_name(None, Some(Path::new("/a/b c")), "comm"), "b c");
    }

    #[test]
    fn labels_have_an_end() {
        let name = group_name(None, None, &"é".repeat(500));
        assert_eq!(name.chars().count(), LABEL_LENGTH);
    }
}
