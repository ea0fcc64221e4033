// int run(first, end): as chain-x64.s
.equ ARGUMENTS, 8
.equ RESULT, 56
.equ CHECK, 64
.equ EXPECTED, 72
.equ OTHERWISE, 80
.equ SIZE, 88
.equ MOVE, -2
.equ BLOCK, run+4096
.text
run:    ldr x11, BLOCK
        add x9, x11, w0, sxtw
        add x10, x11, w1, sxtw
next:   cmp x9, x10
        b.eq end
        ldr x8, [x9]
        tbnz x8, #63, none
        ldp x0, x1, [x9, #ARGUMENTS]
        ldp x2, x3, [x9, #ARGUMENTS+16]
        ldp x4, x5, [x9, #ARGUMENTS+32]
        svc #0
        str x0, [x9, #RESULT]
check:  ldr x11, [x9, #CHECK]
        ldr w11, [x11]
        ldr w12, [x9, #EXPECTED]
        cmp w11, w12
        b.ne fails
        add x9, x9, #SIZE
        b next
fails:  ldr x11, [x9, #OTHERWISE]
        cbz x11, end
        mov x9, x11
        b next
none:   cmn x8, #-MOVE
        b.ne check
        ldp x11, x12, [x9, #ARGUMENTS]
        ldr x11, [x11]
        str x11, [x12]
        b check
end:    ldr x11, BLOCK
        sub x0, x9, x11
        ret
