/* stop.c - stopping the other threads by a signal. See stop.h.
 *
 *   stopper                                      another thread
 *   epoch becomes odd
 *   lists /proc/self/task; each thread not    -> handler: finds its place in `asked`, writes the epoch there,
 *   asked yet gets a place in `asked` and a      waits until the epoch is another, returns
 *   signal; waits until all have answered;
 *   lists again, until no thread is new
 *   ... the instant ...
 *   epoch becomes even, wakes all
 *
 * Parked and exempt threads have a record in `records`, claimed by compare-and-swap and given back when the thread ends;
 * no other thread needs one. spm_unpark writes RUNNING before it reads the epoch, the stopper writes the epoch before it reads
 * the record: one of them sees the other.
 *
 * A thread that does not answer within a few milliseconds is looked up in /proc:
 *   gone, or a zombie                        counts as stopped
 *   blocks the signal and sleeps             counts as stopped: it waits in sigwait or the like. Should it wake during the
 *                                            stop it runs: programs must not touch the heap with all signals blocked
 *   blocks the signal and runs               is waited for until it ran for PATIENCE_NS, or a hundred times as long has passed (it
 *                                            may be a new thread, which blocks it for an instant, on a machine with too much
 *                                            to do); then the stop fails with ETIMEDOUT
 *   does not block it and is in the kernel,  counts as stopped: the handler comes before its next instruction
 *   uninterruptible
 * The signal stays pending where it is blocked; such threads are remembered in `deaf` and not signalled again while one
 * is pending, or the queue of pending signals would fill up.
 *
 * What runs in the handler: atomic operations, gettid and futex calls only.
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
#include <time.h>
#include <unistd.h>

enum { RUNNING, PARKED, EXEMPT };
enum { RECORDS = 4096, ASKED_MOST = 131072, DEAF_MOST = 256 };
enum { SPINS = 20, LOOK_NS = 3000000, PATIENCE_NS = 500000000 };

struct record {
	_Atomic int tid; /* 0: free */
	_Atomic int mode;
};

struct asked {
	_Atomic int tid;
	_Atomic uint32_t answered; /* the epoch in which it stopped */
};

static struct record records[RECORDS];
static _Atomic unsigned records_top; /* records that were ever used */
static struct asked *asked;          /* of this stop */
static _Atomic unsigned asked_count;
static int deaf[DEAF_MOST];
static unsigned deaf_count;
static _Atomic uint32_t epoch;   /* odd: a stop is on */
static _Atomic uint32_t answers; /* grows with each answer; the stopper sleeps on it */
static _Atomic unsigned held;    /* threads that wait for the end of the stop */
static _Atomic int exempt_count;
static struct {
	int fd;
	dev_t device;
	ino_t inode;
} tasks = {.fd = -1}; /* /proc/self/task */
static _Atomic bool is_ready;
static pthread_key_t end_key;
static __thread struct record *self __attribute__((tls_model("initial-exec")));

static int stop_signal(void)
{
	return SIGRTMAX - 2;
}

static int own_tid(void)
{
	return (int)syscall(SYS_gettid);
}

/* wait_ns 0: for ever. */
static void futex_wait(_Atomic uint32_t *word, uint32_t value, long wait_ns)
{
	struct timespec t = {.tv_nsec = wait_ns};

	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, wait_ns ? &t : NULL, NULL, 0);
}

static void futex_wake_all(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 0x7fffffff, NULL, NULL, 0);
}

/* In the handler. Where the stopper waits for this thread's answer; NULL if it has not listed it yet. */
static struct asked *asked_find(int tid, unsigned hint)
{
	unsigned n = asked_count;

	if (hint < n && asked[hint].tid == tid)
		return &asked[hint];
	for (unsigned i = 0; i < n; i++)
		if (asked[i].tid == tid)
			return &asked[i];
	return NULL;
}

/* Counted first: either the stopper's end sees the count, or the wait sees the end. */
static void epoch_wait(uint32_t now, long wait_ns)
{
	held++;
	futex_wait(&epoch, now, wait_ns);
	held--;
}

/* A signal that was sent for an earlier stop may arrive in this one: then the thread may not be listed yet, and looks
 * again every millisecond. */
