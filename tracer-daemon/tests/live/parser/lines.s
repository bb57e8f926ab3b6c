# A function whose line program has more rows than fit into memory.
    .text
    .globl through
    .type through, @function
through:
    .cfi_startproc
    sub $8, %rsp
    .cfi_def_cfa_offset 16
    call *%rdi
    add $8, %rsp
    .cfi_def_cfa_offset 8
    ret
    .cfi_endproc
.Lend:
    .size through, .Lend - through

    .section .debug_abbrev, "", @progbits
    # A unit (stmt_list, low_pc, high_pc), and a function (name, low_pc, high_pc).
    .byte 1, 0x11, 1, 0x10, 0x17, 0x11, 0x01, 0x12, 0x07, 0, 0
    .byte 2, 0x2e, 0, 0x03, 0x08, 0x11, 0x01, 0x12, 0x07, 0, 0
    .byte 0

    .section .debug_info, "", @progbits
    .long .Linfo_end - .Linfo
.Linfo:
    .value 4
    .long 0
    .byte 8
    .byte 1
    .long 0
    .quad through
    .quad .Lend - through
    .byte 2
    .string "through"
    .quad through
    .quad .Lend - through
    .byte 0
.Linfo_end:

    .section .debug_line, "", @progbits
    .long .Lline_end - .Lline
.Lline:
    .value 4
    .long .Lprogram - .Lheader
.Lheader:
    .byte 1, 1, 1, -5, 14, 13
    .byte 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1
    .byte 0
    .string "through.c"
    .byte 0, 0, 0
    .byte 0
.Lprogram:
    .byte 0, 9, 2
    .quad through
    # Each is a row.
    .fill 100000000, 1, 0x20
    .byte 0, 1, 1
.Lline_end:
    .section .note.GNU-stack, "", @progbits
