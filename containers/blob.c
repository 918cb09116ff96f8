/* blob.c - what a version knows beside its heap pages: the table of modules and symbols that its outward pointers mean,
 * the program's hints, and the types that its root leads to.
 *
 *   | bytes of table u64, of hints u32, of types u32 | table | hints | types |      from page SPM_BLOB_PAGE on
 *
 * The list of plain numbers (plain.h), if there are any, is the beginning of the hints.
 *
 * Written when one of them has changed. Pages behind the end are of a longer one before.
 */
#include "container.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { BLOB_PAGES_MOST = 65536 };

struct blob_header {
	uint64_t table_bytes;
	uint32_t hints_bytes, types_bytes;
};
static_assert(sizeof(struct blob_header) == 16, "on disk");

bool spm_blob_has_changed(const struct container *c)
{
	return spm_outside_has_changed(c->outside) || c->hints.has_changed || c->plain.has_changed ||
	       c->are_types_changed;
}

static int blob_make(const struct blob_parts *p, unsigned char **out, size_t *pages)
{
	struct blob_header h = {p->table_bytes, (uint32_t)p->hints_bytes, (uint32_t)p->types_bytes};
	size_t bytes = sizeof(h) + p->table_bytes + p->hints_bytes + p->types_bytes;
	unsigned char *at;

	*pages = (bytes + SPM_PAGE_BYTES - 1) / SPM_PAGE_BYTES;
	if (*pages > BLOB_PAGES_MOST)
		return -E2BIG;
	*out = at = calloc(*pages, SPM_PAGE_BYTES);
	if (!at)
		return -ENOMEM;
	at = (unsigned char *)memcpy(at, &h, sizeof(h)) + sizeof(h);
	at = (unsigned char *)memcpy(at, p->table, p->table_bytes) + p->table_bytes;
	at = (unsigned char *)memcpy(at, p->hints, p->hints_bytes) + p->hints_bytes;
	if (p->types_bytes)
		memcpy(at, p->types, p->types_bytes);
	return 0;
}

static uint64_t hint_moved(uint64_t address, const void *moved)
{
	return spm_moved_address(moved, address);
}

/* Hints with the addresses that versions know. */
static int hints_bytes(const struct container *c, void **bytes, size_t *n)
{
	struct hints moved;
	int err = c->moved ? spm_hints_copy(&c->hints, &moved) : 0;

	if (err)
		return err;
	if (!c->moved)
		return spm_hints_save(&c->hints, bytes, n);
	spm_hints_move(&moved, hint_moved, c->moved);
	err = spm_hints_save(&moved, bytes, n);
	spm_hints_free(&moved);
	return err;
}

/* The plain numbers come before them. */
static int hints_save(const struct container *c, void **bytes, size_t *n)
{
	size_t before = spm_plain_bytes(&c->plain);
	int err = c->plain.is_short ? -ENOMEM : hints_bytes(c, bytes, n);
	unsigned char *all;

	if (err || !before)
		return err;
	all = malloc(before + *n);
	if (all) {
		spm_plain_save(&c->plain, all);
		memcpy(all + before, *bytes, *n);
		*n += before;
	}
	free(*bytes);
	*bytes = all;
	return all ? 0 : -ENOMEM;
}

static bool is_live(uint64_t address, void *c)
{
	struct span *s = spm_span_of(address);
	unsigned slot = s ? spm_span_slot(s, address) : 0;

	return s && slot < s->slots && spm_marks_has(((struct container *)c)->marks, s, slot);
}

void spm_blob_settle(struct container *c)
{
	if (c->moved) {
		spm_hints_move(&c->hints, hint_moved, c->moved);
		c->hints.has_changed = false; /* in the versions they are as they were */
	}
	spm_hints_keep(&c->hints, is_live, c);
}

int spm_blob_save(struct container *c, unsigned char **out, size_t *pages)
{
	struct blob_parts p = {.types = c->types ? c->types->bytes : NULL, .types_bytes = c->types ? c->types->n : 0};
	void *table = NULL, *hints = NULL;
	int err = spm_outside_save(c->outside, &table, &p.table_bytes);

	if (!err)
		err = hints_save(c, &hints, &p.hints_bytes);
	p.table = table;
	p.hints = hints;
	if (!err)
		err = blob_make(&p, out, pages);
	free(table);
	free(hints);
	return err;
}

void spm_blob_saved(struct container *c)
{
	spm_outside_saved(c->outside);
	c->hints.has_changed = false;
	c->plain.has_changed = false;
	c->are_types_changed = false;
}

static int blob_part(const unsigned char *blob, uint64_t room, struct blob_parts *parts)
{
	struct blob_header h;
	size_t plain;

	memcpy(&h, blob, sizeof(h));
	room -= sizeof(h);
	if (h.table_bytes > room || (uint64_t)h.hints_bytes + h.types_bytes > room - h.table_bytes)
		return -EINVAL;
	blob += sizeof(h);
	plain = spm_plain_length(blob + h.table_bytes, h.hints_bytes);
	*parts = (struct blob_parts){.table = blob,
	                             .plain = blob + h.table_bytes,
	                             .hints = blob + h.table_bytes + plain,
	                             .types = blob + h.table_bytes + h.hints_bytes,
	                             .table_bytes = h.table_bytes,
	                             .plain_bytes = plain,
	                             .hints_bytes = h.hints_bytes - plain,
	                             .types_bytes = h.types_bytes};
	return 0;
}

static int malformed(int magic)
{
	return spm_fail(EUCLEAN, "container %d is damaged: its table of modules or its hints are malformed", magic);
}

int spm_blob_read(struct chain *chain, int magic, uint64_t pages, unsigned char **out, struct blob_parts *parts)
{
	unsigned char *blob;
	int err;

	*parts = (struct blob_parts){0};
	*out = NULL;
	if (!pages)
		return 0;
	if (pages > BLOB_PAGES_MOST)
		return spm_fail(EUCLEAN, "container %d is damaged: its table of modules is too long", magic);
	blob = calloc(pages, SPM_PAGE_BYTES);
	if (!blob)
		return spm_fail(ENOMEM, "container %d: no memory for its table of modules", magic);
	err = spm_chain_read(chain, SPM_BLOB_PAGE, pages, blob);
	if (err)
		err = spm_fail_volume(err);
	else if (blob_part(blob, pages * SPM_PAGE_BYTES, parts))
		err = malformed(magic);
	if (err)
		free(blob);
	else
		*out = blob;
	return err;
}

/* Of objects' types only what is among the roots. */
bool spm_hints_fit(const struct hints *h, const struct types *types)
{
	for (size_t i = 0; i < h->typed_count; i++)
		if (!types || h->typed[i] >> HINTS_TYPE_BIT >= types->roots)
			return false;
	return true;
}

int spm_blob_load(struct container *c, uint64_t pages)
{
	struct types *types = NULL;
	struct blob_parts parts;
	unsigned char *blob;
	int err = spm_blob_read(c->chain, c->magic, pages, &blob, &parts);

	if (err || !blob)
		return err;
	if (spm_typing_load(c->magic, &parts, &types))
		err = -1;
	else if (spm_outside_load(c->outside, parts.table, parts.table_bytes) ||
	         spm_hints_load(&c->hints, parts.hints, parts.hints_bytes) ||
	         spm_plain_load(&c->plain, parts.plain, parts.plain_bytes) || !spm_hints_fit(&c->hints, types))
		err = malformed(c->magic);
	free(blob);
	if (err)
		spm_types_free(types);
	else
		spm_typing_set(c, types);
	return err;
}
