/* heapimage_open.c - images that are open in this process (heapimage.h).
 *
 *   header and tables verified -> slices lent by the heap -> each run mapped -> pages with outward pointers mended -> read-only
 *
 * An image is no container: it has no chain, no arena, no marks. The heap knows its slices as lent, so nobody allocates there, restores
 * move out of the way, and discovery finds no span where a pointer into it leads. Its ID is above those of containers.
 *
 * The mapping is private: what is mended is copied for this process, and all else is the page cache's, the same for every process.
 * It is writable until the mending is done, if anything is to be mended, so that this takes one call more and splits no mapping.
 *
 * What a volume gets must not have pointers into an image, which need not be there at the restore: they become NULL as all that leads
 * out of the heap (spm_heapimage_cut). An image is closed only when what was captured while it was open is written.
 *
 * images_lock guards the list; no other lock is taken under it. An image in the list does not change.
 */
#include "heapimage.h"
#include "track/track.h"
#include "types/types.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { FIRST_ID = 1 << 30 };

struct heapimage {
	struct heapimage *next;
	int id;
	char *path;
	struct heapimage_run *run;
	size_t runs;
	struct left left;
};

static pthread_mutex_t images_lock = PTHREAD_MUTEX_INITIALIZER;
static struct heapimage *images;
static _Atomic unsigned images_open;
static int next_id = FIRST_ID;

void spm_heapimage_lock(void)
{
	pthread_mutex_lock(&images_lock);
}

void spm_heapimage_unlock(void)
{
	pthread_mutex_unlock(&images_lock);
}

/* ---- its place ---- */

static uint32_t slice_of(const struct heapimage_run *r)
{
	return r->page / SPM_SLICE_PAGES;
}

static uint32_t slices_of(const struct heapimage_run *r)
{
	return (r->page + r->pages - 1) / SPM_SLICE_PAGES - slice_of(r) + 1;
}

static bool is_in(const struct heapimage *image, uint64_t address)
{
	uint32_t slice = spm_page_of(address) / SPM_SLICE_PAGES;

	for (size_t i = 0; i < image->runs; i++)
		if (slice - slice_of(&image->run[i]) < slices_of(&image->run[i]))
			return true;
	return false;
}

static const struct heapimage *image_at(uint64_t address)
{
	const struct heapimage *image = images;

	while (image && !is_in(image, address))
		image = image->next;
	return image;
}

/* By what, and what to do. */
static int taken_by_image(const char *path, uint64_t at)
{
	const struct heapimage *other;
	char who[300] = "an image that is just being opened or closed";

	pthread_mutex_lock(&images_lock);
	other = image_at(at);
	if (other)
		snprintf(who, sizeof(who), "image %.200s, which is open (ID %d): close that first", other->path,
		         other->id);
	pthread_mutex_unlock(&images_lock);
	return spm_fail(EBUSY, "image %s: its addresses (from 0x%llx on) are taken by %s", path, (unsigned long long)at,
	                who);
}

static int is_taken(const char *path, uint32_t slice, uint32_t arena)
{
	uint64_t at = spm_page_address(slice * SPM_SLICE_PAGES);
	char who[200] = "memory that this program allocated";

	if (arena == SPM_ARENA_LENT)
		return taken_by_image(path, at);
	spm_arena_owner(arena, who, sizeof(who));
	return spm_fail(
	        EBUSY,
	        "image %s: its addresses (from 0x%llx on) are taken by %s: open the image first, what is allocated or "
	        "restored afterwards goes elsewhere; or open the version with pCOpenAt, which moves it",
	        path, (unsigned long long)at, who);
}

/* All runs or none. */
static int slices_borrow(const char *path, const struct heapimage_file *f)
{
	uint32_t slice = 0, arena = 0;
	uint64_t i = 0;
	int err = 0;

	for (; i < f->h.runs && !err; i++)
		err = spm_heap_lend(slice_of(&f->run[i]), slices_of(&f->run[i]), &slice, &arena);
	if (!err)
		return 0;
	for (i--; i-- > 0;)
		spm_heap_take_back(slice_of(&f->run[i]), slices_of(&f->run[i]));
	return err == -EEXIST ? is_taken(path, slice, arena)
	                      : spm_fail(-err, "image %s: the heap window can't be had: %s", path, strerror(-err));
}

static void slices_return(const struct heapimage_run *run, size_t runs)
{
	for (size_t i = 0; i < runs; i++)
		spm_heap_take_back(slice_of(&run[i]), slices_of(&run[i]));
}

/* ---- its pages ---- */

static void *place_of(const struct heapimage_run *r)
{
	return (void *)(uintptr_t)spm_page_address(r->page);
}

