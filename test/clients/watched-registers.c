/*
 * Writes to the mapped registers of a device that counts what is written to them (test/interpose/scribe.mjs), and says what it has seen.
 *
 *      watched-registers MODE
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#include "type1-group.h"

#define CHECK(condition) do { if (!(condition)) { fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, strerror(errno)); exit(1); } } while (0)

/* Offsets of 32-bit registers: COMMAND is counted in COMMANDS with every write; SLOT(n) may only grow, and BACKWARD counts when one did not. */
enum { COMMAND = 0, COMMANDS = 4, BACKWARD = 8, SLOTS = 16, SIZE = 0x4000 };
#define SLOT(n) (0x100 + (n) % 2 * 0x1000 + (n) / 2 * 4)
#define SEEN(n) (0x2000 + (n) * 4)

static int device;
static volatile uint8_t *bar;

static volatile uint8_t *map(size_t offset, size_t size)
{
	volatile uint8_t *at = mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED, device, offset);
	CHECK(at != MAP_FAILED);
	return at;
}

static uint32_t get(unsigned at) { return *(volatile uint32_t *)(bar + at); }
static void set(unsigned at, uint32_t value) { *(volatile uint32_t *)(bar + at) = value; }

/* Waits for a register to have a value; false after two seconds. Never makes a call that uvfio sees. */
static int comes(unsigned at, uint32_t value)
{
	for (int i = 0; i < 10000 && get(at) != value; i++)
		usleep(200);
	return get(at) == value;
}

/* The same value again and again, each when the one before was counted. */
static int commands(unsigned count, uint32_t value)
{
	uint32_t before = get(COMMANDS);
	for (unsigned i = 1; i <= count; i++) {
		set(COMMAND, value);
		if (!comes(COMMANDS, before + i))
			return i;
	}
	return 0;
}

static void *writer(void *which)
{
	unsigned n = (uintptr_t)which, seed = n;
	for (uint32_t i = 1; i <= 300; i++) {
		set(SLOT(n), i);
		if (rand_r(&seed) % 4 == 0)
			usleep(rand_r(&seed) % 2500);
	}
	return 0;
}

static int slots(void)
{
	pthread_t threads[SLOTS];
	int wrong = 0;
	for (uintptr_t n = 0; n < SLOTS; n++)
		CHECK(pthread_create(&threads[n], 0, writer, (void *)n) == 0);
	for (unsigned n = 0; n < SLOTS; n++)
		pthread_join(threads[n], 0);
	for (unsigned n = 0; n < SLOTS; n++)
		wrong += !comes(SEEN(n), 300);
	return wrong;
}

/* Once more than before: a write that must be heard of. */
static int heard(void)
{
	uint32_t before = get(COMMANDS);
	set(COMMAND, get(COMMAND) + 1);
	return comes(COMMANDS, before + 1);
}

static void until_killed(void)
{
	for (uint32_t i = 1;; i++)
		set(COMMAND, i);
}

/* Refuses userfaultfd, as a sandbox may. */
static void refuse_userfaultfd(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_userfaultfd, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof code / sizeof *code, code };
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

/* Whether the mapping is watched: smaps says "uw". */
static int watched(void)
{
	char line[512];
	int ours = 0, found = 0;
	FILE *smaps = fopen("/proc/self/smaps", "r");
	while (smaps && fgets(line, sizeof line, smaps)) {
		if (strstr(line, "/memfd:uvfio-device"))
			ours = 1;
		else if (ours && !strncmp(line, "VmFlags:", 8))
			found |= strstr(line, " uw") != NULL, ours = 0;
	}
	fclose(smaps);
	return found;
}

