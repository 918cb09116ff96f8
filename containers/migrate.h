/* migrate.h - a version whose program's structs changed, made into what the program has by now.
 *
 *   types_comparison -> is all that differs registered (pCMigrate)? -> all pages come -> migrate_walk.c: what is each object, by the old types?
 *      -> each that is of a changed type: a new object beside it, converted (lib/types/convert.h), mended by the program's function
 *      -> migrate_move.c: all words that lead into the old ones lead into the new ones -> the old ones are freed
 *
 * All of that before anybody has the container, in memory that is its own. Nothing of the version in the volume is touched; the next point
 * writes what is new. A failure before the last step leaves the restore to throw all away, and the last step can't fail.
 *
 * Invariants
 *  1. No object is changed but where a word in it leads into one that moves. An object whose type changed is always moved: so
 *     what is an old address and what a new one can be told at any time, and the program's function sees old objects only.
 *  2. An object that moves is of one type, from its beginning to its end: all pointers that lead into it agree. Else it is refused.
 *  3. What can be reached, and could be a struct that changed, is told of; or the program says that it is none (migrate_untold.c).
 */
#ifndef SPM_MIGRATE_H
#define SPM_MIGRATE_H

#include "container.h"
#include "types/compare.h"
#include "types/convert.h"

typedef int migrate_fn(const struct ptype *was, const void *from, const struct ptype *is, void *to, void *arg);

/* What pCMigrate was told, as it was at some instant. */
struct migrate_rule {
	char *type;
	char *was; /* NULL: the same */
	migrate_fn *fn;
	void *arg;
};
struct migrate_rules {
	struct migrate_rule *rule;
	size_t n;
	struct types_renamed *renamed;
	size_t renames;
};
/* Whether anything is registered. */
bool spm_migrate_is_any(void);
/* 0 or -ENOMEM. */
int spm_migrate_rules(struct migrate_rules *out);
void spm_migrate_rules_free(struct migrate_rules *rules);

struct migrate_job {
	struct migrate_rules rules;
	const struct types *old, *new;
	struct types_comparison *found;
};
/* Whether the program wants what was found to be migrated, or must. */
bool spm_migrate_is_due(const struct migrate_job *j);
/* 0: all that must be registered is; else -1 and the error is set: EPROTOTYPE. */
int spm_migrate_permit(const struct container *c, const struct migrate_job *j);
/* All pages and the root are there, and nobody else has the container. 0, or -1 and the error is set: then its memory is good for nothing. */
int spm_migrate(struct container *c, const struct migrate_job *j);
/* To the end of a sentence: "; register a migration for struct user (pCMigrate)". */
void spm_migrate_advise(const struct ptype *old, const struct types *of, char *out, size_t room);

/* ---- between migrate_walk.c, migrate_untold.c and migrate_move.c ---- */

/* A pointer of the old types says that there is an old type's value at this address. */
struct claim {
	uint64_t address;
	uint32_t pair : 30;
	uint32_t is_row : 1;  /* more follow, to the end of the object */
	uint32_t is_told : 1; /* by the program: pCSetType */
	uint32_t next;        /* of the same bucket; claim + 1, 0: none */
	uint32_t next_inner;  /* of the same inner bucket */
};
struct claims {
	struct claim *claim;
	size_t n, room, done, rows; /* walked so far: first ones, rows */
	uint32_t *bucket;           /* by address; behind these as many more, by the object, of those into its midst */
	size_t buckets;
};
/* An object that moves. */
struct moving {
	uint64_t from, from_bytes; /* what may be used of it */
	uint64_t n;                /* elements */
	uint64_t to, to_bytes;
	uint32_t pair; /* of an element */
	unsigned flags;
};
struct migration {
	struct container *c;
	const struct migrate_job *job;
	struct conversion v;
	struct claims strong, weak; /* weak: by members of unions */
	struct marks *claimed;      /* objects with strong claims */
	struct marks *told;         /* objects whose beginning a pointer's type, or the program, tells of */
	bool accepts_untold;        /* the program says that no other is of a type that changed */
	struct moving *moving;      /* by address */
	size_t movings, moving_room;
	struct marks *leaving; /* the same objects */
	uint64_t *number;      /* places, by now, of words that types say to be numbers (plain.h); ascending */
	size_t numbers;
	uint32_t *whole; /* pairs of structs that move */
	size_t wholes;
	int err; /* in callbacks that can't return one: -1 and the error is set */
};

/* Makes the new ones of what moves, and puts them into the places of the old ones. 0, or -1 and the error is set. */
int spm_migrate_move(struct migration *m);
typedef int migrate_visit(struct migration *m, uint64_t place, uint32_t pointer, bool is_weak);
/* Fills strong and moving. 0, or -1 and the error is set. */
int spm_migrate_look(struct migration *m);
/* After the claims were sorted: 0; or an object, or values, that might have to be migrated can't be: -1 and the error is set, EPROTOTYPE. */
int spm_migrate_untold_check(struct migration *m);
int spm_migrate_no_memory(const struct migration *m);
/* EPROTOTYPE, or whatever it is. */
int spm_migrate_refuse(const struct migration *m, int error, uint32_t pair, uint64_t address, const char *format, ...)
        __attribute__((format(printf, 5, 6)));
/* The object of the container that an address lies in, and how much of it may be used. */
bool spm_migrate_object(const struct container *c, uint64_t address, uint64_t *base, uint64_t *bytes);
/* Whether the program told which member of a union at this address holds; *out NULL: none of them. */
bool spm_migrate_holds(const struct pchoice *choice, uint64_t at, const struct pmember **out);
/* Calls fn for each pointer in the memory, taken as the pair's old type, and returns what it returns if that is not 0. */
int spm_migrate_pointers(struct migration *m, uint32_t pair, uint64_t at, uint64_t room, bool is_weak,
                         migrate_visit *fn);
/* The same for a claim, and all elements that follow from it. */
int spm_migrate_claim_pointers(struct migration *m, const struct claim *claim, migrate_visit *fn);
/* The set gets the object that lies at the address. */
void spm_migrate_note(struct marks *set, uint64_t address);
bool spm_migrate_is_in(const struct marks *set, uint64_t address);

#endif
