/* pointers.c - the measuring half of every program here; see pointers.h. */
#include "pointers.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

uint64_t nodes;
unsigned pointers;

static const struct system *system_;
static struct node **all; /* in order */
static uint8_t *round_of; /* how often a node was changed */

/* What word k of node i is: data, or the number of the node that it points to. */
static uint64_t word_of(uint64_t i, unsigned k, unsigned round)
{
	uint64_t seed = (i * WORDS + k + 1) * UINT64_C(0x9e3779b97f4a7c15) + round;

	if (k == 0)
		return i + 1 < nodes ? i + 1 : UINT64_MAX;
	random_next(&seed);
	return k < pointers ? seed % nodes : seed | UINT64_C(1) << 63; /* which looks like no address */
}

static void word_set(uint64_t i, unsigned k, unsigned round)
{
	uint64_t word = word_of(i, k, round);

	if (k < pointers)
		all[i]->word[k].link = word < nodes ? all[word] : NULL;
	else
		all[i]->word[k].data = word;
}

static void change(uint64_t i)
{
	round_of[i]++;
	/* In a list of nothing but links, the last node's stays as it is. */
	word_set(i, WORDS - 1, round_of[i]);
}

static void create(void)
{
	for (uint64_t i = 0; i < nodes; i++) {
		all[i] = system_->make();
		need(all[i] != NULL, "a node");
	}
	for (uint64_t i = 0; i < nodes; i++)
		for (unsigned k = 0; k < WORDS; k++)
			word_set(i, k, 0);
}

/* One in a hundred, another one in each batch. */
static void change_some(uint64_t batch)
{
	for (uint64_t i = batch; i < nodes; i += 100)
		change(i);
}

static void change_all(void)
{
	for (uint64_t i = 0; i < nodes; i++)
		change(i);
}

static double point_us(uint64_t began)
{
	system_->point(all[0]);
	return (double)(now_ns() - began) / 1e3;
}

static void run(void)
{
	double us[POINTS];
	uint64_t began = now_ns();

	create();
	row("create", point_us(began), "us");
	for (uint64_t batch = 0; batch < POINTS; batch++) {
		began = now_ns();
		change_some(batch);
		us[batch] = point_us(began);
	}
	row("modify 1%", median_of(us, POINTS), "us");
	began = now_ns();
	change_all();
	row("modify all", point_us(began), "us");
}

/* Every word is what it must be, links by where they lead. */
static uint64_t list_check(void)
{
	uint64_t hash = 0;

	for (uint64_t i = 0; i < nodes; i++)
		for (unsigned k = 0; k < WORDS; k++) {
			uint64_t word = word_of(i, k, k == WORDS - 1 ? 1 + (i % 100 < POINTS) : 0);

			need(k < pointers ? all[i]->word[k].link == (word < nodes ? all[word] : NULL)
			                  : all[i]->word[k].data == word,
			     "bringing the list back as it was");
			hash = (hash ^ word) * UINT64_C(0xff51afd7ed558ccd);
		}
	return hash;
}

static void restore(struct node *first, const char *began_ns)
{
	uint64_t n = 0;

	for (struct node *node = first; node && n < nodes; node = node->word[0].link)
		all[n++] = node;
	row("restore", (double)(now_ns() - strtoull(began_ns, NULL, 0)) / 1e3, "us");
	need(n == nodes, "finding all nodes");
	row_data(list_check());
}

static void start_anew(char **argv)
{
	char began[32];

	fflush(stdout);
	snprintf(began, sizeof(began), "%llu", (unsigned long long)now_ns());
	execl("/proc/self/exe", argv[0], argv[1], argv[2], argv[3], began, (char *)NULL);
	need(false, "starting anew");
}

int pointers_main(int argc, char **argv, const struct system *s)
{
	struct node *first;

	need(argc == 4 || argc == 5, "usage: FOLDER NODES POINTERS:");
	system_ = s;
	nodes = strtoull(argv[2], NULL, 0);
	pointers = (unsigned)atoi(argv[3]);
	need(nodes > 0 && pointers > 0 && pointers <= WORDS, "NODES or POINTERS");
	all = calloc(nodes, sizeof(*all));
	round_of = calloc(nodes, sizeof(*round_of));
	need(all && round_of, "calloc");
	first = s->open(argv[1]);
	if (argc == 5)
		restore(first, argv[4]);
	else
		run();
	s->close();
	if (argc == 4)
		start_anew(argv);
	return 0;
}
