/* index.h - an inverted index as plain C structures: for each word, the files it is in and how often.
 *
 *   struct index (the root)
 *     files: table of struct file     each file that is wholly in the index
 *     words: table of struct word  -> array of struct posting {file, count}
 *
 * Everything lies in memory from pMalloc and hangs on the root: that is all that makes it persistent. There is nothing
 * in here about files of the index, formats or transactions.
 */
#ifndef INDEX_H
#define INDEX_H

#include <stddef.h>
#include <stdint.h>

struct entry { /* what a file and a word have in common: the table they stand in */
	struct entry *next;
	uint64_t hash;
	char *text;
};
struct entries {
	struct entry **bucket;
	size_t buckets, count;
};

struct file {
	struct entry entry; /* text: path below the folder */
	uint64_t words;
};
struct posting {
	struct file *file;
	uint64_t count;
};
struct word {
	struct entry entry; /* text: lower case */
	uint64_t count;     /* in all files */
	struct posting *posting;
	size_t postings, room;
};

struct index {
	char *folder;
	struct entries files, words;
	uint64_t total; /* words counted, repetitions too */
};

/* The file of that path, or NULL. */
struct file *index_file(const struct index *index, const char *path);
/* Makes it. From now on index_word counts for it. NULL: no memory. */
struct file *index_file_add(struct index *index, const char *path);
/* Counts one more occurrence of a word (lower case) in the file. 0, or -1: no memory. */
int index_word(struct index *index, struct file *file, const char *text);
/* The words in alphabetical order: an array of index->words.count from malloc, or NULL. */
const struct word **index_sorted(const struct index *index);

#endif
