/* branch_off.c - see branch_off.h. */
#include "branch_off.h"

int branch_off(struct volume *v, int magic, struct chain *from, const char *name, struct chain **out)
{
	struct version_found at;
	int err = spm_chain_newest_found(from, &at);

	if (!err)
		err = spm_branch_create(v, magic, name, &at);
	return err || !out ? err : spm_chain_open(v, magic, name, CHAIN_WRITE, 0, out);
}
