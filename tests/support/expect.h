/* expect.h - what a test's child process checks: it says what was expected where, what SoftPM said last, and leaves. cmocka's own
 * asserts would jump into the parent's test. A test says how it leaves:
 *
 *   #define EXPECT(cond) EXPECT_ELSE(cond, return 1)
 */
#ifndef TEST_EXPECT_H
#define TEST_EXPECT_H

#include "softpm.h"

#include <errno.h>
#include <stdio.h>

#define EXPECT_ELSE(cond, leave)                                                                                       \
	do {                                                                                                           \
		if (!(cond)) {                                                                                         \
			fprintf(stderr, "%s:%d: expected %s; errno %d, %s\n", __FILE__, __LINE__, #cond, errno,        \
			        pErrorMsg());                                                                          \
			leave;                                                                                         \
		}                                                                                                      \
	} while (0)

#endif
