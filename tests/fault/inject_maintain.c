/* inject_maintain.c - growing ahead, maps, indexes and the noting of durability with their 1st, 2nd, 3rd, ... system call
 * or allocation failing: the chain goes on, or refuses until it is opened anew, and every version that was reported
 * durable is there.
 */
#include "inject.h"
#include "scratch.h"
#include "volume/volume.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { PAGES = 40, COMMITS_MOST = 13 };

static const char *path;

static struct volume *volume_open(unsigned flags)
{
	struct driver *d;
	struct volume *v;
	char why[256];

	if (spm_driver_file_open(path, DRIVER_CREATE, &d, why))
		fail_msg("%s", why);
	if (spm_volume_open(d, flags | VOLUME_EAGER, &v))
		fail_msg("%s", spm_volume_error());
	return v;
}

/* Every page holds the number of the version that wrote it last: the multiples of its place from 1 on. */
static bool is_written_by(unsigned page, uint64_t version)
{
	return version % (page % 3 + 1) == 0;
}

static int commit(struct chain *c, uint64_t version)
{
	static uint64_t data[PAGES][SPM_PAGE_BYTES / 8] __attribute__((aligned(4096)));
	struct version_info info = {.branch = "main"};
	struct page_change change[PAGES];
	size_t n = 0;

	for (unsigned i = 0; i < PAGES; i++) {
		if (!is_written_by(i, version))
			continue;
		for (unsigned w = 0; w < SPM_PAGE_BYTES / 8; w++)
			data[n][w] = version * PAGES + i;
		change[n] = (struct page_change){.page = 100 + i, .data = data[n], .meta.span_pages = 1};
		n++;
	}
	return spm_chain_commit(c, change, n, true, &info);
}

static uint64_t newest(struct chain *c)
{
	struct version_info info;

	return spm_chain_newest(c, &info) ? 0 : info.version;
}

static void content_is_that_of(struct chain *c, uint64_t version)
{
	for (unsigned i = 0; i < PAGES; i++) {
		uint64_t page[SPM_PAGE_BYTES / 8] = {0}, by = version;

		while (by && !is_written_by(i, by))
			by--;
		assert_int_equal(spm_chain_read(c, 100 + i, 1, page), 0);
		if (page[7] != (by ? by * PAGES + i : 0))
			fail_msg("page %u of version %llu is wrong", i, (unsigned long long)version);
	}
}

static struct chain *chain_begin(struct volume *v, uint64_t commits)
{
	struct chain *c;

	assert_int_equal(spm_chain_create(v, 1, "main", &c), 0);
	for (uint64_t n = 1; n <= commits; n++)
		assert_int_equal(commit(c, n), 0);
	return c;
}

static int maintain_all(struct chain *c)
{
	bool again = true;
	int err = 0;

	while (again && !err)
		err = spm_chain_maintain(c, true, &again);
	return err;
}

static bool asks_to_reopen(void)
{
	return strstr(spm_volume_error(), "open it again") != NULL;
}

/* Goes on after a failure; returns the number of the newest version reported durable. */
static uint64_t go_on(struct chain *c, uint64_t durable)
{
	int err = commit(c, durable + 1);

	if (err && !asks_to_reopen())
		fail_msg("the next commit fails with %d, %s", err, spm_volume_error());
	if (err)
		return durable;
	spm_chain_self_check(c);
	if (maintain_all(c))
		fail_msg("maintenance goes on failing: %s", spm_volume_error());
	spm_chain_self_check(c);
	return durable + 1;
}

/* Returns whether a call was tampered with. */
static bool trial(uint64_t commits, enum inject_kind kind, int error, uint64_t nth, uint64_t until)
{
	struct volume *v;
	struct chain *c;
	uint64_t durable;
	bool fired;
	int err;

	unlink(path);
	v = volume_open(VOLUME_CREATE);
	c = chain_begin(v, commits);
	inject_start(kind, error, nth, until);
	err = maintain_all(c);
	fired = inject_stop();
	if (err && (!fired || error == EINTR || kind == INJECT_SHORT))
		fail_msg("maintenance failed: %d, %s", err, spm_volume_error());
	if (err)
		assert_true(strlen(spm_volume_error_of(err)) > 20);
	durable = go_on(c, commits);
	if (nth % 2) /* what a crash would leave */
		inject_start(INJECT_IO, EIO, 1, UINT64_MAX);
	spm_chain_close(c);
	spm_volume_close(v);
	inject_stop();

	v = volume_open(0);
	err = spm_chain_open(v, 1, "main", CHAIN_WRITE, 0, &c);
	if (err)
		fail_msg("call %llu (%s) of %llu commits' maintenance: opening fails with %s", (unsigned long long)nth,
		         inject_where(), (unsigned long long)commits, spm_volume_error());
	assert_in_range(newest(c), durable, durable + 1);
	content_is_that_of(c, newest(c));
	spm_chain_self_check(c);
	assert_int_equal(commit(c, newest(c) + 1), 0);
	assert_int_equal(maintain_all(c), 0);
	content_is_that_of(c, newest(c));
	spm_chain_self_check(c);
	spm_chain_close(c);
	spm_volume_close(v);
	return fired;
}

static void each_call(enum inject_kind kind, int error, uint64_t until)
{
	uint64_t calls = 0;

	for (uint64_t commits = 1; commits <= COMMITS_MOST; commits += 3)
		for (uint64_t nth = 1; trial(commits, kind, error, nth, until); nth++)
			calls++;
	printf("%llu calls\n", (unsigned long long)calls);
	assert_true(calls > 3);
}

static void a_call_that_fails_in_maintenance_loses_nothing(void **state)
{
	(void)state;
	each_call(INJECT_IO, EIO, 0);
	each_call(INJECT_IO, EIO, UINT64_MAX);
}

static void a_full_disk_in_maintenance_loses_nothing(void **state)
{
	(void)state;
	each_call(INJECT_WRITE, ENOSPC, 0);
	each_call(INJECT_WRITE, ENOSPC, UINT64_MAX);
}

static void interrupts_and_short_calls_in_maintenance_do_not_show(void **state)
{
	(void)state;
	each_call(INJECT_IO, EINTR, 0);
	each_call(INJECT_SHORT, 0, 0);
}

static void memory_that_runs_out_in_maintenance_loses_nothing(void **state)
{
	(void)state;
	each_call(INJECT_MEMORY, ENOMEM, 0);
}

static int begin(void **state)
{
	(void)state;
	path = strdup(scratch("maintain.vol"));
	inject_volume(path);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_call_that_fails_in_maintenance_loses_nothing),
	        cmocka_unit_test(a_full_disk_in_maintenance_loses_nothing),
	        cmocka_unit_test(interrupts_and_short_calls_in_maintenance_do_not_show),
	        cmocka_unit_test(memory_that_runs_out_in_maintenance_loses_nothing),
	};

	return cmocka_run_group_tests(tests, begin, NULL);
}
