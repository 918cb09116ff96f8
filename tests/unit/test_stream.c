/* test_stream.c - the frames of a stream: what goes in comes out, and nothing that was damaged or cut off comes out. */
#include "scratch.h"
#include "stream/stream.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* Bytes that compress, and some that do not. */
static void fill(unsigned char *bytes, size_t n, uint64_t *random)
{
	for (size_t i = 0; i < n; i++)
		bytes[i] = i % 8192 < 4096 ? (unsigned char)(i / 100) : (unsigned char)test_random(random);
}

static void stream_make(int fd, const unsigned char *from, size_t n, size_t piece)
{
	struct stream_out out;

	assert_int_equal(spm_stream_out_begin(&out, fd), 0);
	for (size_t at = 0; at < n; at += piece)
		assert_int_equal(spm_stream_write(&out, from + at, n - at < piece ? n - at : piece), 0);
	assert_int_equal(spm_stream_finish(&out), 0);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), out.bytes);
	spm_stream_out_end(&out);
}

/* Of a stream from the file's beginning. 0 or what went wrong, in `why`. */
static int stream_take(int fd, unsigned char *to, size_t n, char why[200])
{
	struct stream_in in;
	int err;

	lseek(fd, 0, SEEK_SET);
	err = spm_stream_in_begin(&in, fd);
	if (!err)
		err = spm_stream_read(&in, to, n);
	if (!err)
		err = spm_stream_check_over(&in);
	memcpy(why, in.why, sizeof(in.why));
	spm_stream_in_end(&in);
	return err;
}

static void what_goes_in_comes_out(void **state)
{
	static const size_t sizes[] = {
	        0, 1, 5000, STREAM_CONTENT_MOST - 1, STREAM_CONTENT_MOST, STREAM_CONTENT_MOST + 1, 3000000};
	uint64_t random = test_seed();

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		unsigned char *from = malloc(sizes[i] + 1), *to = malloc(sizes[i] + 1);
		int fd = memfd_create("stream", 0);
		char why[200];

		fill(from, sizes[i], &random);
		stream_make(fd, from, sizes[i], 1 + (size_t)test_random(&random) % 200000);
		assert_int_equal(stream_take(fd, to, sizes[i], why), 0);
		assert_memory_equal(from, to, sizes[i]);
		assert_int_equal(stream_take(fd, to, sizes[i] + 1, why), -EUCLEAN); /* there is no more */
		if (sizes[i])
			assert_int_equal(stream_take(fd, to, sizes[i] - 1, why), -EUCLEAN); /* there is more */
		close(fd);
		free(from);
		free(to);
	}
}

static void any_flipped_byte_is_found(void **state)
{
	static unsigned char from[300000], to[sizeof(from)];
	int fd = memfd_create("stream", 0);
	char why[200];
	off_t bytes;

	(void)state;
	memset(from, 7, sizeof(from));
	stream_make(fd, from, sizeof(from), 1000);
	bytes = lseek(fd, 0, SEEK_END);
	for (off_t at = 0; at < bytes; at++) {
		unsigned char is, bad;

		assert_int_equal(pread(fd, &is, 1, at), 1);
		bad = is ^ (unsigned char)(1 << at % 8);
		assert_int_equal(pwrite(fd, &bad, 1, at), 1);
		if (!stream_take(fd, to, sizeof(to), why))
			fail_msg("byte %lld of %lld was flipped, and nobody saw it", (long long)at, (long long)bytes);
		assert_int_equal(pwrite(fd, &is, 1, at), 1);
	}
	assert_int_equal(stream_take(fd, to, sizeof(to), why), 0);
	close(fd);
}

static void a_stream_that_is_cut_off_is_not_whole_and_says_where(void **state)
{
	static unsigned char from[300000], to[sizeof(from)];
	int fd = memfd_create("stream", 0);
	char why[200], where[40];
	off_t bytes;

	(void)state;
	memset(from, 7, sizeof(from));
	stream_make(fd, from, sizeof(from), 1000);
	bytes = lseek(fd, 0, SEEK_END);
	for (off_t at = bytes - 1; at >= 0; at--) {
		assert_int_equal(ftruncate(fd, at), 0);
		assert_int_equal(stream_take(fd, to, sizeof(to), why), -EUCLEAN);
		snprintf(where, sizeof(where), "after %lld bytes", (long long)at);
		assert_non_null(strstr(why, where));
	}
	close(fd);
}

