/*
 * Random calls of many processes and threads that race, are killed, become other programs, share memory and hand their files to each other. What the
 * calls answer does not matter; nobody else may notice.
 *
 *      fuzz calls SEED CALLS           one thread's calls, without races: the same calls for the same seed
 *      fuzz processes SEED SECONDS     workers of up to three users until the time is over, watched
 *      fuzz killed SEED CLIENTS        short-lived clients that are killed at any moment, watched
 *      fuzz normal                     a program that means no harm
 *
 * `processes` and `killed` print a line of JSON with figures, and then, when a line comes on stdin, run `normal`. They say "ready PID" first; from then on SIGUSR2 to
 * them is answered by the time of its arrival, and how long this process has waited for a processor by then, and the supervisor: "heard NANOSECONDS
 * NANOSECONDS NANOSECONDS", the first of CLOCK_MONOTONIC.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "fuzz.h"

#define FIRST_USER 61000
#define WORKERS 6
/* What a run must have seen, however busy the machine is. */
#define ENOUGH_CALLS 300

struct shared *shared;
static int users;

void map_shared(void)
{
	shared = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, SHARED_FD, 0);
	if (shared == MAP_FAILED)
		_exit(0);
}

void violation(const char *what)
{
	/* the first one is kept: the processes have no file to write to */
	if (COUNT(violations) == 0)
		snprintf(shared->first, sizeof shared->first, "%.150s (pid %d, user %c)", what, getpid(), 'A' + user);
}

/* Copies of what is open now could be written to at random: nothing but /dev/null is there for who makes random calls. */
static void close_what_is_ours(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int i = 0; i < 3; i++)
		dup2(null, i);
	close_range(3, KEEP_CLEAR_FIRST - 1, 0);
	close_range(KEEP_CLEAR_LAST + 1, ~0u, 0);
}

/* From root to the user, for good. Users share nothing but the container's node and /dev/iommu. */
static void become_user(int which)
{
	user = which;
	if (users > 1 && which > 0 && (setgroups(0, 0) || setgid(FIRST_USER + which) || setuid(FIRST_USER + which)))
		_exit(3);
	/* whoever changes its user is not to be looked into by others of its own, unless it says so */
	prctl(PR_SET_DUMPABLE, 1);
	find_nodes(which, users);
}

static void share_out(void)
{
	users = geteuid() == 0 && getenv("FUZZ_ONE_USER") == 0 ? USERS : 1;
	/* in a user namespace there are no other users to become */
	for (int which = 0; users > 1 && which < users; which++) {
		find_nodes(which, users);
		for (int i = 0; i < node_count; i++)
			if (strcmp(nodes[i], "/dev/vfio/vfio") == 0 || strcmp(nodes[i], "/dev/iommu") == 0)
				chmod(nodes[i], 0666);
			else if (chown(nodes[i], FIRST_USER * (which > 0) + which, FIRST_USER * (which > 0) + which))
				users = 1;
	}
}

static pid_t leader;

/* A child in the group that is killed at the end. Both sides put it there: a child that has not run yet would be left out, and make calls for ever. */
static pid_t fork_member(void)
{
	pid_t made = fork();
	setpgid(made, leader);
	return made;
}

static pid_t start_worker(uint64_t seed, int which)
{
	pid_t made = fork_member();
	if (made)
		return made;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	close_what_is_ours();
	become_user(which % users);
	worker(seed, 1 + seed % 4, 2000);
	_exit(0);
}

/* Opens, makes some calls, and is in the middle of them when it is killed. */
static pid_t start_client(uint64_t seed, int which)
{
	pid_t made = fork_member();
	if (made)
		return made;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	close_what_is_ours();
	become_user(which % users);
	random_state = seed;
	memset(fds, -1, sizeof fds);
	map_memory();
	set_up();
	for (;;)
		step();
}

static volatile sig_atomic_t told;
static uint64_t heard_ns;
static int own_schedule, supervisor_schedule;
static void hear(int signal) { (void)signal; heard_ns = now_ns(); told = 1; }

static void rest(unsigned us)
{
	struct timespec time = { 0, us * 1000l };
	nanosleep(&time, 0);
	if (told) {
		told = 0;
		printf("heard %lu %lu %lu\n", heard_ns, unscheduled_ns(own_schedule), unscheduled_ns(supervisor_schedule));
	}
}

static void end_all(void)
{
	shared->stop = 1;
	/* the leader has not been waited for: the group is ours until it has */
	while (kill(-leader, SIGKILL) == 0 || errno == EPERM) {
		pid_t ended;
		int others = 0;
		while ((ended = waitpid(-leader, 0, WNOHANG)) > 0 || (ended == 0 && others++ < 100))
			if (ended == 0)
				rest(1000);
		if (ended < 0)
			return;
	}
}

