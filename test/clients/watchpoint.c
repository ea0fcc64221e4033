/* Exit status 0 when a debug register stops a traced process at a write; 1 on machines where it takes the address and never does. */
#include <signal.h>
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int watched;

/* Register 0, for this thread, four bytes, at writes. */
#define CONTROL ((1UL << 0) | (1UL << 16) | (3UL << 18))

int main(void)
{
	pid_t child = fork();
	if (child == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		watched = 1;
		_exit(0);
	}
	int status;
	waitpid(child, &status, 0);
	if (ptrace(PTRACE_POKEUSER, child, offsetof(struct user, u_debugreg[0]), &watched) != 0)
		return 1;
	if (ptrace(PTRACE_POKEUSER, child, offsetof(struct user, u_debugreg[7]), CONTROL) != 0)
		return 1;
	ptrace(PTRACE_CONT, child, 0, 0);
	waitpid(child, &status, 0);
	if (!WIFSTOPPED(status))
		return 1;
	ptrace(PTRACE_KILL, child, 0, 0);
	return WSTOPSIG(status) != SIGTRAP;
}
