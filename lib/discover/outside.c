/* outside.c - see outside.h.
 *
 * Two process-wide caches, under one lock: the loaded modules (renewed when the loader says that it loaded or
 * unloaded something), and the other mappings (/proc/self/maps, renewed at most once a page, and only for a
 * word that lies near a known mapping but in none).
 */
#include "discover/outside.h"
#include "discover/elfsym.h"
#include "heap/heap.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CANONICAL_BASE UINT64_C(0x6b8100000000)
enum { MODULES_MOST = 126, RANGES_MOST = 8, NAME_BYTES = 128, PATH_BYTES = 512, BUILD_ID_BYTES = 32, LOADED_MOST = 256, MAPS_MOST = 4096 };
static const uint64_t near_bytes = UINT64_C(1) << 30;

struct loaded {
	uint64_t base, start[RANGES_MOST], end[RANGES_MOST];
	unsigned ranges;
	char path[PATH_BYTES];
	unsigned char build_id[BUILD_ID_BYTES];
	unsigned build_id_bytes;
};

struct mapping {
	uint64_t start, end;
	char what[48];
};

static struct {
	pthread_mutex_t lock;
	struct loaded loaded[LOADED_MOST];
	unsigned count;
	unsigned long long adds, subs;
	bool is_known;
	struct mapping map[MAPS_MOST];
	unsigned maps;
	uint64_t low; /* lowest address of any module or mapping */
} process = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* In a container's table; saved as it is. */
struct module {
	char name[NAME_BYTES]; /* of the file, without folders */
	unsigned char build_id[BUILD_ID_BYTES];
	uint32_t build_id_bytes, symbols;
};
struct symbol {
	uint32_t module;
	uint32_t is_known;
	uint64_t offset, distance;
	char name[NAME_BYTES];
};
struct table_header {
	uint64_t magic;
	uint32_t modules, symbols;
};
static const uint64_t table_magic = UINT64_C(0x3153454c55444f4d);

struct outside {
	struct module module[MODULES_MOST];
	unsigned modules;
	struct symbol *symbol;
	size_t symbols, room;
	bool has_changed;
	uint64_t last_offset; /* the symbol most often asked for is the one just asked for */
	unsigned last_module;
};

struct outside *spm_outside_new(void)
{
	return calloc(1, sizeof(struct outside));
}

void spm_outside_free(struct outside *o)
{
	free(o->symbol);
	free(o);
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static void build_id_note(struct loaded *m, const ElfW(Phdr) *h)
{
	const unsigned char *at = (const unsigned char *)(uintptr_t)(m->base + h->p_vaddr), *end = at + h->p_memsz;

	while (at + sizeof(ElfW(Nhdr)) <= end) {
		const ElfW(Nhdr) *n = (const void *)at;
		const unsigned char *name = at + sizeof(*n), *body = name + ((n->n_namesz + 3) & ~3u);

		if (n->n_type == 3 /* NT_GNU_BUILD_ID */ && n->n_namesz == 4 && !memcmp(name, "GNU", 4)) {
			m->build_id_bytes = n->n_descsz < BUILD_ID_BYTES ? n->n_descsz : BUILD_ID_BYTES;
			memcpy(m->build_id, body, m->build_id_bytes);
			return;
		}
		at = body + ((n->n_descsz + 3) & ~3u);
	}
}

static int module_note(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct loaded *m = &process.loaded[process.count];

	(void)size, (void)arg;
	process.adds = info->dlpi_adds;
	process.subs = info->dlpi_subs;
	if (process.count == LOADED_MOST)
		return 1;
	*m = (struct loaded){.base = info->dlpi_addr};
	if (*info->dlpi_name)
		snprintf(m->path, sizeof(m->path), "%s", info->dlpi_name);
	else if (process.count || readlink("/proc/self/exe", m->path, sizeof(m->path) - 1) < 0)
		return 0;
	if (strstr(m->path, "linux-vdso"))
		return 0;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *h = &info->dlpi_phdr[i];

		if (h->p_type == PT_NOTE)
			build_id_note(m, h);
		if (h->p_type != PT_LOAD || m->ranges == RANGES_MOST)
			continue;
		m->start[m->ranges] = m->base + h->p_vaddr;
		m->end[m->ranges++] = m->base + h->p_vaddr + h->p_memsz;
	}
	process.count++;
	return 0;
}

