use super::*;
use crate::diagnose::{Cause, Cost};

const REST: Duration = Duration::from_secs(300);

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn load(pid: u32, group: &str, cost: f64) -> Load {
    let process = ProcessId::new(pid, 1);
    Load { process, comm: format!("p{pid}"), group: Arc::from(group), cost, crowding: None }
}

fn finding(severity: Severity) -> Finding {
    Finding {
        id: "mmap-churn".to_owned(),
        severity,
        summary: String::new(),
        evidence: Vec::new(),
        cause: Cause::default(),
        cost: Cost::default(),
        remedy: Vec::new(),
        predicted_saving: None,
        confidence: 1.0,
    }
}

/// Who is looked at when the same loads last until then.
fn after(looks: &mut Looks, loads: &[Load], began: Instant, seconds: u64) -> Option<u32> {
    looks.begin(loads, began);
    looks.begin(loads, began + s(seconds)).map(|load| load.process.pid)
}

#[test]
fn the_costliest_is_looked_at_when_it_has_been_so_for_a_while() {
    let began = Instant::now();
    let loads = [load(1, "a", 0.1), load(2, "b", 0.9), load(3, "c", 0.01)];
    assert_eq!(after(&mut Looks::new(REST), &loads, began, 9), None, "a start-up is busy too");
    assert_eq!(after(&mut Looks::new(REST), &loads, began, 10), Some(2));
    assert_eq!(after(&mut Looks::new(REST), &loads[2..], began, 1000), None, "not worth a cure");
}

#[test]
fn nobody_is_looked_at_if_nobody_wants_it() {
    let (mut looks, began) = (Looks::new(Duration::ZERO), Instant::now());
    let busy = [load(1, "a", 0.9)];
    assert_eq!(after(&mut looks, &busy, began, 10), None);
    looks.leave_alone_for(REST);
    assert!(looks.begin(&busy, began + s(20)).is_some());
    looks.ended(Ok(vec![finding(Severity::Low)]), began + s(30));
    looks.leave_alone_for(Duration::ZERO);
    assert_eq!(looks.begin(&busy, began + s(60)), None);
    assert!(looks.found().is_empty());
}

#[test]
fn a_moment_is_no_cost() {
    let (mut looks, began) = (Looks::new(REST), Instant::now());
    for tenth in 0..1000 {
        // As one sample of the CPU in an interval of a tenth of a second looks like, once in four seconds.
        let cost = if tenth % 40 == 0 { 1.0 } else { 0.0 };
        let now = began + Duration::from_millis(100 * tenth);
        assert_eq!(looks.begin(&[load(1, "a", cost)], now), None);
    }
}

#[test]
fn areas_near_their_limit_are_a_reason_too() {
    let crowded = |crowding| Load { crowding: Some(crowding), ..load(2, "b", 0.0) };
    let began = Instant::now();
    let loads = [load(1, "a", 0.3), crowded(0.6)];
    assert_eq!(after(&mut Looks::new(REST), &loads, began, 10), Some(2), "a failure comes first");
    assert_eq!(after(&mut Looks::new(REST), &[crowded(0.49)], began, 10), None);
}

#[test]
fn one_at_a_time_and_each_group_seldom() {
    let (mut looks, began) = (Looks::new(REST), Instant::now());
    let loads = [load(1, "a", 0.9), load(2, "a", 0.8), load(3, "b", 0.1)];
    assert_eq!(after(&mut looks, &loads, began, 10), Some(1));
    assert_eq!(looks.begin(&loads, began + s(15)), None, "one is under way");
    let ended = looks.ended(Ok(Vec::new()), began + s(20));
    assert_eq!(ended.map(|load| load.process.pid), Some(1));
    assert_eq!(looks.begin(&loads, began + s(39)), None, "the machine has its rest");
    let second = looks.begin(&loads, began + s(40)).map(|load| load.process.pid);
    assert_eq!(second, Some(3), "so has the group");
    looks.ended(Err("its worker failed".to_owned()), began + s(50));
    for second in 70..320 {
        assert_eq!(looks.begin(&loads, began + s(second)), None);
    }
    let third = looks.begin(&loads, began + s(320)).map(|load| load.process.pid);
    assert_eq!(third, Some(1), "and after it comes again");
}

