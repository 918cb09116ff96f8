/* migrate.c - what pCMigrate registers, and whether it is enough for what a comparison of types found.
 *
 * What must be registered is each struct, union or enum that has changed by itself. What is only elsewhere because something that it has
 * within it by value has another size, and that one is registered, need not be. What has no name goes with what has it.
 */
#include "migrate.h"
#include "grown.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the registry ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct migrate_rules known;

static void rule_free(struct migrate_rule *r)
{
	free(r->type);
	free(r->was);
}

static bool rule_copy(const struct migrate_rule *from, struct migrate_rule *to)
{
	*to = (struct migrate_rule){strdup(from->type), from->was ? strdup(from->was) : NULL, from->fn, from->arg};
	if (to->type && !to->was == !from->was)
		return true;
	rule_free(to);
	return false;
}

static bool is_same_rule(const struct migrate_rule *a, const struct migrate_rule *b)
{
	return !strcmp(a->type, b->type) && !a->was == !b->was && (!a->was || !strcmp(a->was, b->was));
}

static int rule_add(const struct migrate_rule *rule)
{
	struct migrate_rule copy, *more;

	for (size_t i = 0; i < known.n; i++)
		if (is_same_rule(&known.rule[i], rule)) {
			known.rule[i].fn = rule->fn;
			known.rule[i].arg = rule->arg;
			return 0;
		}
	more = realloc(known.rule, (known.n + 1) * sizeof(*more));
	if (more)
		known.rule = more;
	if (!more || !rule_copy(rule, &copy))
		return -ENOMEM;
	known.rule[known.n++] = copy;
	return 0;
}

static int registered(const char *call, const struct migrate_rule *rule)
{
	int err;

	if (!rule->type || !*rule->type || (rule->was && !*rule->was))
		return spm_fail(EINVAL, "%s: no name of a type", call);
	pthread_mutex_lock(&lock);
	err = rule_add(rule);
	pthread_mutex_unlock(&lock);
	return err ? spm_fail(ENOMEM, "%s: no memory", call) : 0;
}

int pCMigrate(const char *type, migrate_fn *migrate, void *arg)
{
	return registered("pCMigrate", &(struct migrate_rule){(char *)(uintptr_t)type, NULL, migrate, arg});
}

int pCMigrateRenamed(const char *was, const char *type)
{
	if (!was)
		return spm_fail(EINVAL, "pCMigrateRenamed: no name of a type");
	return registered("pCMigrateRenamed",
	                  &(struct migrate_rule){(char *)(uintptr_t)type, (char *)(uintptr_t)was, NULL, NULL});
}

bool spm_migrate_is_any(void)
{
	bool is;

	pthread_mutex_lock(&lock);
	is = known.n > 0;
	pthread_mutex_unlock(&lock);
	return is;
}

int spm_migrate_rules(struct migrate_rules *out)
{
	int err = 0;

	*out = (struct migrate_rules){0};
	pthread_mutex_lock(&lock);
	out->rule = calloc(known.n + 1, sizeof(*out->rule));
	out->renamed = calloc(known.n + 1, sizeof(*out->renamed));
	err = out->rule && out->renamed ? 0 : -ENOMEM;
	for (size_t i = 0; i < known.n && !err; i++) {
		err = rule_copy(&known.rule[i], &out->rule[i]) ? 0 : -ENOMEM;
		out->n += !err;
		if (!err && out->rule[i].was)
			out->renamed[out->renames++] = (struct types_renamed){out->rule[i].was, out->rule[i].type};
	}
	pthread_mutex_unlock(&lock);
	if (err)
		spm_migrate_rules_free(out);
	return err;
}

void spm_migrate_rules_free(struct migrate_rules *rules)
{
	for (size_t i = 0; i < rules->n; i++)
		rule_free(&rules->rule[i]);
	free(rules->rule);
	free(rules->renamed);
	*rules = (struct migrate_rules){0};
}

/* ---- fields by name, for the program's functions ---- */

static const struct pmember *member_find(const struct ptype *type, const char *name, size_t n, uint64_t *offset)
{
	for (size_t i = 0; i < type->members; i++) {
		const struct pmember *m = &type->member[i], *inner;

		if (*m->name && strlen(m->name) == n && !memcmp(m->name, name, n)) {
			*offset += m->offset;
			return m;
		}
		inner = !*m->name ? member_find(m->type, name, n, offset) : NULL;
		if (inner) {
			*offset += m->offset;
			return inner;
		}
	}
	return NULL;
}

