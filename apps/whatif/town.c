/* town.c - see town.h. */
#include "town.h"

#include <softpm.h>

#include <stdbool.h>

enum { HOUSEHOLD = 4, CLASS = 20, TEAM = 12, FRIENDS = 6, SICK_DAYS = 9, FIRST_ILL = 12, OF_10000 = 10000 };
static const unsigned infects[PLACES] = {280, 60, 60, 70}; /* of 10,000 meetings with an ill one */

static uint64_t next_random(struct town *t)
{
	uint64_t x = t->random += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static bool happens(struct town *t, unsigned of_10000)
{
	return next_random(t) % OF_10000 < of_10000;
}

static struct person *somebody(struct town *t)
{
	return &t->people[next_random(t) % t->people_count];
}

/* ---- building ---- */

static int tie_add(struct person *from, struct person *to, enum place place)
{
	struct tie *tie = pMalloc(sizeof(*tie));

	if (!tie)
		return -1;
	*tie = (struct tie){from->ties, to, place};
	from->ties = tie;
	return 0;
}

/* Everybody with everybody, of those whose numbers are first, first + step, ... */
static int group_tie(struct town *t, unsigned first, unsigned n, unsigned step, enum place place)
{
	for (unsigned i = 0; i < n; i++)
		for (unsigned j = 0; j < n; j++)
			if (i != j && first + (i > j ? i : j) * step < t->people_count &&
			    tie_add(&t->people[first + i * step], &t->people[first + j * step], place))
				return -1;
	return 0;
}

/* In a household two of four go to work, and one to school. Whom they meet there live all over the town. */
static int groups_tie(struct town *t)
{
	unsigned households = t->people_count / HOUSEHOLD;
	int err = 0;

	for (unsigned i = 0; i < households && !err; i++)
		err = group_tie(t, i * HOUSEHOLD, HOUSEHOLD, 1, HOME);
	for (unsigned i = 0; i < households / CLASS && !err; i++)
		err = group_tie(t, i * HOUSEHOLD, CLASS, households / CLASS * HOUSEHOLD, SCHOOL);
	for (unsigned i = 0; i < households / TEAM && !err; i++)
		err = group_tie(t, i * HOUSEHOLD + 1, TEAM, households / TEAM * HOUSEHOLD, WORK) ||
		      group_tie(t, i * HOUSEHOLD + 2, TEAM, households / TEAM * HOUSEHOLD, WORK);
	return err ? -1 : 0;
}

static void fall_ill(struct town *t, struct person *p)
{
	p->health = ILL;
	p->ill_since = t->day;
	p->ill_until = t->day + SICK_DAYS / 2 + (unsigned)(next_random(t) % SICK_DAYS);
	p->is_found = happens(t, t->measures.found * 100);
	p->next_ill = t->ill;
	t->ill = p;
	t->infections++;
}

int town_build(struct town *t, unsigned people, uint64_t seed)
{
	t->seed = t->random = seed;
	t->people_count = people;
	t->people = pCalloc(people, sizeof(*t->people));
	if (!t->people || groups_tie(t))
		return -1;
	for (unsigned i = 0; i < people; i++) {
		t->people[i].is_old = i % HOUSEHOLD == 3;
		for (unsigned k = 0; k < FRIENDS; k++)
			if (tie_add(&t->people[i], somebody(t), ELSEWHERE))
				return -1;
	}
	for (unsigned i = 0; i < FIRST_ILL; i++) {
		struct person *p = somebody(t);

		if (p->health == HEALTHY)
			fall_ill(t, p);
	}
	return 0;
}

/* ---- a day ---- */

static void meet(struct town *t, const struct person *p)
{
	for (const struct tie *tie = p->ties; tie; tie = tie->next)
		if (tie->to->health == HEALTHY &&
		    happens(t, infects[tie->place] * t->measures.contacts[tie->place] / 100))
			fall_ill(t, tie->to);
}

static void get_over(struct town *t, struct person *p)
{
	p->health = happens(t, p->is_old ? 400 : 10) ? DEAD : IMMUNE;
	p->next_ill = NULL;
}

/* Those who fall ill today come to the front of the list, and infect nobody before tomorrow. */
static void infect(struct town *t)
{
	struct person **at, *p = t->ill;

	for (; p; p = p->next_ill)
		if (!p->is_found || t->day < p->ill_since + 3)
			meet(t, p);
	for (at = &t->ill; (p = *at);) {
		if (t->day < p->ill_until) {
			at = &p->next_ill;
			continue;
		}
		*at = p->next_ill;
		get_over(t, p);
	}
}

static void vaccinate(struct town *t)
{
	unsigned n = t->people_count * t->measures.vaccinations / OF_10000;

	while (n--) {
		struct person *p = somebody(t);

		if (p->health == HEALTHY)
			p->health = IMMUNE;
	}
}

/* Some lose a friend, and find another. */
static int befriend(struct town *t)
{
	for (unsigned n = t->people_count / 50; n; n--) {
		struct person *p = somebody(t);
		struct tie *gone = p->ties;

		if (!gone || gone->place != ELSEWHERE)
			continue;
		p->ties = gone->next;
		pFree(gone);
		if (tie_add(p, somebody(t), ELSEWHERE))
			return -1;
	}
	return 0;
}

static int day_note(struct town *t)
{
	struct day *d = pCalloc(1, sizeof(*d));

	if (!d)
		return -1;
	for (unsigned i = 0; i < t->people_count; i++)
		d->count[t->people[i].health]++;
	if (t->last_day)
		t->last_day->next = d;
	else
		t->first_day = d;
	t->last_day = d;
	if (d->count[ILL] > t->peak) {
		t->peak = d->count[ILL];
		t->peak_day = t->day;
	}
	return 0;
}

int town_live(struct town *t)
{
	t->day++;
	infect(t);
	vaccinate(t);
	return befriend(t) || day_note(t) ? -1 : 0;
}

static uint64_t mix(uint64_t digest, uint64_t value)
{
	return (digest ^ value) * UINT64_C(0x100000001b3); /* FNV-1a, by words */
}

static uint64_t number_of(const struct town *t, const struct person *p)
{
	return p ? (uint64_t)(p - t->people) : UINT64_MAX;
}

uint64_t town_digest(const struct town *t)
{
	uint64_t digest = mix(mix(UINT64_C(0xcbf29ce484222325), t->random), t->day);

	for (const struct person *p = t->people; p < t->people + t->people_count; p++) {
		digest = mix(mix(mix(digest, p->health), p->ill_until), number_of(t, p->next_ill));
		for (const struct tie *tie = p->ties; tie; tie = tie->next)
			digest = mix(digest, number_of(t, tie->to));
	}
	for (const struct day *d = t->first_day; d; d = d->next)
		for (unsigned i = 0; i < HEALTHS; i++)
			digest = mix(digest, d->count[i]);
	return digest;
}
