/* table.c - what is open in this process: one volume, and containers by ID.
 *
 * The table is an array that never moves, so that a capture may walk it while other threads stand still anywhere. It
 * changes only under both locks; either is enough to read it.
 *
 * In a child made by fork the table is a copy of the parent's: its containers are inherited until pCFork (fork.c).
 */
#include "container.h"
#include "heapimage.h"
#include "lazy.h"
#include "snapshot/stop.h"
#include "track/track.h"
#include "volume/log.h"

#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONTAINERS_MOST = 4096 };

static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t table_changed = PTHREAD_COND_INITIALIZER;
static struct container *table[CONTAINERS_MOST];
static unsigned table_top; /* entries that were ever used */
static unsigned generation;
static struct volume *volume;
static char volume_path[4096];
static unsigned volume_wait_ms;
static struct driver
        *heir; /* of a child made by fork: what the parent opened for it; keeps pins, see spm_volume_heir */
static volatile bool is_forked_child; /* and has no volume of its own yet */

void *spm_worker_main(void *arg);

static int fail_in_child(void)
{
	return spm_fail(ECHILD,
	                "this process is a child made by fork: it may read the parent's containers, but not make "
	                "points: pCFork makes a container its own, on another branch");
}

/* ID: generation and place, so that the ID of a container long gone is not that of another. */
static unsigned place_of(int id)
{
	return ((unsigned)id - 1) % CONTAINERS_MOST;
}

struct container *spm_container_get(int id)
{
	struct container *c = NULL;

	if (is_forked_child) {
		fail_in_child();
		return NULL;
	}
	pthread_mutex_lock(&table_lock);
	if (id > 0)
		c = table[place_of(id)];
	if (c && c->id == id && !c->is_ending)
		c->users += !c->is_inherited;
	else
		c = NULL;
	pthread_mutex_unlock(&table_lock);
	if (!c && spm_heapimage_is_id(id))
		spm_heapimage_refuse(id);
	else if (!c)
		spm_fail(EINVAL, "there is no open container with ID %d", id);
	else if (c->is_inherited)
		fail_in_child();
	return c && !c->is_inherited ? c : NULL;
}

struct container *spm_container_inherited(int id)
{
	struct container *c;

	pthread_mutex_lock(&table_lock);
	c = id > 0 ? table[place_of(id)] : NULL;
	pthread_mutex_unlock(&table_lock);
	if (c && c->id == id && c->is_inherited)
		return c;
	spm_fail(EINVAL,
	         c && c->id == id
	                 ? "pCFork: container %d was opened by this process; pCFork is for a child made by fork, "
	                   "and what its parent had open (for another branch here: pCClone)"
	                 : "pCFork: there is no open container with ID %d",
	         c && c->id == id ? c->magic : id);
	return NULL;
}

void spm_container_put(struct container *c)
{
	pthread_mutex_lock(&table_lock);
	if (!--c->users)
		pthread_cond_broadcast(&table_changed);
	pthread_mutex_unlock(&table_lock);
}

void spm_container_own(struct container *c)
{
	pthread_mutex_lock(&table_lock);
	c->is_inherited = false;
	pthread_mutex_unlock(&table_lock);
}

static bool is_meant(const struct container *c, int magic, const char *branch)
{
	return c && c->magic == magic && !c->is_ending && !c->is_view && (!branch || !strcmp(c->branch, branch));
}

struct container *spm_container_open(int magic, const char *branch)
{
	struct container *found = NULL;

	pthread_mutex_lock(&table_lock);
	for (unsigned i = 0; i < table_top && !found; i++)
		if (is_meant(table[i], magic, branch))
			found = table[i];
	if (found)
		found->users++;
	pthread_mutex_unlock(&table_lock);
	return found;
}