static int loader_counts(struct dl_phdr_info *info, size_t size, void *arg)
{
	unsigned long long *counts = arg;

	(void)size;
	counts[0] = info->dlpi_adds;
	counts[1] = info->dlpi_subs;
	return 1;
}

static const uint64_t shadow_bytes = (uint64_t)1 << 38;

static void map_note(const char *line)
{
	struct mapping *m = &process.map[process.maps];
	char may[8];
	int name = 0;

	if (process.maps == MAPS_MOST || sscanf(line, "%lx-%lx %7s %*s %*s %*s %n", &m->start, &m->end, may, &name) < 3)
		return;
	/* No program points into what it can't touch, nor into a sanitizer's shadow: but plain data looks like it. */
	if (!strncmp(may, "---", 3) || m->end - m->start >= shadow_bytes || m->end <= UINT64_C(1) << 32)
		return;
	if (spm_in_window(m->start) || (m->start < SPM_WINDOW_START && m->end > SPM_WINDOW_START) || m->start >= UINT64_C(1) << 47)
		return;
	snprintf(m->what, sizeof(m->what), "%s", name && line[name] ? line + name : "anonymous memory");
	if (!strcmp(m->what, "[heap]"))
		strcpy(m->what, "heap of libc");
	if (!strcmp(m->what, "[stack]"))
		strcpy(m->what, "stack");
	process.maps++;
}

static void maps_read(void)
{
	static char line[1024];
	char buffer[4096];
	size_t used = 0;
	ssize_t n;
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);

	process.maps = 0;
	while (fd >= 0 && (n = read(fd, buffer, sizeof(buffer))) > 0)
		for (ssize_t i = 0; i < n; i++) {
			if (buffer[i] != '\n') {
				if (used < sizeof(line) - 1)
					line[used++] = buffer[i];
				continue;
			}
			line[used] = 0;
			map_note(line);
			used = 0;
		}
	if (fd >= 0)
		close(fd);
	process.low = process.maps ? process.map[0].start : UINT64_MAX;
}

/* Renews what is known of modules if the loader has been at work. */
static void process_refresh(void)
{
	unsigned long long counts[2] = {0};

	dl_iterate_phdr(loader_counts, counts);
	if (process.is_known && counts[0] == process.adds && counts[1] == process.subs)
		return;
	process.count = 0;
	dl_iterate_phdr(module_note, NULL);
	maps_read();
	process.is_known = true;
}

static const struct loaded *loaded_at(uint64_t word)
{
	for (unsigned i = 0; i < process.count; i++)
		for (unsigned r = 0; r < process.loaded[i].ranges; r++)
			if (word - process.loaded[i].start[r] < process.loaded[i].end[r] - process.loaded[i].start[r])
				return &process.loaded[i];
	return NULL;
}

/* The mapping a word lies in; *is_near: in none, but close to one. Mappings are in address order. */
static const struct mapping *mapping_at(uint64_t word, bool *is_near)
{
	unsigned low = 0, high = process.maps;

	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (process.map[middle].end <= word)
			low = middle + 1;
		else
			high = middle;
	}
	if (low < process.maps && process.map[low].start <= word)
		return &process.map[low];
	*is_near = (low < process.maps && process.map[low].start - word < near_bytes) ||
	           (low > 0 && word - process.map[low - 1].end < near_bytes);
	return NULL;
}

static bool same_module(const struct module *m, const struct loaded *l)
{
	return !strcmp(m->name, base_name(l->path)) && m->build_id_bytes == l->build_id_bytes &&
	       !memcmp(m->build_id, l->build_id, m->build_id_bytes);
}

