//! The label that stands for many processes.

use std::path::Path;

/// Characters in a label at the most.
pub(super) const LABEL_LENGTH: usize = 128;

/// Hexadecimal digits in a container's id, and how many of them are shown.
const CONTAINER_ID: usize = 64;
const SHORT_ID: usize = 12;

/// Runtimes that name their containers' control groups `RUNTIME-ID.scope` or `RUNTIME/ID`.
const RUNTIMES: [&str; 8] =
    ["docker", "cri-containerd", "containerd", "crio", "libpod", "nerdctl", "kubepods", "garden"];

/// What a group is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupName {
    /// Its label.
    pub name: String,
    /// Whether it is one of few that somebody has chosen, and stays the same: a unit's, a rule's.
    pub is_lasting: bool,
}

impl GroupName {
    /// One that there will always be.
    #[must_use]
    pub fn lasting(name: &str) -> Self {
        Self { name: name.to_owned(), is_lasting: true }
    }

    fn passing(name: String) -> Self {
        Self { name, is_lasting: false }
    }
}

/// The group of a process that no rule names: the systemd unit, the Kubernetes pod (`pod:` and its
/// uid) or the container (`container:` and the beginning of its id), whichever is deepest in the
/// path; else the executable's file name; else the comm.
///
/// Names that change at every start (a login session, a `systemd-run` without a name) would make
/// a label for each process: those count by their executable.
#[must_use]
pub fn default_name(cgroup: Option<&str>, exe: Option<&Path>, comm: &str) -> GroupName {
    let file = || Some(exe?.file_name()?.to_string_lossy().into_owned());
    let mut group = cgroup
        .and_then(from_cgroup)
        .unwrap_or_else(|| GroupName::passing(file().unwrap_or_else(|| comm.to_owned())));
    if let Some((end, _)) = group.name.char_indices().nth(LABEL_LENGTH) {
        group.name.truncate(end);
    }
    group
}

fn from_cgroup(path: &str) -> Option<GroupName> {
    let components: Vec<&str> = components(path).collect();
    let named = components.iter().enumerate().rev().find_map(|(index, name)| {
        let above = &components[..index];
        let inside = container_id(above.last().unwrap_or(&""), name);
        // A pod's containers have new ids at each restart; its uid is what Kubernetes' own metrics have.
        let pod = || (0..=index).rev().find_map(|at| pod_uid(&components[..at], components[at]));
        inside
            .map(|id| pod().unwrap_or_else(|| format!("container:{}", &id[..SHORT_ID])))
            .or_else(|| pod_uid(above, name))
            .map(GroupName::passing)
            .or_else(|| service(name))
    });
    named.or_else(|| components.iter().rev().find_map(|name| scope(name)))
}

fn components(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/').filter(|component| !component.is_empty())
}

/// The innermost service of the path, else its innermost scope; written as people do.
pub(super) fn unit_of(cgroup: &str) -> Option<String> {
    let innermost = |kind: &str| components(cgroup).rfind(|name| name.ends_with(kind));
    innermost(".service").or_else(|| innermost(".scope")).map(unescape)
}

/// A unit of its own name. An instance of a template may be one of any number, as for each
/// connection to a socket.
fn unit(name: &str) -> GroupName {
    let is_instance = name.split_once('@').is_some_and(|(_, instance)| !instance.starts_with('.'));
    GroupName { name: unescape(name), is_lasting: !is_instance }
}

fn service(name: &str) -> Option<GroupName> {
    (name.ends_with(".service") && !is_transient(name)).then(|| unit(name))
}

/// Whether the deepest service of the path has this name, written as systemd writes it or as people do.
pub(super) fn unit_is(cgroup: &str, unit: &str) -> bool {
    let service = cgroup.rsplit('/').find(|name| name.ends_with(".service"));
    service.is_some_and(|name| name == unit || unescape(name) == unit)
}

