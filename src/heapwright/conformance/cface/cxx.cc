// operator new and delete, and C++ objects that are destroyed late.
// Section numbers are those of C++17.
#include "check.h"

#include <cstdlib>
#include <map>
#include <new>
#include <string>

namespace {

constexpr std::size_t too_large = static_cast<std::size_t>(PTRDIFF_MAX) - 4096;

// --- failure ------------------------------------------------------------------------

// 21.6.2.1: plain operator new never returns null.
void new_throws_bad_alloc() {
    try {
        void *block = opaque(::operator new(opaque_size(too_large)));
        fail("new of PTRDIFF_MAX - 4096 bytes returned %s", block ? "a block" : "null");
    } catch (const std::bad_alloc &) {
    }
}

// 8.3.4: a size that would overflow throws (std::bad_array_new_length).
void array_new_overflow_throws() {
    try {
        void *block = opaque(new long double[opaque_size(SIZE_MAX / 8)]);
        fail("new[] of an overflowing size returned %s", block ? "a block" : "null");
    } catch (const std::bad_alloc &) {
    }
}

// 21.6.2.1: the nothrow forms return null, and delete accepts null.
void nothrow_new_returns_null() {
    void *single = opaque(::operator new(opaque_size(too_large), std::nothrow));
    void *array = opaque(::operator new[](opaque_size(too_large), std::nothrow));
    require(!single && !array, "nothrow new of PTRDIFF_MAX - 4096 bytes returned a block");
    ::operator delete(single, std::nothrow);
    ::operator delete[](array, std::nothrow);
}

// --- the new-handler -------------------------------------------------------------------

constexpr unsigned handler_calls_wanted = 3;
unsigned handler_calls;

// 21.6.3.3: a handler may make room, throw, or give up by taking itself out.
void count_and_give_up() {
    if (++handler_calls == handler_calls_wanted)
        std::set_new_handler(nullptr);
}

void require_handler_was_called() {
    require(handler_calls == handler_calls_wanted, "the new-handler was called %u times, not %u",
            handler_calls, handler_calls_wanted);
}

// 21.6.2.1: new calls the handler in a loop until there is none.
void new_calls_the_handler() {
    std::set_new_handler(count_and_give_up);
    new_throws_bad_alloc();
    require_handler_was_called();
}

void nothrow_new_calls_the_handler() {
    std::set_new_handler(count_and_give_up);
    require(!opaque(::operator new(opaque_size(too_large), std::nothrow)),
            "nothrow new of PTRDIFF_MAX - 4096 bytes returned a block");
    require_handler_was_called();
}

void aligned_new_calls_the_handler() {
    std::set_new_handler(count_and_give_up);
    try {
        void *block = opaque(::operator new(opaque_size(too_large), std::align_val_t{64}));
        fail("aligned new of PTRDIFF_MAX - 4096 bytes returned %s", block ? "a block" : "null");
    } catch (const std::bad_alloc &) {
    }
    require_handler_was_called();
}

// --- alignment and size ---------------------------------------------------------------------

void require_aligned_new(std::size_t alignment, std::size_t size) {
    const std::align_val_t wanted{alignment};
    void *plain = opaque(::operator new(size, wanted));
    void *array = opaque(::operator new[](size, wanted));
    require(is_aligned(plain, alignment) && is_aligned(array, alignment),
            "aligned new of %zu bytes is not aligned to %zu", size, alignment);
    fill(plain, size, 1);
    fill(array, size, 2);
    require(intact(plain, size, 1), "aligned new of %zu bytes overlaps another", size);
    ::operator delete(plain, wanted);
    ::operator delete[](array, size, wanted);
    plain = opaque(::operator new(size, wanted, std::nothrow));
    require(plain && is_aligned(plain, alignment), "aligned nothrow new of %zu bytes", size);
    ::operator delete(plain, size, wanted);
}

// 21.6.2.1: the forms with std::align_val_t, deleted with and without their size.
void aligned_new_aligns() {
    for (std::size_t alignment = 8; alignment <= 64 * KIB; alignment *= 2)
        for (std::size_t size : {1, 24, 100, 1000, 4096, 70000})
            require_aligned_new(alignment, size);
}

// 21.6.2.1: the size given to delete is the one that was given to new.
void sized_delete_frees() {
    for (std::size_t size = 1; size <= 4 * MIB; size += size / 3 + 1) {
        void *plain = opaque(::operator new(size)), *array = opaque(::operator new[](size));
        fill(plain, size, 3);
        fill(array, size, 4);
        require(intact(plain, size, 3), "two blocks of %zu bytes overlap", size);
        ::operator delete(plain, size);
        ::operator delete[](array, size);
    }
}

// 6.7.4.1: a request for no bytes gives distinct non-null pointers.
void new_of_no_bytes() {
    void *first = opaque(::operator new(opaque_size(0)));
    void *second = opaque(::operator new(opaque_size(0)));
    require(first && second && first != second, "two new(0) are null or the same");
    ::operator delete(first);
    ::operator delete(second);
}

// --- late destruction ------------------------------------------------------------------------

using table = std::map<int, std::string>;

thread_local table thread_table;
table static_table;

std::string long_text(int number) { return std::string(100 + number % 400, 'x'); }

void grow(table &entries) {
    for (int number = 0; number < 500; number++)
        entries[number] = long_text(number);
    for (int number = 0; number < 500; number += 3)
        entries.erase(number);
}

void *grow_thread_table(void *unused) {
    grow(thread_table);
    return unused;
}

// 6.6.4: destroyed as the thread ends, perhaps after the heap's own farewell.
void thread_local_objects_are_destroyed() {
    for (int round = 0; round < 50; round++) {
        pthread_t first = start_thread(grow_thread_table, nullptr);
        join_thread(start_thread(grow_thread_table, nullptr));
        join_thread(first);
    }
}

// 6.6.4: destroyed by exit, after main has returned.
void static_objects_are_destroyed() { grow(static_table); }

}  // namespace

const struct check checks[] = {
    {"cxx_bad_alloc", new_throws_bad_alloc},
    {"cxx_array_overflow", array_new_overflow_throws},
    {"cxx_nothrow", nothrow_new_returns_null},
    {"cxx_handler", new_calls_the_handler},
    {"cxx_handler_nothrow", nothrow_new_calls_the_handler},
    {"cxx_handler_aligned", aligned_new_calls_the_handler},
    {"cxx_aligned_new", aligned_new_aligns},
    {"cxx_sized_delete", sized_delete_frees},
    {"cxx_new_zero", new_of_no_bytes},
    {"cxx_thread_local", thread_local_objects_are_destroyed},
    {"cxx_static_map", static_objects_are_destroyed},
    {nullptr, nullptr},
};
