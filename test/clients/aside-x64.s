.intel_syntax noprefix
# void *thread(block): makes the system calls that are written into its block (src/interpose/aside/thread-code.ts)
.equ NUMBER, 8
.equ RESULT, 64
.equ EVENT, 72
.equ ONE, 80
.equ REQUESTED, 1
.equ FINISHED, 2
.equ LATE, 3
.text
        mov rbx, rdi
wait:   mov edx, [rbx]
        cmp edx, REQUESTED
        je work
        cmp edx, LATE
        je work
        mov rdi, rbx
        mov esi, 128
        xor r10d, r10d
        mov eax, 202
        syscall
        jmp wait
work:   mov rax, [rbx+NUMBER]
        mov rdi, [rbx+16]
        mov rsi, [rbx+24]
        mov rdx, [rbx+32]
        mov r10, [rbx+40]
        mov r8, [rbx+48]
        mov r9, [rbx+56]
        syscall
        mov [rbx+RESULT], rax
        mov eax, FINISHED
        xchg eax, [rbx]
        cmp eax, LATE
        je late
        mov rdi, rbx
        mov esi, 129
        mov edx, 1
        mov eax, 202
        syscall
        jmp wait
late:   mov rdi, [rbx+EVENT]
        lea rsi, [rbx+ONE]
        mov edx, 8
        mov eax, 1
        syscall
        jmp wait
# void heard(int): of the signal that interrupts a call (src/interpose/call-limit.ts), and what it returns to
heard:  ret
back:   mov eax, 15
        syscall
