/* import.c - versions from a stream.
 *
 *   version item -> is it there? -> no:  commit from the page items that follow -> state right? -> durable
 *                                -> yes: passed over, and compared by its state if it is the branch's newest
 *
 * A version is only ever committed on top of the very version that the stream tells it against: that was committed by this import,
 * or its number, time and state were compared. So whatever the stream says, a branch's history is the stream's up to there.
 *
 * Nothing in a stream is believed: who made it may have meant harm. Its frames are checked before they are read (stream/stream.h), every
 * field before it is used, and each version as a whole before its record is written: what contradicts the version before, or has
 * another state than the stream says, is not committed. What a version's pages mean is looked at when it is restored, as ever.
 *
 * A crash between any two steps leaves whole versions, and branches that begin with one: the same stream, imported again, goes on
 * from there. One branch is open at a time, for writing.
 */
#include "import.h"
#include "volume/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAINTAIN_STEPS = 8 };

/* What follows returns 0, or -1 and the error is set, or what fn returned. */

/* ---- the branch that it goes to ---- */

static void target_close(struct import *m)
{
	if (m->to.chain)
		spm_chain_close(m->to.chain);
	m->to = (struct import_target){.chain = NULL};
}

/* Versions that the stream has and the branch does not have any more must be followed by one that it has. */
static int target_end(struct import *m)
{
	uint64_t missing = m->to.missing;

	if (missing)
		return spm_fail(EEXIST,
		                "branch %s of container %d has version %llu, and not version %llu, which the stream "
		                "ends with: it "
		                "went on differently, or dropped that",
		                m->to.name, m->magic, (unsigned long long)m->to.newest.version,
		                (unsigned long long)missing);
	target_close(m);
	return 0;
}

/* Keeps all versions, so that none goes before those are there that it is kept for. */
static int target_opened(struct import *m)
{
	static const struct retention all = {0};
	int err;

	spm_chain_retain(m->to.chain, &all);
	m->to.newest.version = 0;
	if (spm_chain_newest(m->to.chain, &m->to.newest))
		return 0;
	err = spm_log_exists(m->volume, m->magic, spm_chain_id(m->to.chain));
	m->to.has_log = err > 0;
	if (err >= 0)
		err = spm_state_find(m->to.chain, &m->to.state);
	return err ? spm_fail_volume(err) : 0;
}

static int target_open(struct import *m, const char *name)
{
	int err;

	if (*m->to.name && !strcmp(m->to.name, name))
		return 0;
	if (target_end(m))
		return -1;
	strcpy(m->to.name, name);
	err = spm_chain_open(m->volume, m->magic, name, CHAIN_WRITE, spm_volume_wait_ms(), &m->to.chain);
	if (err == -ENOENT)
		return 0;
	return err ? spm_fail_volume(err) : target_opened(m);
}

/* A branch that begins empty. */
static int target_make(struct import *m)
{
	bool is_main = !strcmp(m->to.name, "main");
	int err;

	if (m->to.chain)
		return 0;
	if (spm_name_must_be_free(m->volume, m->magic, m->to.name))
		return -1;
	err = is_main ? 1 : spm_branch_exists(m->volume, m->magic, "main");
	if (!err)
		return spm_fail(ENOENT, "the volume has no container %d: its first branch is main, not %s", m->magic,
		                m->to.name);
	if (err > 0)
		err = spm_chain_create(m->volume, m->magic, m->to.name, &m->to.chain);
	m->is_new |= is_main && !err;
	return err ? spm_fail_volume(err) : target_opened(m);
}

/* ---- the base of an increment ---- */

struct base {
	struct import *m;
	struct version_found found; /* through which branch */
	char branch[SPM_NAME_BYTES];
	int rank;
	int err;
};

/* How well a branch does: its newest version is the base; it has the stream's version; it has the stream's branch's name. */
static int rank_of(const struct base *b, const char *branch)
{
	const struct import *m = b->m;
	struct version_found found;
	int rank = 0;

	if (!spm_version_find(m->volume, m->magic, branch, BY_NUMBER, INT64_MAX, &found))
		rank += found.info.version == m->version.before ? 4 : 0;
	if (!spm_version_find(m->volume, m->magic, branch, BY_NUMBER, m->version.info.version, &found))
		rank += found.info.version == m->version.info.version && found.info.time_ns == m->version.info.time_ns
		                ? 8
		                : 0;
	return rank + !strcmp(branch, m->version.info.branch);
}

