//! What `deploy/` gives to Prometheus, on a real one.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use libtest_mimic::{Failed, Trial};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tempfile::TempDir;

use super::{Daemon, churn, named, service::get};
use crate::{
    support::{Ended, Machine, ensure, workload},
    trial,
};

/// Many windows of the rules as [`faster`] makes them.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where nothing goes wrong there is nothing to see.
const MAY_BE_EMPTY: [&str; 3] =
    ["Waits for mmap_lock", "Refused memory calls", "What closer looks found"];

/// Why nothing can be tested with it here.
pub(super) fn lacks(machine: &Machine) -> Option<String> {
    let vm = machine.is_vm().then(|| "Debian's programs are on the host".to_owned());
    vm.or_else(|| machine.lacks(&["prometheus", "promtool"]))
}

pub(super) fn trials(machine: &Machine) -> Vec<Trial> {
    let lacks = || lacks(machine);
    let profiles = || lacks().or_else(|| machine.cannot_use("malloc", "uprobe"));
    vec![
        trial("prometheus_finds_no_fault_with_the_metrics", lacks(), metrics_are_checked),
        trial("prometheus_rules_do_what_they_say", lacks(), rules_are_tested),
        trial("prometheus_tells_of_a_churn_and_of_its_end", lacks(), a_churn_is_told),
        trial("prometheus_discovers_the_profiles", profiles(), profiles_are_discovered),
    ]
}

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(file)
}

pub(super) fn promtool(arguments: &[&str], input: Stdio) -> Result<(), Failed> {
    let mut command = Command::new("promtool");
    let done = command.args(arguments).stdin(input).current_dir(deploy("prometheus")).output()?;
    let said = [done.stdout, done.stderr].concat();
    // What it merely does not like has status 3.
    ensure(done.status.success(), format!("{command:?}: {}", String::from_utf8_lossy(&said)))
}

fn metrics_are_checked() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let text = directory.path().join("metrics");
    fs::write(&text, Daemon::start()?.get("/metrics")?.1)?;
    promtool(&["check", "metrics"], fs::File::open(text)?.into())
}

fn rules_are_tested() -> Result<(), Failed> {
    promtool(&["test", "rules", "alloctrace.test.yml"], Stdio::null())
}

/// A server that reads the daemon, with the rules of `deploy/`.
pub(super) struct Prometheus {
    address: String,
    _server: Ended,
}

impl Prometheus {
    fn start(directory: &Path, daemon: &str) -> Result<Self, Failed> {
        Self::with(directory, daemon, "")
    }

