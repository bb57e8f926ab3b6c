//! The profiles of processes' last windows, and the pages that serve them.

use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{Html, IntoResponse, Response};
use maud::{DOCTYPE, html};
use tokio::sync::watch;

use crate::humanize;

/// Where a profile is asked for.
pub(super) const ALLOCS: &str = "/debug/pprof/allocs";

/// Profiles that are kept, and bytes of each.
const MOST: usize = 48;
const LARGEST: usize = 1 << 20;

/// How long after the end of a process its profile goes.
const KEPT: Duration = Duration::from_secs(15 * 60);

/// What the last window of a process found.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The process.
    pub pid: u32,
    /// When it was forked, in ticks since boot.
    pub start_ticks: u64,
    /// The kernel's name for it.
    pub comm: String,
    /// Its group.
    pub group: String,
    /// The window's length.
    pub seconds: f64,
    /// The part of it in which calls were counted; the profile is of that part, and never scaled.
    pub counted_seconds: f64,
    /// When the window had ended.
    pub at: Instant,
    /// What is served.
    pub sampled: Sampled,
}

/// The calls that were sampled in a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sampled {
    /// In the format of pprof.
    Profile(Bytes),
    /// None was.
    Nothing,
    /// More than is kept.
    TooMuch,
}

impl From<Option<Vec<u8>>> for Sampled {
    fn from(pprof: Option<Vec<u8>>) -> Self {
        match pprof {
            None => Self::Nothing,
            Some(bytes) if bytes.len() > LARGEST => Self::TooMuch,
            Some(bytes) => Self::Profile(bytes.into()),
        }
    }
}

/// The profiles that are kept, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Shelf {
    profiles: Vec<Kept>,
}

#[derive(Clone, Debug)]
struct Kept {
    profile: Profile,
    ended: Option<Instant>,
}

impl Shelf {
    /// Keeps a profile, in the place of the process's last one, or of the oldest of all if there are too many.
    pub fn put(&mut self, profile: Profile) {
        self.profiles.retain(|kept| kept.profile.pid != profile.pid);
        self.profiles.push(Kept { profile, ended: None });
        if self.profiles.len() > MOST {
            self.profiles.remove(0);
        }
    }

    /// Removes profiles of processes that ended a while ago; `lives` is asked by pid and start.
    pub fn tidy(&mut self, lives: impl Fn(u32, u64) -> bool, now: Instant) {
        for kept in &mut self.profiles {
            if lives(kept.profile.pid, kept.profile.start_ticks) {
                kept.ended = None;
            } else {
                kept.ended.get_or_insert(now);
            }
        }
        self.profiles.retain(|kept| kept.ended.is_none_or(|ended| now - ended < KEPT));
    }

    /// Those to be had of processes that live.
    pub(super) fn living(&self) -> impl Iterator<Item = &Profile> {
        let living = self.profiles.iter().filter(|kept| kept.ended.is_none());
        let profiles = living.map(|kept| &kept.profile);
        profiles.filter(|profile| matches!(profile.sampled, Sampled::Profile(_)))
    }

    fn of(&self, pid: u32) -> Option<&Profile> {
        self.profiles.iter().map(|kept| &kept.profile).find(|profile| profile.pid == pid)
    }
}

/// A page that lists them, newest first.
pub(super) async fn list(State(shelf): State<watch::Receiver<Shelf>>) -> Html<String> {
    let shelf = shelf.borrow().clone();
    let now = Instant::now();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head { meta charset="utf-8"; title { "alloctrace: profiles" } }
            body {
                h1 { "Allocations of the last window" }
                @if shelf.profiles.is_empty() {
                    p { "No window has ended yet. Processes are chosen by " code { "daemon --malloc" } "." }
                }
                ul {
                    @for Kept { profile, ended } in shelf.profiles.iter().rev() {
                        li { (entry(profile, ended.is_some(), now)) }
                    }
                }
            }
        }
    };
    Html(page.into_string())
}

fn entry(profile: &Profile, has_ended: bool, now: Instant) -> maud::Markup {
    let Profile { pid, comm, group, at, sampled, .. } = profile;
    let [counted, all] = [profile.counted_seconds, profile.seconds].map(humanize::seconds);
    let text = humanize::escaped(&format!("{comm} (pid {pid})"));
    let age = now.saturating_duration_since(*at).as_secs();
    html! {
        @match sampled {
            Sampled::Profile(_) => a href=(format!("allocs?pid={pid}")) { (text) },
            Sampled::Nothing => { (text) ", nothing sampled" },
            Sampled::TooMuch => { (text) ", too much to be kept" },
        }
        ", " (humanize::escaped(group)) ": counted for " (counted) " of " (all) ", ended " (age) " s ago"
        @if has_ended { "; the process has ended" }
    }
}