int main(int argc, char **argv)
{
	CHECK(argc == 2);
	const char *mode = argv[1];
	int container, group, end;
	device = open_pci_device("0000:01:00.0", &container, &group);
	uint16_t command = 2;
	CHECK(pwrite(device, &command, 2, 7ull << 40 | 4) == 2);
	if (!strcmp(mode, "sandbox"))
		refuse_userfaultfd();
	int descriptors = dup(0);
	close(descriptors);
	bar = map(0, SIZE);
	if (!strcmp(mode, "same")) {
		printf("watched %d missed %d", watched(), commands(50, 5));
	} else if (!strcmp(mode, "writers")) {
		printf("missed %d backward %u", slots(), get(BACKWARD));
	} else if (!strcmp(mode, "sandbox")) {
		printf("watched %d heard %d", watched(), heard());
	} else if (!strcmp(mode, "fork")) {
		int child = fork();
		if (child == 0)
			_exit(commands(20, 7));
		CHECK(waitpid(child, &end, 0) == child && WIFEXITED(end));
		printf("child %d heard %d", WEXITSTATUS(end), heard());
	} else if (!strcmp(mode, "orphan")) {
		/* The child goes on when its parent is gone, as a daemon does. */
		int done[2];
		CHECK(pipe(done) == 0);
		if (fork() == 0) {
			if (fork() > 0)
				_exit(0);
			usleep(100000);
			dprintf(done[1], "%d", commands(20, 7));
			_exit(0);
		}
		char text[8] = "";
		CHECK(read(done[0], text, sizeof text - 1) > 0);
		printf("child %s heard %d", text, heard());
	} else if (!strcmp(mode, "unmap")) {
		int ok = 1;
		for (int i = 0; i < 20; i++) {
			volatile uint8_t *first = bar;
			ok &= heard();
			bar = map(0, SIZE);
			ok &= heard();
			munmap((void *)first, i % 2 ? SIZE : 0x1000);
			ok &= heard();
			/* the second page of the old one is there still */
			if (i % 2 == 0) {
				*(volatile uint32_t *)(first + 0x1100) = 1000 + i;
				ok &= comes(SEEN(1), 1000 + i);
				munmap((void *)(first + 0x1000), SIZE - 0x1000);
			}
		}
		printf("heard %d", ok);
	} else if (!strcmp(mode, "move")) {
		int ok = 1;
		for (int i = 0; i < 10; i++) {
			void *place = mmap(0, SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			bar = mremap((void *)bar, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, place);
			CHECK(bar == place);
			ok &= heard();
			/* another one at the same place */
			CHECK(mmap((void *)bar, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, device, 0) == bar);
			ok &= heard();
		}
		printf("heard %d", ok);
	} else if (!strcmp(mode, "two")) {
		/* Another process maps the same device. */
		int child = fork();
		if (child == 0) {
			bar = map(0, SIZE);
			_exit(commands(20, 9));
		}
		CHECK(waitpid(child, &end, 0) == child && WIFEXITED(end));
		printf("child %d heard %d", WEXITSTATUS(end), heard());
	} else if (!strcmp(mode, "killed")) {
		for (int i = 0; i < 15; i++) {
			int child = fork();
			if (child == 0)
				until_killed();
			usleep(1000 + 700 * i);
			kill(child, SIGKILL);
			CHECK(waitpid(child, &end, 0) == child);
		}
		printf("heard %d", heard());
	} else if (!strcmp(mode, "idle")) {
		CHECK(heard());
		usleep(50000);
		printf("idle\n");
		fflush(stdout);
		CHECK(getchar() == '\n');
		printf("heard %d", heard());
	} else if (!strcmp(mode, "write")) {
		/* For a debugger, or for an uvfio that ends: goes on until there is a line to read, or its end. */
		signal(SIGTERM, SIG_IGN);
		fcntl(0, F_SETFL, O_NONBLOCK);
		printf("writing %d\n", getpid());
		fflush(stdout);
		char c;
		uint32_t i = 0;
		for (; read(0, &c, 1) < 0; usleep(500))
			set(COMMAND, ++i);
		printf("wrote %d", get(COMMAND) == i && i > 0);
	} else {
		return 2;
	}
	int after = dup(0);
	printf(" descriptors %d\n", after - descriptors);
	return 0;
}
