/* refs.c - see refs.h. */
#include "refs.h"
#include "container.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- names ---- */

bool spm_name_is_fit(const char *name)
{
	size_t n = name ? strlen(name) : 0;

	if (!n || n >= SPM_NAME_BYTES)
		return !spm_fail(EINVAL, "a name needs 1 to %d bytes", SPM_NAME_BYTES - 1);
	if (strspn(name, "0123456789") == n)
		return !spm_fail(EINVAL, "\"%s\" is a number, not a name", name);
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)name[i] <= ' ' || name[i] == 0x7f || strchr("~@!:", name[i]))
			return !spm_fail(EINVAL, "\"%s\": a name has no spaces and none of ~ @ ! :", name);
	return true;
}

int spm_current_branch(int magic, char branch[SPM_NAME_BYTES])
{
	struct volume *v = spm_volume_current();
	struct refs refs;
	int err;

	strcpy(branch, "main");
	if (!v)
		return -1;
	err = spm_refs_load(v, magic, &refs);
	if (err)
		return spm_fail_volume(err);
	for (size_t i = 0; i < refs.n; i++)
		if (refs.ref[i].kind == REF_CURRENT)
			memcpy(branch, refs.ref[i].name, SPM_NAME_BYTES);
	spm_refs_free(&refs);
	return 0;
}

static int current_put(struct refs *refs, void *arg)
{
	struct ref ref = {.kind = REF_CURRENT};

	strncpy(ref.name, arg, sizeof(ref.name) - 1);
	for (size_t i = 0; i < refs->n; i++)
		if (refs->ref[i].kind == REF_CURRENT) {
			refs->ref[i] = ref;
			return 0;
		}
	return spm_refs_put(refs, &ref);
}

int spm_current_branch_set(int magic, const char *branch)
{
	char now[SPM_NAME_BYTES];
	int err;

	if (spm_current_branch(magic, now))
		return -1;
	if (!strcmp(now, branch))
		return 0;
	err = spm_refs_change(spm_volume_current(), magic, current_put, (void *)(uintptr_t)branch);
	return err ? spm_fail_volume(err) : 0;
}

/* ---- what there is ---- */

struct listing {
	int magic;
	char *text;
	size_t room;
	unsigned n;
};

static int branch_list(int magic, const char *branch, void *arg)
{
	struct listing *l = arg;
	size_t n = strlen(l->text);

	if (magic == l->magic)
		snprintf(l->text + n, l->room - n, "%s%s", l->n++ ? ", " : "", branch ? branch : "a damaged one");
	return 0;
}

/* Sets the error: no such thing, but these. */
static int nothing_called(int magic, const char *what)
{
	struct volume *v = spm_volume_current();
	char branches[400] = "", tags[400] = "";
	struct listing b = {magic, branches, sizeof(branches), 0}, t = {magic, tags, sizeof(tags), 0};
	struct refs refs;

	spm_volume_each_chain(v, branch_list, &b);
	if (!b.n)
		return spm_fail(ENOENT, "the volume has no container %d", magic);
	if (!spm_refs_load(v, magic, &refs)) {
		for (size_t i = 0; i < refs.n; i++)
			if (refs.ref[i].kind == REF_TAG)
				branch_list(magic, refs.ref[i].name, &t);
		spm_refs_free(&refs);
	}
	return spm_fail(ENOENT, "container %d has no %s; its branches are %s%s%s", magic, what, branches,
	                t.n ? ", its tags " : "; it has no tags", tags);
}

/* ---- numbers ---- */

/* False: it is none. One that no version can have is as good as any other such. */
static bool number_parse(const char *text, uint64_t *number)
{
	*number = strtoull(text, NULL, 10);
	return *text && !text[strspn(text, "0123456789")];
}

struct search {
	int magic;
	uint64_t number;
	struct resolved *out;
	unsigned n;
	char where[400];
	int err;
};

static int number_look(int magic, const char *branch, void *arg)
{
	struct search *s = arg;
	struct version_found found;
	size_t n = strlen(s->where);

	if (magic != s->magic || !branch)
		return 0;
	s->err = spm_version_find(spm_volume_current(), magic, branch, BY_NUMBER, s->number, &found);
	if (s->err && s->err != -ENOENT)
		return 1;
	if (s->err || found.info.version != s->number ||
	    (s->n == 1 && found.chain_id == s->out->found.chain_id && found.seq == s->out->found.seq)) {
		s->err = 0;
		return 0;
	}
	snprintf(s->where + n, sizeof(s->where) - n, "%s%s:%llu", s->n++ ? ", " : "", branch,
	         (unsigned long long)s->number);
	if (s->n == 1) {
		s->out->found = found;
		snprintf(s->out->branch, sizeof(s->out->branch), "%s", branch);
	}
	return 0;
}

