#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "fuzz.h"

#define STACK (64ul << 10)
#define MOST_THREADS 8
/* How deep children of children go, and how often one becomes another program. */
#define MOST_DEPTH 2
#define MOST_EXECS 7

static int depth;
static volatile pid_t threads_here[MOST_THREADS];

static void heard(int signal) { (void)signal; }

static void hear_signals(void)
{
	/* one that interrupts calls, and one after which they go on */
	struct sigaction interrupts = { .sa_handler = heard }, restarts = { .sa_handler = heard, .sa_flags = SA_RESTART };
	sigaction(SIGUSR1, &interrupts, 0);
	sigaction(SIGUSR2, &restarts, 0);
	sigaction(SIGPIPE, &interrupts, 0);
}

/* Between fork and exec or _exit: no call of the C library that takes a lock. */
static void child(uint64_t seed, uint32_t steps)
{
	random_state = seed;
	depth++;
	COUNT(processes);
	alarm(2);
	for (uint32_t i = 0; i < steps && !shared->stop; i++)
		wild_step();
}

static void execute(uint64_t seed)
{
	char seed_text[24], user_text[4] = { '0' + user, 0 }, depth_text[4] = { '0' + depth + 1, 0 };
	snprintf(seed_text, sizeof seed_text, "%lu", seed);
	char *argv[] = { "fuzz", below(6) ? "resume" : "bystander", seed_text, user_text, depth_text, 0 };
	COUNT(execs);
	execv(OWN_PATH, argv);
}

static int child_with_memory(void *argument)
{
	uint64_t seed = *(uint64_t *)argument;
	/* the thread's own storage is its maker's, who goes on: what is random here is kept apart */
	for (int i = 0; i < 3; i++) {
		char info[40] = { 40 };
		syscall(SYS_ioctl, fds[(seed >> (8 * i)) % KEPT], 0x3b64 + (seed >> 32) % 16, info);
		syscall(SYS_pread64, fds[(seed >> (8 * i + 4)) % KEPT], memory + seed % 7 * PAGE, 4, (7ull << 40) + seed % 64);
	}
	COUNT(processes);
	if (seed % 3 == 0) {
		char *argv[] = { "fuzz", "bystander", "0", 0 };
		syscall(SYS_execve, OWN_PATH, argv, 0);
	}
	syscall(SYS_exit, 0);
	return 0;
}

/* A process, or a thread that nobody has heard of, with this one's memory; vfork() is the kind that is waited for. */
static void share_memory(void)
{
	static const int kinds[] = { CLONE_VM | CLONE_VFORK | SIGCHLD, CLONE_VM | SIGCHLD, CLONE_VM | CLONE_FILES | SIGCHLD };
	uint64_t seed = mixed(random_state, 3);
	char *stack = mmap(0, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (stack == MAP_FAILED)
		return;
	uint64_t *argument = (uint64_t *)stack;
	*argument = seed;
	pid_t made = clone(child_with_memory, stack + STACK, kinds[below(3)], argument);
	if (made > 0 && below(3) == 0)
		kill(made, SIGKILL);
	int ended = made > 0 && waitpid(made, 0, 0) == made;
	if (made < 0 || ended)
		munmap(stack, STACK);
}

static void make_child(void)
{
	uint64_t seed = mixed(random_state, 1);
	int kill_it = below(2), reach = below(3) == 0;
	uint32_t steps = below(80), patience = below(1500), fd = some_fd();
	sigset_t all, before;
	if (depth >= MOST_DEPTH)
		return;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	pid_t made = fork();
	pthread_sigmask(SIG_SETMASK, &before, 0);
	if (made == 0) {
		child(seed, steps);
		if (seed % 4 == 0)
			execute(mixed(seed, 2));
		_exit(0);
	}
	if (made < 0)
		return;
	usleep(patience);
	if (reach) {
		int pidfd = syscall(SYS_pidfd_open, made, 0);
		keep(syscall(SYS_pidfd_getfd, pidfd, fd, 0));
		if (pidfd >= 0)
			close(pidfd);
	}
	/* the number is the child's until it has been waited for */
	if (kill_it)
		kill(made, seed % 3 ? SIGKILL : SIGTERM);
	for (int tries = 0; tries < 20 && waitpid(made, 0, WNOHANG) == 0; tries++)
		usleep(500);
}

static void interrupt_thread(void)
{
	pid_t thread = threads_here[below(MOST_THREADS)];
	if (thread)
		syscall(SYS_tgkill, getpid(), thread, below(2) ? SIGUSR1 : SIGUSR2);
}

void wild_step(void)
{
	uint32_t what = below(600);
	if (what < 60)
		move_some();
	else if (what < 75)
		pass_some();
	else if (what < 95)
		interrupt_thread();
	else if (what < 99)
		share_memory();
	else if (what < 102)
		make_child();
	else if (what < 103 && depth > 0 && depth < MOST_EXECS)
		execute(mixed(random_state, 4));
	else if (what < 106)
		look_for_others();
	else
		step();
}

struct start { uint64_t seed; uint32_t steps; int index; };

static void *thread(void *argument)
{
	struct start start = *(struct start *)argument;
	random_state = mixed(start.seed, start.index);
	threads_here[start.index] = syscall(SYS_gettid);
	for (uint32_t i = 0; i < start.steps && !shared->stop; i++)
		wild_step();
	/* some threads execute another program in the end, with which all others are gone */
	if (below(3) == 0 && depth < MOST_EXECS)
		execute(mixed(start.seed, 100 + start.index));
	return 0;
}

void worker(uint64_t seed, int threads, uint32_t steps)
{
	static struct start starts[MOST_THREADS];
	pthread_t made[MOST_THREADS];
	random_state = seed;
	hear_signals();
	map_memory();
	for (int i = 0; i < KEPT; i++)
		if (fds[i] == 0)
			fds[i] = -1;
	COUNT(processes);
	alarm(20);
	if (below(3) == 0)
		make_late();
	for (int i = 0; i < threads; i++) {
		starts[i] = (struct start){ seed, steps, i };
		pthread_create(&made[i], 0, thread, &starts[i]);
	}
	for (int i = 0; i < threads; i++)
		pthread_join(made[i], 0);
	look_for_others();
}

void resume(uint64_t seed, int at_depth)
{
	depth = at_depth;
	/* what was open before it became another program is tried too */
	for (int i = 0; i < KEPT; i++)
		fds[i] = i < 12 ? 4 + i : 960 + i - 12;
	worker(seed, 1 + seed % 3, 200 + seed % 400);
}

void bystander(void)
{
	char *mine = mmap((void *)FIXED_MEMORY, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	memset(mine, 'B', PAGES * PAGE);
	for (int round = 0; round < 8; round++) {
		usleep(2500);
		for (size_t i = 0; i < PAGES * PAGE; i++)
			if (mine[i] != 'B') {
				violation("memory of a program that makes no calls was written");
				_exit(1);
			}
	}
	_exit(0);
}
