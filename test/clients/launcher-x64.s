.intel_syntax noprefix
.equ BUFFER, 0x10000000
.equ CONTROL, 0x4000e8
.text
next:   mov r12d, BUFFER
        xor r13d, r13d
more:   mov edi, dword ptr ds:[CONTROL]
        lea rsi, [r12+r13]
        mov edx, 24
        cmp r13d, edx
        jb 1f
        mov edx, [r12]
1:      sub edx, r13d
        xor eax, eax
        syscall
        test rax, rax
        jle quit
        add r13, rax
        cmp r13, 24
        jbe more
        cmp r13, [r12]
        jb more
        mov r14, [r12+8]
        mov r15, [r12+16]
        lea rbx, [r12+24]
step:   test r14, r14
        jz done
        mov ebp, [rbx+56]
        mov rax, [rbx]
        mov rdi, [rbx+8]
        mov rsi, [rbx+16]
        mov rdx, [rbx+24]
        mov r10, [rbx+32]
        mov r8, [rbx+40]
        mov r9, [rbx+48]
        bt ebp, 0
        jnc 1f
        mov rdi, [rdi]
1:      bt ebp, 1
        jnc 1f
        mov rsi, [rsi]
1:      bt ebp, 2
        jnc 1f
        mov rdx, [rdx]
1:      bt ebp, 3
        jnc 1f
        mov r10, [r10]
1:      bt ebp, 4
        jnc 1f
        mov r8, [r8]
1:      bt ebp, 5
        jnc 1f
        mov r9, [r9]
1:      syscall
        mov [r15], rax
        add r15, 8
        bt ebp, 8
        jnc 1f
        test rax, rax
        js done
1:      add rbx, 64
        dec r14
        jmp step
done:   mov edi, dword ptr ds:[CONTROL]
        mov rsi, [r12+16]
        mov rdx, r15
        sub rdx, rsi
        mov eax, 1
        syscall
        test r14, r14
        jz next
quit:   mov edi, 1
        mov eax, 231
        syscall
