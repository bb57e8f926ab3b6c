//! One rung of a signal's ladder: its programs loaded and put in their places, or none of them.

use std::error::Error as StdError;

use aya::{
    Btf,
    programs::{
        BtfTracePoint, FEntry, FExit, KProbe, PerfEvent, Program, RawTracePoint, TracePoint, UProbe,
    },
};

use super::{
    attach::Programs,
    catalog::{Point, Probe, Rung},
    own_code::OwnCode,
    perf,
    settings::Settings,
    uprobe_multi::UprobeMulti,
};

/// Why a rung does not carry its signal.
pub(super) type AttachError = Box<dyn StdError>;

/// Attaches all programs of a rung, or none.
pub(super) fn attach(
    programs: &mut Programs,
    rung: &Rung,
    settings: &Settings,
    btf: Option<&Btf>,
) -> Result<(), AttachError> {
    for (at, probe) in rung.probes.iter().enumerate() {
        if let Err(error) = attach_probe(programs, probe, settings, btf) {
            detach(programs, &rung.probes[..=at]);
            return Err(error);
        }
    }
    Ok(())
}

/// Takes out what is attached of a rung.
pub(super) fn detach(programs: &mut Programs, probes: &[Probe]) {
    for probe in probes {
        programs.multi.remove(probe.program);
        if let Some(program) = programs.ebpf.program_mut(probe.program) {
            unload(program);
        }
    }
}

fn attach_probe(
    Programs { ebpf, multi }: &mut Programs,
    probe: &Probe,
    settings: &Settings,
    btf: Option<&Btf>,
) -> Result<(), AttachError> {
    let program = ebpf.program_mut(probe.program).ok_or("the object has no such program")?;
    if program.fd().is_ok() {
        return Ok(()); // Another signal has attached the program that both share.
    }
    let typed = || btf.ok_or("the kernel has no BTF");
    match probe.point {
        Point::Fentry(function) => {
            let program: &mut FEntry = program.try_into()?;
            program.load(function, typed()?)?;
            program.attach()?;
        }
        Point::Fexit(function) => {
            let program: &mut FExit = program.try_into()?;
            program.load(function, typed()?)?;
            program.attach()?;
        }
        Point::Kprobe(function) | Point::Kretprobe(function) => {
            let program: &mut KProbe = program.try_into()?;
            program.load()?;
            program.attach(function, 0)?;
        }
        Point::TpBtf(name) => {
            let program: &mut BtfTracePoint = program.try_into()?;
            program.load(name, typed()?)?;
            program.attach()?;
        }
        Point::RawTracepoint(name) => {
            let program: &mut RawTracePoint = program.try_into()?;
            program.load()?;
            program.attach(name)?;
        }
        Point::Tracepoint(category, name) => {
            let program: &mut TracePoint = program.try_into()?;
            program.load()?;
            program.attach(category, name)?;
        }
        Point::PageFaults => {
            let program: &mut PerfEvent = program.try_into()?;
            program.load()?;
            // Only to see that it can be: from here on the session turns it on and off.
            let links = perf::count_faults(program, settings.config.fault_period)?;
            perf::detach(program, links);
        }
        Point::MajorFaults => {
            let program: &mut PerfEvent = program.try_into()?;
            program.load()?;
            perf::count_major_faults(program)?;
        }
        Point::CpuClock => {
            let program: &mut PerfEvent = program.try_into()?;
            program.load()?;
            perf::sample_cpu_clock(program)?;
        }
        Point::AllocatorAtOnce => {
            let program: &mut UProbe = program.try_into()?;
            program.load()?;
            let at_once = UprobeMulti::load(probe.program, program)?;
            // Old kernels load the program as well, and refuse the link.
            let (own, pid) = (OwnCode::find()?, std::process::id());
            let link = at_once.link(&own.file, &[own.emulated], pid);
            link.map_err(|error| match error.raw_os_error() {
                Some(libc::EINVAL) => "the kernel has no such links; Linux 6.6 has".into(),
                _ => AttachError::from(error),
            })?;
            multi.insert(probe.program, at_once);
        }
        Point::Allocator => {
            let program: &mut UProbe = program.try_into()?;
            program.load()?; // The session puts it in, once it knows the target.
        }
    }
    Ok(())
}

/// Takes a program and its links out of the kernel. One that was never loaded is left as it is.
fn unload(program: &mut Program) {
    let _ = match program {
        Program::FEntry(program) => program.unload(),
        Program::FExit(program) => program.unload(),
        Program::KProbe(program) => program.unload(),
        Program::BtfTracePoint(program) => program.unload(),
        Program::RawTracePoint(program) => program.unload(),
        Program::TracePoint(program) => program.unload(),
        Program::PerfEvent(program) => program.unload(),
        Program::UProbe(program) => program.unload(),
        _ => Ok(()),
    };
}
