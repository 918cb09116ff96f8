/* pins.c - see pins.h. A pin with count 0 is a stretch of versions that are being dropped. */
#include "volume/pins.h"

#include <errno.h>
#include <stdlib.h>

static int range_lock_by(struct driver *d, const struct chain *c, uint64_t seq, uint64_t n, enum lock_mode mode)
{
	uint64_t first = LOCK_VERSIONS + (c->head_block / EXTENT_BLOCKS << 32) + (seq & UINT32_MAX);

	return d->ops->lock_range ? d->ops->lock_range(d, first, n, mode) : 0;
}

static int range_lock(struct chain *c, uint64_t seq, uint64_t n, enum lock_mode mode)
{
	return range_lock_by(c->volume->driver, c, seq, n, mode);
}

/* The pin of that version; with `dropping`, the stretch being dropped that it lies in. */
static struct pin *pin_find(const struct chain *c, uint64_t seq, bool dropping)
{
	struct volume *v = c->volume;

	for (size_t i = 0; i < v->pins; i++) {
		struct pin *p = &v->pin[i];

		if (p->chain_id == c->id && !p->count == dropping && p->from <= seq && seq <= p->to)
			return p;
	}
	return NULL;
}

static int pin_add(struct volume *v, struct pin pin)
{
	struct pin *more = realloc(v->pin, (v->pins + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	v->pin = more;
	v->pin[v->pins++] = pin;
	return 0;
}

static void pin_remove(struct volume *v, struct pin *p)
{
	*p = v->pin[--v->pins];
}

static int pin_locked(struct chain *c, uint64_t seq)
{
	struct pin *p = pin_find(c, seq, false);
	int err;

	if (pin_find(c, seq, true))
		return -EAGAIN;
	if (p) {
		p->count++;
		return 0;
	}
	err = pin_add(c->volume, (struct pin){c->id, seq, seq, 1});
	if (err)
		return err;
	err = range_lock(c, seq, 1, LOCK_SHARED);
	if (err)
		c->volume->pins--;
	return err;
}

int spm_version_pin(struct chain *c, uint64_t seq)
{
	int err;

	pthread_mutex_lock(&c->volume->pins_lock);
	err = pin_locked(c, seq);
	pthread_mutex_unlock(&c->volume->pins_lock);
	return err;
}

void spm_version_unpin(struct chain *c, uint64_t seq)
{
	struct volume *v = c->volume;
	struct pin *p;

	pthread_mutex_lock(&v->pins_lock);
	p = pin_find(c, seq, false);
	SPM_CHECK(p);
	if (!--p->count) {
		pin_remove(v, p);
		range_lock(c, seq, 1, LOCK_NONE);
	}
	pthread_mutex_unlock(&v->pins_lock);
}

int spm_drop_begin(struct chain *c, uint64_t from, uint64_t to)
{
	int err;

	pthread_mutex_lock(&c->volume->pins_lock);
	err = pin_add(c->volume, (struct pin){c->id, from, to, 0});
	pthread_mutex_unlock(&c->volume->pins_lock);
	return err;
}

bool spm_drop_try(struct chain *c, uint64_t seq)
{
	bool is_ours;

	pthread_mutex_lock(&c->volume->pins_lock);
	is_ours = !pin_find(c, seq, false) && !range_lock(c, seq, 1, LOCK_EXCLUSIVE);
	pthread_mutex_unlock(&c->volume->pins_lock);
	return is_ours;
}

void spm_drop_done(struct chain *c, uint64_t seq)
{
	range_lock(c, seq, 1, LOCK_NONE);
}

void spm_drop_end(struct chain *c)
{
	struct volume *v = c->volume;

	pthread_mutex_lock(&v->pins_lock);
	for (size_t i = 0; i < v->pins; i++)
		if (v->pin[i].chain_id == c->id && !v->pin[i].count) {
			pin_remove(v, &v->pin[i]);
			break;
		}
	pthread_mutex_unlock(&v->pins_lock);
}

int spm_chain_pin_for(struct chain *c, struct driver *heir, bool pin)
{
	return range_lock_by(heir, c, c->seq, 1, pin ? LOCK_SHARED : LOCK_NONE);
}

static bool is_pinned(const struct volume *v, uint64_t chain_id)
{
	for (size_t i = 0; i < v->pins; i++)
		if (v->pin[i].chain_id == chain_id)
			return true;
	return false;
}

int spm_chain_seize(struct chain *c)
{
	struct volume *v = c->volume;
	int err;

	pthread_mutex_lock(&v->pins_lock);
	err = is_pinned(v, c->id) ? -EAGAIN : pin_add(v, (struct pin){c->id, 0, UINT64_MAX, 0});
	if (!err) {
		err = range_lock(c, 0, UINT64_C(1) << 32, LOCK_EXCLUSIVE);
		v->pins -= err != 0;
	}
	pthread_mutex_unlock(&v->pins_lock);
	return err;
}

void spm_chain_unseize(struct chain *c)
{
	range_lock(c, 0, UINT64_C(1) << 32, LOCK_NONE);
	spm_drop_end(c);
}

/* ---- writers ---- */

static size_t writing_find(const struct volume *v, uint64_t chain_id)
{
	size_t i = 0;

	while (i < v->writings && v->writing[i] != chain_id)
		i++;
	return i;
}

static int writing_try(struct volume *v, uint64_t chain_id)
{
	uint64_t *more;

	if (writing_find(v, chain_id) < v->writings)
		return -EBUSY;
	more = realloc(v->writing, (v->writings + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	v->writing = more;
	v->writing[v->writings++] = chain_id;
	return 0;
}

int spm_writing_begin(struct chain *c, unsigned wait_ms)
{
	uint64_t until = spm_now_ns() + wait_ms * UINT64_C(1000000);
	int err;

	for (;;) {
		pthread_mutex_lock(&c->volume->pins_lock);
		err = writing_try(c->volume, c->id);
		pthread_mutex_unlock(&c->volume->pins_lock);
		if (err != -EBUSY || spm_now_ns() >= until)
			return err;
		spm_sleep_ms(1);
	}
}

void spm_writing_end(struct chain *c)
{
	struct volume *v = c->volume;

	pthread_mutex_lock(&v->pins_lock);
	v->writing[writing_find(v, c->id)] = v->writing[v->writings - 1];
	v->writings--;
	pthread_mutex_unlock(&v->pins_lock);
}