static void run(uint64_t seed, double seconds, uint32_t clients)
{
	pid_t workers[WORKERS] = { 0 };
	uint64_t ends_ns[WORKERS], killed = 0, end = now_ns() + (uint64_t)(seconds * 1e9), made = 0;
	int results[2];
	struct waits waits[WAITS] = { { 0 } };
	struct sigaction hearing = { .sa_handler = hear, .sa_flags = SA_RESTART };
	struct rlimit many = { 4096, 4096 };
	sigaction(SIGUSR2, &hearing, 0);
	setrlimit(RLIMIT_NOFILE, &many);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	int memfd = memfd_create("shared", 0);
	if (ftruncate(memfd, PAGE) || dup2(memfd, SHARED_FD) < 0 || pipe(results))
		exit(1);
	close(memfd);
	map_shared();
	shared->supervisor = getppid();
	own_schedule = open_schedule(getpid());
	supervisor_schedule = open_schedule(getppid());
	share_out();
	for (int i = 0; i < users; i++)
		make_socket_pair(SOCKET_FD + 2 * i);
	pid_t watching = fork();
	if (watching == 0)
		watchdog(results[1]);
	leader = fork();
	if (leader == 0)
		for (setpgid(0, 0);;)
			pause();
	setpgid(leader, leader);
	printf("ready %d\n", getpid());
	random_state = seed;
	/* on a busy machine a short time sees hardly a call */
	uint64_t latest = end + 60 * 1000000000ull;
	while (clients ? killed < clients : now_ns() < end || (shared->calls < ENOUGH_CALLS && now_ns() < latest)) {
		for (int i = 0; i < WORKERS; i++) {
			if (workers[i] == 0 && clients) {
				workers[i] = start_client(mixed(seed, made++), i);
				ends_ns[i] = now_ns() + below(12) * below(12) * 100000ull;
			} else if (workers[i] == 0) {
				workers[i] = start_worker(mixed(seed, made++), i);
				ends_ns[i] = now_ns() + (20 + below(60) * below(60)) * 1000000ull;
			} else if (now_ns() >= ends_ns[i]) {
				kill(workers[i], SIGKILL);
				waitpid(workers[i], 0, 0);
				workers[i] = 0;
				killed++;
			} else if (!clients && below(20) == 0) {
				kill(workers[i], below(2) ? SIGUSR1 : SIGUSR2);
			}
		}
		/* what workers left behind, and workers that ended by themselves */
		for (pid_t ended; (ended = waitpid(-leader, 0, WNOHANG)) > 0;)
			for (int i = 0; i < WORKERS; i++)
				if (workers[i] == ended)
					workers[i] = 0;
		rest(clients ? 200 : 2000);
	}
	end_all();
	for (int i = 0; i < 2 * users; i++)
		close(SOCKET_FD + i);
	close(results[1]);
	ssize_t got;
	while ((got = read(results[0], waits, sizeof waits)) < 0 && errno == EINTR)
		;
	if (got != sizeof waits)
		violation("the watchdog did not come back");
	while (wait(0) > 0 || errno == EINTR)
		;
	printf("{\"users\":%d,\"calls\":%lu,\"processes\":%lu,\"execs\":%lu,\"latePages\":%lu,\"looks\":%lu,\"killed\":%lu,\"violations\":%lu,"
	       "\"rounds\":%u,\"waited999Us\":%lu,\"waitedMostUs\":%lu,\"held999Us\":%lu,\"heldMostUs\":%lu,\"plain999Us\":%lu,\"plainMostUs\":%lu}\n",
	       users, shared->calls, shared->processes, shared->execs, shared->late, shared->looks, killed, shared->violations, waits[0].rounds,
	       waits[0].p999_us, waits[0].longest_us, waits[1].p999_us, waits[1].longest_us, waits[2].p999_us, waits[2].longest_us);
	if (shared->violations)
		printf("VIOLATION: %s\n", shared->first);
	char line;
	while (read(0, &line, 1) < 0 && errno == EINTR)
		;
	printf("normal %d\n", normal_client());
}

int main(int argc, char **argv)
{
	setvbuf(stdout, 0, _IOLBF, 0);
	const char *what = argc > 1 ? argv[1] : "";
	uint64_t seed = argc > 2 ? strtoull(argv[2], 0, 0) : 0;
	if (strcmp(what, "normal") == 0)
		return normal_client();
	if (strcmp(what, "bystander") == 0) {
		map_shared();
		bystander();
	}
	if (strcmp(what, "resume") == 0 && argc > 4) {
		map_shared();
		user = atoi(argv[3]);
		find_nodes(user, USERS);
		resume(seed, atoi(argv[4]));
		return 0;
	}
	if (argc < 4)
		return 2;
	if (strcmp(what, "calls") == 0) {
		shared = calloc(1, sizeof *shared);
		close_what_is_ours();
		random_state = seed;
		map_memory();
		memset(fds, -1, sizeof fds);
		find_nodes(0, 1);
		for (uint32_t left = atoi(argv[3]); left > 0; left--)
			step();
		return 0;
	}
	if (strcmp(what, "processes") == 0)
		run(seed, atof(argv[3]), 0);
	else if (strcmp(what, "killed") == 0)
		run(seed, 0, atoi(argv[3]));
	else
		return 2;
	return 0;
}
