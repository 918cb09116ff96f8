/* tpl.c - TPL, the serializer: the whole table is written at each update, to a second file that then takes the first one's
 * name, for a crash must leave one of the two whole. */
#include "store.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tpl.h>
#include <unistd.h>

static char (*value_of)[VALUE_BYTES];
static char path[4096], fresh[4096];
static int folder_fd;

static void table_write(void)
{
	uint64_t key;
	char value[VALUE_BYTES];
	tpl_node *n = tpl_map((char *)(uintptr_t) "A(Uc#)", &key, value, VALUE_BYTES);
	int fd = open(fresh, O_CREAT | O_TRUNC | O_WRONLY, 0600);

	need(n && fd >= 0, "tpl_map or open");
	for (key = 0; key < store_keys; key++) {
		memcpy(value, value_of[key], VALUE_BYTES);
		tpl_pack(n, 1);
	}
	need(!tpl_dump(n, TPL_FD, fd), "tpl_dump");
	tpl_free(n);
	need(!fsync(fd) && !close(fd) && !rename(fresh, path) && !fsync(folder_fd), "fsync or rename");
}

static void tpl_store_open(const char *folder, const char *variant, bool is_lazy)
{
	(void)variant;
	need(!is_lazy, "TPL without durability");
	value_of = calloc(store_keys, sizeof(*value_of));
	need(value_of != NULL, "calloc");
	snprintf(path, sizeof(path), "%s", store_path(folder, "values.tpl"));
	snprintf(fresh, sizeof(fresh), "%s", store_path(folder, "fresh.tpl"));
	folder_fd = open(folder, O_RDONLY | O_DIRECTORY);
	need(folder_fd >= 0, "open of the folder");
}

static void tpl_put(uint64_t key, const char value[VALUE_BYTES])
{
	memcpy(value_of[key], value, VALUE_BYTES);
}

static void tpl_store_sync(void)
{
}

static void tpl_get(uint64_t wanted, char out[VALUE_BYTES])
{
	uint32_t key = 0;
	char value[VALUE_BYTES];
	tpl_node *n = tpl_map((char *)(uintptr_t) "A(Uc#)", &key, value, VALUE_BYTES);

	need(n && !tpl_load(n, TPL_FILE, path), "tpl_load");
	while (tpl_unpack(n, 1) > 0)
		if (key == wanted)
			memcpy(out, value, VALUE_BYTES);
	tpl_free(n);
}

static void tpl_store_close(void)
{
	close(folder_fd);
}

int main(int argc, char **argv)
{
	return store_main(argc, argv,
	                  &(struct store){tpl_store_open, tpl_put, table_write, tpl_store_sync, tpl_get, NULL,
	                                  tpl_store_close, .is_threaded = false});
}
