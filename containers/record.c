/* record.c - recording a program's inputs, and handing back those that a state lacks. See volume/log.h for what lies on disk.
 *
 *   pRecord(input) -> apply it -> ... -> pPoint             restore -> pReplay: apply(input), apply(input), ...
 *
 * c->input says up to which position of the log the state in memory has the inputs: those that were recorded or handed back, for the
 * program applies them next. A capture takes it into the version. So a restore knows which inputs the version lacks, whatever
 * became of points that were under way, and a point makes no difference to the log.
 *
 * Concurrent callers of pRecord share a commit (group.h). Points do not wait for them, nor they for points: the log is a chain of its
 * own, which its group's leader alone appends to.
 *
 * Nothing is recorded behind inputs that the state lacks: what a program does without having seen them would be replayed behind them. Nor
 * by a state that has inputs which a restore would not find, on its branch: one that was forked (fork.c), or whose log was dropped,
 * makes a point first.
 */
#include "container.h"
#include "volume/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { WHY_BYTES = sizeof(((struct member *)0)->message) };

struct input {
	struct member member; /* first */
	struct log_input log;
};

static struct log_input *inputs_link(struct member *first)
{
	for (struct member *m = first; m; m = m->next)
		((struct input *)m)->log.next = m->next ? &((struct input *)m->next)->log : NULL;
	return &((struct input *)first)->log;
}

/* Between them the log's end and the state's position say whether all inputs are in both. */
static int inputs_compare(const struct log *log, uint64_t position, char *why)
{
	uint64_t end = spm_log_end(log);

	if (end > position)
		snprintf(why, WHY_BYTES,
		         "there are inputs that its state does not have: hand them over by pReplay first "
		         "(or give them up by pRecordDrop)");
	else if (end < position)
		snprintf(why, WHY_BYTES,
		         "its state has inputs that no version of its branch has, nor its log: make a point first, "
		         "and wait until it is durable");
	return end == position ? 0 : -EBUSY;
}

static int failed(int err, char *why)
{
	if (err)
		snprintf(why, WHY_BYTES, "%s", spm_volume_error_of(err));
	return err;
}

/* What a group's leader goes by. */
struct order {
	struct member *group;
	uint64_t position, saved, needless;
};

/* Without the container's lock, but for storing it, when the worker may see it. */
static int log_have(struct container *c, const struct order *o, char *why)
{
	struct log *log = c->log;
	int err;

	if (log)
		return inputs_compare(log, o->position, why);
	err = spm_log_open(spm_volume_current(), c->magic, spm_chain_id(c->chain), o->saved, spm_volume_wait_ms(),
	                   &log);
	if (err)
		return failed(err, why);
	err = inputs_compare(log, o->position, why);
	if (err) {
		spm_log_close(log);
		return err;
	}
	spm_container_lock(c);
	c->log = log;
	pthread_mutex_unlock(&c->lock);
	return 0;
}

static int append(struct container *c, const struct order *o, char *why)
{
	int err = log_have(c, o, why);

	return err ? err : failed(spm_log_append(c->log, inputs_link(o->group), o->needless), why);
}

/* For all that wait by now. */
static void lead(struct container *c, const struct member *me)
{
	struct order o = {spm_group_take(&c->recording, &c->lock), c->input, c->input_saved, c->inputs_needless};
	char why[WHY_BYTES] = "";
	int err;

	pthread_mutex_unlock(&c->lock);
	err = append(c, &o, why);
	for (struct member *m = o.group; m; m = m->next) {
		m->err = err;
		m->number = (int64_t)((struct input *)m)->log.end;
		if (err)
			memcpy(m->message, why, sizeof(m->message));
	}
	spm_container_lock(c);
	if (!err)
		c->input = spm_log_end(c->log);
	c->is_log_used = true;
	spm_group_pass(&c->recording);
	if (c->is_halted)
		pthread_cond_broadcast(&c->changed);
	spm_upkeep_soon(c);
	pthread_mutex_unlock(&c->lock);
	spm_group_tell(o.group, me);
}

static int may_record(const struct container *c)
{
	if (!c->is_view)
		return 0;
	return spm_fail(EROFS, "container %d is read-only here: it shows version %lld; a branch can record inputs",
	                c->magic, (long long)c->durable);
}