static int base_look(int magic, const char *branch, void *arg)
{
	struct base *b = arg;
	const struct import *m = b->m;
	struct version_found found;
	int rank;

	if (magic != m->magic || !branch)
		return 0;
	b->err = spm_version_find(m->volume, magic, branch, BY_NUMBER, m->version.before, &found);
	if (b->err && b->err != -ENOENT)
		return 1;
	if (b->err || found.info.version != m->version.before || found.info.time_ns != m->version.before_time_ns) {
		b->err = 0;
		return 0;
	}
	rank = rank_of(b, branch);
	if (rank > b->rank) {
		b->rank = rank;
		b->found = found;
		strcpy(b->branch, branch);
	}
	return 0;
}

static int base_find(struct import *m, struct base *b)
{
	int err;

	*b = (struct base){.m = m, .rank = -1};
	err = spm_volume_each_chain(m->volume, base_look, b);
	if (b->err || err < 0)
		return spm_fail_volume(b->err ? b->err : err);
	if (b->rank >= 0)
		return 0;
	return spm_fail(
	        ENOENT,
	        "container %d has no version %llu such as the one that the stream goes on from: import first what was "
	        "exported before it",
	        m->magic, (unsigned long long)m->version.before);
}

static int diverged(struct import *m, uint64_t version)
{
	return spm_fail(
	        EEXIST,
	        "version %llu of branch %s of container %d is not the one that the stream has: their histories differ",
	        (unsigned long long)version, m->to.name, m->magic);
}

/* A branch that begins with the base, which must be the very one. */
static int base_branch(struct import *m, const char *name)
{
	struct chain *c;
	struct base b;
	uint64_t state;
	int err;

	if (base_find(m, &b))
		return -1;
	strcpy(m->to.name, b.branch);
	err = spm_chain_open_version(m->volume, m->magic, b.branch, m->version.before, &c);
	if (err)
		return spm_fail_volume(err);
	err = spm_state_find(c, &state);
	spm_chain_close(c);
	if (err)
		return spm_fail_volume(err);
	if (state != m->version.before_state)
		return diverged(m, m->version.before);
	if (spm_name_must_be_free(m->volume, m->magic, name))
		return -1;
	err = spm_branch_create(m->volume, m->magic, name, &b.found);
	return err ? spm_fail_volume(err) : 0;
}

/* The branch that the base is the newest version of, or was when the stream was imported before. */
static int base_open(struct import *m)
{
	struct base b;

	if (base_find(m, &b))
		return -1;
	if (b.rank < 4)
		return spm_fail(EEXIST,
		                "no branch of container %d ends with version %llu, which the stream goes on from; what "
		                "follows it "
		                "here is different: name a branch "
		                "that is to begin there",
		                m->magic, (unsigned long long)m->version.before);
	return target_open(m, b.branch);
}

/* Once, before the first version of an increment. */
static int increment_open(struct import *m)
{
	const char *name = m->how->branch;
	int there;

	if (*m->to.name)
		return 0;
	if (!name)
		return base_open(m);
	there = spm_branch_exists(m->volume, m->magic, name);
	if (there < 0)
		return spm_fail_volume(there);
	if (!there && base_branch(m, name))
		return -1;
	m->to.name[0] = 0;
	return target_open(m, name);
}

/* ---- versions ---- */

/* As recovery wants it. */
static bool ends(const char *text, size_t n)
{
	return !text[n - 1];
}

static bool head_is_sane(const struct item_head *h)
{
	return !(h->flags & ~(uint32_t)(TRANSFER_HISTORY | TRANSFER_INCREMENT)) && h->page_bytes == SPM_PAGE_BYTES &&
	       ends(h->name, sizeof(h->name)) && ends(h->current, sizeof(h->current));
}

/* Its texts end, its numbers and attributes are such as a point makes: so far from the highest that points and inputs can follow. */
static bool version_is_sane(const struct item_version *v)
{
	const uint64_t most = INT64_MAX / 2;
	const struct version_info *i = &v->info;
	struct cattr attr = {.type = ""};

	if (!i->version || i->version > most || i->time_ns > INT64_MAX || v->before >= i->version || i->input > most ||
	    i->input % 8 || !ends(i->branch, sizeof(i->branch)) || !ends(i->name, sizeof(i->name)) ||
	    !ends(i->message, sizeof(i->message)))
		return false;
	spm_attr_from_info(&attr, i);
	return !spm_attr_check(&attr);
}

