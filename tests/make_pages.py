"""Writes docs/coverage.md and docs/api.md: ``python -m tests.make_pages``. A test demands that they are up to date.

What records, what passes through and what is refused is read from the tables of `tinygrad_bp.dispatch`; what cannot be
answered for is here. The lists are those of NumPy 2.0 to 2.5, so the pages are the same whichever is installed.
"""

from __future__ import annotations

import enum
import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import tinygrad_bp as bp
from tinygrad_bp import ops
from tinygrad_bp.recipe import Op

DOCS = Path(__file__).parent.parent / "docs"
dispatch = importlib.import_module("tinygrad_bp.dispatch")
REFUSED: dict[str, str] = dispatch.REFUSED

# ---- coverage: what is known of NumPy --------------------------------------------------------------------------------

SINCE = {"unstack": "2.1", "cumulative_sum": "2.1", "cumulative_prod": "2.1", "matvec": "2.2", "vecmat": "2.2"}
UNTIL = {"in1d": "2.3", "trapz": "2.3", "row_stack": "2.4"}
_ALIASES = (
    "abs absolute, acos arccos, acosh arccosh, asin arcsin, asinh arcsinh, atan arctan, atan2 arctan2, atanh arctanh, "
    "bitwise_invert invert, bitwise_left_shift left_shift, bitwise_not invert, bitwise_right_shift right_shift, "
    "concat concatenate, conj conjugate, mod remainder, permute_dims transpose, pow power, true_divide divide"
)
ALIASES = dict(pair.split() for pair in _ALIASES.split(", "))

# Functions that do not ask their arguments first, so that nothing here can answer for them.
UNASKED = {
    "make an array of what they are given, which a tensor that requires grad refuses": (
        "array asanyarray asarray asarray_chkfinite ascontiguousarray asfortranarray asmatrix bmat from_dlpack "
        "frombuffer require trapz"
    ),
    "make arrays from numbers, files or functions, and take no tensors": (
        "arange bartlett blackman diag_indices empty eye fromfile fromfunction fromregex fromstring full genfromtxt "
        "hamming hanning identity indices kaiser load loadtxt mask_indices ones tri tril_indices triu_indices zeros"
    ),
    "are about types, text and single numbers": (
        "base_repr binary_repr broadcast_shapes datetime_data format_float_positional format_float_scientific "
        "frompyfunc isdtype isfortran isscalar issubdtype iterable mintypecode nested_iters promote_types typename"
    ),
    "read numbers one by one, as a list of Python's does: `np.fromiter(t, float)` gives plain numbers": "fromiter",
    "is `np.vstack` by another name, and records": "row_stack",
    "are about NumPy itself": (
        "get_include get_printoptions getbufsize geterr geterrcall info printoptions set_printoptions setbufsize "
        "seterr seterrcall show_config show_runtime test"
    ),
}


def words(table: dict[str, str]) -> dict[str, str]:
    """The reason of every name of a table."""
    return {name: reason for reason, names in table.items() for name in names.split()}


def records() -> dict[str, Any]:
    """Every NumPy function that is answered by the table, by its name after ``np.``."""
    found = {ufunc.__name__: row for ufunc, row in dispatch.UFUNCS.items()}
    found |= {name: getattr(ops, name) for name in dispatch.GUFUNCS}
    found |= {name.removeprefix("np."): row for name, row in dispatch.ROWS.items()}
    return found | {name: found[target] for name, target in ALIASES.items() if target in found}


def passes() -> set[str]:
    """Every NumPy function that is given the arrays."""
    return {name.removeprefix("np.") for name in dispatch.PASSED}


def known() -> set[str]:
    """Every public function of NumPy 2.0 to 2.5."""
    return {*records(), *passes(), *words(REFUSED), *words(UNASKED)}


def spelled(row: Any) -> str:
    """The name in bp.ops of what answers; of a function of dispatch's own the names that it calls."""
    if isinstance(row, Op) or row.__name__ in ops.__all__:
        name = row.name if isinstance(row, Op) else row.__name__
        return f"`{name}`"
    names = [name for name in row.__code__.co_names if name in ops.__all__]
    return ", ".join(f"`{name}`" for name in names)


def name_of(name: str) -> str:
    """A name with the versions of NumPy that have it."""
    versions = f" (from NumPy {SINCE[name]})" if name in SINCE else ""
    versions = f" (to NumPy {UNTIL[name]})" if name in UNTIL else versions
    return f"`np.{name}`{versions}"


def listed(names: Any) -> str:
    return ", ".join(map(name_of, sorted(names)))


def methods(table: dict[Any, Any]) -> str:
    return ", ".join(f"`np.{ufunc.__name__}` ({spelled(row)})" for ufunc, row in table.items())


