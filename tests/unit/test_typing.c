/* test_typing.c - pCSetAttr's type: read from this very program, kept with each version, carried along wherever versions go. */
#include "expect.h"
#include "process.h"
#include "scratch.h"
#include "softpm.h"
#include "softpm/look.h"
#include "type_text.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define EXPECT(cond) EXPECT_ELSE(cond, return 1)

enum { MAGIC = 7 };
enum mood { CALM, WILD = -1 };
struct person {
	struct person *next;
	char name[20];
	enum mood mood;
};
struct app_state {
	struct person *first;
	unsigned long count;
	double factor;
};
struct larger {
	struct app_state state;
	long more;
} larger; /* so that it is told */
struct opaque;
struct holder {
	struct opaque *hidden;
} holder;

static const char app_state_text[] =
        "struct app_state 24 { first@0 *struct person; count@8 unsigned long; factor@16 double; }\n"
        "struct person 32 { next@0 *struct person; name@8 char[20]; mood@28 enum mood; }\n"
        "enum mood 4 { CALM=0 WILD=-1 }\n";

static int type_set(int id, const char *type)
{
	struct cattr *attr = pCGetAttr(MAGIC);
	int result;

	snprintf(attr->type, sizeof(attr->type), "%s", type);
	result = pCSetAttr(id, attr);
	pCAttrFree(attr);
	return result;
}

static bool type_is(int magic, const char *type)
{
	struct cattr *attr = pCGetAttr(magic);
	bool is = attr && !strcmp(attr->type, type);

	pCAttrFree(attr);
	return is;
}

/* What the version tells is what was expected; NULL: nothing. */
static bool version_tells(int magic, const char *ref, const char *expected)
{
	struct plook *look = pLookOpen(magic, ref);
	const struct ptype *type = look ? pLookType(look) : NULL;
	char *text = type ? type_text(type) : NULL;
	bool is = look && (expected ? text && !strcmp(text, expected) : !text);

	if (!is)
		fprintf(stderr, "%s: %s; %s\n", ref, text ? text : "nothing", pErrorMsg());
	free(text);
	pLookClose(look);
	return is;
}

static int state_make(const char *volume)
{
	struct plook *look;
	void *at;
	int id;

	EXPECT(!pVOpen(volume));
	EXPECT((id = pCAlloc(MAGIC, sizeof(struct app_state), &at)) > 0);
	EXPECT(pPointSync(id) == 1);
	EXPECT(!type_set(id, "struct app_state") && type_is(MAGIC, "struct app_state"));
	((struct app_state *)at)->first = pCalloc(1, sizeof(struct person));
	EXPECT(pPointSync(id) == 2);
	EXPECT(version_tells(MAGIC, "1", NULL) && version_tells(MAGIC, "", app_state_text));
	EXPECT((look = pLookOpen(MAGIC, NULL)) != NULL);
	EXPECT(pLookTypeNamed(look, "struct person") == pLookType(look)->member[0].type->of);
	EXPECT(pLookTypeNamed(look, "enum mood")->values == 2);
	EXPECT(!pLookTypeNamed(look, "struct larger") && !pLookTypeNamed(look, ""));
	pLookClose(look);
	EXPECT(!pVClose());
	return 0;
}

static int state_is_known_elsewhere(const char *volume)
{
	void *at;
	int id;

	EXPECT(!pVOpen(volume));
	EXPECT(type_is(MAGIC, "struct app_state"));
	EXPECT((id = pCRestore(MAGIC, &at)) > 0 && type_is(MAGIC, "struct app_state"));
	((struct app_state *)at)->count++;
	EXPECT(pPointSync(id) == 3 && version_tells(MAGIC, "3", app_state_text));
	EXPECT(!type_set(id, "") && type_is(MAGIC, ""));
	EXPECT(pPointSync(id) == 4 && version_tells(MAGIC, "4", NULL) && version_tells(MAGIC, "3", app_state_text));
	EXPECT(!pVClose());
	EXPECT(!pVOpen(volume) && type_is(MAGIC, ""));
	return 0;
}

static void a_version_tells_its_type_to_any_process(void **state)
{
	const char *volume = scratch("known.vol");

	(void)state;
	in_process(state_make, volume);
	in_process(state_is_known_elsewhere, volume);
}