static void handler(int signal, siginfo_t *info, void *context)
{
	int saved = errno;
	uint32_t now = epoch;
	bool has_answered = false;

	(void)signal, (void)context;
	while (now & 1 && epoch == now) {
		if (!has_answered) {
			struct asked *a = asked_find(own_tid(), (unsigned)info->si_value.sival_int);

			if (a) {
				a->answered = now;
				answers++;
				futex_wake_all(&answers);
				has_answered = true;
			}
		}
		epoch_wait(now, has_answered ? 0 : 1000000);
	}
	errno = saved;
}

static void record_give_back(void *arg)
{
	struct record *r = arg;

	if (atomic_exchange(&r->mode, RUNNING) == EXEMPT)
		exempt_count--;
	self = NULL;
	r->tid = 0;
}

/* The folder stays open: opening it costs more than looking into it. A program that closes what is not its own may have made the
 * number another file's. */
static bool tasks_are_open(struct stat *st)
{
	return tasks.fd >= 0 && !fstat(tasks.fd, st) && st->st_dev == tasks.device && st->st_ino == tasks.inode;
}

static int tasks_open(struct stat *st)
{
	if (tasks_are_open(st))
		return 0;
	tasks.fd = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (tasks.fd < 0 || fstat(tasks.fd, st))
		return -errno;
	tasks.device = st->st_dev;
	tasks.inode = st->st_ino;
	return 0;
}

/* The child's one thread has another number, and nobody else is there. */
static void after_fork_in_child(void)
{
	struct stat st;

	memset(records, 0, sizeof(records));
	records_top = 0;
	asked_count = 0;
	deaf_count = 0;
	exempt_count = 0;
	held = 0;
	if (tasks_are_open(&st))
		close(tasks.fd);
	tasks.fd = -1;
	epoch += epoch & 1;
	if (self)
		pthread_setspecific(end_key, NULL);
	self = NULL;
}

static void prepare(void)
{
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_RESTART | SA_SIGINFO};
	void *table = mmap(NULL, ASKED_MOST * sizeof(*asked), PROT_READ | PROT_WRITE,
	                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	sigfillset(&action.sa_mask);
	if (table == MAP_FAILED)
		return; /* the next call tries again */
	asked = table;
	if (pthread_key_create(&end_key, record_give_back) || pthread_atfork(NULL, NULL, after_fork_in_child) ||
	    sigaction(stop_signal(), &action, NULL))
		return;
	is_ready = true;
}

static bool ready(void)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

	if (is_ready)
		return true;
	pthread_mutex_lock(&lock);
	if (!is_ready)
		prepare();
	pthread_mutex_unlock(&lock);
	return is_ready;
}

static struct record *record_claim(int tid)
{
	for (unsigned i = 0; i < RECORDS; i++) {
		int none = 0;
		unsigned top = records_top;

		if (!atomic_compare_exchange_strong(&records[i].tid, &none, tid))
			continue;
		while (top < i + 1 && !atomic_compare_exchange_weak(&records_top, &top, i + 1))
			;
		return &records[i];
	}
	return NULL; /* then the thread is stopped by signal like any other */
}

static struct record *me(void)
{
	if (!self && ready()) {
		self = record_claim(own_tid());
		if (self && pthread_setspecific(end_key, self))
			record_give_back(self);
	}
	return self;
}

void spm_park(void)
{
	struct record *r = me();

	if (r && r->mode == RUNNING)
		r->mode = PARKED;
}

void spm_unpark(void)
{
	struct record *r = self;

	if (!r || r->mode != PARKED)
		return;
	for (;;) {
		uint32_t now;

		r->mode = RUNNING;
		now = epoch;
		if (!(now & 1))
			return; /* a stop that begins now sees us running */
		r->mode = PARKED;
		while (epoch == now)
			epoch_wait(now, 0);
	}
}

void spm_stop_exempt_self(void)
{
	struct record *r = me();

	if (r && atomic_exchange(&r->mode, EXEMPT) != EXEMPT)
		exempt_count++;
	answers++; /* a stop may wait for it: it was listed as soon as it was made */
	futex_wake_all(&answers);
}

