/* crash_import.c - the power goes at any instant of an import: what is there then are versions of the stream, whole, each with all
 * before it; and the same stream, imported again, brings the rest.
 */
#include "scratch.h"
#include "sim_driver.h"
#include "streams.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct sim_log sim_log;
static struct told source;

/* The operations of an import into a new volume; the stream. */
static int run(void)
{
	unsigned char *bytes = calloc(1, SIM_BYTES_MOST);
	struct volume *v;
	int fd;

	if (spm_volume_open(sim_state_driver(bytes, 0), VOLUME_CREATE | VOLUME_EAGER, &v) || history_make(v))
		fail_msg("%s", spm_volume_error());
	fd = history_stream(v);
	assert_true(fd >= 0);
	assert_int_equal(told_read(v, &source), 0);
	spm_volume_close(v);
	free(bytes);
	if (spm_volume_open(sim_record(&sim_log), VOLUME_CREATE | VOLUME_EAGER, &v))
		fail_msg("%s", spm_volume_error());
	sim_log.mark = 1;
	if (stream_import(v, fd))
		fail_msg("%s", pErrorMsg());
	spm_volume_close(v);
	return fd;
}

static int damage_print(const char *sentence, void *arg)
{
	(void)arg;
	fprintf(stderr, "%s\n", sentence);
	return 0;
}

static int branch_check(int magic, const char *branch, void *arg)
{
	uint64_t newest;

	return branch ? spm_volume_check(arg, magic, branch, damage_print, NULL, &newest) : 1;
}

static bool has_of(const struct told *t, const char *branch, uint64_t below)
{
	for (size_t i = 0; i < t->n; i++)
		if (!strcmp(t->version[i].branch, branch) && t->version[i].number == below)
			return true;
	return false;
}

/* Nothing but versions of the stream, and of each branch none without those before. Returns how many. */
static size_t versions_check(struct volume *v)
{
	struct told told;
	size_t n;

	if (told_read(v, &told))
		fail_msg("what is there can't be read: %s", spm_volume_error());
	for (size_t i = 0; i < told.n; i++)
		if (!told_has(&source, &told.version[i]))
			fail_msg("version %llu of branch %s is not that of the stream",
			         (unsigned long long)told.version[i].number, told.version[i].branch);
	for (size_t i = 0; i < source.n; i++)
		for (size_t k = 0; k < told.n; k++)
			if (!strcmp(source.version[i].branch, told.version[k].branch) &&
			    source.version[i].number < told.version[k].number &&
			    !has_of(&told, source.version[i].branch, source.version[i].number))
				fail_msg("version %llu of branch %s is missing, and a later one there",
				         (unsigned long long)source.version[i].number, source.version[i].branch);
	n = told.n;
	told_free(&told);
	return n;
}

static size_t state_check(unsigned char *image, uint64_t size, int stream, bool was_made, bool is_thorough)
{
	struct told told;
	struct volume *v;
	size_t n;
	int err = spm_volume_open(sim_state_driver(image, size), VOLUME_CREATE | VOLUME_EAGER, &v);

	if (err && !was_made)
		return 0; /* the volume was being made */
	if (err)
		fail_msg("%s", spm_volume_error());
	n = versions_check(v);
	if (is_thorough) {
		assert_int_equal(spm_volume_each_chain(v, branch_check, v), 0);
		if (stream_import(v, stream))
			fail_msg("imported again: %s", pErrorMsg());
		assert_int_equal(told_read(v, &told), 0);
		assert_true(told_are_same(&source, &told));
		told_free(&told);
		assert_int_equal(spm_volume_each_chain(v, branch_check, v), 0);
	}
	spm_volume_close(v);
	return n;
}

struct found {
	int stream;
	size_t most, begun;
};

static void crash_check(const struct sim_crash *crash, void *arg)
{
	struct found *found = arg;
	size_t there = state_check(crash->state, crash->size, found->stream, crash->mark != 0, crash->number % 4 == 0);

	found->most = there > found->most ? there : found->most;
	found->begun += there && there < source.n;
}

static void every_crash_leaves_a_beginning_of_it(void **state)
{
	struct found found = {.stream = run()};

	(void)state;
	sim_each_crash(&sim_log, test_number("SOFTPM_CRASH_STATES", 20000) / 4, test_seed(), crash_check, &found);
	printf("%zu with some of %zu versions\n", found.begun, source.n);
	assert_int_equal(found.most, source.n);
	assert_true(found.begun);
	told_free(&source);
	close(found.stream);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(every_crash_leaves_a_beginning_of_it)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
