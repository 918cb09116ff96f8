/* mix.c - mixes of operations, as YCSB has them, and the recovery after a kill; see store.h.
 *
 *     A  half reads, half updates                  D  95% reads of keys that came last, 5% new keys
 *     B  95% reads, 5% updates                     E  95% scans of 1 to 100 values, 5% new keys
 *     C  reads                                     F  half reads, half reads of a value that is then updated
 *
 * The store is filled first; keys are drawn evenly, or by a Zipfian distribution (0.99) whose ranks are strewn over the keys. `batch`
 * operations are one commit; batch 0: lazily, each operation is one, and all is durable at the end, which is part of the time. The
 * same operations for all stores, in the same order, with the same values: their data is the same at the end.
 *
 * Recovery: a child fills the store, updates UPDATES values, each durable, and is killed. The program starts itself anew, gets a value,
 * and then all.
 */
#include "store.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { UPDATES = 1000, SCAN_MOST = 100 };
static const double theta = 0.99;

static const struct store *store;
static const char *mix, *variant;
static uint64_t operations, zipfian, batch;
static uint64_t keys; /* there are now */
static uint64_t seed = 88172645463325252u;
static uint64_t seen;

/* ---- keys and values ---- */

/* Gray et al., "Quickly Generating Billion-Record Synthetic Databases", SIGMOD 1994. */
static struct {
	double zeta, eta, alpha;
} zipf;

static void zipf_prepare(uint64_t n)
{
	for (uint64_t i = 1; i <= n; i++)
		zipf.zeta += 1 / pow((double)i, theta);
	zipf.alpha = 1 / (1 - theta);
	zipf.eta = (1 - pow(2.0 / (double)n, 1 - theta)) / (1 - (1 + pow(0.5, theta)) / zipf.zeta);
}

/* 0 is the most frequent one. */
static uint64_t zipf_rank(void)
{
	double u = (double)(random_next(&seed) >> 11) * 0x1p-53, part = u * zipf.zeta;

	if (part < 1)
		return 0;
	if (part < 1 + pow(0.5, theta))
		return 1;
	return (uint64_t)((double)store_keys * pow(zipf.eta * u - zipf.eta + 1, zipf.alpha)) % store_keys;
}

static uint64_t key_draw(void)
{
	uint64_t rank;

	if (!zipfian)
		return random_next(&seed) % keys;
	rank = zipf_rank();
	return hash_of(&rank, sizeof(rank)) % keys;
}

/* Of those that came last, rather. */
static uint64_t late_key_draw(void)
{
	return keys - 1 - (zipfian ? zipf_rank() : random_next(&seed) % store_keys);
}

static void value_make(char value[VALUE_BYTES], uint64_t key)
{
	uint64_t word = random_next(&seed);

	memset(value, '.', VALUE_BYTES);
	snprintf(value, VALUE_BYTES, "value %llu of key %llu", (unsigned long long)word, (unsigned long long)key);
}

static void see(const char value[VALUE_BYTES])
{
	seen += (unsigned char)value[0];
}

/* ---- operations ---- */

static void op_read(uint64_t key)
{
	char value[VALUE_BYTES];

	store->get(key, value);
	see(value);
}

static void op_update(uint64_t key)
{
	char value[VALUE_BYTES];

	value_make(value, key);
	store->put(key, value);
}

static void op_insert(void)
{
	op_update(keys++);
}

static void op_scan(uint64_t key)
{
	unsigned n = 1 + (unsigned)(random_next(&seed) % SCAN_MOST);

	need(store->scan(key, n, see) == (keys - key < n ? keys - key : n), "a scan");
}

static void operation(void)
{
	uint64_t percent = random_next(&seed) % 100;

	switch (*mix) {
	case 'A':
		(percent < 50 ? op_read : op_update)(key_draw());
		break;
	case 'B':
		(percent < 95 ? op_read : op_update)(key_draw());
		break;
	case 'C':
		op_read(key_draw());
		break;
	case 'D':
		percent < 95 ? op_read(late_key_draw()) : op_insert();
		break;
	case 'E':
		percent < 95 ? op_scan(key_draw()) : op_insert();
		break;
	default: {
		uint64_t key = key_draw();

		op_read(key);
		if (percent < 50)
			op_update(key);
	}
	}
}

/* ---- measuring ---- */