int spm_container_position(struct container *c, const char *branch, struct version_found *out)
{
	int err = -ENOENT;

	pthread_mutex_lock(&c->lock); /* pCSwitch may exchange both */
	if (c->chain && !c->is_inherited && (!branch || !strcmp(c->branch, branch)))
		err = spm_chain_newest_found(c->chain, out);
	pthread_mutex_unlock(&c->lock);
	return err;
}

/* The ID of the first at or after *place, 0: none. */
static int id_next(int magic, unsigned *place)
{
	int id = 0;

	pthread_mutex_lock(&table_lock);
	for (; *place < table_top && !id; ++*place)
		if (table[*place] && table[*place]->magic == magic && !table[*place]->is_ending &&
		    !table[*place]->is_inherited)
			id = table[*place]->id;
	pthread_mutex_unlock(&table_lock);
	return id;
}

int spm_containers_sync(int magic)
{
	unsigned place = 0;
	int id, result = 0;

	while (!result && (id = id_next(magic, &place)))
		result = pSync(id);
	return result;
}

struct container *spm_container_next(unsigned *place)
{
	struct container *c = NULL;

	pthread_mutex_lock(&table_lock);
	for (; *place < table_top && !c; ++*place)
		c = table[*place] && !table[*place]->is_ending ? table[*place] : NULL;
	if (c)
		c->users++;
	pthread_mutex_unlock(&table_lock);
	return c;
}

void spm_containers_settle(void)
{
	struct container *c;
	unsigned place = 0;

	while ((c = spm_container_next(&place))) {
		pthread_mutex_lock(&c->lock);
		while (c->is_busy)
			pthread_cond_wait(&c->changed, &c->lock);
		pthread_mutex_unlock(&c->lock);
		spm_container_put(c);
	}
}

void spm_arena_owner(uint32_t arena, char *words, size_t room)
{
	pthread_mutex_lock(&table_lock);
	for (unsigned i = 0; arena && i < table_top; i++)
		if (table[i] && table[i]->arena == arena)
			snprintf(words, room, "container %d, which is open (%s)", table[i]->magic, table[i]->branch);
	pthread_mutex_unlock(&table_lock);
}

void spm_containers_end(int magic)
{
	unsigned place = 0;
	int id;

	while ((id = id_next(magic, &place)))
		pCFree(id);
}

