/* keep.c - what of memcached is in a version.
 *
 * Slab pages and hash tables are in SoftPM's heap, as memory without pointers: they hold addresses of each other only, and lie
 * where they lay when they come back. Statics that lead to them are copied into the container at each point, where they changed, and
 * back after a restore; that costs memcached's code no indirection. What connections and bump buffers hold of items is written down,
 * for after a restore nobody holds anything.
 */
#include "adapter.h"
#include "shown.h"

#include <errno.h>
#include <softpm.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

enum { FORMAT = 4, KEPT_MOST = 40, PIECE = 256 };

/* Options that a cache is made with, and can't change. */
struct made_with {
	double factor;
	int chunk_size, item_size_max, slab_chunk_size_max, slab_page_size;
	int use_cas, lru_segmented;
	int whole_pages; /* else a slab page has only the bytes that its chunks take, and can be given to no other class */
	char hash[16];
};

struct cache {
	struct spm_shown_items items;
	uint64_t format, layout;
	struct made_with made;
	uint64_t limit, limit_option; /* of memory: now (cache_memlimit), and by -m */
	int64_t started;              /* when the cache began: what its times count from */
	uint32_t clock;               /* the latest of them */
	uint32_t oldest_live;
	uint64_t oldest_cas;
	struct stats_state state;
	struct stats stats;
	unsigned char *statics; /* those of spm_port_keep, one behind the other */
	unsigned char *thread_stats;
	crawler *crawlers;
	item **held; /* so often each is held by who is not there after a restore */
	uint64_t n_held, room_held;
};

static struct {
	struct {
		const char *name;
		void *p;
		size_t bytes;
	} part[KEPT_MOST];
	unsigned parts;
	size_t bytes;
	uint64_t layout; /* hash of their names and sizes */
} statics = {.layout = 0xcbf29ce484222325};
static struct cache *cache;
static bool is_short; /* no memory for the list of held items */

/* FNV-1a. */
static uint64_t fold(uint64_t sum, const void *p, size_t bytes)
{
	for (const unsigned char *at = p; bytes; bytes--)
		sum = (sum ^ *at++) * 0x100000001b3;
	return sum;
}

void spm_port_keep(const char *name, void *p, size_t bytes)
{
	if (statics.parts == KEPT_MOST)
		abort();
	statics.layout = fold(fold(statics.layout, name, strlen(name) + 1), &bytes, sizeof(bytes));
	statics.part[statics.parts].name = name;
	statics.part[statics.parts].p = p;
	statics.part[statics.parts++].bytes = bytes;
	statics.bytes += (bytes + 7) & ~(size_t)7; /* words stay aligned */
}

SPM_PORT_KEEP(hashpower)
SPM_PORT_KEEP(slab_rebal)
SPM_PORT_KEEP(slab_rebalance_signal)

/* ---- the heap ---- */

/* Before spm_port_open nothing is allocated by who uses these. */
void *spm_port_malloc(size_t bytes)
{
	return spm_port.volume ? pMallocNoPtr(bytes) : malloc(bytes);
}

void *spm_port_calloc(size_t n, size_t bytes)
{
	return spm_port.volume ? pMallocNoPtr(n * bytes) : calloc(n, bytes);
}

/* Lists of slab pages: what keeps these reachable. */
void *spm_port_realloc(void *p, size_t bytes)
{
	return spm_port.volume ? pRealloc(p, bytes) : realloc(p, bytes);
}

void spm_port_free(void *p)
{
	if (spm_port.volume)
		pFree(p);
	else
		free(p);
}

void *spm_port_crawlers(size_t n, size_t bytes)
{
	if (!spm_port.volume)
		return calloc(n, bytes);
	if (!cache->crawlers)
		cache->crawlers = pMallocNoPtr(n * bytes);
	if (!cache->crawlers)
		spm_port_die("the crawlers");
	return cache->crawlers;
}

/* ---- at each point ---- */

static void copy_changed(unsigned char *to, const unsigned char *from, size_t bytes)
{
	for (size_t at = 0; at < bytes; at += PIECE) {
		size_t n = bytes - at < PIECE ? bytes - at : PIECE;

		if (memcmp(to + at, from + at, n))
			memcpy(to + at, from + at, n);
	}
}

void spm_port_held(void *p)
{
	if (cache->n_held == cache->room_held) {
		uint64_t room = cache->room_held ? cache->room_held * 2 : 64;
		item **held = pRealloc(cache->held, room * sizeof(*held));

		if (!held) {
			is_short = true;
			return;
		}
		cache->held = held;
		cache->room_held = room;
	}
	if (cache->held[cache->n_held] != p)
		cache->held[cache->n_held] = p;
	cache->n_held++;
}

static int held_list(void)
{
	uint64_t before = cache->n_held;

	is_short = false;
	cache->n_held = 0;
	spm_gates_held();
	item_bumps_held();
	if (before > cache->n_held)
		memset(cache->held + cache->n_held, 0, (before - cache->n_held) * sizeof(*cache->held));
	errno = ENOMEM;
	return is_short ? -1 : 0;
}

