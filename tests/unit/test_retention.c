/* test_retention.c - versions are let go for their age as the policy says, and the others are not. */
#include "scratch.h"
#include "volume/volume.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MINUTE = 60, HOUR = 3600, DAY = 86400, STEP = 10 * MINUTE, VERSIONS = 3 * DAY / STEP, PAGES = 20 };
static const uint64_t second_ns = 1000000000;

/* Age of version v (1..VERSIONS), in seconds, and when that was: never within minutes of a border of the policy. */
static uint64_t age_of(uint64_t v)
{
	return (VERSIONS - v) * STEP + 5 * MINUTE;
}

struct setup {
	struct volume *v;
	struct chain *c;
	uint64_t now, random;
	struct version_info policy;
};

static void commit(struct setup *s, uint64_t version)
{
	static uint64_t data[3][SPM_PAGE_BYTES / 8] __attribute__((aligned(4096)));
	struct page_change change[3];
	struct version_info info = s->policy;

	info.time_ns = (s->now - age_of(version)) * second_ns;
	for (unsigned i = 0; i < 3; i++) {
		data[i][0] = version;
		change[i] = (struct page_change){.page = 100 + (i * PAGES / 3 + test_random(&s->random) % (PAGES / 3)),
		                                 .data = data[i],
		                                 .meta.span_pages = 1};
	}
	assert_int_equal(spm_chain_commit(s->c, change, 3, true, &info), 0);
	assert_int_equal(info.version, version);
}

static void settle(struct setup *s)
{
	bool again = true;

	while (again)
		assert_int_equal(spm_chain_maintain(s->c, true, &again), 0);
	spm_chain_self_check(s->c);
}

static void begin(struct setup *s, struct version_info policy)
{
	struct driver *d;

	*s = (struct setup){.now = spm_now_real_ns() / second_ns, .random = test_seed(), .policy = policy};
	assert_int_equal(spm_driver_memory_open(1 << 28, &d), 0);
	assert_int_equal(spm_volume_open(d, VOLUME_CREATE | VOLUME_EAGER, &s->v), 0);
	assert_int_equal(spm_chain_create(s->v, 1, "main", &s->c), 0);
}

static void end(struct setup *s)
{
	spm_chain_close(s->c);
	spm_volume_close(s->v);
}

static int version_note(const struct version_info *info, void *arg)
{
	bool *is_there = arg;

	is_there[info->version] = true;
	return 0;
}

static void expect(struct setup *s, const bool *expected)
{
	static bool is_there[VERSIONS + 1];

	memset(is_there, 0, sizeof(is_there));
	assert_int_equal(spm_chain_each_version(s->c, version_note, is_there), 0);
	for (uint64_t v = 1; v <= VERSIONS; v++) {
		struct chain *c;
		int err = spm_chain_open_version(s->v, 1, "main", v, &c);

		if (is_there[v] != expected[v] || (err != 0) == expected[v])
			fail_msg("version %llu, %.1f hours old: expected %s, listed %d, opening gave %d",
			         (unsigned long long)v, (double)age_of(v) / HOUR, expected[v] ? "to stay" : "to go",
			         is_there[v], err);
		if (!err)
			spm_chain_close(c);
	}
}

/* `piece`: about an hour; of which the day's time makes another test. */
static void thin(uint32_t piece)
{
	static bool expected[VERSIONS + 1];
	uint64_t day = 0, hour = 0;
	struct setup s;

	begin(&s, (struct version_info){.thin = {{HOUR, piece}, {DAY, DAY}}});
	for (uint64_t v = 1; v <= VERSIONS; v++)
		commit(&s, v);
	settle(&s);
	for (uint64_t v = 1; v <= VERSIONS; v++) {
		uint64_t time = s.now - age_of(v);

		if (age_of(v) < HOUR) {
			expected[v] = true;
		} else if (age_of(v) < DAY) {
			expected[v] = time / piece != hour;
			hour = time / piece;
		} else {
			expected[v] = time / DAY != day;
			day = time / DAY;
		}
	}
	expect(&s, expected);
	settle(&s); /* and stay */
	expect(&s, expected);
	spm_chain_close(s.c);
	assert_int_equal(spm_chain_open(s.v, 1, "main", CHAIN_WRITE, 0, &s.c), 0);
	settle(&s);
	expect(&s, expected);
	end(&s);
}

static void all_of_an_hour_one_an_hour_for_a_day_and_one_a_day(void **state)
{
	(void)state;
	for (uint32_t piece = HOUR; piece < 2 * HOUR; piece += STEP)
		thin(piece);
}

static void what_is_too_old_goes_but_for_the_newest(void **state)
{
	static bool expected[VERSIONS + 1];
	struct setup s;

	(void)state;
	begin(&s, (struct version_info){.keep_seconds = DAY});
	for (uint64_t v = 1; v <= VERSIONS; v++)
		commit(&s, v);
	settle(&s);
	for (uint64_t v = 1; v <= VERSIONS; v++)
		expected[v] = age_of(v) < DAY;
	expect(&s, expected);
	end(&s);
	begin(&s, (struct version_info){0});
	for (uint64_t v = 1; v < 30; v++)
		commit(&s, v);
	s.policy.keep_seconds = DAY;
	commit(&s, 30);
	settle(&s);
	memset(expected, 0, sizeof(expected));
	expected[30] = true;
	expect(&s, expected);
	end(&s);
}

static void count_and_age_both_count(void **state)
{
	static bool expected[VERSIONS + 1];
	struct setup s;

	(void)state;
	begin(&s, (struct version_info){.versions_kept = 100, .keep_seconds = 10 * HOUR});
	for (uint64_t v = 1; v <= VERSIONS; v++)
		commit(&s, v);
	settle(&s);
	for (uint64_t v = 1; v <= VERSIONS; v++)
		expected[v] = v > VERSIONS - 100 && age_of(v) < 10 * HOUR;
	expect(&s, expected);
	end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(all_of_an_hour_one_an_hour_for_a_day_and_one_a_day),
	        cmocka_unit_test(what_is_too_old_goes_but_for_the_newest),
	        cmocka_unit_test(count_and_age_both_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