static int64_t higher(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

void spm_version_number_take(struct container *c)
{
	int64_t highest;

	pthread_mutex_lock(&table_lock);
	highest = higher(c->number, c->number_seen);
	for (unsigned i = 0; i < table_top; i++)
		if (table[i] && table[i]->magic == c->magic)
			highest = higher(highest, higher(table[i]->number, table[i]->number_seen));
	c->number = highest + 1;
	pthread_mutex_unlock(&table_lock);
}

/* Table locked: those that stay open must know what it had. */
static void number_leave(const struct container *c)
{
	for (unsigned i = 0; i < table_top; i++)
		if (table[i] && table[i]->magic == c->magic)
			table[i]->number_seen = higher(table[i]->number_seen, higher(c->number, c->number_seen));
}

void spm_version_number_see(struct container *c, int64_t number)
{
	pthread_mutex_lock(&table_lock);
	c->number_seen = higher(c->number_seen, number);
	pthread_mutex_unlock(&table_lock);
}

void spm_version_number_settle(struct container *c, int64_t number)
{
	pthread_mutex_lock(&table_lock);
	c->number = number;
	pthread_mutex_unlock(&table_lock);
}

void spm_container_each(void (*fn)(struct container *c, void *arg), void *arg)
{
	for (unsigned i = 0; i < table_top; i++)
		if (table[i])
			fn(table[i], arg);
}

static void locks_init(struct container *c)
{
	pthread_condattr_t monotonic;

	pthread_mutex_init(&c->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&c->changed, &monotonic);
	pthread_cond_init(&c->work, &monotonic);
	pthread_condattr_destroy(&monotonic);
}

struct container *spm_container_new(int magic)
{
	struct container *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->magic = magic;
	strcpy(c->branch, "main");
	spm_attr_default(&c->attr);
	locks_init(c);
	c->marks = spm_marks_new();
	c->outside = spm_outside_new();
	c->arena = spm_arena_new();
	if (c->marks && c->outside)
		return c;
	spm_container_free(c);
	return NULL;
}

void spm_container_leave(struct container *c)
{
	if (c->lazy)
		spm_lazy_leave(c->lazy);
	c->lazy = NULL;
	if (c->log)
		spm_log_leave(c->log);
	c->log = NULL;
	if (c->chain)
		spm_chain_leave(c->chain);
	c->chain = NULL;
}

void spm_container_free(struct container *c)
{
	if (c->is_inherited)
		spm_container_leave(c);
	if (c->lazy)
		spm_lazy_free(c->lazy);
	if (c->log)
		spm_log_close(c->log);
	if (c->chain)
		spm_chain_close(c->chain);
	spm_marks_free(c->marks);
	if (c->outside)
		spm_outside_free(c->outside);
	spm_image_free(&c->image);
	pthread_cond_destroy(&c->changed);
	pthread_cond_destroy(&c->work);
	pthread_mutex_destroy(&c->lock);
	spm_hints_free(&c->hints);
	spm_kinds_free(c->kinds);
	spm_plain_free(&c->plain);
	spm_typing_check_end(c);
	spm_types_free(c->types);
	free(c->left.pointer);
	spm_restore_end(c);
	spm_arena_end(c->arena);
	free(c);
}

/* Puts c at a free place and gives it its ID; false if there is no place. */
static bool table_add(struct container *c)
{
	unsigned place = 0;

	spm_capture_begin();
	pthread_mutex_lock(&table_lock);
	while (place < CONTAINERS_MOST && table[place])
		place++;
	if (place < CONTAINERS_MOST) {
		c->id = (int)((generation++ % 100000) * CONTAINERS_MOST + place + 1);
		table[place] = c;
		if (place >= table_top)
			table_top = place + 1;
	}
	pthread_mutex_unlock(&table_lock);
	spm_capture_end();
	return place < CONTAINERS_MOST;
}

static void table_remove(struct container *c)
{
	spm_capture_begin();
	pthread_mutex_lock(&table_lock);
	table[place_of(c->id)] = NULL;
	number_leave(c);
	pthread_mutex_unlock(&table_lock);
	spm_capture_end();
}

int spm_worker_start(struct container *c)
{
	sigset_t all, before;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&c->worker, NULL, spm_worker_main, c);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return err;
}

static void worker_end(struct container *c)
{
	pthread_mutex_lock(&c->lock);
	c->is_ending = true;
	pthread_cond_signal(&c->work);
	pthread_mutex_unlock(&c->lock);
	pthread_join(c->worker, NULL);
}

int spm_container_start(struct container *c)
{
	int err = spm_worker_start(c);

	if (err) {
		spm_fail(ENOMEM,
		         "no memory for the thread that writes container %d (%s): call again when there is some",
		         c->magic, strerror(err));
	} else if (table_add(c)) {
		return c->id;
	} else {
		worker_end(c);
		spm_fail(EMFILE, "%d containers are open, more are not possible in one process", CONTAINERS_MOST);
	}
	err = errno;
	spm_container_free(c);
	errno = err;
	return -1;
}

struct holding {
	const struct container *except;
	struct span *span;
	struct slotset alone;
	bool has_others;
};

static void others_keep(struct container *c, void *arg)
{
	struct holding *h = arg;
	struct slotset theirs = spm_marks_live(c->marks, h->span);

	if (c == h->except)
		return;
	h->has_others |= !slotset_empty(&theirs) || spm_hints_name(&c->hints, h->span);
	for (unsigned w = 0; w < SPM_SLOT_WORDS; w++)
		h->alone.word[w] &= ~theirs.word[w];
}

