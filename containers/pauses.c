/* pauses.c - percentiles of how long the program stood still, in constant space. */
#include "container.h"

static unsigned bucket_of(uint64_t ns)
{
	unsigned octave;

	if (ns < 8)
		return (unsigned)ns;
	octave = 63u - (unsigned)__builtin_clzll(ns);
	return octave * 8 + (unsigned)((ns >> (octave - 3)) & 7);
}

static uint64_t bucket_middle(unsigned bucket)
{
	unsigned octave = bucket / 8;

	if (bucket < 24)
		return bucket & 7;
	return ((8 + (uint64_t)(bucket & 7)) << (octave - 3)) + (UINT64_C(1) << (octave - 3)) / 2;
}

void spm_pauses_add(struct pauses *p, uint64_t ns)
{
	p->count[bucket_of(ns)]++;
	p->total++;
	if (ns > p->max_ns)
		p->max_ns = ns;
}

static uint64_t percentile(const struct pauses *p, double share)
{
	uint64_t wanted = (uint64_t)((double)p->total * share), seen = 0;

	for (unsigned i = 0; i < PAUSE_BUCKETS && p->total; i++) {
		seen += p->count[i];
		if (seen > wanted)
			return bucket_middle(i) < p->max_ns ? bucket_middle(i) : p->max_ns;
	}
	return p->max_ns;
}

void spm_pauses_refresh(struct pauses *p)
{
	p->median_ns = percentile(p, 0.5);
	p->p99_ns = percentile(p, 0.99);
}
