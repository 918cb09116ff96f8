/* list.h - doubly linked lists.
 *
 *     PLIST_OF(jobs, struct job);
 *
 *     root->jobs = jobs_make();
 *     if (!jobs_push(root->jobs, (struct job){.size = 7}))
 *             return -1;                               (ENOMEM)
 *     for (struct jobs_node *n = jobs_first(root->jobs), *next; n; n = next) {
 *             next = jobs_next(n);
 *             if (done(&n->value))
 *                     jobs_remove(root->jobs, n);
 *     }
 *
 * Conventions are those of common.h. Values are held by copy, each in a node of its own, which stays where it is until it is removed: the
 * address of a node, or of its value, is an iterator that nothing else makes void, no sorting, no splicing, no restore. A value may
 * be changed in place.
 *
 * A push, an insert or a removal writes to the node, its neighbours, and struct plist. A node takes 24 bytes beside the value. Where values
 * are small and their order seldom changes, a vector (array.h) takes less memory, and fewer pages are written. Nodes have pointers, so values
 * that are numbers may not look like addresses (softpm.h); those of a vector may.
 */
#ifndef SOFTPM_LIST_H
#define SOFTPM_LIST_H

#include <softpm/common.h>

#ifdef __cplusplus
extern "C" {
#endif

struct plist_owner;
/* The value is right behind it. Its fields are for the functions below. */
struct plist_node {
	struct plist_node *prev, *next; /* NULL: none */
	const char *mark;               /* whose it is */
};
/* To be had from plist_make, or as a part of something else (plist_init), which may be moved. Its fields are for the functions below. It lies in
 * memory that is searched for pointers, where no number may look like an address: so ~ before counts. */
struct plist {
	struct plist_owner *owner;
	struct plist_node *first, *last;
	size_t inverted_count, inverted_strangers;
	uint32_t bytes; /* of a value */
	uint32_t magic;
};

/* An empty list of values of so many bytes. EINVAL: bytes is 0, or 4 GiB and more. */
struct plist *plist_make(size_t bytes);
void plist_free(struct plist *l); /* NULL: nothing */
/* The same for a list that is part of something else; plist_clear gives back all memory, and leaves it empty. */
int plist_init(struct plist *l, size_t bytes);
void plist_clear(struct plist *l);

static inline size_t plist_count(const struct plist *l)
{
	return ~l->inverted_count;
}
/* NULL: it is empty. */
static inline struct plist_node *plist_first(const struct plist *l)
{
	return l->first;
}
static inline struct plist_node *plist_last(const struct plist *l)
{
	return l->last;
}
/* NULL: it is the last, or the first. */
static inline struct plist_node *plist_next(const struct plist_node *n)
{
	return n->next;
}
static inline struct plist_node *plist_prev(const struct plist_node *n)
{
	return n->prev;
}
static inline void *plist_value(const struct plist_node *n)
{
	return (void *)(n + 1);
}

/* Adds a value, behind the last one or in front of the first, and returns its node, or NULL. value NULL: zeros. */
struct plist_node *plist_push(struct plist *l, const void *value);
struct plist_node *plist_push_front(struct plist *l, const void *value);
/* Takes the last one, or the first: 1, or 0 if there is none. value, unless it is NULL, gets it. */
int plist_pop(struct plist *l, void *value);
int plist_pop_front(struct plist *l, void *value);
/* In front of a node of the list (NULL: behind the last one), or behind one (NULL: in front of the first). Return the new node, or NULL. */
struct plist_node *plist_insert(struct plist *l, struct plist_node *before, const void *value);
struct plist_node *plist_insert_after(struct plist *l, struct plist_node *after, const void *value);
/* The node's memory is given back. */
void plist_remove(struct plist *l, struct plist_node *n);

/* All of another list comes in front of a node (NULL: behind the last one); `from` is empty then. Takes the same time whatever there is
 * in them. Both hold values of one size. */
void plist_splice(struct plist *to, struct plist_node *before, struct plist *from);
/* A node changes its place, or its list: it comes in front of a node of `to` (NULL: behind the last one). 0, or -1: ENOMEM, which can only
 * be if `to` is empty. */
int plist_move(struct plist *to, struct plist_node *before, struct plist *from, struct plist_node *n);
/* The same with all nodes from `first` to `last`, among which `before` is not. If the lists are two, it takes time for each node. */
int plist_move_range(struct plist *to, struct plist_node *before, struct plist *from, struct plist_node *first,
                     struct plist_node *last);

void plist_reverse(struct plist *l);
/* < 0, 0, > 0. */
typedef int plist_compare_fn(const void *x, const void *y, void *arg);
/* Equal ones keep their order. Takes no memory; nodes whose neighbours stay the same are not written to. */
void plist_sort(struct plist *l, plist_compare_fn *compare, void *arg);

/* fn for each entry that was added, removed or changed from one version of a list to another: `old` and `now` lie in containers that are
 * open, as a rule a view and the live one. An entry is known by its node: one that only changed its place is not told; one that left the
 * list and came back may be told as removed, and added; a removed one whose node another has got as changed. What is told comes in no
 * certain order. Takes time for what has changed, not for the lists' length, beside what pDiffer takes.
 *
 * Lists that pDiffer can't compare (in one container, in none, in an image) are compared by their values, from the beginning and from the end
 * as far as they are the same: what lies between is told as removed, and added.
 *
 * Nobody may change the lists meanwhile, fn neither. EINVAL: their values differ in size. */
int plist_diff(const struct plist *old, const struct plist *now, pchange_fn *fn, void *arg);

/* A list of T: struct NAME, its nodes: struct NAME_node, whose member `value` is the T, and functions NAME_... as those above that take and
 * give them. T is what can be assigned: no array. */
#define PLIST_OF(name, T)                                                                                              \
	struct name {                                                                                                  \
		struct plist list;                                                                                     \
		__extension__ T *value_of_[0];                                                                         \
	};                                                                                                             \
	struct name##_node {                                                                                           \
		struct plist_node node;                                                                                \
		T value;                                                                                               \
	};                                                                                                             \
	struct name##_order {                                                                                          \
		int (*compare)(T const *x, T const *y, void *arg);                                                     \
		void *arg;                                                                                             \
	};                                                                                                             \
	_Static_assert(_Alignof(T) <= 8, "values of " #name " are aligned to more than 8 bytes");                      \
	PDS_INLINE struct name *name##_make(void)                                                                      \
	{                                                                                                              \
		return (struct name *)plist_make(sizeof(T));                                                           \
	}                                                                                                              \
	PDS_INLINE void name##_free(struct name *l)                                                                    \
	{                                                                                                              \
		plist_free((struct plist *)l);                                                                         \
	}                                                                                                              \
	PDS_INLINE int name##_init(struct name *l)                                                                     \
	{                                                                                                              \
		return plist_init(&l->list, sizeof(T));                                                                \
	}                                                                                                              \
	PDS_INLINE void name##_clear(struct name *l)                                                                   \
	{                                                                                                              \
		plist_clear(&l->list);                                                                                 \
	}                                                                                                              \
	PDS_INLINE size_t name##_count(const struct name *l)                                                           \
	{                                                                                                              \
		return plist_count(&l->list);                                                                          \
	}                                                                                                              \
	PDS_INLINE struct name##_node *name##_first(const struct name *l)                                              \
	{                                                                                                              \
		return (struct name##_node *)plist_first(&l->list);                                                    \
	}                                                                                                              \
	PDS_INLINE struct name##_node *name##_last(const struct name *l)                                               \
	{                                                                                                              \
		return (struct name##_node *)plist_last(&l->list);                                                     \
	}                                                                                                              \
	PDS_INLINE struct name##_node *name##_next(const struct name##_node *n)                                        \
	{                                                                                                              \
		return (struct name##_node *)plist_next(&n->node);                                                     \
	}                                                                                                              \
	PDS_INLINE struct name##_node *name##_prev(const struct name##_node *n)                                        \
	{                                                                                                              \
		return (struct name##_node *)plist_prev(&n->node);                                                     \
	}                                                                                                              \
	PDS_INLINE struct name##_node *name##_push(struct name *l, T value)                                            \
	{                                                                                                              \
		return (struct name##_node *)plist_push(&l->list, &value);                                             \
	}                                                                                                              \
	PDS_INLINE struct name##_node *name##_push_front(struct name *l, T value)                                      \
	{                                                                                                              \
		return (struct name##_node *)plist_push_front(&l->list, &value);                                       \
	}                                                                                                              \
	PDS_INLINE int name##_pop(struct name *l, T *value)                                                            \
	{                                                                                                              \
		return plist_pop(&l->list, value);                                                                     \
	}                                                                                                              \
	PDS_INLINE int name##_pop_front(struct name *l, T *value)                                                      \
	{                                                                                                              \
		return plist_pop_front(&l->list, value);                                                               \
	}                                                                                                              \
	PDS_INLINE struct name##_node *name##_insert(struct name *l, struct name##_node *before, T value)              \
	{                                                                                                              \
		return (struct name##_node *)plist_insert(&l->list, (struct plist_node *)before, &value);              \
	}                                                                                                              \
	PDS_INLINE struct name##_node *name##_insert_after(struct name *l, struct name##_node *after, T value)         \
	{                                                                                                              \
		return (struct name##_node *)plist_insert_after(&l->list, (struct plist_node *)after, &value);         \
	}                                                                                                              \
	PDS_INLINE void name##_remove(struct name *l, struct name##_node *n)                                           \
	{                                                                                                              \
		plist_remove(&l->list, &n->node);                                                                      \
	}                                                                                                              \
	PDS_INLINE void name##_splice(struct name *to, struct name##_node *before, struct name *from)                  \
	{                                                                                                              \
		plist_splice(&to->list, (struct plist_node *)before, &from->list);                                     \
	}                                                                                                              \
	PDS_INLINE int name##_move(struct name *to, struct name##_node *before, struct name *from,                     \
	                           struct name##_node *n)                                                              \
	{                                                                                                              \
		return plist_move(&to->list, (struct plist_node *)before, &from->list, &n->node);                      \
	}                                                                                                              \
	PDS_INLINE int name##_move_range(struct name *to, struct name##_node *before, struct name *from,               \
	                                 struct name##_node *first, struct name##_node *last)                          \
	{                                                                                                              \
		return plist_move_range(&to->list, (struct plist_node *)before, &from->list, &first->node,             \
		                        &last->node);                                                                  \
	}                                                                                                              \
	PDS_INLINE void name##_reverse(struct name *l)                                                                 \
	{                                                                                                              \
		plist_reverse(&l->list);                                                                               \
	}                                                                                                              \
	PDS_INLINE int name##_compare(const void *x, const void *y, void *arg)                                         \
	{                                                                                                              \
		const struct name##_order *order = (const struct name##_order *)arg;                                   \
                                                                                                                       \
		return order->compare((T const *)x, (T const *)y, order->arg);                                         \
	}                                                                                                              \
	PDS_INLINE void name##_sort(struct name *l, int (*compare)(T const *x, T const *y, void *arg), void *arg)      \
	{                                                                                                              \
		struct name##_order order = {compare, arg};                                                            \
                                                                                                                       \
		plist_sort(&l->list, name##_compare, &order);                                                          \
	}                                                                                                              \
	PDS_INLINE int name##_diff(const struct name *old, const struct name *now, pchange_fn *fn, void *arg)          \
	{                                                                                                              \
		return plist_diff(&old->list, &now->list, fn, arg);                                                    \
	}                                                                                                              \
	struct name

#ifdef __cplusplus
}
#endif
#endif
