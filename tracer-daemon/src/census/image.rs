use super::{CensusError, ProcRoot};

/// What tells one executed program from the next one of the same process: where the kernel put
/// its code, stack and arguments (fields 26, 28, 48 and 49 of `/proc/PID/stat`), next to the time
/// of the fork. Without address randomisation two executions of one program look the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// When the process was forked, in ticks since boot.
    pub start_ticks: u64,
    places: [u64; 4],
}

impl Image {
    /// Whether the program is there: an exec begins with an empty address space, and the place of
    /// the code is set when the file is mapped (fs/binfmt_elf.c, `load_elf_binary`).
    #[must_use]
    pub const fn is_loaded(&self) -> bool {
        self.places[0] != 0
    }
}

impl ProcRoot {
    /// The program that a process executes.
    ///
    /// # Errors
    /// If it has ended or the file is not as in proc(5).
    pub fn image(&self, pid: u32) -> Result<Image, CensusError> {
        let line = self.read(pid, "stat")?;
        parse(&line).ok_or_else(|| self.malformed(pid, "stat", "not as in proc(5)"))
    }
}

fn parse(line: &[u8]) -> Option<Image> {
    let close = line.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(&line[close + 1..]).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse().ok();
    Some(Image {
        start_ticks: field(22)?,
        places: [field(26)?, field(28)?, field(48)?, field(49)?],
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn an_exec_moves_what_the_kernel_placed() {
        let line = |place: &str| {
            format!(
                "661 (a) b) R 648 648 16064 0 -1 4194304 101 0 0 0 0 0 0 0 20 0 1 0 156 3133440 406 \
                 18446744073709551615 94394656071680 94394656091561 {place} 0 0 0 0 0 0 0 0 0 17 0 \
                 0 0 0 0 0 1 2 3 140736262699526 140736262699546 5 6 0"
            )
        };
        let one = parse(line("140736262692224").as_bytes()).unwrap();
        assert_eq!(one.start_ticks, 156);
        assert!(one.is_loaded() && !Image::default().is_loaded());
        let wanted = [94_394_656_071_680, 140_736_262_692_224, 140_736_262_699_526];
        assert_eq!(one.places[..3], wanted);
        assert_eq!(parse(line("140736262692224").as_bytes()).unwrap(), one);
        assert_ne!(parse(line("140736262692225").as_bytes()).unwrap(), one);
        assert_eq!(parse(b"661 (a) R 1 2"), None);
        assert_eq!(parse(b""), None);
    }

    #[test]
    fn this_process_stays_the_same() {
        let (root, pid) = (ProcRoot::default(), std::process::id());
        assert_eq!(root.image(pid).unwrap(), root.image(pid).unwrap());
    }
}
