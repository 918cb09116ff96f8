/* stream.c - see stream.h. */
#include "stream/stream.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

enum { COMPRESSION_LEVEL = 1, SUM_FROM = sizeof(uint64_t) };

struct preamble {
	char magic[8];
	uint32_t version, zero;
};
static const struct preamble preamble = {"SPSTREAM", STREAM_VERSION, 0};

static_assert(sizeof(struct stream_frame) == 24 && sizeof(struct preamble) == 16, "frames");
static_assert(STREAM_STORED_MOST >= ZSTD_COMPRESSBOUND(STREAM_CONTENT_MOST), "what zstd may make of a frame");

/* A pipe's other end may have made it non-blocking. */
static bool waits_for(int fd, short events)
{
	return errno == EINTR || (errno == EAGAIN && poll(&(struct pollfd){.fd = fd, .events = events}, 1, -1) >= 0);
}

static uint64_t frame_sum(const unsigned char *frame, size_t stored, uint64_t before)
{
	return XXH3_64bits_withSeed(frame + SUM_FROM, sizeof(struct stream_frame) - SUM_FROM + stored, before);
}

/* ---- out ---- */

static int bytes_write(struct stream_out *s, const void *from, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t wrote = write(s->fd, (const char *)from + done, n - done);

		if (wrote < 0 && !waits_for(s->fd, POLLOUT))
			return -errno;
		done += wrote > 0 ? (size_t)wrote : 0;
	}
	s->bytes += n;
	return 0;
}

int spm_stream_out_begin(struct stream_out *s, int fd)
{
	*s = (struct stream_out){.fd = fd,
	                         .zstd = ZSTD_createCCtx(),
	                         .content = malloc(STREAM_CONTENT_MOST),
	                         .frame = malloc(sizeof(struct stream_frame) + STREAM_STORED_MOST),
	                         .sum = XXH3_64bits(&preamble, sizeof(preamble))};
	if (!s->zstd || !s->content || !s->frame ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(s->zstd, ZSTD_c_compressionLevel, COMPRESSION_LEVEL)))
		return -ENOMEM;
	return bytes_write(s, &preamble, sizeof(preamble));
}

static int frame_write(struct stream_out *s, bool is_last)
{
	struct stream_frame f = {.content_bytes = (uint32_t)s->used, .is_last = is_last};
	ZSTD_inBuffer in = {s->content, s->used, 0};
	ZSTD_outBuffer out = {s->frame + sizeof(f), STREAM_STORED_MOST, 0};
	size_t left = ZSTD_compressStream2(s->zstd, &out, &in, is_last ? ZSTD_e_end : ZSTD_e_flush);

	if (ZSTD_isError(left))
		return -ENOMEM;
	SPM_CHECK(!left && in.pos == in.size);
	f.stored_bytes = (uint32_t)out.pos;
	memcpy(s->frame, &f, sizeof(f));
	s->sum = frame_sum(s->frame, out.pos, s->sum);
	memcpy(s->frame, &s->sum, sizeof(s->sum));
	s->used = 0;
	return bytes_write(s, s->frame, sizeof(f) + out.pos);
}

int spm_stream_write(struct stream_out *s, const void *from, size_t n)
{
	int err = 0;

	while (n && !err) {
		size_t room = STREAM_CONTENT_MOST - s->used, some = n < room ? n : room;

		memcpy(s->content + s->used, from, some);
		s->used += some;
		from = (const char *)from + some;
		n -= some;
		if (s->used == STREAM_CONTENT_MOST)
			err = frame_write(s, false);
	}
	return err;
}

int spm_stream_finish(struct stream_out *s)
{
	return frame_write(s, true);
}

void spm_stream_out_end(struct stream_out *s)
{
	ZSTD_freeCCtx(s->zstd);
	free(s->content);
	free(s->frame);
}

/* ---- in ---- */

static int fail(struct stream_in *s, int err, const char *format, ...) __attribute__((format(printf, 3, 4)));
static int fail(struct stream_in *s, int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(s->why, sizeof(s->why), format, args);
	va_end(args);
	return err;
}

static int bytes_read(struct stream_in *s, void *to, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t got = read(s->fd, (char *)to + done, n - done);

		if (!got)
			return fail(s, -EUCLEAN, "ends after %llu bytes, before its last frame: it was cut off",
			            (unsigned long long)s->bytes);
		if (got < 0 && !waits_for(s->fd, POLLIN))
			return fail(s, -errno, "can't be read: %s", strerror(errno));
		done += got > 0 ? (size_t)got : 0;
		s->bytes += got > 0 ? (size_t)got : 0;
	}
	return 0;
}

