/* error.c - errno and a sentence, per thread. */
#include "container.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char sentence[512];

int spm_fail(int error, const char *format, ...)
{
	char text[sizeof(sentence)];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	memcpy(sentence, text, sizeof(sentence));
	errno = error;
	return -1;
}

int spm_fail_volume(int err)
{
	return spm_fail(-err, "%s", spm_volume_error_of(err));
}

const char *pErrorMsg(void)
{
	return sentence;
}

const char *pVersionString(void)
{
	return SOFTPM_VERSION;
}
