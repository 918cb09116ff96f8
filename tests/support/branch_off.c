/* branch_off.c - see branch_off.h. */
#include "branch_off.h"

int branch_off(struct volume *v, int magic, struct chain *from, const char *name, struct chain **out)
{
	struct version_found at;
	struct chain_about about;
	int err = spm_chain_newest(from, &at.info);

	spm_chain_about(from, &about);
	at.chain_id = about.chain_id;
	at.seq = about.seq;
	if (!err)
		err = spm_branch_create(v, magic, name, &at);
	return err || !out ? err : spm_chain_open(v, magic, name, CHAIN_WRITE, 0, out);
}