int spm_stream_in_begin(struct stream_in *s, int fd)
{
	struct preamble p;
	int err;

	*s = (struct stream_in){.fd = fd,
	                        .zstd = ZSTD_createDCtx(),
	                        .content = malloc(STREAM_CONTENT_MOST + 1), /* one more: to see that there is none */
	                        .frame = malloc(sizeof(struct stream_frame) + STREAM_STORED_MOST)};
	if (!s->zstd || !s->content || !s->frame ||
	    ZSTD_isError(ZSTD_DCtx_setParameter(s->zstd, ZSTD_d_windowLogMax, STREAM_WINDOW_LOG)))
		return fail(s, -ENOMEM, "can't be unpacked: no memory");
	err = bytes_read(s, &p, sizeof(p));
	if (err)
		return err;
	if (memcmp(p.magic, preamble.magic, sizeof(p.magic)) != 0)
		return fail(s, -EUCLEAN, "does not begin as one that softpm export makes");
	if (p.version < STREAM_VERSION_LEAST || p.version > STREAM_VERSION || p.zero)
		return fail(s, -ENOTSUP, "has format version %u; this is SoftPM for versions %d to %d", p.version,
		            STREAM_VERSION_LEAST, STREAM_VERSION);
	s->sum = XXH3_64bits(&p, sizeof(p));
	return 0;
}

/* The frame's bytes are right; what made them may still be nothing of ours. */
static int frame_unpack(struct stream_in *s, const struct stream_frame *f)
{
	ZSTD_inBuffer in = {s->frame + sizeof(*f), f->stored_bytes, 0};
	ZSTD_outBuffer out = {s->content, STREAM_CONTENT_MOST + 1, 0};
	size_t left = 1, before;

	do {
		before = in.pos + out.pos;
		left = ZSTD_decompressStream(s->zstd, &out, &in);
	} while (!ZSTD_isError(left) && in.pos + out.pos > before && in.pos < in.size);
	if (ZSTD_isError(left) || in.pos < in.size || out.pos != f->content_bytes || (f->is_last && left))
		return fail(s, -EUCLEAN, "can't be unpacked before byte %llu: it is malformed",
		            (unsigned long long)s->bytes);
	s->at = 0;
	s->used = out.pos;
	s->is_last = f->is_last;
	return 0;
}

static bool frame_is_sane(const struct stream_frame *f)
{
	return f->stored_bytes <= STREAM_STORED_MOST && f->content_bytes <= STREAM_CONTENT_MOST && f->is_last <= 1 &&
	       !f->zero && (f->content_bytes || f->is_last);
}

static int frame_read(struct stream_in *s)
{
	uint64_t begin = s->bytes, sum;
	struct stream_frame f;
	int err;

	if (s->is_last)
		return fail(s, -EUCLEAN, "ends after %llu bytes in the midst of what it tells: it is malformed",
		            (unsigned long long)s->bytes);
	err = bytes_read(s, s->frame, sizeof(f));
	memcpy(&f, s->frame, sizeof(f));
	if (!err && frame_is_sane(&f))
		err = bytes_read(s, s->frame + sizeof(f), f.stored_bytes);
	if (err)
		return err;
	sum = frame_is_sane(&f) ? frame_sum(s->frame, f.stored_bytes, s->sum) : ~f.sum;
	if (sum != f.sum)
		return fail(s, -EUCLEAN, "is damaged between bytes %llu and %llu", (unsigned long long)begin,
		            (unsigned long long)s->bytes);
	s->sum = sum;
	return frame_unpack(s, &f);
}

int spm_stream_read(struct stream_in *s, void *to, size_t n)
{
	int err = 0;

	while (n && !err) {
		size_t some = n < s->used - s->at ? n : s->used - s->at;

		memcpy(to, s->content + s->at, some);
		s->at += some;
		to = (char *)to + some;
		n -= some;
		if (n)
			err = frame_read(s);
	}
	return err;
}

int spm_stream_check_over(struct stream_in *s)
{
	while (s->at == s->used && !s->is_last) {
		int err = frame_read(s);

		if (err)
			return err;
	}
	return s->at == s->used ? 0
	                        : fail(s, -EUCLEAN, "goes on behind its end, before byte %llu: it is malformed",
	                               (unsigned long long)s->bytes);
}

void spm_stream_in_end(struct stream_in *s)
{
	ZSTD_freeDCtx(s->zstd);
	free(s->content);
	free(s->frame);
}
