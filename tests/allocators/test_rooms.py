"""How the folder of allocators is divided: packages of rooms with plain names, and few imported names in each."""

import ast
from pathlib import Path

import pytest

from heapwright import allocators
from heapwright.allocators import ALLOCATORS

FOLDER = Path(allocators.__file__).parent
MODULES = sorted(FOLDER.rglob("*.py"))
MAX_IMPORTS = 15


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_a_module_imports_few_names(path):
    """The kinds of fields, from `layout`, are words of the dialect and do not count."""
    imports = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ImportFrom)]
    counted = [node for node in imports if node.module not in ("__future__", "heapwright.layout")]
    names = [alias.name for node in counted for alias in node.names]
    assert len(names) <= MAX_IMPORTS


def test_no_name_begins_with_that_of_another_module():
    stems = {path.stem for path in MODULES} | {path.parent.name for path in MODULES}
    clashes = [f"{name} {other}" for name in stems for other in stems if name.startswith(f"{other}_")]
    assert [clash for clash in clashes if clash.split()[0] not in ALLOCATORS] == []
