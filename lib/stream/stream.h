/* stream.h - bytes through a file or pipe: compressed, in frames, each checked before anybody sees what it holds.
 *
 *   preamble | frame | frame | ... | last frame
 *
 *   frame:   sum | stored bytes | content bytes | flags | stored ...
 *
 * One zstd stream runs through all frames and is flushed at the end of each: so what repeats over the frames is stored once, and
 * who has a frame has all of its content. A frame's sum is seeded with that of the frame before (the first one's with that
 * of the preamble): one that was lost, repeated or put elsewhere does not fit, and the last vouches for the whole stream. Memory is
 * that of a frame and of zstd's window, for streams of any length. docs/stream-format.md tells each field.
 */
#ifndef SPM_STREAM_H
#define SPM_STREAM_H

#include "base/base.h"

#include <zstd.h>

enum {
	STREAM_VERSION = 2,
	STREAM_VERSION_LEAST = 1, /* the same of older volumes */
	STREAM_CONTENT_MOST = 1 << 17,                   /* of a frame */
	STREAM_STORED_MOST = STREAM_CONTENT_MOST + 4096, /* more than zstd ever makes of it */
	STREAM_WINDOW_LOG = 23                           /* zstd's window is no larger: 8 MiB */
};

struct stream_frame { /* as it is in the stream, little-endian */
	uint64_t sum; /* XXH3 of the 16 bytes that follow and of what is stored, seeded with the sum before */
	uint32_t stored_bytes, content_bytes;
	uint32_t is_last, zero;
};

struct stream_out {
	int fd;
	ZSTD_CCtx *zstd;
	unsigned char *content, *frame;
	size_t used;    /* of content */
	uint64_t sum;   /* of the frame before */
	uint64_t bytes; /* written so far */
};
/* 0 or -errno of write(2), -ENOMEM. With any result it takes an _end. */
int spm_stream_out_begin(struct stream_out *s, int fd);
int spm_stream_write(struct stream_out *s, const void *from, size_t n);
int spm_stream_finish(struct stream_out *s); /* the last frame */
void spm_stream_out_end(struct stream_out *s);

struct stream_in {
	int fd;
	ZSTD_DCtx *zstd;
	unsigned char *content, *frame;
	size_t at, used; /* of content */
	uint64_t sum;
	uint64_t bytes; /* read so far: never more than the stream has */
	bool is_last;   /* the last frame was read */
	char why[200];  /* a sentence's end: "the stream ... " */
};
/* 0; -errno of read(2); -EUCLEAN: it is no stream, or a damaged one; -ENOTSUP: of another format version: `why` tells. */
int spm_stream_in_begin(struct stream_in *s, int fd);
/* Exactly n bytes. -EUCLEAN also if there are not so many. */
int spm_stream_read(struct stream_in *s, void *to, size_t n);
/* All was read, and the last frame with it. 0 or -EUCLEAN. */
int spm_stream_check_over(struct stream_in *s);
void spm_stream_in_end(struct stream_in *s);

#endif
