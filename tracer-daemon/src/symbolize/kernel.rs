use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
};

use crate::aggregate::kernel_path::KernelNames;

/// No function of the kernel is longer: an address further on belongs to none that is listed.
const LONGEST_FUNCTION: u64 = 1 << 20;

/// The kernel's functions, from `/proc/kallsyms`.
#[derive(Clone, Debug, Default)]
pub struct KernelSymbols {
    names: String,
    /// Address, and the name's place and length in `names`; in ascending order of addresses.
    symbols: Vec<(u64, u32, u32)>,
}

impl KernelSymbols {
    /// Reads `<root>/proc/kallsyms`. Without `CAP_SYSLOG` every address in it reads as 0
    /// (`kernel.kptr_restrict`): then no address has a name.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(root: &Path) -> io::Result<Self> {
        Self::parse(BufReader::new(File::open(root.join("proc/kallsyms"))?))
    }

    /// Whether no address has a name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.symbols.is_empty()
    }

    /// The function that an address lies in.
    #[must_use]
    pub fn name(&self, address: u64) -> Option<&str> {
        let after = self.symbols.partition_point(|symbol| symbol.0 <= address);
        let &(begin, place, length) = self.symbols.get(after.checked_sub(1)?)?;
        let place = place as usize;
        (address - begin < LONGEST_FUNCTION)
            .then(|| self.names.get(place..place + length as usize))?
    }

    fn parse(mut file: impl BufRead) -> io::Result<Self> {
        let mut all = Self::default();
        let mut line = Vec::new();
        while file.read_until(b'\n', &mut line)? > 0 {
            if let Some((address, name)) = function(&line) {
                all.push(address, name);
            }
            line.clear();
        }
        // Stable: of the names of one address the first stays.
        all.symbols.sort_by_key(|symbol| symbol.0);
        all.symbols.dedup_by_key(|symbol| symbol.0);
        all.symbols.shrink_to_fit();
        all.names.shrink_to_fit();
        Ok(all)
    }

    fn push(&mut self, address: u64, name: &str) {
        if let (Ok(place), Ok(length)) = (self.names.len().try_into(), name.len().try_into()) {
            self.names.push_str(name);
            self.symbols.push((address, place, length));
        }
    }
}

/// `ADDRESS TYPE NAME [MODULE]`; functions are of type t or, if weak, w.
fn function(line: &[u8]) -> Option<(u64, &str)> {
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    let address = u64::from_str_radix(words.next()?, 16).ok()?;
    let is_code = matches!(words.next()?, "t" | "T" | "w" | "W");
    let name = words.next()?;
    (is_code && address != 0).then_some((address, name))
}

impl KernelNames for KernelSymbols {
    fn name(&self, address: u64) -> Option<&str> {
        self.name(address)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn symbols(text: &[u8]) -> KernelSymbols {
        KernelSymbols::parse(text).unwrap()
    }

    #[test]
    fn functions_reach_to_the_next_one() {
        let symbols = symbols(
            b"ffffffff81000100 t second\n\
              0000000000001000 A per_cpu\n\
              ffffffff81000000 T first\n\
              ffffffff81000000 T alias\n\
              ffffffff81000080 D data\n\
              ffffffffc0000000 t in_module\t[module]\n",
        );
        for (address, name) in [
            (0xffff_ffff_80ff_ffff, None),
            (0xffff_ffff_8100_0000, Some("first")),
            (0xffff_ffff_8100_00ff, Some("first")),
            (0xffff_ffff_8100_0100, Some("second")),
            (0xffff_ffff_8200_0000, None),
            (0xffff_ffff_c000_0010, Some("in_module")),
            (0, None),
            (u64::MAX, None),
        ] {
            assert_eq!(symbols.name(address), name, "{address:x}");
        }
    }

    #[test]
    fn hidden_addresses_have_no_names() {
        let hidden = symbols(b"0000000000000000 T first\n0000000000000000 t second\n");
        assert!(hidden.is_empty());
        assert_eq!(hidden.name(0), None);
        assert_eq!(hidden.name(1), None);
    }

    #[test]
    fn broken_lines_are_passed_over() {
        let symbols = symbols(b"\n \nffff\nffff T\nx T a\n\xff T b\n1ffffffffffffffff T c\n8 T d");
        assert_eq!(symbols.name(8), Some("d"));
    }

    #[test]
    fn without_the_file_it_is_an_error() {
        assert!(KernelSymbols::read(Path::new("/nonexistent")).is_err());
    }
}
