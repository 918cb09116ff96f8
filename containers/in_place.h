/* in_place.h - another version of a container where the present one lies: only pages that differ are touched.
 *
 *     what differs      by the maps of both versions, and what the program changed since the present one
 *     pages read        those of the other version, verified and mended, into a buffer
 *     slots exchanged   those that only the present version has for those that only the other has, all or nothing
 *     pages copied      live slots that differ, byte by byte of those pages
 *
 * Slots of other containers, and what the program keeps for itself in the same pages, stay. Where that is not possible (a slot that
 * the other version wants is somebody else's by now, or one that stays is another container's, too), or not worth it (too much differs), the caller restores the other version
 * beside the present one (switch.c).
 */
#ifndef SPM_IN_PLACE_H
#define SPM_IN_PLACE_H

#include <stdbool.h>

struct container;
struct in_place;

/* next->chain is open; the rest of `next` becomes what the version says. No point of c is under way, none begins before the end; what
 * changed since the last one is in c's marks (spm_capture_look). Nothing of c is changed. NULL: not this way. */
struct in_place *spm_in_place_prepare(struct container *c, struct container *next);
/* `next` has c's place now: marks, slices, arena. Between spm_capture_begin and _end. False: nothing was changed. */
bool spm_in_place_apply(struct in_place *p);
void spm_in_place_end(struct in_place *p);

#endif