static int wrong_types_are_refused(const char *volume)
{
	void *at;
	int id;

	EXPECT(!pVOpen(volume));
	EXPECT((id = pCAlloc(MAGIC, sizeof(struct app_state), &at)) > 0);
	EXPECT(type_set(id, "struct person") && errno == EINVAL);
	EXPECT(strstr(pErrorMsg(), "struct person has 32 bytes") && strstr(pErrorMsg(), "only 24"));
	EXPECT(type_set(id, "struct larger") && errno == EINVAL);
	EXPECT(type_set(id, "struct nobody") && errno == ENOENT);
	EXPECT(strstr(pErrorMsg(), "no type struct nobody in "));
	EXPECT(type_set(id, "struct opaque") && errno == ENOENT);
	EXPECT(type_is(MAGIC, ""));
	EXPECT(!type_set(id, "struct app_state") && type_set(id, "struct nobody") &&
	       type_is(MAGIC, "struct app_state"));
	EXPECT(pPointSync(id) == 1 && version_tells(MAGIC, "", app_state_text));
	return 0;
}

static void what_is_no_type_of_the_root_is_refused_and_changes_nothing(void **state)
{
	(void)state;
	in_process(wrong_types_are_refused, scratch("wrong.vol"));
}

static int second_time_reads_nothing(const char *volume)
{
	unsigned long before;
	void *at;
	int id;

	EXPECT(!pVOpen(volume));
	EXPECT((id = pCAlloc(MAGIC, sizeof(struct app_state), &at)) > 0);
	before = process_reads();
	EXPECT(!type_set(id, "struct app_state") && process_reads() > before + 2);
	before = process_reads();
	EXPECT(!type_set(id, "struct app_state") && process_reads() == before + 1);
	return 0;
}

static void a_known_type_is_not_read_again(void **state)
{
	(void)state;
	in_process(second_time_reads_nothing, scratch("again.vol"));
}

static int types_go_along(const char *volume)
{
	const struct pimport as = {.magic = &(int){MAGIC + 1}};
	const struct pexport all = {.is_history = 1};
	struct app_state *s;
	void *at, *clone;
	int id, other, fd;

	EXPECT(!pVOpen(volume));
	EXPECT((id = pCRestore(MAGIC, &at)) > 0);
	EXPECT((other = pCClone(id, "clone", &clone)) > 0);
	s = clone;
	s->count = 5;
	EXPECT(pPointSync(other) > 2 && version_tells(MAGIC, "clone", app_state_text));
	pCFree(other);
	EXPECT(!pCSwitch(id, "1", &at));
	EXPECT(!pCSwitch(id, "clone", &at) && type_is(MAGIC, "struct app_state"));
	s = at;
	s->count = 6;
	EXPECT(pPointSync(id) > 3 && version_tells(MAGIC, "clone", app_state_text));
	EXPECT((fd = open(scratch("stream"), O_RDWR | O_CREAT | O_TRUNC, 0600)) >= 0);
	EXPECT(!pExport(MAGIC, &all, fd) && lseek(fd, 0, SEEK_SET) == 0);
	EXPECT(!pImport(fd, &as));
	close(fd);
	EXPECT(version_tells(MAGIC + 1, "clone", app_state_text) && version_tells(MAGIC + 1, "main", app_state_text));
	EXPECT(version_tells(MAGIC + 1, "main:1", NULL));
	return 0;
}

static int child_saves_the_type(const char *volume)
{
	int status, id;
	void *at;
	pid_t child;

	EXPECT(!pVOpen(volume));
	EXPECT((id = pCRestore(MAGIC, &at)) > 0);
	child = fork();
	if (!child) {
		if (pCFork(id, "forked"))
			_exit(1);
		((struct app_state *)at)->count = 9;
		_exit(pPointSync(id) > 0 && version_tells(MAGIC, "forked", app_state_text) ? 0 : 2);
	}
	EXPECT(waitpid(child, &status, 0) == child && !status);
	return 0;
}

static void types_go_where_versions_go(void **state)
{
	const char *volume = scratch("along.vol");

	(void)state;
	in_process(state_make, volume);
	in_process(child_saves_the_type, volume);
	in_process(types_go_along, volume);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_version_tells_its_type_to_any_process),
	        cmocka_unit_test(what_is_no_type_of_the_root_is_refused_and_changes_nothing),
	        cmocka_unit_test(a_known_type_is_not_read_again),
	        cmocka_unit_test(types_go_where_versions_go),
	};

	return larger.more || holder.hidden ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