/* The module's number in the container's table; MODULES_MOST if that is full. */
static unsigned module_number(struct outside *o, const struct loaded *l)
{
	struct module *m;
	unsigned i;

	for (i = 0; i < o->modules; i++)
		if (same_module(&o->module[i], l))
			return i;
	if (i == MODULES_MOST)
		return i;
	m = &o->module[o->modules++];
	snprintf(m->name, sizeof(m->name), "%.127s", base_name(l->path));
	memcpy(m->build_id, l->build_id, BUILD_ID_BYTES);
	m->build_id_bytes = l->build_id_bytes;
	o->has_changed = true;
	return i;
}

static struct symbol *symbol_find(struct outside *o, unsigned module, uint64_t offset)
{
	for (size_t i = 0; i < o->symbols; i++)
		if (o->symbol[i].offset == offset && o->symbol[i].module == module)
			return &o->symbol[i];
	return NULL;
}

static bool symbol_room(struct outside *o)
{
	size_t room = o->room ? o->room * 2 : 64;
	struct symbol *more = o->symbols < o->room ? o->symbol : realloc(o->symbol, room * sizeof(*more));

	if (!more)
		return false;
	if (o->symbols == o->room)
		o->room = room;
	o->symbol = more;
	return true;
}

static void symbol_note(struct outside *o, unsigned module, const struct loaded *l, uint64_t offset)
{
	struct symbol *s;

	if (symbol_find(o, module, offset) || !symbol_room(o))
		return;
	s = &o->symbol[o->symbols++];
	*s = (struct symbol){.module = module, .offset = offset};
	s->is_known = spm_elfsym_name(l->path, offset, s->name, sizeof(s->name), &s->distance);
	o->has_changed = true;
}

static uint64_t canonical(struct outside *o, const struct loaded *l, uint64_t word)
{
	unsigned number = module_number(o, l);
	uint64_t offset = word - l->base;

	if (number == MODULES_MOST || offset >> 32)
		return 0;
	if (offset != o->last_offset || number != o->last_module || !o->symbols)
		symbol_note(o, number, l, offset);
	o->last_offset = offset;
	o->last_module = number;
	return CANONICAL_BASE + ((uint64_t)number << 32) + offset;
}

static bool may_be_outside(uint64_t word)
{
	return word >= process.low && word < UINT64_C(1) << 47 && !spm_in_window(word);
}

bool spm_outside_encode(struct outside *o, uint64_t *image,
                        void (*left)(unsigned offset, uint64_t value, const char *what, void *arg), void *arg)
{
	bool has_canonical = false, is_refreshed = false;

	pthread_mutex_lock(&process.lock);
	if (!process.is_known)
		process_refresh();
	for (unsigned i = 0; i < SPM_PAGE_BYTES / 8; i++) {
		uint64_t word = image[i];
		bool is_near = false;
		const struct loaded *l;
		const struct mapping *m;

		if (word < 65536 || !may_be_outside(word))
			continue;
		l = loaded_at(word);
		m = l ? NULL : mapping_at(word, &is_near);
		if (!l && !m && is_near && !is_refreshed) { /* something new may have been mapped there */
			is_refreshed = true;
			process_refresh();
			maps_read();
			i--;
			continue;
		}
		if (l) {
			image[i] = canonical(o, l, word);
			has_canonical |= image[i] != 0;
		} else if (m) {
			image[i] = 0;
			left(i * 8, word, m->what, arg);
		}
	}
	pthread_mutex_unlock(&process.lock);
	return has_canonical;
}

static const struct loaded *loaded_named(const struct module *m, bool *is_same)
{
	const struct loaded *found = NULL;

	*is_same = false;
	for (unsigned i = 0; i < process.count && !*is_same; i++)
		if (!strcmp(base_name(process.loaded[i].path), m->name)) {
			found = &process.loaded[i];
			*is_same = same_module(m, found);
		}
	return found;
}

