/* softpm.hpp - persistent memory for C++17: the standard library's containers in SoftPM containers, and what owns these.
 *
 *     struct state {
 *             softpm::map<softpm::string, softpm::vector<double>> prices;
 *     };
 *
 *     softpm::container<state> c(42);                  (restored, or made by state's constructor)
 *     c->prices["tea"].push_back(4.5);
 *     c.point_sync();
 *
 *     softpm::view<state> before(42, "main~1");        (an older version beside it)
 *     for (auto &[name, row] : before->prices) ...
 *
 * A container's state is one object, and all that hangs on it by plain pointers. Anything that gets its memory by an allocator can be part of it; so can
 * objects with virtual functions: these are found again after a restore as functions are (softpm.h), also in a program that was
 * built anew. What <softpm.h> says of limits, threads and refs holds here too. Tested with GCC's library; its std::hash has no salt, so hash tables
 * are good in the next process.
 *
 * Failures of SoftPM are thrown as softpm::error: code() is errno, what() has the sentence of pErrorMsg. No memory is std::bad_alloc.
 *
 * A program that is linked with -no-pie lies at low addresses, where a count of some million elements, which the standard library keeps as a plain number,
 * may look like a pointer (softpm.h, Limits): link such programs as others are.
 *
 * Volatile and persistent memory do not differ in type: a std::string in a persistent object compiles, and its characters, if they are too many to
 * lie in the object, are gone after a restore (the pointer is NULL). Use the types below.
 */
#ifndef SOFTPM_HPP
#define SOFTPM_HPP

#include <softpm.h>

