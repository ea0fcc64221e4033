/* A random caller for programs under uvfio: what its parts share. main.c says how it is run. */
#ifndef FUZZ_H
#define FUZZ_H
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PAGE 4096ul
#define PAGES 24
/* Pages from here on may wait for userfaultfd. Whoever looks at memory by itself stays below. */
#define LATE_PAGES 16
#define FIXED_MEMORY 0x10000000000ul
#define USERS 3

/* ---- random.c: the decisions of a thread follow from its seed and nothing else ---- */
extern __thread uint64_t random_state;
uint32_t below(uint32_t limit);
uint64_t mixed(uint64_t a, uint64_t b);

/* ---- memory.c ---- */
extern char *memory;
/* The user whose word fills the memory. */
extern int user;
void map_memory(void);
/* An address where a structure of that length may lie: in the memory, around an edge, or nowhere. */
uint64_t address(size_t length);
/* Writes where that is possible: the kernel copies for us and does not crash. */
void put(uint64_t at, const void *bytes, size_t length);
void change_memory(void);
void change_limit(void);
/* From now on some pages come late: a thread serves them, now and then never. */
void make_late(void);
/* Reports it when the memory has the word of another user. */
void look_for_others(void);
void word_of(int of_user, char *word);
#define WORD 16

/* ---- descriptors.c: slots for what is open ---- */
#define KEPT 24
extern int fds[KEPT];
extern unsigned kept;
#define MOST 64
#define NAME 96
/* Nodes of this user's: groups and devices' own nodes; the last ones are those that all users have: the container's, and /dev/iommu if there is one. */
extern char nodes[MOST][NAME];
extern int node_count;
/* Devices of those groups, as VFIO_GROUP_GET_DEVICE_FD wants them. */
extern char device_names[MOST][NAME];
extern int device_count;
void find_nodes(int of_user, int users);
void keep(int fd);
int some_fd(void);
void open_node(void);
void close_some(void);
void move_some(void);
void pass_some(void);
void make_socket_pair(int at);

/* ---- calls.c ---- */
void step(void);
uint64_t number(void);
/* Requests of one kind of file that mostly work. */
void meant(void);
/* Opens a container, a group and its devices, as a program does that means to use them. */
void set_up(void);

/* ---- processes.c ---- */
void wild_step(void);
/* Threads that make calls until the process is killed or has had enough. */
void worker(uint64_t seed, int threads, uint32_t steps);
/* The same again after an exec. */
void resume(uint64_t seed, int at_depth);
/* A program that makes no call, with memory where all others have theirs: nobody may change it. */
void bystander(void);
#define OWN_PATH "/proc/self/exe"

/* ---- shared between all processes, at SHARED_FD and mapped ---- */
#define SHARED_FD 903
#define SOCKET_FD 904 /* two for each user: 904 to 909 */
#define KEEP_CLEAR_FIRST 900
#define KEEP_CLEAR_LAST 919
struct shared {
	uint64_t calls, processes, execs, violations, looks, late;
	uint32_t stop;
	int supervisor;
	char first[256];
};
extern struct shared *shared;
void map_shared(void);
#define COUNT(what) __atomic_fetch_add(&shared->what, 1, __ATOMIC_RELAXED)
/* Something that must never be: it is counted, and the first one is told at the end. */
void violation(const char *what);

/* ---- watchdog.c ---- */
struct waits { uint32_t rounds; uint64_t p999_us, longest_us; };
/*
 * Makes calls until the run stops, and says on a pipe how long they took; for how much of that neither it nor the supervisor was waiting for a
 * processor; and how long a plain process took meanwhile.
 */
#define WAITS 3
void watchdog(int result_fd);
/* An open /proc/PID/schedstat, and how long, in nanoseconds, its thread has waited for a processor. */
int open_schedule(int pid);
uint64_t unscheduled_ns(int schedule);
uint64_t now_ns(void);

/* ---- normal.c: what a program does that means no harm; 0 when all of it works ---- */
int normal_client(void);
#endif
