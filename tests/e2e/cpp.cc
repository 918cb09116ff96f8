/* cpp.cc - what <softpm.hpp> promises: the standard library's containers come back in another process, at the same or other addresses, and go on. */
#include <softpm.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

extern "C" {
#include "process.h"
#include "scratch.h"
}

#define EXPECT(cond)                                                                                                   \
	do {                                                                                                           \
		if (!(cond)) {                                                                                         \
			std::fprintf(stderr, "%s:%d: expected %s; %s\n", __FILE__, __LINE__, #cond, pErrorMsg());      \
			return 1;                                                                                      \
		}                                                                                                      \
	} while (0)

namespace
{

enum { FIRST = 1, SECOND = 2, MANY = 20000 };

struct shape {
	virtual ~shape() = default;
	virtual double area() const = 0;
};
struct square : shape {
	double side = 0;
	softpm::string name;
	double area() const override
	{
		return side * side;
	}
};
struct disc : shape {
	double radius = 0;
	double area() const override
	{
		return 3 * radius * radius;
	}
};

struct state {
	int number = 17; /* by the constructor */
	softpm::vector<int> ints;
	softpm::vector<bool> bits;
	softpm::vector<softpm::string> texts;
	softpm::list<softpm::string> list;
	softpm::deque<long> deque;
	softpm::map<softpm::string, softpm::vector<int>> map;
	softpm::set<double> set;
	softpm::unordered_map<softpm::string, softpm::string> hash;
	softpm::unordered_map<int, int> one; /* of one element: its only bucket lies in the object itself */
	softpm::unordered_set<long> empty;
	softpm::string shorter, longer; /* in the object itself; elsewhere */
	softpm::vector<shape *> shapes;
	std::shared_ptr<softpm::string> shared;
};

softpm::string text(int i)
{
	char buffer[64];

	std::snprintf(buffer, sizeof(buffer), i % 2 ? "%d" : "a text of some length, number %d", i);
	return buffer;
}

void fill(state &s)
{
	for (int i = 0; i < MANY; i++) {
		s.ints.push_back(i);
		s.bits.push_back(i % 3 == 0);
		s.texts.push_back(text(i));
		s.list.push_front(text(i));
		s.deque.push_back(i);
		s.map[text(i % 1000)].push_back(i);
		s.set.insert(i / 2.0);
		s.hash[text(i)] = text(i + 1);
	}
	s.one[5] = 6;
	s.shorter = "short";
	s.longer = softpm::string(1000, 'x');
	s.shapes.push_back(softpm::make<square>());
	static_cast<square *>(s.shapes.back())->side = 3;
	static_cast<square *>(s.shapes.back())->name = text(0);
	s.shapes.push_back(softpm::make<disc>());
	static_cast<disc *>(s.shapes.back())->radius = 2;
	s.shared = std::allocate_shared<softpm::string>(softpm::allocator<softpm::string>(), text(2));
}

int is_filled(const state &s)
{
	auto from_list = s.list.rbegin();

	EXPECT(s.number == 17 && s.ints.size() == MANY && s.list.size() == MANY && s.hash.size() == MANY);
	for (int i = 0; i < MANY; i++) {
		auto k = static_cast<std::size_t>(i);

		EXPECT(s.ints[k] == i && s.bits[k] == (i % 3 == 0) && s.texts[k] == text(i) && s.deque[k] == i);
		EXPECT(*from_list++ == text(i) && s.set.count(i / 2.0));
		EXPECT(s.map.at(text(i % 1000))[k / 1000] == i);
		EXPECT(s.hash.find(text(i)) != s.hash.end() && s.hash.at(text(i)) == text(i + 1));
	}
	EXPECT(s.map.size() == 1000 && std::is_sorted(s.set.begin(), s.set.end()) && s.empty.empty());
	EXPECT(s.one.size() == 1 && s.one.at(5) == 6);
	EXPECT(s.shorter == "short" && s.longer == softpm::string(1000, 'x') && *s.shared == text(2));
	EXPECT(s.shapes[0]->area() == 9 && s.shapes[1]->area() == 12);
	EXPECT(dynamic_cast<square *>(s.shapes[0])->name == text(0) && !dynamic_cast<square *>(s.shapes[1]));
	return 0;
}

/* All of them are as good as in the process that made them. */
int goes_on(state &s)
{
	s.ints.insert(s.ints.begin(), -1);
	s.texts.erase(s.texts.begin() + 10, s.texts.begin() + 1000);
	s.list.sort();
	s.deque.pop_front();
	s.map.erase(s.map.begin());
	s.set.insert(-1);
	for (int i = 0; i < MANY; i++)
		EXPECT(s.hash.erase(text(i)) == 1);
	EXPECT(s.hash.empty());
	for (int i = 0; i < 100; i++) {
		s.hash[text(i)] = "new";
		s.one[i] = i;
		s.empty.insert(i);
	}
	EXPECT(s.one.size() == 100 && s.empty.size() == 100);
	s.shorter += " no more, but longer than what fits";
	s.longer.clear();
	s.longer.shrink_to_fit();
	s.shared.reset();
	for (shape *each : s.shapes)
		softpm::destroy(each);
	s.shapes.clear();
	EXPECT(s.ints.size() == MANY + 1 && s.ints[1] == 0 && std::is_sorted(s.list.begin(), s.list.end()));
	EXPECT(*s.set.begin() == -1 && s.deque.front() == 1 && s.texts[10] == text(1000));
	return 0;
}

int keep(int magic, const char *uri)
{
	softpm::volume volume(uri);
	softpm::container<state> c(magic);

	EXPECT(c->number == 17 && c->ints.empty());
	fill(*c);
	EXPECT(!is_filled(*c));
	c.point_sync();
	return 0;
}

int keep_first(const char *uri)
{
	return keep(FIRST, uri);
}

int keep_second(const char *uri)
{
	return keep(SECOND, uri);
}

int come_back(const char *uri)
{
	softpm::volume volume(uri);
	softpm::container<state> c(FIRST);

	EXPECT(!is_filled(*c) && !goes_on(*c));
	c.point_sync();
	volume.close();
	return 0;
}

/* Both were made at the same addresses, so one of them moves. */
int both_come_back(const char *uri)
{
	softpm::volume volume(uri);
	softpm::container<state> first(FIRST), second(SECOND);
	struct pstats stats;

	EXPECT(!is_filled(*first) && !is_filled(*second));
	EXPECT(!pStats(SECOND, &stats) && stats.words_moved > MANY);
	EXPECT(!goes_on(*first) && !goes_on(*second));
	first.point();
	second.point_sync();
	first.sync();
	return 0;
}

int versions_beside_each_other(const char *uri)
{
	softpm::volume volume(uri);
	softpm::container<state> c(FIRST);

	fill(*c);
	c.point("filled");
	c.tag("filled");
	EXPECT(!goes_on(*c));
	c.point_sync();
	{
		softpm::view<state> before(FIRST, "filled");
		softpm::container<state> other = c.clone("other");

		EXPECT(!is_filled(*before) && other->ints.size() == MANY + 1);
		other->ints.clear();
		other.point_sync();
		EXPECT(!is_filled(*before) && c->ints.size() == MANY + 1);
	}
	c.switch_to("other");
	EXPECT(c->ints.empty());
	c.switch_to("filled");
	EXPECT(!is_filled(*c));
	return 0;
}

struct throws {
	throws()
	{
		throw 5;
	}
};

int failures_are_thrown(const char *uri)
{
	softpm::volume volume(uri);
	int caught = 0;

	try {
		softpm::view<state> v(FIRST, "nothing");
	} catch (const softpm::error &e) {
		EXPECT(e.code().value() == ENOENT && std::strstr(e.what(), "container 1"));
		caught++;
	}
	try {
		softpm::container<throws> c(FIRST);
	} catch (int) {
		caught++;
	}
	try {
		softpm::container<state> c(FIRST); /* not open any more */
		c->ints.reserve(SIZE_MAX / 8);
	} catch (const std::exception &) {
		caught++;
	}
	try {
		softpm::allocator<double>().allocate(SIZE_MAX / 4);
	} catch (const std::bad_alloc &) {
		caught++;
	}
	try {
		softpm::volume another(uri);
	} catch (const softpm::error &e) {
		EXPECT(e.code().value() == EBUSY);
		caught++;
	}
	EXPECT(caught == 5);
	return 0;
}

/* Characters and numbers are in memory that is not searched; what may hold pointers is not. */
int plain_memory(const char *)
{
	struct plain_pair {
		int a, b;
	};

	EXPECT(softpm::is_plain<char>::value && softpm::is_plain<std::byte>::value && !softpm::is_plain<int *>::value);
	EXPECT(!softpm::is_plain<plain_pair>::value);
	return 0;
}

struct alignas(65536) line {
	int number;
};

int aligned_memory(const char *)
{
	softpm::list<softpm::vector<char>> between; /* of an odd number of pages */
	softpm::list<line> lines;

	for (int i = 0; i < 100; i++) {
		between.emplace_back(36000);
		EXPECT(reinterpret_cast<std::uintptr_t>(&lines.emplace_back()) % 65536 == 0);
	}
	return 0;
}

void containers_come_back_in_another_process(void **)
{
	const char *volume = scratch("cpp");

	in_process(keep_first, volume);
	in_process(come_back, volume);
}

void two_that_were_made_at_the_same_addresses_come_back(void **)
{
	const char *volume = scratch("both");

	setenv("SOFTPM_HEAP_START", "5", 1);
	in_process(keep_first, volume);
	in_process(keep_second, volume);
	unsetenv("SOFTPM_HEAP_START");
	in_process(both_come_back, volume);
}

void versions_are_open_beside_each_other(void **)
{
	in_process(versions_beside_each_other, scratch("versions"));
}

void what_fails_throws(void **)
{
	in_process(failures_are_thrown, scratch("failures"));
}

void memory_is_as_the_type_says(void **)
{
	in_process(plain_memory, nullptr);
	in_process(aligned_memory, nullptr);
}

} // namespace

int main()
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(containers_come_back_in_another_process),
	        cmocka_unit_test(two_that_were_made_at_the_same_addresses_come_back),
	        cmocka_unit_test(versions_are_open_beside_each_other),
	        cmocka_unit_test(what_fails_throws),
	        cmocka_unit_test(memory_is_as_the_type_says),
	};

	return cmocka_run_group_tests(tests, nullptr, nullptr);
}
