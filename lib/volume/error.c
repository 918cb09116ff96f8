/* error.c - the sentence of the calling thread's last failure. */
#include "volume/internal.h"

#include <stdarg.h>
#include <stdio.h>

static _Thread_local char sentence[512];

int spm_volume_fail(int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(sentence, sizeof(sentence), format, args);
	va_end(args);
	return err;
}

const char *spm_volume_error(void)
{
	return sentence;
}
