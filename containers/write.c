/* write.c - from an image to a version, while the program runs on: its description, and the commit of its changes (changes.h). */
#include "changes.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

static void info_fill(struct container *c, struct version_info *info)
{
	const struct image *image = &c->image;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	*info = (struct version_info){
	        .time_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec,
	        .root = spm_moved_address(c->moved, image->root),
	        .root_bytes = image->root_bytes,
	        .live_bytes = image->live_bytes,
	        .pause_ns = image->pause_ns,
	        .queue = 1,
	        .lag_ns = spm_now_ns() - image->captured_ns,
	        .version = (uint64_t)c->number,
	        .input = image->input,
	        .pid = (uint32_t)getpid(),
	};
	info->pause_median_ns = c->pauses.median_ns;
	info->pause_p99_ns = c->pauses.p99_ns;
	info->pause_max_ns = c->pauses.max_ns;
	memcpy(info->branch, c->branch, sizeof(info->branch));
	memcpy(info->message, c->message, sizeof(info->message));
	spm_attr_to_info(&image->attr, info);
}

static int image_commit(struct container *c, bool is_forced, struct version_info *info)
{
	struct changes changes;
	int err;

	c->left.n = 0;
	if (c->image.is_exact)
		spm_exact_tell(c);
	info_fill(c, info);
	spm_changes_begin(&changes, c, info->chunk_bytes / SPM_PAGE_BYTES);
	err = spm_chain_commit_from(c->chain, &changes.source, is_forced, info);
	spm_changes_end(&changes);
	if (!err && changes.blob)
		spm_blob_saved(c);
	return err;
}

int spm_image_is_news(struct container *c)
{
	bool are_types_changed = c->are_types_changed;
	struct changes changes;
	int result;

	c->left.n = 0;
	c->are_types_changed = false; /* they say what is there, not that it is another */
	spm_changes_begin(&changes, c, 1);
	result = spm_chain_would_change(c->chain, &changes.source);
	spm_changes_end(&changes);
	c->are_types_changed = are_types_changed;
	spm_capture_undo(c);
	return result;
}

/* What the next point should find in memory: room for the largest of the latest, since points of a small change and of a larger one take
 * turns where they are asynchronous. Of pages that a clone kept there are no copies. */
static void image_note(struct image *image, bool was_cloned)
{
	size_t most = was_cloned && image->pages < CHANGES_COPIES ? CHANGES_COPIES : image->pages;
	size_t copies = was_cloned ? 0 : image->pages, before = image->pages_latest - (image->pages_latest + 15) / 16;

	image->pages_latest = copies > before ? copies : before;
	if (most > image->pages_most)
		image->pages_most = most;
}

int spm_image_write(struct container *c, bool is_forced, int64_t *version)
{
	bool was_cloned = c->image.clone.child != 0;
	struct version_info info;
	int err;

	if (!c->image.pages && !is_forced && c->durable) {
		spm_clone_drop(&c->image.clone);
		*version = c->durable;
		c->image.stored_bytes = 0;
		c->image.input = c->input_saved;
		return spm_chain_settle(c->chain);
	}
	err = image_commit(c, is_forced, &info);
	image_note(&c->image, was_cloned);
	if (err) {
		spm_capture_undo(c);
		return err;
	}
	c->image.stored_bytes = info.stored_bytes;
	c->image.input = info.input; /* if nothing had changed, the newest version's */
	*version = (int64_t)info.version;
	return 0;
}
