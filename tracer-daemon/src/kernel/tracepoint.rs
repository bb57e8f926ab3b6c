//! Where the fields of a tracepoint's record lie, from its `format` file.

/// Bytes from the beginning of the record to a field; `None` if there is no such field.
#[must_use]
pub fn field_offset(format: &str, name: &str) -> Option<u32> {
    fields(format).find(|field| field.name == name).map(|field| field.offset)
}

/// The same for the field that comes after the named one.
#[must_use]
pub fn first_field_after(format: &str, name: &str) -> Option<u32> {
    fields(format).skip_while(|field| field.name != name).nth(1).map(|field| field.offset)
}

struct Field<'a> {
    name: &'a str,
    offset: u32,
}

fn fields(format: &str) -> impl Iterator<Item = Field<'_>> {
    format.lines().filter_map(field)
}

/// `field:__data_loc char[] filename; offset:8; size:4; signed:0;`
fn field(line: &str) -> Option<Field<'_>> {
    let mut parts = line.trim_start().strip_prefix("field:")?.split(';');
    let name = declared_name(parts.next()?)?;
    let offset = parts.find_map(|part| part.trim().strip_prefix("offset:"))?;
    Some(Field { name, offset: offset.parse().ok()? })
}

/// The name in a C declaration: its last word, without `*` before it or `[16]` after it.
fn declared_name(declaration: &str) -> Option<&str> {
    let declaration = declaration.trim_end();
    let without_length = match declaration.strip_suffix(']') {
        Some(rest) => &rest[..rest.rfind('[')?],
        None => declaration,
    };
    let word = without_length.split_whitespace().next_back()?;
    Some(word.trim_start_matches('*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTER: &str =
        include_str!("../../tests/fixtures/tracepoints/syscalls/sys_enter_mmap/format");
    const EXIT: &str =
        include_str!("../../tests/fixtures/tracepoints/syscalls/sys_exit_mmap/format");
    const NEWTASK: &str = include_str!("../../tests/fixtures/tracepoints/task/task_newtask/format");
    const EXEC: &str =
        include_str!("../../tests/fixtures/tracepoints/sched/sched_process_exec/format");

    #[test]
    fn fields_of_real_tracepoints() {
        for (format, name, offset) in [
            (ENTER, "common_type", Some(0)),
            (ENTER, "common_pid", Some(4)),
            (ENTER, "__syscall_nr", Some(8)),
            (ENTER, "addr", Some(16)),
            (ENTER, "off", Some(56)),
            (ENTER, "ret", None),
            (EXIT, "ret", Some(16)),
            (NEWTASK, "pid", Some(8)),
            (NEWTASK, "comm", Some(12)),
            (NEWTASK, "clone_flags", Some(32)),
            (EXEC, "filename", Some(8)),
            (EXEC, "pid", Some(12)),
            (EXEC, "old_pid", Some(16)),
        ] {
            assert_eq!(field_offset(format, name), offset, "{name}");
        }
    }

    #[test]
    fn the_arguments_begin_after_the_number() {
        assert_eq!(first_field_after(ENTER, "__syscall_nr"), Some(16));
        assert_eq!(first_field_after(ENTER, "off"), None);
        assert_eq!(first_field_after(ENTER, "absent"), None);
    }

    #[test]
    fn declarations() {
        for (declaration, name) in [
            ("const char * name", Some("name")),
            ("const char *name", Some("name")),
            ("unsigned long args[6]", Some("args")),
            ("u8 address[2 * 3]", Some("address")),
            ("__data_loc char[] filename", Some("filename")),
            ("__rel_loc u8[] data", Some("data")),
            ("", None),
            ("broken]", None),
        ] {
            assert_eq!(declared_name(declaration), name, "{declaration}");
        }
    }

    #[test]
    fn nonsense_has_no_fields() {
        for format in ["", "field:", "field:int x;", "field:int x;\toffset:-1;", "field:;offset:1;"]
        {
            assert_eq!(field_offset(format, "x"), None, "{format}");
        }
    }
}