static int runs_map(const char *path, const struct heapimage_file *f)
{
	int protection = f->h.mends ? PROT_READ | PROT_WRITE : PROT_READ;

	for (uint64_t i = 0; i < f->h.runs; i++) {
		const struct heapimage_run *r = &f->run[i];

		spm_track_forget(slice_of(r) * SPM_SLICE_PAGES, slices_of(r) * SPM_SLICE_PAGES);
		if (mmap(place_of(r), (size_t)r->pages * SPM_PAGE_BYTES, protection,
		         MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, f->fd, (off_t)r->offset) == MAP_FAILED)
			return spm_fail(errno, "image %s can't be mapped: %s", path, strerror(errno));
	}
	return 0;
}

struct mending {
	struct heapimage *image;
	uint64_t at;
};

static void pointer_lost(size_t word, const char *sentence, void *arg)
{
	const struct mending *m = arg;

	spm_left_add(&m->image->left, m->at + word * sizeof(uint64_t), 0, sentence);
}

static void page_mend(struct heapimage *image, struct outside *o, const struct plain *plain, uint32_t page)
{
	struct mending note = {image, spm_page_address(page)};
	uint64_t *word = (uint64_t *)(uintptr_t)note.at;
	struct aside numbers;

	spm_plain_set_aside(plain, page, word, &numbers);
	spm_outside_decode(o, word, SPM_PAGE_BYTES / sizeof(*word), pointer_lost, &note);
	spm_plain_put_back(&numbers, word);
}

/* The kernel is asked for the copies, and says so if the file can't be read, where a touch would be SIGBUS. Before Linux 5.14 they are
 * touched. */
static int pages_mend(struct heapimage *image, struct outside *o, const struct plain *plain,
                      const struct heapimage_mend *m)
{
	struct mending note = {image, spm_page_address(m->page)};
	uint64_t *word = (uint64_t *)(uintptr_t)note.at;
	size_t bytes = (size_t)m->pages * SPM_PAGE_BYTES;

	if (madvise(word, bytes, MADV_POPULATE_WRITE) && errno != EINVAL)
		return spm_fail(errno == ENOMEM ? ENOMEM : EIO, "image %s: the pages at %p can't be had: %s",
		                image->path, (void *)word, strerror(errno));
	if (!plain->n)
		spm_outside_decode(o, word, bytes / sizeof(*word), pointer_lost, &note);
	for (uint32_t i = 0; plain->n && i < m->pages; i++)
		page_mend(image, o, plain, m->page + i);
	return 0;
}

static int all_mend(struct heapimage *image, const struct heapimage_file *f, struct outside *o)
{
	int err = 0;

	if (f->h.modules_bytes && spm_outside_load(o, f->modules, f->h.modules_bytes))
		return spm_fail(EUCLEAN, "image %s: its table of modules is malformed; write it anew with softpm image",
		                image->path);
	for (uint64_t i = 0; i < f->h.mends && !err; i++)
		err = pages_mend(image, o, &f->plain, &f->mend[i]);
	for (size_t i = 0; i < image->runs && !err; i++)
		if (mprotect(place_of(&image->run[i]), (size_t)image->run[i].pages * SPM_PAGE_BYTES, PROT_READ))
			err = spm_fail(errno, "image %s can't be made read-only: %s", image->path, strerror(errno));
	return err;
}

static int outward_mend(struct heapimage *image, const struct heapimage_file *f)
{
	struct outside *o;
	int err;

	if (!f->h.mends)
		return 0;
	o = spm_outside_new();
	if (!o)
		return spm_fail(ENOMEM, "image %s: no memory to open it", image->path);
	err = all_mend(image, f, o);
	spm_outside_free(o);
	return err;
}

/* ---- opening and closing ---- */

static void image_free(struct heapimage *image)
{
	free(image->path);
	free(image->run);
	free(image->left.pointer);
	free(image);
}

static struct heapimage *image_new(const char *path, const struct heapimage_file *f)
{
	struct heapimage *image = calloc(1, sizeof(*image));
	size_t bytes = f->h.runs * sizeof(*image->run);

	if (!image)
		return NULL;
	image->path = strdup(path);
	image->run = malloc(bytes);
	image->runs = f->h.runs;
	if (image->path && image->run) {
		memcpy(image->run, f->run, bytes);
		return image;
	}
	image_free(image);
	return NULL;
}

static int image_show(struct heapimage *image, const struct heapimage_file *f)
{
	if (slices_borrow(image->path, f))
		return -1;
	if (runs_map(image->path, f) || outward_mend(image, f)) {
		int error = errno;

		slices_return(f->run, f->h.runs);
		errno = error;
		return -1;
	}
	return 0;
}

static int list_add(struct heapimage *image)
{
	int id;

	pthread_mutex_lock(&images_lock);
	id = image->id = next_id;
	next_id = next_id == INT32_MAX ? FIRST_ID : next_id + 1;
	image->next = images;
	images = image;
	images_open++;
	pthread_mutex_unlock(&images_lock);
	return id;
}

static int image_open(const char *path, const struct heapimage_file *f)
{
	struct heapimage *image = image_new(path, f);
	int error;

	if (!image)
		return spm_fail(ENOMEM, "image %s: no memory to open it", path), 0;
	if (!image_show(image, f))
		return list_add(image);
	error = errno;
	image_free(image);
	errno = error;
	return 0;
}

