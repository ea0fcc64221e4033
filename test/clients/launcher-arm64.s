.text
        adr x25, next
        sub x25, x25, #16
next:   mov x19, #0x10000000
        mov x20, #0
more:   ldr w0, [x25]
        add x1, x19, x20
        mov x2, #24
        cmp x20, #24
        b.lo 1f
        ldr x2, [x19]
1:      sub x2, x2, x20
        mov x8, #63
        svc #0
        cmp x0, #0
        b.le quit
        add x20, x20, x0
        cmp x20, #24
        b.ls more
        ldr x9, [x19]
        cmp x20, x9
        b.lo more
        ldp x21, x22, [x19, #8]
        add x23, x19, #24
step:   cbz x21, done
        ldr x24, [x23, #56]
        ldr x8, [x23]
        ldp x0, x1, [x23, #8]
        ldp x2, x3, [x23, #24]
        ldp x4, x5, [x23, #40]
        tbz w24, #0, 1f
        ldr x0, [x0]
1:      tbz w24, #1, 1f
        ldr x1, [x1]
1:      tbz w24, #2, 1f
        ldr x2, [x2]
1:      tbz w24, #3, 1f
        ldr x3, [x3]
1:      tbz w24, #4, 1f
        ldr x4, [x4]
1:      tbz w24, #5, 1f
        ldr x5, [x5]
1:      svc #0
        str x0, [x22], #8
        tbz w24, #8, 1f
        tbnz x0, #63, done
1:      add x23, x23, #64
        sub x21, x21, #1
        b step
done:   ldr w0, [x25]
        ldr x1, [x19, #16]
        sub x2, x22, x1
        mov x8, #64
        svc #0
        cbz x21, next
quit:   mov x0, #1
        mov x8, #94
        svc #0
