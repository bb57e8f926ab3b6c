# A function whose tables lead nowhere: an expression that jumps back to itself says where its frame is, and
# it says of itself that it was inlined from itself.
    .text
    .globl through
    .type through, @function
through:
    .cfi_startproc
    .cfi_escape 0x0f, 3, 0x2f, 0xfd, 0xff
    sub $8, %rsp
    call *%rdi
    add $8, %rsp
    ret
    .cfi_endproc
.Lend:
    .size through, .Lend - through

    .section .debug_abbrev, "", @progbits
    # A unit (low_pc, high_pc), a function (abstract_origin, specification, sibling, low_pc, high_pc) with
    # children, an inlined one (abstract_origin, low_pc, high_pc) with children.
    .byte 1, 0x11, 1, 0x11, 0x01, 0x12, 0x07, 0, 0
    .byte 2, 0x2e, 1, 0x31, 0x13, 0x47, 0x13, 0x01, 0x13, 0x11, 0x01, 0x12, 0x07, 0, 0
    .byte 3, 0x1d, 1, 0x31, 0x13, 0x11, 0x01, 0x12, 0x07, 0, 0
    .byte 0

    .section .debug_info, "", @progbits
.Lunit:
    .long .Linfo_end - .Linfo
.Linfo:
    .value 4
    .long 0
    .byte 8
    .byte 1
    .quad through
    .quad .Lend - through
.Lfunction:
    .byte 2
    .long .Linlined - .Lunit
    .long .Lfunction - .Lunit
    .long .Lfunction - .Lunit
    .quad through
    .quad .Lend - through
.Linlined:
    .byte 3
    .long .Lfunction - .Lunit
    .quad through
    .quad .Lend - through
    .byte 0, 0, 0
.Linfo_end:
    .section .note.GNU-stack, "", @progbits
