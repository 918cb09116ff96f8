/* stop.c - stopping the other threads by a signal. See stop.h.
 *
 *   stopper                                  another thread
 *   epoch odd, for each thread not known  -> handler: counts itself in `stopped`, waits until
 *   stopped: tgkill; wait until all have     the epoch is even, counts itself out, returns
 *   answered, gone, parked; look again
 *   until no thread is new
 *   ... the instant ...
 *   epoch even, wake all, wait until none is in the handler any more
 *
 * What runs in the handler: atomic operations and futex calls only. Each thread that parks or is stopped has a record in a list
 * that only grows; the record of a thread that ended is taken by a later one.
 */
#include "snapshot/stop.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { RUNNING, PARKED, EXEMPT };
enum { THREADS_MOST = 65536, PATIENCE_NS = 500000000 };

struct thread {
	_Atomic int tid;      /* 0: free */
	_Atomic int mode;
	_Atomic uint32_t answered; /* the epoch in which it stopped */
};

static struct thread *thread_table; /* by place, a hash of the tid */
static _Atomic uint32_t epoch;      /* odd: a stop is on */
static _Atomic int inside;          /* threads in the handler */
static _Atomic int exempt_count;
static _Atomic bool is_ready;
static pthread_key_t end_key;
static __thread struct thread *self __attribute__((tls_model("initial-exec")));

static int stop_signal(void)
{
	return SIGRTMAX - 2;
}

static void futex_wait(_Atomic uint32_t *word, uint32_t value)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake_all(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 0x7fffffff, NULL, NULL, 0);
}

/* The record of a thread; made if it has none and `make`. */
static struct thread *thread_find(int tid, bool make)
{
	for (unsigned i = 0; i < THREADS_MOST; i++) {
		struct thread *t = &thread_table[((unsigned)tid + i) % THREADS_MOST];
		int found = t->tid;

		if (found == tid)
			return t;
		if (found)
			continue;
		if (!make)
			return NULL;
		if (atomic_compare_exchange_strong(&t->tid, &found, tid))
			return t;
		i--; /* somebody took it: look at it again */
	}
	return NULL;
}

static void handler(int signal)
{
	int saved = errno;
	uint32_t now = epoch;
	struct thread *t = thread_find((int)syscall(SYS_gettid), false);

	(void)signal;
	if (t && now & 1) {
		inside++;
		t->answered = now;
		while (epoch == now)
			futex_wait(&epoch, now);
		inside--;
	}
	errno = saved;
}

/* A thread has ended: its number may come back as another thread, which must be taken as running. */
static void thread_ended(void *arg)
{
	struct thread *t = arg;

	if (t->mode == EXEMPT)
		exempt_count--;
	t->mode = RUNNING;
}

static void prepare(void)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
	void *table = mmap(NULL, THREADS_MOST * sizeof(*thread_table), PROT_READ | PROT_WRITE,
	                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	sigfillset(&action.sa_mask);
	if (table == MAP_FAILED || pthread_key_create(&end_key, thread_ended) || sigaction(stop_signal(), &action, NULL))
		return;
	thread_table = table;
	is_ready = true;
}

static bool ready(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	if (!is_ready)
		pthread_once(&once, prepare);
	return is_ready;
}

static struct thread *me(void)
{
	if (!self && ready()) {
		self = thread_find((int)syscall(SYS_gettid), true);
		if (self)
			pthread_setspecific(end_key, self);
	}
	return self;
}

void spm_park(void)
{
	struct thread *t = me();

	if (t && t->mode == RUNNING)
		t->mode = PARKED;
}

void spm_unpark(void)
{
	struct thread *t = me();

	if (!t || t->mode != PARKED)
		return;
	for (;;) {
		uint32_t now;

		t->mode = RUNNING;
		now = epoch;
		if (!(now & 1))
			return; /* a stop that begins now sees us running */
		t->mode = PARKED;
		while (epoch == now)
			futex_wait(&epoch, now);
	}
}

void spm_stop_exempt_self(void)
{
	struct thread *t = me();

	if (t) {
		t->mode = EXEMPT;
		exempt_count++;
	}
}

/* Whether the thread has stopped, need not, or is gone. Signals it once. */
static bool is_settled(struct thread *t, int tid, uint32_t now, bool send)
{
	if (t->mode != RUNNING || t->answered == now)
		return true;
	return send && syscall(SYS_tgkill, getpid(), tid, stop_signal()) && errno == ESRCH;
}

static void wait_settled(struct thread *t, int tid, uint32_t now)
{
	uint64_t until = spm_now_ns() + PATIENCE_NS;
	bool send = true;

	for (unsigned turns = 0; !is_settled(t, tid, now, send); turns++) {
		send = false;
		if (turns % 1024 == 1023 && spm_now_ns() > until) {
			t->answered = now; /* it blocks all signals, as one that only waits for them does */
			return;
		}
		if (turns % 1024 == 1023 && syscall(SYS_tgkill, getpid(), tid, 0) && errno == ESRCH)
			return; /* it has ended */
		sched_yield();
	}
}

struct linux_dirent64_head {
	uint64_t inode, offset;
	uint16_t bytes;
	uint8_t type;
	char name[];
};

/* One pass over the process's threads; returns how many were not settled before. */
static int stop_pass(int fd, uint32_t now)
{
	char buffer[4096] __attribute__((aligned(8)));
	int own = (int)syscall(SYS_gettid), fresh = 0;
	long n;

	lseek(fd, 0, SEEK_SET);
	while ((n = syscall(SYS_getdents64, fd, buffer, sizeof(buffer))) > 0) {
		for (long at = 0; at < n;) {
			const struct linux_dirent64_head *d = (const void *)(buffer + at);
			int tid = atoi(d->name);
			struct thread *t = tid && tid != own ? thread_find(tid, true) : NULL;

			if (t && t->mode == RUNNING && t->answered != now) {
				fresh++;
				wait_settled(t, tid, now);
			}
			at += d->bytes;
		}
	}
	return fresh;
}

/* With no other thread but exempt ones there is nobody to stop: two links of the folder are its own. */
static bool is_alone(void)
{
	struct stat st;

	return !stat("/proc/self/task", &st) && st.st_nlink <= (nlink_t)(3 + exempt_count);
}

int spm_stop_begin(void)
{
	uint32_t now;
	int fd;

	if (!ready())
		return -ENOMEM;
	me();
	now = ++epoch;
	if (is_alone())
		return 0;
	fd = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		int err = -errno;

		spm_stop_end();
		return err;
	}
	while (stop_pass(fd, now))
		;
	close(fd);
	return 0;
}

void spm_stop_end(void)
{
	epoch++;
	futex_wake_all(&epoch);
	while (inside)
		sched_yield();
}