COVERAGE = """\
# Which functions of NumPy take Tensors

Written by `python -m tests.make_pages` from the tables that answer (`tinygrad_bp/dispatch.py`), for NumPy 2.0 to 2.5:
{counts[0]} functions record, {counts[1]} pass through, {counts[2]} are refused.

- **Records**: the result is a Tensor that remembers how it was made. Where it has no derivative, its path ends there.
- **Passes through**: the answer is about shapes, dtypes, positions or comparisons, and has no derivative. The function
  is given the arrays, and returns what NumPy returns.
- **Refused**: a TypeError of one line, so that no gradient is lost in silence.

Keywords have NumPy's names and defaults; `dtype=` of sums, means and products is the dtype that they compute in.
Refused by name are `out=`, `where=`, `casting=`, `order=` (but the default), `dtype=` of ufuncs, `initial=` of sums and
extremes, `returned=` of `average`, `hermitian=` of `svd` and `pinv`, the full form of `svd` of matrices that are not
square, `qr`'s modes but "reduced" and "r", and `pad`'s modes but "constant", "edge", "reflect", "symmetric" and "wrap".

## Records

| function | in `bp.ops` | |
|---|---|---|
{recorded}

Methods of ufuncs: `reduce` of {reduce}; `accumulate` of {accumulate}; `outer` of all that record and take two arrays.
`at`, `reduceat`, and `reduce` and `accumulate` of other ufuncs are refused.

## Passes through

{passed}.

## Refused

| because | functions |
|---|---|
{refused}
| tensors hold real numbers | all of `np.fft`, `np.emath` |
| they work on other kinds of arrays | all of `np.char`, `np.strings`, `np.ma`, `np.rec`, `np.polynomial` |

## Nothing here can answer for them

NumPy does not ask the arguments of these functions first.

{unasked}
- `np.random` makes arrays of what it is given, as classes do (`np.matrix`, `np.vectorize`, `np.nditer`, `np.poly1d`,
  dtypes), which a tensor that requires grad refuses.
"""


def coverage() -> str:
    """The text of docs/coverage.md."""
    found = records()
    flat = {name for name, row in found.items() if isinstance(row, Op) and not row.differentiable}
    recorded = [
        f"| {name_of(name)} | {spelled(row)} |{' no derivative ' if name in flat else ' '}|"
        for name, row in sorted(found.items())
    ]
    return COVERAGE.format(
        counts=(len(found), len(passes()), len(words(REFUSED))),
        recorded="\n".join(recorded),
        reduce=methods(dispatch.REDUCTIONS),
        accumulate=methods(dispatch.ACCUMULATIONS),
        passed=listed(passes()),
        refused="\n".join(f"| {reason} | {listed(names.split())} |" for reason, names in REFUSED.items()),
        unasked="\n".join(f"- {listed(names.split())} {reason}." for reason, names in UNASKED.items()),
    )


# ---- the API ---------------------------------------------------------------------------------------------------------

MODULES = (
    *("", "autograd", "nn", "nn.functional", "nn.init", "nn.utils", "optim", "optim.lr_scheduler", "data", "checking"),
    *("io", "spec", "training", "view", "random"),
)


def signature_of(thing: Any) -> str:
    """The arguments of a function or class, without their types."""
    found = inspect.signature(thing)
    plain = [p.replace(annotation=p.empty) for p in found.parameters.values() if p.name != "self"]
    return str(found.replace(parameters=plain, return_annotation=found.empty))


def line_of(name: str, thing: Any) -> str:
    """A name, with its arguments and what its docstring promises first."""
    if inspect.isroutine(thing) or (inspect.isclass(thing) and not issubclass(thing, enum.Enum)):
        name += signature_of(thing)
    is_plain = not (callable(thing) or inspect.ismodule(thing) or inspect.isdatadescriptor(thing))
    return f"- `{name}`" if is_plain else f"- `{name}`: {first_line(thing)}"


def first_line(thing: Any) -> str:
    """The first paragraph of a docstring, its marks of reStructuredText as those of Markdown."""
    text = " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split())
    return re.sub(r":\w+:`(?:~[\w.]*\.)?([^`]+)`", r"`\1`", text).replace("``", "`")


def members(cls: type) -> list[str]:
    """The public members of a class, in order, with those of its bases of this package."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__[:-1]):
        if base.__module__.startswith("tinygrad_bp"):
            found |= {name: thing for name, thing in vars(base).items() if name[0] != "_"}
    return [line_of(name, thing) for name, thing in found.items() if inspect.getdoc(thing)]


def api() -> str:
    """The text of docs/api.md."""
    lines = ["# The public names", "", "Written by `python -m tests.make_pages` from signatures and docstrings.", ""]
    for path in MODULES:
        module = importlib.import_module(f"tinygrad_bp.{path}".rstrip("."))
        names = {name: getattr(module, name) for name in sorted(module.__all__)}
        lines += [f"## {'bp.' if path else 'bp'}{path}", "", *[line_of(name, x) for name, x in names.items()], ""]
        for name in ("Tensor", "Module", "Optimizer"):
            if name in names:
                lines += [f"### bp.{path + '.' if path else ''}{name}", "", *members(names[name]), ""]
    lines += ["## bp.ops", "", "The rows of the table, and functions spelled with them, page by page.", ""]
    for page in ops.PAGES:
        title = page.__name__.rpartition(".")[2]
        lines += [f"- {title}: {', '.join(f'`{name}`' for name in page.__all__)}"]
    return "\n".join([*lines, ""])


PAGES = {"coverage.md": coverage, "api.md": api}

if __name__ == "__main__":
    for file, text in PAGES.items():
        (DOCS / file).write_text(text(), "utf-8")
        print(f"wrote docs/{file} for tinygrad_bp {bp.__version__}")