#[test]
fn findings_stay_as_long_as_their_process_is_suspicious() {
    let (mut looks, began) = (Looks::new(REST), Instant::now());
    let busy = [load(1, "a", 0.5)];
    assert_eq!(after(&mut looks, &busy, began, 10), Some(1));
    looks.ended(Ok(vec![finding(Severity::High), finding(Severity::NoGain)]), began + s(20));
    let severities = |looks: &Looks| -> Vec<_> {
        let found = looks.found().values().flat_map(|found| &found.findings);
        found.map(|finding| finding.severity).collect()
    };
    assert_eq!(severities(&looks), [Severity::High], "what gains nothing is none");
    let less = [load(1, "a", 0.03)];
    looks.begin(&less, began + s(100));
    assert_eq!(severities(&looks).len(), 1, "less, and still some");
    let calm = [load(1, "a", 0.01)];
    looks.begin(&calm, began + s(129));
    assert_eq!(severities(&looks).len(), 1, "a moment of calm is none");
    looks.begin(&calm, began + s(134));
    assert!(looks.found().is_empty());
}

#[test]
fn findings_go_with_their_process_and_when_a_look_finds_none() {
    let (mut looks, began) = (Looks::new(REST), Instant::now());
    let busy = [load(1, "a", 0.5)];
    assert_eq!(after(&mut looks, &busy, began, 10), Some(1));
    looks.ended(Ok(vec![finding(Severity::Low)]), began + s(20));
    looks.begin(&busy, began + s(40));
    assert_eq!(looks.found().len(), 1);
    assert!(looks.begin(&busy, began + s(320)).is_some());
    looks.ended(Err("its worker failed".to_owned()), began + s(330));
    assert_eq!(looks.found().len(), 1, "a look that failed says nothing");
    assert!(looks.begin(&busy, began + s(630)).is_some());
    looks.ended(Ok(Vec::new()), began + s(640));
    assert!(looks.found().is_empty(), "the last look found none");
    assert!(looks.begin(&busy, began + s(940)).is_some());
    looks.ended(Ok(vec![finding(Severity::Low)]), began + s(950));
    looks.begin(&[], began + s(951));
    assert!(looks.found().is_empty(), "its process has ended");
    assert!(
        looks.ended(Err("its worker failed".to_owned()), began + s(960)).is_none(),
        "none is under way"
    );
}

fn stage(looks: &Looks) -> Option<(u32, Stage)> {
    looks.attention().map(|attention| (attention.load.process.pid, attention.stage))
}

#[test]
fn attention_is_on_the_next_look_then_on_the_one_under_way() {
    let (mut looks, began) = (Looks::new(REST), Instant::now());
    let loads = [load(1, "a", 0.1), load(2, "b", 0.9), load(3, "c", 0.01)];
    looks.begin(&loads, began);
    assert_eq!(stage(&looks), None, "a moment is no cost");
    looks.begin(&loads, began + s(5));
    let waiting = |until, last| Stage::Waiting { until: began + s(until), last };
    assert_eq!(stage(&looks), Some((2, waiting(10, None))), "the worse of two");
    looks.begin(&loads, began + s(12));
    assert_eq!(stage(&looks), Some((2, Stage::Looking { since: began + s(12) })));
    looks.ended(Ok(vec![finding(Severity::High)]), began + s(22));
    assert_eq!(stage(&looks), Some((1, waiting(42, None))), "the other is found out");
}

#[test]
fn attention_says_what_a_look_in_vain_was() {
    let (mut looks, began) = (Looks::new(REST), Instant::now());
    let busy = [load(1, "a", 0.5)];
    looks.begin(&busy, began);
    for (second, outcome) in [(10, Ok(Vec::new())), (340, Err("no".to_owned()))] {
        looks.begin(&busy, began + s(second)).expect("it is due");
        let failure = outcome.as_ref().err().cloned();
        looks.ended(outcome, began + s(second + 10));
        looks.begin(&busy, began + s(second + 20));
        let last = Some(LastLook { at: began + s(second + 10), failure });
        let until = began + s(second + 310);
        assert_eq!(stage(&looks), Some((1, Stage::Waiting { until, last })));
    }
    looks.begin(&[load(1, "a", 0.0)], began + s(370));
    assert_eq!(stage(&looks), None, "it is calm");
    let mut never = Looks::new(Duration::ZERO);
    after(&mut never, &busy, began, 10);
    assert_eq!(stage(&never), None, "nobody is looked at");
}