#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <new>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace softpm
{

/* What failed, of the calling thread, last. */
class error : public std::system_error
{
      public:
	error() : std::system_error(errno, std::generic_category(), pErrorMsg())
	{
	}
};

/* Types that hold no pointers: memory for them is never searched, and costs points less. True of numbers and enumerations; to be specialized
 * for structures of such. Memory that is used as bytes for something else (std::byte) is memory of bytes: keep no pointers there. */
template <class T> struct is_plain : std::bool_constant<std::is_arithmetic_v<T> || std::is_enum_v<T>> {
};

/* For all containers of the standard library. It has no state, and memory from one is given back to any. */
template <class T> class allocator
{
      public:
	using value_type = T;
	using is_always_equal = std::true_type;
	using propagate_on_container_move_assignment = std::true_type;

	allocator() noexcept = default;
	template <class U> allocator(const allocator<U> &) noexcept
	{
	}

	T *allocate(std::size_t n)
	{
		void *p = n > PTRDIFF_MAX / sizeof(T) ? nullptr : get(n * sizeof(T));

		if (!p)
			throw std::bad_alloc();
		return static_cast<T *>(p);
	}
	void deallocate(T *p, std::size_t) noexcept
	{
		pFree(p);
	}

      private:
	static void *get(std::size_t bytes) noexcept
	{
		if constexpr (alignof(T) > 16)
			return pAlignedAlloc(alignof(T), bytes);
		else
			return is_plain<T>::value ? pMallocNoPtr(bytes) : pMalloc(bytes);
	}
};
template <class T, class U> bool operator==(const allocator<T> &, const allocator<U> &) noexcept
{
	return true;
}
template <class T, class U> bool operator!=(const allocator<T> &, const allocator<U> &) noexcept
{
	return false;
}

using string = std::basic_string<char, std::char_traits<char>, allocator<char>>;
template <class T> using vector = std::vector<T, allocator<T>>;
template <class T> using deque = std::deque<T, allocator<T>>;
template <class T> using list = std::list<T, allocator<T>>;
template <class T, class Less = std::less<T>> using set = std::set<T, Less, allocator<T>>;
template <class K, class V, class Less = std::less<K>>
using map = std::map<K, V, Less, allocator<std::pair<const K, V>>>;
template <class T, class Hash = std::hash<T>, class Equal = std::equal_to<T>>
using unordered_set = std::unordered_set<T, Hash, Equal, allocator<T>>;
template <class K, class V, class Hash = std::hash<K>, class Equal = std::equal_to<K>>
using unordered_map = std::unordered_map<K, V, Hash, Equal, allocator<std::pair<const K, V>>>;

/* An object in the heap, and its end: new and delete. */
template <class T, class... Arguments> T *make(Arguments &&...arguments)
{
	allocator<T> a;
	T *p = a.allocate(1);

	try {
		return ::new (static_cast<void *>(p)) T(std::forward<Arguments>(arguments)...);
	} catch (...) {
		a.deallocate(p, 1);
		throw;
	}
}
/* T may be a base of the object's class, if its destructor is virtual. */
template <class T> void destroy(T *p)
{
	void *whole = p;

	if (!p)
		return;
	if constexpr (std::is_polymorphic_v<T>)
		whole = dynamic_cast<void *>(p);
	p->~T();
	pFree(whole);
}

/* The process's volume as long as this lives. close, or the destructor, which tells no failure: waits for all points. */
class volume
{
      public:
	explicit volume(const char *uri)
	{
		if (pVOpen(uri))
			throw error();
	}
	volume(const volume &) = delete;
	volume &operator=(const volume &) = delete;
	~volume()
	{
		if (is_open)
			pVClose();
	}
	void close()
	{
		is_open = false;
		if (pVClose())
			throw error();
	}

      private:
	bool is_open = true;
};

namespace detail
{
/* An ID, and the root that goes with it; pCFree at its end. */
template <class Root> class handle
{
      public:
	handle(const handle &) = delete;
	handle &operator=(const handle &) = delete;
	handle(handle &&other) noexcept : id_(std::exchange(other.id_, 0)), root_(std::exchange(other.root_, nullptr))
	{
	}
	handle &operator=(handle &&other) noexcept
	{
		std::swap(id_, other.id_);
		std::swap(root_, other.root_);
		return *this;
	}
	~handle()
	{
		if (id_)
			pCFree(id_);
	}
	int id() const noexcept
	{
		return id_;
	}

      protected:
	handle(int id, void *root) : id_(id), root_(static_cast<Root *>(root))
	{
		if (!id)
			throw error();
	}

	int id_;
	Root *root_;
};
} // namespace detail

/* A version, to be read. Good until its end. */
template <class Root> class view : public detail::handle<const Root>
{
	using base = detail::handle<const Root>;

      public:
	/* As pCOpenAt. */
	view(int magic, const char *ref) : view(open(magic, ref))
	{
	}
	const Root &operator*() const noexcept
	{
		return *this->root_;
	}
	const Root *operator->() const noexcept
	{
		return this->root_;
	}

      private:
	view(int id, void *root) : base(id, root)
	{
	}
	static view open(int magic, const char *ref)
	{
		void *root = nullptr;
		int id = pCOpenAt(magic, ref, &root);

		return view(id, root);
	}
};

/* A container as long as this lives: its end forgets it in memory, without running Root's destructor; the volume keeps it. */
template <class Root> class container : public detail::handle<Root>
{
	using base = detail::handle<Root>;
	static_assert(alignof(Root) <= 16 && sizeof(Root) <= INT_MAX, "a root of this alignment or size can't be had");

      public:
	/* Restored, or if there is none: made, with Root() as its state, which the first point makes durable. */
	explicit container(int magic) : container(open(magic))
	{
	}
	/* As pCOpenBranch. */
	container(int magic, const char *branch) : container(open_branch(magic, branch))
	{
	}

	Root &operator*() const noexcept
	{
		return *this->root_;
	}
	Root *operator->() const noexcept
	{
		return this->root_;
	}

	/* As pPoint, pPointSync, pSync. */
	std::int64_t point(const char *message = nullptr)
	{
		return must(pPointMsg(this->id_, message));
	}
	std::int64_t point_sync()
	{
		return must(pPointSync(this->id_));
	}
	void sync()
	{
		must(!pSync(this->id_));
	}
	/* As pCTag; ref NULL: the last version. */
	void tag(const char *name, const char *ref = nullptr)
	{
		must(!pCTag(this->id_, name, ref));
	}
	/* As pCSwitch: references into the state before are void. */
	void switch_to(const char *ref)
	{
		void *root = nullptr;

		must(!pCSwitch(this->id_, ref, &root));
		this->root_ = static_cast<Root *>(root);
	}
	/* As pCClone: the branch as a container of its own. */
	container clone(const char *branch)
	{
		void *root = nullptr;
		int id = pCClone(this->id_, branch, &root);

		return container(id, root);
	}
	/* As pCFork: in a child after fork(2). */
	void fork_on(const char *branch)
	{
		must(!pCFork(this->id_, branch));
	}

      private:
	container(int id, void *root) : base(id, root)
	{
	}
	template <class T> static T must(T result)
	{
		if (!result)
			throw error();
		return result;
	}
	static container open_branch(int magic, const char *branch)
	{
		void *root = nullptr;
		int id = pCOpenBranch(magic, branch, &root);

		return container(id, root);
	}
	static container open(int magic)
	{
		void *root = nullptr;
		int id = pCRestore(magic, &root);

		if (id || errno != ENOENT)
			return container(id, root);
		id = pCAlloc(magic, static_cast<int>(sizeof(Root)), &root);
		container made(id, root); /* forgotten again if Root() throws */
		::new (root) Root();
		return made;
	}
};

} // namespace softpm

namespace std
{
template <> struct hash<softpm::string> {
	size_t operator()(const softpm::string &s) const noexcept
	{
		return hash<string_view>()(s);
	}
};
} // namespace std

#endif