struct slotset spm_container_alone(const struct container *c, struct span *s, const struct slotset *slots,
                                   bool *has_others)
{
	struct holding h = {.except = c, .span = s, .alone = *slots};

	spm_container_each(others_keep, &h);
	*has_others = h.has_others;
	return h.alone;
}

static void shared_note(struct span *s, const struct slotset *live, void *arg)
{
	struct container *c = arg;
	bool has_others;
	struct slotset alone = spm_container_alone(c, s, live, &has_others);

	if (memcmp(&alone, live, sizeof(*live)))
		c->is_shared = true;
}

/* What others hold must come in still; the rest need not. */
static void lazy_end(struct container *c)
{
	spm_capture_begin();
	spm_marks_each_span(c->marks, shared_note, c);
	spm_capture_end();
	if (c->is_shared)
		spm_lazy_finish(c->lazy);
}

/* Gives back the span's slots that only this container held. */
static void span_forget(struct span *s, const struct slotset *live, void *arg)
{
	bool has_others;
	struct slotset alone = spm_container_alone(arg, s, live, &has_others);

	if (!has_others)
		s->is_marked = 0;
	for (unsigned i = 0; i < s->slots; i++)
		if (slotset_has(&alone, i) && spm_slot_is_allocated(s, i))
			spm_heap_free((void *)(uintptr_t)spm_slot_address(s, i));
}

static void stop_note(struct container *c, void *arg)
{
	*(bool *)arg |= !c->is_inherited && !c->is_view && spm_capture_stops(c);
}

/* Of all containers: each of them is looked through. */
static int all_reach(void)
{
	bool stop = false;

	pthread_mutex_lock(&table_lock);
	spm_container_each(stop_note, &stop);
	pthread_mutex_unlock(&table_lock);
	return spm_capture_reach(stop);
}

/* What was made since the last point goes, too; what another container has come to since its own last point stays. What the program has freed
 * may be another's by now. If all that can't be told, all stays. */
void spm_container_forget(struct container *c)
{
	int err = !c->id ? 0 : c->is_inherited ? spm_capture_drain() : all_reach();

	if (c->lazy) {
		lazy_end(c);
		if (c->id && !err)
			err = spm_capture_drain(); /* that may have taken its time */
	}
	if (err)
		return;
	spm_capture_begin();
	spm_marks_each_span(c->marks, span_forget, c);
	spm_capture_end();
}

void spm_container_end(struct container *c)
{
	pthread_mutex_lock(&table_lock);
	c->is_ending = true;
	while (c->users)
		pthread_cond_wait(&table_changed, &table_lock);
	pthread_mutex_unlock(&table_lock);
	if (!c->is_inherited)
		worker_end(c);
	spm_container_forget(c);
	table_remove(c);
	spm_container_free(c);
}

void pCFree(int cID)
{
	struct container *c;

	if (spm_heapimage_is_id(cID)) {
		spm_heapimage_close(cID);
		return;
	}
	c = spm_container_get(cID);
	if (!c)
		return;
	spm_container_put(c);
	spm_container_end(c);
}

/* n bytes; in file:PATH %3f is a byte, too. */
static void path_decode(const char *from, size_t n, bool is_coded, char *path)
{
	const char *end = from + n;

	while (from < end) {
		char hex[3] = "";
		bool is_byte = is_coded && *from == '%' && end - from > 2 && isxdigit((unsigned char)from[1]) &&
		               isxdigit((unsigned char)from[2]) && memcmp(from + 1, "00", 2) != 0;

		if (is_byte)
			memcpy(hex, from + 1, 2);
		*path++ = is_byte ? (char)strtoul(hex, NULL, 16) : *from;
		from += is_byte ? 3 : 1;
	}
	*path = 0;
}