/* One version, told whole: it does not go on from anything. */
static bool is_alone(const struct import *m)
{
	return !m->head.flags;
}

static int not_next(struct import *m)
{
	const struct item_version *v = &m->version;

	if (is_alone(m))
		return spm_fail(
		        EEXIST,
		        "container %d has a branch %s already: name another one, which will begin with version %llu "
		        "of the stream",
		        m->magic, m->to.name, (unsigned long long)v->info.version);
	if (m->to.newest.version == v->before)
		return diverged(m, v->before);
	return spm_fail(EEXIST,
	                "branch %s of container %d ends with version %llu, and version %llu of the stream goes on from "
	                "version %llu: their histories differ",
	                m->to.name, m->magic, (unsigned long long)m->to.newest.version,
	                (unsigned long long)v->info.version, (unsigned long long)v->before);
}

/* The branch has one of that number, or a higher one. */
static int version_compare(struct import *m)
{
	const struct version_info *is = &m->version.info;
	struct import_target *t = &m->to;
	struct version_found found;
	uint64_t state = 0;
	bool is_there;
	int err = spm_version_find(m->volume, m->magic, t->name, BY_NUMBER, is->version, &found);

	if (err && err != -ENOENT)
		return spm_fail_volume(err);
	if (spm_import_skip(m, &state))
		return -1;
	is_there = !err && found.info.version == is->version && found.info.time_ns == is->time_ns &&
	           (t->newest.version != is->version || t->state == state);
	if (!is_there && is_alone(m))
		return not_next(m);
	if (err || found.info.version != is->version) { /* it may have been dropped */
		t->missing = is->version;
		return 0;
	}
	if (!is_there)
		return diverged(m, is->version);
	t->missing = 0;
	m->t.present++;
	return spm_import_tell(m);
}

/* What the journal needs after many commits, and what a container's thread would do else. */
static int target_maintain(struct import *m)
{
	bool again = true;
	int err = 0;

	for (unsigned i = 0; again && !err && i < MAINTAIN_STEPS; i++)
		err = spm_chain_maintain(m->to.chain, false, &again);
	return err ? spm_fail_volume(err) : 0;
}

static int version_commit(struct import *m)
{
	struct version_info info = m->version.info;
	int err;

	memset(info.branch, 0, sizeof(info.branch));
	strcpy(info.branch, m->to.name);
	m->state = m->to.newest.version ? m->to.state : 0;
	m->taken = 0;
	m->source = (struct change_source){.next = spm_import_changes};
	err = spm_chain_commit_from(m->to.chain, &m->source, true, &info);
	if (m->stopped)
		return m->stopped;
	if (m->error) { /* its sentence is set */
		errno = m->error;
		return -1;
	}
	if (err)
		return spm_fail_volume(err);
	m->to.newest = info;
	m->to.state = m->state;
	m->t.versions++;
	return target_maintain(m) ? -1 : spm_import_tell(m);
}

static int target_choose(struct import *m)
{
	const struct item_version *v = &m->version;

	if (m->head.flags & TRANSFER_INCREMENT)
		return v->before ? increment_open(m) : spm_import_malformed(m, "an increment tells a version whole");
	if (m->head.flags & TRANSFER_HISTORY)
		return target_open(m, v->info.branch);
	return target_open(m, m->how->branch ? m->how->branch : "main");
}

static bool is_told_against(const struct import_target *t, const struct item_version *v)
{
	return t->newest.version ? v->before == t->newest.version && v->before_time_ns == t->newest.time_ns &&
	                                   v->before_state == t->state
	                         : !v->before;
}

static int version_take(struct import *m)
{
	struct import_target *t = &m->to;

	m->version = m->item.is.version;
	m->has_item = false;
	m->next_page = 0;
	m->told++;
	if (!version_is_sane(&m->version) || !spm_name_is_fit(m->version.info.branch))
		return spm_import_malformed(m, "a version's description makes no sense");
	if (target_choose(m))
		return -1;
	strcpy(m->branch, t->name);
	m->t.branch = m->branch;
	m->t.version = (int64_t)m->version.info.version;
	if (t->newest.version >= m->version.info.version)
		return version_compare(m);
	if (!is_told_against(t, &m->version))
		return not_next(m);
	if (t->has_log) /* where the stream's versions are in it nobody knows */
		return spm_fail(
		        EEXIST,
		        "branch %s of container %d has inputs that were recorded here, and the stream's versions have "
		        "others: drop them (pRecordDrop), or import it as another branch or into another volume",
		        t->name, m->magic);
	return target_make(m) ? -1 : version_commit(m);
}