const void *pMigrateField(const struct ptype *type, const void *memory, const char *path, size_t bytes)
{
	uint64_t offset = 0;

	for (;;) {
		size_t n = strcspn(path, ".");
		const struct pmember *m = member_find(type, path, n, &offset);

		if (!m || m->bits)
			return NULL;
		type = m->type;
		if (!path[n])
			break;
		path += n + 1;
	}
	return type->bytes == bytes ? (const char *)memory + offset : NULL;
}

/* ---- whether it is enough ---- */

static bool is_registered(const struct migrate_job *j, const char *name)
{
	for (size_t i = 0; i < j->rules.n && *name; i++)
		if (!strcmp(j->rules.rule[i].type, name) ||
		    (j->rules.rule[i].was && !strcmp(j->rules.rule[i].was, name)))
			return true;
	return false;
}

/* Of arrays: what they are of. */
static const struct ptype *element(const struct ptype *t)
{
	while (t->kind == PTYPE_ARRAY)
		t = t->of;
	return t;
}

/* A member of the type is `what`, or pointers to it, or arrays. */
static bool is_made_of(const struct ptype *t, const struct ptype *what)
{
	for (unsigned i = 0; i < TYPES_DEPTH_MOST && t != what && t->of; i++) /* pointers may lead back to themselves */
		t = t->of;
	return t == what;
}

/* Of what is named, or all that have it, if it has no name. */
static bool is_covered(const struct migrate_job *j, const struct ptype *old, const struct ptype *new, unsigned left)
{
	bool has_holder = false;

	if (is_registered(j, old->name) || (new &&is_registered(j, new->name)) ||
	    (old == &j->old->type[0] && (is_registered(j, j->old->root) || is_registered(j, j->new->root))))
		return true;
	if (*old->name || !left)
		return false;
	for (size_t i = 0; i < j->old->types; i++) {
		const struct ptype *t = &j->old->type[i];

		for (size_t k = 0; k < t->members; k++) {
			if (t == old || !is_made_of(t->member[k].type, old))
				continue;
			has_holder = true;
			if (!is_covered(j, t, NULL, left - 1))
				return false;
		}
	}
	return has_holder;
}

static bool is_change_covered(const struct migrate_job *j, const struct types_change *change)
{
	enum { NAMELESS_MOST = 8 };

	return is_covered(j, change->old, change->new, NAMELESS_MOST);
}

static const struct types_change *change_find(const struct migrate_job *j, const struct ptype *old)
{
	for (size_t i = 0; i < j->found->changes; i++)
		if (j->found->change[i].old == old)
			return &j->found->change[i];
	return NULL;
}

static bool has_other_size(const struct types_change *change)
{
	return change && change->old->bytes != change->new->bytes;
}

/* By value there is something in it that has another size; must_be: and is registered. */
static bool has_reason_within(const struct migrate_job *j, const struct ptype *old, bool must_be)
{
	for (size_t i = 0; i < old->members; i++) {
		const struct ptype *in = element(old->member[i].type);
		const struct types_change *change = change_find(j, in);

		if (has_other_size(change) && (!must_be || is_change_covered(j, change)))
			return true;
		if (in->members && has_reason_within(j, in, must_be))
			return true;
	}
	return false;
}

static bool is_right(const struct migrate_job *j, const struct types_change *change)
{
	return is_change_covered(j, change) ||
	       (!(change->flags & TYPES_CHANGED) && has_reason_within(j, change->old, true));
}

bool spm_migrate_is_due(const struct migrate_job *j)
{
	for (size_t i = 0; i < j->found->changes; i++)
		if (is_change_covered(j, &j->found->change[i]))
			return true;
	return j->found->differences > 0;
}

/* What one registers for it: its name, or that of what has it. NULL: it has none. */
static const char *name_for(const struct types *of, const struct ptype *t, unsigned left)
{
	if (t == &of->type[0])
		return of->root;
	if (*t->name || !left)
		return *t->name ? t->name : NULL;
	for (size_t i = 0; i < of->types; i++)
		for (size_t k = 0; k < of->type[i].members; k++)
			if (&of->type[i] != t && is_made_of(of->type[i].member[k].type, t))
				return name_for(of, &of->type[i], left - 1);
	return NULL;
}

void spm_migrate_advise(const struct ptype *old, const struct types *of, char *out, size_t room)
{
	const char *name = name_for(of, old, 8);

	snprintf(out, room, "; register a migration for %s (pCMigrate)", name ? name : "it");
}

