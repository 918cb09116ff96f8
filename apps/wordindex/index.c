/* index.c - the inverted index: two chained hash tables that double when they are full. */
#include "index.h"

#include <softpm.h>

#include <stdlib.h>
#include <string.h>

static uint64_t hash_of(const char *text)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

	for (; *text; text++)
		hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
	return hash;
}

static struct entry *entries_find(const struct entries *t, const char *text, uint64_t hash)
{
	struct entry *e = t->buckets ? t->bucket[hash & (t->buckets - 1)] : NULL;

	while (e && (e->hash != hash || strcmp(e->text, text)))
		e = e->next;
	return e;
}

static int entries_grow(struct entries *t)
{
	size_t buckets = t->buckets ? t->buckets * 2 : 256;
	struct entry **bucket = pCalloc(buckets, sizeof(*bucket));

	if (!bucket)
		return -1;
	for (size_t i = 0; i < t->buckets; i++) {
		for (struct entry *e = t->bucket[i], *next; e; e = next) {
			next = e->next;
			e->next = bucket[e->hash & (buckets - 1)];
			bucket[e->hash & (buckets - 1)] = e;
		}
	}
	pFree(t->bucket);
	t->bucket = bucket;
	t->buckets = buckets;
	return 0;
}

/* A zeroed struct of that size, which begins with its entry. */
static void *entries_add(struct entries *t, const char *text, uint64_t hash, size_t bytes)
{
	struct entry *e;

	if (t->count == t->buckets && entries_grow(t))
		return NULL;
	e = pMalloc(bytes);
	if (!e)
		return NULL;
	e->hash = hash;
	e->text = pStrdup(text);
	if (!e->text) {
		pFree(e);
		return NULL;
	}
	e->next = t->bucket[hash & (t->buckets - 1)];
	t->bucket[hash & (t->buckets - 1)] = e;
	t->count++;
	return e;
}

struct file *index_file(const struct index *index, const char *path)
{
	return (struct file *)entries_find(&index->files, path, hash_of(path));
}

struct file *index_file_add(struct index *index, const char *path)
{
	return entries_add(&index->files, path, hash_of(path), sizeof(struct file));
}

static int postings_grow(struct word *w)
{
	size_t room = w->room ? w->room * 2 : 2;
	struct posting *more = pRealloc(w->posting, room * sizeof(*more));

	if (!more)
		return -1;
	w->posting = more;
	w->room = room;
	return 0;
}

int index_word(struct index *index, struct file *file, const char *text)
{
	uint64_t hash = hash_of(text);
	struct word *w = (struct word *)entries_find(&index->words, text, hash);
	struct posting *last;

	if (!w)
		w = entries_add(&index->words, text, hash, sizeof(*w));
	if (!w || (w->postings == w->room && postings_grow(w)))
		return -1;
	last = w->postings ? &w->posting[w->postings - 1] : NULL;
	if (!last || last->file != file) {
		last = &w->posting[w->postings++];
		*last = (struct posting){.file = file};
	}
	last->count++;
	file->words++;
	w->count++;
	index->total++;
	return 0;
}

static int by_text(const void *a, const void *b)
{
	return strcmp((*(const struct word *const *)a)->entry.text, (*(const struct word *const *)b)->entry.text);
}

const struct word **index_sorted(const struct index *index)
{
	const struct word **sorted = malloc((index->words.count + 1) * sizeof(const struct word *));
	size_t n = 0;

	if (!sorted)
		return NULL;
	for (size_t i = 0; i < index->words.buckets; i++)
		for (const struct entry *e = index->words.bucket[i]; e; e = e->next)
			sorted[n++] = (const struct word *)e;
	qsort(sorted, n, sizeof(const struct word *), by_text);
	return sorted;
}