/* PATH, file:PATH, with ?wait=SECONDS. */
static int uri_parse(const char *uri, char *path, size_t room, unsigned *wait_ms)
{
	const bool is_coded = !strncmp(uri, "file:", 5);
	const char *from = is_coded ? uri + 5 : uri, *query = strchr(from, '?');
	size_t n = query ? (size_t)(query - from) : strlen(from);
	char *end;
	double seconds = 0;

	if (!n || n >= room)
		return spm_fail(EINVAL, "volume \"%s\": the path is empty or too long", uri);
	if (query) {
		if (strncmp(query, "?wait=", 6))
			return spm_fail(EINVAL, "volume \"%s\": only ?wait=SECONDS may follow the path", uri);
		seconds = strtod(query + 6, &end);
		if (*end || end == query + 6 || !(seconds >= 0 && seconds < 1e6))
			return spm_fail(EINVAL, "volume \"%s\": \"%s\" is no number of seconds", uri, query + 6);
	}
	path_decode(from, n, is_coded, path);
	*wait_ms = (unsigned)(seconds * 1000);
	return 0;
}

/* Table locked. */
static int volume_open(const char *uri)
{
	char path[sizeof(volume_path)], why[512] = "";
	struct driver *driver;
	unsigned wait_ms = 0;
	int err;

	if (uri_parse(uri, path, sizeof(path), &wait_ms))
		return -1;
	err = spm_driver_file_open(path, DRIVER_CREATE, &driver, why);
	if (err)
		return spm_fail(-err, "%s", *why ? why : strerror(-err));
	err = spm_volume_open(driver, VOLUME_CREATE, &volume);
	if (err) {
		volume = NULL;
		return spm_fail(-err, "volume %s: %s", path, spm_volume_error_of(err));
	}
	memcpy(volume_path, path, sizeof(path));
	volume_wait_ms = wait_ms;
	return 0;
}

struct volume *spm_volume_current(void)
{
	const char *uri = getenv("SOFTPM_VOLUME");

	if (is_forked_child) {
		fail_in_child();
		return NULL;
	}
	pthread_mutex_lock(&table_lock);
	if (!volume)
		volume_open(uri && *uri ? uri : "softpm.vol");
	pthread_mutex_unlock(&table_lock);
	return volume;
}

unsigned spm_volume_wait_ms(void)
{
	return volume_wait_ms;
}

int pVOpen(const char *uri)
{
	int result;

	if (is_forked_child)
		return fail_in_child();
	if (!uri)
		return spm_fail(EINVAL, "pVOpen: no volume given");
	pthread_mutex_lock(&table_lock);
	if (volume)
		result = spm_fail(EBUSY, "volume %s is open; close it first with pVClose", volume_path);
	else
		result = volume_open(uri);
	pthread_mutex_unlock(&table_lock);
	return result;
}

int pVClose(void)
{
	char why[512];
	int failed = 0, error = 0;

	if (is_forked_child)
		return fail_in_child();
	for (unsigned i = 0; i < table_top; i++) {
		if (!table[i])
			continue;
		if (!table[i]->is_inherited && pSync(table[i]->id)) {
			failed = -1;
			error = errno;
			snprintf(why, sizeof(why), "%s", pErrorMsg());
		}
		spm_container_end(table[i]);
	}
	pthread_mutex_lock(&table_lock);
	if (volume)
		spm_volume_close(volume);
	volume = NULL;
	if (heir)
		heir->ops->close(heir);
	heir = NULL;
	pthread_mutex_unlock(&table_lock);
	return failed ? spm_fail(error, "%s", why) : 0;
}

/* ---- around a fork: see fork.c ---- */

struct container *spm_table_hold_next(void)
{
	struct container *c = NULL;

	pthread_mutex_lock(&table_lock);
	for (unsigned i = 0; i < table_top && !c; i++)
		if (table[i] && !table[i]->is_ending && !table[i]->is_forking)
			c = table[i];
	if (c) {
		c->is_forking = true;
		c->users++;
	}
	pthread_mutex_unlock(&table_lock);
	return c;
}

