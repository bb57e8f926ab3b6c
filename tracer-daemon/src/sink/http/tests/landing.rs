use serde_json::Value;
use tracer_common::{Loss, ProcessId};

use super::*;
use crate::{
    aggregate::{
        looks::Found,
        machine::AreaCounting,
        rates::{GroupRates, Interval, ProcessRates, Rates},
    },
    diagnose::{Cause, Cost, Finding, Severity},
};

const HOSTILE: &str = "<script>alert(1)</script>\n\x1b[2J\u{202e}";

fn machine() -> MachineSnapshot {
    let rates = Rates { calls: 97_064.0, faults: 6.5, major_faults: 0.5, time: 0.85, cpu: None };
    let group =
        |name: &str| GroupRates { name: name.to_owned(), processes: 3, areas: Some(32_765), rates };
    let process = ProcessRates {
        process: ProcessId::new(4321, 700),
        comm: HOSTILE.to_owned(),
        group: "web.service".into(),
        areas: None,
        rates: Rates { cpu: Some(0.5), ..rates },
    };
    let mut groups = vec![group("web.service"), group(HOSTILE)];
    groups.extend((0..40).map(|index| group(&format!("g{index}"))));
    let interval = Interval { seconds: 5.0, groups, processes: vec![process] };
    MachineSnapshot {
        version: "0.1.0".to_owned(),
        kernel: "6.12".to_owned(),
        interval: Some(interval),
        lost: [(Loss::FaultRecords, 7), (Loss::MissedReturn, 0)].into(),
        area_counting: AreaCounting { limit: Some(65_530), ..AreaCounting::default() },
        ..MachineSnapshot::default()
    }
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").expect("headers end").1
}

#[test]
fn the_worst_groups_and_what_is_missing() {
    let site = Site::open(None);
    assert!(site.get("/").contains("There is no sample yet."));
    site.publish("", Instant::now());
    assert!(site.get("/").contains("from the second sample on"));
    site.show(machine(), "", Instant::now());
    let answer = site.get("/");
    assert!(answer.contains("content-security-policy: default-src 'none'"), "{answer}");
    let page = body(&answer);
    let row = "<td class=\"name\">web.service</td><td>3</td><td>97,064</td><td>6.50</td>\
               <td>85 %</td><td>unknown</td><td>32,765 (50 %)</td>";
    assert!(page.contains(row), "{page}");
    assert!(page.contains("<td>4321</td><td class=\"name\">web.service</td>"), "{page}");
    assert!(page.contains("and 27 more") && page.contains("fault_records: 7"), "{page}");
    assert!(!page.contains("missed_return") && !page.contains("What is wrong"), "{page}");
    let hostile = ["<script", "\x1b", "\u{202e}"];
    assert!(hostile.iter().all(|text| !page.contains(text)), "{page}");
    assert!(page.contains("&lt;script&gt;alert(1)"), "{page}");
}

#[test]
fn findings_that_hold() {
    let site = Site::open(None);
    assert!(site.get("/api/v1/findings").starts_with("HTTP/1.1 503 "));
    site.show(machine(), "", Instant::now());
    let empty: Value = serde_json::from_str(body(&site.get("/api/v1/findings"))).expect("JSON");
    assert_eq!(empty, serde_json::json!({ "findings": [] }));
    let finding = Finding {
        id: "mmap-churn".to_owned(),
        severity: Severity::High,
        summary: format!("it maps {HOSTILE}"),
        evidence: Vec::new(),
        cause: Cause::default(),
        cost: Cost::default(),
        remedy: vec!["reuse the buffer".to_owned()],
        predicted_saving: None,
        confidence: 0.9,
    };
    let (process, comm) = (ProcessId::new(4321, 700), HOSTILE.to_owned());
    let found = Found { process, comm, at: Instant::now(), findings: vec![finding] };
    let mut machine = machine();
    machine.looks.found.insert("web.service".into(), found);
    site.show(machine, "", Instant::now());
    let answer = site.get("/");
    let page = body(&answer);
    assert!(page.contains("<h3>web.service: mmap-churn</h3>"), "{page}");
    assert!(page.contains("<li>reuse the buffer</li>") && !page.contains("<script"), "{page}");
    assert!(page.contains("<code>alloctrace attach --pid 4321 --duration 30s</code>"), "{page}");
    let answer = site.get("/api/v1/findings");
    let found: Value = serde_json::from_str(body(&answer)).expect("JSON");
    let found = &found["findings"][0];
    assert_eq!(found["group"], "web.service");
    assert_eq!((&found["pid"], &found["comm"]), (&4321.into(), &HOSTILE.into()));
    assert_eq!(found["id"], "mmap-churn");
    assert_eq!(found["summary"], format!("it maps {HOSTILE}"));
    assert_eq!(found["remedy"][0], "reuse the buffer");
    assert!(found["age_seconds"].as_f64().is_some_and(|age| age >= 0.0), "{found}");
}

#[test]
fn processes_for_programs() {
    let site = Site::open(None);
    assert!(site.get("/api/v1/processes").starts_with("HTTP/1.1 503 "));
    let ask = || -> Value {
        let answer = site.get("/api/v1/processes");
        assert!(answer.contains("content-type: application/json\r\n"), "{answer}");
        serde_json::from_str(body(&answer)).expect("JSON")
    };
    site.publish("", Instant::now());
    assert_eq!(ask(), serde_json::json!({ "interval_seconds": null, "processes": [] }));
    site.show(machine(), "", Instant::now());
    let truth = serde_json::json!({ "interval_seconds": 5.0, "processes": [{
        "pid": 4321, "start_time": 7.0, "comm": HOSTILE, "group": "web.service", "areas": null,
        "calls_per_second": 97_064.0, "faults_per_second": 6.5, "major_faults_per_second": 0.5,
        "time_share": 0.85, "cpu_share": 0.5,
    }]});
    assert_eq!(ask(), truth);
}
