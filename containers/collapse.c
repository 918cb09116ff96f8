/* collapse.c - see collapse.h. */
#include "collapse.h"
#include "container.h"
#include "heap/heap.h"
#include "snapshot/stop.h"
#include "track/track.h"

enum { HUGE_PAGES = 512, SLICE_RANGES = SPM_SLICE_PAGES / HUGE_PAGES, COLD_S = 2, LOOKS_MOST = 256 };

/* When a range of 2 MiB was last found written, in seconds; 0: it need not be looked at. */
static uint32_t written_s[SPM_SLICES][SLICE_RANGES];
static bool has_written[SPM_SLICES];
static unsigned slice_top; /* slices that were ever noted are below */
static unsigned cursor;    /* slice that the next step begins with */
static uint32_t now_s = 1;

void spm_collapse_tick(void)
{
	now_s = (uint32_t)(spm_now_ns() / 1000000000) + 1;
}

void spm_collapse_note(pageno_t first, uint32_t pages)
{
	for (uint32_t r = first / HUGE_PAGES; r <= (first + pages - 1) / HUGE_PAGES; r++) {
		unsigned slice = r / SLICE_RANGES;

		written_s[slice][r % SLICE_RANGES] = now_s;
		has_written[slice] = true;
		if (slice >= slice_top)
			slice_top = slice + 1;
	}
}

/* Whether it took time. */
static bool range_collapse(pageno_t first)
{
	int result;

	if (!spm_track_is_cold(first, HUGE_PAGES) || spm_stop_begin())
		return false;
	result = spm_track_collapse(first, HUGE_PAGES);
	spm_stop_end();
	if (result < 0)
		spm_capture_set_dirty(first, HUGE_PAGES);
	return true;
}

/* A range is tried once after each time it was written: one that can't be a huge page stays as it is. */
static enum collapse slice_step(unsigned slice, unsigned *looks)
{
	bool is_waiting = false;

	for (unsigned r = 0; r < SLICE_RANGES; r++) {
		if (!written_s[slice][r])
			continue;
		if (now_s - written_s[slice][r] < COLD_S) {
			is_waiting = true;
			continue;
		}
		written_s[slice][r] = 0;
		++*looks;
		if (range_collapse(slice * SPM_SLICE_PAGES + r * HUGE_PAGES))
			return COLLAPSE_MORE;
	}
	has_written[slice] = is_waiting;
	return is_waiting ? COLLAPSE_LATER : COLLAPSE_NOTHING;
}

static enum collapse sweep(void)
{
	enum collapse left = COLLAPSE_NOTHING;
	unsigned looks = 0;

	for (unsigned n = 0; n < slice_top; n++, cursor++) {
		enum collapse of_slice;

		cursor = cursor < slice_top ? cursor : 0;
		of_slice = has_written[cursor] ? slice_step(cursor, &looks) : COLLAPSE_NOTHING;
		if (of_slice == COLLAPSE_MORE || looks >= LOOKS_MOST)
			return COLLAPSE_MORE;
		if (of_slice == COLLAPSE_LATER)
			left = COLLAPSE_LATER;
	}
	return left;
}

enum collapse spm_collapse_step(void)
{
	enum collapse left;

#ifdef __SANITIZE_THREAD__ /* gives no signal to who waits for a mutex, and a thread that is stopped may have it */
	return COLLAPSE_NOTHING;
#endif
	if (!spm_capture_try_begin())
		return COLLAPSE_LATER;
	spm_collapse_tick();
	left = sweep();
	spm_capture_end();
	return left;
}