static int number_resolve(int magic, const char *text, struct resolved *out)
{
	struct search s = {.magic = magic, .number = strtoull(text, NULL, 10), .out = out};
	char what[64];
	int err = spm_volume_each_chain(spm_volume_current(), number_look, &s);

	if (s.err || err < 0)
		return spm_fail_volume(s.err ? s.err : err);
	if (s.n > 1)
		return spm_fail(EINVAL, "container %d has several versions %s: %s", magic, text, s.where);
	snprintf(what, sizeof(what), "version %s, or not any more", text);
	return s.n ? 0 : nothing_called(magic, what);
}

/* ---- names ---- */

static int key_resolve(int magic, enum version_key key, uint64_t limit, const char *text, struct resolved *out)
{
	int err = spm_version_find(spm_volume_current(), magic, out->branch, key, limit, &out->found);

	if (err == -ENOENT)
		return spm_fail(ENOENT, "container %d, branch %s: no version fits \"%s\"", magic, out->branch, text);
	return err ? spm_fail_volume(err) : 0;
}

/* Of a branch that is open here, memory knows it. */
static int newest_resolve(int magic, struct resolved *out)
{
	struct volume *v = spm_volume_current();
	struct container *c = spm_container_open(magic, out->branch);
	int err = c ? spm_container_position(c, out->branch, &out->found) : -ENOENT;

	if (c)
		spm_container_put(c);
	if (err)
		err = spm_version_find(v, magic, out->branch, BY_NUMBER, INT64_MAX, &out->found);
	if (err == -ENOENT && spm_branch_exists(v, magic, out->branch) == 1)
		return spm_fail(ENOENT, "container %d has no version yet", magic);
	return err ? spm_fail_volume(err) : 0;
}

/* A damaged branch is passed over: another may have the version. */
static int branch_by_id(int magic, const char *branch, void *arg)
{
	struct search *s = arg;
	struct version_found found;
	int err;

	if (magic != s->magic || !branch)
		return 0;
	err = spm_version_find(spm_volume_current(), magic, branch, BY_NUMBER, s->number, &found);
	s->err = err == -ENOENT || err == -EUCLEAN ? 0 : err;
	if (err || found.chain_id != s->out->found.chain_id || found.seq != s->out->found.seq)
		return s->err != 0;
	snprintf(s->out->branch, sizeof(s->out->branch), "%s", branch);
	return 1;
}

static int tag_resolve(int magic, const char *name, struct resolved *out)
{
	struct search s = {.magic = magic, .out = out};
	struct refs refs;
	const struct ref *ref;
	char what[100];
	int found, err = spm_refs_load(spm_volume_current(), magic, &refs);

	if (err)
		return spm_fail_volume(err);
	ref = spm_refs_find(&refs, REF_TAG, name);
	if (ref) {
		out->found = (struct version_found){.chain_id = ref->chain_id, .seq = ref->seq};
		s.number = ref->version;
	}
	spm_refs_free(&refs);
	snprintf(what, sizeof(what), "branch or tag %s", name);
	if (!ref)
		return nothing_called(magic, what);
	found = spm_volume_each_chain(spm_volume_current(), branch_by_id, &s);
	if (s.err || found < 0)
		return spm_fail_volume(s.err ? s.err : found);
	if (!found)
		return spm_fail(ENOENT, "container %d: version %llu, which tag %s names, is not there any more", magic,
		                (unsigned long long)s.number, name);
	return key_resolve(magic, BY_NUMBER, s.number, name, out);
}

static int name_resolve(int magic, const char *name, struct resolved *out)
{
	int found = spm_branch_exists(spm_volume_current(), magic, name);

	if (found < 0)
		return spm_fail_volume(found);
	if (!found)
		return tag_resolve(magic, name, out);
	snprintf(out->branch, sizeof(out->branch), "%s", name);
	out->is_branch = true;
	return newest_resolve(magic, out);
}

/* ---- times ---- */

/* There is no 31st of February: mktime makes another day of it. (Not so of an hour that summer time leaves out.) */
static bool day_is_real(const struct tm *asked, const struct tm *made)
{
	return asked->tm_mday == made->tm_mday && asked->tm_mon == made->tm_mon && asked->tm_year == made->tm_year;
}

static bool time_parse(const char *text, uint64_t *ns)
{
	static const char *const formats[] = {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d"};

	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		struct tm asked = {.tm_isdst = -1}, tm;
		const char *end = strptime(text, formats[i], &asked);
		time_t t;

		if (!end || *end)
			continue;
		tm = asked;
		t = mktime(&tm);
		if (!day_is_real(&asked, &tm))
			return false;
		if (__builtin_mul_overflow((uint64_t)t + 1, UINT64_C(1000000000), ns)) /* all of that second */
			*ns = UINT64_MAX;
		return t >= 0;
	}
	return false;
}

