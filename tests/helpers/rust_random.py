"""Random programs of operations on Rust's collections, for `rust_programs.run` and the driver in Rust."""

from random import Random

# operation -> (how often, what its arguments are):
#   v a value, k a key, p a key and a value; * some values, P some pairs
#   i an index, n a small number, t a text, c a character
BLOCK = {
    "new": (1, ""), "with_capacity": (2, "n"), "clear": (1, ""), "reserve": (3, "n"), "shrink_to_fit": (3, ""),
    "shrink_to": (3, "n"), "clone": (3, ""),
}  # fmt: skip
MANY = {
    "of": (2, "*"), "extend": (4, "*"), "extend_unsized": (3, "*"), "append": (3, ""), "retain_even": (2, ""),
    "reserve_exact": (3, "n"),
}  # fmt: skip
INDEXED = {
    "insert": (5, "iv"), "remove": (4, "i"), "truncate": (2, "n"), "split_off": (2, "i"), "drain": (2, "ii"),
    "resize": (2, "nv"),
}  # fmt: skip
ENDS = {"push_back": (9, "v"), "push_front": (6, "v"), "pop_back": (3, ""), "pop_front": (4, "")}
PAIRS = {
    "insert": (22, "p"),
    "entry": (6, "p"),
    "remove": (16, "k"),
    "retain_even": (1, ""),
    "extend_unsized": (1, "P"),
}
OPERATIONS = {
    "vec": BLOCK | MANY | INDEXED | {
        "push": (12, "v"), "pop": (4, ""), "swap_remove": (2, "i"), "dedup": (2, ""), "boxed": (2, ""),
    },
    "deque": BLOCK | MANY | INDEXED | ENDS,
    "list": ENDS | {"clear": (1, ""), "clone": (2, ""), "extend": (2, "*"), "append": (2, ""), "split_off": (2, "i")},
    "heap": BLOCK | MANY | {"push": (16, "v"), "pop": (8, "")},
    "map": BLOCK | PAIRS | {"extend": (4, "P"), "drain": (1, "")},
    "tree": PAIRS | {
        "new": (1, ""), "clear": (1, ""), "clone": (2, ""), "extend": (4, "P"),
        "pop_first": (4, ""), "pop_last": (4, ""), "append": (3, ""), "split_off": (3, "k"),
    },
    "string": BLOCK | {
        "from": (2, "t"), "push": (9, "c"), "push_str": (9, "t"), "pop": (3, ""), "insert_str": (4, "it"),
        "remove": (3, "i"), "truncate": (2, "n"), "split_off": (2, "i"), "extend": (3, "t"), "reserve_exact": (3, "n"),
        "boxed": (2, ""),
    },
    "rc": {
        "new": (4, "v"), "new_cyclic": (2, "v"), "clone": (4, ""), "drop": (3, ""), "downgrade": (4, ""),
        "weak_new": (1, ""), "weak_clone": (2, ""), "weak_drop": (3, ""), "upgrade": (2, ""), "try_unwrap": (2, ""),
        "get_mut": (3, "v"), "make_mut": (4, "v"),
    },
}  # fmt: skip
OPERATIONS["arc"] = OPERATIONS["rc"]
TEXTS = ("x", "äöü", "hello", "12345678", "中文字", "a-text-of-some-length", "0123456789abcdef0123456789abcdef")


FEW, MANY_VALUES = 40, 200  # with few, an operation often finds its value; with many, tables and trees are large


def program(head, seed, steps=60):
    """A program of so many operations on the collection and types of a head."""
    dice = Random(f"{head} {seed}")
    values = MANY_VALUES if seed % 2 else FEW
    operations = OPERATIONS[head.split(" ")[0]]
    names, shares = list(operations), [share for share, _ in operations.values()]
    lines = [head]
    for name in dice.choices(names, shares, k=steps):
        arguments = [text for what in operations[name][1] for text in made(what, dice, values)]
        lines.append(" ".join([name, "ab"[dice.random() < 0.3], *arguments]))
    return "\n".join(lines) + "\n\n"


def made(what, dice, values):
    """The texts of an argument."""
    if what == "t":
        return [dice.choice(TEXTS)]
    if what == "c":
        return [dice.choice("aäü中😀")]
    if what in "in":
        return [str(dice.randrange(40))]
    counts = {"v": 1, "k": 1, "p": 2, "*": dice.randrange(1, 12), "P": 2 * dice.randrange(1, 20)}
    return [str(dice.randrange(values)) for _ in range(counts[what])]