/* Whether this build of the program takes its memory for what it is. */
static int types_check(const char *path, const struct heapimage_file *f)
{
	struct blob_parts parts = {.types_bytes = f->h.types_bytes};
	struct types *types;
	unsigned char *bytes;
	int result;

	if (!parts.types_bytes)
		return 0;
	if (spm_heapimage_types_read(path, f, &bytes))
		return -1;
	parts.types = bytes;
	result = spm_typing_load(f->h.container, &parts, &types);
	free(bytes);
	if (!result)
		result = spm_typing_check_image(path, types);
	spm_types_free(types);
	return result;
}

int pCOpenImage(const char *path, void **cStruct)
{
	struct heapimage_file f;
	int id, error;

	if (!cStruct)
		return spm_fail(EINVAL, "pCOpenImage: no place for the root's address"), 0;
	if (spm_heapimage_load(path, &f))
		return 0;
	id = types_check(path, &f) ? 0 : image_open(path, &f);
	error = errno;
	if (id)
		*cStruct = (void *)(uintptr_t)f.h.info.root;
	spm_heapimage_unload(&f);
	errno = error;
	return id;
}

bool spm_heapimage_is_id(int id)
{
	return id >= FIRST_ID;
}

/* Locked. Where the list names it; *link is NULL if there is no such image. */
static struct heapimage **link_of(int id)
{
	struct heapimage **link = &images;

	while (*link && (*link)->id != id)
		link = &(*link)->next;
	return link;
}

bool spm_heapimage_is_open(int id)
{
	bool is_open;

	pthread_mutex_lock(&images_lock);
	is_open = *link_of(id);
	pthread_mutex_unlock(&images_lock);
	return is_open;
}

int spm_heapimage_of(uint64_t address)
{
	const struct heapimage *image;
	int id;

	pthread_mutex_lock(&images_lock);
	image = image_at(address);
	id = image ? image->id : 0;
	pthread_mutex_unlock(&images_lock);
	return id;
}

uint64_t spm_heapimage_rest(uint64_t address)
{
	const struct heapimage *image;
	uint64_t rest = 0;

	pthread_mutex_lock(&images_lock);
	image = image_at(address);
	for (size_t i = 0; image && i < image->runs; i++) {
		uint64_t start = spm_page_address(image->run[i].page),
		         bytes = (uint64_t)image->run[i].pages * SPM_PAGE_BYTES;

		if (address - start < bytes)
			rest = start + bytes - address;
	}
	pthread_mutex_unlock(&images_lock);
	return rest;
}

static int no_such(int id)
{
	return spm_fail(EINVAL, "there is no open image with ID %d", id);
}

void spm_heapimage_refuse(int id)
{
	const struct heapimage *image;

	pthread_mutex_lock(&images_lock);
	image = *link_of(id);
	if (image)
		spm_fail(EROFS, "image %s is read-only, and no container: it can be read, and closed with pCFree",
		         image->path);
	else
		no_such(id);
	pthread_mutex_unlock(&images_lock);
}

/* NULL: it was not there. */
static struct heapimage *list_remove(int id)
{
	struct heapimage **link, *image;

	pthread_mutex_lock(&images_lock);
	link = link_of(id);
	image = *link;
	if (image) {
		*link = image->next;
		images_open--;
	}
	pthread_mutex_unlock(&images_lock);
	return image;
}

void spm_heapimage_close(int id)
{
	struct heapimage *image;

	spm_containers_settle();
	image = list_remove(id);
	if (!image) {
		no_such(id);
		return;
	}
	slices_return(image->run, image->runs);
	image_free(image);
}

int spm_heapimage_outside(int id, int (*fn)(void *place, void *value, const char *what, void *arg), void *arg)
{
	const struct heapimage *image;
	int result;

	pthread_mutex_lock(&images_lock);
	image = *link_of(id);
	result = image ? spm_left_each(&image->left, fn, arg) : no_such(id);
	pthread_mutex_unlock(&images_lock);
	return result;
}

/* ---- pointers into it ---- */

static void word_cut(uint64_t *word, unsigned offset,
                     void (*left)(unsigned offset, uint64_t value, const char *what, void *arg), void *arg)
{
	const struct heapimage *image;
	char what[160] = "image";

	pthread_mutex_lock(&images_lock);
	image = image_at(*word);
	if (image)
		snprintf(what, sizeof(what), "image %s", image->path);
	pthread_mutex_unlock(&images_lock);
	left(offset, *word, what, arg);
	*word = 0;
}

void spm_heapimage_cut(uint64_t *word, void (*left)(unsigned offset, uint64_t value, const char *what, void *arg),
                       void *arg)
{
	for (unsigned i = 0; images_open && i < SPM_PAGE_BYTES / sizeof(*word); i++)
		if (spm_in_window(word[i]) && spm_heap_is_lent(word[i]))
			word_cut(&word[i], i * (unsigned)sizeof(*word), left, arg);
}