/* Counters of the workers: the sum, once a second. */
static void thread_stats_copy(void)
{
	static rel_time_t last;
	struct thread_stats sum;

	if (last == current_time)
		return;
	last = current_time;
	threadlocal_stats_aggregate(&sum);
	memset(&sum.mutex, 0, sizeof(sum.mutex));
	sum.response_obj_count = sum.response_obj_bytes = 0; /* what there is just now */
	sum.read_buf_count = sum.read_buf_bytes = sum.read_buf_bytes_free = 0;
	copy_changed(cache->thread_stats, (unsigned char *)&sum, sizeof(sum));
}

static void kept_get(const char *name, void *to, size_t bytes)
{
	for (unsigned i = 0; i < statics.parts; i++)
		if (!strcmp(statics.part[i].name, name) && statics.part[i].bytes == bytes)
			memcpy(to, statics.part[i].p, bytes);
}

static void items_show(void)
{
	struct spm_shown_items items = {.mark = SPM_SHOWN_MARK,
	                                .next_at = offsetof(item, h_next),
	                                .bytes_at = offsetof(item, nbytes),
	                                .flags_at = offsetof(item, it_flags),
	                                .key_bytes_at = offsetof(item, nkey),
	                                .data_at = offsetof(item, data),
	                                .has_cas = ITEM_CAS,
	                                .has_client_flags = ITEM_CFLAGS,
	                                .in_chunks = ITEM_CHUNKED};
	unsigned bucket = 0;
	bool is_expanding = false;

	kept_get("primary_hashtable", &items.table, sizeof(items.table));
	kept_get("old_hashtable", &items.old_table, sizeof(items.old_table));
	kept_get("expanding", &is_expanding, sizeof(is_expanding));
	kept_get("expand_bucket", &bucket, sizeof(bucket));
	items.power = hashpower;
	items.is_expanding = is_expanding;
	items.expand_bucket = bucket;
	copy_changed((unsigned char *)&cache->items, (unsigned char *)&items, sizeof(items));
}

int spm_keep_capture(void)
{
	unsigned char *to = cache->statics;

	for (unsigned i = 0; i < statics.parts; i++) {
		copy_changed(to, statics.part[i].p, statics.part[i].bytes);
		to += (statics.part[i].bytes + 7) & ~(size_t)7;
	}
	cache->limit = settings.maxbytes;
	cache->clock = current_time;
	cache->oldest_live = settings.oldest_live;
	cache->oldest_cas = settings.oldest_cas;
	STATS_LOCK();
	copy_changed((unsigned char *)&cache->state, (unsigned char *)&stats_state, sizeof(stats_state));
	copy_changed((unsigned char *)&cache->stats, (unsigned char *)&stats, sizeof(stats));
	STATS_UNLOCK();
	thread_stats_copy();
	items_show();
	return held_list();
}

/* ---- start ---- */

/* Of all that lies in the container: a server that was built otherwise must not take it for its own. */
static uint64_t layout(void)
{
	static const size_t sizes[] = {sizeof(struct cache),       sizeof(item),
	                               sizeof(item_chunk),         sizeof(crawler),
	                               sizeof(struct stats),       sizeof(struct stats_state),
	                               sizeof(struct thread_stats)};

	return fold(fold(statics.layout, VERSION, sizeof(VERSION)), sizes, sizeof(sizes));
}

static struct made_with made_with(void)
{
	struct made_with m = {.factor = settings.factor,
	                      .chunk_size = settings.chunk_size,
	                      .item_size_max = settings.item_size_max,
	                      .slab_chunk_size_max = settings.slab_chunk_size_max,
	                      .slab_page_size = settings.slab_page_size,
	                      .use_cas = settings.use_cas,
	                      .lru_segmented = settings.lru_segmented};

	m.whole_pages = settings.slab_reassign || settings.slab_chunk_size_max != settings.slab_page_size;
	snprintf(m.hash, sizeof(m.hash), "%s", settings.hash_algorithm);
	return m;
}

void spm_keep_new(void)
{
	struct cattr *attr;

	spm_port.id = pCAlloc(CACHE_MAGIC, sizeof(*cache), (void **)&cache);
	if (!spm_port.id)
		spm_port_die(spm_port.volume);
	cache->format = FORMAT;
	cache->layout = layout();
	cache->limit_option = settings.maxbytes;
	cache->made = made_with();
	cache->started = process_started;
	cache->statics = pCalloc(1, statics.bytes);
	cache->thread_stats = pMallocNoPtr(sizeof(struct thread_stats));
	attr = pCGetAttr(CACHE_MAGIC);
	if (!cache->statics || !cache->thread_stats || !attr)
		spm_port_die(spm_port.volume);
	strcpy(attr->name, "memcached");
	strcpy(attr->type, "struct cache");
	attr->stop_threads = 0;                                /* gates do that */
	attr->full_trace_every = 0;                            /* nothing becomes unreachable without being freed */
	if (pCSetAttr(spm_port.id, attr)) {
		attr->type[0] = 0; /* this program has no debug information */
		if (errno != ENOENT || pCSetAttr(spm_port.id, attr))
			spm_port_die(spm_port.volume);
	}
	pCAttrFree(attr);
}

