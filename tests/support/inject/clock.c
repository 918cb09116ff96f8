/* clock.c - see inject.h. */
#include "inject.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <time.h>

static const _Atomic uint64_t *real;
static unsigned speed = 1;
static _Thread_local uint64_t ahead; /* of the others, in nanoseconds: what it did not wait */

void inject_clock(const _Atomic uint64_t *real_ns, unsigned times)
{
	real = real_ns;
	speed = times;
}

static struct timespec timespec_of(uint64_t ns)
{
	return (struct timespec){(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
}

static uint64_t ns_of(const struct timespec *t)
{
	return (uint64_t)t->tv_sec * 1000000000 + (uint64_t)t->tv_nsec;
}

#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#ifdef __clang__
#pragma clang diagnostic ignored "-Wreserved-identifier"
#endif

int __real_clock_gettime(clockid_t clock, struct timespec *out);
int __wrap_clock_gettime(clockid_t clock, struct timespec *out);
int __wrap_clock_gettime(clockid_t clock, struct timespec *out)
{
	int result = __real_clock_gettime(clock, out);

	if (clock == CLOCK_REALTIME && real)
		*out = timespec_of(*real);
	else if (clock == CLOCK_MONOTONIC)
		*out = timespec_of(ns_of(out) + ahead);
	return result;
}

int __real_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until);
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until);
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until)
{
	struct timespec now, at;
	uint64_t left;
	int result;

	__wrap_clock_gettime(CLOCK_MONOTONIC, &now);
	left = ns_of(until) > ns_of(&now) ? ns_of(until) - ns_of(&now) : 0;
	at = timespec_of(ns_of(&now) - ahead + left / speed);
	result = __real_pthread_cond_timedwait(cond, mutex, &at);
	if (result == ETIMEDOUT)
		ahead += left - left / speed;
	return result;
}