fn scope(name: &str) -> Option<GroupName> {
    let stem = name.strip_suffix(".scope")?;
    let nobodys = stem == "init"
        || stem.starts_with("session-")
        || stem.contains("-conmon-")
        || is_transient(name);
    (!nobodys).then(|| unit(name))
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

/// Kubernetes names a pod's control group `podUID` below one of its own, or, with systemd,
/// `kubepods-burstable-podUID.slice` with `_` for `-`.
fn pod_uid(above: &[&str], name: &str) -> Option<String> {
    let stem = name.split(':').next().unwrap_or(name);
    let stem = stem.strip_suffix(".slice").unwrap_or(stem);
    let uid = match stem.rsplit_once("-pod") {
        Some((tree, uid)) if tree.contains("kubepods") => uid,
        _ => {
            stem.strip_prefix("pod").filter(|_| above.iter().any(|one| one.contains("kubepods")))?
        }
    };
    let is_uid = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b'-' | b'_');
    let fits = (SHORT_ID..=CONTAINER_ID).contains(&uid.len()) && uid.bytes().all(is_uid);
    fits.then(|| format!("pod:{}", uid.replace('_', "-")))
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
    const UID: &str = "01234567_89ab_cdef_0123_456789abcdef";

    fn of(cgroup: &str) -> String {
        group(cgroup).name
    }

    fn group(cgroup: &str) -> GroupName {
        let cgroup = cgroup.replace("UID", UID).replace("ID", ID);
        default_name(Some(&cgroup), Some(Path::new("/bin/app")), "comm")
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
            "/system.slice/containerd.service/kubepods-burstable-pod.slice:cri-containerd:ID",
            "/podman/libpod-ID",
            "/libpod_parent/libpod-ID",
            "/default/ID",
            "/machine.slice/libpod-ID.scope/container",
            "/user.slice/user-1.slice/user@1.service/user.slice/libpod-ID.scope",
            "/unheard-of/ID",
        ] {
            assert_eq!(of(cgroup), "container:0123456789ab", "{cgroup}");
        }
        assert_eq!(of("/docker/ID/system.slice/nginx.service"), "nginx.service");
    }

    #[test]
    fn pods() {
        for cgroup in [
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUID.slice/cri-containerd-ID.scope",
            "/kubepods.slice/kubepods-podUID.slice/crio-ID.scope",
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podUID.slice/docker-ID.scope",
            "/kubepods.slice/kubepods-podUID.slice",
            "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podUID.slice/cri-containerd-ID.scope",
            "/system.slice/containerd.service/kubepods-burstable-podUID.slice:cri-containerd:ID",
            "/kubepods/besteffort/podUID/ID",
            "/kubepods/podUID/0123456789abcdef",
            "/docker/ID/kubelet/kubepods/burstable/podUID/ID",
            "/kubepods/podUID/crio-ID/container",
        ] {
            let uid = UID.replace('_', "-");
            assert_eq!(of(cgroup), format!("pod:{uid}"), "{cgroup}");
        }
        let inside = "/kubepods/besteffort/podUID/ID/system.slice/nginx.service";
        assert_eq!(of(inside), "nginx.service");
        assert_eq!(
            of("/kubepods/pod0123456789abcdef0123456789abcdef/ID"),
            "pod:0123456789abcdef0123456789abcdef"
        );
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
            "/kubepods/besteffort",
            "/kubepods/besteffort/podinfo",
            "/podUID",
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
        let name = |exe: Option<&str>| default_name(None, exe.map(Path::new), "comm").name;
        assert_eq!(name(Some("/")), "comm");
        assert_eq!(name(None), "comm");
        assert_eq!(name(Some("/a/b c")), "b c");
    }

    #[test]
    fn labels_have_an_end() {
        for name in [
            default_name(None, None, &"é".repeat(500)),
            group(&format!("/{}.service", "é".repeat(5000))),
        ] {
            assert_eq!(name.name.chars().count(), LABEL_LENGTH);
        }
    }

    #[test]
    fn units_last_and_what_anybody_makes_passes() {
        for (cgroup, lasts) in [
            ("/system.slice/nginx.service", true),
            ("/system.slice/batch.scope", true),
            ("/user.slice/user@.service", true),
            ("/system.slice/sshd@7-10.0.0.1:22-10.0.0.2:999.service", false),
            ("/docker/ID", false),
            ("/kubepods/podUID/ID", false),
            ("/user.slice/session-3.scope", false),
        ] {
            assert_eq!(group(cgroup).is_lasting, lasts, "{cgroup}");
        }
    }

    #[test]
    fn a_unit_is_the_innermost_service_or_else_scope() {
        for (cgroup, unit) in [
            (r"/a.slice/my\x2dapp.service/init.scope", Some("my-app.service")),
            ("/user.slice/session-3.scope", Some("session-3.scope")),
            ("/system.slice/run-u12.service", Some("run-u12.service")),
            ("/a.slice", None),
            ("/", None),
        ] {
            assert_eq!(unit_of(cgroup).as_deref(), unit, "{cgroup}");
        }
    }
}