static int time_resolve(int magic, char *base, char *at, struct resolved *out)
{
	uint64_t ns;

	*at = 0;
	if (*base) {
		if (spm_branch_exists(spm_volume_current(), magic, base) != 1)
			return spm_fail(ENOENT, "container %d has no branch %s", magic, base);
		snprintf(out->branch, sizeof(out->branch), "%s", base);
	}
	if (!time_parse(at + 1, &ns))
		return spm_fail(EINVAL, "\"%s\" is no time; one looks like 2026-11-20T10:00", at + 1);
	return key_resolve(magic, BY_TIME, ns, at + 1, out);
}

/* ---- the whole ---- */

/* BRANCH:NUMBER */
static int numbered_resolve(int magic, const char *branch, const char *text, struct resolved *out)
{
	uint64_t number;
	int err;

	if (!*branch || !number_parse(text, &number))
		return spm_fail(EINVAL, "\"%s:%s\" is no ref: a branch and a number belong round the colon", branch,
		                text);
	snprintf(out->branch, sizeof(out->branch), "%s", branch);
	err = key_resolve(magic, BY_NUMBER, number, text, out);
	if (!err && out->found.info.version != number)
		return spm_fail(ENOENT, "container %d, branch %s has no version %s, or not any more", magic, branch,
		                text);
	return err;
}

static int base_resolve(int magic, char *base, struct resolved *out)
{
	char *at = strchr(base, '@'), *colon = strchr(base, ':');
	uint64_t number;

	if (at)
		return time_resolve(magic, base, at, out);
	if (!*base) {
		out->is_branch = true;
		return newest_resolve(magic, out);
	}
	if (number_parse(base, &number))
		return number_resolve(magic, base, out);
	if (!colon)
		return name_resolve(magic, base, out);
	*colon = 0;
	return numbered_resolve(magic, base, colon + 1, out);
}

static int back_go(int magic, const char *ref, uint64_t steps, struct resolved *out)
{
	out->is_branch = false;
	for (uint64_t i = 0; i < steps; i++) {
		int err = spm_version_find(spm_volume_current(), magic, out->branch, BY_NUMBER,
		                           out->found.info.version - 1, &out->found);

		if (err == -ENOENT)
			return spm_fail(ENOENT, "container %d, \"%s\": only %llu versions before are there", magic, ref,
			                (unsigned long long)i);
		if (err)
			return spm_fail_volume(err);
	}
	return 0;
}

/* ~, ~3, ~~2: how many in all. */
static bool steps_parse(const char *text, uint64_t *steps)
{
	while (*text == '~') {
		char *end;
		uint64_t n = strtoull(text + 1, &end, 10);

		if (text[1] && text[1] != '~' && (text[1] < '0' || text[1] > '9'))
			return false;
		if (__builtin_add_overflow(*steps, end == text + 1 ? 1 : n, steps))
			*steps = UINT64_MAX;
		text = end;
	}
	return !*text;
}

int spm_ref_resolve(int magic, const char *current, const char *ref, struct resolved *out)
{
	char base[256];
	uint64_t steps = 0;
	char *tilde;

	*out = (struct resolved){.is_branch = false};
	if (!ref || strlen(ref) >= sizeof(base))
		return spm_fail(EINVAL, "no ref was given, or one that is too long");
	if (!spm_volume_current())
		return -1;
	if (current)
		snprintf(out->branch, sizeof(out->branch), "%s", current);
	else if (spm_current_branch(magic, out->branch))
		return -1;
	strcpy(base, ref);
	tilde = strchr(base, '~');
	if (tilde && !steps_parse(tilde, &steps))
		return spm_fail(EINVAL, "\"%s\" is no ref: a number of versions follows ~", ref);
	if (tilde)
		*tilde = 0;
	if (base_resolve(magic, base, out))
		return -1;
	return tilde ? back_go(magic, ref, steps, out) : 0;
}

int spm_ref_open(int magic, const char *current, const char *ref, struct resolved *at, struct chain **out)
{
	enum { TRIES = 20 };
	int err = -ENOENT;

	for (unsigned tries = 0; err == -ENOENT && tries < TRIES; tries++) {
		if (spm_ref_resolve(magic, current, ref, at))
			return -1;
		err = spm_chain_open_version(spm_volume_current(), magic, at->branch, at->found.info.version, out);
	}
	return err ? spm_fail_volume(err) : 0;
}

int spm_chain_open_ref(int magic, const char *ref, struct chain **out)
{
	struct resolved at;

	return spm_ref_open(magic, NULL, ref ? ref : "", &at, out);
}