/* The address here of a canonical word; 0 and a sentence if it has none. */
static uint64_t address_here(struct outside *o, uint64_t word, char *why, size_t room)
{
	unsigned number = (unsigned)((word - CANONICAL_BASE) >> 32);
	uint64_t offset = (uint32_t)word, at;
	const struct module *m = &o->module[number];
	const struct loaded *l;
	const struct symbol *s;
	bool is_same;

	l = loaded_named(m, &is_same);
	if (!l) {
		snprintf(why, room, "%.40s is not loaded in this process", m->name);
		return 0;
	}
	if (is_same)
		return l->base + offset;
	s = symbol_find(o, number, offset);
	if (!s || !s->is_known) {
		snprintf(why, room, "%.40s was rebuilt, and offset 0x%llx of it had no symbol", m->name, (unsigned long long)offset);
		return 0;
	}
	if (!spm_elfsym_find(l->path, s->name, &at)) {
		snprintf(why, room, "%.40s was rebuilt without %.60s", m->name, s->name);
		return 0;
	}
	return l->base + at + s->distance;
}

void spm_outside_decode(struct outside *o, uint64_t *image, size_t words,
                        void (*warn)(size_t word_index, const char *sentence, void *arg), void *arg)
{
	char why[160];

	pthread_mutex_lock(&process.lock);
	process_refresh();
	for (size_t i = 0; i < words; i++) {
		if (image[i] - CANONICAL_BASE >= (uint64_t)o->modules << 32)
			continue;
		image[i] = address_here(o, image[i], why, sizeof(why));
		if (!image[i])
			warn(i, why, arg);
	}
	pthread_mutex_unlock(&process.lock);
}

bool spm_outside_has_changed(const struct outside *o)
{
	return o->has_changed;
}

int spm_outside_save(struct outside *o, void **bytes, size_t *n)
{
	struct table_header h = {table_magic, o->modules, (uint32_t)o->symbols};
	size_t modules = o->modules * sizeof(struct module), symbols = o->symbols * sizeof(struct symbol);
	unsigned char *out = malloc(sizeof(h) + modules + symbols);

	if (!out)
		return -ENOMEM;
	memcpy(out, &h, sizeof(h));
	memcpy(out + sizeof(h), o->module, modules);
	if (symbols)
		memcpy(out + sizeof(h) + modules, o->symbol, symbols);
	*bytes = out;
	*n = sizeof(h) + modules + symbols;
	o->has_changed = false;
	return 0;
}

static bool table_is_sane(const struct outside *o)
{
	for (unsigned i = 0; i < o->modules; i++)
		if (!memchr(o->module[i].name, 0, NAME_BYTES) || o->module[i].build_id_bytes > BUILD_ID_BYTES)
			return false;
	for (size_t i = 0; i < o->symbols; i++)
		if (!memchr(o->symbol[i].name, 0, NAME_BYTES) || o->symbol[i].module >= o->modules)
			return false;
	return true;
}

int spm_outside_load(struct outside *o, const void *bytes, size_t n)
{
	struct table_header h;
	const unsigned char *at = bytes;
	struct outside was = *o;

	if (n < sizeof(h))
		return -EINVAL;
	memcpy(&h, at, sizeof(h));
	if (h.magic != table_magic || h.modules > MODULES_MOST ||
	    n != sizeof(h) + h.modules * sizeof(struct module) + (uint64_t)h.symbols * sizeof(struct symbol))
		return -EINVAL;
	o->symbol = malloc((h.symbols + 1) * sizeof(struct symbol));
	if (!o->symbol) {
		*o = was;
		return -ENOMEM;
	}
	at += sizeof(h);
	memcpy(o->module, at, h.modules * sizeof(struct module));
	memcpy(o->symbol, at + h.modules * sizeof(struct module), h.symbols * sizeof(struct symbol));
	o->modules = h.modules;
	o->symbols = h.symbols;
	o->room = h.symbols + 1;
	o->has_changed = false;
	if (table_is_sane(o)) {
		free(was.symbol);
		return 0;
	}
	free(o->symbol);
	*o = was;
	return -EINVAL;
}
