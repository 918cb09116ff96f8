/* telling.c - what the program tells of its types beyond what they say: pCSetType, pCSetFieldType, pCSetUnion.
 *
 *   pCSetType        object  -> number of a root of the container's types       hints: many, ended with the object
 *   pCSetFieldType   "struct node.data" -> number of a root                     rules of the types (types/rules.h): few
 *   pCSetUnion       "struct value.u", tag, cases                               the same
 *
 * A type that is named for the first time becomes a root: if the container's types have it already, by writing its name behind them, else by reading
 * debug information once more. After that a call costs a look at the names of the roots.
 *
 * One thread at a time makes types anew (typing_lock), from those that are there; they are exchanged while no point is under way.
 */
#include "container.h"
#include "heap/span.h"
#include "softpm/look.h"
#include "types/dwarf.h"
#include "types/rules.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 512 };

static pthread_mutex_t typing_lock = PTHREAD_MUTEX_INITIALIZER;

void spm_typing_lock(void)
{
	pthread_mutex_lock(&typing_lock);
}

void spm_typing_unlock(void)
{
	pthread_mutex_unlock(&typing_lock);
}

/* ---- the types ---- */

static int untyped_tell(const struct container *c, const char *call)
{
	return spm_fail(EINVAL, "%s: container %d has no type yet: name that of its root first (pCSetAttr)", call,
	                c->magic);
}

/* While no point is under way. Takes the types over. */
static void types_put(struct container *c, struct types *types)
{
	spm_container_lock(c);
	while (c->is_busy)
		pthread_cond_wait(&c->changed, &c->lock);
	spm_typing_set(c, types);
	spm_exact_begin(c, false);
	c->are_types_changed = true;
	c->is_attr_changed = true;
	pthread_mutex_unlock(&c->lock);
}

static const char **roots_list(const struct types *t, const char *more)
{
	const char **name = calloc(t->roots + 1, sizeof(*name));

	for (size_t i = 0; name && i < t->roots; i++)
		name[i] = t->all_roots[i].name;
	if (name && more)
		name[t->roots] = more;
	return name;
}

/* The types with one more root, which they have already (NULL: none), or with other rules. */
static int types_restate(const struct container *c, const char *more, const struct types_rule *rule, size_t rules,
                         struct types **out)
{
	const char **name = roots_list(c->types, more);
	size_t n = 0, roots = c->types->roots + (more != NULL);
	void *bytes = NULL;
	int err = !name ? -ENOMEM : roots > TYPES_ROOTS_MOST || rules > TYPES_RULES_MOST ? -E2BIG : 0;

	if (!err)
		err = spm_rules_put(c->types, name + 1, roots - 1, rule, rules, &bytes, &n);
	free(name);
	if (!err) {
		err = spm_types_load(bytes, n, out);
		free(bytes);
	}
	if (err == -E2BIG)
		return spm_fail(E2BIG, "container %d: more is told of its types than can be kept", c->magic);
	return err ? spm_fail(ENOMEM, "container %d: no memory for its types", c->magic) : 0;
}

/* typing_lock is held, and there are types. */
static int root_add(struct container *c, const char *type, const void *caller)
{
	struct types_near near = {.address = caller};
	struct types *types;
	char why[400];
	int err;

	if (spm_types_named(c->types, type) && spm_types_are_here(c->types)) {
		if (types_restate(c, type, c->types->rule, c->types->rules, &types))
			return -1;
		types_put(c, types);
		return 0;
	}
	err = spm_types_reread(c->types, NULL, type, &near, &types, why, sizeof(why));
	if (err)
		return spm_typing_fail(type, err, why);
	types_put(c, types);
	return 0;
}

/* The type becomes a root, if it is none. typing_lock is held. */
static int root_need(struct container *c, const char *call, const char *type, const void *caller, size_t *number)
{
	if (!c->types)
		return untyped_tell(c, call);
	if (!*type || strlen(type) >= PATH_BYTES)
		return spm_fail(EINVAL, "%s: %s is no type's name", call, *type ? "this" : "\"\"");
	if (spm_types_root(c->types, type) == c->types->roots && root_add(c, type, caller))
		return -1;
	*number = spm_types_root(c->types, type);
	if (*number >= c->types->roots || !c->types->all_roots[*number].type)
		return spm_fail(ENOENT, "%s: the program has no type %s", call, type);
	if (!c->types->all_roots[*number].type->bytes)
		return spm_fail(EINVAL, "%s: %s has no size: it is only declared", call, type);
	return 0;
}

