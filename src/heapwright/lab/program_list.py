"""The real programs of the bench, one entry each. None is installed by the bench."""

from __future__ import annotations

import sys

from heapwright.lab.inputs import scripts, services, sources
from heapwright.lab.programs import Program

MALLOC = {"PYTHONMALLOC": "malloc"}
REDIS_TOOLS = ("redis-server", "redis-benchmark", "redis-cli")
RASTER = ("-q", "-dNOPAUSE", "-dBATCH", "-sDEVICE=pgmraw", "-r60", "-o", "/dev/null")

PROGRAMS = (
    Program("python", (), "", (sys.executable, "-I", "work.py"), scripts.python_script, drains=True),
    Program("python_malloc", (), "", (sys.executable, "work.py"), scripts.python_script, "", MALLOC, drains=True),
    Program("perl", ("perl",), "perl", ("perl", "work.pl"), scripts.perl_script, drains=True),
    Program("lua", ("lua5.4",), "lua5.4", ("lua5.4", "work.lua"), scripts.lua_script, drains=True),
    Program("ruby", ("ruby",), "ruby", ("ruby", "--disable=gems", "work.rb"), scripts.ruby_script, drains=True),
    Program("node", ("node",), "nodejs", ("node", "--expose-gc", "work.js"), scripts.node_script, drains=True),
    # PHP's own heap is switched off, so that every block is malloc's.
    Program(
        "php", ("php",), "php-cli", ("php", "work.php"), scripts.php_script, "", {"USE_ZEND_ALLOC": "0"}, drains=True
    ),
    Program("gawk", ("gawk",), "gawk", ("gawk", "-f", "work.awk"), scripts.gawk_script, drains=True),
    Program(
        "swipl", ("swipl",), "swi-prolog-nox", ("swipl", "-q", "-f", "work.pl"), scripts.prolog_script, drains=True
    ),
    Program(
        "sqlite",
        ("sqlite3",),
        "sqlite3",
        ("sqlite3", "-init", "work.sql", ":memory:", ".quit"),
        services.sqlite_script,
        drains=True,
    ),
    Program(
        "redis",
        REDIS_TOOLS,
        "redis-server redis-tools",
        ("redis-server", "redis.conf"),
        services.redis_files,
        "sh client.sh",
        drains=True,
        repeats_its_output=False,
    ),
    Program(
        "rocksdb",
        ("db_bench",),
        "rocksdb-tools",
        ("db_bench", "--flagfile=flags"),
        services.rocksdb_flags,
        repeats_its_output=False,
    ),
    Program("jq", ("jq",), "jq", ("jq", "-c", "-f", "work.jq", "work.json"), services.jq_files),
    Program("gcc", ("gcc",), "gcc", ("gcc", "-O2", "-c", "-o", "work.o", "work.c"), sources.c_source),
    Program("gxx", ("g++",), "g++", ("g++", "-std=c++17", "-O0", "-S", "-o", "work.s", "work.cc"), sources.cpp_source),
    Program("clang", ("clang",), "clang", ("clang", "-O2", "-c", "-o", "work.o", "work.c"), sources.c_source),
    Program("z3", ("z3",), "z3", ("z3", "work.smt2"), sources.formulas),
    Program("ghostscript", ("gs",), "ghostscript", ("gs", *RASTER, "work.ps"), sources.postscript),
    Program("git_log", ("git",), "git", ("git", "-C", "repository", "log", "--stat", "-p"), sources.git_repository),
)
