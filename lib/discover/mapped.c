/* mapped.c - see mapped.h.
 *
 * Modules come from the loader, which counts what it loads and unloads: nothing is done while the counts stay. Other
 * mappings come from /proc/self/maps, which is dear (30 us and more), so it is read only when an address is
 *
 *   in no known mapping, but within 1 GiB of one    integers hardly ever are
 *   and mapped, says mincore(2)                     0.2 us; a dangling pointer ends here
 *
 * Below 4 GiB, where a program that is not position independent has its data and where any integer may point, new
 * mappings are not looked for; libc's heap is known to end where sbrk(0) says. A mapping of 1 TiB or more is a reservation
 * (AddressSanitizer's shadow, which any 40-bit integer would hit), not memory that a program points into.
 */
#include "discover/mapped.h"
#include "heap/heap.h"
#include "heap/tables.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

enum { WHAT_BYTES = 48 };
static const uint64_t near_bytes = UINT64_C(1) << 30;
static const uint64_t reservation_bytes = UINT64_C(1) << 40;
static const uint64_t integers_end = UINT64_C(1) << 32;
static const uint64_t user_end = UINT64_C(1) << 47;

struct range {
	uint64_t start, end;
	uint32_t module;
};

struct mapping {
	uint64_t start, end;
	bool is_brk;
	char what[WHAT_BYTES];
};

static struct {
	pthread_mutex_t lock;
	struct module_here **module;
	unsigned count, room;
	struct range *range; /* of all modules, by address */
	size_t ranges, range_room;
	unsigned long long adds, subs;
	bool is_known;
	uint32_t generation;
	struct mapping *map; /* by address */
	size_t maps, map_room;
	_Atomic uint64_t floor;
	uint64_t missed; /* page of the last address found unmapped, since the lock was taken */
} here = {.lock = PTHREAD_MUTEX_INITIALIZER, .floor = 0x10000};

void spm_mapped_lock(void)
{
	pthread_mutex_lock(&here.lock);
	here.missed = 0;
}

void spm_mapped_unlock(void)
{
	pthread_mutex_unlock(&here.lock);
}

uint32_t spm_mapped_generation(void)
{
	return here.generation;
}

uint64_t spm_mapped_floor(void)
{
	return atomic_load_explicit(&here.floor, memory_order_relaxed);
}

unsigned spm_mapped_modules(void)
{
	return here.count;
}

struct module_here *spm_mapped_module(unsigned i)
{
	return here.module[i];
}

/* Makes room for one more element; false and unchanged if there is no memory. */
static bool room_for_one(void **array, size_t count, size_t *room, size_t bytes)
{
	void *more;

	if (count < *room)
		return true;
	more = realloc(*array, (*room * 2 + 16) * bytes);
	if (!more)
		return false;
	*array = more;
	*room = *room * 2 + 16;
	return true;
}

static void build_id_note(struct module_here *m, const ElfW(Phdr) * h)
{
	const unsigned char *at = (const unsigned char *)(uintptr_t)(m->base + h->p_vaddr);
	size_t left = h->p_memsz, pad = h->p_align == 8 ? 7 : 3;

	while (left > sizeof(ElfW(Nhdr))) {
		const ElfW(Nhdr) *n = (const void *)at;
		size_t body = (sizeof(*n) + n->n_namesz + pad) & ~pad, all = (body + n->n_descsz + pad) & ~pad;

		if (all > left)
			return;
		if (n->n_type == NT_GNU_BUILD_ID && n->n_namesz == 4 && !memcmp(n + 1, "GNU", 4)) {
			m->id_bytes = n->n_descsz < MODULE_ID_BYTES ? n->n_descsz : MODULE_ID_BYTES;
			memcpy(m->id, at + body, m->id_bytes);
			m->has_build_id = m->id_bytes > 0;
			return;
		}
		at += all;
		left -= all;
	}
}

/* A program linked without a build ID must not be taken for its rebuilt self. Its code and constants are the same in every
 * process, whatever its address. */
static void id_make(struct module_here *m, const struct dl_phdr_info *info)
{
	XXH128_hash_t sum = {0, 0};

	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *h = &info->dlpi_phdr[i];
		XXH128_hash_t part;

		if (h->p_type != PT_LOAD || h->p_flags & PF_W || !(h->p_flags & PF_R))
			continue;
		part = XXH3_128bits_withSeed((const void *)(uintptr_t)(m->base + h->p_vaddr), h->p_filesz,
		                             sum.low64 + h->p_vaddr);
		sum.low64 = part.low64 ^ sum.high64;
		sum.high64 = part.high64;
	}
	memcpy(m->id, &sum, sizeof(sum));
	m->id_bytes = sizeof(sum);
}

