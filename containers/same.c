/* same.c - whose an object is, and what it means: pCOf, pSame.
 *
 * An object is a container's if the container's marks have its slot (marks.h): if it could be reached at the last look at what had
 * changed, a point's or one that is taken here. What was freed since is routed first, for another object may have its place.
 */
#include "same.h"
#include "container.h"
#include "heapimage.h"

#include <errno.h>
#include <string.h>

/* ---- pSame ---- */

static uint64_t meaning(const struct moved *m, uint64_t word)
{
	return spm_in_window(word) ? spm_moved_address(m, word) : word;
}

static bool is_same_word(const struct places *p, const unsigned char *a, const unsigned char *b)
{
	uint64_t x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return meaning(p->moved[0], x) == meaning(p->moved[1], y);
}

bool spm_is_same(const struct places *p, const void *in_first, const void *in_second, size_t bytes, bool has_pointers)
{
	const unsigned char *a = in_first, *b = in_second;
	size_t before = -(uintptr_t)a % sizeof(uint64_t);

	if (!has_pointers || p->moved[0] == p->moved[1] || ((uintptr_t)a ^ (uintptr_t)b) % sizeof(uint64_t) ||
	    bytes < before + sizeof(uint64_t))
		return !memcmp(a, b, bytes);
	if (memcmp(a, b, before))
		return false;
	for (a += before, b += before, bytes -= before; bytes >= sizeof(uint64_t); bytes -= sizeof(uint64_t)) {
		if (!is_same_word(p, a, b))
			return false;
		a += sizeof(uint64_t);
		b += sizeof(uint64_t);
	}
	return !memcmp(a, b, bytes);
}

/* With a reference; *out NULL: it lies where its versions say. */
static int place_get(int id, struct container **out)
{
	*out = NULL;
	if (!id || spm_heapimage_is_open(id))
		return 0;
	*out = spm_container_get(id);
	return *out ? 0 : -1;
}

static void place_put(struct container *c)
{
	if (c)
		spm_container_put(c);
}

static bool may_point(const void *p)
{
	const struct span *s = spm_in_window((uintptr_t)p) && spm_page_span ? spm_span_of((uintptr_t)p) : NULL;

	return !s || !(s->flags & HEAP_NOPTR);
}

int pSame(int first, const void *in_first, int second, const void *in_second, size_t bytes)
{
	struct container *c[2];
	int result = place_get(first, &c[0]);

	if (result)
		return -1;
	result = place_get(second, &c[1]);
	if (!result) {
		struct places p = {{c[0] ? c[0]->moved : NULL, c[1] ? c[1]->moved : NULL}};

		result = spm_is_same(&p, in_first, in_second, bytes, may_point(in_first) && may_point(in_second));
		place_put(c[1]);
	}
	place_put(c[0]);
	return result;
}

/* ---- pCOf ---- */

struct asked {
	uint64_t address;
	const struct container *holder;
};

static void holder_note(struct container *c, void *arg)
{
	struct asked *q = arg;
	const struct span *s = spm_span_of(q->address);

	if (!q->holder && s && spm_span_slot(s, q->address) < s->slots &&
	    spm_marks_has(c->marks, s, spm_span_slot(s, q->address)))
		q->holder = c;
}

/* Its ID, 0: none. */
static int holder_find(uint64_t address)
{
	struct asked q = {address, NULL};
	int id;

	spm_capture_begin();
	spm_container_each(holder_note, &q);
	id = q.holder ? q.holder->id : 0;
	spm_capture_end();
	return id;
}

static int look(struct container *c)
{
	bool has_changes;
	int err = 0;

	if (c->is_inherited)
		return 0;
	spm_container_halt(c);
	err = spm_capture_look(c, &has_changes);
	spm_container_go_on(c);
	return err;
}

/* Marks know what was changed until now. 0 or -errno. */
static int all_look(void)
{
	struct container *c;
	unsigned place = 0;
	int err = 0;

	while (!err && (c = spm_container_next(&place))) {
		err = look(c);
		spm_container_put(c);
	}
	return err;
}

static int holder_of(uint64_t address)
{
	int err = spm_capture_drain(), id = err ? 0 : holder_find(address);

	if (!err && !id) {
		err = all_look();
		id = err ? 0 : holder_find(address);
	}
	if (err)
		spm_fail(-err, "pCOf: what changed can't be looked for: %s", strerror(-err));
	else if (!id)
		spm_fail(ENOENT, "%p can be reached from no open container", (void *)(uintptr_t)address);
	return id;
}

/* Else the error is set. */
static bool may_be_told(int id)
{
	struct container *c = spm_container_get(id);

	if (c)
		spm_container_put(c);
	return c != NULL;
}

int pCOf(const void *p)
{
	uint64_t address = (uintptr_t)p;
	int id;

	if (!spm_in_window(address) || !spm_page_span)
		return spm_fail(ENOENT, "%p is no memory of the heap", p), 0;
	id = spm_heapimage_of(address);
	if (id)
		return id;
	id = holder_of(address);
	return id && may_be_told(id) ? id : 0;
}
