/* ds.h - all structures: arrays, lists, trees, hashtables, strings. What they have in common is in common.h. */
#ifndef SOFTPM_DS_H
#define SOFTPM_DS_H

#include <softpm/array.h>
#include <softpm/common.h>
#include <softpm/hash.h>
#include <softpm/list.h>
#include <softpm/string.h>
#include <softpm/tree.h>

#endif