/* ---- objects ---- */

struct telling {
	uint64_t object;
	const char *type; /* NULL: taken back */
	size_t root;
};

/* 0; 1: the type is no root yet; -1. c->lock is held, and no point is under way. */
static int object_tell(struct container *c, struct telling *t, struct span *s)
{
	const struct ptype *type;
	int err;

	if (t->type && !c->types)
		return untyped_tell(c, "pCSetType");
	t->root = t->type ? spm_types_root(c->types, t->type) : 0;
	type = !t->type || t->root == c->types->roots ? NULL : c->types->all_roots[t->root].type;
	if (t->type && !type)
		return 1;
	if (type && (!type->bytes || type->bytes > s->slot_bytes))
		return spm_fail(EINVAL, "pCSetType: %s has %llu bytes, the object at 0x%llx only %llu", t->type,
		                (unsigned long long)type->bytes, (unsigned long long)t->object,
		                (unsigned long long)s->slot_bytes);
	spm_capture_begin();
	if (type) {
		err = spm_hints_type(&c->hints, t->object, (unsigned)t->root);
		s->is_marked = 1; /* so that it is told when it is freed */
	} else {
		err = !c->hints.typed_count;
		spm_hints_untype(&c->hints, t->object);
	}
	spm_capture_end();
	c->is_attr_changed |= !err;
	return err < 0 ? spm_fail(ENOMEM, "pCSetType: no memory") : 0;
}

static int object_tell_idle(struct container *c, struct telling *t, struct span *s)
{
	int result;

	pthread_mutex_lock(&c->lock);
	while (c->is_busy)
		pthread_cond_wait(&c->changed, &c->lock);
	result = object_tell(c, t, s);
	pthread_mutex_unlock(&c->lock);
	return result;
}

/* The span of the object that begins there; NULL: none does, and the error is set. What was freed there before is known then. */
static struct span *object_find(const void *ptr)
{
	uint64_t address = (uintptr_t)ptr;
	struct span *s = spm_in_window(address) ? spm_span_of(address) : NULL;
	unsigned slot = s ? spm_span_slot(s, address) : 0;
	struct slotset one = {{0}};
	int err;

	if (!s || slot >= s->slots || !spm_slot_is_allocated(s, slot) || spm_slot_address(s, slot) != address) {
		spm_fail(EINVAL, "pCSetType: no object of the heap begins at %p", ptr);
		return NULL;
	}
	slotset_add(&one, slot);
	err = spm_span_has_news(s, &one) ? spm_capture_drain() : 0;
	if (!err)
		return s;
	spm_fail(-err, "a hint could not be taken: %s", strerror(-err));
	return NULL;
}

int pCSetType(int cID, const void *ptr, const char *type)
{
	struct telling t = {.object = (uintptr_t)ptr, .type = type};
	struct container *c = spm_container_get(cID);
	struct span *s = c ? object_find(ptr) : NULL;
	size_t number;
	int result = s ? object_tell_idle(c, &t, s) : -1;

	if (result == 1) {
		spm_typing_lock();
		result = root_need(c, "pCSetType", type, __builtin_return_address(0), &number);
		spm_typing_unlock();
		if (!result && object_tell_idle(c, &t, s))
			result = -1;
	}
	if (c)
		spm_container_put(c);
	return result;
}

/* ---- rules ---- */

/* What a path begins with becomes known. typing_lock is held. */
static int path_need(struct container *c, const char *call, const char *path, const void *caller)
{
	size_t n = spm_rule_type_bytes(path), number;
	char type[PATH_BYTES];

	if (!c->types)
		return untyped_tell(c, call);
	if (strlen(path) >= sizeof(type))
		return spm_fail(EINVAL, "%s: %.60s... is no field", call, path);
	memcpy(type, path, n);
	type[n] = 0;
	return spm_types_named(c->types, type) ? 0 : root_need(c, call, type, caller, &number);
}

