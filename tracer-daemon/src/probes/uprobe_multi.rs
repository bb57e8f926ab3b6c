//! One link for all of a process's uprobes (Linux 6.6), which aya does not make yet.
//!
//! Each perf uprobe that comes out waits for a grace period of its own, 110 ms on Linux 6.18, and is hit
//! until its turn comes; with one link all are out at once, and there is one wait.

use std::{
    ffi::CString,
    io,
    mem::zeroed,
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use aya::{
    maps::{MapData, MapFd, MapInfo},
    programs::UProbe,
};
use aya_obj::{
    Object,
    generated::{bpf_attach_type, bpf_attr, bpf_cmd, bpf_insn, bpf_prog_type},
};

use super::attach::OBJECT;

/// See the map of this name.
const NO_PROGRAMS: &str = "NO_PROGRAMS";

/// Why there is no such program; a kernel that lacks the links does not say so.
type Refusal = Box<dyn std::error::Error>;

/// A program that can be linked to many places at once.
pub struct UprobeMulti(OwnedFd);

impl UprobeMulti {
    /// Loads the program of that name once more, with the maps of the one that aya loaded.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn load(name: &str, loaded: &UProbe) -> Result<Self, Refusal> {
        let maps = maps_of(loaded)?;
        let mut object = Object::parse(OBJECT)?;
        let key = object.programs.get(name).ok_or("the object has no such program")?.function_key();
        // What is left are the functions that programs call.
        for (_, other) in object.programs.extract_if(|program, _| program != name) {
            object.functions.remove(&other.function_key());
        }
        let descriptions = std::mem::take(&mut object.maps);
        // Programs of different kinds share no table of programs, not even an empty one.
        let table = descriptions.get(NO_PROGRAMS).ok_or("the object has no such map")?;
        let table = MapData::create(table.clone(), NO_PROGRAMS, None)?;
        let known = maps.iter().filter_map(|(map, fd)| {
            let fd = if map == NO_PROGRAMS { table.fd() } else { fd };
            Some((map.as_str(), fd.as_fd().as_raw_fd(), descriptions.get(map)?))
        });
        let sections = object.functions.keys().map(|(section, _)| *section).collect();
        object.relocate_maps(known, &sections)?;
        object.relocate_calls(&sections)?;
        object.sanitize_functions(aya::features());
        let function = object.functions.get(&key).ok_or("the program has no code")?;
        Ok(Self(load(&function.instructions, &object.license)?))
    }

    /// Puts it in at these offsets of a file, for one process. It is in as long as the link lives.
    ///
    /// # Errors
    /// When the kernel refuses, for one of the places or because it has no such links.
    pub fn link(&self, file: &Path, offsets: &[u64], pid: u32) -> io::Result<OwnedFd> {
        let path = CString::new(file.as_os_str().as_bytes())?;
        // SAFETY: numbers and unions of numbers, for which zeros are valid.
        let mut attributes: bpf_attr = unsafe { zeroed() };
        // SAFETY: the part of the union that belongs to this command, zeroed above.
        let link = unsafe { &mut attributes.link_create };
        link.__bindgen_anon_1.prog_fd = self.0.as_raw_fd().cast_unsigned();
        link.attach_type = bpf_attach_type::BPF_TRACE_UPROBE_MULTI as u32;
        // SAFETY: the part of the union that belongs to this type of link, zeroed above.
        let places = unsafe { &mut link.__bindgen_anon_3.uprobe_multi };
        places.path = path.as_ptr() as u64;
        places.offsets = offsets.as_ptr() as u64;
        places.cnt = u32::try_from(offsets.len()).map_err(io::Error::other)?;
        places.pid = pid;
        bpf(bpf_cmd::BPF_LINK_CREATE, &attributes)
    }
}

/// The maps that a program uses, by the names that the kernel has for them.
fn maps_of(program: &UProbe) -> Result<Vec<(String, MapFd)>, Refusal> {
    let ids = program.info()?.map_ids()?.unwrap_or_default().to_vec();
    let map = |id: u32| -> Result<(String, MapFd), Refusal> {
        let info = MapInfo::from_id(id)?;
        let name = info.name_as_str().ok_or("a map has no name")?.to_owned();
        Ok((name, info.fd()?))
    };
    ids.into_iter().map(map).collect()
}

fn load(instructions: &[bpf_insn], license: &CString) -> io::Result<OwnedFd> {
    // SAFETY: numbers and unions of numbers, for which zeros are valid.
    let mut attributes: bpf_attr = unsafe { zeroed() };
    // SAFETY: the part of the union that belongs to this command, zeroed above.
    let program = unsafe { &mut attributes.__bindgen_anon_3 };
    program.prog_type = bpf_prog_type::BPF_PROG_TYPE_KPROBE as u32;
    program.expected_attach_type = bpf_attach_type::BPF_TRACE_UPROBE_MULTI as u32;
    program.insns = instructions.as_ptr() as u64;
    program.insn_cnt = u32::try_from(instructions.len()).map_err(io::Error::other)?;
    program.license = license.as_ptr() as u64;
    bpf(bpf_cmd::BPF_PROG_LOAD, &attributes)
}

/// A command that makes a file descriptor.
fn bpf(command: bpf_cmd, attributes: &bpf_attr) -> io::Result<OwnedFd> {
    // SAFETY: the attributes are whole, and what they point to lives in the callers.
    let fd = unsafe {
        libc::syscall(libc::SYS_bpf, command as u32, &raw const *attributes, size_of::<bpf_attr>())
    };
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel made it for this call.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