int64_t pRecord(int cID, const void *bytes, size_t n)
{
	struct input me = {.log = {.bytes = bytes, .n = n}};
	struct container *c;
	int result;

	if (n && !bytes)
		return spm_fail(EINVAL, "pRecord: no bytes given"), 0;
	c = spm_container_get(cID);
	if (!c)
		return 0;
	spm_container_lock(c);
	spm_container_await(c);
	result = may_record(c);
	if (result)
		pthread_mutex_unlock(&c->lock);
	else if (spm_group_join(&c->recording, &c->lock, &me.member))
		lead(c, &me.member);
	if (!result && me.member.err)
		result = spm_fail(-me.member.err, "container %d: the input could not be recorded: %s", c->magic,
		                  me.member.message);
	spm_container_put(c);
	return result ? 0 : me.member.number;
}

/* ---- replay ---- */

struct handing {
	struct container *c;
	int (*fn)(const void *bytes, size_t n, void *arg);
	void *arg;
	uint64_t position;
	int64_t count;
};

/* False: it was not at `from`. A view is at its version for good: it may be handed over again, to another branch. */
static bool position_move(struct container *c, uint64_t from, uint64_t to)
{
	bool was_there;

	spm_container_lock(c);
	was_there = c->is_view || c->input == from;
	if (was_there && !c->is_view)
		c->input = to;
	pthread_mutex_unlock(&c->lock);
	return was_there;
}

/* As after pRecord: fn applies it, and may make a point then. If the state is not where the replay is, somebody else has recorded the
 * input, or hands it over. */
static int input_hand(const void *bytes, size_t n, uint64_t end, void *arg)
{
	struct handing *h = arg;
	bool is_mine = position_move(h->c, h->position, end);

	if (is_mine && h->fn(bytes, n, h->arg)) {
		position_move(h->c, end, h->position);
		return 1;
	}
	h->position = end;
	h->count += is_mine;
	return 0;
}

static int64_t replay(struct handing *h)
{
	struct container *c = h->c;
	int result = spm_log_each(spm_volume_current(), c->magic, spm_chain_id(c->chain), h->position, input_hand, h);

	if (result > 0)
		return spm_fail(ECANCELED,
		                "container %d: the replay was stopped by the program, at the input behind %lld",
		                c->magic, (long long)h->position);
	return result ? spm_fail_volume(result) : h->count;
}

int64_t pReplay(int cID, int (*fn)(const void *bytes, size_t n, void *arg), void *arg)
{
	struct handing h = {.c = spm_container_get(cID), .fn = fn, .arg = arg};
	int64_t result;

	if (!h.c)
		return -1;
	spm_container_lock(h.c);
	h.position = h.c->input;
	pthread_mutex_unlock(&h.c->lock);
	result = fn ? replay(&h) : spm_fail(EINVAL, "pReplay: no function given");
	spm_container_put(h.c);
	return result;
}

int pRecordDrop(int cID)
{
	struct container *c = spm_container_get(cID);
	int result, err;

	if (!c)
		return -1;
	spm_container_halt(c);
	result = may_record(c);
	if (!result && c->log)
		spm_log_close(c->log);
	c->log = NULL;
	err = result ? 0 : spm_log_delete(spm_volume_current(), c->magic, spm_chain_id(c->chain));
	if (err)
		result = spm_fail_volume(err);
	spm_container_go_on(c);
	spm_container_put(c);
	return result;
}

/* ---- beside it ---- */

/* c->lock is held. The oldest version says which inputs no version lacks. It is looked for now and then, when it may be another. */
static bool wants_look(struct container *c)
{
	enum { LOOK_MS = 500, LOOK_BYTES = 64 * SPM_PAGE_BYTES };
	uint64_t now = spm_now_ns();

	if (c->points == c->points_at_look || c->input - c->inputs_needless < LOOK_BYTES ||
	    now - c->looked_ns < LOOK_MS * UINT64_C(1000000))
		return false;
	c->looked_ns = now;
	c->points_at_look = c->points;
	return true;
}

static void needless_look(struct container *c)
{
	struct version_info oldest;
	bool wants;

	pthread_mutex_lock(&c->lock);
	wants = wants_look(c);
	pthread_mutex_unlock(&c->lock);
	if (!wants || spm_chain_oldest(c->chain, &oldest))
		return;
	pthread_mutex_lock(&c->lock);
	c->inputs_needless = oldest.input;
	pthread_mutex_unlock(&c->lock);
}

bool spm_record_tend(struct container *c, struct log *log, bool is_idle)
{
	bool again = false;

	needless_look(c);
	if (spm_log_maintain(log, is_idle, &again))
		again = false; /* the next input meets the same trouble and reports it */
	return again;
}
