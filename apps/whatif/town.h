/* town.h - an epidemic in a town, as plain C structures: who knows whom, who is ill, and what each day was like.
 *
 *   struct town (the root)
 *     people     array of struct person  -> list of struct tie, who one meets: at home, at school, at work, elsewhere
 *     ill        list through struct person
 *     first_day  list of struct day: what was counted
 *
 * Each day the ill infect some of those they meet, people make friends and lose them, some are vaccinated. What happens follows from
 * the seed, the measures and the day alone, so a town that was brought back from its last point goes on as if nothing had been.
 */
#ifndef TOWN_H
#define TOWN_H

#include <stdint.h>

enum place { HOME, SCHOOL, WORK, ELSEWHERE, PLACES };
enum health { HEALTHY, ILL, IMMUNE, DEAD, HEALTHS };

struct measures {
	char name[24], what[64];
	unsigned contacts[PLACES]; /* of 100 that there would be */
	unsigned vaccinations;     /* a day, of 10,000 people */
	unsigned found;            /* of 100 ill, whom nobody meets from the third day on */
};

struct tie {
	struct tie *next;
	struct person *to;
	enum place place;
};
struct person {
	struct person *next_ill;
	struct tie *ties;
	unsigned ill_since, ill_until; /* day */
	uint8_t health, is_old, is_found;
};
struct day {
	struct day *next;
	unsigned count[HEALTHS];
};
struct town {
	uint64_t seed, random;
	unsigned people_count, day, end_day;
	struct measures measures;
	struct person *people, *ill;
	struct day *first_day, *last_day;
	unsigned infections, peak, peak_day;
};

/* Fills in a zeroed root. 0, or -1: no memory. */
int town_build(struct town *t, unsigned people, uint64_t seed);
/* One more day. 0, or -1: no memory. */
int town_live(struct town *t);
/* The same if and only if (but for chance) all that is in it is the same. */
uint64_t town_digest(const struct town *t);

#endif