    /// The same, with more lines in its job. Returns when it has scraped.
    pub(super) fn with(directory: &Path, daemon: &str, more: &str) -> Result<Self, Failed> {
        for file in ["alloctrace.rules.yml", "alloctrace.alerts.yml"] {
            let rules = fs::read_to_string(deploy("prometheus").join(file))?;
            fs::write(directory.join(file), faster(&rules))?;
        }
        let job = fs::read_to_string(deploy("prometheus/alloctrace.yml"))?;
        let job = job.replace("127.0.0.1:9435", daemon).replace("15s", "500ms");
        let settings = "global: {evaluation_interval: 500ms}\nrule_files: ['*.rules.yml', \
                        '*.alerts.yml']\nscrape_configs:\n";
        let configuration = directory.join("prometheus.yml");
        fs::write(&configuration, format!("{settings}{job}{more}"))?;
        // It does not tell which one it took, if it may take any.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let mut server = Command::new("prometheus");
        server
            .arg(format!("--config.file={}", configuration.display()))
            .arg(format!("--storage.tsdb.path={}", directory.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=error");
        let prometheus = Self { _server: Ended(server.spawn()?), address };
        prometheus.wait_for("up == 1", |found| !found.is_empty())?;
        Ok(prometheus)
    }

    /// The labels of what an expression finds; none while nobody listens yet.
    fn query(&self, expression: &str) -> Result<Option<Vec<Value>>, Failed> {
        let escaped = utf8_percent_encode(expression, NON_ALPHANUMERIC);
        let asked = get(&self.address, &format!("/api/v1/query?query={escaped}"));
        // Nobody listens yet, or what listens is not ready.
        let Some((_, text)) = asked.ok().filter(|(status, _)| *status != 503) else {
            return Ok(None);
        };
        let answer: Value = serde_json::from_slice(&text)?;
        ensure(answer["status"] == "success", format!("{expression}: {answer}"))?;
        let found = answer["data"]["result"].as_array().ok_or("no result")?;
        Ok(Some(found.iter().map(|sample| sample["metric"].clone()).collect()))
    }

    pub(super) fn wait_for(
        &self,
        what: &str,
        is_so: impl Fn(&[Value]) -> bool,
    ) -> Result<(), Failed> {
        let began = Instant::now();
        while !self.query(what)?.is_some_and(|found| is_so(&found)) {
            ensure(began.elapsed() < PATIENCE, format!("in vain: {what}"))?;
            thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }
}

/// What it is answered is no metrics, but it knows whom to ask for what.
fn profiles_are_discovered() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let program = directory.path().join("profiled");
    fs::copy(workload("malloc_loop"), &program)?;
    let mut target = Command::new(&program);
    let target = Ended(target.args(["--work", "20000"]).stdout(Stdio::null()).spawn()?);
    let daemon = Daemon::with(&["--malloc=exe=profiled", "--malloc-window=2s"])?;
    let job = format!(
        "- job_name: profiles
  scrape_interval: 500ms
  http_sd_configs:
    - {{url: 'http://{}/api/v1/profiles', refresh_interval: 1s}}
  relabel_configs:
    - {{source_labels: [__param_pid], target_label: pid}}
    - {{source_labels: [__meta_alloctrace_group], target_label: group}}
",
        daemon.address
    );
    let prometheus = Prometheus::with(directory.path(), &daemon.address, &job)?;
    let (address, pid) = (&daemon.address, target.0.id());
    let wanted =
        format!("up{{job='profiles', instance='{address}', group='profiled', pid='{pid}'}}");
    prometheus.wait_for(&wanted, |found| found.len() == 1)?;
    drop(target);
    prometheus.wait_for(&wanted, <[Value]>::is_empty)
}

/// The same rules for clocks that run ten times as fast.
fn faster(rules: &str) -> String {
    rules.replace("[1m]", "[6s]").replace("for: 30s", "for: 3s")
}

fn a_churn_is_told() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let program = named(directory.path(), "told-by-alert")?;
    let daemon = Daemon::start()?;
    let prometheus = Prometheus::start(directory.path(), &daemon.address)?;
    let firing = "ALERTS{alertstate=\"firing\", pathology=~\".+\"}";
    let is_told = |found: &[Value]| found.iter().any(|alert| alert["group"] == "told-by-alert");
    let sick = Ended(churn(&program, u64::MAX).spawn()?);
    prometheus.wait_for(firing, is_told)?;
    let alerts = prometheus.query(firing)?.unwrap_or_default();
    let mut named = alerts.iter().filter(|alert| alert["group"] == "told-by-alert");
    let only = named.next().map(|alert| &alert["alertname"]);
    ensure(only.is_some_and(|name| name == "AlloctraceMmapChurn"), format!("{alerts:?}"))?;
    ensure(named.next().is_none(), format!("{alerts:?}"))?;
    dashboard_is_filled(&prometheus)?;
    drop(sick);
    prometheus.wait_for(firing, |found| !is_told(found))
}

/// What the dashboard asks for is there, while an alert is.
fn dashboard_is_filled(prometheus: &Prometheus) -> Result<(), Failed> {
    let dashboard: Value = serde_json::from_slice(&fs::read(deploy("grafana/alloctrace.json"))?)?;
    let panels = dashboard["panels"].as_array().ok_or("no panels")?;
    let mut queries = 0;
    for panel in panels {
        let title = panel["title"].as_str().ok_or("a panel without a title")?;
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().ok_or("no expression")?;
            let expression = expression.replace("$instance", ".*").replace("$group", ".*");
            ensure(!expression.contains('$'), format!("{title}: an unknown variable"))?;
            let found = prometheus.query(&expression)?.unwrap_or_default();
            let filled = !found.is_empty() || MAY_BE_EMPTY.contains(&title);
            ensure(filled, format!("{title}: nothing for {expression}"))?;
            queries += 1;
        }
    }
    ensure(queries >= panels.len() / 2, format!("{queries} queries"))
}
