// cpp.cc - C++ as it is, with libsoftpm-malloc: operator new is malloc, so the standard library's containers need no allocator. See existing.sh.
#include <softpm.hpp>

#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

struct root {
	std::map<std::string, std::vector<int>> map;
	std::unordered_map<std::string, std::unique_ptr<std::string>> hash;
};

int main(int argc, char **argv)
{
	softpm::container<root> c(argc > 2 ? std::atoi(argv[2]) : 1);
	bool is_first = c->map.empty();

	for (int i = 0; i < 5000; i++) {
		std::string key = "a key that is too long for a short string, number " + std::to_string(i);

		if (is_first) {
			c->map[key].push_back(i);
			c->hash[key] = std::make_unique<std::string>(key);
		} else if (c->map.at(key).back() != i || *c->hash.at(key) != key) {
			return 1;
		}
	}
	if (!is_first)
		c->hash.clear();
	c.point_sync();
	if (!is_first)
		std::printf("1 right\n");
}
