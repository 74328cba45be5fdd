"""C++'s operators new and delete, over malloc, memalign and free of the same library.

The nothrow forms remain libstdc++'s, which call these. If memory is exhausted, the new handler is called until it frees
some; without a handler, bad_alloc is thrown. Both are functions of libstdc++ and are looked up only then, because
libstdc++ may have been loaded by dlopen. Names follow the Itanium C++ ABI for x86-64.
Source: C++17 [new.delete.single].
"""

from __future__ import annotations

NEW = ("_Znwm", "_Znam")
NEW_ALIGNED = ("_ZnwmSt11align_val_t", "_ZnamSt11align_val_t")
DELETE = ("_ZdlPv", "_ZdaPv")
DELETE_SIZED = ("_ZdlPvm", "_ZdaPvm")
DELETE_ALIGNED = ("_ZdlPvSt11align_val_t", "_ZdaPvSt11align_val_t")
DELETE_ALL = ("_ZdlPvmSt11align_val_t", "_ZdaPvmSt11align_val_t")
NAMES = (*NEW, *NEW_ALIGNED, *DELETE, *DELETE_SIZED, *DELETE_ALIGNED, *DELETE_ALL)
FREE = ("free", "")  # a function, and its arguments after the block

NEW_TEXT = """
define i64 @{name}(i64 %size{parameter}) uwtable {{
  %block = call i64 @{function}({arguments})
  %failed = icmp eq i64 %block, 0
  br i1 %failed, label %again, label %done
again:
  %late = call i64 @new_again(i64 %size, i64 {align})
  ret i64 %late
done:
  ret i64 %block
}}
"""
DELETE_TEXT = """
define void @{name}(i64 %block{parameters}) {{
  call void @{function}({arguments})
  ret void
}}
"""
AGAIN_TEXT = """
@standard = internal constant [15 x i8] c"libstdc++.so.6\\00"
@handler_name = internal constant [24 x i8] c"_ZSt15get_new_handlerv\\00\\00"
@throw_name = internal constant [26 x i8] c"_ZSt17__throw_bad_allocv\\00\\00"
declare void @abort()
declare ptr @dlsym(ptr, ptr)
define internal ptr @in_libstdcxx(ptr %name) noinline cold {
  %global = call ptr @dlsym(ptr null, ptr %name)
  %is_missing = icmp eq ptr %global, null
  br i1 %is_missing, label %local, label %found
local:
  %handle = call ptr @dlopen(ptr @standard, i32 5)
  %there = call ptr @dlsym(ptr %handle, ptr %name)
  ret ptr %there
found:
  ret ptr %global
}
define internal i64 @new_again(i64 %size, i64 %align) noinline cold uwtable {
  %get = call ptr @in_libstdcxx(ptr @handler_name)
  %throw = call ptr @in_libstdcxx(ptr @throw_name)
  %unknown = icmp eq ptr %get, null
  br i1 %unknown, label %give_up, label %ask
ask:
  %handler = call ptr %get()
  %has_none = icmp eq ptr %handler, null
  br i1 %has_none, label %fail, label %retry
retry:
  call void %handler()
  %block = call i64 @memalign(i64 %align, i64 %size)
  %failed = icmp eq i64 %block, 0
  br i1 %failed, label %ask, label %done
done:
  ret i64 %block
fail:
  call void %throw()
  unreachable
give_up:
  call void @abort()
  unreachable
}
"""


def operators_text(expects_sizes: bool) -> str:
    """The operators as LLVM text. Those that get a size pass it on if the heap checks it."""
    plain = [NEW_TEXT.format(name=n, parameter="", function="malloc", arguments="i64 %size", align=16) for n in NEW]
    aligned = [
        NEW_TEXT.format(
            name=name,
            parameter=", i64 %align",
            function="memalign",
            arguments="i64 %align, i64 %size",
            align="%align",
        )
        for name in NEW_ALIGNED
    ]
    sized = ("free_sized", ", i64 %a0"), ("free_aligned_sized", ", i64 %a1, i64 %a0")
    one, both = sized if expects_sizes else (FREE, FREE)
    frees = [
        *deletes(DELETE, 0),
        *deletes(DELETE_SIZED, 1, one),
        *deletes(DELETE_ALIGNED, 1),
        *deletes(DELETE_ALL, 2, both),
    ]
    return AGAIN_TEXT + "".join((*plain, *aligned, *frees))


def deletes(names: tuple[str, ...], more: int, callee: tuple[str, str] = FREE) -> list[str]:
    """Operators delete with `more` arguments after the block, and the function that they call with some of them."""
    parameters, (function, rest) = "".join(f", i64 %a{i}" for i in range(more)), callee
    return [
        DELETE_TEXT.format(name=name, parameters=parameters, function=function, arguments=f"i64 %block{rest}")
        for name in names
    ]
