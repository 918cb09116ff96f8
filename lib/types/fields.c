/* fields.c - see fields.h. */
#include "types/fields.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { FIELDS_MOST = 16384 };

static int field_add(struct fields *f, struct field field)
{
	size_t room = f->room ? f->room * 2 : 32;
	struct field *more;

	if (f->n == f->room) {
		more = realloc(f->field, room * sizeof(*more));
		if (!more)
			return -ENOMEM;
		f->field = more;
		f->room = room;
	}
	f->field[f->n++] = field;
	return 0;
}

static int fields_add(struct fields *f, const struct ptype *t, uint64_t bit, bool with_unions)
{
	int err = 0;

	f->steps += t->members;
	if (f->steps > FIELDS_MOST)
		return -E2BIG;
	for (size_t i = 0; i < t->members && !err; i++) {
		const struct pmember *m = &t->member[i];
		uint64_t at = bit + m->offset * 8 + m->bit_offset;
		bool is_open =
		        !*m->name && (m->type->kind == PTYPE_STRUCT || (with_unions && spm_is_aggregate(m->type)));

		err = is_open ? fields_add(f, m->type, at, with_unions)
		              : field_add(f, (struct field){m->name, m->type, at, m->bits, false, m->choice});
	}
	return err;
}

int spm_fields_add(struct fields *f, const struct ptype *t, bool with_unions)
{
	return fields_add(f, t, 0, with_unions);
}

struct field *spm_field_find(const struct fields *f, const struct field *like)
{
	struct field *found = NULL;

	for (size_t i = 0; i < f->n; i++)
		if (!strcmp(f->field[i].name, like->name) && (!found || f->field[i].bit == like->bit))
			found = &f->field[i];
	return found;
}

uint64_t spm_field_end(const struct field *f)
{
	return f->bit + (f->bits ? f->bits : f->type->bytes * 8);
}

bool spm_is_flexible(const struct ptype *t)
{
	while (t->kind == PTYPE_STRUCT && t->members && !t->member[t->members - 1].bits)
		t = t->member[t->members - 1].type;
	return t->kind == PTYPE_ARRAY && !t->count;
}