static uint64_t data_hash(void)
{
	char value[VALUE_BYTES];
	uint64_t hash = 0;

	for (uint64_t key = 0; key < keys; key++) {
		store->get(key, value);
		hash += hash_of(value, VALUE_BYTES) ^ key;
	}
	return hash;
}

static double quantile_us(const uint32_t *sorted, double part)
{
	return (double)sorted[(uint64_t)((double)(operations - 1) * part)] / 1e3;
}

static int sample_order(const void *left, const void *right)
{
	uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;

	return a < b ? -1 : a > b;
}

static void run(void)
{
	uint32_t *ns = malloc(operations * sizeof(*ns));
	uint64_t began, before, after = 0;

	need(ns != NULL, "malloc");
	memset(ns, 0, operations * sizeof(*ns)); /* faults now */
	began = before = now_ns();
	for (uint64_t i = 0; i < operations; i++, before = after) {
		operation();
		if (!batch || (i + 1) % batch == 0)
			store->commit();
		after = now_ns();
		ns[i] = (uint32_t)(after - before);
	}
	if (batch)
		store->commit();
	else
		store->sync();
	row("rate", (double)operations * 1e9 / (double)(now_ns() - began), "operations/s");
	qsort(ns, operations, sizeof(*ns), sample_order);
	row("median", quantile_us(ns, 0.5), "us");
	row("p99", quantile_us(ns, 0.99), "us");
	free(ns);
}

static void mix_run(const char *folder)
{
	double before = resident_bytes();

	need(operations > 0 && strlen(mix) == 1 && *mix >= 'A' && *mix <= 'F', "mix or operations");
	need(*mix != 'E' || store->scan, "mix E: this store's scans");
	keys = store_keys;
	if (zipfian)
		zipf_prepare(store_keys);
	store->open(folder, variant, !batch);
	store_fill(store);
	run();
	row_data(data_hash());
	row("resident", (resident_bytes() - before) / (double)keys, "bytes/key");
	store->close();
}

/* ---- recovery ---- */

static void recover_child(const char *folder, int done)
{
	store->open(folder, variant, false);
	store_fill(store);
	for (unsigned i = 0; i < UPDATES; i++) {
		op_update(random_next(&seed) % store_keys);
		store->commit();
	}
	need(write(done, "", 1) == 1, "telling that all is done");
	for (;;)
		pause();
}

static void fill_and_kill(const char *folder)
{
	int done[2], status;
	char byte;
	pid_t child;

	need(!pipe(done), "pipe");
	child = fork();
	need(child >= 0, "fork");
	if (!child)
		recover_child(folder, done[1]);
	close(done[1]);
	need(read(done[0], &byte, 1) == 1, "filling the store");
	need(!kill(child, SIGKILL) && wait(&status) == child, "kill");
}

static void recovered(const char *folder, uint64_t began)
{
	double before = resident_bytes();
	uint64_t hash;

	store->open(folder, variant, false);
	op_read(0);
	row("first answer", (double)(now_ns() - began) / 1e6, "ms");
	hash = data_hash();
	row("all read", (double)(now_ns() - began) / 1e6, "ms");
	row("resident", (resident_bytes() - before) / (double)keys, "bytes/key");
	row_data(hash);
	store->close();
}

static void start_anew(char **argv)
{
	char began[40];

	snprintf(began, sizeof(began), "began=%llu", (unsigned long long)now_ns());
	execl("/proc/self/exe", argv[0], argv[1], argv[2], argv[3], argv[4], began, (char *)NULL);
	need(false, "starting anew");
}

int mix_main(int argc, char **argv, const struct store *s)
{
	uint64_t began = 0;

	need(argc > 4 && s->get, "usage: FOLDER mix=A...|recover VARIANT keys=N...:");
	store = s;
	variant = argv[3];
	for (int i = 4; i < argc; i++)
		need(option_number(argv[i], "keys", &store_keys) || option_number(argv[i], "operations", &operations) ||
		             option_number(argv[i], "zipfian", &zipfian) || option_number(argv[i], "batch", &batch) ||
		             option_number(argv[i], "began", &began),
		     argv[i]);
	need(store_keys > SCAN_MOST, "keys");
	mkdir(argv[1], 0700);
	if (option_text(argv[2], "mix", &mix)) {
		mix_run(argv[1]);
		return 0;
	}
	keys = store_keys;
	if (began) {
		recovered(argv[1], began);
		return 0;
	}
	fill_and_kill(argv[1]);
	start_anew(argv);
	return 1;
}
