/* shop.c VERSIONS [wait] - makes a container for web.py: that many versions, a branch and a tag, names that are markup. With `wait` it goes on
 * making a version for each line of its input. $SHOP_IS_SMALL: versions hardly differ.
 */
#include <softpm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAGIC = 7, USERS = 200 };

struct user {
	char name[48];
	int age;
	struct user *next;
};
struct shop {
	struct user *users;
	unsigned char *log; /* grows */
	long sales;
	unsigned long number; /* of more digits than a double has */
};

static int users_make(struct shop *shop)
{
	shop->number = 18364758544493064721u;
	for (int i = 0; i < USERS; i++) {
		struct user *u = pMalloc(sizeof(*u));

		if (!u)
			return -1;
		snprintf(u->name, sizeof(u->name), i % 50 ? "user %d" : "<img src=x onerror=alert(%d)>", i);
		u->age = 20 + i % 50;
		u->next = shop->users;
		shop->users = u;
	}
	return 0;
}

static int sell(int id, struct shop *shop)
{
	char message[64];

	shop->sales++;
	shop->users->age++;
	if (!getenv("SHOP_IS_SMALL")) {
		shop->log = pRealloc(shop->log, (size_t)shop->sales * 512);
		memset(shop->log, (int)shop->sales, (size_t)shop->sales * 512);
	}
	snprintf(message, sizeof(message), shop->sales % 10 ? "sale %ld" : "<b>sale</b> %ld", shop->sales);
	return pPointMsg(id, message) > 0 ? 0 : -1;
}

static int try_make(int id)
{
	void *root;
	int branch = pCClone(id, "try", &root);

	if (branch <= 0 || pCTag(id, "<i>half</i>", NULL))
		return -1;
	for (int i = 0; i < 3; i++)
		if (sell(branch, root))
			return -1;
	pCFree(branch);
	return 0;
}

static int fail(void)
{
	fprintf(stderr, "%s\n", pErrorMsg());
	return 1;
}

int main(int argc, char **argv)
{
	int versions = argc > 1 ? atoi(argv[1]) : 20, id;
	struct cattr attr = {.name = "shop", .type = "struct shop", .chunk_bytes = 4096, .stop_threads = 1, .full_trace_every = 1000};
	struct shop *shop;
	char line[16];

	id = pCAlloc(MAGIC, sizeof(*shop), (void **)&shop);
	if (!id || pCSetAttr(id, &attr) || users_make(shop))
		return fail();
	for (int i = 0; i < versions; i++)
		if (sell(id, shop) || (i == versions / 2 && try_make(id)))
			return fail();
	if (pSync(id))
		return fail();
	puts("ready");
	fflush(stdout);
	while (argc > 2 && fgets(line, sizeof(line), stdin))
		if (sell(id, shop) || pSync(id))
			return fail();
	return pVClose() ? fail() : 0;
}