/* ---- names ---- */

/* The version that was told last, as what a name stands for. */
static int named_find(struct import *m, struct version_found *out)
{
	uint64_t number = m->version.info.version;
	int err = spm_version_find(m->volume, m->magic, m->to.name, BY_NUMBER, number, out);

	if (err && err != -ENOENT)
		return spm_fail_volume(err);
	if (err || out->info.version != number)
		return spm_fail(
		        EEXIST,
		        "branch %s of container %d has no version %llu, which has a name in the stream: it went on "
		        "differently, or dropped that",
		        m->to.name, m->magic, (unsigned long long)number);
	return 0;
}

static bool is_same(const struct version_found *a, const struct version_found *b)
{
	return a->chain_id == b->chain_id && a->seq == b->seq;
}

static int tag_put(struct refs *refs, void *arg)
{
	return spm_refs_put(refs, arg);
}

static int tag_take(struct import *m)
{
	struct ref ref = {.kind = REF_TAG, .time_ns = m->item.is.name.time_ns};
	const struct ref *there;
	struct version_found at;
	struct refs refs;
	bool is_there, is_other;
	int err;

	memcpy(ref.name, m->item.is.name.name, sizeof(ref.name));
	if (m->to.missing) /* so is the tag */
		return 0;
	if (named_find(m, &at))
		return -1;
	ref.chain_id = at.chain_id;
	ref.seq = at.seq;
	ref.version = at.info.version;
	err = spm_refs_load(m->volume, m->magic, &refs);
	if (err)
		return spm_fail_volume(err);
	there = spm_refs_find(&refs, REF_TAG, ref.name);
	is_there = there != NULL;
	is_other = there && (there->chain_id != ref.chain_id || there->seq != ref.seq);
	spm_refs_free(&refs);
	if (is_other) {
		return spm_fail(EEXIST, "tag %s of container %d names another version than the stream's version %llu",
		                ref.name, m->magic, (unsigned long long)ref.version);
	}
	if (is_there)
		return 0;
	if (spm_name_must_be_free(m->volume, m->magic, ref.name))
		return -1;
	err = spm_refs_change(m->volume, m->magic, tag_put, &ref);
	return err ? spm_fail_volume(err) : 0;
}

/* One that is there must have begun with the same version. */
static int branch_compare(struct import *m, const char *name)
{
	struct chain_about about;
	struct version_found is, there;
	struct chain *c;
	int err = spm_chain_open(m->volume, m->magic, name, 0, 0, &c);

	if (err)
		return spm_fail_volume(err);
	spm_chain_about(c, &about);
	spm_chain_close(c);
	if (named_find(m, &is))
		return -1;
	err = spm_version_find(m->volume, m->magic, name, BY_NUMBER, about.origin_version, &there);
	if (err && err != -ENOENT)
		return spm_fail_volume(err);
	if (!err && about.is_branch && about.origin_version == is.info.version && is_same(&is, &there))
		return 0;
	return spm_fail(EEXIST,
	                "branch %s of container %d does not begin with version %llu, as that of the stream does", name,
	                m->magic, (unsigned long long)is.info.version);
}

static int branch_take(struct import *m)
{
	const char *name = m->item.is.name.name;
	int there = spm_branch_exists(m->volume, m->magic, name), err;
	struct version_found at;

	if (there < 0)
		return spm_fail_volume(there);
	if (there)
		return branch_compare(m, name);
	if (named_find(m, &at))
		return -1;
	if (spm_name_must_be_free(m->volume, m->magic, name))
		return -1;
	err = spm_branch_create(m->volume, m->magic, name, &at);
	return err ? spm_fail_volume(err) : 0;
}