static bool is_left_alone(int tid)
{
	for (unsigned i = 0, n = records_top; i < n; i++)
		if (records[i].tid == tid)
			return records[i].mode != RUNNING;
	return false;
}

struct condition {
	char state;      /* as in /proc/TID/status; 0: gone */
	bool is_blocked; /* it blocks the signal */
	bool is_pending; /* one waits for it */
};

static bool mask_has_signal(const char *text, const char *name)
{
	const char *at = strstr(text, name);

	return at && strtoull(at + strlen(name), NULL, 16) >> (stop_signal() - 1) & 1;
}

static struct condition thread_look(int tid)
{
	char text[4096] = "/proc/self/task/", *digit = text + 30;
	struct condition c = {0};
	long n = -1;
	int fd;

	/* No snprintf here: threads are stopped, and it is no async-signal-safe function. */
	memcpy(digit, "/status", 8);
	for (; tid; tid /= 10)
		*--digit = (char)('0' + tid % 10);
	memmove(text + 16, digit, strlen(digit) + 1);
	fd = open(text, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, text, sizeof(text) - 1);
		close(fd);
	}
	if (n <= 0)
		return c;
	text[n] = 0;
	if (strstr(text, "State:\t"))
		c.state = strstr(text, "State:\t")[7];
	c.is_blocked = mask_has_signal(text, "SigBlk:\t");
	c.is_pending = mask_has_signal(text, "SigPnd:\t");
	return c;
}

/* Whether it was deaf at an earlier stop, with the signal still pending; it is then asked no second time. */
static bool was_deaf(int tid)
{
	for (unsigned i = 0; i < deaf_count; i++) {
		if (deaf[i] != tid)
			continue;
		if (thread_look(tid).is_pending)
			return true;
		deaf[i] = deaf[--deaf_count];
		return false;
	}
	return false;
}

static void deaf_add(int tid)
{
	for (unsigned i = 0; i < deaf_count; i++)
		if (deaf[i] == tid)
			return;
	deaf[deaf_count < DEAF_MOST ? deaf_count++ : (unsigned)tid % DEAF_MOST] = tid;
}

/* Sends the signal with its place in `asked`. Real-time signals queue: a full queue is waited out, PATIENCE_NS long. */
static int signal_send(struct asked *a)
{
	uint64_t until = 0;
	siginfo_t info = {.si_signo = stop_signal(), .si_code = SI_QUEUE};
	int pid = getpid();

	info.si_pid = pid;
	info.si_uid = getuid();
	info.si_value.sival_int = (int)(a - asked);
	while (syscall(SYS_rt_tgsigqueueinfo, pid, a->tid, stop_signal(), &info)) {
		uint64_t t = spm_now_ns();

		if (errno != EAGAIN) {
			a->tid = 0; /* it has ended */
			return 0;
		}
		until = until ? until : t + PATIENCE_NS;
		if (t > until)
			return -EAGAIN;
		sched_yield();
	}
	return 0;
}

/* The processor time of another thread of the process, in ns; 0 if it has ended. The number of that clock is the kernel's (see
 * clock_getcpuclockid(3)); pthread_getcpuclockid would need a pthread_t. */
