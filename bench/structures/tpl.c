/* tpl.c - the plain structures (plain.c) with TPL, the serializer, as its user's guide shows: a point packs all elements, and dumps them to a
 * second file that then takes the first one's name, for a crash must leave one of the two whole.
 *
 * Variant log, where TPL can do without writing all: each point appends an image of what was added, changed and removed since the one
 * before (images may follow each other in a file), until these are more than the whole, which is dumped then. Variant whole: never. Each process has a folder of its own.
 */
#include "plain.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <tpl.h>
#include <unistd.h>

static bool is_logged;
static uint64_t written, whole_bytes, log_bytes;

static void count_dumped(tpl_node *image, uint64_t *counter)
{
	size_t bytes;

	need(!tpl_dump(image, TPL_GETSIZE, &bytes), "TPL_GETSIZE");
	written += bytes;
	*counter += bytes;
}

/* persist array list tree hash */
static int folder_fd;

static int fd; /* of data.tpl, -1: there is none */

/* What the image has packed becomes the file, or nothing does. */
static void image_dump(tpl_node *image)
{
	if (fd >= 0)
		close(fd);
	fd = openat(folder_fd, "fresh.tpl", O_CREAT | O_TRUNC | O_RDWR, 0600);

	need(fd >= 0 && !tpl_dump(image, TPL_FD, fd) && !fsync(fd), "dumping to fresh.tpl");
	need(!renameat(folder_fd, "fresh.tpl", folder_fd, "data.tpl"), "rename");
	need(!fsync(folder_fd), "fsync of the folder");
	count_dumped(image, &whole_bytes);
	tpl_free(image);
}

/* false: there is none. */
static bool image_load(tpl_node *image)
{
	fd = openat(folder_fd, "data.tpl", O_RDWR);
	need(fd < 0 || !tpl_load(image, TPL_FD, fd), "loading data.tpl");
	return fd >= 0;
}
/* end */

/* persist array */
static void array_save(void)
{
	tpl_bin whole = {plain->array.entry, (uint32_t)(plain->array.n * sizeof(struct entry))};
	tpl_node *image = tpl_map((char *)(uintptr_t) "B", &whole);

	need(image && tpl_pack(image, 0) >= 0, "packing the array");
	image_dump(image);
}

static void array_load(void)
{
	tpl_bin whole;
	tpl_node *image = tpl_map((char *)(uintptr_t) "B", &whole);

	need(image != NULL, "tpl_map");
	if (image_load(image)) {
		need(tpl_unpack(image, 0) > 0, "unpacking the array");
		plain->array.entry = whole.addr;
		plain->array.n = plain->array.capacity = whole.sz / sizeof(struct entry);
	}
	tpl_free(image);
}
/* end */

/* persist list tree hash */
static struct entry packed;

static tpl_node *entries_map(void)
{
	tpl_node *image = tpl_map((char *)(uintptr_t) "A(S(Uc#))", &packed, VALUE_BYTES);

	need(image != NULL, "tpl_map");
	return image;
}

static void entry_pack(tpl_node *image, const struct element *e)
{
	packed = e->entry;
	need(tpl_pack(image, 1) >= 0, "packing an element");
}

static void entries_load(void (*add)(const struct entry *))
{
	tpl_node *image = entries_map();

	if (image_load(image))
		while (tpl_unpack(image, 1) > 0)
			add(&packed);
	tpl_free(image);
}
/* end */

/* persist list */
static void list_save(void)
{
	tpl_node *image = entries_map();
	struct element *e;

	TAILQ_FOREACH(e, &plain->list, link.list)
	entry_pack(image, e);
	image_dump(image);
}

static void list_load(void)
{
	entries_load(plain_list.add);
}
/* end */

/* persist tree */
static void tree_save(void)
{
	tpl_node *image = entries_map();
	struct element *e;

	RB_FOREACH(e, tree, &plain->tree)
	entry_pack(image, e);
	image_dump(image);
}

static void tree_load(void)
{
	entries_load(plain_tree.add);
}
/* end */

/* persist hash */
static void hash_save(void)
{
	tpl_node *image = entries_map();
	struct element *e;

	for (uint64_t i = 0; i < plain->hash.buckets; i++)
		LIST_FOREACH(e, &plain->hash.bucket[i], link.bucket)
	entry_pack(image, e);
	image_dump(image);
}

static void hash_load(void)
{
	entries_load(plain_hash.add);
}
/* end */

static const struct format {
	const struct structure *structure;
	void (*save)(void), (*load)(void);
} formats[] = {{&plain_array, array_save, array_load},
               {&plain_list, list_save, list_load},
               {&plain_tree, tree_save, tree_load},
               {&plain_hash, hash_save, hash_load}},
  *format;

/* persist log */
static struct change {
	struct entry entry;
	unsigned char kind;
} change;
static tpl_node *changes; /* since the last point */

static void changes_begin(void)
{
	changes = tpl_map((char *)(uintptr_t) "A(S(Uc#c))", &change, VALUE_BYTES);
	need(changes != NULL, "tpl_map");
}

static void change_note(enum change_kind kind, const struct entry *entry)
{
	change.entry = *entry;
	change.kind = (unsigned char)kind;
	need(tpl_pack(changes, 1) >= 0, "packing a change");
}

static void change_apply(void)
{
	if (change.kind == ADDED)
		format->structure->add(&change.entry);
	else if (change.kind == CHANGED)
		memcpy(format->structure->find(change.entry.key), change.entry.value, VALUE_BYTES);
	else
		format->structure->remove(change.entry.key);
}

static void changes_load(void)
{
	changes_begin();
	while (fd >= 0 && !tpl_load(changes, TPL_FD, fd)) {
		if (format->structure->batch_begin)
			format->structure->batch_begin();
		while (tpl_unpack(changes, 1) > 0)
			change_apply();
	}
	tpl_free(changes);
	changes_begin();
}

static void changes_dump(void)
{
	need(!tpl_dump(changes, TPL_FD, fd) && !fdatasync(fd), "appending to data.tpl");
	count_dumped(changes, &log_bytes);
}

static void log_point(void)
{
	if (whole_bytes && log_bytes < whole_bytes) {
		changes_dump();
	} else {
		whole_bytes = log_bytes = 0;
		format->save();
	}
	tpl_free(changes);
	changes_begin();
}
/* end */

static void tpl_open(const struct setting *setting)
{
	static char folder[4096];

	is_logged = !strcmp(setting->variant, "log");
	snprintf(folder, sizeof(folder), "%s/%llu", setting->folder, (unsigned long long)setting->process);
	mkdir(folder, 0700);
	folder_fd = open(folder, O_RDONLY | O_DIRECTORY);
	plain = calloc(1, sizeof(*plain));
	need(folder_fd >= 0 && plain, "opening the folder");
	plain_init();
	for (format = formats; strcmp(format->structure->name, setting->structure);)
		format++;
	format->load();
	if (is_logged)
		changes_load();
}

static void tpl_note(enum change_kind kind, const struct entry *entry)
{
	if (is_logged)
		change_note(kind, entry);
}

static void tpl_point(void)
{
	if (is_logged)
		log_point();
	else
		format->save();
}

static uint64_t stored_bytes(void)
{
	return written;
}

static void tpl_close(void)
{
	close(fd);
	close(folder_fd);
}

static const struct structure *const structures[] = {&plain_array, &plain_list, &plain_tree, &plain_hash, NULL};

int main(int argc, char **argv)
{
	return structures_main(
	        argc, argv, &(struct system){structures, tpl_open, tpl_note, tpl_point, stored_bytes, NULL, tpl_close});
}