static bool path_note(struct module_here *m, const struct dl_phdr_info *info)
{
	static const char gone[] = " (deleted)";
	const char *slash;
	ssize_t n;

	strncpy(m->path, info->dlpi_name ? info->dlpi_name : "", sizeof(m->path) - 1);
	if (!*m->path) {
		n = here.count ? -1 : readlink("/proc/self/exe", m->path, sizeof(m->path) - 1);
		if (n <= 0)
			return false;
		if ((size_t)n >= sizeof(gone) && !strcmp(m->path + n - sizeof(gone) + 1, gone))
			m->path[(size_t)n - sizeof(gone) + 1] = 0; /* replaced while it runs */
		m->is_main = true;
	}
	slash = strrchr(m->path, '/');
	slash = slash ? slash + 1 : m->path;
	memcpy(m->name, slash, strnlen(slash, sizeof(m->name) - 1));
	return strncmp(m->name, "linux-vdso", 10) && strncmp(m->name, "linux-gate", 10);
}

static void ranges_note(struct module_here *m, const struct dl_phdr_info *info)
{
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *h = &info->dlpi_phdr[i];

		if (h->p_type == PT_NOTE && !m->has_build_id)
			build_id_note(m, h);
		if (h->p_type != PT_LOAD || m->ranges == MODULE_RANGES_MOST)
			continue;
		m->start[m->ranges] = m->base + h->p_vaddr;
		m->end[m->ranges++] = m->base + h->p_vaddr + h->p_memsz;
	}
	if (!m->has_build_id)
		id_make(m, info);
}

static int module_note(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct module_here *m;
	size_t room = here.room;

	(void)size, (void)arg;
	here.adds = info->dlpi_adds;
	here.subs = info->dlpi_subs;
	if (!room_for_one((void **)&here.module, here.count, &room, sizeof(*here.module)))
		return 0;
	here.room = (unsigned)room;
	m = calloc(1, sizeof(*m));
	if (!m)
		return 0;
	m->base = info->dlpi_addr;
	if (!path_note(m, info)) {
		free(m);
		return 0;
	}
	ranges_note(m, info);
	here.module[here.count++] = m;
	return 0;
}

static int range_order(const void *left, const void *right)
{
	const struct range *a = left, *b = right;

	return a->start < b->start ? -1 : a->start > b->start;
}

static void ranges_sort(void)
{
	here.ranges = 0;
	for (unsigned i = 0; i < here.count; i++)
		for (unsigned r = 0; r < here.module[i]->ranges; r++)
			if (room_for_one((void **)&here.range, here.ranges, &here.range_room, sizeof(*here.range)))
				here.range[here.ranges++] =
				        (struct range){here.module[i]->start[r], here.module[i]->end[r], i};
	if (here.ranges)
		qsort(here.range, here.ranges, sizeof(*here.range), range_order);
}

/* --- other mappings --- */

static const char *hex_read(const char *at, uint64_t *out)
{
	for (*out = 0;; at++) {
		if (*at >= '0' && *at <= '9')
			*out = *out << 4 | (uint64_t)(*at - '0');
		else if (*at >= 'a' && *at <= 'f')
			*out = *out << 4 | (uint64_t)(*at - 'a' + 10);
		else
			return at;
	}
}

static void what_note(struct mapping *m, const char *name)
{
	m->is_brk = !strcmp(name, "[heap]");
	if (!*name)
		name = "anonymous memory";
	else if (m->is_brk)
		name = "heap of libc";
	else if (!strcmp(name, "[stack]"))
		name = "stack";
	memset(m->what, 0, sizeof(m->what));
	memcpy(m->what, name, strnlen(name, sizeof(m->what) - 1));
}

/* START-END PERMS OFFSET DEVICE INODE   NAME */
static void map_note(const char *line)
{
	uint64_t start, end;
	const char *at = hex_read(line, &start);

	if (*at != '-')
		return;
	at = hex_read(at + 1, &end);
	if (!strncmp(at, " ---",
	             4)) /* nobody points into what can't be touched, but text and numbers may look like it */
		return;
	if (start >= user_end || end - start >= reservation_bytes || (start < SPM_WINDOW_END && end > SPM_WINDOW_START))
		return;
	for (unsigned field = 0; field < 4; field++) {
		at += strspn(at, " ");
		at += strcspn(at, " ");
	}
	if (!room_for_one((void **)&here.map, here.maps, &here.map_room, sizeof(*here.map)))
		return;
	here.map[here.maps].start = start;
	here.map[here.maps].end = end;
	what_note(&here.map[here.maps++], at + strspn(at, " "));
}