static int name_take(struct import *m)
{
	const struct item_name *n = &m->item.is.name;

	m->has_item = false;
	if (!m->version.info.version || !(m->head.flags & TRANSFER_HISTORY) || !ends(n->name, sizeof(n->name)) ||
	    !*n->name || n->time_ns > INT64_MAX)
		return spm_import_malformed(m, "a name is impossible, or stands where none can");
	return m->item.kind == ITEM_TAG ? tag_take(m) : branch_take(m);
}

static int current_put(struct refs *refs, void *arg)
{
	return spm_refs_put(refs, arg);
}

/* Of a container that this import made. */
static int current_take(struct import *m)
{
	struct ref ref = {.kind = REF_CURRENT};
	int err;

	if (!m->is_new || !*m->head.current || !strcmp(m->head.current, "main"))
		return 0;
	err = spm_branch_exists(m->volume, m->magic, m->head.current);
	if (err > 0) {
		memcpy(ref.name, m->head.current, sizeof(ref.name));
		err = spm_refs_change(m->volume, m->magic, current_put, &ref);
	}
	return err < 0 ? spm_fail_volume(err) : 0;
}

/* ---- the whole ---- */

static int head_take(struct import *m)
{
	if (spm_import_look(m))
		return -1;
	if (m->item.kind != ITEM_HEAD || !head_is_sane(&m->item.is.head))
		return spm_import_malformed(m, "its head makes no sense");
	m->head = m->item.is.head;
	m->has_item = false;
	if (m->head.machine != TRANSFER_MACHINE) {
		return spm_fail(ENOTSUP, "the stream is of another kind of machine (number %u of ELF)",
		                m->head.machine);
	}
	if (m->how->branch && (m->head.flags & TRANSFER_HISTORY) && !(m->head.flags & TRANSFER_INCREMENT)) {
		return spm_fail(EINVAL, "the stream is a history: its branches have names already");
	}
	if (m->how->branch && !spm_name_is_fit(m->how->branch))
		return -1;
	return 0;
}

static int end_take(struct import *m)
{
	int err;

	m->has_item = false;
	if (m->item.is.number != m->told)
		return spm_import_malformed(m, "it has not as many versions as it says");
	err = spm_stream_check_over(&m->in);
	if (err)
		return spm_import_fail(m, err);
	if (target_end(m) || current_take(m))
		return -1;
	m->t.is_over = true;
	return spm_import_tell(m);
}

static int items_take(struct import *m)
{
	int result = 0;

	m->magic = m->how->magic ? *m->how->magic : m->head.magic;
	m->t = (struct ptransfer){
	        .magic = m->magic, .name = m->head.name, .branch = "", .versions_all = m->head.versions};
	while (!result && !m->t.is_over) {
		result = spm_import_look(m);
		if (result)
			break;
		if (m->item.kind == ITEM_VERSION)
			result = version_take(m);
		else if (m->item.kind == ITEM_TAG || m->item.kind == ITEM_BRANCH)
			result = name_take(m);
		else if (m->item.kind == ITEM_END)
			result = end_take(m);
		else
			result = spm_import_malformed(m, "its parts are not in order");
	}
	return result;
}

static int import_begin(struct import *m, int fd)
{
	int err = spm_stream_in_begin(&m->in, fd);

	if (err)
		return spm_import_fail(m, err);
	m->change = malloc(IMPORT_BATCH_PAGES * sizeof(*m->change));
	m->pages = aligned_alloc(SPM_PAGE_BYTES, IMPORT_BATCH_PAGES * SPM_PAGE_BYTES);
	if (m->change && m->pages)
		return head_take(m);
	return spm_fail(ENOMEM, "no memory for an import");
}

static void import_end(struct import *m)
{
	int error = errno;

	target_close(m);
	spm_stream_in_end(&m->in);
	free(m->change);
	free(m->pages);
	free(m);
	errno = error;
}

int spm_import(struct volume *v, int fd, const struct pimport *how)
{
	struct import *m = calloc(1, sizeof(*m));
	int result;

	if (!m)
		return spm_fail(ENOMEM, "no memory for an import");
	m->volume = v;
	m->how = how;
	result = import_begin(m, fd);
	if (!result && !m->volume)
		m->volume = spm_volume_current();
	if (!result)
		result = m->volume ? items_take(m) : -1;
	import_end(m);
	return result;
}

int pImport(int fd, const struct pimport *how)
{
	static const struct pimport as_it_is = {.magic = NULL};

	return spm_import(NULL, fd, how ? how : &as_it_is);
}
