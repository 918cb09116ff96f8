/* rules.h - what a program tells of its types beyond what debug information does: which types there are behind void pointers (further roots), what
 * fields lead to, which members of unions hold.
 *
 * A rule is told by names, and kept so: another build of the program may have other types. When types are loaded it becomes part of them, so that
 * whoever reads them sees what is meant: the field's type is a pointer to what it leads to, and the union's member has a choice.
 *
 *   struct node { void *data; }      "struct node.data" is struct foo         data's type becomes a pointer type of its own, to struct foo
 *   struct pair { struct node a; }   "struct pair.a.data" is struct foo       and so does a's: struct node as it is within struct pair
 *
 * A rule that no longer fits the types says nothing. Rules come from a volume: what they make is bounded (TYPES_MADE_MOST), and leaves the
 * invariants of types.h as they are.
 */
#ifndef SPM_RULES_H
#define SPM_RULES_H

#include "types/types.h"

enum { TYPES_MADE_MOST = 4096, TYPES_LOOKS_MOST = 1 << 24 };
struct types_made {
	struct ptype *on[TYPES_RULES_MOST];       /* of each rule: the type that its path begins with; NULL: none */
	struct types_case told[TYPES_CASES_MOST]; /* as rules have them */
	struct pchosen chosen[TYPES_CASES_MOST];
	struct pchoice choice[TYPES_RULES_MOST];
	struct pmember *member[TYPES_MADE_MOST]; /* of types that were made */
	size_t types, members, choices, chosens;
	size_t looks; /* at members' names: a volume's may be many */
};

/* Of types that are sound otherwise. */
void spm_rules_apply(struct types *t);
void spm_rules_free(struct types *t);

/* The same types with other roots behind the first, and other rules, as bytes, to be freed. Roots and what paths begin with are looked for among
 * t's types. -E2BIG: too many of them; -ENOMEM. */
int spm_rules_put(const struct types *t, const char *const *roots, size_t n, const struct types_rule *rules,
                  size_t rule_count, void **bytes, size_t *bytes_n);
/* The type's name that a path begins with; its length. */
size_t spm_rule_type_bytes(const char *path);

/* Which member of a union holds, which is at `at` in the object. false: its number is none that the program told of, or lies outside the
 * object; *out NULL: none of them. */
bool spm_types_holds(const struct pchoice *choice, const void *object, uint64_t bytes, uint64_t at,
                     const struct pmember **out);
/* How many bytes its tag has. */
unsigned spm_types_tag_bytes(const struct pchoice *choice);

#endif