/* Frames of another stream, however right they are by themselves. */
static void frames_do_not_change_places(void **state)
{
	static unsigned char from[STREAM_CONTENT_MOST * 3], to[sizeof(from)];
	int fd = memfd_create("stream", 0);
	unsigned char frame[3][100000];
	struct stream_frame f[3];
	off_t at = 16;
	char why[200];

	(void)state;
	memset(from, 7, sizeof(from));
	stream_make(fd, from, sizeof(from), sizeof(from));
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(pread(fd, &f[i], sizeof(f[i]), at), sizeof(f[i]));
		assert_true(f[i].stored_bytes + sizeof(f[i]) <= sizeof(frame[i]));
		assert_int_equal(pread(fd, frame[i], f[i].stored_bytes + sizeof(f[i]), at),
		                 f[i].stored_bytes + sizeof(f[i]));
		at += (off_t)(f[i].stored_bytes + sizeof(f[i]));
	}
	at = 16 + (off_t)(f[0].stored_bytes + sizeof(f[0]));
	assert_int_equal(pwrite(fd, frame[2], f[2].stored_bytes + sizeof(f[2]), at), f[2].stored_bytes + sizeof(f[2]));
	at += (off_t)(f[2].stored_bytes + sizeof(f[2]));
	assert_int_equal(pwrite(fd, frame[1], f[1].stored_bytes + sizeof(f[1]), at), f[1].stored_bytes + sizeof(f[1]));
	assert_int_equal(stream_take(fd, to, sizeof(to), why), -EUCLEAN);
	assert_non_null(strstr(why, "damaged"));
	close(fd);
}

static void another_format_version_is_refused_as_such(void **state)
{
	int fd = memfd_create("stream", 0);
	uint32_t version = STREAM_VERSION + 1;
	char why[200];

	(void)state;
	stream_make(fd, (const unsigned char *)"x", 1, 1);
	assert_int_equal(pwrite(fd, &version, sizeof(version), 8), sizeof(version));
	assert_int_equal(stream_take(fd, (unsigned char *)why, 1, why), -ENOTSUP);
	assert_non_null(strstr(why, "format version 3"));
	close(fd);
}

/* Through a pipe, in pieces; what follows the stream is left there. */
static void a_pipe_does(void **state)
{
	static unsigned char from[2000000], to[sizeof(from)];
	uint64_t random = test_seed();
	struct stream_in in;
	int fd[2], status;
	pid_t child;
	char left;

	(void)state;
	fill(from, sizeof(from), &random);
	assert_int_equal(pipe(fd), 0);
	child = fork();
	if (!child) {
		struct stream_out out;
		int err = spm_stream_out_begin(&out, fd[1]);

		for (size_t at = 0; at < sizeof(from) && !err; at += 1000)
			err = spm_stream_write(&out, from + at, 1000);
		_exit(err || spm_stream_finish(&out) || write(fd[1], "x", 1) != 1);
	}
	close(fd[1]);
	assert_int_equal(spm_stream_in_begin(&in, fd[0]), 0);
	assert_int_equal(spm_stream_read(&in, to, sizeof(to)), 0);
	assert_int_equal(spm_stream_check_over(&in), 0);
	assert_memory_equal(from, to, sizeof(from));
	assert_int_equal(read(fd[0], &left, 1), 1);
	assert_int_equal(left, 'x');
	spm_stream_in_end(&in);
	close(fd[0]);
	waitpid(child, &status, 0);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(what_goes_in_comes_out),
	        cmocka_unit_test(any_flipped_byte_is_found),
	        cmocka_unit_test(a_stream_that_is_cut_off_is_not_whole_and_says_where),
	        cmocka_unit_test(frames_do_not_change_places),
	        cmocka_unit_test(another_format_version_is_refused_as_such),
	        cmocka_unit_test(a_pipe_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
