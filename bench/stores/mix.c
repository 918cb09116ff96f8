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
 * Scan: the store is filled in an order that is none, then all is read in the order of the keys, each byte of the values, SCANS times.
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

enum { UPDATES = 1000, SCAN_MOST = 100, SAMPLE_EVERY = 7, SCANS = 5, FILL_COMMIT_EVERY = 10000 };
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
	uint64_t word = (hash_of(&key, sizeof(key)) ^ random_next(&seed)) | UINT64_C(1) << 63; /* no address */

	for (size_t i = 0; i < VALUE_BYTES; i += sizeof(word))
		memcpy(value + i, &word, VALUE_BYTES - i < sizeof(word) ? VALUE_BYTES - i : sizeof(word));
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

static void op_scan(uint64_t key, unsigned n)
{
	unsigned there = store->scan(key, n, see);

	need(there == n || key + there == keys, "a scan");
}

enum kind { READ, UPDATE, INSERT, SCAN, MODIFY };
struct operation {
	uint64_t key;
	uint32_t kind, n; /* n: of a scan */
};

/* Drawn beforehand: that takes longer than many an operation. */
static struct operation operation_draw(void)
{
	static const struct {
		unsigned percent; /* of `usual` */
		enum kind usual, other;
	} mixes[] = {{50, READ, UPDATE}, {95, READ, UPDATE}, {100, READ, READ},
	             {95, READ, INSERT}, {95, SCAN, INSERT}, {50, READ, MODIFY}};
	unsigned which = (unsigned)(*mix - 'A');
	bool is_usual = random_next(&seed) % 100 < mixes[which].percent;
	struct operation op = {.kind = is_usual ? mixes[which].usual : mixes[which].other};

	op.key = op.kind == INSERT ? keys++ : *mix == 'D' ? late_key_draw() : key_draw();
	op.n = 1 + (uint32_t)(random_next(&seed) % SCAN_MOST);
	return op;
}

static void operation(const struct operation *op)
{
	switch (op->kind) {
	case READ:
		op_read(op->key);
		break;
	case SCAN:
		op_scan(op->key, op->n);
		break;
	case MODIFY:
		op_read(op->key);
		op_update(op->key);
		break;
	default:
		op_update(op->key);
		keys += op->kind == INSERT;
	}
}

static struct operation *operations_draw(void)
{
	struct operation *all = malloc(operations * sizeof(*all));

	need(all != NULL, "malloc");
	for (uint64_t i = 0; i < operations; i++)
		all[i] = operation_draw();
	keys = store_keys;
	return all;
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

static int sample_order(const void *left, const void *right)
{
	uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;

	return a < b ? -1 : a > b;
}

/* Every SAMPLE_EVERYth operation is timed, with its commit. */
static void rows(double elapsed_ns, uint32_t *ns)
{
	uint64_t samples = (operations + SAMPLE_EVERY - 1) / SAMPLE_EVERY;

	row("rate", (double)operations * 1e9 / elapsed_ns, "operations/s");
	qsort(ns, samples, sizeof(*ns), sample_order);
	row("median", (double)ns[samples / 2] / 1e3, "us");
	if (batch <= 1) /* else one in a hundred waits for the device: it would be either */
		row("p99", (double)ns[samples - 1 - samples / 100] / 1e3, "us");
}

static void one_run(const struct operation *op, uint64_t number)
{
	operation(op);
	if (!batch || (number + 1) % batch == 0)
		store->commit();
}

static void run(const struct operation *all)
{
	uint32_t *ns = calloc(operations / SAMPLE_EVERY + 1, sizeof(*ns));
	uint64_t began = now_ns(), before;

	need(ns != NULL, "calloc");
	for (uint64_t i = 0; i < operations; i++) {
		if (i % SAMPLE_EVERY) {
			one_run(&all[i], i);
			continue;
		}
		before = now_ns();
		one_run(&all[i], i);
		ns[i / SAMPLE_EVERY] = (uint32_t)(now_ns() - before);
	}
	if (batch)
		store->commit();
	else
		store->sync();
	rows((double)(now_ns() - began), ns);
	free(ns);
}

static void mix_run(const char *folder)
{
	struct operation *all;
	double before;

	need(operations > 0 && strlen(mix) == 1 && *mix >= 'A' && *mix <= 'F', "mix or operations");
	need(*mix != 'E' || store->scan, "mix E: this store's scans");
	keys = store_keys;
	if (zipfian)
		zipf_prepare(store_keys);
	all = operations_draw();
	before = resident_bytes();
	store->open(folder, variant, !batch);
	store_fill(store);
	run(all);
	row_data(data_hash());
	row("resident", (resident_bytes() - before) / (double)keys, "bytes/key");
	store->close();
}

/* ---- scan ---- */

static void strewn_fill(void)
{
	const uint64_t stride = 2654435761; /* a prime, so each key comes once */
	char value[VALUE_BYTES];

	for (uint64_t i = 0; i < keys; i++) {
		uint64_t key = i * stride % keys;

		value_make(value, key);
		store->put(key, value);
		if ((i + 1) % FILL_COMMIT_EVERY == 0)
			store->commit();
	}
	store->commit();
	store->sync();
}

static void see_all(const char value[VALUE_BYTES])
{
	uint32_t word[VALUE_BYTES / sizeof(uint32_t)];

	memcpy(word, value, VALUE_BYTES);
	for (size_t i = 0; i < VALUE_BYTES / sizeof(uint32_t); i++)
		seen += word[i];
}

static void scan_run(const char *folder)
{
	double ns[SCANS];

	need(store->scan, "scans of this store");
	keys = store_keys;
	store->open(folder, variant, true);
	strewn_fill();
	for (unsigned i = 0; i < SCANS; i++) {
		uint64_t began = now_ns();

		need(store->scan(0, (unsigned)keys, see_all) == keys, "a scan of all values");
		ns[i] = (double)(now_ns() - began);
	}
	row("scan", (double)(keys * VALUE_BYTES) * 1e3 / median_of(ns, SCANS), "MB/s");
	row_data(data_hash());
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

	need(argc > 4 && s->get, "usage: FOLDER mix=A...|scan|recover VARIANT keys=N...:");
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
	if (!strcmp(argv[2], "scan")) {
		scan_run(argv[1]);
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
