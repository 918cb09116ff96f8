/* error.c - the sentence of the calling thread's last failure. */
#include "volume/internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char sentence[512];
static _Thread_local int sentence_of; /* the error it tells of */

/* The arguments may hold the sentence before. */
int spm_volume_fail(int err, const char *format, ...)
{
	char text[sizeof(sentence)];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	memcpy(sentence, text, sizeof(sentence));
	sentence_of = err;
	return err;
}

static const char *advice(int err)
{
	switch (-err) {
	case ENOSPC:
	case EDQUOT:
		return "; make room on its file system and call again";
	case ENOMEM:
		return "; call again when there is memory";
	case EIO:
		return "; the kernel's log tells more of the device";
	default:
		return "";
	}
}

int spm_volume_fail_io(int err, const char *what, uint64_t block)
{
	return spm_volume_fail(err, "%s block %llu of the volume failed: %s%s", what, (unsigned long long)block,
	                       strerror(-err), advice(err));
}

const char *spm_volume_error(void)
{
	return sentence;
}

const char *spm_volume_error_of(int err)
{
	if (sentence_of != err)
		spm_volume_fail(err, "%s%s", strerror(-err), advice(err));
	return sentence;
}
