#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{collections::BTreeSet, fs, path::Path};

use super::*;
use crate::census::Subject;

const SAMPLE: &str = include_str!("../../../deploy/alloctrace.toml");

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(Path::new("/etc/a.toml"), text).map_err(|error| error.to_string())
}

/// The sample with what stands behind this mark.
fn uncommented(mark: &str) -> String {
    let is_text = |rest: &str| !rest.starts_with([' ', '#']) && !rest.is_empty();
    let lines = SAMPLE.lines().map(|line| match line.strip_prefix(mark) {
        Some(rest) if is_text(rest) => rest,
        _ => line,
    });
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_sample_has_the_defaults() {
    assert_eq!(parse("").unwrap(), Config::default());
    assert_eq!(parse(SAMPLE).unwrap(), Config::default());
    let all = uncommented("#");
    assert_eq!(
        all.lines().filter(|line| line.contains(" = ") && !line.starts_with('#')).count(),
        11
    );
    assert_eq!(parse(&all).unwrap(), Config::default());
}

/// Keys of this table and of those in it.
fn keys(value: &serde_json::Value, into: &mut BTreeSet<String>) {
    let table = value.as_object().into_iter().flatten();
    for (key, value) in table {
        keys(value, into);
        if !value.is_object() && key != "group" {
            into.insert(key.clone());
        }
    }
}

#[test]
fn the_sample_has_every_key() {
    let mut wanted = BTreeSet::new();
    keys(&serde_json::to_value(file::File::default()).unwrap(), &mut wanted);
    assert_eq!(wanted.len(), 11);
    let in_lines = |text: &str| -> BTreeSet<String> {
        let keys = text.lines().filter(|line| !line.starts_with('#'));
        keys.filter_map(|line| Some(line.split_once(" = ")?.0.to_owned())).collect()
    };
    assert_eq!(in_lines(&uncommented("#")), wanted);
    let mut of_rules = BTreeSet::new();
    keys(&serde_json::to_value(file::Group::default()).unwrap(), &mut of_rules);
    assert_eq!(in_lines(&uncommented("#     ")), of_rules);
}

#[test]
fn the_samples_rules_do_what_it_says() {
    let text: String = uncommented("#     ")
        .lines()
        .skip_while(|line| !line.starts_with("[["))
        .fold(String::new(), |text, line| text + line + "\n");
    let rules = parse(&text).unwrap().grouping.rules;
    let python = Subject {
        exe: Some(Path::new("/usr/bin/python3.11")),
        comm: "python3",
        cmdline: Some("python3 -m shop.worker -v --queue mail"),
        cgroup: None,
    };
    assert_eq!(rules.group(&python).name, "shop-mail");
    let of = |comm, cgroup| {
        rules.group(&Subject { comm, cgroup: Some(cgroup), ..Subject::default() }).name
    };
    assert_eq!(of("cc1plus", "/"), "compilers");
    assert_eq!(of("sh", "/customers/smith/a/b"), "customer-smith");
    assert_eq!(of("sh", "/user.slice/user-0.slice/session-4.scope"), "logins");
    assert_eq!(of("sh", "/system.slice/ssh@3.service"), "logins");
    assert_eq!(of("sh", "/system.slice/sshd.service"), "sshd.service");
}

#[test]
fn every_key_has_a_meaning() {
    let config = parse(
        r#"
        listen = ["[::1]:1", "host:2"]
        web_config = "web.yml"
        interval = "250ms"
        backend = ["cpu=off"]
        lookups = true
        look_again = "1h"
        malloc = { rules = ["exe=a"], budget = "2.5%", window = "10s" }
        groups = { most = 7, minimum_age = "1m" }
        group = [{ name = "x", comm = "y" }]
        "#,
    );
    let config = config.unwrap();
    assert_eq!(config.listen, ["[::1]:1", "host:2"]);
    assert_eq!(config.web_config, Some("/etc/web.yml".into()));
    assert_eq!((config.interval, config.lookups), (Duration::from_millis(250), true));
    assert_eq!(config.look_again, Duration::from_secs(3600));
    assert_eq!(config.backends, ["cpu=off"]);
    let malloc = Malloc {
        rules: vec![Rule::parse("exe=a").unwrap()],
        budget: Budget::new(0.025).unwrap(),
        window: Duration::from_secs(10),
    };
    assert_eq!(config.malloc, malloc);
    let Grouping { rules, most, minimum_age } = config.grouping;
    assert_eq!((most, minimum_age), (7, Duration::from_secs(60)));
    assert_eq!(rules.group(&Subject { comm: "y", ..Subject::default() }).name, "x");
    let absolute = parse("web_config = '/a/b.yml'").unwrap();
    assert_eq!(absolute.web_config, Some("/a/b.yml".into()));
}

#[test]
fn an_error_has_its_line_and_a_way_out() {
    for (text, line, said) in [
        ("\n\ninterval = \"1ms\"", 3, "interval: \"1ms\": shorter than 100ms"),
        ("interval = 5", 1, "invalid type: integer `5`, expected a string"),
        ("\nintervall = \"5s\"", 2, "unknown field `intervall`, expected one of"),
        ("look_again = \"1s\"", 1, "look_again: \"1s\": not 0s, and not between 30s and 24h; give"),
        ("a\n", 1, "expected"),
        ("listen = [\n\"127.0.0.1:1\",\n\"b\"]", 3, "listen: \"b\": not ADDRESS:PORT; give"),
        ("listen = []", 1, "listen: no address; give"),
        ("backend = [\"a=off\"]", 1, "backend: \"a=off\": no such signal"),
        ("[malloc]\n\nrules = [\"a\"]", 3, "malloc.rules: \"a\": no such rule; give"),
        ("[malloc]\nbudget = \"0%\"", 2, "malloc.budget: \"0%\": not a percentage"),
        ("[malloc]\nwindow = \"2h\"", 2, "malloc.window: \"2h\": not between 1s and 1h; give"),
        ("[groups]\nmost = 0", 2, "groups.most: 0 is too few or too many; give 1 to"),
        ("[groups]\nmost = 10001", 2, "groups.most: 10001 is too few"),
        ("[groups]\nminimum_age = \"-1s\"", 2, "groups.minimum_age: \"-1s\": "),
        ("\n[[group]]\nname = 'a'", 2, "group: no pattern, so that it would be everything; give"),
        ("\n\n[[group]]\ncomm = 'a'", 3, "group: no name; give"),
        ("[[group]]\nname = 'a'\ncomm = '('", 3, "group.comm: (: unclosed group; give"),
        ("[[group]]\ncomm = 'a'\nname = '$1'", 3, "group.name: $1: $1 is more than"),
        ("[[group]]\ncomm = 'a'\nname = '~new'", 3, "group.name: ~new: "),
        ("[[group]]\ncom = 'a'", 2, "unknown field `com`, expected one of"),
    ] {
        let error = parse(text).unwrap_err();
        let rest = error.strip_prefix(&format!("/etc/a.toml:{line}: ")).unwrap_or_else(|| {
            unreachable!("{text:?} is wrong in line {line}: {error}");
        });
        assert!(rest.contains(said) && !rest.contains('\n'), "{said}: {rest}");
    }
    let rule = "[[group]]\nname = 'a'\ncomm = 'a'\n";
    assert!(parse(&rule.repeat(256)).is_ok());
    assert!(parse(&rule.repeat(257)).unwrap_err().starts_with("/etc/a.toml:769: group: more than"));
    let hostile = parse("interval = \"a\\nb\\u001b[2J\"").unwrap_err();
    assert!(!hostile.contains(['\n', '\x1b']), "{hostile:?}");
}

#[test]
fn nesting_and_size_have_an_end() {
    let deep = format!("listen = {}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(parse(&deep).is_err());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.toml");
    fs::write(&file, "# ".repeat(600_000)).unwrap();
    let said = Config::read(&file).unwrap_err().to_string();
    assert!(said.contains("mebibyte"), "{said}");
    let said = Config::read(folder.path()).unwrap_err().to_string();
    assert!(said.contains("not a file; give"), "{said}");
    let missing = folder.path().join("missing.toml");
    let said = Config::read(&missing).unwrap_err().to_string();
    assert!(said.contains("missing.toml: cannot be read: No such file"), "{said}");
    assert_eq!(Config::read_if_there(&missing), Ok(Config::default()));
    assert!(Config::read_if_there(&file).is_err());
    fs::write(&file, "interval = '2s'").unwrap();
    assert_eq!(Config::read_if_there(&file).unwrap().interval, Duration::from_secs(2));
}

#[test]
fn what_needs_a_restart_is_named() {
    let config = Config::default();
    assert!(config.fixed_keys_that_differ(&config).is_empty());
    let free = parse(
        "interval = '1s'\nlook_again = '0s'\nmalloc = {rules = ['exe=a']}\ngroups = {most = 1}",
    )
    .unwrap();
    assert!(config.fixed_keys_that_differ(&free).is_empty());
    let other = parse("listen=['a:1']\nweb_config='w'\nbackend=['cpu=off']\nlookups=true").unwrap();
    let fixed = ["listen", "web_config", "backend", "lookups"];
    assert_eq!(config.fixed_keys_that_differ(&other), fixed);
}
