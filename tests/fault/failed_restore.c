/* failed_restore.c - a restore that finds damage leaves nothing behind: not the memory that it had filled, so that a
 * program may try as often as it likes; and when the volume is whole again, the next try succeeds.
 */
#include "expect.h"
#include "scratch.h"
#include "softpm.h"
#include "sparse.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { BULK = 8 << 20, TRIES = 20 };

static const char mark[] = "a text that stands nowhere else in this volume";

struct root {
	char *bulk;
	char text[100];
};

#define EXPECT(cond) EXPECT_ELSE(cond, _exit(1))

static void in_process(void (*fn)(const char *volume), const char *volume)
{
	int status;
	pid_t child = fork();

	if (!child) {
		fn(volume);
		_exit(0);
	}
	waitpid(child, &status, 0);
	if (status)
		fail_msg("the process ended with status 0x%x", status);
}

static void make(const char *volume)
{
	struct root *r;
	int id;

	EXPECT(!pVOpen(volume));
	id = pCAlloc(1, sizeof(*r), (void **)&r);
	EXPECT(id);
	r->bulk = pMallocNoPtr(BULK);
	memset(r->bulk, 'b', BULK);
	memcpy(r->bulk + BULK - sizeof(mark), mark, sizeof(mark)); /* in the last page that is read */
	EXPECT(pPointSync(id) == 1);
	EXPECT(!pVClose());
}

static uint64_t resident_bytes(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	unsigned long long all = 0, resident = 0;

	EXPECT(f && fscanf(f, "%llu %llu", &all, &resident) == 2);
	fclose(f);
	return resident * 4096;
}

/* Turns the mark into something else, and back. */
static void mark_flip(const char *volume)
{
	uint64_t bytes;
	unsigned char *v = file_read(volume, &bytes), *at = v ? memmem(v, bytes, mark, sizeof(mark)) : NULL;
	FILE *f = fopen(volume, "r+");
	static long place;

	place = at ? at - v : place;
	EXPECT(v && f && place);
	EXPECT(!fseek(f, place, SEEK_SET) && fputc(at ? 'A' : 'a', f) != EOF && !fclose(f));
	free(v);
}

static void try_and_try(const char *volume)
{
	struct root *r;
	uint64_t first = 0;

	mark_flip(volume);
	EXPECT(!pVOpen(volume));
	for (unsigned i = 0; i < TRIES; i++) {
		EXPECT(!pCRestore(1, (void **)&r) && errno == EUCLEAN && strstr(pErrorMsg(), "damaged"));
		if (!first)
			first = resident_bytes();
	}
	if (resident_bytes() >
	    first + TRIES * 3 / 4 * (uint64_t)BULK) { /* a sanitizer keeps what was freed for a while */
		fprintf(stderr, "%d failed restores of 8 MiB left %.0f MiB behind\n", TRIES,
		        (double)(resident_bytes() - first) / 1048576);
		_exit(1);
	}
	mark_flip(volume);
	EXPECT(pCRestore(1, (void **)&r) > 0);
	EXPECT(!strcmp(r->bulk + BULK - sizeof(mark), mark) && r->bulk[0] == 'b');
	EXPECT(!pVClose());
}

static void a_failed_restore_leaves_no_memory_behind(void **state)
{
	const char *volume = scratch("damaged.vol");

	(void)state;
	setenv("SOFTPM_RESTORE", "eager", 1);
	in_process(make, volume);
	in_process(try_and_try, volume);
}

static void make_two(const char *volume)
{
	struct root *r;
	int id;

	EXPECT(!pVOpen(volume));
	id = pCAlloc(1, sizeof(*r), (void **)&r);
	EXPECT(id && pPointSync(id) == 1);
	r->bulk = pMallocNoPtr(BULK);
	memset(r->bulk, 'b', BULK);
	memcpy(r->bulk + BULK - sizeof(mark), mark, sizeof(mark));
	EXPECT(pPointSync(id) == 2 && !pVClose());
	mark_flip(volume);
}

static void go_away(const char *volume)
{
	struct root *r;
	int id;

	EXPECT(!pVOpen(volume));
	id = pCRestore(1, (void **)&r);
	EXPECT(id && pRestoreWait(id) && errno == EUCLEAN);
	strcpy(r->text, "changed");
	EXPECT(pCSwitch(id, "1", (void **)&r) && errno == EUCLEAN);
	EXPECT(!pCSwitch(id, "!1", (void **)&r) && !r->bulk && !*r->text);
	EXPECT(!pVClose());
}

/* A version that is damaged, which a lazy restore finds later, holds nobody who gives up what he changed. */
static void one_may_go_from_damage_to_what_is_whole(void **state)
{
	const char *volume = scratch("left.vol");

	(void)state;
	setenv("SOFTPM_RESTORE", "lazy", 1);
	in_process(make_two, volume);
	in_process(go_away, volume);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(a_failed_restore_leaves_no_memory_behind),
	                                   cmocka_unit_test(one_may_go_from_damage_to_what_is_whole)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