/// The profile of a process, compressed as the format demands.
pub(super) async fn allocs(
    State(shelf): State<watch::Receiver<Shelf>>,
    RawQuery(query): RawQuery,
) -> Response {
    let Some(pid) = query.as_deref().and_then(pid) else {
        let text = "no such question; ask for allocs?pid=NUMBER, as in /debug/pprof/\n";
        return (StatusCode::BAD_REQUEST, text).into_response();
    };
    let found = shelf.borrow().of(pid).map(|profile| profile.sampled.clone());
    let why = match found {
        Some(Sampled::Profile(pprof)) => {
            let headers = [
                (CONTENT_TYPE, "application/octet-stream"),
                (CONTENT_DISPOSITION, "attachment; filename=\"allocs.pb.gz\""),
                (CACHE_CONTROL, "no-store"),
            ];
            return (headers, pprof).into_response();
        }
        Some(Sampled::Nothing) => "in its last window no call was sampled",
        Some(Sampled::TooMuch) => "that of its last window is too large",
        None => "no window over it has ended, or not lately",
    };
    (StatusCode::NOT_FOUND, format!("no profile of pid {pid}: {why}\n")).into_response()
}

fn pid(query: &str) -> Option<u32> {
    let digits = query.strip_prefix("pid=")?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::sink::http) fn profile(
        pid: u32,
        start_ticks: u64,
        bytes: usize,
        at: Instant,
    ) -> Profile {
        Profile {
            pid,
            start_ticks,
            comm: "<script>".to_owned(),
            group: "a&b".to_owned(),
            seconds: 10.0,
            counted_seconds: 0.5,
            at,
            sampled: Sampled::from((bytes > 0).then(|| vec![b'x'; bytes])),
        }
    }

    fn pids(shelf: &Shelf) -> Vec<u32> {
        shelf.profiles.iter().map(|kept| kept.profile.pid).collect()
    }

    #[test]
    fn the_oldest_goes_first_and_each_process_has_one() {
        let (mut shelf, now) = (Shelf::default(), Instant::now());
        let most = u32::try_from(MOST).expect("a few");
        for pid in 1..=most {
            shelf.put(profile(pid, 1, 1, now));
        }
        shelf.put(profile(1, 1, 2, now));
        shelf.put(profile(most + 1, 1, 1, now));
        let truth: Vec<_> = (3..=most).chain([1, most + 1]).collect();
        assert_eq!(pids(&shelf), truth);
        let sampled = |pid| shelf.of(pid).map(|one| &one.sampled);
        assert_eq!(sampled(1), Some(&Sampled::Profile(Bytes::from("xx"))));
        assert_eq!((sampled(2), sampled(most + 2)), (None, None));
    }

    #[test]
    fn profiles_outlive_their_processes_for_a_while() {
        let (mut shelf, now) = (Shelf::default(), Instant::now());
        shelf.put(profile(1, 1, 1, now));
        shelf.put(profile(2, 1, 1, now));
        let lives = |pid, start| (pid, start) == (2, 1);
        shelf.tidy(lives, now);
        shelf.tidy(lives, now + KEPT - Duration::from_secs(1));
        assert_eq!(pids(&shelf), [1, 2]);
        shelf.tidy(lives, now + KEPT);
        assert_eq!(pids(&shelf), [2]);
        let later = now + KEPT;
        shelf.tidy(|_, start| start == 2, later);
        shelf.tidy(|_, start| start == 2, later + KEPT);
        assert!(pids(&shelf).is_empty(), "another process has the pid by now");
    }

    #[tokio::test]
    async fn names_are_escaped_in_the_list() {
        let mut shelf = Shelf::default();
        shelf.put(profile(7, 1, 1, Instant::now()));
        shelf.put(profile(8, 1, 0, Instant::now()));
        let (_sender, shelf) = watch::channel(shelf);
        let Html(page) = list(State(shelf)).await;
        assert!(page.contains("<a href=\"allocs?pid=7\">&lt;script&gt; (pid 7)</a>"), "{page}");
        assert!(page.contains("a&amp;b") && !page.contains("<script>"), "{page}");
        assert!(page.contains("(pid 8), nothing sampled"), "{page}");
        assert!(page.contains(": counted for 500 ms of 10.0 s, ended 0 s ago"), "{page}");
    }

    #[tokio::test]
    async fn bad_questions_and_unknown_processes_are_told_apart() {
        let mut shelf = Shelf::default();
        shelf.put(profile(7, 1, 3, Instant::now()));
        shelf.put(profile(8, 1, 0, Instant::now()));
        shelf.put(profile(10, 1, LARGEST, Instant::now()));
        shelf.put(profile(11, 1, LARGEST + 1, Instant::now()));
        let (_sender, shelf) = watch::channel(shelf);
        for (query, status) in [
            (Some("pid=7"), 200),
            (Some("pid=8"), 404),
            (Some("pid=9"), 404),
            (Some("pid=10"), 200),
            (Some("pid=11"), 404),
            (Some("pid=4294967296"), 400),
            (Some("pid=+7"), 400),
            (Some("pid="), 400),
            (Some("pid=7&seconds=1"), 400),
            (Some("pid=%37"), 400),
            (Some(""), 400),
            (None, 400),
        ] {
            let asked = RawQuery(query.map(str::to_owned));
            let answer = allocs(State(shelf.clone()), asked).await;
            assert_eq!(answer.status().as_u16(), status, "{query:?}");
            let body = axum::body::to_bytes(answer.into_body(), LARGEST).await.expect("kept");
            assert_eq!(
                body.iter().filter(|byte| **byte == b'\n').count(),
                usize::from(status != 200)
            );
        }
    }
}