/* ", " and the name, if it is not there yet. */
static void name_append(char *out, size_t room, const char *name)
{
	size_t n = strlen(out);

	if (name && !strstr(out, name) && n + strlen(name) + 3 < room)
		snprintf(out + n, room - n, "%s%s", n ? ", " : "", name);
}

int spm_migrate_permit(const struct container *c, const struct migrate_job *j)
{
	char names[120] = "";
	bool is_enough = true;

	for (size_t i = 0; i < j->found->changes; i++) {
		const struct types_change *change = &j->found->change[i];

		if (change->flags == TYPES_ADDED || is_right(j, change))
			continue;
		is_enough = false;
		if (change->flags & TYPES_CHANGED || !has_reason_within(j, change->old, false))
			name_append(names, sizeof(names), name_for(j->old, change->old, 8));
	}
	if (is_enough)
		return 0;
	return spm_fail(EPROTOTYPE,
	                "container %d can't be used by this build of the program: %.*s; register a migration for %s "
	                "(pCMigrate)",
	                c->magic, (int)(360 - strlen(names)), j->found->text, *names ? names : "what changed");
}

/* What only grew, and nobody has registered, needs room as ever. */
static int growth_check(struct container *c, const struct migrate_job *j)
{
	struct types_comparison some = {.grown = calloc(j->found->grown_count + 1, sizeof(*some.grown))};
	int err = some.grown ? 0 : spm_fail(ENOMEM, "container %d: no memory to migrate it", c->magic);

	for (size_t i = 0; i < j->found->grown_count && !err; i++) {
		const struct types_change *change = change_find(j, j->found->grown[i].old);

		if (change && change->flags == TYPES_ADDED && !is_right(j, change))
			some.grown[some.grown_count++] = j->found->grown[i];
	}
	if (!err && some.grown_count)
		err = spm_grown_check(c, j->old, &some);
	free(some.grown);
	return err;
}

/* ---- doing it ---- */

static const struct migrate_rule *rule_of(const struct migrate_job *j, const struct types_pair *p)
{
	for (size_t i = 0; i < j->rules.n; i++) {
		const struct migrate_rule *r = &j->rules.rule[i];
		bool is_root = p->old == &j->old->type[0] && p->new == &j->new->type[0];

		if (!r->was && ((*p->new->name && !strcmp(r->type, p->new->name)) ||
		                (is_root && (!strcmp(r->type, j->new->root) || !strcmp(r->type, j->old->root))) ||
		                (*p->old->name && !strcmp(r->type, p->old->name))))
			return r;
	}
	return NULL;
}

/* What did not change needs no function, however long ago that was registered. */
static void pair_made(struct types_pair *p, void *arg)
{
	struct migration *m = arg;
	const struct migrate_rule *r = p->new && !p->is_same ? rule_of(m->job, p) : NULL;

	p->is_wanted |= r != NULL;
	p->own = r && r->fn ? (void *)(uintptr_t)r : NULL;
}

static void migration_end(struct migration *m)
{
	spm_conversion_free(&m->v);
	free(m->strong.claim);
	free(m->strong.bucket);
	free(m->weak.claim);
	free(m->weak.bucket);
	spm_marks_free(m->claimed);
	spm_marks_free(m->told);
	spm_marks_free(m->leaving);
	free(m->moving);
	free(m->number);
	free(m->whole);
}

int spm_migrate_no_memory(const struct migration *m)
{
	return spm_fail(ENOMEM, "container %d: no memory to migrate it", m->c->magic);
}

static int migration_begin(struct migration *m)
{
	const struct migrate_job *j = m->job;

	m->v = (struct conversion){.old = j->old,
	                           .new = j->new,
	                           .renamed = j->rules.renamed,
	                           .renames = j->rules.renames,
	                           .made = pair_made,
	                           .arg = m};
	m->claimed = spm_marks_new();
	m->leaving = spm_marks_new();
	m->told = spm_marks_new();
	m->accepts_untold = is_registered(j, "void");
	return m->claimed && m->leaving && m->told && !spm_conversion_begin(&m->v) ? 0 : spm_migrate_no_memory(m);
}

int spm_migrate(struct container *c, const struct migrate_job *j)
{
	struct migration m = {.c = c, .job = j};
	int err = growth_check(c, j);

	if (err)
		return err;
	err = migration_begin(&m);
	if (!err)
		err = spm_migrate_look(&m);
	if (!err)
		err = spm_migrate_move(&m);
	migration_end(&m);
	return err;
}