static uint64_t thread_ran_ns(int tid)
{
	struct timespec t = {0};

	syscall(SYS_clock_gettime, (int)(~(unsigned)tid << 3 | 6), &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* 1: counts as stopped, 0: wait on, or -ETIMEDOUT. */
static int judge(struct asked *a, uint64_t waited_ns, uint64_t ran_ns)
{
	struct condition c;

	if (is_left_alone(a->tid))
		return 1;
	c = thread_look(a->tid);
	if (!c.state)
		a->tid = 0; /* its number may come back within this very stop */
	if (!c.state || (c.state == 'D' && !c.is_blocked && waited_ns > PATIENCE_NS / 10))
		return 1;
	if (c.state == 'Z' || c.state == 'X' || (c.is_blocked && c.state == 'S')) {
		deaf_add(a->tid);
		return 1;
	}
	return c.is_blocked && (ran_ns > PATIENCE_NS || waited_ns / 100 > PATIENCE_NS) ? -ETIMEDOUT : 0;
}

/* The thread has stopped, or has become one that need not. */
static bool is_through(const struct asked *a, uint32_t now)
{
	return a->answered == now || is_left_alone(a->tid);
}

static int wait_answered(struct asked *a, uint32_t now, bool is_patient)
{
	uint64_t began = 0, look_at = 0, had_run = 0;
	int verdict = 0;

	for (unsigned turns = 0; a->tid && !is_through(a, now) && !verdict; turns++) {
		uint32_t seen = answers;
		uint64_t t;

		if (turns < SPINS && is_patient) {
			sched_yield();
			continue;
		}
		t = spm_now_ns();
		if (!began) {
			began = t;
			had_run = thread_ran_ns(a->tid);
			look_at = is_patient ? t + LOOK_NS : t;
		}
		if (t >= look_at) {
			verdict = judge(a, t - began, thread_ran_ns(a->tid) - had_run);
			look_at = t + LOOK_NS;
		} else if (!is_through(a, now)) {
			futex_wait(&answers, seen, LOOK_NS / 3);
		}
	}
	return verdict < 0 ? verdict : 0;
}

struct linux_dirent64_head {
	uint64_t inode, offset;
	uint16_t bytes;
	uint8_t type;
	char name[];
};

/* Asks a thread that the folder lists, if it has not been asked in this stop. The folder lists threads in the order of their
 * birth: `next` is where this one is most likely found in `asked`. */
static int thread_ask(int tid, unsigned *next)
{
	unsigned n = asked_count;
	struct asked *a = asked_find(tid, *next);
	bool is_deaf;

	if (a) {
		*next = (unsigned)(a - asked) + 1;
		return 0;
	}
	if (is_left_alone(tid))
		return 0;
	if (n == ASKED_MOST)
		return -EAGAIN;
	is_deaf = was_deaf(tid);
	asked[n].answered = 0;
	asked[n].tid = tid;
	asked_count = n + 1;
	*next = n + 1;
	return is_deaf ? 0 : signal_send(&asked[n]);
}

/* Asks all threads that are not asked yet, waits for these. 1: there were some, 0: none, or -errno. */
static int stop_pass(uint32_t now)
{
	char buffer[4096] __attribute__((aligned(8)));
	int own = own_tid(), err = 0;
	unsigned from = asked_count, next = 0;
	long n;

	lseek(tasks.fd, 0, SEEK_SET);
	while (!err && (n = syscall(SYS_getdents64, tasks.fd, buffer, sizeof(buffer))) > 0) {
		for (long at = 0; at < n && !err;) {
			const struct linux_dirent64_head *d = (const void *)(buffer + at);
			int tid = atoi(d->name);

			if (tid && tid != own)
				err = thread_ask(tid, &next);
			at += d->bytes;
		}
	}
	for (unsigned i = from; i < asked_count && !err; i++) {
		bool is_deaf = false;

		for (unsigned k = 0; k < deaf_count; k++)
			is_deaf |= deaf[k] == asked[i].tid;
		err = wait_answered(&asked[i], now, !is_deaf);
	}
	return err ? err : asked_count > from;
}

/* With no other thread but exempt ones there is nobody to stop: two links of the folder are its own. */
static bool is_alone(const struct stat *st)
{
	int own_exempt = self && self->mode == EXEMPT;

	return st->st_nlink <= (nlink_t)(3 + exempt_count - own_exempt);
}

bool spm_stop_is_alone(void)
{
	struct stat st;

	return !tasks_open(&st) && is_alone(&st);
}

int spm_stop_begin(void)
{
	struct stat st;
	uint32_t now;
	int more;

	if (!ready())
		return -ENOMEM;
	asked_count = 0;
	now = ++epoch;
	more = tasks_open(&st);
	if (!more && is_alone(&st))
		return 0;
	more = more ? more : 1;
	while (more > 0)
		more = stop_pass(now);
	if (more < 0)
		spm_stop_end();
	return more;
}

void spm_stop_end(void)
{
	epoch++;
	if (held)
		futex_wake_all(&epoch);
}