static void floor_set(void)
{
	uint64_t floor = here.maps ? here.map[0].start : 0;

	if (here.ranges && here.range[0].start < floor)
		floor = here.range[0].start;
	atomic_store_explicit(&here.floor, floor > 0x10000 ? floor : 0x10000, memory_order_relaxed);
}

static void maps_read(void)
{
	char buffer[8192], line[512];
	size_t used = 0;
	ssize_t n;
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);

	here.maps = 0;
	while (fd >= 0 && ((n = read(fd, buffer, sizeof(buffer))) > 0 || (n < 0 && errno == EINTR)))
		for (ssize_t i = 0; i < n; i++)
			if (buffer[i] == '\n') {
				line[used] = 0;
				map_note(line);
				used = 0;
			} else if (used < sizeof(line) - 1)
				line[used++] = buffer[i];
	if (fd >= 0)
		close(fd);
	floor_set();
}

/* --- both --- */

static int loader_counts(struct dl_phdr_info *info, size_t size, void *arg)
{
	unsigned long long *counts = arg;

	(void)size;
	counts[0] = info->dlpi_adds;
	counts[1] = info->dlpi_subs;
	return 1;
}

void spm_mapped_refresh(void)
{
	unsigned long long counts[2] = {0};

	dl_iterate_phdr(loader_counts, counts);
	if (here.is_known && counts[0] == here.adds && counts[1] == here.subs)
		return;
	while (here.count) {
		struct module_here *m = here.module[--here.count];

		spm_elfsyms_free(m->syms);
		free(m);
	}
	dl_iterate_phdr(module_note, NULL);
	ranges_sort();
	maps_read();
	here.generation++;
	here.is_known = true;
}

struct module_here *spm_mapped_module_at(uint64_t address)
{
	size_t low = 0, high = here.ranges;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (here.range[middle].end <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low < here.ranges && here.range[low].start <= address ? here.module[here.range[low].module] : NULL;
}

bool spm_module_has(const struct module_here *m, uint64_t address)
{
	for (unsigned r = 0; r < m->ranges; r++)
		if (address - m->start[r] < m->end[r] - m->start[r])
			return true;
	return false;
}

const struct elfsyms *spm_module_syms(struct module_here *m)
{
	if (!m->syms_were_read) /* the main program's path may have been replaced: the link leads to what runs */
		m->syms = spm_elfsyms_read(m->is_main ? "/proc/self/exe" : m->path, m->id,
		                           m->has_build_id ? m->id_bytes : 0);
	m->syms_were_read = true;
	return m->syms;
}

static const struct mapping *mapping_at(uint64_t address, bool *is_near)
{
	size_t low = 0, high = here.maps;
	const struct mapping *before, *after;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (here.map[middle].end <= address)
			low = middle + 1;
		else
			high = middle;
	}
	before = low > 0 ? &here.map[low - 1] : NULL;
	after = low < here.maps ? &here.map[low] : NULL;
	if (after && after->start <= address)
		return after;
	if (before && before->is_brk && address < (uintptr_t)sbrk(0))
		return before;
	*is_near = (before && address - before->end < near_bytes) || (after && after->start - address < near_bytes);
	return NULL;
}

static bool is_mapped(uint64_t address)
{
	unsigned char residency;
	uint64_t page = address & ~UINT64_C(4095);

	if (page == here.missed)
		return false;
	if (!mincore((void *)(uintptr_t)page, SPM_PAGE_BYTES, &residency) || errno != ENOMEM)
		return true;
	here.missed = page;
	return false;
}

const char *spm_mapped_other(uint64_t address)
{
	bool is_near = false;
	int was = errno;
	const struct mapping *m = mapping_at(address, &is_near);

	if (!m && is_near && address >= integers_end && is_mapped(address)) {
		maps_read();
		m = mapping_at(address, &is_near);
		if (!m)
			here.missed = address & ~UINT64_C(4095);
	}
	errno = was;
	return m && !spm_table_has(address) ? m->what : NULL;
}
