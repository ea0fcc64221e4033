.intel_syntax noprefix
# int run(first, end): makes the system calls of the steps in turn (src/interpose/call-chain.ts). Steps are told by how many bytes they lie
# behind the first one; where that is stands a page behind the code.
.equ ARGUMENTS, 8
.equ RESULT, 56
.equ CHECK, 64
.equ EXPECTED, 72
.equ OTHERWISE, 80
.equ SIZE, 88
.equ MOVE, -2
.equ BLOCK, run+4096
.text
run:    push rbx
        push r12
        mov rax, [rip+BLOCK]
        movsxd rbx, edi
        add rbx, rax
        movsxd r12, esi
        add r12, rax
next:   cmp rbx, r12
        je end
        mov rax, [rbx]
        test rax, rax
        js none
        mov rdi, [rbx+ARGUMENTS]
        mov rsi, [rbx+ARGUMENTS+8]
        mov rdx, [rbx+ARGUMENTS+16]
        mov r10, [rbx+ARGUMENTS+24]
        mov r8, [rbx+ARGUMENTS+32]
        mov r9, [rbx+ARGUMENTS+40]
        syscall
        mov [rbx+RESULT], rax
check:  mov rax, [rbx+CHECK]
        mov eax, [rax]
        cmp eax, [rbx+EXPECTED]
        jne fails
        add rbx, SIZE
        jmp next
fails:  mov rax, [rbx+OTHERWISE]
        test rax, rax
        jz end
        mov rbx, rax
        jmp next
none:   cmp rax, MOVE
        jne check
        mov rax, [rbx+ARGUMENTS]
        mov rdx, [rbx+ARGUMENTS+8]
        mov rax, [rax]
        mov [rdx], rax
        jmp check
end:    mov rax, rbx
        sub rax, [rip+BLOCK]
        pop r12
        pop rbx
        ret
