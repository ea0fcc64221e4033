/*
 * Some processes that make the calls they are told to make: "tenant-calls FOLDER COUNT". Process N reads calls from FOLDER/N-0.in and answers to
 * FOLDER/N-0.out, both FIFOs. One that dies is replaced; the next uses N-1.in and N-1.out. The program ends when one is told to quit.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OPEN = 1, CLOSE, IOCTL, EXCHANGE, PREAD, PWRITE, ALLOCATE, PEEK, POKE, DIE, QUIT };
#define LONGEST 8192
#define MOST 8
#define QUITTING 77

/* `length` bytes follow that go in, except with PREAD and PEEK. */
struct call {
	uint32_t op;
	int32_t fd;
	uint64_t where; /* a request, an offset, an address */
	uint64_t value;
	uint32_t length;
	uint32_t unused;
};

/* `length` bytes follow that came out: with EXCHANGE, PREAD and PEEK. */
struct answer {
	int64_t result; /* below 0: the errno */
	uint32_t length;
	uint32_t unused;
};

static void whole(ssize_t (*step)(int, void *, size_t), int fd, void *bytes, size_t length)
{
	for (size_t done = 0; done < length;) {
		ssize_t count = step(fd, (char *)bytes + done, length - done);
		if (count <= 0)
			_exit(1);
		done += count;
	}
}

static ssize_t write_step(int fd, void *bytes, size_t length)
{
	return write(fd, bytes, length);
}

static int64_t or_errno(long result)
{
	return result < 0 ? -(int64_t)errno : result;
}

static int64_t make(struct call *call, uint8_t *bytes)
{
	void *memory;

	switch (call->op) {
	case OPEN:
		return or_errno(open((char *)bytes, O_RDWR));
	case CLOSE:
		return or_errno(close(call->fd));
	case IOCTL:
		return or_errno(ioctl(call->fd, call->where, call->value));
	case EXCHANGE:
		return or_errno(ioctl(call->fd, call->where, bytes));
	case PREAD:
		return or_errno(pread(call->fd, bytes, call->length, call->where));
	case PWRITE:
		return or_errno(pwrite(call->fd, bytes, call->length, call->where));
	case ALLOCATE:
		memory = mmap(0, call->value, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		return memory == MAP_FAILED ? -(int64_t)errno : (int64_t)(intptr_t)memory;
	case PEEK:
		memcpy(bytes, (void *)(uintptr_t)call->where, call->length);
		return 0;
	case POKE:
		memcpy((void *)(uintptr_t)call->where, bytes, call->length);
		return 0;
	case DIE:
		kill(getpid(), SIGKILL);
		return 0;
	case QUIT:
		_exit(QUITTING);
	}
	return -EINVAL;
}

static void serve(const char *folder, int number, int life)
{
	static uint8_t bytes[LONGEST];
	char path[4096];
	int in, out;

	snprintf(path, sizeof(path), "%s/%d-%d.in", folder, number, life);
	in = open(path, O_RDONLY);
	snprintf(path, sizeof(path), "%s/%d-%d.out", folder, number, life);
	out = open(path, O_WRONLY);
	for (;;) {
		struct call call;
		struct answer answer = { 0 };
		int out_only;

		whole(read, in, &call, sizeof(call));
		out_only = call.op == PREAD || call.op == PEEK;
		if (call.length > LONGEST)
			_exit(1);
		if (!out_only)
			whole(read, in, bytes, call.length);
		answer.result = make(&call, bytes);
		answer.length = out_only || call.op == EXCHANGE ? call.length : 0;
		whole(write_step, out, &answer, sizeof(answer));
		whole(write_step, out, bytes, answer.length);
	}
}

static pid_t start(const char *folder, int number, int life)
{
	pid_t child = fork();

	if (child == 0)
		serve(folder, number, life);
	return child;
}

int main(int count, char **arguments)
{
	pid_t children[MOST];
	int lives[MOST] = { 0 };
	int number = count == 3 ? atoi(arguments[2]) : 0;

	if (number < 1 || number > MOST) {
		fprintf(stderr, "usage: tenant-calls FOLDER COUNT (1 to %d)\n", MOST);
		return 2;
	}
	for (int i = 0; i < number; i++)
		children[i] = start(arguments[1], i, 0);
	for (;;) {
		int status;
		pid_t gone = wait(&status);

		if (gone < 0 || !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
			for (int i = 0; i < number; i++)
				if (children[i] != gone)
					kill(children[i], SIGKILL);
			return gone > 0 && WIFEXITED(status) && WEXITSTATUS(status) == QUITTING ? 0 : 1;
		}
		for (int i = 0; i < number; i++)
			if (children[i] == gone)
				children[i] = start(arguments[1], i, ++lives[i]);
	}
}