bool spm_table_release_next(struct container **out)
{
	struct container *c = NULL;

	pthread_mutex_lock(&table_lock);
	for (unsigned i = 0; i < table_top && !c; i++)
		if (table[i] && table[i]->is_forking)
			c = table[i];
	if (c)
		c->is_forking = false;
	pthread_mutex_unlock(&table_lock);
	*out = c;
	return c;
}

bool spm_table_lock_held(void)
{
	bool is_held = true;

	pthread_mutex_lock(&table_lock);
	for (unsigned i = 0; i < table_top; i++)
		is_held &= !table[i] || table[i]->is_ending || table[i]->is_forking;
	if (!is_held)
		pthread_mutex_unlock(&table_lock);
	return is_held;
}

void spm_table_unlock(void)
{
	pthread_mutex_unlock(&table_lock);
}

static int pins_take(struct driver *by)
{
	int err = 0;

	for (unsigned i = 0; i < table_top && !err; i++)
		if (table[i] && table[i]->is_forking && !table[i]->is_view && table[i]->durable)
			err = spm_chain_pin_for(table[i]->chain, by, true);
	return err;
}

int spm_table_heir(struct driver **out)
{
	int err = is_forked_child ? heir->ops->again(heir, out) : spm_volume_heir(volume, out);

	if (!err) {
		err = pins_take(*out);
		if (err)
			spm_table_heir_close(*out);
	}
	return err;
}

bool spm_table_has_heritage(void)
{
	bool has = false;

	for (unsigned i = 0; i < table_top; i++)
		has |= table[i] && table[i]->is_forking && !table[i]->is_view && table[i]->durable;
	return has && (volume || heir);
}

void spm_table_heir_close(struct driver *d)
{
	if (is_forked_child)
		d->ops->close(d);
	else
		spm_volume_heir_close(volume, d);
}

/* Without the threads of the parent: nobody is at it, or waits for it. */
static void container_inherit(struct container *c)
{
	locks_init(c);
	spm_image_leave(&c->image);
	c->is_busy = c->is_handed_over = c->is_taken = c->is_halted = c->is_tended = c->is_forking = false;
	c->is_worker_asleep = c->is_worker_batch = c->is_upkeep_far = false;
	c->upkeep_ns = 0;
	c->users = 0;
	c->pointing = c->recording = (struct group){.first = NULL};
	c->failed = 0;
	c->is_inherited = true;
}

void spm_table_after_fork_in_child(struct driver *inherited, bool is_routed)
{
	pthread_mutex_init(&table_lock, NULL);
	pthread_cond_init(&table_changed, NULL);
	for (unsigned i = 0; i < table_top; i++) {
		if (table[i] && table[i]->is_ending) /* the thread that ended it is not here */
			table[i] = NULL;
		if (!table[i])
			continue;
		container_inherit(table[i]);
		table[i]->wants_full_trace |= !is_routed;
	}
	if (volume)
		spm_volume_leave(volume);
	if (heir)
		heir->ops->close(heir);
	is_forked_child |= volume != NULL;
	volume = NULL;
	heir = inherited;
}

int spm_volume_inherit(bool *is_new)
{
	struct driver *d = NULL;
	int err = 0;

	pthread_mutex_lock(&table_lock);
	*is_new = !volume;
	if (!volume) {
		err = heir->ops->again(heir, &d);
		if (!err)
			err = spm_volume_open(d, 0, &volume);
		volume = err ? NULL : volume;
		is_forked_child = err;
	}
	pthread_mutex_unlock(&table_lock);
	return err;
}

void spm_volume_disinherit(void)
{
	pthread_mutex_lock(&table_lock);
	spm_volume_close(volume);
	volume = NULL;
	is_forked_child = true;
	pthread_mutex_unlock(&table_lock);
}

struct driver *spm_volume_heirloom(void)
{
	return heir;
}