static bool differs(const char *option, double was, double is, char *why, size_t room)
{
	if (was != is)
		snprintf(why, room,
		         "the cache in %s was made with %s %.8g, not %.8g: start with that, or with another volume",
		         spm_port.volume, option, was, is);
	return was != is;
}

static bool options_differ(const struct made_with *was, char *why, size_t room)
{
	const struct made_with is = made_with();

	return differs("-f", was->factor, is.factor, why, room) ||
	       differs("-n", was->chunk_size, is.chunk_size, why, room) ||
	       differs("-I", was->item_size_max, is.item_size_max, why, room) ||
	       differs("-o slab_chunk_max", was->slab_chunk_size_max, is.slab_chunk_size_max, why, room) ||
	       differs("-o slab_page_size", was->slab_page_size, is.slab_page_size, why, room) ||
	       differs("-C (0: given)", was->use_cas, is.use_cas, why, room) ||
	       differs("-o no_modern or lru_maintainer (1: segmented lists)", was->lru_segmented, is.lru_segmented, why,
	               room) ||
	       differs("-o slab_reassign (1: slab pages of one size)", was->whole_pages, is.whole_pages, why, room);
}

/* option: of memory. */
static bool fits(const struct cache *c, uint64_t option, char *why, size_t room)
{
	if (c->format != FORMAT || c->layout != layout())
		snprintf(why, room, "the cache in %s was made by another version of this program", spm_port.volume);
	else if (options_differ(&c->made, why, room))
		return false;
	else if (strncmp(c->made.hash, made_with().hash, sizeof(c->made.hash)))
		snprintf(why, room, "the cache in %s was made with -o hash_algorithm=%.15s: start with that",
		         spm_port.volume, c->made.hash);
	else if (option < c->limit_option)
		snprintf(why, room,
		         "the cache in %s has a limit of %llu MiB of memory, and can't be made smaller: -m %llu",
		         spm_port.volume, (unsigned long long)c->limit_option >> 20,
		         ((unsigned long long)c->limit_option + 1048575) >> 20);
	else
		return true;
	return false;
}

bool spm_keep_try(const char *ref, char *why, size_t room)
{
	void *root;
	int id = pCOpenAt(CACHE_MAGIC, ref, &root);
	bool does;

	if (!id) {
		snprintf(why, room, "%s", pErrorMsg());
		return false;
	}
	does = fits(root, cache->limit_option, why, room);
	pCFree(id);
	return does;
}

/* What cache_memlimit said holds on, but for a larger -m. */
static void limit_restore(void)
{
	uint64_t option = settings.maxbytes;

	if (option == cache->limit_option || option < cache->limit)
		settings.maxbytes = cache->limit;
	cache->limit_option = option;
}

/* The crawlers were on their way; theirs is a new thread. */
static void crawlers_unlink(void)
{
	for (unsigned i = 0; cache->crawlers && i < POWER_LARGEST; i++)
		if (cache->crawlers[i].it_flags) {
			cache->crawlers[i].it_flags = 0;
			do_item_unlinktail_q((item *)&cache->crawlers[i]);
		}
}

static void held_release(void)
{
	for (uint64_t i = 0; i < cache->n_held; i++)
		do_item_remove(cache->held[i]);
	cache->n_held = 0;
}

static void clock_restore(void)
{
	int64_t now = (int64_t)time(NULL);

	if (now - cache->started < (int64_t)cache->clock) /* it was set back: as if no time had passed */
		cache->started = now - (int64_t)cache->clock;
	process_started = (time_t)cache->started;
	current_time = (rel_time_t)(now - cache->started);
	settings.oldest_live = cache->oldest_live;
	settings.oldest_cas = cache->oldest_cas;
}

static void stats_restore(void)
{
	struct stats_state now = stats_state;

	stats = cache->stats;
	stats_state = cache->state;
	stats_state.curr_conns = now.curr_conns;
	stats_state.conn_structs = now.conn_structs;
	stats_state.reserved_fds = now.reserved_fds;
	stats_state.log_watchers = now.log_watchers;
	stats_state.accepting_conns = now.accepting_conns;
	stats_state.lru_crawler_running = now.lru_crawler_running;
}

void spm_keep_restore(void *root)
{
	const unsigned char *from;
	char why[500];

	cache = root;
	if (!fits(cache, settings.maxbytes, why, sizeof(why))) {
		fprintf(stderr, "memcachedb: %s\n", why);
		exit(EX_CONFIG);
	}
	limit_restore();
	from = cache->statics;
	for (unsigned i = 0; i < statics.parts; i++) {
		memcpy(statics.part[i].p, from, statics.part[i].bytes);
		from += (statics.part[i].bytes + 7) & ~(size_t)7;
	}
	clock_restore();
	stats_restore();
	crawlers_unlink();
	held_release();
}

void spm_keep_restore_stats(void)
{
	struct thread_stats *first = &get_worker_thread(0)->stats;
	size_t skip = sizeof(first->mutex);

	memcpy((unsigned char *)first + skip, cache->thread_stats + skip, sizeof(*first) - skip);
}