static bool is_same_rule(const struct types_rule *a, const struct types_rule *b)
{
	if (!a->tag != !b->tag || strcmp(a->path, b->path) != 0)
		return false;
	if (!a->tag)
		return a->root == b->root;
	if (strcmp(a->tag, b->tag) != 0 || a->cases != b->cases)
		return false;
	for (size_t i = 0; i < a->cases; i++)
		if (a->of[i].value != b->of[i].value || strcmp(a->of[i].member, b->of[i].member) != 0)
			return false;
	return true;
}

static const struct types_rule *rule_find(const struct types *t, const char *path, bool is_union)
{
	for (size_t i = 0; i < t->rules; i++)
		if (!t->rule[i].tag == !is_union && !strcmp(t->rule[i].path, path))
			return &t->rule[i];
	return NULL;
}

/* The rule, instead of the one of that path; or only without that (NULL). 1: it fits no such field. typing_lock is held. */
static int rule_set(struct container *c, const char *path, bool is_union, const struct types_rule *rule)
{
	const struct types_rule *old = rule_find(c->types, path, is_union);
	struct types_rule *list;
	struct types *types;
	size_t n = 0;
	int result;

	if (rule ? old && is_same_rule(old, rule) && old->fits : !old)
		return 0;
	list = calloc(c->types->rules + 1, sizeof(*list));
	if (!list)
		return spm_fail(ENOMEM, "container %d: no memory for its types", c->magic);
	for (size_t i = 0; i < c->types->rules; i++)
		if (&c->types->rule[i] != old)
			list[n++] = c->types->rule[i];
	if (rule)
		list[n++] = *rule;
	result = types_restate(c, NULL, list, n, &types);
	free(list);
	if (!result && rule && !rule_find(types, path, is_union)->fits) {
		spm_types_free(types);
		return 1;
	}
	if (!result)
		types_put(c, types);
	return result;
}

static int field_set(struct container *c, const char *field, const char *type, const void *caller)
{
	struct types_rule rule = {.path = field};
	size_t root = 0;
	int result;

	if (path_need(c, "pCSetFieldType", field, caller) ||
	    (type && root_need(c, "pCSetFieldType", type, caller, &root)))
		return -1;
	rule.root = (unsigned)root;
	result = rule_set(c, field, false, type ? &rule : NULL);
	return result == 1 ? spm_fail(ENOENT, "pCSetFieldType: %s is no field that is a pointer", field) : result;
}

int pCSetFieldType(int cID, const char *field, const char *type)
{
	struct container *c = spm_container_get(cID);
	int result;

	if (!c)
		return -1;
	spm_typing_lock();
	result = field_set(c, field, type, __builtin_return_address(0));
	spm_typing_unlock();
	spm_container_put(c);
	return result;
}

static int union_set(struct container *c, const char *field, const char *tag, const struct types_case *cases, size_t n,
                     const void *caller)
{
	struct types_rule rule = {.path = field, .tag = tag, .of = cases, .cases = n};
	int result = path_need(c, "pCSetUnion", field, caller) ? -1 : rule_set(c, field, true, tag ? &rule : NULL);

	return result == 1 ? spm_fail(ENOENT,
	                              "pCSetUnion: %s is no union, has no member of one of the names, or %s is no "
	                              "integer or enum beside it",
	                              field, tag)
	                   : result;
}

int pCSetUnion(int cID, const char *field, const char *tag, const struct pcase *cases, size_t n)
{
	struct types_case *of = n <= TYPES_CASES_MOST ? calloc(n + 1, sizeof(*of)) : NULL;
	struct container *c = spm_container_get(cID);
	int result = -1;

	if (c && !of)
		spm_fail(n > TYPES_CASES_MOST ? E2BIG : ENOMEM, "pCSetUnion: no memory for %zu cases", n);
	for (size_t i = 0; of && i < n; i++)
		of[i] = (struct types_case){cases[i].value, cases[i].member ? cases[i].member : ""};
	if (c && of) {
		spm_typing_lock();
		result = union_set(c, field, tag, of, n, __builtin_return_address(0));
		spm_typing_unlock();
	}
	free(of);
	if (c)
		spm_container_put(c);
	return result;
}
